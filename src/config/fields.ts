/**
 * The building blocks of every configuration schema: addresses and names checked at the edge, mappings
 * that refuse unknown keys and choices that refuse unknown words, both naming the nearest known one.
 */
import { z } from 'zod';
import { isIp, isIpv4, isIpv6, parseIp } from '../addr/ip.ts';
import { canonicalMac, isGroupMac, isMac, MAC_BROADCAST, MAC_ZERO, parseMac } from '../addr/mac.ts';
import { parseAddressInNetwork, parsePrefix } from '../addr/prefix.ts';
import { parseRouteTarget } from '../addr/route-target.ts';
import { ParseError } from '../errors.ts';
import { suggestion } from './nearest.ts';

function parsedBy(parse: (text: string) => unknown) {
  return (text: string, context: z.RefinementCtx): void => {
    try {
      parse(text);
    } catch (error) {
      if (!(error instanceof ParseError)) throw error;
      context.addIssue({ code: 'custom', message: error.message });
    }
  };
}

export const ip = z.string().superRefine(parsedBy(parseIp)).describe('IPv4 or IPv6 address');
export const ipv4 = z
  .string()
  .refine(isIpv4, { error: 'an IPv4 address is needed' })
  .describe('IPv4 address');
export const ipv6 = z
  .string()
  .refine(isIpv6, { error: 'an IPv6 address is needed' })
  .describe('IPv6 address');
export const mac = z
  .string()
  .superRefine(parsedBy(parseMac))
  .describe('MAC address, six pairs of hex digits joined by colons');
/** What a bridge can be told of: a station's own MAC, or the broadcast address. */
export const bridgedMac = mac.refine(
  (text) => {
    if (!isMac(text)) return true; // said already
    const canonical = canonicalMac(text);
    return canonical === MAC_BROADCAST || (canonical !== MAC_ZERO && !isGroupMac(parseMac(text)));
  },
  { error: `no station's; of the group addresses only ${MAC_BROADCAST} can be given` },
);
export const prefix = z
  .string()
  .superRefine(parsedBy(parsePrefix))
  .describe('IPv4 or IPv6 prefix, address/length, no bits set past the length');
export const interfaceName = z
  .string()
  .regex(/^[^\s/:]{1,15}$/, { error: 'an interface name is 1 to 15 characters, no blank, / or :' });

/** An interface's: the address, and the length of the network it is in. */
export const addressInNetwork = z
  .string()
  .superRefine(parsedBy(parseAddressInNetwork))
  .describe('Address/length, as on an interface');
/** An address stands for its host prefix. */
export const prefixOrAddress = z
  .string()
  .superRefine((text, context) => {
    if (!isIp(text)) parsedBy(parsePrefix)(text, context);
  })
  .describe('Prefix, or an address for its /32 or /128');
export const routeTarget = z
  .string()
  .superRefine(parsedBy(parseRouteTarget))
  .describe('Route target, AS:number or address:number');

/** Names go into file names and socket paths, so no slash and no leading dot. */
export const NAME = /^[A-Za-z0-9_][A-Za-z0-9._:@-]{0,127}$/;
export const name = z
  .string()
  .regex(NAME, {
    error: 'a name is 1 to 128 of letters, digits, . _ : @ - and does not begin with . : @ -',
  })
  .describe('Name');

/** Contrail's fully qualified names: four parts of up to 255; more than a node takes as a name of its own. */
const MAX_INSTANCE_NAME_BYTES = 1024;
export const instanceName = z
  .string()
  .refine((text) => text !== '' && Buffer.byteLength(text) <= MAX_INSTANCE_NAME_BYTES, {
    error: `an instance name is 1 to ${MAX_INSTANCE_NAME_BYTES} bytes`,
  })
  .refine((text) => !/[\p{Cc}\p{Cs}\ufffe\uffff]/u.test(text), {
    error: 'an instance name holds no control character',
  })
  .describe('Name of a routing instance, as agents subscribe to it');

export const reference = z
  .union([z.string(), z.number().int().min(0)], { error: 'a name or an id is needed' })
  .describe('Name or id');

export function whole(min: number, max: number) {
  return z
    .number({ error: (issue) => (issue.input === undefined ? 'missing' : 'a number is needed') })
    .int({ error: 'a whole number is needed' })
    .min(min, { error: `must be ${min} to ${max}` })
    .max(max, { error: `must be ${min} to ${max}` });
}

export const portNumber = whole(0, 65535);

/** A mapping with exactly these keys. */
export function mapping<T extends z.core.$ZodLooseShape>(shape: T) {
  const known = Object.keys(shape);
  return z.strictObject(shape, {
    error: (issue) => {
      if (issue.code === 'unrecognized_keys') {
        const keys = issue['keys'] as string[];
        return keys.map((key) => `unknown key "${key}"${suggestion(key, known)}`).join('; ');
      }
      if (issue.code === 'invalid_type') {
        return issue.input === undefined ? 'missing' : 'a mapping of keys is needed';
      }
      return undefined;
    },
  });
}

/** One word of a list. */
export function choice<const T extends readonly [string, ...string[]]>(words: T) {
  return z.enum(words, {
    error: (issue) => {
      if (issue.input === undefined) return 'missing';
      if (typeof issue.input !== 'string') return `one of ${words.join(', ')} is needed`;
      return `unknown value "${issue.input.slice(0, 64)}"${suggestion(issue.input, words)}`;
    },
  });
}

/** Mappings told apart by the word at `key`. */
export function oneOf<
  T extends readonly [z.core.$ZodTypeDiscriminable, ...z.core.$ZodTypeDiscriminable[]],
>(key: string, options: T, words: readonly string[]) {
  return z.discriminatedUnion(key, options, {
    error: (issue) => {
      const input = issue.input as Record<string, unknown> | undefined;
      if (input === undefined || input === null || typeof input !== 'object') {
        return `a mapping with "${key}" is needed`;
      }
      const word = input[key];
      if (word === undefined) return `missing (known: ${words.join(', ')})`;
      return `unknown ${key} "${String(word).slice(0, 64)}"${suggestion(String(word), words)}`;
    },
  });
}

export const flagList = <const T extends readonly [string, ...string[]]>(words: T) =>
  z.array(choice(words)).max(words.length);

export const protocolName = choice(['any', 'tcp', 'udp', 'icmp', 'icmp6', 'sctp']);
/** Name or IANA number; 0 = any. */
export const protocol = z
  .union([protocolName, whole(0, 255)], {
    error: 'a protocol is any, tcp, udp, icmp, icmp6, sctp or a number 0 to 255',
  })
  .describe('IP protocol by name or number');

export const PROTOCOLS: Readonly<Record<string, number>> = {
  any: 0,
  icmp: 1,
  tcp: 6,
  udp: 17,
  icmp6: 58,
  sctp: 132,
};

export function protocolNumber(value: string | number): number {
  return typeof value === 'number' ? value : (PROTOCOLS[value] as number);
}

/** Certificates of both ends of a session. */
const pemFile = z.string().min(1).max(4096).describe('PEM file');
export const tlsFiles = mapping({ certificate: pemFile, key: pemFile, authority: pemFile });

export const portRange = z
  .tuple([portNumber, portNumber], { error: 'two ports are needed: [low, high]' })
  .refine(([low, high]) => low <= high, { error: 'the low port is above the high one' })
  .describe('[low, high]');

export const metricsSchema = mapping({
  host: z
    .enum(['127.0.0.1', '::1', 'localhost'])
    .optional()
    .describe('Loopback only; default 127.0.0.1'),
  port: portNumber,
}).describe('Prometheus metrics and health over HTTP');
