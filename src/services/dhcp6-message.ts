/**
 * DHCPv6 messages between client and server (RFC 8415 §8, 21): a type, a transaction, options in options.
 * Options that are not in the table are skipped; one that does not fit its kind refuses the message.
 */
import { formatIp, parseIp } from '../addr/ip.ts';
import { encodeName } from './domain-name.ts';
import { bad, view } from './frame.ts';

export const MESSAGE6 = {
  solicit: 1,
  advertise: 2,
  request: 3,
  confirm: 4,
  renew: 5,
  rebind: 6,
  reply: 7,
  release: 8,
  decline: 9,
  informationRequest: 11,
} as const;

const CODE = {
  clientId: 1,
  serverId: 2,
  iaNa: 3,
  iaTa: 4,
  iaAddress: 5,
  optionRequest: 6,
  preference: 7,
  status: 13,
  rapidCommit: 14,
  dnsServers: 23,
  domains: 24,
  iaPd: 25,
} as const;

export const STATUS6 = {
  success: 0,
  noAddrsAvail: 2,
  notOnLink: 4,
  noPrefixAvail: 6,
} as const;

/** RFC 8415 §11.1: a DUID is at most 130 bytes with its type. */
const MAX_DUID = 130;
/** IAs of one message: a tenant has one address, and a client a few wishes. */
const MAX_IAS = 16;

export interface Ia {
  readonly kind: 'na' | 'ta' | 'pd';
  readonly id: number;
  readonly t1: number;
  readonly t2: number;
  readonly addresses: readonly IaAddress[];
  readonly status?: number;
}

export interface IaAddress {
  readonly address: string;
  readonly preferred: number;
  readonly valid: number;
}

export interface Dhcp6Message {
  readonly type: number;
  /** 24 bits. */
  readonly transaction: number;
  readonly clientId?: Uint8Array;
  readonly serverId?: Uint8Array;
  readonly ias: readonly Ia[];
  /** Codes that the client asks for. */
  readonly requested?: readonly number[];
  readonly rapidCommit?: boolean;
  readonly preference?: number;
  readonly status?: number;
  readonly dnsServers?: readonly string[];
  readonly domain?: string;
}

export const OPTION6 = CODE;

interface Option {
  readonly code: number;
  readonly data: Uint8Array;
}

function readOptions(bytes: Uint8Array): Option[] {
  const out: Option[] = [];
  const at = view(bytes);
  for (let offset = 0; offset < bytes.length; ) {
    if (offset + 4 > bytes.length) bad('DHCPv6: an option is cut off');
    const [code, length] = [at.getUint16(offset), at.getUint16(offset + 2)];
    const end = offset + 4 + length;
    if (end > bytes.length) bad(`DHCPv6: option ${code} is cut off`);
    out.push({ code, data: bytes.subarray(offset + 4, end) });
    offset = end;
  }
  return out;
}

function fits(option: Option, ok: boolean): void {
  if (!ok) bad(`DHCPv6: option ${option.code} of ${option.data.length} bytes`);
}

function readDuid(option: Option): Uint8Array {
  fits(option, option.data.length >= 3 && option.data.length <= MAX_DUID);
  return option.data;
}

function readStatus(option: Option): number {
  fits(option, option.data.length >= 2);
  return view(option.data).getUint16(0);
}

function readAddress(option: Option): IaAddress {
  fits(option, option.data.length >= 24);
  const at = view(option.data);
  readOptions(option.data.subarray(24));
  return {
    address: formatIp(6, option.data.subarray(0, 16)),
    preferred: at.getUint32(16),
    valid: at.getUint32(20),
  };
}

function readIa(option: Option, kind: Ia['kind']): Ia {
  const { data } = option;
  const fixed = kind === 'ta' ? 4 : 12;
  fits(option, data.length >= fixed);
  const at = view(data);
  const inner = readOptions(data.subarray(fixed));
  const status = inner.find(({ code }) => code === CODE.status);
  return {
    kind,
    id: at.getUint32(0),
    t1: kind === 'ta' ? 0 : at.getUint32(4),
    t2: kind === 'ta' ? 0 : at.getUint32(8),
    addresses: inner.filter(({ code }) => code === CODE.iaAddress).map(readAddress),
    ...(status === undefined ? {} : { status: readStatus(status) }),
  };
}

