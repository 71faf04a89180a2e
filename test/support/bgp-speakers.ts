/** Speakers to be tested: a RIB that only records and says what it is told to, neighbours, and a clock that drives them. */
import type { IpText } from '../../src/addr/ip.ts';
import type { Neighbour } from '../../src/bgp/neighbour.ts';
import type { BgpRib, Outgoing, RibOptions, RibPeer } from '../../src/bgp/rib/contract.ts';
import { BgpSpeaker, type BgpSpeakerOptions } from '../../src/bgp/session/speaker.ts';
import type { Agreed } from '../../src/bgp/wire/agree.ts';
import type { Notification } from '../../src/bgp/wire/notification.ts';
import type { Open } from '../../src/bgp/wire/open.ts';
import type { RouteRefresh } from '../../src/bgp/wire/refresh.ts';
import type { Update } from '../../src/bgp/wire/update.ts';
import type { BgpNetwork } from '../../src/sim/bgp-network.ts';
import { VirtualClock } from '../../src/sim/clock.ts';
import { randomOf } from '../../src/sim/random.ts';

export class RecordingPeer implements RibPeer {
  neighbour: Neighbour;
  readonly updates: Update[] = [];
  readonly refreshes: RouteRefresh[] = [];
  /** `up`, `down`, `down, graceful`. */
  readonly log: string[] = [];
  agreed: Agreed | undefined;
  open: Open | undefined;
  /** What the next updates are answered with. */
  answer: Notification | undefined;
  /** Thrown by the next `take`. */
  fault: Error | undefined;
  asked = 0;
  readonly #outgoing: Outgoing[] = [];

  constructor(neighbour: Neighbour) {
    this.neighbour = neighbour;
  }

  /** Without a word to the session. */
  queue(...outgoing: Outgoing[]): void {
    this.#outgoing.push(...outgoing);
  }

  get queued(): number {
    return this.#outgoing.length;
  }

  up(agreed: Agreed, peer: Open): void {
    this.agreed = agreed;
    this.open = peer;
    this.log.push('up');
  }

  take(update: Update): Notification | undefined {
    if (this.fault !== undefined) throw this.fault;
    this.updates.push(update);
    return this.answer;
  }

  refresh(refresh: RouteRefresh): void {
    this.refreshes.push(refresh);
  }

  disable(family: string): void {
    this.log.push(`disable ${family}`);
  }

  down(graceful: boolean): void {
    this.log.push(graceful ? 'down, graceful' : 'down');
  }

  next(): Outgoing | undefined {
    this.asked += 1;
    return this.#outgoing.shift();
  }
}

export class RecordingRib implements BgpRib {
  readonly peers: RecordingPeer[] = [];
  readonly changed: Neighbour[] = [];
  readonly #options: Pick<RibOptions, 'schedule' | 'onReady'>;
  due: number | undefined;

  constructor(options: Pick<RibOptions, 'schedule' | 'onReady'>) {
    this.#options = options;
  }

  /** As the real one does it: later. */
  say(peer: RecordingPeer, ...outgoing: Outgoing[]): void {
    peer.queue(...outgoing);
    this.#options.schedule(() => this.#options.onReady(peer));
  }

  originate(): void {}
  withdraw(): void {}
  want(): void {}
  addPeer(neighbour: Neighbour): RecordingPeer {
    const peer = new RecordingPeer(neighbour);
    this.peers.push(peer);
    return peer;
  }
  removePeer(peer: RibPeer): void {
    this.peers.splice(this.peers.indexOf(peer as RecordingPeer), 1);
  }
  changePolicies(peer: RibPeer, neighbour: Neighbour): void {
    (peer as RecordingPeer).neighbour = neighbour;
    this.changed.push(neighbour);
  }
  tick(): void {
    this.due = undefined;
  }
  flush(): void {}
  *routes() {}
  lostBy() {
    return undefined;
  }
  *received() {}
  *advertised() {}
  counts() {
    return new Map();
  }
}

export const ip = (text: string) => text as IpText;

export const neighbour = (address: string, more: Partial<Neighbour> = {}): Neighbour => ({
  ...{ name: address, address: ip(address), port: 179, as: 65000, passive: false, holdTime: 90 },
  ...{ families: [{ family: 'vpnv4' }], client: false, allowAsIn: 0 },
  ...more,
});

/** Time of the test's own, and all that runs in it. */
export class Lab {
  readonly clock = new VirtualClock();

  pass(ms: number): void {
    const end = this.clock.nowNs + BigInt(Math.round(ms * 1e6));
    while (this.clock.runOne());
    for (let due = this.clock.dueNs; due !== undefined && due <= end; due = this.clock.dueNs) {
      this.clock.advanceTo(due);
      while (this.clock.runOne());
    }
    this.clock.advanceTo(end);
  }

  /** A speaker with a RIB that records, at 10.0.0.`last`. */
  speaker(
    network: BgpNetwork,
    last: number,
    more: Partial<BgpSpeakerOptions> = {},
  ): { speaker: BgpSpeaker; rib: RecordingRib; address: string } {
    const address = ip(`10.0.0.${last}`);
    const { clock } = this;
    const speaker = new BgpSpeaker({
      speaker: { as: 65000, id: address },
      transport: more.transport ?? network.transport(address, clock),
      makeRib: (options) => new RecordingRib(options),
      clock,
      random: randomOf(BigInt(last)),
      later: (run) => clock.after(0, run),
      ...more,
    });
    return { speaker, rib: speaker.rib as RecordingRib, address };
  }
}

export const route = (n: number): Outgoing => ({
  kind: 'update',
  update: {
    withdrawn: [],
    announced: [
      {
        ...{ family: 'vpnv4', nextHop: { address: ip('10.255.0.1') } },
        nlri: [
          {
            rd: '65000:1' as never,
            prefix: `10.${(n >> 8) & 255}.${n & 255}.0/24` as never,
            label: 16,
          },
        ],
      },
    ],
    attributes: { origin: 'igp', asPath: [], localPref: 100 },
  },
});
