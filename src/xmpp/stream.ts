/**
 * What opens and secures a stream: headers of both sides, features, STARTTLS. The client's `xmlns` is where
 * the ancestor puts the name of a sub-cluster; empty and `jabber:client` are none.
 */
import type { VRouterError } from '../errors.ts';
import { xmppFault } from './faults.ts';
import { MAX_PEER_NAME_BYTES } from './limits.ts';
import { attributeText, childOf, element, writeXml, type XmlElement } from './xml.ts';

const STREAMS = 'http://etherx.jabber.org/streams';
const CLIENT = 'jabber:client';
const TLS = 'urn:ietf:params:xml:ns:xmpp-tls';

export const CONTROL_NAME = 'network-control@contrailsystems.com';
export const STREAM_END = '</stream:stream>';

export interface StreamHeader {
  readonly from: string;
  readonly to: string;
  /** Given by the side that was connected to. */
  readonly id?: string;
  readonly subCluster?: string;
}

export function readHeader(header: XmlElement): StreamHeader {
  const { from = '', to = '', id, xmlns = '' } = header.attributes;
  const bad = (why: string): VRouterError => xmppFault('XMPP_BAD_HEADER', why);
  if (header.name !== 'stream:stream' && header.name !== 'stream') {
    throw bad(`<${header.name.slice(0, 64)}>`);
  }
  if (from.trim() === '') throw bad('no from');
  for (const name of [from, to, id ?? '', xmlns]) {
    if (Buffer.byteLength(name) > MAX_PEER_NAME_BYTES) throw bad('a name is too long');
  }
  return {
    from,
    to,
    ...(id !== undefined && { id }),
    ...(xmlns !== '' && xmlns !== CLIENT && { subCluster: xmlns }),
  };
}

/** The ancestor's own spelling, quotes and blank included: its reader is not an XML parser. */
function header(fields: readonly (readonly [string, string])[]): string {
  const attributes = fields.map(([name, value]) => `${name}='${attributeText(value)}' `);
  return `<?xml version='1.0'?><stream:stream ${attributes.join('')}>`;
}

export function writeClientHeader({ from, to, subCluster }: StreamHeader): string {
  return header([
    ['from', from],
    ['to', to],
    ['version', '1.0'],
    ['xml:lang', 'en'],
    ['xmlns', subCluster ?? ''],
    ['xmlns:stream', STREAMS],
  ]);
}

export function writeServerHeader({ from, to, id = '', subCluster }: StreamHeader): string {
  return header([
    ['from', from],
    ['to', to],
    ['id', id],
    ['version', '1.0'],
    ['xml:lang', 'en'],
    ['xmlns', subCluster ?? CLIENT],
    ['xmlns:stream', STREAMS],
  ]);
}

/** Stanzas that belong to the session and to no channel. */
export type Negotiation =
  | { readonly type: 'features'; readonly startTls: boolean }
  | { readonly type: 'starttls' }
  | { readonly type: 'proceed' };

const localName = (name: string): string => name.slice(name.indexOf(':') + 1);

export function readNegotiation(stanza: XmlElement): Negotiation | undefined {
  switch (localName(stanza.name)) {
    case 'features':
      return { type: 'features', startTls: childOf(stanza, 'starttls') !== undefined };
    case 'starttls':
      return { type: 'starttls' };
    case 'proceed':
      return { type: 'proceed' };
    default:
      return undefined;
  }
}

export const FEATURES_TLS = writeXml(
  element('stream:features', {}, [element('starttls', { xmlns: TLS }, [element('required')])]),
);
export const START_TLS = writeXml(element('starttls', { xmlns: TLS }));
export const PROCEED = writeXml(element('proceed', { xmlns: TLS }));
