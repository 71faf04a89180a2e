/**
 * BgpSpeaker: all neighbours of ours, and the RIB that they share. Neighbours and ranges come and go while it runs; a session
 * starts anew only where what its OPEN or its connection says is another now.
 *
 * Invariants
 *  * A neighbour's name and, with its local address, its address are its own. A range's neighbours are its `limit` at most,
 *    and those that have nothing here any more are none.
 *  * Who calls and is neither a neighbour nor of a range is turned away without a word, and counted.
 */
import { type IpText, parseIp } from '../../addr/ip.ts';
import { contains, hostPrefix, parsePrefix } from '../../addr/prefix.ts';
import { type Clock, systemClock } from '../../codec/byte-stream.ts';
import { VRouterError } from '../../errors.ts';
import { MAX_PASSWORD_BYTES } from '../limits.ts';
import type { Neighbour, NeighbourRange, Speaker } from '../neighbour.ts';
import type { BgpRib, RibOptions, RibPeer } from '../rib/contract.ts';
import type { Notification } from '../wire/notification.ts';
import { Alarm } from './alarm.ts';
import { CEASE, ceased } from './cease.ts';
import { hopsOf } from './hops.ts';
import { type Host, sessionText } from './our-open.ts';
import { Peer } from './peer.ts';
import type { PeerSetting } from './peer-setting.ts';
import { neighbourStatus } from './peer-status.ts';
import type { NeighbourStatus, SpeakerStatus } from './status.ts';
import type { Endpoint, Hops, Key, PeerStream, Transport } from './transport.ts';
import { Turns } from './turns.ts';

export interface BgpSpeakerOptions {
  readonly speaker: Speaker;
  readonly transport: Transport;
  /** It is told when to deliver, and whom to tell that there is something to send. */
  readonly makeRib: (options: Pick<RibOptions, 'schedule' | 'onReady'>) => BgpRib;
  readonly clock?: Clock;
  readonly random?: () => number;
  /** Runs it after sockets and timers have been looked at. Default: setImmediate. */
  readonly later?: (run: () => void) => void;
  /** Of this host, for peers to show. */
  readonly host?: Host;
  /** Packets go on while we are away (RFC 4724). */
  readonly forwardingKept?: boolean;
  /** We were there before: until the neighbour's restart time is over since the beginning, our OPENs say so. */
  readonly restarted?: boolean;
  /** A session is up, or was. Why it is not any more can be asked for after the call. */
  readonly onSession?: (neighbour: string, state: 'up' | 'down') => void;
  /** An error of ours that ended a session. Default: thrown. */
  readonly onFault?: (error: unknown) => void;
}

/** How a session is to begin again: `hard` with a new connection; `in` and `out` say all again in this one. */
export type Clearing = 'hard' | 'in' | 'out';

export class BgpSpeaker {
  readonly rib: BgpRib;
  readonly #options: BgpSpeakerOptions;
  readonly #clock: Clock;
  readonly #turns: Turns;
  readonly #startedAt: number;
  readonly #peers = new Map<string, Peer>();
  readonly #byRib = new Map<RibPeer, Peer>();
  readonly #ranges = new Map<string, NeighbourRange>();
  /** Of dynamic neighbours, by range. */
  readonly #rangeOf = new Map<Peer, string>();
  #refused = 0;
  #refusedByLimit = 0;
  readonly #ribAlarm: Alarm;
  #closed = false;

