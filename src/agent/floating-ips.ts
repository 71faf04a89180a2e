/**
 * Floating IPs of vifs: floating_ip_set, the routes that lead others to them, and, where asked for, one
 * label for all local vifs behind an address.
 *
 * A service (port map, or shared label) is published with the fields to balance by: receivers then give
 * it an ECMP set even for a single backend, so its flows stay put when a second one comes.
 */
import { canonicalIp, isIpv4 } from '../addr/ip.ts';
import { hostPrefix } from '../addr/prefix.ts';
import { layout } from '../dataplane/layout.ts';
import { VRouterError } from '../errors.ts';
import { checkName } from '../rib/check.ts';
import type { Route } from '../rib/route.ts';
import { type Books, NEXT_HOP_POLICY, networkOf, type Vrf } from './books.ts';
import { checkCount, checkNumber } from './bounds.ts';
import { type FloatingIpId, type Label, MemberIds, type NextHopId, type VifId } from './ids.ts';
import type { FloatingIpIntent } from './intents.ts';
import { protocolNumber } from './policies.ts';
import { hashFields } from './resolver.ts';
import { ipKey } from './routes.ts';
import type { Vrfs } from './vrfs.ts';

const DIRECTIONS = { both: 0, ingress: 1, egress: 2 } as const;
const ALL_FIELDS = [
  'protocol',
  'source',
  'source-port',
  'destination',
  'destination-port',
] as const;

/** The vif as its floating IPs see it. */
export interface Backend {
  readonly name: string;
  readonly id: VifId;
  readonly vrf: Vrf;
  readonly nextHop: NextHopId;
  readonly label: Label;
  readonly ipv4: string;
  readonly ipv6: string;
  readonly securityGroups: readonly number[];
}

/** An intent that has been checked; text is canonical. */
export interface CheckedFloatingIp {
  readonly key: string;
  readonly intent: FloatingIpIntent;
  readonly address: string;
  readonly fixed: string;
  readonly vrf: Vrf;
}

interface Attached {
  readonly id: FloatingIpId;
  readonly checked: CheckedFloatingIp;
  backend: Backend;
}

/** Vifs behind one label. */
interface Group {
  readonly label: Label;
  readonly members: MemberIds;
  readonly backends: Map<string, Attached>;
  holds: NextHopId[];
}

export class FloatingIps {
  readonly #books: Books;
  readonly #vrfs: Vrfs;
  /** By vif, then by VRF and address. */
  readonly #attached = new Map<string, Map<string, Attached>>();
  readonly #groups = new Map<string, Group>();

  readonly #oneHop: boolean;

  /** oneHop: all are behind shared labels, whatever the intents say. */
  constructor(books: Books, vrfs: Vrfs, oneHop = false) {
    this.#books = books;
    this.#vrfs = vrfs;
    this.#oneHop = oneHop;
  }

  /** Changes nothing; refuses what cannot be. */
  check(
    intents: readonly FloatingIpIntent[],
    vif: { readonly name: string; readonly ipv4: string; readonly ipv6: string },
  ): CheckedFloatingIp[] {
    const seen = new Set<string>();
    return intents.map((intent) => {
      const user = `floating IP ${intent.address} of vif '${vif.name}'`;
      const address = canonicalIp(intent.address);
      const fixed = isIpv4(address) ? vif.ipv4 : vif.ipv6;
      if (fixed === '') {
        throw new VRouterError('BAD_VALUE', `${user}: the vif has no address of that family`);
      }
      const vrf = this.#vrfs.get(intent.vrf, user);
      checkCount(intent.ports, layout.limits.maxPortMaps, `${user}: ports`);
      const taken = new Set<string>();
      for (const { protocol, port, toPort } of intent.ports ?? []) {
        for (const p of [port, toPort]) checkNumber(p, 1, 65535, `${user}: ports`);
        if (taken.size === taken.add(`${protocol} ${port}`).size) {
          throw new VRouterError('CONFLICT', `${user}: port ${port} of ${protocol} twice`);
        }
      }
      for (const instance of intent.leakTo ?? []) checkName(instance, `${user}: leakTo`);
      const key = `${vrf.name} ${address}`;
      if (seen.has(key)) throw new VRouterError('CONFLICT', `${user}: given twice`);
      seen.add(key);
      return { key, intent, address, fixed, vrf };
    });
  }

  /** The vif now has these floating IPs and no others. */
  replace(backend: Backend, wanted: readonly CheckedFloatingIp[]): void {
    const before = this.#attached.get(backend.name) ?? new Map<string, Attached>();
    const now = new Map<string, Attached>();
    for (const checked of wanted) {
      const id =
        before.get(checked.key)?.id ??
        this.#books.floatingIpIds.allocate(`${backend.name} ${checked.key}`);
      const attached: Attached = { id, checked, backend };
      now.set(checked.key, attached);
      this.#program(attached);
    }
    if (now.size > 0) this.#attached.set(backend.name, now);
    else this.#attached.delete(backend.name);
    for (const [key, attached] of before) if (!now.has(key)) this.#remove(attached);
  }

