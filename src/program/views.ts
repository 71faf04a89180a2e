/**
 * A data plane's tables as the CLI's views (cli/views.ts). Reads only; each call is one consistent reading
 * of what it asks for.
 */
import { contains, type Prefix, parsePrefix } from '../addr/prefix.ts';
import { VERSION } from '../cli/version.ts';
import type {
  DropLogView,
  ExplainView,
  Family,
  FlowDetail,
  FlowStatistics,
  FlowTableView,
  FlowView,
  HashFieldName,
  InfoView,
  KernelTierView,
  LabelView,
  MacView,
  NextHopSlot,
  NextHopType,
  NextHopView,
  RouteView,
  VifView,
  VniView,
  VrfStatsView,
} from '../cli/views.ts';
import { count } from '../cli/views.ts';
import { suggestion } from '../config/nearest.ts';
import type { Dataplane, DataplaneInfo, Explained, FlowRecord, FullOp } from '../dataplane/api.ts';
import { layout } from '../dataplane/layout.ts';
import { VRouterError } from '../errors.ts';
import { HASH_FIELD_BITS, NEXT_HOP_FLAG_BITS, NO_LABEL } from './state-ops.ts';

type OpOf<N extends FullOp['op']> = Extract<FullOp, { op: N }>;

function only<N extends FullOp['op']>(ops: readonly FullOp[], name: N): OpOf<N>[] {
  return ops.filter((op): op is OpOf<N> => op.op === name);
}

function absent(what: string): never {
  throw new VRouterError('NOT_FOUND', `there is no ${what}`);
}

const orNull = (text: string) => (text === '' ? null : text);
const label = (value: number) => (value === NO_LABEL ? null : value);
const NONE = 0xffffffff;
const DISCARD = 0;
const hex = (mac: string) => mac.replaceAll(':', '');

// --- next hops ---------------------------------------------------------------------------------

const NEXT_HOP_OPS = {
  nh_discard_set: 'discard',
  nh_receive_set: 'receive',
  nh_l2_receive_set: 'l2_receive',
  nh_interface_set: 'interface',
  nh_tunnel_set: 'tunnel',
  nh_ecmp_set: 'ecmp',
  nh_replicate_set: 'replicate',
  nh_vrf_translate_set: 'vrf_translate',
} as const;
type NextHopOp = OpOf<keyof typeof NEXT_HOP_OPS>;

const isNextHop = (op: FullOp): op is NextHopOp => Object.hasOwn(NEXT_HOP_OPS, op.op);

const TUNNEL_FLAGS = ['', 'MPLSoGRE', 'MPLSoUDP', 'Vxlan'];
const REPLICATE_FLAGS = ['', 'Encap', 'Fabric', 'Evpn', 'Tor'];
const HASH_WORDS: readonly (readonly [number, HashFieldName])[] = [
  [HASH_FIELD_BITS.protocol, 'Proto'],
  [HASH_FIELD_BITS.source, 'SrcIP'],
  [HASH_FIELD_BITS.source_port, 'SrcPort'],
  [HASH_FIELD_BITS.destination, 'DstIp'],
  [HASH_FIELD_BITS.destination_port, 'DstPort'],
];

function nextHopFamily(op: NextHopOp): Family {
  if (op.op === 'nh_discard_set') return 'unspec';
  if (op.op === 'nh_l2_receive_set' || op.op === 'nh_replicate_set') return 'bridge';
  if ('flags' in op && (op.flags & NEXT_HOP_FLAG_BITS.bridge) !== 0) return 'bridge';
  return op.op === 'nh_tunnel_set' && op.destination.includes(':') ? 'inet6' : 'inet';
}

/** In the ancestor's order, which is that of its flag bits. */
function nextHopFlags(op: NextHopOp): string[] {
  const flags = 'flags' in op ? op.flags : 0;
  const words = ['Valid'];
  if (flags & NEXT_HOP_FLAG_BITS.policy) words.push('Policy');
  if (op.op === 'nh_replicate_set') words.push('Multicast');
  if (op.op === 'nh_tunnel_set') words.push(TUNNEL_FLAGS[op.encap] ?? '');
  if (op.op === 'nh_ecmp_set') words.push('Ecmp');
  if (op.op === 'nh_replicate_set') words.push(REPLICATE_FLAGS[op.kind] ?? '');
  if (flags & NEXT_HOP_FLAG_BITS.unicast_flood) words.push('Unicast Flood');
  if (op.op === 'nh_tunnel_set' && op.l3VxlanMac !== '') words.push('l3_vxlan');
  if (op.op === 'nh_tunnel_set' && (op.moreLegs.length > 0 || op.legsDown !== 0))
    words.push('Underlay Ecmp');
  return words.filter((word) => word !== '');
}

