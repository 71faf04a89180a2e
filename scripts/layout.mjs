/**
 * Writes src/dataplane/layout.ts from what the built addon says of itself, so that ops, fields, names
 * and record offsets have one source: native/**.def.
 *   node scripts/layout.mjs           rewrite the file
 *   node scripts/layout.mjs --check   say whether it is up to date; exit status 1 if not
 * The addon is VROUTER_ADDON, else the newer of build/Release and out/Release.
 */
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const target = join(root, 'src', 'dataplane', 'layout.ts');

const NO_LABEL = 0xfffff;
const NO_PORT = 0xffffffff;

/**
 * Fields an op may leave out, and what is sent then; `Struct.field` goes before `field`. Lists may
 * always be left out (empty).
 */
const DEFAULTS = {
  flags: 0,
  flow_quota: 0,
  hash_fields: 0,
  icmp_errors_per_second: 0,
  ipv4: '',
  ipv6: '',
  gateway4: '',
  gateway6: '',
  name: '',
  'VifSpec.port': NO_PORT,
  'VifSpec.mtu': 1500,
  'VifSpec.next_hop': 0,
  'InterfaceSpec.destination_mac': '',
  'InterfaceSpec.source_mac': '',
  'TunnelSpec.vrf': 0,
  'TunnelSpec.l3_vxlan_mac': '',
  'TunnelSpec.legs_down': 0,
  'ReplicateSpec.kind': 0,
  'EcmpMember.label': NO_LABEL,
  'EcmpMember.weight': 1,
  'Replica.label': NO_LABEL,
  'RouteSpec.label': NO_LABEL,
  'RouteSpec.mac': '',
  'MacSpec.label': NO_LABEL,
  'PolicyRule.protocol': 0,
  'PolicyRule.source': '',
  'PolicyRule.source_port_low': 0,
  'PolicyRule.source_port_high': 65535,
  'PolicyRule.destination': '',
  'PolicyRule.destination_port_low': 0,
  'PolicyRule.destination_port_high': 65535,
  'FloatingIpSpec.direction': 0,
  'FloatingIpSpec.port_map': 0,
  'SourceNatSpec.source': '',
  'SourceNatSpec.port_low': 1024,
  'SourceNatSpec.port_high': 65535,
};

function findAddon() {
  if (process.env.VROUTER_ADDON) return resolve(process.env.VROUTER_ADDON);
  const built = ['build/Release/vrouter.node', 'out/Release/vrouter.node']
    .map((path) => join(root, path))
    .filter((path) => existsSync(path))
    .sort((a, b) => statSync(b).mtimeMs - statSync(a).mtimeMs);
  if (built.length === 0) {
    console.error('no vrouter.node has been built: run npm run build, or set VROUTER_ADDON');
    process.exit(1);
  }
  return built[0];
}

const used = new Set();

function field(owner, { name, type }) {
  if (typeof type === 'object') return { name, list: type.list };
  const key = `${owner}.${name}` in DEFAULTS ? `${owner}.${name}` : name;
  if (!(key in DEFAULTS)) return { name, type };
  used.add(key);
  return { name, type, default: DEFAULTS[key] };
}

function camel(name) {
  return name.replace(/_(.)/g, (_, letter) => letter.toUpperCase());
}

/** [{ name, bit }] -> { name: bit } */
function bits(list) {
  return Object.fromEntries(list.map(({ name, bit }) => [camel(name), bit]));
}

/** ['first', 'second'] -> { first: 0, second: 1 } */
function numbers(names) {
  return Object.fromEntries(names.map((name, value) => [camel(name), value]));
}

/** TypeScript literal of a value; objects and arrays that fit stay on one line. */
function literal(value, indent, room) {
  if (typeof value === 'string') {
    const quote = value.includes("'") && !value.includes('"') ? '"' : "'";
    return quote + value.replaceAll('\\', '\\\\').replaceAll(quote, `\\${quote}`) + quote;
  }
  if (typeof value !== 'object') return String(value);
  const isArray = Array.isArray(value);
  const pad = '  '.repeat(indent + 1);
  const parts = isArray
    ? value.map((v) => ['', v])
    : Object.entries(value).map(([k, v]) => [`${/^[A-Za-z_]\w*$/.test(k) ? k : `'${k}'`}: `, v]);
  const [open, close] = isArray ? ['[', ']'] : ['{', '}'];
  if (parts.length === 0) return open + close;
  const flat = parts.every(([, v]) => typeof v !== 'object' || (isArray && parts.length === 1));
  if (flat) {
    const body = parts.map(([k, v]) => k + literal(v, 0, Infinity)).join(', ');
    const line = isArray ? `[${body}]` : `{ ${body} }`;
    if (line.length <= room) return line;
  }
  const lines = parts.map(([k, v]) => {
    const width = 100 - pad.length - k.length - 1;
    return `${pad}${k}${literal(v, indent + 1, width)},`;
  });
  return `${open}\n${lines.join('\n')}\n${'  '.repeat(indent)}${close}`;
}