  #program(attached: Attached): void {
    const { checked, backend, id } = attached;
    const { intent } = checked;
    const owner = ownerOf(attached);
    this.#vrfs.use(checked.vrf, owner);
    this.#books.tables.put(
      {
        op: 'floating_ip_set',
        floatingIp: id,
        vif: backend.id,
        vrf: checked.vrf.id,
        address: checked.address,
        fixed: checked.fixed,
        direction: DIRECTIONS[intent.direction ?? 'both'],
        portMap: intent.ports === undefined ? 0 : 1,
        ports: (intent.ports ?? []).map(({ protocol, port, toPort }) => ({
          protocol: protocolNumber(protocol),
          port,
          toPort,
        })),
      },
      owner,
    );
    const shared = intent.sharedLabel === true || this.#oneHop;
    this.#setGroup(checked.key, attached, shared);
    this.#books.publications.replace(
      owner,
      shared
        ? []
        : this.#routes(
            checked,
            intent.leakTo ?? [],
            backend.label,
            1,
            intent.ports !== undefined,
            backend.securityGroups,
          ),
    );
  }

  #remove(attached: Attached): void {
    const owner = ownerOf(attached);
    this.#setGroup(attached.checked.key, attached, false);
    this.#books.publications.replace(owner, []);
    this.#books.tables.drop(`floating_ip ${attached.id}`);
    this.#books.floatingIpIds.release(attached.id);
    this.#vrfs.unuse(attached.checked.vrf, owner);
  }

  #routes(
    checked: CheckedFloatingIp,
    leakTo: readonly string[],
    label: Label,
    weight: number,
    balanced: boolean,
    securityGroups: readonly number[],
  ): Route[] {
    const { underlay } = this.#books;
    const hop = {
      address: underlay.address,
      label,
      encaps: underlay.mplsEncaps,
      ...(weight > 1 && { weight }),
    };
    const instances = new Set([checked.vrf.name, ...leakTo]);
    return [...instances].map((instance) => ({
      ...ipKey(instance, hostPrefix(checked.address)),
      hops: [hop],
      originVn: networkOf(checked.vrf),
      ...(securityGroups.length > 0 && { securityGroups }),
      ...(balanced && { loadBalance: ALL_FIELDS }),
    }));
  }

  // --- one label for several local vifs ------------------------------------------------------------

  #setGroup(key: string, attached: Attached, member: boolean): void {
    let group = this.#groups.get(key);
    if (!member && !group?.backends.has(attached.backend.name)) return;
    if (group === undefined) {
      const label = this.#books.labels.allocate(`shared ${key}`);
      group = { label, members: new MemberIds(), backends: new Map(), holds: [] };
      this.#groups.set(key, group);
    }
    if (member) group.backends.set(attached.backend.name, attached);
    else group.backends.delete(attached.backend.name);
    if (group.backends.size > 0) this.#programGroup(key, group);
    else this.#dropGroup(key, group);
  }

  #programGroup(key: string, group: Group): void {
    const { nextHops, labels, publications } = this.#books;
    const owner = groupOwner(key);
    const backends = [...group.backends.values()].sort((a, b) => a.backend.label - b.backend.label);
    const [first] = backends;
    if (first === undefined) return;
    const leakTo = backends.flatMap(({ checked }) => checked.intent.leakTo ?? []);
    // Packets on the label are looked up where the address is, for who calls is known there, and perhaps nowhere else:
    // clients of another cluster. One that is also said in its backends' own network is called from there.
    const own = first.backend.vrf;
    const one = backends.every(({ backend }) => backend.vrf === own);
    const vrf = one && leakTo.includes(own.name) ? own : first.checked.vrf;
    const before = group.holds;
    group.holds = backends.map(({ backend }) => nextHops.hold(backend.nextHop));
    const ids = group.members.assign(
      backends.map(({ backend }) => ({ identity: `${backend.label}` })),
    );
    const nextHop = nextHops.own(
      owner,
      {
        op: 'nh_ecmp_set',
        vrf: vrf.id,
        flags: NEXT_HOP_POLICY,
        hashFields: hashFields(ALL_FIELDS),
        members: backends.map(({ backend }, i) => ({
          member: ids[i] as number,
          nextHop: backend.nextHop,
          label: backend.label,
          weight: 1,
        })),
      },
      owner,
    );
    for (const id of before) nextHops.release(id);
    const members = backends.map(({ backend }) => ({
      label: backend.label,
      nextHop: backend.nextHop,
    }));
    labels.set(group.label, { nextHop, members }, owner);
    publications.replace(
      owner,
      this.#routes(
        first.checked,
        leakTo,
        group.label,
        backends.length,
        true,
        groupsOf(backends.map(({ backend }) => backend)),
      ),
    );
  }

  #dropGroup(key: string, group: Group): void {
    const { nextHops, labels, publications } = this.#books;
    const owner = groupOwner(key);
    publications.replace(owner, []);
    labels.release(group.label);
    nextHops.disown(owner);
    for (const id of group.holds) nextHops.release(id);
    this.#groups.delete(key);
  }
}

/** Of everybody behind one label, who cannot be told apart by it. */
function groupsOf(backends: readonly Backend[]): number[] {
  return [...new Set(backends.flatMap(({ securityGroups }) => securityGroups))].sort(
    (a, b) => a - b,
  );
}

function ownerOf({ checked, backend }: Attached): string {
  return `floating IP ${checked.address} in '${checked.vrf.name}' of vif '${backend.name}'`;
}

function groupOwner(key: string): string {
  return `shared label of ${key}`;
}
