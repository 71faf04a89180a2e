/**
 * ControlNodes: the route source of an agent that has control nodes of Contrail's kind, over XMPP. Two of the list are
 * active at once, each told everything and heard in full; one that cannot be had gives its place to a spare.
 *
 * Invariants
 *  * What the agent wants is kept here, and said again in every session (xmpp/said.ts).
 *  * Losing a session takes nothing away; what its control node said goes when one that is live has had its say:
 *    SETTLE_MS after it came and with its end of rib, so that other agents have come back to it, too. A control node
 *    that sends no end of rib is taken to have sent it after END_OF_RIB_MS.
 *  * Where nothing could be lost, nothing is waited for: the first control node counts from its end of rib.
 *  * The agent hears of an instance's end of rib once, from whichever control node is first.
 */
import { VRouterError } from '../errors.ts';
import { checkKey, checkName, checkRoute } from '../rib/check.ts';
import { getOrCreate } from '../rib/map-entry.ts';
import {
  keyOf,
  prefixKeyText,
  type Route,
  type RouteKey,
  type RouteSource,
  type RouteUpdate,
  routeKeyText,
} from '../rib/route.ts';
import { instanceOf } from '../rib/static-source.ts';
import { ConfigClient, type ConfigClientOptions } from './config-client.ts';
import { LearnedPaths, type Standing } from './learned.ts';
import { updatesOf } from './routes.ts';
import { Said, type WantedInstance } from './said.ts';
import type { SessionOptions } from './session.ts';
import type { RefusedItem, Stanza } from './stanza.ts';
import { CONTROL_NAME } from './stream.ts';
import { type Clock, type Connect, systemClock } from './transport/byte-stream.ts';
import { xmppClient } from './transport/client.ts';
import type { SessionDriver, SessionOwner } from './transport/driver.ts';

/** As in the ancestor; more of them are spares. */
const ACTIVE = 2;
/** Without an end of rib for this long, it counts as sent. */
export const END_OF_RIB_MS = 60_000;
/** Agents that lost a control node with us are back by then: above the longest wait between their attempts. */
export const SETTLE_MS = 40_000;
/** Two control nodes that live tell the same within this. */
export const LAG_MS = 5_000;
/** Instances that are only published into have ids from here down: those of VRFs are from 1 up. */
const LAST_INSTANCE_ID = 0xffff;

export interface ControlNodesOptions {
  readonly name: string;
  /** What they are called, in the order in which they are preferred, and how each is reached. */
  readonly nodes: readonly { readonly name: string; readonly connect: Connect }[];
  /** This node's addresses in the underlay. */
  readonly ownAddresses: readonly string[];
  readonly session?: Partial<SessionOptions>;
  readonly endOfRibMs?: number;
  readonly settleMs?: number;
  readonly clock?: Clock;
  readonly random?: () => number;
  /** Calls `run` once what is being said in one go has been said, and never at once. Default: a microtask. */
  readonly schedule?: (run: () => void) => void;
  /** Configuration is asked for, too. */
  readonly configuration?: Pick<ConfigClientOptions, 'quietMs' | 'silentMs' | 'longestMs'>;
  /** Asked by close(): what was published stays, for a successor. */
  readonly leaveRoutes?: () => boolean;
  readonly onSession?: (control: string, state: 'up' | 'down', why?: VRouterError) => void;
  /** An attempt that came to nothing. */
  readonly onFailed?: (control: string, why: VRouterError) => void;
  readonly onRefused?: (control: string, instance: string, refused: RefusedItem) => void;
}

/** One control node, as somebody who looks at it wants to know. */
export interface ControlNodeStatus {
  readonly name: string;
  /** Of the session: established, waiting, connecting, …; `spare`: not tried now. */
  readonly state: string;
  readonly standing: Standing;
  readonly secure: boolean;
  readonly upSeconds: number;
  readonly subscribed: number;
  readonly published: number;
  readonly received: number;
  /** Of a session that was lost, and still in use. */
  readonly stale: number;
  readonly swept: number;
  readonly refused: number;
  readonly lastError?: string;
}

type Listener = (updates: readonly RouteUpdate[]) => void;

export class ControlNodes implements RouteSource {
  readonly name: string;
  /** Undefined: none is asked for. */
  readonly configuration: ConfigClient | undefined;
  readonly #options: ControlNodesOptions;
  readonly #clock: Clock;
  readonly #schedule: (run: () => void) => void;
  readonly #peers: ControlPeer[];
  readonly #spares: ControlPeer[];
  readonly #learned: LearnedPaths;
  readonly #subscribed = new Map<string, number>();
  readonly #instances = new Map<string, WantedInstance>();
  readonly #published = new Map<string, Map<string, Route>>();
  /** The same routes by prefix, then instance. */
  readonly #byPrefix = new Map<string, Map<string, Route>>();
  /** Subscribed to, and the agent has not been told of an end of rib. */
  readonly #awaited = new Set<string>();
  #listener: Listener | undefined;
  #scheduled = false;
  #closed = false;
  #started = false;

