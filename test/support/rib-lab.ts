/**
 * A RIB with neighbours at its other end: each applies the Updates it is given to a map, as a router would, and
 * complains of what no router may be sent (a withdrawal of what it has not, a route before the family's turn).
 */
import type { IpText } from '../../src/addr/ip.ts';
import type { PrefixText } from '../../src/addr/prefix.ts';
import { parseRouteTarget, type RouteTarget } from '../../src/addr/route-target.ts';
import type { Neighbour, NeighbourFamily, Speaker } from '../../src/bgp/neighbour.ts';
import type { BestChange, Nlri, RibOptions, RibPeer } from '../../src/bgp/rib/contract.ts';
import { createRib, type Rib } from '../../src/bgp/rib/rib.ts';
import { agree } from '../../src/bgp/wire/agree.ts';
import type { AsPath } from '../../src/bgp/wire/as-path.ts';
import type { Attributes } from '../../src/bgp/wire/attributes.ts';
import { hexOf } from '../../src/bgp/wire/bytes.ts';
import type { Capability } from '../../src/bgp/wire/capabilities.ts';
import { type NextHop, nlriKey } from '../../src/bgp/wire/family.ts';
import type { FamilyName } from '../../src/bgp/wire/family-names.ts';
import type { RtcNlri, VpnNlri, WireRd } from '../../src/bgp/wire/nlri.ts';
import type { Notification } from '../../src/bgp/wire/notification.ts';
import type { Open } from '../../src/bgp/wire/open.ts';
import type { RouteRefresh } from '../../src/bgp/wire/refresh.ts';
import type { AnnouncedRoutes, Update } from '../../src/bgp/wire/update.ts';

export const US = 65000;
export const SPEAKER: Speaker = { as: US, id: '10.0.0.1' as IpText };

export interface FarOptions {
  readonly name: string;
  readonly as?: number;
  readonly id?: string;
  readonly address?: string;
  readonly families?: readonly (FamilyName | NeighbourFamily)[];
  readonly client?: boolean;
  readonly neighbour?: Partial<Neighbour>;
  /** Of its OPEN, beside families and AS. */
  readonly capabilities?: readonly Capability[];
  /** What we do not say. */
  readonly without?: readonly Capability['kind'][];
}

export interface Held {
  readonly nlri: Nlri;
  readonly attributes: Attributes;
  readonly nextHop: NextHop;
}

/** A neighbour: both what it says and what it has been told. */
export class Far {
  readonly options: FarOptions;
  readonly lab: RibLab;
  peer: RibPeer;
  readonly held = new Map<FamilyName, Map<string, Held>>();
  readonly endsOfRib: FamilyName[] = [];
  readonly refreshes: RouteRefresh[] = [];
  readonly updates: Update[] = [];
  ready = 0;
  /** Its routes are kept when the session is lost. */
  keeps = false;
  #refreshing = new Map<FamilyName, Set<string>>();

  constructor(lab: RibLab, options: FarOptions) {
    this.lab = lab;
    this.options = options;
    this.peer = lab.rib.addPeer(neighbourOf(options));
  }

  open(restarting = false): Open {
    const { as = US, id = this.address, capabilities = [] } = this.options;
    const restart = capabilities.map((each) =>
      each.kind === 'graceful-restart' ? { ...each, restarting } : each,
    );
    return openOf(as, id, familiesOf(this.options), restart);
  }

  get address(): string {
    return this.options.address ?? '10.0.0.9';
  }

  up(without: readonly Capability['kind'][] = this.options.without ?? []): this {
    const families = familiesOf(this.options);
    const capabilities = OURS.filter(({ kind }) => !without.includes(kind));
    const ours = openOf(US, SPEAKER.id, families, [
      ...capabilities,
      ...addPathOf(this.options),
      ...restartOf(this.options).filter(({ kind }) => !without.includes(kind)),
    ]);
    const open = this.open();
    this.held.clear();
    this.endsOfRib.length = 0;
    this.keeps = !without.includes('graceful-restart');
    this.peer.up(agree(ours, open), open, this.lab.now, '10.0.0.1' as IpText);
    return this;
  }

