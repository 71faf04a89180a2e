/**
 * Routes from outside (a socket, a file, a caller) checked field by field and brought into canonical
 * spelling, so that past this line equal routes have equal text.
 * Refuses with a ParseError that names the field; unknown fields are refused too.
 */
import { canonicalIp } from '../addr/ip.ts';
import { canonicalMac } from '../addr/mac.ts';
import { canonicalPrefix, parsePrefix } from '../addr/prefix.ts';
import { canonicalRouteTarget } from '../addr/route-target.ts';
import { ParseError } from '../errors.ts';
import type { EncapName, PathHop, Route, RouteFamily, RouteKey, RouteUpdate } from './route.ts';

/** Far above what a data plane takes (kMaxEcmpMembers 256, kMaxReplicas 1024); bounds memory. */
export const MAX_HOPS = 1024;
export const MAX_ROUTE_TARGETS = 256;
export const MAX_SECURITY_GROUPS = 256;
export const MAX_NAME_LENGTH = 128; // kMaxNameLength
/** A network elsewhere, by its fully qualified name: the data plane hears nothing of it. */
const MAX_ORIGIN_LENGTH = 1024;
const MAX_LABEL = (1 << 20) - 2; // the last one says "no label" in the data plane
const MAX_VNI = (1 << 24) - 1;
const UINT32 = 0xffffffff;

const FAMILIES: readonly RouteFamily[] = ['inet', 'inet6', 'evpn'];
const ENCAPS: readonly EncapName[] = ['gre', 'udp', 'vxlan'];
const HASH_FIELDS = [
  'source',
  'destination',
  'source-port',
  'destination-port',
  'protocol',
] as const;

type Fields = Readonly<Record<string, unknown>>;

function fail(at: string, why: string): never {
  throw new ParseError(`${at}: ${why}`);
}

export function fieldsOf(value: unknown, at: string, known: readonly string[]): Fields {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    fail(at, 'not an object');
  for (const name of Object.keys(value)) {
    if (!known.includes(name)) fail(at, `unknown field ${JSON.stringify(name.slice(0, 64))}`);
  }
  return value as Fields;
}

function whole(value: unknown, at: string, min: number, max: number): number {
  if (typeof value !== 'number' || !Number.isInteger(value) || value < min || value > max) {
    fail(at, `must be a whole number from ${min} to ${max}`);
  }
  return value;
}

function list(value: unknown, at: string, max: number): readonly unknown[] {
  if (!Array.isArray(value)) fail(at, 'not a list');
  if (value.length > max) fail(at, `more than ${max} entries`);
  return value;
}

function text(value: unknown, at: string): string {
  if (typeof value !== 'string') fail(at, 'not a text');
  return value;
}

function oneOf<T extends string>(value: unknown, at: string, choices: readonly T[]): T {
  const found = choices.find((choice) => choice === value);
  if (found === undefined) fail(at, `must be one of ${choices.join(', ')}`);
  return found;
}

function parsed<T>(value: unknown, at: string, parse: (text: string) => T): T {
  const given = text(value, at);
  try {
    return parse(given);
  } catch (error) {
    if (error instanceof ParseError) fail(at, error.message);
    throw error;
  }
}

/** A name that can be shown and used in keys: 1 to 128 bytes, no control characters. */
export function checkName(value: unknown, at: string, most = MAX_NAME_LENGTH): string {
  const name = text(value, at);
  if (name.length === 0 || Buffer.byteLength(name) > most) {
    fail(at, `must have 1 to ${most} bytes`);
  }
  if (/[\p{Cc}\p{Cs}]/u.test(name)) fail(at, 'holds a control character');
  return name;
}

/** The parts of an evpn prefix: `mac` or `mac,address/len`. */
export function parseEvpnPrefix(prefix: string): { readonly mac: string; readonly ip?: string } {
  const comma = prefix.indexOf(',');
  if (comma < 0) return { mac: canonicalMac(prefix) };
  return {
    mac: canonicalMac(prefix.slice(0, comma)),
    ip: canonicalPrefix(prefix.slice(comma + 1)),
  };
}

function canonicalRoutePrefix(family: RouteFamily, prefix: string): string {
  if (family === 'evpn') {
    const { mac, ip } = parseEvpnPrefix(prefix);
    return ip === undefined ? mac : `${mac},${ip}`;
  }
  const canonical = canonicalPrefix(prefix);
  if (parsePrefix(canonical).family !== (family === 'inet' ? 4 : 6)) {
    throw new ParseError(`${JSON.stringify(prefix)} is not a prefix of family ${family}`);
  }
  return canonical;
}

