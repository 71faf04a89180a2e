/**
 * Agent: makes one data plane do what its user's intents and the routes it learns ask for, and tells
 * other nodes how to reach what is here. Owns every id and label of the node.
 *
 * Invariants
 *  * A call changes books only; flush() brings them to the data plane in as few Programs as fit, make
 *    before break. However many calls there were, an object gets at most one op.
 *  * Routes are published only after the commit that makes them work.
 *  * When a commit is refused, nothing is forgotten: the same difference is planned at the next flush,
 *    and the error names the intent at fault. A call that throws has changed nothing.
 *  * No timers, no I/O of its own: `schedule` decides when flush() runs, so the same agent lives in a
 *    process and in a simulation.
 *
 *   intents ─► Vrfs Vifs FloatingIps … ─► DesiredTables ─► plan ─► Dataplane.commit
 *                        │                      ▲
 *                  Publications ─► RouteSource  │
 *                        ▼ (own routes)         │
 *   RouteSource ─► Rib ─► RouteTables, BridgeTables
 */
import type { Dataplane, Op } from '../dataplane/api.ts';
import { layout } from '../dataplane/layout.ts';
import { VRouterError } from '../errors.ts';
import { Rib } from '../rib/rib.ts';
import {
  type Route,
  type RouteKey,
  type RouteSource,
  type RouteUpdate,
  routeKeyText,
} from '../rib/route.ts';
import { instanceOf } from '../rib/static-source.ts';
import { identify, NOTHING_FOUND, readTables } from './adopt.ts';
import type { Books, Vrf } from './books.ts';
import { BridgeTables } from './bridge.ts';
import { FloatingIps } from './floating-ips.ts';
import {
  type FloatingIpId,
  Ids,
  type Label,
  type NextHopId,
  type PolicyId,
  type SourceNatId,
  type VifId,
  type VrfId,
} from './ids.ts';
import type {
  AgentVifIntent,
  FloatingIpIntent,
  HostVifIntent,
  PolicyIntent,
  RouterIntent,
  SourceNatIntent,
  UnderlayIntent,
  VifIntent,
  VrfIntent,
} from './intents.ts';
import { Labels } from './labels.ts';
import type { LinkLocalNetwork } from './link-local.ts';
import { NextHops } from './next-hops.ts';
import { Policies } from './policies.ts';
import { type Publication, Publications } from './publications.ts';
import type { ResolverView } from './resolver.ts';
import { RouteTables, type Unresolved } from './routes.ts';
import { SourceNats } from './source-nats.ts';
import { DesiredTables, type PlannedOp, type SetOp } from './tables.ts';
import { FABRIC_INSTANCE, type NeighbourSource, Underlay, type UplinkState } from './underlay.ts';
import { Vifs } from './vifs.ts';
import { Vrfs } from './vrfs.ts';

export interface AgentOptions {
  readonly name: string;
  readonly dataplane: Dataplane;
  readonly routes: RouteSource;
  readonly underlay: UnderlayIntent;
  readonly router?: RouterIntent;
  /** For vifs that take part in it. */
  readonly linkLocal?: LinkLocalNetwork;
  /** Called once when there is something to flush; must call `run` later, not at once. */
  readonly schedule?: (run: () => void) => void;
  /**
   * The data plane went on without its agent: take over its ids by name, and send nothing before
   * audit(), so that what works is not cut down to what has been learned so far.
   */
  readonly resume?: boolean;
  /** The source carries one next hop a route: local vifs with one floating IP are behind one label. */
  readonly oneHop?: boolean;
}

export interface Commit {
  readonly generation: number;
  readonly ops: readonly Op[];
}

/** The node's own routes in the Rib: they stand behind what the source says of the same prefix. */
const LOCAL = 'local';
const FIRST_TENANT_VRF = 1;
const FIRST_TENANT_VIF = 3;
const FIRST_LABEL = 16;