  down(graceful = false): void {
    this.peer.down(graceful, this.lab.now);
    this.held.clear();
  }

  say(update: Partial<Update>): Notification | undefined {
    return this.peer.take({ withdrawn: [], announced: [], attributes: {}, ...update });
  }

  announce(
    family: FamilyName,
    nlri: Nlri | readonly Nlri[],
    attributes: Attributes = {},
    nextHop = this.address,
  ): Notification | undefined {
    const { as = US } = this.options;
    const own: AsPath = as === US ? [] : [{ kind: 'sequence', asns: [as] }];
    const routes = { family, nlri: [nlri].flat(), nextHop: { address: nextHop } };
    return this.say({
      announced: [routes as unknown as AnnouncedRoutes],
      attributes: { origin: 'igp', asPath: own, ...attributes },
    });
  }

  withdraw(family: FamilyName, nlri: Nlri | readonly Nlri[]): void {
    this.say({ withdrawn: [{ family, nlri: [nlri].flat() } as Update['withdrawn'][number]] });
  }

  /** Reads at most so many messages. */
  read(most = Number.POSITIVE_INFINITY): this {
    for (let count = 0; count < most; count++) {
      const out = this.peer.next();
      if (out === undefined) break;
      if (out.kind === 'update') this.#apply(out.update);
      else this.#mark(out.refresh);
    }
    return this;
  }

  of(family: FamilyName): Map<string, Held> {
    let held = this.held.get(family);
    if (held === undefined) {
      held = new Map();
      this.held.set(family, held);
    }
    return held;
  }

  keys(family: FamilyName): string[] {
    return [...this.of(family).keys()].sort();
  }

  #apply(update: Update): void {
    this.updates.push(update);
    for (const { family, nlri } of update.withdrawn) {
      for (const each of nlri as readonly Nlri[]) {
        const key = nlriKey(family, each);
        if (!this.of(family).delete(key)) throw new Error(`${key} is withdrawn and was not there`);
      }
    }
    for (const { family, nlri, nextHop } of update.announced) {
      for (const each of nlri as readonly Nlri[]) {
        const key = nlriKey(family, each);
        this.#refreshing.get(family)?.delete(key);
        this.of(family).set(key, { nlri: each, attributes: update.attributes, nextHop });
      }
    }
    if (update.endOfRib !== undefined) {
      if (this.endsOfRib.includes(update.endOfRib)) throw new Error('a second End-of-RIB');
      this.endsOfRib.push(update.endOfRib);
    }
  }

  #mark(refresh: RouteRefresh): void {
    this.refreshes.push(refresh);
    const family = refresh.family as FamilyName;
    if (refresh.kind === 'begin') this.#refreshing.set(family, new Set(this.of(family).keys()));
    if (refresh.kind === 'end') {
      for (const key of this.#refreshing.get(family) ?? []) this.of(family).delete(key);
      this.#refreshing.delete(family);
    }
  }
}

export class RibLab {
  now = 1_000_000;
  readonly rib: Rib;
  readonly fars: Far[] = [];
  readonly best = new Map<string, BestChange>();
  changes = 0;
  readonly #tasks: (() => void)[] = [];

  constructor(options: Partial<RibOptions> = {}, speaker: Speaker = SPEAKER) {
    this.rib = createRib(speaker, {
      schedule: (run) => this.#tasks.push(run),
      onReady: (peer) => {
        const far = this.fars.find((each) => each.peer === peer);
        if (far !== undefined) far.ready++;
      },
      onChanges: (changes) => {
        this.changes += changes.length;
        for (const change of changes) this.best.set(`${change.family} ${change.key}`, change);
      },
      ...options,
    });
  }

  far(options: FarOptions): Far {
    const far = new Far(this, options);
    this.fars.push(far);
    return far;
  }