function nextHopDetails(op: NextHopOp): Partial<NextHopView> {
  switch (op.op) {
    case 'nh_receive_set':
      // No vif: to the router itself.
      return op.vif === NONE ? {} : { vif: op.vif };
    case 'nh_interface_set': {
      // Frames go out as they are: no rewrite.
      const bridge = (op.flags & NEXT_HOP_FLAG_BITS.bridge) !== 0;
      const data = bridge ? '' : `${hex(op.destinationMac)}${hex(op.sourceMac)}0800`;
      return { vif: op.vif, encapFamily: 0x0806, data };
    }
    case 'nh_tunnel_set': {
      const type = op.destination.includes(':') ? '86dd' : '0800';
      const legs = [op, ...op.moreLegs].map((leg, i) => ({
        vif: leg.vif,
        data: `${hex(leg.destinationMac)}${hex(leg.sourceMac)}${type}`,
        valid: (op.legsDown & (1 << i)) === 0,
      }));
      const [only] = legs;
      return {
        ...(legs.length === 1 && only?.valid === true
          ? { vif: only.vif, data: only.data }
          : { legs }),
        source: op.source,
        destination: op.destination,
        ...(op.l3VxlanMac === '' ? {} : { l3VxlanMac: op.l3VxlanMac }),
      };
    }
    case 'nh_ecmp_set':
      return {
        hashFields: HASH_WORDS.filter(([bit]) => op.hashFields & bit).map(([, word]) => word),
        slots: op.members.map(
          (m): NextHopSlot => ({
            nextHop: m.nextHop,
            label: label(m.label),
            member: m.member,
            weight: m.weight,
          }),
        ),
      };
    case 'nh_replicate_set':
      return { slots: op.replicas.map((r) => ({ nextHop: r.nextHop, label: label(r.label) })) };
    default:
      return {};
  }
}

function nextHopView(op: NextHopOp, references: ReadonlyMap<number, number>): NextHopView {
  return {
    id: op.nextHop,
    type: NEXT_HOP_OPS[op.op],
    family: nextHopFamily(op),
    references: references.get(op.nextHop) ?? 0,
    vrf: 'vrf' in op ? op.vrf : 0,
    flags: nextHopFlags(op),
    ...nextHopDetails(op),
  };
}

export function nextHops(dataplane: Dataplane): NextHopView[] {
  const references = dataplane.info().nextHopReferences;
  const listed = dataplane
    .dump('next_hops')
    .filter(isNextHop)
    .map((op) => nextHopView(op, references));
  // The discard of id 0 is always there; nothing makes it, so no dump has it.
  if (!listed.some(({ id }) => id === DISCARD)) {
    listed.push(nextHopView({ op: 'nh_discard_set', nextHop: DISCARD }, references));
  }
  return listed.sort((a, b) => a.id - b.id);
}

/** The one asked for, then what its slots name, each once, however deep they nest. */
export function nextHopTree(dataplane: Dataplane, id: number): NextHopView[] {
  const all = new Map(nextHops(dataplane).map((nextHop) => [nextHop.id, nextHop]));
  if (!all.has(id)) absent(`next hop ${id}`);
  const seen = new Set<number>();
  const visit = (at: number): void => {
    if (seen.has(at) || !all.has(at)) return;
    seen.add(at);
    for (const slot of all.get(at)?.slots ?? []) if (slot !== null) visit(slot.nextHop);
  };
  visit(id);
  return [...seen].map((at) => all.get(at) as NextHopView);
}

// --- vifs --------------------------------------------------------------------------------------

