/**
 * Uplinks beside the host's own stack (`shared` in the node file): the host keeps its address on
 * the interface, tunnels come to us and go from us by tc, and the MACs of far ends are the kernel's neighbours.
 *
 * Invariants
 *  * Only our filters are touched: those of PREFERENCES on the two interfaces of an uplink. Where they are right already
 *    (a forwarder went on without its agent) they stay as they are; otherwise they are made anew, so that what
 *    a crash left does no harm. They go at stop, unless a forwarder goes on without us.
 */
import { spawnSync } from 'node:child_process';
import { parseIp } from '../addr/ip.ts';
import { uplinksOf } from '../config/node.ts';
import { VRouterError } from '../errors.ts';
import { KernelTables } from '../kernel/tables.ts';
import { followNeighbours } from './kernel-neighbours.ts';
import type { StartPart } from './node-part.ts';
import { followLinks } from './uplink-links.ts';

/** Of our filters, one a protocol; nothing else should use them. */
const PREFERENCES = ['4980', '4981'] as const;
const TUNNEL_PORTS = ['6635', '51234', '4789'] as const;
const GRE = '47';
/** Filters an address takes: its tunnels' ports, and GRE. */
const FILTERS = TUNNEL_PORTS.length + 1;

function tc(...argv: string[]): void {
  const { status, stderr, error } = spawnSync('tc', argv, { encoding: 'utf8' });
  if (status === 0) return;
  const why = error === undefined ? stderr.trim().split('\n')[0] : 'tc (iproute2) is not installed';
  throw new VRouterError('PORT_FAILED', `tc ${argv.join(' ')}: ${why}`);
}

function attempt(...argv: string[]): void {
  spawnSync('tc', argv, { stdio: 'ignore' });
}

/** tc's text of one of our preferences; '' where there is none. */
function shown(device: string, pref: string): string {
  const argv = ['filter', 'show', 'dev', device, 'ingress', 'pref', pref];
  return spawnSync('tc', argv, { encoding: 'utf8' }).stdout ?? '';
}

const times = (text: string, part: string) => text.split(part).length - 1;

/** As tc prints what a filter compares: words of four bytes, the first of an address's. */
const firstWord = (address: string) =>
  Buffer.from(parseIp(address).bytes.subarray(0, 4)).toString('hex');

/** Every filter there, for our addresses, to devices that exist (tc prints `*` for one that is gone). */
function joined(host: string, uplink: string, addresses: readonly string[]): boolean {
  const out = shown(uplink, PREFERENCES[0]);
  if (times(out, `Redirect to device ${host})`) !== 1) return false;
  return PREFERENCES.every((pref, i) => {
    const address = addresses[i];
    const text = shown(host, pref);
    const there = times(text, `Redirect to device ${uplink})`);
    if (address === undefined) return there === 0;
    return there === FILTERS && times(text, `match ${firstWord(address)}/`) === FILTERS;
  });
}

function part(host: string, uplink: string): void {
  for (const device of [host, uplink]) {
    for (const pref of PREFERENCES)
      attempt('filter', 'del', 'dev', device, 'ingress', 'pref', pref);
  }
}

/** What comes for our tunnels goes to `uplink`; what is written there leaves by `host`. */
function join(host: string, uplink: string, addresses: readonly string[]): void {
  part(host, uplink);
  for (const device of [host, uplink]) attempt('qdisc', 'add', 'dev', device, 'clsact');
  const redirect = (to: string) => ['action', 'mirred', 'egress', 'redirect', 'dev', to];
  for (const [i, address] of addresses.entries()) {
    const v6 = address.includes(':');
    const ip = v6 ? 'ip6' : 'ip';
    const filter = ['filter', 'add', 'dev', host, 'ingress', 'pref', PREFERENCES[i] as string];
    const to = [...filter, 'protocol', v6 ? 'ipv6' : 'ip', 'u32', 'match', ip, 'dst', address];
    for (const port of TUNNEL_PORTS) {
      const match = ['match', ip, 'protocol', '17', '0xff', 'match', ip, 'dport', port, '0xffff'];
      tc(...to, ...match, ...redirect(uplink));
    }
    tc(...to, 'match', ip, 'protocol', GRE, '0xff', ...redirect(uplink));
  }
  const all = ['protocol', 'all', 'u32', 'match', 'u32', '0', '0'];
  const filter = ['filter', 'add', 'dev', uplink, 'ingress', 'pref', PREFERENCES[0]];
  tc(...filter, ...all, ...redirect(host));
}

export const startSharedUnderlay: StartPart = ({ file, log, agent }) => {
  const { ipv4, ipv6, mtu } = file.underlay;
  const uplinks = uplinksOf(file.underlay);
  const pairs = uplinks.flatMap(({ port, shared }) => {
    if (shared === undefined) return [];
    if (port.kind === 'tap') return [{ host: shared.interface, uplink: port.name }];
    const message = 'underlay: shared takes a port of kind tap, with offloads: uplink';
    throw new VRouterError('BAD_VALUE', message);
  });
  if (pairs.length === 0) return undefined;
  const said = log.child({ part: 'underlay' });
  const tables = new KernelTables();
  const addresses = [ipv4, ipv6].filter((address) => address !== undefined);
  const partAll = () => {
    for (const { host, uplink } of pairs) part(host, uplink);
  };
  let links: number[];
  try {
    links = pairs.map(({ host }) => {
      const link = tables.linkByName(host);
      if (link !== undefined) return link.index;
      throw new VRouterError('NOT_FOUND', `underlay: shared: there is no interface ${host}`);
    });
    for (const { host, uplink } of pairs)
      if (!joined(host, uplink, addresses)) join(host, uplink, addresses);
  } catch (error) {
    partAll();
    tables.close();
    throw error;
  }
  const watched = pairs.map(({ host }, uplink) => ({ uplink, name: host }));
  followLinks(tables, watched, mtu, agent, said);
  const neighbours = followNeighbours(tables, links, agent, said);
  for (const { host, uplink } of pairs)
    said.info({ interface: host, uplink }, 'shared with the host');
  return {
    stop(goesOn) {
      neighbours.stop();
      tables.close();
      if (!goesOn) partAll();
    },
  };
};
