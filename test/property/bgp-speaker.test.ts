/**
 * Three speakers with real RIBs that know each other, while everything happens to their connections that can: cut, unread,
 * garbage, strangers in their name, resets, shutdowns, changes. Whatever happened, and in which order: at most one session
 * between two, and once it is over there is exactly one, and each knows what the others say.
 */
import { describe, expect, test } from 'vitest';
import type { IpText } from '../../src/addr/ip.ts';
import type { Neighbour } from '../../src/bgp/neighbour.ts';
import { createRib } from '../../src/bgp/rib/rib.ts';
import { BgpSpeaker } from '../../src/bgp/session/speaker.ts';
import type { PeerStream } from '../../src/bgp/session/transport.ts';
import { keepaliveMessage, openMessage } from '../../src/bgp/wire/message.ts';
import { BgpNetwork } from '../../src/sim/bgp-network.ts';
import { randomOf } from '../../src/sim/random.ts';
import { ip, Lab, neighbour } from '../support/bgp-speakers.ts';

const ADDRESSES = [1, 2, 3].map((n) => ip(`10.0.0.${n}`));
const ROUTES = 4;
const CHAOS_MS = 60_000;
const STEPS = 60;
/** Hold times are 9 s, retries at most 8 s, a connection that says nothing is given up after 240 s. */
const CALM_MS = 300_000;

interface Node {
  readonly address: IpText;
  readonly speaker: BgpSpeaker;
  /** Prefixes of its own routes. */
  readonly said: Set<string>;
}

class World {
  readonly lab = new Lab();
  readonly network = new BgpNetwork();
  readonly random: () => number;
  readonly nodes: readonly Node[];
  /** By `a>b`. */
  readonly up = new Map<string, boolean>();
  readonly wrong: string[] = [];
  readonly #passive: boolean;

  constructor(seed: number) {
    this.random = randomOf(BigInt(seed));
    this.#passive = this.chance(0.3);
    this.nodes = ADDRESSES.map((address, at) => this.#node(address, at));
    this.#each((a, b) => a.speaker.setNeighbour(this.#neighbour(a, b)));
  }

  chance(part: number): boolean {
    return this.random() < part;
  }

  pick<T>(all: readonly T[]): T {
    return all[Math.floor(this.random() * all.length)] as T;
  }

  #node(address: IpText, at: number): Node {
    const { clock } = this.lab;
    const us = { as: 65000, id: address };
    const speaker = new BgpSpeaker({
      ...{ speaker: us, transport: this.network.transport(address, clock), clock },
      makeRib: (options) => createRib(us, options),
      random: randomOf(BigInt(at)),
      later: (run) => clock.after(0, run),
      onSession: (name, state) => this.#session(`${address}>${name}`, state === 'up'),
    });
    const node = { address, speaker, said: new Set<string>() };
    for (let n = 0; n < ROUTES; n++) this.say(node, n, true);
    return node;
  }

