/**
 * Clusters in one process: each a control node with its tables, agents that speak to it, and BGP over streams in memory
 * to the others. Nothing happens but what `settle` lets happen.
 */
import type { IpText } from '../../src/addr/ip.ts';
import type { Neighbour } from '../../src/bgp/neighbour.ts';
import type { BgpSpeaker } from '../../src/bgp/session/speaker.ts';
import type { Federation } from '../../src/control/bgp-federation.ts';
import { federate } from '../../src/control/bgp-speaker.ts';
import type { TableChange } from '../../src/control/entry.ts';
import type { Attributes, Said } from '../../src/control/path.ts';
import { type Peer, type PeerSink, RouteTables } from '../../src/control/tables.ts';
import { BgpNetwork } from '../../src/sim/bgp-network.ts';
import { randomOf } from '../../src/sim/random.ts';
import { Lab, neighbour } from './bgp-speakers.ts';

/** What an agent subscribed to has been told of it, as it stands. */
class Ear implements PeerSink {
  readonly heard = new Map<string, string[]>();
  blocked = () => false;
  complete() {}
  flushed = () => 0;

  change({ instance, announced, withdrawn }: TableChange): void {
    for (const { prefix } of withdrawn) this.heard.delete(`${instance.name} ${prefix.prefix}`);
    for (const { entry } of announced) {
      const hops = entry.paths.flatMap((path) => path.hops.map((h) => `${h.address} ${h.label}`));
      this.heard.set(`${instance.name} ${entry.prefix.prefix}`, [...new Set(hops)].sort());
    }
  }
}

export class Cluster {
  readonly tables: RouteTables;
  readonly address: IpText;
  readonly as: number;
  readonly speaker: BgpSpeaker;
  readonly federation: Federation;
  readonly #agents = new Map<string, { peer: Peer; ear: Ear }>();

  constructor(lab: Lab, network: BgpNetwork, last: number, as: number) {
    const { clock } = lab;
    this.address = `10.0.0.${last}` as IpText;
    this.as = as;
    this.tables = new RouteTables({ schedule: (run) => void clock.after(0, run) });
    const own = { as, id: this.address };
    const { speaker, federation } = federate(this.tables, own, {
      transport: network.transport(this.address, clock),
      clock,
      random: randomOf(BigInt(last)),
      later: (run) => void clock.after(0, run),
    });
    this.speaker = speaker;
    this.federation = federation;
  }

  agent(address: string): Peer {
    const known = this.#agents.get(address);
    if (known?.peer.attached === true) return known.peer;
    const ear = new Ear();
    const peer = this.tables.attach({ name: `agent-${address}`, address, waits: true }, ear);
    this.#agents.set(address, { peer, ear });
    return peer;
  }

  /** The agent is gone, with all it has said. */
  lose(address: string): void {
    this.tables.detach(this.agent(address));
  }

  subscribe(address: string, instance: string): void {
    this.tables.subscribe(this.agent(address), instance, 1);
  }

  /** What an agent has been told of a prefix: `address label`. */
  told(address: string, instance: string, prefix: string): string[] {
    this.agent(address);
    return this.#agents.get(address)?.ear.heard.get(`${instance} ${prefix}`) ?? [];
  }

  say(
    address: string,
    instance: string,
    prefix: string,
    label: number,
    attributes: Attributes = {},
  ): void {
    this.tables.publish(this.agent(address), instance, saidOf(address, prefix, label, attributes));
  }

  unsay(address: string, instance: string, prefix: string): void {
    this.tables.withdraw(this.agent(address), instance, saidOf(address, prefix, 0, {}));
  }

  /** What an instance uses: `address label` of each hop, by prefix. */
  shows(instance: string): Map<string, string[]> {
    return new Map(
      this.tables.entries(instance).map(({ prefix, paths }) => {
        const hops = paths.flatMap((path) => path.hops.map((h) => `${h.address} ${h.label}`));
        return [prefix.prefix, [...new Set(hops)].sort()];
      }),
    );
  }
}

/** An RD of its own for each instance would need its id; one agent has one instance here, but where it has more. */
function saidOf(address: string, prefix: string, label: number, attributes: Attributes): Said {
  const family = /^..:..:/.test(prefix) ? 'evpn' : prefix.includes(':') ? 'inet6' : 'inet';
  const hops = [{ address, label, encaps: ['udp'] }];
  return { family, prefix, rd: `${address}:1`, hops, attributes };
}

export class Clusters {
  readonly lab = new Lab();
  readonly network = new BgpNetwork();
  readonly all: Cluster[] = [];

  add(as: number): Cluster {
    const cluster = new Cluster(this.lab, this.network, this.all.length + 1, as);
    this.all.push(cluster);
    return cluster;
  }

  /** Each is a neighbour of the other. */
  join(a: Cluster, b: Cluster, more: Partial<Neighbour> = {}): void {
    const families = (['vpnv4', 'vpnv6', 'evpn', 'rtc'] as const).map((family) => ({ family }));
    for (const [one, other] of [
      [a, b],
      [b, a],
    ] as const) {
      one.speaker.setNeighbour(neighbour(other.address, { as: other.as, families, ...more }));
    }
  }

  mesh(more: Partial<Neighbour> = {}): void {
    for (const [at, a] of this.all.entries())
      for (const b of this.all.slice(at + 1)) this.join(a, b, more);
  }

  /** Until nothing is under way but timers. */
  settle(seconds = 20): void {
    for (const { tables } of this.all) tables.flush();
    this.lab.pass(seconds * 1000);
  }
}
