/**
 * DHCP options (RFC 2132, 3442, 3396): one table, code and kind of value by name; codec of a whole field of
 * them. What is not in the table is skipped when read. An option that comes in several parts is put
 * together; one whose length does not fit its kind refuses the message.
 */
import { formatIp, parseIp } from '../addr/ip.ts';
import { formatPrefix, maskBytes, parsePrefix } from '../addr/prefix.ts';
import { bad } from './frame.ts';

export interface ClasslessRoute {
  readonly prefix: string;
  readonly gateway: string;
}

interface Kinds {
  u8: number;
  u16: number;
  u32: number;
  ip: string;
  ips: readonly string[];
  /** Bytes as they are, printable or not. */
  text: string;
  bytes: Uint8Array;
  routes: readonly ClasslessRoute[];
}

export const DHCP4_OPTIONS = {
  subnetMask: [1, 'ip'],
  routers: [3, 'ips'],
  dnsServers: [6, 'ips'],
  hostname: [12, 'text'],
  domain: [15, 'text'],
  mtu: [26, 'u16'],
  broadcast: [28, 'ip'],
  ntpServers: [42, 'ips'],
  requestedAddress: [50, 'ip'],
  leaseSeconds: [51, 'u32'],
  overload: [52, 'u8'],
  messageType: [53, 'u8'],
  serverId: [54, 'ip'],
  parameters: [55, 'bytes'],
  message: [56, 'text'],
  maxMessageSize: [57, 'u16'],
  renewalSeconds: [58, 'u32'],
  rebindingSeconds: [59, 'u32'],
  vendorClass: [60, 'text'],
  clientId: [61, 'bytes'],
  classlessRoutes: [121, 'routes'],
} as const satisfies Record<string, readonly [number, keyof Kinds]>;

export type OptionName = keyof typeof DHCP4_OPTIONS;
export type Dhcp4Options = {
  readonly [N in OptionName]?: Kinds[(typeof DHCP4_OPTIONS)[N][1]];
};

const PAD = 0;
const END = 255;
const NAMES = Object.keys(DHCP4_OPTIONS) as OptionName[];
const BY_CODE = new Map(NAMES.map((name) => [DHCP4_OPTIONS[name][0] as number, name]));

export function optionOf(code: number): OptionName | undefined {
  return BY_CODE.get(code);
}

interface KindCodec<T> {
  /** Undefined: the length is wrong, or a value in it. */
  decode(bytes: Uint8Array): T | undefined;
  encode(value: T): Uint8Array;
}

function number(size: number): KindCodec<number> {
  return {
    decode: (bytes) =>
      bytes.length === size ? bytes.reduce((value, b) => value * 256 + b, 0) : undefined,
    encode: (value) =>
      Uint8Array.from({ length: size }, (_, i) => Math.floor(value / 256 ** (size - 1 - i))),
  };
}

const ips: KindCodec<readonly string[]> = {
  decode: (bytes) =>
    bytes.length === 0 || bytes.length % 4 !== 0
      ? undefined
      : Array.from({ length: bytes.length / 4 }, (_, i) =>
          formatIp(4, bytes.subarray(i * 4, i * 4 + 4)),
        ),
  encode: (list) => Uint8Array.from(list.flatMap((address) => [...parseIp(address).bytes])),
};

/** RFC 3442: length of the prefix, as many of its bytes as that takes, router. */
const routes: KindCodec<readonly ClasslessRoute[]> = {
  decode(bytes) {
    const out: ClasslessRoute[] = [];
    let at = 0;
    while (at < bytes.length) {
      const length = bytes[at] as number;
      const significant = Math.ceil(length / 8);
      const end = at + 1 + significant + 4;
      if (length > 32 || end > bytes.length) return undefined;
      const network = new Uint8Array(4);
      network.set(bytes.subarray(at + 1, at + 1 + significant));
      out.push({
        prefix: formatPrefix({ family: 4, bytes: maskBytes(network, length), length }),
        gateway: formatIp(4, bytes.subarray(end - 4, end)),
      });
      at = end;
    }
    return out.length === 0 ? undefined : out;
  },
  encode: (list) =>
    Uint8Array.from(
      list.flatMap(({ prefix, gateway }) => {
        const { bytes, length } = parsePrefix(prefix);
        return [length, ...bytes.subarray(0, Math.ceil(length / 8)), ...parseIp(gateway).bytes];
      }),
    ),
};

const KINDS: { readonly [K in keyof Kinds]: KindCodec<Kinds[K]> } = {
  u8: number(1),
  u16: number(2),
  u32: number(4),
  ip: {
    decode: (bytes) => (bytes.length === 4 ? formatIp(4, bytes) : undefined),
    encode: (address) => parseIp(address).bytes,
  },
  ips,
  text: {
    decode: (bytes) => (bytes.length === 0 ? undefined : Buffer.from(bytes).toString('latin1')),
    encode: (text) => Buffer.from(text, 'latin1'),
  },
  bytes: {
    decode: (bytes) => (bytes.length === 0 ? undefined : bytes),
    encode: (bytes) => bytes,
  },
  routes,
};

/** Adds the options of one field to `found`, by code; returns nothing found beyond its end marker. */
export function collectOptions(field: Uint8Array, found: Map<number, Uint8Array[]>): void {
  let at = 0;
  while (at < field.length) {
    const code = field[at++] as number;
    if (code === PAD) continue;
    if (code === END) return;
    const length = field[at++];
    if (length === undefined || at + length > field.length) bad(`DHCP: option ${code} is cut off`);
    const parts = found.get(code);
    const part = field.subarray(at, at + length);
    if (parts === undefined) found.set(code, [part]);
    else parts.push(part);
    at += length;
  }
}

export function decodeOptions(found: ReadonlyMap<number, readonly Uint8Array[]>): Dhcp4Options {
  const out: Record<string, unknown> = {};
  for (const [code, parts] of found) {
    const name = optionOf(code);
    if (name === undefined) continue;
    const bytes = parts.length === 1 ? (parts[0] as Uint8Array) : Buffer.concat(parts);
    const value = KINDS[DHCP4_OPTIONS[name][1]].decode(bytes);
    if (value === undefined) bad(`DHCP: option ${code} (${name}) of ${bytes.length} bytes`);
    out[name] = value;
  }
  return out as Dhcp4Options;
}

/** One option with its code and length; in parts where it is longer than 255 bytes (RFC 3396). */
export function encodeOption<N extends OptionName>(
  name: N,
  value: NonNullable<Dhcp4Options[N]>,
): Uint8Array {
  const [code, kind] = DHCP4_OPTIONS[name];
  const bytes = (KINDS[kind] as KindCodec<unknown>).encode(value);
  const parts: Uint8Array[] = [];
  for (let at = 0; at === 0 || at < bytes.length; at += 255) {
    const part = bytes.subarray(at, at + 255);
    parts.push(Uint8Array.of(code, part.length), part);
  }
  return Buffer.concat(parts);
}