function keyFields(fields: Fields, at: string): RouteKey {
  const family = oneOf(fields.family, `${at}.family`, FAMILIES);
  return {
    instance: checkName(fields.instance, `${at}.instance`),
    family,
    prefix: parsed(fields.prefix, `${at}.prefix`, (t) => canonicalRoutePrefix(family, t)),
  };
}

export function checkKey(value: unknown, at = 'key'): RouteKey {
  return keyFields(fieldsOf(value, at, ['instance', 'family', 'prefix']), at);
}

function checkHop(value: unknown, at: string): PathHop {
  const fields = fieldsOf(value, at, ['address', 'label', 'encaps', 'member', 'weight', 'mac']);
  const encaps = list(fields.encaps, `${at}.encaps`, ENCAPS.length).map((e, i) =>
    oneOf(e, `${at}.encaps[${i}]`, ENCAPS),
  );
  if (encaps.length === 0) fail(`${at}.encaps`, 'is empty');
  if (new Set(encaps).size !== encaps.length) fail(`${at}.encaps`, 'names one twice');
  const address = parsed(fields.address, `${at}.address`, canonicalIp);
  return {
    address,
    label: whole(fields.label, `${at}.label`, 0, encaps.includes('vxlan') ? MAX_VNI : MAX_LABEL),
    encaps,
    ...(fields.member !== undefined && {
      member: whole(fields.member, `${at}.member`, 0, 0xfffe),
    }),
    ...(fields.weight !== undefined && {
      weight: whole(fields.weight, `${at}.weight`, 0, 0xffff),
    }),
    ...(fields.mac !== undefined && { mac: parsed(fields.mac, `${at}.mac`, canonicalMac) }),
  };
}

const ROUTE_FIELDS = [
  'instance',
  'family',
  'prefix',
  'hops',
  'localPreference',
  'med',
  'routeTargets',
  'originVn',
  'securityGroups',
  'sequence',
  'loadBalance',
];

export function checkRoute(value: unknown, at = 'route'): Route {
  const fields = fieldsOf(value, at, ROUTE_FIELDS);
  const key = keyFields(fields, at);
  const hops = list(fields.hops, `${at}.hops`, MAX_HOPS).map((h, i) =>
    checkHop(h, `${at}.hops[${i}]`),
  );
  if (hops.length === 0) fail(`${at}.hops`, 'is empty');
  const members = hops.flatMap((h) => (h.member === undefined ? [] : [h.member]));
  if (new Set(members).size !== members.length) fail(`${at}.hops`, 'one member id twice');
  const number = (name: string) =>
    fields[name] === undefined ? {} : { [name]: whole(fields[name], `${at}.${name}`, 0, UINT32) };
  return {
    ...key,
    hops,
    ...number('localPreference'),
    ...number('med'),
    ...number('sequence'),
    ...(fields.routeTargets !== undefined && {
      routeTargets: list(fields.routeTargets, `${at}.routeTargets`, MAX_ROUTE_TARGETS).map((t, i) =>
        parsed(t, `${at}.routeTargets[${i}]`, canonicalRouteTarget),
      ),
    }),
    ...(fields.originVn !== undefined && {
      originVn: checkName(fields.originVn, `${at}.originVn`, MAX_ORIGIN_LENGTH),
    }),
    ...(fields.securityGroups !== undefined && {
      securityGroups: list(fields.securityGroups, `${at}.securityGroups`, MAX_SECURITY_GROUPS).map(
        (g, i) => whole(g, `${at}.securityGroups[${i}]`, 0, UINT32),
      ),
    }),
    ...(fields.loadBalance !== undefined && {
      loadBalance: list(fields.loadBalance, `${at}.loadBalance`, HASH_FIELDS.length).map((f, i) =>
        oneOf(f, `${at}.loadBalance[${i}]`, HASH_FIELDS),
      ),
    }),
  };
}

export function checkUpdate(value: unknown, at = 'update'): RouteUpdate {
  const fields = fieldsOf(value, at, ['type', 'route', 'key', 'instance']);
  const kinds = ['announce', 'withdraw', 'end-of-rib', 'stale'] as const;
  const type = oneOf(fields.type, `${at}.type`, kinds);
  if (type === 'announce') return { type, route: checkRoute(fields.route, `${at}.route`) };
  if (type === 'withdraw') return { type, key: checkKey(fields.key, `${at}.key`) };
  return { type, instance: checkName(fields.instance, `${at}.instance`) };
}