  constructor(options: ControlNodesOptions) {
    this.name = checkName(options.name, 'name');
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#schedule = options.schedule ?? queueMicrotask;
    const own = new Set(options.ownAddresses);
    this.#learned = new LearnedPaths(
      options.nodes.map((node) => node.name),
      {
        isOwn: (address) => own.has(address),
        published: (prefix) => this.#byPrefix.get(prefixKeyText(prefix))?.values() ?? [],
      },
    );
    this.#peers = options.nodes.map(({ name, connect }) => new ControlPeer(this, name, connect));
    this.#spares = this.#peers.slice(ACTIVE);
    const { configuration, onRefused } = options;
    this.configuration =
      configuration &&
      new ConfigClient({
        ...configuration,
        name: this.name,
        control: CONTROL_NAME,
        clock: this.#clock,
        send: (control, text) =>
          this.#peers.find(({ name }) => name === control)?.driver?.send(text),
        onRefused: (control, refused) => onRefused?.(control, 'configuration', refused),
      });
  }

  /** When everything that is known of what is to be published has been: an end of rib follows it. */
  start(): void {
    if (this.#started || this.#closed) return;
    this.#started = true;
    for (const peer of this.#peers.slice(0, ACTIVE)) peer.start();
  }

  // --- what the agent says ---------------------------------------------------------------------------

  onUpdates(listener: Listener): void {
    this.#listener = listener;
  }

  subscribe(instance: string, instanceId: number): void {
    this.#checkOpen();
    checkName(instance, 'instance');
    if (this.#subscribed.has(instance)) {
      throw new VRouterError('CONFLICT', `'${this.name}' is subscribed to '${instance}' already`);
    }
    this.#subscribed.set(instance, instanceId);
    this.#awaited.add(instance);
    this.#want(instance, { id: instanceId, routes: true });
  }

  unsubscribe(instance: string): void {
    this.#checkOpen();
    if (!this.#subscribed.delete(instance)) return;
    this.#awaited.delete(instance);
    this.#learned.drop(instance);
    for (const peer of this.#peers) peer.forget(instance);
    this.#want(instance, this.#published.has(instance) ? this.#unheard() : undefined);
  }

  publish(given: Route): void {
    this.#checkOpen();
    const route = checkRoute(given);
    const { instance } = route;
    if (!this.#instances.has(instance)) this.#want(instance, this.#unheard());
    const routes = getOrCreate(this.#published, instance, () => new Map<string, Route>());
    routes.set(routeKeyText(route), route);
    getOrCreate(this.#byPrefix, prefixKeyText(route), () => new Map<string, Route>()).set(
      instance,
      route,
    );
    this.#routeChanged(route);
  }

  withdraw(given: RouteKey): void {
    this.#checkOpen();
    const key = checkKey(keyOf(given));
    const routes = this.#published.get(key.instance);
    if (routes?.delete(routeKeyText(key)) !== true) return;
    if (routes.size === 0) this.#published.delete(key.instance);
    const everywhere = this.#byPrefix.get(prefixKeyText(key));
    everywhere?.delete(key.instance);
    if (everywhere?.size === 0) this.#byPrefix.delete(prefixKeyText(key));
    this.#routeChanged(key);
    if (routes.size === 0 && !this.#subscribed.has(key.instance)) {
      this.#want(key.instance, undefined);
    }
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    const leave = this.#options.leaveRoutes?.() === true;
    this.configuration?.close();
    for (const peer of this.#peers) peer.close(leave);
  }

  #checkOpen(): void {
    if (this.#closed) throw new VRouterError('BUSY', `route source '${this.name}' is closed`);
  }

  #want(instance: string, wanted: WantedInstance | undefined): void {
    if (wanted === undefined) this.#instances.delete(instance);
    else this.#instances.set(instance, wanted);
    for (const { said } of this.#peers) said?.instanceChanged(instance);
    this.#soon();
  }

  /** For an instance that is only published into. */
  #unheard(): WantedInstance {
    const taken = new Set([...this.#instances.values()].map(({ id }) => id));
    let id = LAST_INSTANCE_ID;
    while (taken.has(id)) id--;
    return { id, routes: false };
  }

  #routeChanged(key: RouteKey): void {
    this.#learned.ownChanged(key);
    for (const { said } of this.#peers) said?.routeChanged(key.instance, routeKeyText(key));
    this.#soon();
  }

  /** Once for what is said in one go, and never during a call. */
  #soon(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    this.#schedule(() => {
      this.#scheduled = false;
      if (this.#closed) return;
      for (const { said } of this.#peers) said?.say();
      this.#deliver();
    });
  }

  // --- what control nodes say ------------------------------------------------------------------------

  /** Of a peer's: a new session. */
  up(peer: ControlPeer): Said {
    this.#learned.up(peer.name);
    this.#deliver();
    const said = new Said({
      name: this.name,
      control: CONTROL_NAME,
      wanted: { instances: this.#instances, published: this.#published },
      send: (text) => peer.driver?.send(text),
      blocked: () => peer.driver?.blocked() === true,
      onSubscribed: (instance) => peer.await(instance),
      onRefused: (instance, refused) => this.refused(peer, instance, refused),
    });
    this.#options.onSession?.(peer.name, 'up');
    this.configuration?.up(peer.name);
    return said;
  }

  down(peer: ControlPeer, error: VRouterError): void {
    this.#learned.lost(peer.name);
    this.#options.onSession?.(peer.name, 'down', error);
    this.configuration?.down(peer.name);
    this.#deliver();
    if (!this.#closed) this.#clock.after(LAG_MS, () => this.#sweep());
  }

  take(peer: ControlPeer, { content }: Stanza): void {
    if (content.type === 'end-of-rib') {
      peer.ended();
      return;
    }
    if (content.type === 'config' && this.configuration !== undefined) {
      this.configuration.take(peer.name, content.config);
      return;
    }
    if (content.type !== 'items') {
      peer.ignored++;
      return;
    }
    const { updates, refused } = updatesOf(content);
    for (const item of refused) this.refused(peer, content.instance, item);
    // Those of an instance left meanwhile are on their way for a while.
    if (!this.#subscribed.has(content.instance)) return;
    for (const update of updates) {
      if (update.type === 'announce') this.#learned.announce(peer.name, update.route);
      else if (update.type === 'withdraw') this.#learned.withdraw(peer.name, update.key);
    }
    this.#deliver();
  }

  /** A control node has said all of these. */
  instancesEnded(peer: ControlPeer, instances: readonly string[]): void {
    const news = instances.filter((instance) => this.#awaited.delete(instance));
    this.#deliver(news);
    if (this.#learned.standing(peer.name) === 'settled') this.#sweep();
    else this.settle(peer);
  }

  /** If its time has come. */
  settle(peer: ControlPeer): void {
    if (this.#closed || this.#learned.standing(peer.name) !== 'learning' || !peer.complete) return;
    const safe = !this.#learned.anySettled && !this.#learned.hasOld();
    const due = peer.since + (this.#options.settleMs ?? SETTLE_MS);
    if (!safe && this.#clock.now() < due) {
      peer.settleAt(due);
      return;
    }
    this.#learned.settle(peer.name);
    this.#sweep();
  }

  /** What is old goes where a settled control node has said all. */
  #sweep(): void {
    if (this.#closed) return;
    const swept = (name: string) => {
      for (const peer of this.#peers) if (peer.name === name) peer.swept++;
    };
    for (const peer of this.#peers) {
      if (this.#learned.standing(peer.name) !== 'settled') continue;
      for (const instance of peer.instances) this.#learned.cover(instance, swept);
    }
    this.#deliver();
  }

  refused(peer: ControlPeer, instance: string, refused: RefusedItem): void {
    peer.refused++;
    this.#options.onRefused?.(peer.name, instance, refused);
  }

  failed(peer: ControlPeer, error: VRouterError): void {
    this.#options.onFailed?.(peer.name, error);
  }

  /** Four attempts have failed: a spare has its turn. */
  giveWay(peer: ControlPeer): void {
    const next = this.#spares.shift();
    if (next === undefined) return;
    this.#spares.push(peer);
    this.#schedule(() => {
      if (this.#closed) return;
      peer.close(true);
      next.start();
    });
  }

  #deliver(ends: readonly string[] = []): void {
    if (this.#closed) return;
    const updates = this.#learned
      .take()
      .filter((update) => this.#subscribed.has(instanceOf(update)));
    for (const instance of ends) updates.push({ type: 'end-of-rib', instance });
    if (updates.length > 0) this.#listener?.(updates);
  }

  // --- for peers, and for looking --------------------------------------------------------------------

  get clock(): Clock {
    return this.#clock;
  }

  get endOfRibMs(): number {
    return this.#options.endOfRibMs ?? END_OF_RIB_MS;
  }

  client(connect: Connect, owner: SessionOwner): SessionDriver {
    const { session, random } = this.#options;
    return xmppClient(
      {
        session: { tls: 'off', ...session, name: this.name, peer: CONTROL_NAME },
        connect,
        clock: this.#clock,
        ...(random !== undefined && { random }),
      },
      owner,
    );
  }

  view(): ControlNodeStatus[] {
    return this.#peers.map((peer) => {
      const { live, old } = this.#learned.counts(peer.name);
      const standing = this.#learned.standing(peer.name);
      return {
        name: peer.name,
        state: this.#spares.includes(peer) ? 'spare' : peer.phase,
        standing,
        secure: peer.secure,
        upSeconds: standing === 'lost' ? 0 : Math.floor((this.#clock.now() - peer.since) / 1000),
        subscribed: peer.said?.subscribed ?? 0,
        published: peer.said?.published ?? 0,
        received: live,
        stale: old,
        swept: peer.swept,
        refused: peer.refused,
        ...(peer.lastError !== undefined && { lastError: peer.lastError }),
      };
    });
  }
}

/** One control node: its session, and how far it has come in it. */
class ControlPeer implements SessionOwner {
  readonly name: string;
  driver: SessionDriver | undefined;
  said: Said | undefined;
  since = 0;
  secure = false;
  refused = 0;
  ignored = 0;
  swept = 0;
  lastError: string | undefined;
  readonly #source: ControlNodes;
  readonly #connect: Connect;
  /** Subscribed to in this session: told of in full, and not yet. */
  readonly #ended = new Set<string>();
  readonly #awaited = new Set<string>();
  #heardEnd = false;
  #cancelFallback: () => void = () => {};
  #cancelSettle: () => void = () => {};

  constructor(source: ControlNodes, name: string, connect: Connect) {
    this.#source = source;
    this.name = name;
    this.#connect = connect;
  }

  get phase(): string {
    return this.driver?.state.phase ?? 'idle';
  }

  get instances(): Iterable<string> {
    return this.#ended;
  }

  /** It has said all that it was asked for. */
  get complete(): boolean {
    return this.#heardEnd && this.#awaited.size === 0;
  }

  start(): void {
    const connect: Connect = (attempt) =>
      this.#connect({
        connected: (stream) => attempt.connected(stream),
        failed: (why) => {
          this.closed(new VRouterError('XMPP_LOST', why));
          attempt.failed(why);
        },
      });
    this.driver = this.#source.client(connect, this);
    this.driver.start();
  }

  close(leave: boolean): void {
    if (!leave) this.said?.leave();
    this.driver?.stop();
    this.driver = undefined;
  }

  await(instance: string): void {
    this.#ended.delete(instance);
    this.#awaited.add(instance);
    this.#armFallback();
  }

  forget(instance: string): void {
    this.#ended.delete(instance);
    this.#awaited.delete(instance);
  }

  settleAt(due: number): void {
    const { clock } = this.#source;
    this.#cancelSettle();
    this.#cancelSettle = clock.after(Math.ceil(due - clock.now()), () => this.#source.settle(this));
  }

  /** End of rib: of everything it has been asked for so far. */
  ended(): void {
    this.#cancelFallback();
    this.#heardEnd = true;
    const ended = [...this.#awaited];
    for (const instance of ended) this.#ended.add(instance);
    this.#awaited.clear();
    this.#source.instancesEnded(this, ended);
  }

  #armFallback(): void {
    this.#cancelFallback();
    this.#cancelFallback = this.#source.clock.after(this.#source.endOfRibMs, () => this.ended());
  }

  // --- SessionOwner ----------------------------------------------------------------------------------

  up(_header: unknown, secure: boolean): void {
    this.secure = secure;
    this.since = this.#source.clock.now();
    this.lastError = undefined;
    this.#heardEnd = false;
    this.#armFallback();
    this.said = this.#source.up(this);
    this.said.say();
  }

  stanza(stanza: Stanza): void {
    this.#source.take(this, stanza);
  }

  drained(): void {
    this.said?.say();
  }

  down(error: VRouterError): void {
    this.said = undefined;
    this.lastError = error.message;
    this.#ended.clear();
    this.#awaited.clear();
    this.#cancelFallback();
    this.#cancelSettle();
    this.#source.down(this, error);
  }

  closed(error: VRouterError): void {
    this.lastError = error.message;
    this.#source.failed(this, error);
  }

  giveWay(): void {
    this.#source.giveWay(this);
  }
}