const TYPES_TEXT = `
export type OpName = keyof typeof layout.ops;
export type StructName = keyof typeof layout.structs;

/** snake_case of the core -> camelCase of TypeScript. */
export type Camel<S extends string> = S extends \`\${infer A}_\${infer B}\`
  ? \`\${A}\${Capitalize<Camel<B>>}\`
  : S;

/** Wire types; addresses, prefixes and MACs are text here, '' = none. */
interface Scalars {
  u8: number;
  u16: number;
  u32: number;
  u64: bigint;
  mac: string;
  address: string;
  prefix: string;
  name: string;
}

type Field = { readonly name: string };
type MayBeAbsent = { readonly default: unknown } | { readonly list: string };

type InputValue<F> = F extends { readonly list: infer S extends StructName }
  ? readonly LayoutStruct<S>[]
  : F extends { readonly type: infer T extends keyof Scalars }
    ? Scalars[T]
    : never;
type FullValue<F> = F extends { readonly list: infer S extends StructName }
  ? readonly FullLayoutStruct<S>[]
  : InputValue<F>;

type Input<Fields extends readonly Field[]> = {
  readonly [F in Fields[number] as F extends MayBeAbsent ? never : Camel<F['name']>]: InputValue<F>;
} & {
  readonly [F in Fields[number] as F extends MayBeAbsent ? Camel<F['name']> : never]?:
    | InputValue<F>
    | undefined;
};
type Full<Fields extends readonly Field[]> = {
  readonly [F in Fields[number] as Camel<F['name']>]: FullValue<F>;
};

/** What an op takes; fields with a default may be left out. */
export type LayoutOp<N extends OpName> = Input<(typeof layout.ops)[N]['fields']>;
/** What an op has when it is read back: every field. */
export type FullLayoutOp<N extends OpName> = Full<(typeof layout.ops)[N]['fields']>;
export type LayoutStruct<S extends StructName> = Input<(typeof layout.structs)[S]['fields']>;
export type FullLayoutStruct<S extends StructName> = Full<(typeof layout.structs)[S]['fields']>;
`;

function render(addon) {
  const text = addon.layout();
  const records = addon.recordLayout();
  const native = JSON.parse(text);
  const structs = Object.fromEntries(
    native.structs.map((s) => [s.name, { fields: s.fields.map((f) => field(s.name, f)) }]),
  );
  const ops = Object.fromEntries(
    native.ops.map((op) => [
      op.wire,
      { code: op.code, name: op.name, fields: op.fields.map((f) => field(op.name, f)) },
    ]),
  );
  for (const key of Object.keys(DEFAULTS)) {
    if (!used.has(key)) throw new Error(`the default of ${key} belongs to no field any more`);
  }
  const layout = {
    version: native.version,
    digest: createHash('sha256').update(text).update(records).digest('hex'),
    structs,
    ops,
    status: native.status,
    dropReasons: native.dropReasons,
    flowDrops: native.flowDrops,
    totals: native.totals,
    vifCounters: native.vifCounters,
    vrfCounters: native.vrfCounters,
    tables: native.tables,
    limits: native.limits,
    vifTypes: numbers(native.vifTypes),
    vifFlags: bits(native.vifFlags),
    nextHopFlags: bits(native.nextHopFlags),
    routeFlags: bits(native.routeFlags),
    macFlags: bits(native.macFlags),
    routerFlags: bits(native.routerFlags),
    hashFields: bits(native.hashFields),
    encaps: numbers(native.encaps),
    replicateKinds: numbers(native.replicateKinds),
    natDirections: numbers(native.natDirections),
    ...JSON.parse(records),
  };
  return `/**
 * Generated by scripts/layout.mjs from the addon's own description; do not edit. Names and offsets are
 * those of native/state/objects.def, native/base/*.def, native/state/counters.h and
 * native/binding/records.h. A test asserts that addon and file say the same.
 */
export const layout = ${literal(layout, 0, 0)} as const;
${TYPES_TEXT}`;
}

const path = findAddon();
const wanted = render(createRequire(import.meta.url)(path));
const shown = relative(root, target);
if (process.argv.includes('--check')) {
  if (!existsSync(target) || readFileSync(target, 'utf8') !== wanted) {
    console.error(`${shown} is not what ${path} says: run npm run layout`);
    process.exit(1);
  }
  console.log(`${shown} is up to date`);
} else {
  writeFileSync(target, wanted);
  console.log(`wrote ${shown} from ${path}`);
}
