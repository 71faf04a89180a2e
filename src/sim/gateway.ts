/**
 * SimulatedGateway: where a simulated node has its routes from that is a BGP gateway. The tables and the speaker are
 * those of `vrouter node` with `bgp:`; only its streams and its clock are simulated.
 */
import { canonicalIp } from '../addr/ip.ts';
import type { BgpSpeaker } from '../bgp/session/speaker.ts';
import { bgpProblems } from '../config/bgp.ts';
import { neighbourOf, speakerOf } from '../config/bgp-neighbours.ts';
import { ENCAP_NAMES, type NodeBgpFile } from '../config/node.ts';
import { federate } from '../control/bgp-speaker.ts';
import { Gateway, type GatewayVrf } from '../control/gateway.ts';
import type { EncapName, RouteSource } from '../rib/route.ts';
import type { Clock } from '../xmpp/transport/byte-stream.ts';
import type { BgpNetwork } from './bgp-network.ts';
import { randomOf } from './random.ts';

/** As in node.yaml, without `listen`, ranges and policies. */
export type GatewayBgp = Pick<NodeBgpFile, 'as' | 'router_id' | 'neighbors' | 'maximum_paths'>;

export interface GatewaySurroundings {
  readonly clock: Clock;
  readonly bgp: BgpNetwork;
  readonly seed: bigint;
}

export class SimulatedGateway {
  readonly speaker: BgpSpeaker;
  readonly #gateway: Gateway;

  constructor(
    { clock, bgp: network, seed }: GatewaySurroundings,
    node: { readonly name: string; readonly ipv4: string; readonly encaps?: readonly EncapName[] },
    bgp: GatewayBgp,
  ) {
    const [problem] = bgpProblems(bgp, ['bgp']);
    if (problem !== undefined)
      throw new Error(`${node.name}: ${problem.path.join('.')} ${problem.message}`);
    const later = (run: () => void) => void clock.after(0, run);
    const address = canonicalIp(node.ipv4);
    this.#gateway = new Gateway({
      name: node.name,
      addresses: [address],
      encaps: node.encaps ?? ENCAP_NAMES,
      maximumPaths: bgp.maximum_paths,
      schedule: later,
    });
    const transport = network.transport(address, clock);
    this.speaker = federate(this.#gateway.tables, speakerOf(bgp), {
      ...{ transport, clock, later, random: randomOf(seed), forwardingKept: false },
    }).speaker;
    for (const neighbour of bgp.neighbors ?? []) {
      this.speaker.setNeighbour(neighbourOf(neighbour, new Map()));
    }
    // It begins with nothing, and nothing waits for it.
    this.#gateway.learned();
  }

  get source(): RouteSource {
    return this.#gateway.source;
  }

  addVrf(vrf: GatewayVrf): void {
    this.#gateway.addVrf(vrf);
  }
}