const VIF_TYPES = ['Host', 'Agent', 'Physical', 'Virtual'] as const;
/** Bits in the order of the letters; without L3 and L2 both are on. */
const VIF_LETTERS: readonly (readonly [number, string])[] = [
  [0x1, 'P'],
  [0x40, 'L3'],
  [0x80, 'L2'],
  [0x100, 'D'],
  [0x1000, 'Mnp'],
  [0x10000, 'Uuf'],
  [0x40000, 'Df'],
  [0x100000, 'Proxy'],
];
const FAMILIES = 0xc0;
const TRANSPORTS = {
  af_packet: 'Ethernet',
  tap: 'Virtual',
  memory: 'Virtual',
  pcap: 'Virtual',
  faulty: 'Virtual',
  socket: 'Virtual',
} as const;

function vifReferences(dataplane: Dataplane): Map<number, number> {
  const references = new Map<number, number>();
  const add = (vif: number) => references.set(vif, (references.get(vif) ?? 0) + 1);
  for (const op of dataplane.dump('next_hops')) if ('vif' in op) add(op.vif);
  for (const op of only(dataplane.dump('floating_ips'), 'floating_ip_set')) add(op.vif);
  return references;
}

export function vifs(dataplane: Dataplane): VifView[] {
  const references = vifReferences(dataplane);
  const counters = dataplane.readCounters().vifs;
  return only(dataplane.dump('vifs'), 'vif_set')
    .map((op): VifView => {
      const own = counters.get(op.vif);
      const port = op.port === NONE ? null : dataplane.portInfo(op.port);
      const flags = (op.flags & FAMILIES) === 0 ? op.flags | FAMILIES : op.flags;
      const failed = port === null ? 0n : port.rxErrors + port.rxDiscards;
      return {
        id: op.vif,
        name: op.name,
        transport: port === null ? null : TRANSPORTS[port.kind],
        type: VIF_TYPES[op.type as 0 | 1 | 2 | 3],
        nextHop: op.nextHop,
        mac: op.mac,
        ipv4: orNull(op.ipv4),
        ipv6: orNull(op.ipv6),
        gateway4: orNull(op.gateway4),
        gateway6: orNull(op.gateway6),
        vrf: op.vrf,
        multicastVrf: op.vrf,
        flags: VIF_LETTERS.filter(([bit]) => flags & bit).map(([, letter]) => letter),
        references: (references.get(op.vif) ?? 0) + (port === null ? 0 : 1),
        mtu: op.mtu,
        flowQuota: op.flowQuota,
        ...(port === null
          ? {}
          : {
              portUp: port.up,
              portMtu: port.mtu,
              rxPort: { packets: count(own?.rxPackets ?? 0n), errors: count(failed) },
              txPort: { packets: count(own?.txPackets ?? 0n), errors: count(port.txErrors) },
            }),
        rx: {
          packets: count(own?.rxPackets ?? 0n),
          bytes: count(own?.rxBytes ?? 0n),
          errors: count(own?.rxErrors ?? 0n),
        },
        tx: {
          packets: count(own?.txPackets ?? 0n),
          bytes: count(own?.txBytes ?? 0n),
          errors: count(own?.txErrors ?? 0n),
        },
        drops: count(own?.drops ?? 0n),
      };
    })
    .sort((a, b) => a.id - b.id);
}

export function vif(dataplane: Dataplane, id: number): VifView {
  return vifs(dataplane).find((view) => view.id === id) ?? absent(`vif ${id}`);
}

/** By name or by id. */
export function vifId(dataplane: Dataplane, which: string | number): number {
  const all = only(dataplane.dump('vifs'), 'vif_set');
  const found = all.find((op) => (typeof which === 'number' ? op.vif : op.name) === which);
  if (found !== undefined) return found.vif;
  if (typeof which === 'number') return absent(`vif ${which}`);
  const names = all.map((op) => op.name);
  return absent(`vif "${which}"${suggestion(which, names)}`);
}

// --- routes and MACs ---------------------------------------------------------------------------

const ROUTE_LETTERS: readonly (readonly [number, string])[] = [
  [0x2, 'P'],
  [0x4, 'T'],
  [0x8, 'F'],
];

function requireVrf(dataplane: Dataplane, vrf: number): void {
  if (!only(dataplane.dump('vrfs'), 'vrf_set').some((op) => op.vrf === vrf)) absent(`VRF ${vrf}`);
}

function routeOps(dataplane: Dataplane, vrf: number, family: 4 | 6) {
  requireVrf(dataplane, vrf);
  return only(dataplane.dump('routes', vrf), 'route_set').filter(
    (op) => op.vrf === vrf && op.prefix.includes(':') === (family === 6),
  );
}

