/**
 * XML as a tree of elements, as far as this exchange has need of it: attributes, child elements, text. Text
 * that is white space only is layout and is not kept; names are as written, prefixes and all.
 */
import { xmppFault } from './faults.ts';

export interface XmlElement {
  readonly name: string;
  readonly attributes: Readonly<Record<string, string>>;
  readonly children: readonly XmlElement[];
  /** All text directly inside, joined. */
  readonly text: string;
}

export function element(
  name: string,
  attributes: Readonly<Record<string, string>> = {},
  content: string | readonly XmlElement[] = '',
): XmlElement {
  return typeof content === 'string'
    ? { name, attributes, children: [], text: content }
    : { name, attributes, children: content, text: '' };
}

export function childOf(parent: XmlElement, name: string): XmlElement | undefined {
  return parent.children.find((child) => child.name === name);
}

/** What XML 1.0 has no way to write, escaped or not. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const UNWRITABLE = /[\0-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]|\p{Cs}/u;

const ESCAPES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&apos;',
  '\t': '&#9;',
  '\n': '&#10;',
  '\r': '&#13;',
};

function checked(text: string): string {
  if (UNWRITABLE.test(text)) throw xmppFault('XMPP_CANNOT_SEND', 'a character XML cannot hold');
  return text;
}

/** `from` is one of the two sets below: a parser would turn the others into something else. */
function escaped(text: string, from: RegExp): string {
  return checked(text).replace(from, (c) => ESCAPES[c] as string);
}

export function attributeText(value: string): string {
  return escaped(value, /[&<>"'\t\n\r]/g);
}

/** The ancestor's reader looks for their closing tags as text, so they are never written as `<name />`. */
const ALWAYS_CLOSED = new Set(['iq', 'message', 'items']);

export function writeXml(tree: XmlElement): string {
  let head = `<${tree.name}`;
  for (const [name, value] of Object.entries(tree.attributes)) {
    head += ` ${name}="${attributeText(value)}"`;
  }
  const content = escaped(tree.text, /[&<>\r]/g) + tree.children.map(writeXml).join('');
  if (content === '' && !ALWAYS_CLOSED.has(tree.name)) return `${head} />`;
  return `${head}>${content}</${tree.name}>`;
}
