/**
 * From a drop to its cause: what the data plane says, and where that is not enough, what the tables and
 * the route exchange say. Reads only. Each function answers for one drop of one packet on one node.
 */
import { canonicalIp, parseIp } from '../../addr/ip.ts';
import { contains, parsePrefix } from '../../addr/prefix.ts';
import { headersOf } from '../frame-headers.ts';
import { frameOfHex } from '../frame-text.ts';
import type { ExplainView, PacketEndView } from '../views.ts';
import { CAUSES, type CauseCode, DROP_CAUSES, FLOW_CAUSES } from './causes.ts';
import type { Asked, ExchangeView, NodeView } from './nodes.ts';

export interface Finding {
  readonly code: CauseCode;
  readonly node: string;
  /** Of the pipeline, '' when it is no room's. */
  readonly room: string;
  readonly detail: string;
}

/** One drop, and what is known about it. */
export interface Dropped {
  readonly node: NodeView;
  /** Where the packet came in. */
  readonly vif: number;
  /** Its innermost addresses, as it came in. */
  readonly source: string;
  readonly destination: string;
  readonly explained: ExplainView;
  readonly end: PacketEndView;
}

const FABRIC_VRF = 0;
const hostPrefix = (address: string) =>
  parsePrefix(`${address}/${parseIp(address).family === 4 ? 32 : 128}`);

function covers(prefix: string, address: string): boolean {
  const whole = parsePrefix(prefix);
  const host = hostPrefix(address);
  return whole.family === host.family && contains(whole, host);
}

/** A default route covers everything and so says nothing about anything. */
const isDefault = (prefix: string) => prefix.endsWith('/0');

function lines(explained: ExplainView, ...rooms: string[]): string[] {
  return explained.lines.filter((line) => rooms.includes(line.room)).map((line) => line.text);
}

function vifName(node: NodeView, id: number): string {
  return node.vif(id)?.name ?? `vif0/${id}`;
}

/** `vif0/3` as the core writes it, by name. */
function named(node: NodeView, text: string): string {
  return text.replace(/vif0\/(\d+)/g, (_, id) => vifName(node, Number(id)));
}

type Told = Pick<Finding, 'code' | 'detail'>;

// --- no route ----------------------------------------------------------------------------------

interface Place {
  readonly node: NodeView;
  readonly vrf: string;
}

/** Networks whose tables lead to the address, other than by a default route. */
async function whoHas(asked: Asked, address: string, but: Place): Promise<Place[]> {
  const places: Place[] = [];
  for (const node of asked.nodes) {
    for (const vrf of node.vrfIds()) {
      const name = node.vrfName(vrf);
      if (vrf === FABRIC_VRF || (node === but.node && name === but.vrf)) continue;
      const route = await node.route(vrf, address);
      if (route === undefined || route.length === 0 || route.nextHop === 0) continue;
      places.push({ node, vrf: name });
    }
  }
  return places;
}

async function instancesWith(exchange: ExchangeView, address: string): Promise<string[]> {
  const found: string[] = [];
  for (const { name } of exchange.instances) {
    const routes = await exchange.routes(name);
    const has = routes.some(
      ({ prefix }) => !prefix.includes(',') && !isDefault(prefix) && covers(prefix, address),
    );
    if (has) found.push(name);
  }
  return found;
}

const targets = (list: readonly string[]) => (list.length === 0 ? 'nothing' : list.join(', '));

/** The exchange knows the targets: what one exports and the other does not import. */
async function byExchange(asked: Asked, vrf: string, address: string) {
  for (const exchange of asked.exchanges) {
    const having = await instancesWith(exchange, address);
    const own = exchange.instances.find(({ name }) => name === vrf);
    const other = exchange.instances.find(({ name }) => name !== vrf && having.includes(name));
    if (other === undefined || having.includes(vrf)) continue;
    const imports = own === undefined ? 'is not known there' : `imports ${targets(own.import)}`;
    return `${other.name} has ${address} and exports ${targets(other.export)}; ${vrf} ${imports} (${exchange.name})`;
  }
  return undefined;
}