function routeView(op: OpOf<'route_set'>, macIndex: ReadonlyMap<string, number>): RouteView {
  const bits = ROUTE_LETTERS.filter(([bit]) => op.flags & bit).map(([, letter]) => letter);
  return {
    prefix: op.prefix,
    length: Number(op.prefix.split('/')[1]),
    flags: (op.label === NO_LABEL ? '' : 'L') + bits.join(''),
    label: label(op.label),
    nextHop: op.nextHop,
    mac: orNull(op.mac),
    ...(op.mac === '' ? {} : { macIndex: macIndex.get(op.mac) ?? -1 }),
  };
}

function macIndexes(dataplane: Dataplane, vrf: number): Map<string, number> {
  return new Map(macs(dataplane, vrf).map((entry) => [entry.mac, entry.index]));
}

export function routes(dataplane: Dataplane, vrf: number, family: 4 | 6): RouteView[] {
  const indexes = macIndexes(dataplane, vrf);
  return routeOps(dataplane, vrf, family).map((op) => routeView(op, indexes));
}

/** The longest match for a prefix; `prefix` of the answer is what was asked. */
export function route(dataplane: Dataplane, vrf: number, asked: Prefix, text: string): RouteView {
  let best: { op: OpOf<'route_set'>; length: number } | undefined;
  for (const op of routeOps(dataplane, vrf, asked.family)) {
    const prefix = parsePrefix(op.prefix);
    if (contains(prefix, asked) && (best === undefined || prefix.length > best.length)) {
      best = { op, length: prefix.length };
    }
  }
  if (best === undefined) return absent(`route for ${text} in VRF ${vrf}`);
  return { ...routeView(best.op, macIndexes(dataplane, vrf)), prefix: text };
}

export function macs(dataplane: Dataplane, vrf: number): MacView[] {
  requireVrf(dataplane, vrf);
  return only(dataplane.dump('macs', vrf), 'mac_set')
    .filter((op) => op.vrf === vrf)
    .map((op, index) => ({
      index,
      mac: op.mac,
      flags: (op.label === NO_LABEL ? '' : 'L') + (op.flags & 0x4 ? 'Df' : ''),
      label: label(op.label),
      nextHop: op.nextHop,
      packets: 0,
    }));
}

// --- labels ------------------------------------------------------------------------------------

export function labels(dataplane: Dataplane): LabelView[] {
  return only(dataplane.dump('labels'), 'label_set').map(({ label: value, nextHop }) => ({
    label: value,
    nextHop,
  }));
}

export function vnis(dataplane: Dataplane): VniView[] {
  return only(dataplane.dump('vnis'), 'vni_set').map(({ vni, nextHop }) => ({ vni, nextHop }));
}

// --- flows -------------------------------------------------------------------------------------

export function flowView(flow: FlowRecord): FlowView {
  return {
    ...flow,
    label: label(flow.label),
    packets: count(flow.packets),
    bytes: count(flow.bytes),
  };
}

export function flowTable(info: DataplaneInfo): FlowTableView {
  return {
    bytes: info.flowBytes,
    entries: info.flowEntries,
    used: info.flowsUsed,
    created: count(info.flowsCreated),
    added: count(info.flowsCreated),
    deleted: count(info.flowsDeleted),
    changed: count(info.flowsCreated),
    processed: count(info.flowsCreated),
    evicted: count(info.flowsEvicted),
    overflow: 0,
    createdPerCpu: [count(info.flowsCreated)],
  };
}

export function flowDetail(dataplane: Dataplane, index: number): FlowDetail {
  const record = dataplane.flows().find((flow) => flow.index === index);
  if (record === undefined) return absent(`flow ${index}`);
  const rpf = nextHops(dataplane).find((nextHop) => nextHop.id === record.rpfNextHop);
  const from = only(dataplane.dump('vifs'), 'vif_set').find((op) => op.vif === record.vif);
  return {
    flow: flowView(record),
    rpf:
      rpf === undefined ? null : { nextHop: rpf.id, vrf: rpf.vrf, type: rpf.type as NextHopType },
    vif: from === undefined ? null : { id: from.vif, vrf: from.vrf, name: from.name },
    systemDrops: count(dataplane.readCounters().totals.dropped),
  };
}