export class Agent {
  readonly name: string;
  readonly #dataplane: Dataplane;
  readonly #source: RouteSource;
  readonly #router: RouterIntent;
  readonly #schedule: ((run: () => void) => void) | undefined;
  readonly #books: Books;
  readonly #vrfs: Vrfs;
  readonly #vifs: Vifs;
  readonly #policies: Policies;
  readonly #floatingIps: FloatingIps;
  readonly #sourceNats: SourceNats;
  readonly #routes: RouteTables;
  readonly #bridge: BridgeTables;
  readonly #commitListeners: ((commit: Commit) => void)[] = [];
  readonly #errorListeners: ((error: Error) => void)[] = [];
  #inbox: RouteUpdate[] = [];
  #toPublish = new Map<string, Publication>();
  #underlayReceive: NextHopId | undefined;
  #generation: number;
  /** Until audit(), after a restart. */
  #holding: boolean;
  #scheduled = false;
  #flushing = false;
  #closed = false;

  constructor(options: AgentOptions) {
    this.name = options.name;
    this.#dataplane = options.dataplane;
    this.#source = options.routes;
    this.#router = options.router ?? {};
    this.#schedule = options.schedule;
    this.#holding = options.resume === true;
    const underlay = new Underlay(options.underlay);
    const held = options.resume === true ? readTables(options.dataplane) : [];
    const found = options.resume === true ? identify(held, underlay.address) : NOTHING_FOUND;
    const { limits } = layout;
    const tables = new DesiredTables();
    tables.resume(held);
    const ids = <Id extends number>(
      what: string,
      first: number,
      limit: number,
      known: ReadonlyMap<string, number> = new Map(),
    ) => new Ids<Id>({ what, first, limit }, known);
    const vrfs = new Map<string, Vrf>();
    this.#books = {
      tables,
      nextHops: new NextHops(
        tables,
        ids<NextHopId>('next hops', 1, limits.maxNextHops, found.nextHops),
      ),
      labels: new Labels(
        tables,
        ids<Label>('labels', FIRST_LABEL, limits.maxLabel, found.labels),
        (label) => this.#routes.markLabel(label),
      ),
      publications: new Publications(),
      underlay,
      rib: new Rib(new Map([[LOCAL, 1]])),
      vrfs,
      vrfIds: ids<VrfId>('VRFs', FIRST_TENANT_VRF, limits.maxVrfs, found.vrfs),
      vifIds: ids<VifId>('vifs', FIRST_TENANT_VIF, limits.maxVifs, found.vifs),
      policyIds: ids<PolicyId>('policies', 1, limits.maxPolicies, found.policies),
      floatingIpIds: ids<FloatingIpId>('floating IPs', 1, limits.maxFloatingIps, found.floatingIps),
      sourceNatIds: ids<SourceNatId>('source NATs', 1, limits.maxSourceNats, found.sourceNats),
    };
    underlay.open((name) => this.#books.vifIds.allocate(name));
    const view: ResolverView = {
      isOwnAddress: (address) => underlay.isOwnAddress(address),
      local: (label) => this.#books.labels.use(label)?.members,
      tunnel: (hop, encap) => underlay.tunnel(hop, encap),
      sends: (encap) => underlay.sends(encap),
    };
    this.#routes = new RouteTables(
      this.#books,
      view,
      (instance, prefix) => this.#bridge.stitchedMac(instance, prefix),
      found.members,
    );
    this.#vrfs = new Vrfs(this.#books, vrfs);
    this.#bridge = new BridgeTables(
      this.#books,
      view,
      (key) => this.#routes.mark(key),
      (vrf, root, stations) => this.#vrfs.setFloodRoot(vrf, root, stations),
    );
    this.#policies = new Policies(this.#books);
    this.#floatingIps = new FloatingIps(this.#books, this.#vrfs, options.oneHop);
    this.#sourceNats = new SourceNats(this.#books, this.#vrfs, this.#routes);
    this.#vifs = new Vifs(this.#books, {
      vrfs: this.#vrfs,
      policies: this.#policies,
      bridge: this.#bridge,
      routes: this.#routes,
      floatingIps: this.#floatingIps,
      linkLocal: options.linkLocal,
    });
    this.#generation = options.dataplane.info().generation;
    this.#putUnderlay();
    options.routes.onUpdates((updates) => {
      for (const update of updates) this.#inbox.push(update);
      this.#wake();
    });
    this.#wake();
  }

  // --- intents -----------------------------------------------------------------------------------

  addVrf(intent: VrfIntent): void {
    this.#change(() => {
      const vrf = this.#vrfs.add(intent);
      this.#bridge.addVrf(vrf);
      if (intent.local !== true) this.#source.subscribe(vrf.name, vrf.id);
      // What vifs elsewhere on this node publish into it already.
      const own = this.#books.publications.all().filter((route) => route.instance === vrf.name);
      const updates = own.map((route): RouteUpdate => ({ type: 'announce', route }));
      this.#mark(this.#books.rib.apply(LOCAL, updates).map((change) => change.key));
    });
  }

  removeVrf(name: string): void {
    this.#change(() => {
      const vrf = this.#vrfs.checkUnused(name);
      if (vrf.intent.local !== true) this.#source.unsubscribe(name);
      this.#inbox = this.#inbox.filter((update) => instanceOf(update) !== name);
      this.#books.rib.dropInstance(name);
      this.#routes.dropVrf(vrf);
      this.#bridge.dropVrf(vrf);
      this.#vrfs.remove(vrf);
    });
  }

  addVif(intent: VifIntent): void {
    this.#change(() => this.#vifs.add(intent));
  }

  updateVif(intent: VifIntent): void {
    this.#change(() => this.#vifs.update(intent));
  }

  removeVif(name: string): void {
    this.#change(() => this.#vifs.remove(name));
  }

  /**
   * A vif that is not well loses its floating IPs, here and at every other node, until it is: others of the
   * same service take its part. Its own address stays, or it could not become well again.
   */
  setVifHealth(name: string, healthy: boolean): void {
    this.#change(() => this.#vifs.setHealth(name, healthy));
  }

  addFloatingIp(vifName: string, intent: FloatingIpIntent): void {
    this.#change(() => this.#vifs.addFloatingIp(vifName, intent));
  }

  /** vrf: where the vif has the address in several. */
  removeFloatingIp(vifName: string, address: string, vrf?: string): void {
    this.#change(() => this.#vifs.removeFloatingIp(vifName, address, vrf));
  }

  /** New, or new rules under a known name. */
  addPolicy(intent: PolicyIntent): void {
    this.#change(() => this.#policies.set(intent));
  }

  removePolicy(name: string): void {
    this.#change(() => this.#policies.remove(name));
  }

  addSourceNat(intent: SourceNatIntent): void {
    this.#change(() => this.#sourceNats.add(intent));
  }

  removeSourceNat(name: string): void {
    this.#change(() => this.#sourceNats.remove(name));
  }

  /** The host's stack behind vif0/1; undefined takes it away. */
  setHostVif(intent: HostVifIntent | undefined): void {
    this.#change(() => {
      this.#books.underlay.setHost(intent);
      this.#putUnderlay();
      if (intent === undefined) this.#books.tables.drop('vif 1');
    });
  }

  /** The control side's own port behind vif0/2; undefined takes it away. */
  setAgentVif(intent: AgentVifIntent | undefined): void {
    this.#change(() => {
      const { tables, underlay } = this.#books;
      if (intent === undefined) tables.drop('vif 2');
      else tables.put(underlay.agentVif(intent), 'pkt0');
    });
  }

  /** uplink: in the order of the intent. */
  setNeighbours(neighbours: UnderlayIntent['neighbours'], uplink = 0): void {
    this.#change(() => {
      this.#books.underlay.setNeighbours(neighbours, uplink);
      this.#resolveAgain();
    });
  }

  /**
   * An uplink that is down carries nothing: flows of the others stay, its own move to them, and come back
   * with it. Its MTU is what fits from now on.
   */
  setUplink(uplink: number, state: UplinkState): void {
    this.#change(() => {
      if (!this.#books.underlay.setUplink(uplink, state)) return;
      this.#putUnderlay();
      this.#retunnel();
    });
  }

  /** IP bytes that every uplink takes. */
  get underlayMtu(): number {
    return this.#books.underlay.mtu;
  }

  /** Far ends that have no MAC in the intent are asked of `source`, each time a way to them is resolved. */
  setNeighbourSource(source: NeighbourSource): void {
    this.#books.underlay.setSource(source);
    this.neighboursChanged();
  }

  /** The source knows a far end that it did not know: routes may be resolved by it. */
  neighboursChanged(): void {
    this.#change(() => this.#resolveAgain());
  }

  /** What the source says of known far ends is different: their tunnels are, and no route. */
  waysChanged(): void {
    this.#change(() => this.#retunnel());
  }

  // --- bringing it to the data plane -----------------------------------------------------------------

  /** Commits what is pending; returns the data plane's generation. Nothing pending: no commit. */
  flush(): number {
    if (this.#flushing) return this.#generation;
    this.#flushing = true;
    try {
      this.#settleBooks();
      if (!this.#holding) this.#commit();
      this.#publish();
    } finally {
      this.#flushing = false;
    }
    return this.#generation;
  }

  /** Whether a flush has something to do. */
  get pending(): boolean {
    return (
      this.#inbox.length > 0 ||
      (this.#books.tables.pending && !this.#holding) ||
      this.#books.publications.changed ||
      this.#routes.dirty ||
      this.#bridge.dirty ||
      this.#toPublish.size > 0
    );
  }

  /**
   * Compares the data plane's tables with what they should be; the ops that repair them, which the
   * next flush commits. After a restart: call it when all intents are in and routes have been learned.
   */
  audit(): Op[] {
    this.#holding = false;
    this.#settleBooks();
    this.#books.tables.resume(readTables(this.#dataplane));
    const ops = this.#books.tables.plan().flatMap((program) => program.map((p) => p.op));
    this.#wake();
    return ops;
  }

  /**
   * The data plane was replaced by an empty one that has its predecessor's flows: makes in it exactly what
   * the predecessor was last told, ids and all, because that is what the flows speak of. What has been
   * decided meanwhile comes with the next flush, as changes to that.
   */
  restore(): void {
    for (const ops of this.#books.tables.committed())
      this.#generation = this.#dataplane.commit(ops);
    this.#wake();
  }

  onCommit(listener: (commit: Commit) => void): void {
    this.#commitListeners.push(listener);
  }

  /** Errors of scheduled flushes; without a listener they are thrown into the scheduler. */
  onError(listener: (error: Error) => void): void {
    this.#errorListeners.push(listener);
  }

  /** Leaves the route source; the data plane goes on with what it has. */
  close(): void {
    this.#closed = true;
    this.#source.close();
  }

  // --- looking ---------------------------------------------------------------------------------------

  vrfId(name: string): VrfId | undefined {
    return this.#books.vrfs.get(name)?.id;
  }

  vifId(name: string): VifId | undefined {
    return this.#vifs.id(name);
  }

  vifLabel(name: string): Label | undefined {
    return this.#vifs.label(name);
  }

  policyId(name: string): PolicyId | undefined {
    return this.#policies.id(name);
  }

  vif(name: string): VifIntent | undefined {
    return this.#vifs.intent(name);
  }

  /** Of the vif that has this id in the data plane. */
  vifOf(id: number): VifIntent | undefined {
    return this.#vifs.intentOf(id);
  }

  vifs(): string[] {
    return this.#vifs.names();
  }

  vrfs(): string[] {
    return [...this.#books.vrfs.keys()];
  }

  /** What the data plane should hold, in the order it would be sent. */
  desired(): SetOp[] {
    return this.#books.tables.all();
  }

  /** Routes with hops that cannot be used now. */
  unresolved(): Unresolved[] {
    return this.#routes.unresolved();
  }

  /** All paths of a route, best first. */
  paths(
    key: RouteKey,
  ): { readonly source: string; readonly stale: boolean; readonly route: Route }[] {
    return this.#books.rib.paths(key);
  }

  published(): Route[] {
    return this.#books.publications.all();
  }

  /** For tests and `info`: what is counted must come back to what it was. */
  counts(): { nextHops: number; labels: number; routes: number } {
    return {
      nextHops: this.#books.nextHops.size,
      labels: this.#books.labels.size,
      routes: this.#routes.size,
    };
  }

  // --- inside ------------------------------------------------------------------------------------------

  #change(change: () => void): void {
    if (this.#closed) throw new VRouterError('BUSY', `agent '${this.name}' is closed`);
    change();
    this.#wake();
  }

  #wake(): void {
    if (this.#schedule === undefined || this.#scheduled || this.#closed) return;
    this.#scheduled = true;
    this.#schedule(() => {
      this.#scheduled = false;
      if (this.#closed) return;
      try {
        this.flush();
      } catch (error) {
        if (this.#errorListeners.length === 0 || !(error instanceof Error)) throw error;
        for (const listener of this.#errorListeners) listener(error);
      }
    });
  }

  #resolveAgain(): void {
    this.#retunnel();
    this.#routes.markAll();
    this.#bridge.markAll();
  }

  #retunnel(): void {
    const { nextHops, underlay } = this.#books;
    nextHops.retunnel((farEnd) => underlay.legs(farEnd));
  }

  #putUnderlay(): void {
    const { underlay, nextHops, tables } = this.#books;
    const fabric = this.#vrfs.get(FABRIC_INSTANCE, 'underlay');
    const before = this.#underlayReceive;
    const receive = nextHops.intern(underlay.receive(), 'underlay');
    this.#underlayReceive = receive;
    for (const prefix of underlay.ownPrefixes())
      this.#routes.fix(fabric, prefix, receive, 'underlay');
    for (const op of underlay.ops(this.#router, receive)) tables.put(op, 'underlay');
    if (before !== undefined) nextHops.release(before);
  }

  /** Learned and own routes into the Rib, from there into the tables, until nothing is left to do. */
  #settleBooks(): void {
    const { rib, publications, nextHops } = this.#books;
    const inbox = this.#inbox;
    this.#inbox = [];
    this.#mark(
      rib
        .apply(
          this.#source.name,
          inbox.filter((update) => this.#learns(instanceOf(update))),
        )
        .map((change) => change.key),
    );
    do {
      const own: RouteUpdate[] = [];
      for (const publication of publications.takeChanges()) {
        const { key, route } = publication;
        const vrf = this.#books.vrfs.get(key.instance);
        if (vrf?.intent.local !== true) this.#toPublish.set(routeKeyText(key), publication);
        if (vrf === undefined) continue;
        own.push(route === undefined ? { type: 'withdraw', key } : { type: 'announce', route });
      }
      this.#mark(rib.apply(LOCAL, own).map((change) => change.key));
      this.#bridge.update();
      this.#routes.update();
    } while (publications.changed || this.#routes.dirty || this.#bridge.dirty);
    nextHops.sweep();
  }

  #learns(instance: string): boolean {
    const vrf = this.#books.vrfs.get(instance);
    return vrf !== undefined && vrf.intent.local !== true;
  }

  #mark(keys: readonly RouteKey[]): void {
    for (const key of keys) {
      if (key.family === 'evpn') this.#bridge.mark(key);
      else this.#routes.mark(key);
    }
  }

  #commit(): void {
    const { tables } = this.#books;
    for (const program of tables.plan()) {
      const ops = program.map((planned) => planned.op);
      try {
        this.#generation = this.#dataplane.commit(ops);
      } catch (error) {
        throw this.#placed(error, program);
      }
      tables.settle(program);
      for (const listener of this.#commitListeners) listener({ generation: this.#generation, ops });
    }
    tables.settled();
  }

  /** The core names an op; people know intents. */
  #placed(error: unknown, program: readonly PlannedOp[]): unknown {
    if (!(error instanceof VRouterError)) return error;
    const at = error.opIndex === undefined ? undefined : program[error.opIndex];
    if (at === undefined) return error;
    const message = `${this.name}: ${at.owner}: ${at.op.op}: ${error.message}`;
    return new VRouterError(error.code, message, error.opIndex, error.field);
  }

  #publish(): void {
    for (const [text, { key, route }] of this.#toPublish) {
      if (route === undefined) this.#source.withdraw(key);
      else this.#source.publish(route);
      this.#toPublish.delete(text);
    }
  }
}