/** A look into a network's routes, as the trace has it: what is looked up is what the packet has become. */
interface LookUp {
  readonly vrf: number;
  readonly address: string;
}

function lookUps(explained: ExplainView): LookUp[] {
  return lines(explained, 'route').flatMap((text) => {
    const [, vrf, address] = /VRF (\d+)(?: has no route for |: )(\S+)/.exec(text) ?? [];
    return vrf === undefined || address === undefined
      ? []
      : [{ vrf: Number(vrf), address: canonicalIp(address) }];
  });
}

/**
 * Of several networks that were looked into (a default route led from one into the next) it is the first
 * that should have known; but a route that is there and cannot be used is the reason wherever it is.
 */
async function missing(asked: Asked, node: NodeView, looked: readonly LookUp[]): Promise<Told> {
  const unresolved = await node.unresolved();
  for (const { vrf, address } of looked) {
    const name = node.vrfName(vrf);
    const found = unresolved.find(
      ({ key }) =>
        key.instance === name && !key.prefix.includes(',') && covers(key.prefix, address),
    );
    if (found !== undefined) {
      const detail = `${name} has ${found.key.prefix}, but ${found.reasons.join('; ')}`;
      return { code: 'unresolved_hop', detail };
    }
    const route = await node.route(vrf, address);
    if (route !== undefined && route.nextHop === 0)
      return { code: 'discarded', detail: `${name}: ${address} leads to next hop 0, discard` };
  }
  const [first] = looked;
  if (first === undefined) return { code: 'no_route', detail: 'no route was looked for' };
  const { address } = first;
  const vrf = node.vrfName(first.vrf);
  const said = await byExchange(asked, vrf, address);
  if (said !== undefined) return { code: 'not_imported', detail: said };
  const places = await whoHas(asked, address, { node, vrf });
  const same = places.find((place) => place.vrf === vrf);
  if (same !== undefined && node.exchange !== 'connected' && node.exchange !== 'none') {
    const detail = `${same.node.name} has ${address} in ${vrf}; ${node.name}'s session with the exchange is ${node.exchange}`;
    return { code: 'exchange_away', detail };
  }
  // Where it is at home, before where it is known by routes.
  const other = places
    .filter((place) => place.vrf !== vrf)
    .toSorted((a, b) => Number(hasIt(b.node, address)) - Number(hasIt(a.node, address)))[0];
  if (other !== undefined) {
    const detail = `${other.vrf} (${other.node.name}) has ${address}; ${vrf} does not import it`;
    return { code: 'not_imported', detail };
  }
  const names = [...new Set(looked.map((one) => node.vrfName(one.vrf)))];
  return { code: 'no_route', detail: `no route for ${address} in ${names.join(', nor in ')}` };
}

const hasIt = (node: NodeView, address: string) =>
  node.vifs.some((vif) => vif.ipv4 === address || vif.ipv6 === address);

function noRoute(asked: Asked, { node, end, destination, explained }: Dropped): Promise<Told> {
  const looked = lookUps(explained);
  const whole = looked.length > 0 ? looked : [{ vrf: end.vrf, address: destination }];
  // The way back is looked up too, once the way there is known.
  return missing(
    asked,
    node,
    whole.filter(({ address }) => address === whole[0]?.address),
  );
}

// --- the others --------------------------------------------------------------------------------

async function wrongSource(asked: Asked, dropped: Dropped): Promise<Told> {
  const { node, vif, source, end, explained } = dropped;
  const view = node.vif(vif);
  const vrf = node.vrfName(end.vrf);
  const route = end.vrf < 0 ? undefined : await node.route(end.vrf, source);
  if (view?.type === 'Physical' && (route === undefined || route.length === 0)) {
    // The sender is right; it is the receiver's network that does not know it.
    const { code, detail } = await missing(asked, node, [{ vrf: end.vrf, address: source }]);
    return { code, detail: `no way back to the sender: ${detail}` };
  }
  const leads =
    route === undefined || route.length === 0
      ? `${vrf} has no route for it`
      : `in ${vrf} it leads to next hop ${route.nextHop}`;
  const from = view?.type === 'Virtual' ? `from ${view.name}` : 'through that tunnel';
  const [why = ''] = lines(explained, 'decide').filter((text) => text.startsWith('source:'));
  const detail = `${source} comes ${from}, but ${leads}${why === '' ? '' : ` (${why})`}`;
  return { code: 'wrong_source', detail };
}