export function flowStatistics(dataplane: Dataplane): FlowStatistics {
  const byAction = { forward: 0, drop: 0, nat: 0, hold: 0 };
  const names = { F: 'forward', D: 'drop', N: 'nat', H: 'hold' } as const;
  for (const flow of dataplane.flows()) byAction[names[flow.action]]++;
  return { table: flowTable(dataplane.info()), byAction };
}

/** Startup and run-time parameters, by the names of `vrouter --info`. */
export function info(dataplane: Dataplane): InfoView {
  const { limits } = layout;
  const now = dataplane.info();
  const rows = (table: 'next_hops' | 'labels' | 'macs' | 'routes' | 'vifs' | 'vrfs') =>
    dataplane.dump(table).length;
  return {
    version: VERSION,
    limits: {
      'Interfaces limit': limits.maxVifs,
      'VRF tables limit': limits.maxVrfs,
      'NextHops limit': limits.maxNextHops,
      'MPLS Labels limit': limits.maxLabel,
      'Bridge Table limit': limits.maxMacs,
      'Routes limit': limits.maxRoutes,
      'Flow Table limit': now.flowEntries,
      'Flow Table overflow limit': 0,
      'Packet buffers': now.buffers,
      Workers: now.workers,
    },
    used: {
      'Used Interfaces': rows('vifs'),
      'Used VRF tables': rows('vrfs'),
      'Used NextHops': rows('next_hops'),
      'Used MPLS Labels': rows('labels'),
      'Used Routes': rows('routes'),
      'Used Bridge entries': rows('macs'),
      'Used Flow entries': now.flowsUsed,
      'Used Over Flow entries': 0,
      'Flow Table bytes': now.flowBytes,
      'Free packet buffers': now.buffersFree,
    },
    kernelTier: kernelTier(now),
  };
}

export function kernelTier({ kernelTier: tier }: DataplaneInfo): KernelTierView {
  return { ...tier, packets: count(tier.packets), bytes: count(tier.bytes) };
}

// --- questions ---------------------------------------------------------------------------------

export function explainView({ lines, ends }: Explained): ExplainView {
  const packet = (frame: Uint8Array) => Buffer.from(frame).toString('hex');
  return { lines, ends: ends.map(({ frame, ...end }) => ({ ...end, packet: packet(frame) })) };
}

// --- counters ----------------------------------------------------------------------------------

export function drops(dataplane: Dataplane): { name: string; packets: number | string }[] {
  return [...dataplane.readCounters().drops].map(([name, n]) => ({ name, packets: count(n) }));
}

export function totals(dataplane: Dataplane): Record<string, number | string> {
  const entries = Object.entries(dataplane.readCounters().totals);
  return Object.fromEntries(entries.map(([name, n]) => [name, count(n)]));
}

export function vrfStats(dataplane: Dataplane): VrfStatsView[] {
  const counters = dataplane.readCounters().vrfs;
  return only(dataplane.dump('vrfs'), 'vrf_set')
    .map((op) => ({
      vrf: op.vrf,
      name: op.name,
      counters: Object.fromEntries(
        [...(counters.get(op.vrf) ?? new Map<string, bigint>())].map(([name, n]) => [
          name,
          count(n),
        ]),
      ),
    }))
    .sort((a, b) => a.vrf - b.vrf);
}

/** Of the last drops, those asked for; times are of this machine's clock. */
export function dropLog(
  dataplane: Dataplane,
  asked: {
    after?: number | undefined;
    vif?: string | number | undefined;
    reason?: string | undefined;
  },
): DropLogView[] {
  const wanted = asked.vif === undefined ? undefined : vifId(dataplane, asked.vif);
  const now = Date.now();
  return dataplane
    .dropLog(BigInt(asked.after ?? 0))
    .filter(({ vif }) => wanted === undefined || vif === wanted)
    .filter(
      ({ reason }) =>
        asked.reason === undefined || reason.toLowerCase() === asked.reason.toLowerCase(),
    )
    .map(({ number, agoNs, bytes, ...rest }) => ({
      ...rest,
      number: Number(number),
      time: new Date(now - Number(agoNs / 1_000_000n)).toISOString(),
      packet: Buffer.from(bytes).toString('hex'),
    }));
}