  #session(name: string, up: boolean): void {
    if ((this.up.get(name) ?? false) === up) this.wrong.push(`${name} twice ${up ? 'up' : 'down'}`);
    this.up.set(name, up);
  }

  #neighbour(a: Node, b: Node, more: Partial<Neighbour> = {}): Neighbour {
    // Of two that wait for each other nobody would call.
    const passive = this.#passive && a.address > b.address;
    return neighbour(b.address, { holdTime: 9, restartTime: 20, passive, ...more });
  }

  #each(run: (a: Node, b: Node) => void): void {
    for (const a of this.nodes) for (const b of this.nodes) if (a !== b) run(a, b);
  }

  say({ address, speaker, said }: Node, n: number, there: boolean): void {
    const prefix = `10.${address.slice(-1)}.${n}.0/24`;
    const nlri = { rd: '65000:1', prefix, label: 16 } as never;
    if (there) {
      said.add(prefix);
      const attributes = { origin: 'igp', asPath: [], localPref: 100 } as const;
      speaker.rib.originate({ family: 'vpnv4', nlri, attributes, nextHop: { address } });
    } else {
      said.delete(prefix);
      speaker.rib.withdraw('vpnv4', nlri);
    }
  }

  readonly #deeds: readonly (() => void)[] = [
    () => this.#streams((stream) => stream.bytes.cut(), 0.5),
    () => this.#streams((stream) => stream.end(), 0.3),
    () =>
      this.#streams((stream) => {
        const end = this.chance(0.5) ? stream.bytes : stream.bytes.far;
        end.write([Uint8Array.from({ length: 40 }, () => Math.floor(this.random() * 256))]);
      }, 0.3),
    () =>
      this.#streams((stream) => {
        const end = this.chance(0.5) ? stream.bytes : stream.bytes.far;
        end.reading = false;
        this.lab.clock.after(this.random() * 15_000, () => {
          end.reading = true;
          end.wake();
        });
      }, 0.4),
    () => {
      const to = this.pick(ADDRESSES);
      this.network.mayConnect = (_, address) => address !== to;
    },
    () => {
      this.network.mayConnect = () => true;
    },
    () => this.#stranger(),
    () => this.#with((a, b) => a.speaker.clear(b.address, 'hard')),
    () => this.#with((a, b) => a.speaker.clear(b.address, this.pick(['in', 'out']))),
    () => this.#with((a, b) => a.speaker.shutdown(b.address, 'chaos')),
    () => this.#with((a, b) => a.speaker.enable(b.address)),
    () =>
      this.#with((a, b) => {
        const holdTime = this.pick([3, 9, 30]);
        a.speaker.setNeighbour(this.#neighbour(a, b, { holdTime }));
      }),
    () => this.say(this.pick(this.nodes), Math.floor(this.random() * ROUTES), this.chance(0.5)),
  ];

  #streams(
    run: (stream: BgpNetwork['connections'] extends Set<infer S> ? S : never) => void,
    part: number,
  ): void {
    for (const stream of [...this.network.connections]) if (this.chance(part)) run(stream);
  }

  #with(run: (a: Node, b: Node) => void): void {
    const a = this.pick(this.nodes);
    run(a, this.pick(this.nodes.filter((b) => b !== a)));
  }

  /** Somebody with a neighbour's address, who says some of what that would. */
  #stranger(): void {
    const [a, b] = [this.pick(ADDRESSES), this.pick(ADDRESSES)];
    if (a === b) return;
    const connected = (stream: PeerStream) => {
      const capabilities = [{ kind: 'as4', as: 65000 }] as const;
      if (this.chance(0.7))
        stream.write([openMessage({ as: 65000, holdTime: 9, id: a, capabilities })]);
      if (this.chance(0.5)) stream.write([keepaliveMessage()]);
      this.lab.clock.after(this.random() * 20_000, () => stream.destroy());
    };
    this.network
      .transport(a, this.lab.clock)
      .connect({ remote: { address: b, port: 179 } }, { connected, failed: () => {} });
  }

  chaos(): void {
    for (let step = 0; step < STEPS; step++) {
      this.pick(this.#deeds)();
      this.lab.pass(this.random() * 2 * (CHAOS_MS / STEPS));
      this.#atMostOne();
    }
  }

  #atMostOne(): void {
    this.#each((a, b) => {
      const status = a.speaker.neighbour(b.address);
      const established = status?.state === 'established';
      if (established !== (this.up.get(`${a.address}>${b.address}`) ?? false)) {
        this.wrong.push(`${a.address}>${b.address} is ${status?.state}`);
      }
    });
  }

  calm(): void {
    this.network.mayConnect = () => true;
    this.#each((a, b) => {
      a.speaker.enable(b.address);
      a.speaker.setNeighbour(this.#neighbour(a, b));
    });
    this.lab.pass(CALM_MS);
  }

  /** What each has from each: of the session, and of the routes. */
  result() {
    const result: Record<string, unknown> = {};
    this.#each((a, b) => {
      const status = a.speaker.neighbour(b.address);
      const peer = a.speaker.ribPeer(b.address);
      const received = peer === undefined ? [] : [...a.speaker.rib.received(peer, 'vpnv4')];
      result[`${a.address}>${b.address}`] = {
        state: status?.state,
        ends: [status?.local, status?.remote],
        routes: received.map(({ nlri }) => (nlri as { prefix: string }).prefix).sort(),
      };
    });
    return result;
  }

  wanted() {
    const result: Record<string, unknown> = {};
    this.#each((a, b) => {
      const { local, remote } = b.speaker.neighbour(a.address) ?? {};
      const routes = [...b.said].sort();
      result[`${a.address}>${b.address}`] = { state: 'established', ends: [remote, local], routes };
    });
    return result;
  }
}

describe('speakers', () => {
  test.each(Array.from({ length: 20 }, (_, n) => [n * 10]))(
    'from seed %i, ten times',
    (first) => {
      for (let seed = first; seed < first + 10; seed++) {
        const world = new World(seed);
        world.chaos();
        world.calm();
        expect(world.wrong, `seed ${seed}`).toEqual([]);
        expect(world.result(), `seed ${seed}`).toEqual(world.wanted());
        const open = [...world.network.connections].filter(({ bytes }) => bytes.open);
        expect(open.length, `seed ${seed}: connections`).toBe(3);
      }
    },
    60_000,
  );
});