function byPolicy({ node, explained, end }: Dropped): string {
  const said = lines(explained, 'policy').findLast((text) => !text.endsWith('passes'));
  if (said !== undefined) return `${named(node, said)} does not pass`;
  return `a flow that is there already says ${end.flowDrop}`;
}

/** From the ICMP error that was made, the size that would pass. */
function tooBig({ explained }: Dropped): string {
  for (const end of explained.ends) {
    if (!end.generated) continue;
    const frame = frameOfHex(end.packet);
    const headers = headersOf(frame);
    if (headers === undefined) continue;
    const view = new DataView(frame.buffer, frame.byteOffset);
    const at = headers.transportAt;
    if (headers.icmp === 0x0304)
      return `at most ${view.getUint16(at + 6)} bytes pass; the sender is told by ICMP`;
    if (headers.icmp === 0x0200)
      return `at most ${view.getUint32(at + 4)} bytes pass; the sender is told by ICMPv6`;
  }
  return lines(explained, 'fit').join('; ');
}

function invalidIf({ node, vif, end }: Dropped): Told {
  const view = node.vif(vif);
  const headers = headersOf(frameOfHex(end.packet));
  if (view?.type === 'Physical' && headers !== undefined && headers.destinationMac !== view.mac) {
    const detail = `the frame goes to ${headers.destinationMac}, ${view.name} has ${view.mac}`;
    return { code: 'wrong_neighbour', detail };
  }
  return { code: 'receiver_gone', detail: 'the interface behind the next hop is not there' };
}

function clashOrQuota({ node, explained }: Dropped): Told {
  const quota = lines(explained, 'open_flow').find((text) => text.startsWith('quota'));
  if (quota !== undefined) return { code: 'quota', detail: named(node, quota) };
  return { code: 'flow_clash', detail: CAUSES.flow_clash.what };
}

function staleLabel({ node, explained, end }: Dropped): string {
  const [said] = lines(explained, 'decap');
  return `${node.name} was sent ${said ?? end.drop.replace('Invalid ', 'an unknown ')}`;
}

/** Cause by what the drop was; what needs looking into has a function of its own. */
export async function diagnose(asked: Asked, dropped: Dropped): Promise<Finding> {
  const { node, end, destination } = dropped;
  const code: CauseCode =
    (end.drop === 'Flow Action Drop' ? FLOW_CAUSES[end.flowDrop] : DROP_CAUSES[end.drop]) ??
    'dropped';
  const told = await (async (): Promise<Told> => {
    switch (code) {
      case 'no_route':
        return noRoute(asked, dropped);
      case 'wrong_source':
        return wrongSource(asked, dropped);
      case 'policy':
      case 'security_group':
        return { code, detail: byPolicy(dropped) };
      case 'too_big':
        return { code, detail: tooBig(dropped) };
      case 'receiver_gone':
        return end.drop === 'Invalid IF'
          ? invalidIf(dropped)
          : { code, detail: 'the interface it leads to has no port' };
      case 'flow_clash':
        return clashOrQuota(dropped);
      case 'stale_label':
      case 'stale_vni':
        return { code, detail: staleLabel(dropped) };
      case 'unmapped_port':
        return { code, detail: `${destination} is a floating IP that does not map this port` };
      case 'dropped':
        return { code, detail: `${end.drop}${end.flowDrop === '' ? '' : ` (${end.flowDrop})`}` };
      default:
        return { code, detail: CAUSES[code].what };
    }
  })();
  return { ...told, node: node.name, room: end.room };
}
