/**
 * The uplink owned by us, the host's own stack behind it (`host` in the node file, over an af_packet underlay, as
 * the ancestor's vhost0): the host has the underlay's address on a TAP of ours; what of the fabric is no tunnel of
 * ours goes there, what the host sends leaves as it is.
 *
 * Invariants
 *  * The kernel takes no frames from the NIC itself: each would come twice, and our tunnels' ports would be
 *    answered as closed. An nftables table of our own drops them, after our socket has had its copy.
 *  * The TAP has the underlay's MAC, is up, and has the addresses and gateways of the node file: also after a
 *    restart, for they went with the TAP.
 *  * The table goes at stop, unless a forwarder goes on without us.
 */
import { spawnSync } from 'node:child_process';
import { formatIp, parseIp } from '../addr/ip.ts';
import { parseAddressInNetwork } from '../addr/prefix.ts';
import { type NodeFile, uplinksOf } from '../config/node.ts';
import { VRouterError } from '../errors.ts';
import {
  AF_INET,
  AF_INET6,
  RT_SCOPE_UNIVERSE,
  RTN_UNICAST,
  RTPROT_STATIC,
} from '../kernel/rtnetlink.ts';
import { KernelTables, type Link } from '../kernel/tables.ts';
import { followNeighbours } from './kernel-neighbours.ts';
import type { StartPart } from './node-part.ts';
import { followLinks } from './uplink-links.ts';

const MAIN_TABLE = 254;
/** Before everything else that may look at frames from the NIC. */
const PRIORITY = -500;

function nft(script: string): void {
  const { status, stderr, error } = spawnSync('nft', ['-f', '-'], {
    input: script,
    encoding: 'utf8',
  });
  if (status === 0) return;
  const why =
    error === undefined ? stderr.trim().split('\n')[0] : 'nft (nftables) is not installed';
  throw new VRouterError('PORT_FAILED', `nft: ${why}`);
}

/** nft takes no name in quotes here. */
const tableOf = (nic: string) => `netdev vrouter-${nic.replace(/[^A-Za-z0-9_.-]/g, '_')}`;
/** There or not, it is gone. */
const without = (nic: string) => `add table ${tableOf(nic)}\ndelete table ${tableOf(nic)}\n`;

function take(nic: string): void {
  if (nic.includes('"')) throw new VRouterError('BAD_VALUE', `nft cannot name ${nic}`);
  const chain = `type filter hook ingress device "${nic}" priority ${PRIORITY}; policy drop;`;
  const table = tableOf(nic);
  nft(`${without(nic)}add table ${table}\nadd chain ${table} taken { ${chain} }\n`);
}

function giveBack(nic: string): void {
  spawnSync('nft', ['-f', '-'], { input: without(nic), stdio: ['pipe', 'ignore', 'ignore'] });
}

/** The TAP as an interface of the host's. */
function dress(tables: KernelTables, link: Link, mac: string, host: HostFile): void {
  tables.setLink(link.index, { mac, up: true });
  for (const text of host.addresses ?? []) {
    const { family, bytes, length } = parseAddressInNetwork(text);
    const address = formatIp(family, bytes);
    tables.addAddress({
      family: family === 4 ? AF_INET : AF_INET6,
      prefixLength: length,
      flags: 0,
      scope: RT_SCOPE_UNIVERSE,
      index: link.index,
      local: address,
      address,
    });
  }
  for (const gateway of [host.gateway4, host.gateway6]) {
    if (gateway === undefined) continue;
    const added = tables.addRoute({
      family: parseIp(gateway).family === 4 ? AF_INET : AF_INET6,
      destinationLength: 0,
      sourceLength: 0,
      tos: 0,
      shortTable: MAIN_TABLE,
      protocol: RTPROT_STATIC,
      scope: RT_SCOPE_UNIVERSE,
      kind: RTN_UNICAST,
      flags: 0,
      output: link.index,
      gateway,
    });
    if (!added) {
      throw new VRouterError('BAD_VALUE', `host: the kernel wants no default route by ${gateway}`);
    }
  }
}

type HostFile = NonNullable<NodeFile['host']>;

export const startOwnedUnderlay: StartPart = ({ file, log, agent }) => {
  const { host, underlay } = file;
  const [first, ...more] = uplinksOf(underlay);
  if (host === undefined || first === undefined) return undefined;
  if (more.length > 0) {
    throw new VRouterError(
      'BAD_VALUE',
      'host: what it sends leaves by one uplink; there are several',
    );
  }
  if (host.port.kind !== 'tap' || first.port.kind !== 'af_packet') return undefined;
  const nic = first.port.interface;
  const { name } = host.port;
  const said = log.child({ part: 'underlay' });
  const tables = new KernelTables();
  try {
    const [from, link] = [tables.linkByName(nic), tables.linkByName(name)];
    if (from === undefined) throw new VRouterError('NOT_FOUND', `there is no interface ${nic}`);
    if (link === undefined) {
      throw new VRouterError('NOT_FOUND', `host: ${name} is not in this network namespace`);
    }
    const own = [underlay.ipv4, underlay.ipv6];
    const twice = tables.addresses(from.index).find((a) => own.includes(a.local ?? a.address));
    if (twice !== undefined) {
      const address = twice.local ?? twice.address;
      throw new VRouterError('CONFLICT', `${nic} has ${address} itself: it is to be on ${name}`);
    }
    take(nic);
    dress(tables, link, host.mac ?? first.mac, host);
    followLinks(tables, [{ uplink: 0, name: nic }], underlay.mtu, agent, said);
    const neighbours = followNeighbours(tables, [link.index], agent, said);
    said.info({ interface: nic, host: name }, 'the host is behind us');
    return {
      stop(goesOn) {
        neighbours.stop();
        tables.close();
        if (!goesOn) giveBack(nic);
      },
    };
  } catch (error) {
    giveBack(nic);
    tables.close();
    throw error;
  }
};
