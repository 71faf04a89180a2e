/**
 * Source NAT: source_nat_set, the way from one VRF into the other (a default route that translates), and
 * the address replies come to: a receive next hop with policy, behind a label where far nodes route to it.
 */
import { canonicalIp, isIpv4 } from '../addr/ip.ts';
import { canonicalPrefix, hostPrefix } from '../addr/prefix.ts';
import { VRouterError } from '../errors.ts';
import { checkName } from '../rib/check.ts';
import { type Books, NEXT_HOP_POLICY, networkOf, type Vrf } from './books.ts';
import { type Label, type NextHopId, NONE, type SourceNatId, VRF_FABRIC } from './ids.ts';
import type { SourceNatIntent } from './intents.ts';
import { ipKey, type RouteTables } from './routes.ts';
import type { Vrfs } from './vrfs.ts';

interface SourceNat {
  readonly id: SourceNatId;
  readonly vrf: Vrf;
  readonly toVrf: Vrf;
  readonly fixed: readonly { readonly vrf: Vrf; readonly prefix: string }[];
  readonly nextHops: readonly NextHopId[];
  readonly address: string;
}

/** An address replies come to; several rules may share it (with other ports). */
interface ReplyAddress {
  readonly label: Label;
  readonly users: Set<string>;
}

/** What a rule is known by in the data plane, which does not keep its name. */
export function sourceNatName(rule: {
  readonly vrf: number;
  readonly toVrf: number;
  readonly source: string;
  readonly address: string;
  readonly portLow: number;
}): string {
  return `${rule.vrf} ${rule.toVrf} ${rule.source} ${rule.address} ${rule.portLow}`;
}

export class SourceNats {
  readonly #books: Books;
  readonly #vrfs: Vrfs;
  readonly #routes: RouteTables;
  readonly #sourceNats = new Map<string, SourceNat>();
  readonly #replyAddresses = new Map<string, ReplyAddress>();

  constructor(books: Books, vrfs: Vrfs, routes: RouteTables) {
    this.#books = books;
    this.#vrfs = vrfs;
    this.#routes = routes;
  }

  add(intent: SourceNatIntent): void {
    const name = checkName(intent.name, 'source NAT');
    const owner = `source NAT '${name}'`;
    if (this.#sourceNats.has(name)) throw new VRouterError('CONFLICT', `${owner} exists already`);
    const vrf = this.#vrfs.get(intent.vrf, owner);
    const toVrf = this.#vrfs.get(intent.toVrf, owner);
    if (vrf === toVrf) throw new VRouterError('CONFLICT', `${owner}: vrf and toVrf are the same`);
    const address = canonicalIp(intent.address);
    const source = intent.source === undefined ? '' : canonicalPrefix(intent.source);
    const [low, high] = intent.ports;
    if (!(low >= 1 && low <= high && high <= 65535)) {
      throw new VRouterError('BAD_VALUE', `${owner}: ${low} to ${high} is not a range of ports`);
    }
    const { nextHops, tables } = this.#books;
    const everything = isIpv4(address) ? '0.0.0.0/0' : '::/0';
    const translate = nextHops.intern(
      { op: 'nh_vrf_translate_set', vrf: toVrf.id, flags: 0 },
      owner,
    );
    const there = this.#routes.fixedTo(vrf, everything);
    if (there !== undefined && there !== translate) {
      nextHops.release(translate);
      throw new VRouterError('CONFLICT', `${owner}: '${vrf.name}' leads to another VRF already`);
    }
    const fixed = [{ vrf, prefix: everything }];
    const held = [translate];
    this.#routes.fix(vrf, everything, translate, owner);
    if (!this.#books.underlay.isOwnAddress(address) || toVrf.id !== VRF_FABRIC) {
      const receive = nextHops.intern(
        { op: 'nh_receive_set', vrf: toVrf.id, vif: NONE, flags: NEXT_HOP_POLICY },
        owner,
      );
      held.push(receive);
      fixed.push({ vrf: toVrf, prefix: hostPrefix(address) });
      this.#routes.fix(toVrf, hostPrefix(address), receive, owner);
      this.#useAddress(toVrf, address, receive, owner);
    }
    const rule = {
      vrf: vrf.id,
      toVrf: toVrf.id,
      source,
      address,
      portLow: low,
      portHigh: high,
    };
    const id = this.#books.sourceNatIds.allocate(sourceNatName(rule));
    tables.put({ op: 'source_nat_set', sourceNat: id, ...rule }, owner);
    for (const used of [vrf, toVrf]) this.#vrfs.use(used, owner);
    this.#sourceNats.set(name, { id, vrf, toVrf, fixed, nextHops: held, address });
  }

  remove(name: string): void {
    const nat = this.#sourceNats.get(name);
    if (nat === undefined) throw new VRouterError('NOT_FOUND', `no source NAT '${name}'`);
    const owner = `source NAT '${name}'`;
    this.#books.tables.drop(`source_nat ${nat.id}`);
    this.#books.sourceNatIds.release(nat.id);
    for (const { vrf, prefix } of nat.fixed) this.#routes.unfix(vrf, prefix, owner);
    this.#leaveAddress(nat.toVrf, nat.address, owner);
    for (const id of nat.nextHops) this.#books.nextHops.release(id);
    for (const used of [nat.vrf, nat.toVrf]) this.#vrfs.unuse(used, owner);
    this.#sourceNats.delete(name);
  }

  #useAddress(vrf: Vrf, address: string, receive: NextHopId, user: string): void {
    if (vrf.id === VRF_FABRIC) return; // the fabric routes to it by itself
    const key = `${vrf.name} ${address}`;
    let reply = this.#replyAddresses.get(key);
    if (reply === undefined) {
      reply = { label: this.#books.labels.allocate(`reply ${key}`), users: new Set() };
      this.#replyAddresses.set(key, reply);
      this.#books.labels.set(reply.label, { nextHop: receive, members: [] }, user);
      const { underlay } = this.#books;
      this.#books.publications.replace(`replies to ${key}`, [
        {
          ...ipKey(vrf.name, hostPrefix(address)),
          hops: [{ address: underlay.address, label: reply.label, encaps: underlay.mplsEncaps }],
          originVn: networkOf(vrf),
        },
      ]);
    }
    reply.users.add(user);
  }

  #leaveAddress(vrf: Vrf, address: string, user: string): void {
    const key = `${vrf.name} ${address}`;
    const reply = this.#replyAddresses.get(key);
    if (reply === undefined) return;
    reply.users.delete(user);
    if (reply.users.size > 0) return;
    this.#books.publications.replace(`replies to ${key}`, []);
    this.#books.labels.release(reply.label);
    this.#replyAddresses.delete(key);
  }
}
