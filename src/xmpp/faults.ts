/**
 * What ends an XMPP session, as codes for programs. Codes are stable; a fault of one item is no fault of the
 * session and is not here (RefusedItem, stanza.ts).
 */
import { VRouterError } from '../errors.ts';

export const XMPP_FAULTS = {
  /** Not well-formed XML, or not UTF-8. */
  XMPP_NOT_XML: 'not well-formed',
  /** Well-formed, and not allowed in a stream: document types, processing instructions. */
  XMPP_FORBIDDEN_XML: 'not allowed in a stream',
  XMPP_HEADER_TOO_LONG: 'header too long',
  XMPP_STANZA_TOO_LONG: 'stanza too long',
  XMPP_TOO_DEEP: 'elements too deep',
  XMPP_TOO_MANY_ELEMENTS: 'too many elements',
  XMPP_TOO_MANY_ATTRIBUTES: 'too many attributes',
  XMPP_ATTRIBUTES_TOO_LONG: 'attributes too long',
  XMPP_TEXT_TOO_LONG: 'text too long',
  /** Text between stanzas that is neither white space nor a keepalive. */
  XMPP_NOT_FILLER: 'text between stanzas',
  XMPP_BAD_HEADER: 'not a stream header',
  XMPP_BAD_STANZA: 'not a stanza of this exchange',
  XMPP_TOO_MANY_UNPAIRED: 'too many publishes without a collection',
  XMPP_LOST: 'connection lost',
  XMPP_HOLD_TIME: 'hold time over',
  XMPP_OPEN_TIME: 'not opened in time',
  XMPP_OTHER_CLUSTER: 'another sub-cluster',
  /** The control node wants TLS and we do not, or it asked too late. */
  XMPP_TLS_WANTED: 'TLS is wanted',
  XMPP_TLS_NOT_OFFERED: 'TLS is not offered',
  XMPP_STANZA_TIME: 'stanza not finished in time',
  /** It reads too slowly, or not at all. */
  XMPP_TOO_SLOW: 'the peer does not read',
  XMPP_TLS_FAILED: 'TLS failed',
  /** The offences for which a control node ends an agent's session. */
  XMPP_DUPLICATE_NAME: 'another session has this name',
  XMPP_SUBSCRIBED_TWICE: 'subscribed already',
  XMPP_NOT_SUBSCRIBED: 'not subscribed',
  XMPP_TOO_MANY_SUBSCRIPTIONS: 'too many subscriptions',
  XMPP_TOO_MANY_ROUTES: 'too many routes',
  /** Ours: a value that cannot be sent. */
  XMPP_CANNOT_SEND: 'cannot be sent',
} as const;

export type XmppFault = keyof typeof XMPP_FAULTS;

export function xmppFault(code: XmppFault, detail: string): VRouterError {
  return new VRouterError(code, `${XMPP_FAULTS[code]}: ${detail}`);
}
