/**
 * The kernel's links below the uplinks: when one goes or comes, or takes packets of another size, the agent is
 * told in the same turn of the event loop in which netlink said so.
 *
 * Invariant: the node file's MTU is the most an uplink is used with; the link's own may be less.
 */
import type { Logger } from 'pino';
import type { Agent } from '../agent/agent.ts';
import type { NodeFile } from '../config/node.ts';
import { uplinksOf } from '../config/node.ts';
import { VRouterError } from '../errors.ts';
import { KernelTables } from '../kernel/tables.ts';
import type { StartPart } from './node-part.ts';

/** The kernel lets a loopback have more; a packet cannot be longer. */
const MAX_MTU = 65_535;
/** Below that IPv4 does not work, and the data plane takes no vif. */
const MIN_MTU = 68;

export interface UplinkLink {
  /** In the agent's order. */
  readonly uplink: number;
  /** The kernel's. */
  readonly name: string;
}

/** Of the listeners of `tables` the first, so that what is down is known before neighbours are asked for. */
export function followLinks(
  tables: KernelTables,
  links: readonly UplinkLink[],
  most: number | undefined,
  agent: Agent,
  said: Logger,
): void {
  const told = new Map<number, string>();
  const look = () => {
    for (const { uplink, name } of links) {
      const link = tables.linkByName(name);
      const up = link?.live === true;
      // One that is gone says nothing of its size.
      const own = link === undefined ? undefined : Math.min(link.mtu, most ?? MAX_MTU);
      const mtu = own === undefined || own < MIN_MTU ? undefined : Math.min(own, MAX_MTU);
      const now = `${up} ${mtu}`;
      if (told.get(uplink) === now) continue;
      told.set(uplink, now);
      said.info({ uplink, interface: name, up, mtu }, 'uplink');
      agent.setUplink(uplink, { up, ...(mtu === undefined ? {} : { mtu }) });
    }
  };
  look();
  tables.onChange((change) => {
    if (change.links.size === 0) return;
    try {
      look();
    } catch (error) {
      said.error({ err: error }, 'uplinks');
    }
  });
}

/** Uplinks that take a NIC, with neighbours in the node file: shared and owned ones are followed by their parts. */
function ownNics({ underlay, host }: NodeFile): UplinkLink[] {
  if (host !== undefined) return [];
  return uplinksOf(underlay).flatMap(({ port, shared }, uplink) =>
    port.kind === 'af_packet' && shared === undefined ? [{ uplink, name: port.interface }] : [],
  );
}

export const startUplinkLinks: StartPart = ({ file, log, agent }) => {
  const links = ownNics(file);
  if (links.length === 0) return undefined;
  const said = log.child({ part: 'underlay' });
  let tables: KernelTables;
  try {
    tables = new KernelTables();
  } catch (error) {
    if (!(error instanceof VRouterError)) throw error;
    said.warn({ err: error }, 'links are not followed');
    return undefined;
  }
  followLinks(tables, links, file.underlay.mtu, agent, said);
  return { stop: () => tables.close() };
};
