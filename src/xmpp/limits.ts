/**
 * What a peer may make us hold or read. Each has a name, and passing one closes the session with the code
 * beside it (faults.ts); limits on single items refuse the item and leave the session up.
 */

export interface XmlLimits {
  /** Everything before the stream is open: declaration and header. */
  readonly headerBytes: number;
  /** One stanza from its `<` to its `>`; also one comment between stanzas. */
  readonly stanzaBytes: number;
  /** Elements inside each other, the stream element counted. */
  readonly depth: number;
  readonly elements: number;
  /** Of one element. */
  readonly attributes: number;
  /** Names and values of one element's attributes, in UTF-16 units. */
  readonly attributeLength: number;
  /** Text of one element, in UTF-16 units. */
  readonly textLength: number;
}

/**
 * The largest stanza there is a use for: 32 items of 128 next hops at 600 bytes, 2.4 MB. Configuration
 * (16 objects, access lists among them) is below that. A tree costs about 30 times its smallest text,
 * `<a/>`, so elements are bounded by themselves.
 */
export const XML_LIMITS: XmlLimits = {
  headerBytes: 4096,
  stanzaBytes: 4 << 20,
  depth: 32,
  elements: 1 << 16,
  attributes: 16,
  attributeLength: 8192,
  textLength: 1 << 16,
};

/** Fully qualified names of Contrail: four parts of up to 255 characters. */
export const MAX_FQ_NAME_BYTES = 1024;
/** A peer's own name; host names have at most 253 characters, DNS names that carry a resource more. */
export const MAX_PEER_NAME_BYTES = 512;
/** The same with a channel behind it, or with what the ancestor puts in front of an agent's for its configuration. */
export const MAX_HEAD_NAME_BYTES = MAX_PEER_NAME_BYTES + 64;
/** Next hops and tree neighbours of one item; the RIB takes 1024 (MAX_HOPS). */
export const MAX_ITEM_HOPS = 1024;
export const MAX_ENCAPS = 16;
export const MAX_TAGS = 256;
export const MAX_COMMUNITIES = 256;
export const MAX_HASH_FIELDS = 16;
/** What the ancestor puts into one message, and its peers have been tried with. */
export const MAX_ITEMS_A_MESSAGE = 32;
export const MAX_RETRACTS_A_MESSAGE = 256;
/** Publishes whose collection has not come yet. They come in pairs, so one is usual. */
export const MAX_UNPAIRED = 1024;

/** Of one agent: 4,000 VRFs on a compute node have been tried with the ancestor. */
export const MAX_SUBSCRIPTIONS = 16384;
export const MAX_PUBLISHED = 1 << 20;

/** From its first byte to its last: 4 MB at 70 kB/s. A peer that drips bytes holds no stanza open for ever. */
export const STANZA_MS = 60_000;
/** A peer that has not taken so much is sent no more for now ... */
export const BLOCKED_BYTES = 1 << 20;
/** ... one that has let this wait is closed; a change and a whole small table are below it, ... */
export const MAX_WAITING_BYTES = 32 << 20;
/** ... and so is one that has not caught up for this long. */
export const STALLED_MS = 90_000;
export const MAX_SESSIONS = 4096;

/** Of a message trace, in UTF-16 units; a longer message is cut. */
export const MAX_TRACED_BYTES = 1 << 20;
export const MAX_TRACED_MESSAGE = 1 << 16;
/** Peers that are traced at once. */
export const MAX_TRACES = 16;
/** Whoever has not asked for so long is gone, and so is the trace. */
export const TRACE_SILENCE_MS = 10_000;
