/**
 * DNS messages (RFC 1035 §4) as far as a proxy must know them: header and question of queries and answers, and
 * answers of its own. What is behind the question goes through as it is.
 */
import { parseIp } from '../addr/ip.ts';
import { decodeName, encodeName } from './domain-name.ts';
import { bad, view } from './frame.ts';

export const DNS_TYPE = { a: 1, ptr: 12, aaaa: 28, opt: 41 } as const;
export const DNS_CLASS_IN = 1;
export const RCODE = {
  ok: 0,
  formErr: 1,
  servFail: 2,
  nxDomain: 3,
  notImp: 4,
  refused: 5,
} as const;

const HEADER = 12;
const RESPONSE = 0x8000;
const OPCODE = 0x7800;
const AUTHORITATIVE = 0x0400;
const TRUNCATED = 0x0200;
const RECURSION_DESIRED = 0x0100;
const RECURSION_AVAILABLE = 0x0080;

export interface DnsMessage {
  readonly id: number;
  readonly flags: number;
  readonly isResponse: boolean;
  readonly opcode: number;
  readonly question: DnsQuestion | undefined;
  /** Of the question, as it is on the wire. */
  readonly questionBytes: Uint8Array;
}

export interface DnsQuestion {
  /** In lower case, without the dot at its end. */
  readonly name: string;
  readonly type: number;
  readonly class: number;
}

/** One question, or none; anything else is refused. */
export function decodeDns(bytes: Uint8Array): DnsMessage {
  if (bytes.length < HEADER) bad(`DNS: ${bytes.length} bytes`);
  const at = view(bytes);
  const flags = at.getUint16(2);
  const questions = at.getUint16(4);
  if (questions > 1) bad(`DNS: ${questions} questions`);
  const head = {
    id: at.getUint16(0),
    flags,
    isResponse: (flags & RESPONSE) !== 0,
    opcode: (flags & OPCODE) >> 11,
  };
  if (questions === 0) return { ...head, question: undefined, questionBytes: new Uint8Array() };
  const { name, end } = decodeName(bytes, HEADER);
  if (end + 4 > bytes.length) bad('DNS: the question is cut off');
  return {
    ...head,
    question: { name, type: at.getUint16(end), class: at.getUint16(end + 2) },
    questionBytes: bytes.subarray(HEADER, end + 4),
  };
}

/** The same message under another id. */
export function withId(bytes: Uint8Array, id: number): Uint8Array {
  const copy = Uint8Array.from(bytes);
  view(copy).setUint16(0, id);
  return copy;
}

/** Whether the answer is to that query: the same question, whatever the case of its letters. */
export function answers(query: DnsMessage, answer: DnsMessage): boolean {
  const [asked, told] = [query.question, answer.question];
  if (!answer.isResponse || asked === undefined) return false;
  // A server that failed may leave the question out (RFC 1035 §4.1.1: what it could not interpret).
  if (told === undefined) return (answer.flags & 0xf) !== RCODE.ok;
  return told.name === asked.name && told.type === asked.type && told.class === asked.class;
}

export type DnsRecord =
  | { readonly type: 'address'; readonly address: string }
  | { readonly type: 'name'; readonly name: string };

/** Our own answer, with records about the name that was asked for. */
export function ownAnswer(
  query: DnsMessage,
  rcode: number,
  records: readonly DnsRecord[] = [],
  ttl = 0,
): Uint8Array {
  const header = new Uint8Array(HEADER);
  const at = view(header);
  const known = rcode === RCODE.ok ? AUTHORITATIVE : 0;
  const kept = query.flags & (OPCODE | RECURSION_DESIRED);
  at.setUint16(0, query.id);
  at.setUint16(2, RESPONSE | known | RECURSION_AVAILABLE | kept | rcode);
  at.setUint16(4, query.question === undefined ? 0 : 1);
  at.setUint16(6, records.length);
  return Buffer.concat([header, query.questionBytes, ...records.map((r) => recordBytes(r, ttl))]);
}

/** With a pointer to the question's name. */
function recordBytes(record: DnsRecord, ttl: number): Uint8Array {
  const data = record.type === 'address' ? parseIp(record.address).bytes : encodeName(record.name);
  const type =
    record.type === 'name' ? DNS_TYPE.ptr : data.length === 4 ? DNS_TYPE.a : DNS_TYPE.aaaa;
  const fixed = new Uint8Array(12);
  const at = view(fixed);
  at.setUint16(0, 0xc000 | HEADER);
  at.setUint16(2, type);
  at.setUint16(4, DNS_CLASS_IN);
  at.setUint32(6, ttl);
  at.setUint16(10, data.length);
  return Buffer.concat([fixed, data]);
}

/** For a reader that does not take it whole: header and question, and that there is more. */
export function truncated(bytes: Uint8Array, message: DnsMessage): Uint8Array {
  const header = Uint8Array.from(bytes.subarray(0, HEADER));
  const at = view(header);
  at.setUint16(2, message.flags | TRUNCATED);
  for (const count of [6, 8, 10]) at.setUint16(count, 0);
  return Buffer.concat([header, message.questionBytes]);
}

/** The name that is asked for who has this address (RFC 1035 §3.5, RFC 3596 §2.5). */
export function reverseName(address: string): string {
  const { family, bytes } = parseIp(address);
  if (family === 4) return `${[...bytes].reverse().join('.')}.in-addr.arpa`;
  const nibbles = [...bytes].flatMap((byte) => [byte >> 4, byte & 0xf]).reverse();
  return `${nibbles.map((n) => n.toString(16)).join('.')}.ip6.arpa`;
}