  constructor(options: BgpSpeakerOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#startedAt = this.#clock.now();
    this.#turns = new Turns(this.#clock, options.later ?? setImmediate);
    this.rib = options.makeRib({
      schedule: (run) =>
        this.#turns.soon(() => {
          run();
          this.#armRib();
        }),
      onReady: (peer) => this.#byRib.get(peer)?.ready(),
    });
    this.#ribAlarm = new Alarm(this.#clock, () => {
      this.rib.tick(this.#clock.now());
      this.#armRib();
    });
    options.transport.listen({
      admit: (remote, local) => this.#admit(remote, local),
      accept: (stream) => this.#accept(stream),
    });
  }

  // --- neighbours --------------------------------------------------------------------------------------

  /** Added, or changed: found by its name. */
  setNeighbour(neighbour: Neighbour): void {
    const { speaker } = this.#options;
    mayHavePassword(neighbour.name, neighbour.password);
    const old = this.#peers.get(neighbour.name);
    if (
      old !== undefined &&
      sessionText(speaker, old.neighbour) === sessionText(speaker, neighbour)
    ) {
      old.changePolicies(neighbour);
      return;
    }
    this.#mayHaveAddress(neighbour);
    if (old !== undefined) this.#remove(old, ceased(CEASE.configurationChange));
    // It may have called already, and been of a range.
    for (const peer of [...this.#rangeOf.keys()]) {
      if (samePlace(peer.neighbour, neighbour)) {
        this.#remove(peer, ceased(CEASE.configurationChange));
      }
    }
    const peer = this.#add(neighbour);
    try {
      this.#renewKeys();
    } catch (error) {
      this.#remove(peer, ceased(CEASE.deconfigured));
      throw error;
    }
    if (old?.enabled === false) peer.shutdown();
    else peer.start();
  }

  removeNeighbour(name: string): boolean {
    const peer = this.#peers.get(name);
    if (peer === undefined || peer.dynamic) return false;
    this.#remove(peer, ceased(CEASE.deconfigured));
    this.#renewKeys();
    return true;
  }

  /** Added, or changed: those that are here by it stay where what they are is still so. */
  setRange(range: NeighbourRange): void {
    mayHavePassword(range.name, range.template.password);
    this.#ranges.set(range.name, range);
    const { speaker } = this.#options;
    for (const peer of this.#dynamic(range.name)) {
      const neighbour = dynamicNeighbour(range, peer.neighbour);
      if (!covers(range, peer.neighbour.address)) this.#remove(peer, ceased(CEASE.deconfigured));
      else if (sessionText(speaker, peer.neighbour) === sessionText(speaker, neighbour)) {
        peer.changePolicies(neighbour);
      } else this.#remove(peer, ceased(CEASE.configurationChange));
    }
    for (const peer of this.#dynamic(range.name).slice(range.limit)) {
      this.#remove(peer, ceased(CEASE.outOfResources));
    }
    this.#renewKeys();
  }

  removeRange(name: string): boolean {
    if (!this.#ranges.delete(name)) return false;
    for (const peer of this.#dynamic(name)) this.#remove(peer, ceased(CEASE.deconfigured));
    this.#renewKeys();
    return true;
  }

  // --- what an operator says; false: there is no such neighbour ------------------------------------------

  /** Until `enable`. `text` is for the peer's operator (RFC 9003). */
  shutdown(name: string, text?: string): boolean {
    return this.#with(name, (peer) => peer.shutdown(text));
  }

  enable(name: string): boolean {
    return this.#with(name, (peer) => {
      if (!peer.enabled) peer.start();
    });
  }

  /** False also: the session is not there, or its peer cannot. */
  clear(name: string, clearing: Clearing, text?: string): boolean {
    const peer = this.#peers.get(name);
    if (peer === undefined) return false;
    return CLEARINGS[clearing](peer, text);
  }

  status(): SpeakerStatus {
    const now = this.#clock.now();
    const neighbours = [...this.#peers.values()]
      .map((peer) => neighbourStatus(peer, this.rib, now))
      .sort((a, b) => (a.name < b.name ? -1 : 1));
    return { neighbours, refused: this.#refused, refusedByLimit: this.#refusedByLimit };
  }

  neighbour(name: string): NeighbourStatus | undefined {
    const peer = this.#peers.get(name);
    return peer === undefined ? undefined : neighbourStatus(peer, this.rib, this.#clock.now());
  }

  ribPeer(name: string): RibPeer | undefined {
    return this.#peers.get(name)?.rib;
  }

  /** `restart`: without a word to peers that keep our routes until we are back; else they are told, with `text`. */
  close(how: { readonly restart: boolean; readonly text?: string } = { restart: false }): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#options.transport.close();
    for (const peer of this.#peers.values()) {
      if (how.restart && peer.keepsRoutes) peer.leave();
      else peer.remove(ceased(CEASE.shutdown, how.text));
    }
    this.#peers.clear();
    this.#byRib.clear();
    this.#rangeOf.clear();
    this.#ribAlarm.cancel();
  }

  // --- inside ------------------------------------------------------------------------------------------

  #with(name: string, run: (peer: Peer) => void): boolean {
    const peer = this.#peers.get(name);
    if (peer === undefined) return false;
    run(peer);
    return true;
  }

  #add(neighbour: Neighbour, range?: string): Peer {
    const { speaker, transport, random, host, forwardingKept, restarted } = this.#options;
    const setting: PeerSetting = {
      ...{ speaker, transport, rib: this.rib, clock: this.#clock, soon: this.#turns.soon },
      random: random ?? Math.random,
      circumstances: () => ({
        restarting: restarted === true && this.#within(neighbour.restartTime ?? 0),
        forwardingKept: forwardingKept === true,
        ...(host === undefined ? {} : { host }),
      }),
      dynamic: range !== undefined,
      ribCalled: () => this.#armRib(),
      idle: () => this.#remove(peer, ceased(CEASE.deconfigured)),
      session: (state) => this.#options.onSession?.(neighbour.name, state),
      fault: (error) => {
        const { onFault } = this.#options;
        if (onFault === undefined) throw error;
        onFault(error);
      },
    };
    const peer: Peer = new Peer(neighbour, setting);
    this.#peers.set(neighbour.name, peer);
    this.#byRib.set(peer.rib, peer);
    if (range !== undefined) this.#rangeOf.set(peer, range);
    return peer;
  }

  #within(seconds: number): boolean {
    return this.#clock.now() < this.#startedAt + seconds * 1000;
  }

  #remove(peer: Peer, reason: Notification): void {
    peer.remove(reason);
    this.#byRib.delete(peer.rib);
    this.#rangeOf.delete(peer);
    if (this.#peers.get(peer.neighbour.name) === peer) this.#peers.delete(peer.neighbour.name);
  }

  #dynamic(range: string): Peer[] {
    return [...this.#rangeOf].filter(([, name]) => name === range).map(([peer]) => peer);
  }

  #mayHaveAddress(neighbour: Neighbour): void {
    const { name, address, localAddress } = neighbour;
    for (const { neighbour: other, dynamic } of this.#peers.values()) {
      if (dynamic || other.name === name || !samePlace(other, neighbour)) continue;
      if (other.localAddress !== localAddress) continue;
      throw new VRouterError(
        'BAD_NEIGHBOUR',
        `${name} has the address of ${other.name}: ${address}`,
      );
    }
  }

  #renewKeys(): void {
    const keys: Key[] = [];
    for (const { neighbour, dynamic } of this.#peers.values()) {
      const { address, password } = neighbour;
      if (!dynamic && password !== undefined) keys.push({ prefix: hostPrefix(address), password });
    }
    for (const { prefix, template } of this.#ranges.values()) {
      if (template.password !== undefined) keys.push({ prefix, password: template.password });
    }
    this.#options.transport.setKeys(keys);
  }

  // --- who calls ---------------------------------------------------------------------------------------

  #admit(remote: Endpoint, local: Endpoint): Hops | undefined {
    const caller = this.#callerOf(remote, local);
    if (caller instanceof Peer) return caller.hops;
    return caller === undefined ? undefined : hopsOf(caller.template, this.#options.speaker);
  }

  #accept(stream: PeerStream): void {
    const { remote, local } = stream;
    const caller = this.#callerOf(remote, local);
    if (caller === undefined) {
      stream.destroy();
      return;
    }
    if (caller instanceof Peer) {
      caller.accept(stream);
      return;
    }
    const peer = this.#add(dynamicNeighbour(caller, remote), caller.name);
    peer.start();
    peer.accept(stream);
  }

  /** A neighbour, or the range of which it would be a new one. */
  #callerOf(remote: Endpoint, local: Endpoint): Peer | NeighbourRange | undefined {
    const peer = this.#peerOf(remote, local);
    if (peer?.enabled === true) return peer;
    const range = peer === undefined ? this.#rangeFor(remote.address) : undefined;
    if (range === undefined) this.#refused += 1;
    else if (this.#dynamic(range.name).length < range.limit) return range;
    else this.#refusedByLimit += 1;
    return undefined;
  }

  #peerOf(remote: Endpoint, local: Endpoint): Peer | undefined {
    let found: Peer | undefined;
    for (const peer of this.#peers.values()) {
      const { localAddress } = peer.neighbour;
      if (!samePlace(peer.neighbour, remote)) continue;
      if (localAddress === local.address) return peer;
      if (localAddress === undefined) found = peer;
    }
    return found;
  }

  /** The narrowest one. */
  #rangeFor(address: IpText): NeighbourRange | undefined {
    let found: NeighbourRange | undefined;
    for (const range of this.#ranges.values()) {
      if (!covers(range, address)) continue;
      if (found !== undefined && lengthOf(found) >= lengthOf(range)) continue;
      found = range;
    }
    return found;
  }

  // --- the RIB's time ----------------------------------------------------------------------------------

  #armRib(): void {
    const { due } = this.rib;
    if (due !== undefined && !this.#closed) this.#ribAlarm.set(due);
  }
}