  run(): void {
    for (let task = this.#tasks.shift(); task !== undefined; task = this.#tasks.shift()) task();
  }

  /** Everything scheduled, and everything read by everyone. */
  settle(fars: readonly Far[] = this.fars): this {
    for (let before = -1; before !== this.#told(); ) {
      before = this.#told();
      this.run();
      for (const far of fars) far.read();
      this.run();
    }
    return this;
  }

  #told(): number {
    return this.fars.reduce((sum, far) => sum + far.updates.length + far.refreshes.length, 0);
  }

  pass(ms: number): this {
    const end = this.now + ms;
    for (let due = this.rib.due; due !== undefined && due <= end; due = this.rib.due) {
      this.now = Math.max(this.now, due);
      this.rib.tick(this.now);
    }
    this.now = end;
    return this.settle();
  }
}

const familiesOf = ({ families = ['ipv4-unicast', 'vpnv4'] }: FarOptions): NeighbourFamily[] =>
  families.map((each) => (typeof each === 'string' ? { family: each } : each));

export function neighbourOf(options: FarOptions): Neighbour {
  return {
    name: options.name,
    address: (options.address ?? '10.0.0.9') as IpText,
    port: 179,
    passive: false,
    holdTime: 90,
    families: familiesOf(options),
    client: options.client ?? false,
    allowAsIn: 0,
    ...options.neighbour,
  };
}

const OURS: readonly Capability[] = [
  { kind: 'route-refresh' },
  { kind: 'enhanced-refresh' },
  { kind: 'as4', as: US },
];

function addPathOf(options: FarOptions): Capability[] {
  const families = familiesOf(options).flatMap(({ family, addPath: mode }) =>
    mode === undefined ? [] : [{ family, mode }],
  );
  return families.length === 0 ? [] : [{ kind: 'add-path', families }];
}

function restartOf({ neighbour = {}, ...options }: FarOptions): Capability[] {
  const { restartTime: seconds, longLivedTime } = neighbour;
  if (seconds === undefined) return [];
  const families = familiesOf(options).map(({ family }) => ({ family, forwarding: true }));
  const longLived = families.map((each) => ({ ...each, seconds: longLivedTime ?? 0 }));
  return [
    { kind: 'graceful-restart', restarting: false, notification: true, seconds, families },
    ...(longLivedTime === undefined
      ? []
      : [{ kind: 'long-lived-restart' as const, families: longLived }]),
  ];
}

function openOf(
  as: number,
  id: string,
  families: readonly NeighbourFamily[],
  others: readonly Capability[],
): Open {
  const said = families.map(({ family }) => ({ kind: 'multiprotocol' as const, family }));
  return {
    as,
    id: id as IpText,
    holdTime: 90,
    capabilities: [...said, { kind: 'as4', as }, ...others.filter(({ kind }) => kind !== 'as4')],
  };
}

/** What routers mostly have. */
export const REFRESH: readonly Capability[] = [{ kind: 'route-refresh' }];
export const ENHANCED: readonly Capability[] = [...REFRESH, { kind: 'enhanced-refresh' }];

export function restart(
  families: readonly FamilyName[],
  seconds = 120,
  longLived?: number,
): Capability[] {
  const each = families.map((family) => ({ family, forwarding: true }));
  return [
    { kind: 'graceful-restart', restarting: false, notification: true, seconds, families: each },
    ...(longLived === undefined
      ? []
      : [
          {
            kind: 'long-lived-restart' as const,
            families: each.map((one) => ({ ...one, seconds: longLived })),
          },
        ]),
  ];
}

export const inet = (prefix: string): { prefix: PrefixText } => ({ prefix: prefix as PrefixText });
export const vpn = (prefix: string, label = 100, rd = '65000:1'): VpnNlri => ({
  rd: rd as WireRd,
  prefix: prefix as PrefixText,
  label,
});
export const targets = (...list: readonly string[]): Attributes => ({
  extendedCommunities: list.map((target) => ({
    kind: 'route-target' as const,
    target: target as RouteTarget,
  })),
});
export const membership = (target: string, originAs = US): RtcNlri => ({
  bits: 96,
  originAs,
  target: hexOf(parseRouteTarget(target)),
});
export const path = (...asns: readonly number[]): Attributes => ({
  asPath: asns.length === 0 ? [] : [{ kind: 'sequence', asns }],
});
