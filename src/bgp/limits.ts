/**
 * What a peer may make us hold or do. Each has a name; what happens beyond it stands beside it.
 */

// --- sessions (session/) -----------------------------------------------------------------------------

/** Of one connection, read and worked off before others have their turn. */
export const READ_BYTES_A_TURN = 64 << 10;
/** The same in time, ms: one update may change very many routes. */
export const TURN_MS = 5;
/** Of all connections together, before sockets and timers are looked at again. */
export const ALL_TURNS_MS = 10;
/** Read and not worked off: the socket is not read until it is less. A message and what came with it fit. */
export const MAX_UNREAD_BYTES = 256 << 10;
/** Written at once, before others have their turn. */
export const WRITE_BYTES_A_TURN = 256 << 10;
/** A peer that has not taken so much is asked no more of the RIB for: the rest waits there, as keys. */
export const MAX_WAITING_BYTES = 128 << 10;
/** Who has not taken anything for so long, or twice the hold time, is closed (RFC 9687). */
export const SEND_HOLD_MS = 480_000;
/** How long what has been written may take to go out once we have closed. */
export const LINGER_MS = 2_000;
/** Connections that linger so; any more are closed as soon as our last words are with the kernel. */
export const MAX_LINGERING = 256;
/** After too many routes: tried again this much later, or when somebody says so. */
export const OVERFLOW_RETRY_MS = 300_000;
/** Who calls from a range and says nothing has one of its places for so long. */
export const DYNAMIC_OPEN_MS = 30_000;
/** Of each neighbour, what was wrong with its updates: the last few, with their texts. */
export const KEPT_FINDINGS = 16;
/** Of one such text. */
export const MAX_FINDING_TEXT = 256;
/** Kernels keep keys of at most so many bytes (TCP_MD5SIG_MAXKEYLEN). */
export const MAX_PASSWORD_BYTES = 80;

// --- the link between a control node and a speaker of its own process (link/) ---------------------------

/** Of one message. A change of 64 paths with the longest attributes fits; whoever says more is hung up on. */
export const MAX_FRAME_BYTES = 16 << 20;
/** Routes are put into one message until it has so many bytes. */
export const BATCH_BYTES = 32 << 10;
/** Not taken by the other end: routes wait as keys until it is less. */
export const MAX_LINK_WAITING_BYTES = 256 << 10;
/** Answers and news that are not taken: the connection is given up. */
export const MAX_LINK_UNREAD_BYTES = 64 << 20;
/** Connections to a speaker at once; one of them is its control node's. */
export const MAX_LINKS = 8;
/** Until a connection says who it is. */
export const HELLO_MS = 10_000;
/** Calls of a control node that are not answered yet. */
export const MAX_CALLS = 256;

// --- the RIB (rib/): every one is reached by a test or a figure, and none by a router that behaves ----------

export const LIMITS = {
  /** Routes of one family that a neighbour may say where its `maxRoutes` is not given. */
  routesOfFamily: 4_000_000,
  /** Routes in one Update that is given to a session. */
  routesInUpdate: 4096,
  /** Routes that one call of `next` looks at before it gives the processor away. */
  looksInCall: 65_536,
  /** Routes that are worked out between two breaths. */
  routesInSlice: 16_384,
  /** Updates that a group keeps so that its other peers are given the same ones. */
  updatesKept: 16,
  /** Milliseconds that VPN routes wait for a peer's memberships (RFC 4684 §6). */
  membershipWaitMs: 60_000,
  /** The same of a peer that may never say that it has said them all. */
  endlessMembershipWaitMs: 1_000,
} as const;
