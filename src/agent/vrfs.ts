/**
 * Routing instances of this node: vrf_set, the router's own MAC in each (gateway), VNI and flood label,
 * and who uses them. Subscribing is the agent's, when an instance comes and goes.
 */
import { MAC_BROADCAST, MAC_GATEWAY } from '../addr/mac.ts';
import { layout } from '../dataplane/layout.ts';
import { VRouterError } from '../errors.ts';
import { checkName } from '../rib/check.ts';
import type { PathHop } from '../rib/route.ts';
import { type Books, NEXT_HOP_BRIDGE, networkOf, type Vrf } from './books.ts';
import { checkNumber, MAX_UINT32 } from './bounds.ts';
import { type Label, type NextHopId, NO_LABEL, VRF_FABRIC } from './ids.ts';
import type { VrfIntent } from './intents.ts';
import { FABRIC_INSTANCE } from './underlay.ts';

interface Holding {
  readonly vrf: Vrf;
  readonly users: Set<string>;
  readonly nextHops: NextHopId[];
  floodLabel: Label | undefined;
}

export class Vrfs {
  readonly #books: Books;
  readonly #vrfs: Map<string, Vrf>;
  readonly #holdings = new Map<string, Holding>();

  /** vrfs: Books.vrfs, which only this class writes. */
  constructor(books: Books, vrfs: Map<string, Vrf>) {
    this.#books = books;
    this.#vrfs = vrfs;
    this.#enter({ id: VRF_FABRIC, name: FABRIC_INSTANCE, intent: { name: FABRIC_INSTANCE } });
  }

  add(intent: VrfIntent): Vrf {
    const name = checkName(intent.name, 'vrf');
    if (this.#vrfs.has(name)) throw new VRouterError('CONFLICT', `VRF '${name}' exists already`);
    this.#checkVni(intent);
    checkNumber(intent.flowQuota, 0, MAX_UINT32, `VRF '${name}': flowQuota`);
    if (intent.network !== undefined) checkName(intent.network, `VRF '${name}': network`);
    checkNumber(intent.vni, 1, layout.limits.maxVni, `VRF '${name}': vni`);
    const vrf: Vrf = { id: this.#books.vrfIds.allocate(name), name, intent };
    const owner = ownerOf(vrf);
    const { tables, nextHops } = this.#books;
    tables.put({ op: 'vrf_set', vrf: vrf.id, name, flowQuota: intent.flowQuota ?? 0 }, owner);
    const holding = this.#enter(vrf);
    const receive = nextHops.intern({ op: 'nh_l2_receive_set', vrf: vrf.id }, owner);
    holding.nextHops.push(receive);
    tables.put(
      { op: 'mac_set', vrf: vrf.id, mac: MAC_GATEWAY, nextHop: receive, label: NO_LABEL, flags: 0 },
      owner,
    );
    if (intent.vni !== undefined) {
      const bridge = nextHops.intern(
        { op: 'nh_vrf_translate_set', vrf: vrf.id, flags: NEXT_HOP_BRIDGE },
        owner,
      );
      holding.nextHops.push(bridge);
      tables.put({ op: 'vni_set', vni: intent.vni, nextHop: bridge }, owner);
    }
    return vrf;
  }

  /** The VRF must have no users and no stations left. */
  remove(vrf: Vrf): void {
    const holding = this.#holding(vrf.name);
    const { tables, nextHops, vrfIds, publications } = this.#books;
    publications.replace(ownerOf(vrf), []);
    tables.drop(`vrf ${vrf.id}`);
    tables.drop(`mac ${vrf.id} ${MAC_GATEWAY}`);
    if (vrf.intent.vni !== undefined) tables.drop(`vni ${vrf.intent.vni}`);
    for (const id of holding.nextHops) nextHops.release(id);
    this.#dropFloodLabel(holding);
    this.#vrfs.delete(vrf.name);
    this.#holdings.delete(vrf.name);
    vrfIds.release(vrf.id);
  }

  get(name: string, user: string): Vrf {
    const vrf = this.#vrfs.get(name);
    if (vrf === undefined) throw new VRouterError('DANGLING_VRF', `${user}: no VRF '${name}'`);
    return vrf;
  }

  checkUnused(name: string): Vrf {
    const { vrf, users } = this.#holding(name);
    if (users.size > 0) {
      throw new VRouterError('IN_USE', `VRF '${name}' is used by ${[...users].join(', ')}`);
    }
    if (vrf.id === VRF_FABRIC) throw new VRouterError('IN_USE', 'VRF 0 is the fabric');
    return vrf;
  }

  use(vrf: Vrf, user: string): void {
    this.#holding(vrf.name).users.add(user);
  }

  unuse(vrf: Vrf, user: string): void {
    this.#holding(vrf.name).users.delete(user);
  }

  /**
   * Broadcasts of a VRF with a VNI go to `root`: while local vifs listen, far nodes are told where to
   * send theirs.
   */
  setFloodRoot(vrf: Vrf, root: NextHopId | undefined, stations: number): void {
    const { vni } = vrf.intent;
    const holding = this.#holdings.get(vrf.name);
    if (vni === undefined || holding === undefined) return;
    const owner = ownerOf(vrf);
    if (root === undefined || stations === 0) {
      this.#books.publications.replace(owner, []);
      this.#dropFloodLabel(holding);
      return;
    }
    const hop = this.l2Hop(vrf, () => {
      holding.floodLabel ??= this.#books.labels.allocate(`flood ${vrf.name}`);
      this.#books.labels.set(holding.floodLabel, { nextHop: root, members: [] }, owner);
      return holding.floodLabel;
    });
    this.#books.publications.replace(owner, [
      {
        instance: vrf.name,
        family: 'evpn',
        prefix: MAC_BROADCAST,
        hops: [hop],
        originVn: networkOf(vrf),
      },
    ]);
  }

  /** How far nodes reach layer 2 of a VRF here: by VNI or by a label, whichever we prefer. */
  l2Hop(vrf: Vrf, label: () => Label): PathHop {
    const { underlay } = this.#books;
    const [preferred] = underlay.encaps;
    if (preferred === 'vxlan' && vrf.intent.vni !== undefined) {
      return { address: underlay.address, label: vrf.intent.vni, encaps: ['vxlan'] };
    }
    return { address: underlay.address, label: label(), encaps: underlay.mplsEncaps };
  }

  #enter(vrf: Vrf): Holding {
    const holding: Holding = { vrf, users: new Set(), nextHops: [], floodLabel: undefined };
    this.#vrfs.set(vrf.name, vrf);
    this.#holdings.set(vrf.name, holding);
    return holding;
  }

  #holding(name: string): Holding {
    const holding = this.#holdings.get(name);
    if (holding === undefined) throw new VRouterError('NOT_FOUND', `no VRF '${name}'`);
    return holding;
  }

  #dropFloodLabel(holding: Holding): void {
    if (holding.floodLabel === undefined) return;
    this.#books.labels.release(holding.floodLabel);
    holding.floodLabel = undefined;
  }

  #checkVni({ name, vni }: VrfIntent): void {
    if (vni === undefined) return;
    for (const other of this.#vrfs.values()) {
      if (other.intent.vni !== vni) continue;
      throw new VRouterError('CONFLICT', `VRF '${name}': VNI ${vni} is '${other.name}''s`);
    }
  }
}

function ownerOf(vrf: Vrf): string {
  return `VRF '${vrf.name}'`;
}
