/**
 * SimulatedControl: a control node of a simulated cluster. The tables and sessions, with agents and with BGP neighbours,
 * are those of `vrouter control`; only its streams, its clock and the ways of losing it are simulated.
 *
 * Invariants
 *  * What it is configured to be outlives its process: one that starts again knows its instances, and no routes.
 *  * A killed process does nothing more, not even with what had arrived; its streams close, as a kernel closes them.
 *  * One that is unplugged runs on and is not reached: both ends find out by their hold times.
 */
import { canonicalIp } from '../addr/ip.ts';
import type { NeighbourStatus } from '../bgp/session/status.ts';
import { type BgpFile, bgpProblems } from '../config/bgp.ts';
import { neighbourOf, speakerOf } from '../config/bgp-neighbours.ts';
import { type AgentStatus, ControlAgents } from '../control/agents.ts';
import { type Federated, federate } from '../control/bgp-speaker.ts';
import { type InstanceSpec, RouteExchange } from '../control/exchange.ts';
import type { Clock, Connect } from '../xmpp/transport/byte-stream.ts';
import type { BgpNetwork } from './bgp-network.ts';
import { ProcessClock } from './clock.ts';
import { randomOf } from './random.ts';
import { type MemoryStream, streamPair } from './streams.ts';

export interface ControlOptions {
  readonly name: string;
  readonly ipv4: string;
  /** As in control.yaml, without `listen`, ranges and policies. */
  readonly bgp?: Pick<BgpFile, 'as' | 'router_id' | 'neighbors'>;
}

/** What a simulation has that its control nodes meet on. */
export interface ControlSurroundings {
  readonly clock: Clock;
  readonly bgp: BgpNetwork;
  readonly seed: bigint;
  readonly show?: (seen: SeenMessage) => void;
}

/** What was written at once: a message, or a keepalive. */
export interface SeenMessage {
  readonly control: string;
  /** The agent's. */
  readonly address: string;
  /** As the control node sees it. */
  readonly way: 'in' | 'out';
  readonly bytes: Uint8Array;
}

interface Running {
  readonly clock: ProcessClock;
  readonly exchange: RouteExchange;
  readonly agents: ControlAgents;
  readonly federated: Federated | undefined;
}

export class SimulatedControl {
  readonly name: string;
  readonly ipv4: string;
  readonly #clock: Clock;
  readonly #network: BgpNetwork;
  readonly #seed: bigint;
  readonly #bgp: ControlOptions['bgp'];
  readonly #instances = new Map<string, InstanceSpec>();
  readonly #connected: (readonly [string, string])[] = [];
  readonly #show: (seen: SeenMessage) => void;
  /** Its ends of streams that may be open. */
  readonly #streams = new Set<MemoryStream>();
  #process: Running | undefined;
  #plugged = true;

  constructor(
    { clock, bgp: network, seed, show = () => {} }: ControlSurroundings,
    { name, ipv4, bgp }: ControlOptions,
  ) {
    this.#clock = clock;
    this.#network = network;
    this.#seed = seed;
    this.#show = show;
    this.#bgp = bgp;
    this.name = name;
    this.ipv4 = ipv4;
    const [problem] = bgp === undefined ? [] : bgpProblems(bgp, ['bgp']);
    if (problem !== undefined)
      throw new Error(`${name}: ${problem.path.join('.')} ${problem.message}`);
    this.start();
  }

  get running(): boolean {
    return this.#process !== undefined;
  }

  /** What it has in its tables; of one that is not running there is nothing. */
  get exchange(): RouteExchange {
    if (this.#process === undefined) throw new Error(`${this.name} is not running`);
    return this.#process.exchange;
  }

  sessions(): readonly AgentStatus[] {
    return this.#process?.agents.sessions() ?? [];
  }

  /** With its BGP neighbours. */
  neighbours(): readonly NeighbourStatus[] {
    return this.#process?.federated?.speaker.status().neighbours ?? [];
  }

  // --- its configuration -------------------------------------------------------------------------

  createInstance(spec: InstanceSpec): void {
    this.#instances.set(spec.name, spec);
    this.#process?.exchange.createInstance(spec);
  }

  /** Other targets than before. */
  updateInstance(spec: InstanceSpec): void {
    this.#instances.set(spec.name, spec);
    this.#process?.exchange.updateInstance(spec);
  }

  /** Policy between two networks. */
  connectInstances(a: string, b: string): void {
    this.#connected.push([a, b]);
    this.#process?.exchange.connect(a, b);
  }

  // --- its process and its cable -----------------------------------------------------------------

  start(): void {
    if (this.#process !== undefined) throw new Error(`${this.name} is running`);
    const clock = new ProcessClock(this.#clock);
    const exchange = new RouteExchange({ schedule: (run) => clock.after(0, run) });
    for (const spec of this.#instances.values()) exchange.createInstance(spec);
    for (const [a, b] of this.#connected) exchange.connect(a, b);
    const agents = new ControlAgents(exchange.tables, { clock });
    this.#process = { clock, exchange, agents, federated: this.#federate(exchange, clock) };
  }

  #federate(exchange: RouteExchange, clock: Clock): Federated | undefined {
    if (this.#bgp === undefined) return undefined;
    const address = canonicalIp(this.ipv4);
    const federated = federate(exchange.tables, speakerOf(this.#bgp), {
      transport: this.#network.transport(address, clock),
      clock,
      random: randomOf(this.#seed),
      later: (run) => void clock.after(0, run),
    });
    for (const neighbour of this.#bgp.neighbors ?? []) {
      federated.speaker.setNeighbour(neighbourOf(neighbour, new Map()));
    }
    return federated;
  }

  /** As kill -9. */
  kill(): void {
    this.#process?.clock.kill();
    this.#process = undefined;
    for (const stream of this.#streams) stream.cut();
    this.#streams.clear();
    this.#network.cut(canonicalIp(this.ipv4));
  }

  unplug(): void {
    this.#plug(false);
  }

  /** What was sent meanwhile arrives now, where somebody still waits for it. */
  plug(): void {
    this.#plug(true);
  }

  #plug(plugged: boolean): void {
    this.#plugged = plugged;
    this.#network.plug(canonicalIp(this.ipv4), plugged);
    for (const stream of this.#streams) {
      for (const end of [stream, stream.far]) {
        end.reading = plugged;
        if (plugged) end.wake();
      }
    }
  }

  /** How an agent at `address` reaches it. */
  connector(address: string): Connect {
    return (attempt) => {
      this.#clock.after(0, () => {
        if (!this.#plugged) return; // nobody answers; the agent gives up by itself
        if (this.#process === undefined) {
          attempt.failed('connection refused');
          return;
        }
        const { agents, clock } = this.#process;
        const [near, far] = streamPair(this.#clock, [address, this.ipv4], clock);
        near.onWrite = (bytes) => this.#show({ control: this.name, address, way: 'in', bytes });
        far.onWrite = (bytes) => this.#show({ control: this.name, address, way: 'out', bytes });
        for (const stream of this.#streams) if (!stream.open) this.#streams.delete(stream);
        this.#streams.add(far);
        agents.accept(far);
        attempt.connected(near);
      });
    };
  }
}