const CLEARINGS: { readonly [K in Clearing]: (peer: Peer, text?: string) => boolean } = {
  hard: (peer, text) => {
    peer.reset(text);
    return true;
  },
  in: (peer) => peer.refreshIn(),
  out: (peer) => peer.refreshOut(),
};

function mayHavePassword(name: string, password = ''): void {
  if (Buffer.byteLength(password) <= MAX_PASSWORD_BYTES) return;
  throw new VRouterError(
    'BAD_NEIGHBOUR',
    `${name}: a password has ${MAX_PASSWORD_BYTES} bytes at most`,
  );
}

function covers({ prefix }: NeighbourRange, address: IpText): boolean {
  const { family, bytes } = parseIp(address);
  return contains(parsePrefix(prefix), { family, bytes, length: bytes.length * 8 });
}

function lengthOf({ prefix }: NeighbourRange): number {
  return parsePrefix(prefix).length;
}

type Place = Pick<Neighbour, 'address' | 'interface'>;

const samePlace = (a: Place, b: Place): boolean =>
  a.address === b.address && a.interface === b.interface;

function dynamicNeighbour({ name, template }: NeighbourRange, from: Place): Neighbour {
  const { address, interface: on } = from;
  const zone = on === undefined ? '' : `%${on}`;
  return {
    ...template,
    name: `${name}/${address}${zone}`,
    ...{ address, ...(on !== undefined && { interface: on }) },
    passive: true,
  };
}