const IA_KINDS = new Map<number, Ia['kind']>([
  [CODE.iaNa, 'na'],
  [CODE.iaTa, 'ta'],
  [CODE.iaPd, 'pd'],
]);

export function decodeDhcp6(bytes: Uint8Array): Dhcp6Message {
  if (bytes.length < 4) bad(`DHCPv6: ${bytes.length} bytes`);
  const options = readOptions(bytes.subarray(4));
  const one = (code: number): Option | undefined => {
    const found = options.filter((option) => option.code === code);
    if (found.length > 1) bad(`DHCPv6: option ${code} twice`);
    return found[0];
  };
  const [clientId, serverId, asked] = [
    one(CODE.clientId),
    one(CODE.serverId),
    one(CODE.optionRequest),
  ];
  if (asked !== undefined) fits(asked, asked.data.length % 2 === 0);
  const ias = options.flatMap((option) => {
    const kind = IA_KINDS.get(option.code);
    return kind === undefined ? [] : [readIa(option, kind)];
  });
  if (ias.length > MAX_IAS) bad(`DHCPv6: ${ias.length} IAs`);
  const status = one(CODE.status);
  return {
    type: bytes[0] as number,
    transaction: view(bytes).getUint32(0) & 0xffffff,
    ias,
    ...(clientId === undefined ? {} : { clientId: readDuid(clientId) }),
    ...(serverId === undefined ? {} : { serverId: readDuid(serverId) }),
    ...(asked === undefined ? {} : { requested: codes(asked.data) }),
    ...(one(CODE.rapidCommit) === undefined ? {} : { rapidCommit: true }),
    ...(status === undefined ? {} : { status: readStatus(status) }),
  };
}

function codes(data: Uint8Array): number[] {
  const at = view(data);
  return Array.from({ length: data.length / 2 }, (_, i) => at.getUint16(i * 2));
}

function u16(value: number): number[] {
  return [(value >> 8) & 0xff, value & 0xff];
}

function u32(value: number): number[] {
  return [value >>> 24, (value >>> 16) & 0xff, ...u16(value)];
}

function option(code: number, data: Iterable<number>): number[] {
  const bytes = [...data];
  return [...u16(code), ...u16(bytes.length), ...bytes];
}

function writeIa({ kind, id, t1, t2, addresses, status }: Ia): number[] {
  const code = { na: CODE.iaNa, ta: CODE.iaTa, pd: CODE.iaPd }[kind];
  const inner = addresses.flatMap(({ address, preferred, valid }) =>
    option(CODE.iaAddress, [...parseIp(address).bytes, ...u32(preferred), ...u32(valid)]),
  );
  const said = status === undefined ? [] : option(CODE.status, u16(status));
  const times = kind === 'ta' ? [] : [...u32(t1), ...u32(t2)];
  return option(code, [...u32(id), ...times, ...inner, ...said]);
}

export function encodeDhcp6(message: Dhcp6Message): Uint8Array {
  const { transaction, clientId, serverId, requested, preference, status, domain } = message;
  const out = [message.type, ...u32(transaction & 0xffffff).slice(1)];
  if (clientId !== undefined) out.push(...option(CODE.clientId, clientId));
  if (serverId !== undefined) out.push(...option(CODE.serverId, serverId));
  for (const ia of message.ias) out.push(...writeIa(ia));
  if (requested !== undefined) out.push(...option(CODE.optionRequest, requested.flatMap(u16)));
  if (preference !== undefined) out.push(...option(CODE.preference, [preference]));
  if (status !== undefined) out.push(...option(CODE.status, u16(status)));
  if (message.rapidCommit === true) out.push(...option(CODE.rapidCommit, []));
  const servers = (message.dnsServers ?? []).flatMap((address) => [...parseIp(address).bytes]);
  if (servers.length > 0) out.push(...option(CODE.dnsServers, servers));
  if (domain !== undefined) out.push(...option(CODE.domains, encodeName(domain)));
  return Uint8Array.from(out);
}
