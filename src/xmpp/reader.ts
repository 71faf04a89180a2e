/**
 * Bytes of an XMPP stream -> its header, stanzas and end, however the bytes are cut. saxes does the XML; the
 * framing, what is between stanzas and every limit are here.
 *
 * Invariants: the same bytes give the same calls of the sink whatever the chunks were, up to a fault, which
 * is thrown and is the last thing that happens. Held are one stanza of at most `stanzaBytes`, its tree of at
 * most `elements`, and three bytes. A stanza is given out when its last `>` has been read and found good.
 *
 * A stanza that is there whole and plain never comes to saxes (plain.ts).
 * saxes collects text until the next tag, so it never sees what is between stanzas: filler is taken off
 * here, and no piece that it is given goes on past a `>` that could end a stanza.
 */
import { isUtf8 } from 'node:buffer';
import { SaxesParser } from 'saxes';
import { VRouterError } from '../errors.ts';
import { type XmppFault, xmppFault } from './faults.ts';
import { XML_LIMITS, type XmlLimits } from './limits.ts';
import { readPlain } from './plain.ts';
import type { XmlElement } from './xml.ts';

export interface StreamSink {
  /** The stream element: attributes only. */
  opened(header: XmlElement): void;
  stanza(stanza: XmlElement): void;
  closed(): void;
}

/** One character, U+0200, says "still here"; white space between stanzas says nothing. */
export const KEEPALIVE = '\u0200';
const FILLER = /[^ \n\r\t\u0200]/g;

/** The most that is looked at before sizes are: saxes is given so much, and a stanza in one of these is read in one go. */
const CHUNK_BYTES = 1 << 13;

/** Most elements have no attributes, or no children. */
const NO_ATTRIBUTES: Record<string, string> = Object.freeze(Object.create(null));
const NO_CHILDREN: XmlElement[] = Object.freeze([]) as readonly XmlElement[] as XmlElement[];

/** An element whose end has not been read. */
interface OpenElement {
  readonly name: string;
  readonly attributes: Record<string, string>;
  children: XmlElement[];
  text: string;
}

/** `header`: before and in the stream element. `between`: filler. `inside`: in a stanza or a comment. */
type Where = 'header' | 'between' | 'inside' | 'ended' | 'failed';

export class XmlReader {
  readonly #sink: StreamSink;
  readonly #limits: XmlLimits;
  readonly #saxes: SaxesParser;
  readonly #decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  /** The first bytes of a character whose last ones are to come. */
  #cut: Uint8Array = new Uint8Array(0);
  #where: Where = 'header';
  /** Bytes of the header or stanza under way. */
  #bytes = 0;
  #elements = 0;
  /** The last piece ended with its chunk, maybe within a tag. */
  #inTag = false;
  #open: OpenElement[] = [];
  #attributes: Record<string, string> = NO_ATTRIBUTES;
  #attributeCount = 0;
  #attributeLength = 0;
  /** What the piece just read has completed. */
  #done: 'header' | 'comment' | 'stream' | XmlElement | undefined;

  constructor(sink: StreamSink, limits: XmlLimits = XML_LIMITS) {
    this.#sink = sink;
    this.#limits = limits;
    this.#saxes = this.#parser();
  }

  /** Whether what has been read ends within a header, a stanza or a comment. */
  get unfinished(): boolean {
    return this.#where === 'inside' || this.#where === 'header' || this.#cut.length > 0;
  }

  push(bytes: Uint8Array): void {
    if (this.#where === 'failed') throw xmppFault('XMPP_NOT_XML', 'read on after a fault');
    try {
      for (let from = 0; from < bytes.length; from += CHUNK_BYTES) {
        this.#chunk(bytes.subarray(from, from + CHUNK_BYTES));
      }
    } catch (error) {
      this.#where = 'failed';
      this.#open = [];
      throw error;
    }
  }

  #chunk(chunk: Uint8Array): void {
    const all = this.#cut.length === 0 ? chunk : Buffer.concat([this.#cut, chunk]);
    const whole = all.length - unfinishedBytes(all);
    this.#cut = Uint8Array.from(all.subarray(whole)); // a copy: the caller may use its buffer again
    const bytes = all.subarray(0, whole);
    const good = isUtf8(bytes) ? whole : goodBytes(bytes);
    const text = this.#decoder.decode(bytes.subarray(0, good));
    this.#text(text, text.length === good);
    if (good < whole) throw xmppFault('XMPP_NOT_XML', 'not UTF-8');
  }

  #text(text: string, ascii: boolean): void {
    let from = 0;
    while (from < text.length && this.#where !== 'ended') {
      if (this.#where === 'between') {
        from = fillerEnd(text, from);
        if (from === text.length) return;
        const plain = readPlain(text, from, this.#limits);
        if (plain !== undefined) {
          from = plain.end;
          this.#sink.stanza(plain.stanza);
          continue;
        }
        this.#where = 'inside';
        this.#bytes = 0;
        this.#elements = 0;
      }
      const piece = text.slice(from, this.#pieceEnd(text, from));
      this.#bytes += ascii ? piece.length : Buffer.byteLength(piece);
      this.#piece(piece);
      from += piece.length;
    }
  }

  /**
   * Past the next `>`; or, in a stanza and not in a tag, before the next tag that could be the one to end it.
   */
  #pieceEnd(text: string, from: number): number {
    const stanza = this.#open[1];
    if (stanza !== undefined && !this.#inTag) {
      const tag = text.indexOf(`</${stanza.name}`, from);
      const before = tag < 0 ? text.lastIndexOf('<') : tag;
      if (before > from) return before;
    }
    const end = text.indexOf('>', from);
    this.#inTag = end < 0;
    return end < 0 ? text.length : end + 1;
  }

