/**
 * The short way through a stanza that is there whole and has nothing unusual in it: printable ASCII, no entity, no
 * comment, no CDATA, every tag as writers write them. Nearly all are, and most of the time of a control node went
 * into looking at each of their characters.
 *
 * Invariant: what is given out is what the long way (reader.ts, saxes) makes of the same text, and whatever would be a
 * fault there, a limit passed or a tag not closed, is left to it: undefined. Tests pit the two against each other.
 */
import type { XmlLimits } from './limits.ts';
import type { XmlElement } from './xml.ts';

/** Longer ones are seldom in one piece, and not worth looking at twice. */
const MOST = 1 << 14;

const NAME = '[A-Za-z_][A-Za-z0-9_.:-]*';
const VALUE = `(?:"[^"<\\n\\t]*"|'[^'<\\n\\t]*')`;
const ROOT = new RegExp(`<(${NAME})`, 'y');
const TAG = new RegExp(`<(/?)(${NAME})((?:[ \\n\\t]+${NAME}=${VALUE})*)[ \\n\\t]*(/?)>`, 'y');
const ATTRIBUTE = new RegExp(`[ \\n\\t]+(${NAME})=(?:"([^"]*)"|'([^']*)')`, 'y');
/** What saxes has to look at: it may be refused there, or read as something else. */
const UNUSUAL = /[^\n\t -~]|&|<[!?]|\]\]>/;
const BLANK = /^[ \n\t]*$/;

const NO_ATTRIBUTES: Readonly<Record<string, string>> = Object.freeze(Object.create(null));
const NO_CHILDREN: readonly XmlElement[] = Object.freeze([]);

interface Open {
  readonly name: string;
  readonly attributes: Readonly<Record<string, string>>;
  children: XmlElement[] | undefined;
  text: string;
}

export interface PlainStanza {
  readonly stanza: XmlElement;
  /** After its last `>`. */
  readonly end: number;
}

export function readPlain(text: string, from: number, limits: XmlLimits): PlainStanza | undefined {
  ROOT.lastIndex = from;
  const name = ROOT.exec(text)?.[1];
  if (name === undefined) return undefined;
  const close = `</${name}>`;
  const before = text.indexOf(close, from);
  if (before < 0) return undefined;
  const end = before + close.length;
  const length = end - from;
  if (length > MOST || length > limits.stanzaBytes) return undefined;
  const whole = text.slice(from, end);
  if (UNUSUAL.test(whole)) return undefined;
  const stanza = readTree(whole, limits);
  return stanza && { stanza, end };
}

/** The one element that all of `text` is. */
function readTree(text: string, limits: XmlLimits): XmlElement | undefined {
  const open: Open[] = [];
  let elements = 0;
  for (let at = 0; ; ) {
    TAG.lastIndex = at;
    const tag = TAG.exec(text);
    if (tag === null) return undefined;
    at = TAG.lastIndex;
    const closing = tag[1] === '/';
    const name = tag[2] as string;
    const alone = tag[4] === '/';
    let ended: Open | undefined;
    if (closing) {
      ended = open.pop();
      if (ended?.name !== name || tag[3] !== '' || alone) return undefined;
    } else {
      const attributes = attributesIn(tag[3] as string, limits);
      // The stream element is around all of them.
      if (attributes === undefined || ++elements > limits.elements) return undefined;
      if (open.length + 2 > limits.depth) return undefined;
      const element: Open = { name, attributes, children: undefined, text: '' };
      if (alone) ended = element;
      else open.push(element);
    }
    const parent = open.at(-1);
    if (ended !== undefined) {
      const done: XmlElement = {
        name: ended.name,
        attributes: ended.attributes,
        children: ended.children ?? NO_CHILDREN,
        text: BLANK.test(ended.text) ? '' : ended.text,
      };
      if (parent === undefined) return at === text.length ? done : undefined;
      if (parent.children === undefined) parent.children = [done];
      else parent.children.push(done);
    }
    const next = text.indexOf('<', at);
    if (next < 0 || parent === undefined) return undefined;
    if (next === at) continue;
    parent.text += text.slice(at, next);
    if (parent.text.length > limits.textLength) return undefined;
    at = next;
  }
}

function attributesIn(
  text: string,
  limits: XmlLimits,
): Readonly<Record<string, string>> | undefined {
  if (text === '') return NO_ATTRIBUTES;
  const attributes: Record<string, string> = Object.create(null);
  let count = 0;
  let length = 0;
  for (let at = 0; at < text.length; at = ATTRIBUTE.lastIndex) {
    ATTRIBUTE.lastIndex = at;
    const found = ATTRIBUTE.exec(text);
    if (found === null) return undefined;
    const name = found[1] as string;
    const value = found[2] ?? found[3] ?? '';
    length += name.length + value.length;
    if (name in attributes || ++count > limits.attributes) return undefined;
    if (length > limits.attributeLength) return undefined;
    attributes[name] = value;
  }
  return attributes;
}