  #piece(piece: string): void {
    if (this.#where === 'header') {
      this.#most(this.#bytes, 'headerBytes', 'XMPP_HEADER_TOO_LONG');
    } else {
      this.#most(this.#bytes, 'stanzaBytes', 'XMPP_STANZA_TOO_LONG');
    }
    try {
      this.#saxes.write(piece);
    } catch (error) {
      if (error instanceof VRouterError) throw error;
      throw xmppFault('XMPP_NOT_XML', error instanceof Error ? error.message : String(error));
    }
    // Not before: saxes tells of an end before it looks whether the tag was the right one.
    // And of the end of a comment before its `>`.
    if (piece.endsWith('>')) this.#finish();
  }

  #finish(): void {
    const done = this.#done;
    if (done === undefined) return;
    this.#done = undefined;
    if (done === 'stream') {
      this.#where = 'ended';
      this.#sink.closed();
      return;
    }
    this.#where = this.#open.length === 0 ? 'header' : 'between';
    if (done === 'header') {
      const { name, attributes } = this.#open[0] as OpenElement;
      this.#sink.opened({ name, attributes, children: [], text: '' });
    } else if (done !== 'comment') {
      this.#sink.stanza(done);
    }
  }

  #most(value: number, limit: keyof XmlLimits, code: XmppFault): void {
    if (value > this.#limits[limit]) {
      throw xmppFault(code, `more than ${this.#limits[limit]} (${limit})`);
    }
  }

  #parser(): SaxesParser {
    const saxes = new SaxesParser({
      position: false,
      forceXMLVersion: true,
      defaultXMLVersion: '1.0',
    });
    saxes.on('doctype', () => {
      throw xmppFault('XMPP_FORBIDDEN_XML', 'a document type');
    });
    saxes.on('processinginstruction', () => {
      throw xmppFault('XMPP_FORBIDDEN_XML', 'a processing instruction');
    });
    saxes.on('comment', () => {
      if (this.#open.length === 1) this.#done = 'comment';
    });
    saxes.on('opentagstart', () => {
      this.#attributes = NO_ATTRIBUTES;
      this.#attributeCount = 0;
      this.#attributeLength = 0;
    });
    saxes.on('attribute', ({ name, value }) => this.#attribute(name, value));
    saxes.on('opentag', ({ name }) => this.#start(name));
    saxes.on('closetag', () => this.#end());
    saxes.on('text', (text) => this.#characters(text));
    saxes.on('cdata', (text) => this.#characters(text));
    return saxes;
  }

  #attribute(name: string, value: string): void {
    this.#attributeCount++;
    this.#attributeLength += name.length + value.length;
    this.#most(this.#attributeCount, 'attributes', 'XMPP_TOO_MANY_ATTRIBUTES');
    this.#most(this.#attributeLength, 'attributeLength', 'XMPP_ATTRIBUTES_TOO_LONG');
    if (this.#attributeCount === 1) this.#attributes = Object.create(null);
    this.#attributes[name] = value; // saxes refuses one that is there twice
  }

  #start(name: string): void {
    this.#elements++;
    this.#most(this.#elements, 'elements', 'XMPP_TOO_MANY_ELEMENTS');
    this.#open.push({ name, attributes: this.#attributes, children: NO_CHILDREN, text: '' });
    this.#most(this.#open.length, 'depth', 'XMPP_TOO_DEEP');
    if (this.#open.length === 1) this.#done = 'header';
  }

  #end(): void {
    const element = this.#open.pop() as OpenElement;
    if (element.text.charCodeAt(0) <= 0x20 && !/[^ \n\r\t]/.test(element.text)) element.text = '';
    const parent = this.#open.at(-1);
    if (parent === undefined) this.#done = 'stream';
    else if (this.#open.length === 1) this.#done = element;
    else if (parent.children === NO_CHILDREN) parent.children = [element];
    else parent.children.push(element);
  }

  #characters(text: string): void {
    const element = this.#open.at(-1);
    // Around the stream element there is white space only, or saxes has refused it.
    if (element === undefined) return;
    if (this.#open.length === 1) throw xmppFault('XMPP_NOT_FILLER', 'character data');
    element.text += text;
    this.#most(element.text.length, 'textLength', 'XMPP_TEXT_TOO_LONG');
  }
}

/** Where the filler ends that begins at `from`: at a `<`, or at the end of the text. */
function fillerEnd(text: string, from: number): number {
  FILLER.lastIndex = from;
  const found = FILLER.exec(text);
  if (found === null) return text.length;
  if (found[0] !== '<') throw xmppFault('XMPP_NOT_FILLER', JSON.stringify(found[0]));
  return found.index;
}

function sequenceLength(lead: number): number {
  return lead < 0xc0 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
}

/** Bytes at the end that begin a character and do not finish it. */
function unfinishedBytes(bytes: Uint8Array): number {
  for (let back = 1; back <= Math.min(3, bytes.length); back++) {
    const byte = bytes[bytes.length - back] as number;
    if ((byte & 0xc0) === 0x80) continue;
    return sequenceLength(byte) > back ? back : 0;
  }
  return 0;
}

/** How many of these bytes, which are not all UTF-8, are. */
function goodBytes(bytes: Uint8Array): number {
  let at = 0;
  while (at < bytes.length) {
    const next = at + sequenceLength(bytes[at] as number);
    if (!isUtf8(bytes.subarray(at, next))) break;
    at = next;
  }
  return Math.min(at, bytes.length);
}
