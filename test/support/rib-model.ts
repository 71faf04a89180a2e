/**
 * The naive twin of the RIB: it keeps what was said, and answers every question by going through all of it, in the
 * words of the RFCs rather than of src/bgp/rib: best paths by elimination (RFC 4271 §9.1.2.2), what a neighbour is
 * told rule by rule. Nothing is kept between two questions but what was said, and how stale it is.
 */
import type { Neighbour } from '../../src/bgp/neighbour.ts';
import type { Nlri } from '../../src/bgp/rib/contract.ts';
import type { Policy, Term } from '../../src/bgp/rib/policy.ts';
import type { Attributes } from '../../src/bgp/wire/attributes.ts';
import { COMMUNITIES, extendedHex } from '../../src/bgp/wire/communities.ts';
import { nlriKey } from '../../src/bgp/wire/family.ts';
import type { FamilyName } from '../../src/bgp/wire/family-names.ts';
import type { RtcNlri } from '../../src/bgp/wire/nlri.ts';
import type { EvpnNlri } from '../../src/bgp/wire/nlri-evpn.ts';

export interface ModelSaid {
  readonly nlri: Nlri;
  readonly attributes: Attributes;
  readonly nextHop: string;
  stale: 'no' | 'short' | 'long';
  /** A policy had it refused, and who could say it again has not yet. */
  isForgotten?: boolean;
}

export interface ModelPeer {
  neighbour: Neighbour;
  readonly as: number;
  readonly id: string;
  readonly addPath: ReadonlySet<FamilyName>;
  readonly sendPaths: number;
  /** This session. */
  longLived: boolean;
  /** It can be asked to say all again. */
  readonly canAsk: boolean;
  isUp: boolean;
  /** By `family key#path-id`. */
  readonly said: Map<string, { family: FamilyName; said: ModelSaid }>;
  readonly until: Map<FamilyName, number>;
}

interface ModelPath extends ModelSaid {
  readonly from: ModelPeer | undefined;
  readonly external: boolean;
  readonly order: readonly number[];
}

export const OUR_AS = 65000;
export const OUR_ID = '10.0.0.1';
const NO_EXPORT: readonly number[] = [COMMUNITIES.noExport, COMMUNITIES.noExportSubconfed];
const VPN: ReadonlySet<FamilyName> = new Set(['vpnv4', 'vpnv6', 'evpn']);

const number = (id: string): number =>
  id.split('.').reduce((sum, part) => sum * 256 + Number(part), 0);
const has = (attributes: Attributes, community: number): boolean =>
  attributes.communities?.includes(community) === true;

const plainKey = (family: FamilyName, nlri: Nlri): string => {
  const { pathId: _, ...rest } = nlri;
  return nlriKey(family, rest as Nlri);
};

function matches({ match }: Term, family: FamilyName, nlri: Nlri, attributes: Attributes): boolean {
  const { families, prefixes, communities, routeTargets } = match;
  if (families !== undefined && !families.includes(family)) return false;
  if (communities !== undefined && !communities.some((each) => has(attributes, each))) return false;
  const targets = (attributes.extendedCommunities ?? []).flatMap((each) =>
    each.kind === 'route-target' ? [each.target] : [],
  );
  if (routeTargets !== undefined && !routeTargets.some((each) => targets.includes(each))) {
    return false;
  }
  if (prefixes === undefined) return true;
  // The histories' prefixes are of whole bytes: a text is enough.
  const route = nlri as { prefix?: string; ip?: string };
  const text = route.prefix ?? (route.ip === undefined ? undefined : `${route.ip}/32`);
  if (text === undefined) return false;
  const [address = '', length = ''] = text.split('/');
  return prefixes.some(({ prefix, orLonger }) => {
    const [net = '', bits = ''] = prefix.split('/');
    const bytes = Number(bits) / 8;
    const inside =
      net.split('.').slice(0, bytes).join('.') === address.split('.').slice(0, bytes).join('.');
    return inside && (orLonger ? Number(length) >= Number(bits) : length === bits);
  });
}

export function byPolicy(
  policy: Policy | undefined,
  family: FamilyName,
  nlri: Nlri,
  attributes: Attributes,
): Attributes | undefined {
  const term = policy?.terms.find((each) => matches(each, family, nlri, attributes));
  if (term === undefined) return attributes;
  if (term.action === 'reject') return undefined;
  const { localPref, med, addCommunities = [], removeCommunities = [] } = term.set ?? {};
  const result: { -readonly [K in keyof Attributes]: Attributes[K] } = { ...attributes };
  if (localPref !== undefined) result.localPref = localPref;
  if (med !== undefined) result.med = med;
  const left = (attributes.communities ?? []).filter((each) => !removeCommunities.includes(each));
  const all = [...new Set([...left, ...addCommunities])];
  if (all.length > 0) result.communities = all;
  else delete result.communities;
  return result;
}

export function isValid(peer: ModelPeer, said: ModelSaid): boolean {
  const { asPath = [], originatorId, clusterList = [] } = said.attributes;
  const all = asPath.flatMap(({ asns }) => asns);
  if (all.filter((as) => as === OUR_AS).length > peer.neighbour.allowAsIn) return false;
  if (peer.as !== OUR_AS && all[0] !== peer.as) return false;
  if (originatorId === OUR_ID || clusterList.some((each) => each === OUR_ID)) return false;
  return said.nextHop !== OUR_ID;
}

export class RibModel {
  readonly peers: ModelPeer[] = [];
  readonly ours = new Map<string, { family: FamilyName; said: ModelSaid }>();
  wanted = new Set<string>();
  readonly multipath: number;

  constructor(multipath: number) {
    this.multipath = multipath;
  }

  // --- what is said

  announce(peer: ModelPeer, family: FamilyName, words: Omit<ModelSaid, 'stale'>): void {
    const key = `${family} ${nlriKey(family, words.nlri)}`;
    const said: ModelSaid = { ...words, stale: 'no' };
    peer.said.set(key, { family, said });
    this.#judge(peer, family, said);
  }

  /** Its policies are others. */
  judge(peer: ModelPeer): void {
    this.#forget(peer, (family, said) => this.#isNotForLong(peer, family, said));
    for (const { family, said } of peer.said.values()) this.#judge(peer, family, said);
  }

  #judge(peer: ModelPeer, family: FamilyName, said: ModelSaid): void {
    // Of who can be asked nothing is kept but that there was something.
    if (peer.isUp && peer.canAsk && this.accepted(peer, family, said) === undefined) {
      said.isForgotten = true;
    }
  }

  /** RFC 9494 §4.2: stale for long, and by its words not to be kept then. */
  #isNotForLong(peer: ModelPeer, family: FamilyName, said: ModelSaid): boolean {
    const judged = byPolicy(peer.neighbour.import, family, said.nlri, said.attributes);
    return said.stale === 'long' && judged !== undefined && has(judged, COMMUNITIES.noLlgr);
  }

  withdraw(peer: ModelPeer, family: FamilyName, nlri: Nlri): void {
    peer.said.delete(`${family} ${nlriKey(family, nlri)}`);
  }

  accepted(peer: ModelPeer, family: FamilyName, said: ModelSaid): ModelSaid | undefined {
    if (said.isForgotten === true || !isValid(peer, said)) return undefined;
    const judged = byPolicy(peer.neighbour.import, family, said.nlri, said.attributes);
    if (judged === undefined) return undefined;
    const { communities = [] } = judged;
    const marked =
      said.stale === 'long' && !communities.includes(COMMUNITIES.llgrStale)
        ? { ...judged, communities: [...communities, COMMUNITIES.llgrStale] }
        : judged;
    return { ...said, attributes: marked };
  }

  #forget(peer: ModelPeer, which: (family: FamilyName, said: ModelSaid) => boolean): void {
    for (const [key, { family, said }] of peer.said) if (which(family, said)) peer.said.delete(key);
  }

  down(peer: ModelPeer, graceful: boolean, now: number): void {
    peer.isUp = false;
    const { restartTime } = peer.neighbour;
    if (!graceful || restartTime === undefined) {
      peer.said.clear();
      peer.until.clear();
      this.#long.delete(peer);
      return;
    }
    this.#forget(peer, (_, said) => said.stale !== 'no');
    // What was refused was not kept.
    this.#forget(peer, (family, said) => this.accepted(peer, family, said) === undefined);
    for (const { family } of peer.neighbour.families)
      peer.until.set(family, now + restartTime * 1000);
    for (const { said } of peer.said.values()) said.stale = 'short';
    this.#long.delete(peer);
  }

  up(peer: ModelPeer, now: number, forwarding: boolean): void {
    peer.isUp = true;
    for (const family of [...peer.until.keys()]) {
      if (!forwarding) this.endOfRib(peer, family);
      else if (!this.#isLong(peer, family)) {
        peer.until.set(family, now + (peer.neighbour.restartTime ?? 0) * 1000);
      }
    }
  }

  readonly #long = new Map<ModelPeer, Set<FamilyName>>();
  #isLong(peer: ModelPeer, family: FamilyName): boolean {
    return this.#long.get(peer)?.has(family) === true;
  }

  endOfRib(peer: ModelPeer, family: FamilyName): void {
    this.#forget(peer, (each, said) => each === family && said.stale !== 'no');
    peer.until.delete(family);
    this.#long.get(peer)?.delete(family);
  }

  pass(now: number): void {
    const isDue = (peer: ModelPeer) => [...peer.until.values()].some((until) => until <= now);
    for (let due = this.peers; due.length > 0; due = this.peers.filter(isDue))
      this.#expire(due, now);
  }

  #expire(peers: readonly ModelPeer[], now: number): void {
    for (const peer of peers) {
      for (const [family, until] of [...peer.until]) {
        if (now < until) continue;
        const time = peer.neighbour.longLivedTime ?? 0;
        if (!peer.isUp && time > 0 && !this.#isLong(peer, family)) {
          for (const each of peer.said.values()) {
            if (each.family === family && each.said.stale === 'short') each.said.stale = 'long';
          }
          this.#forget(peer, (each, said) => this.#isNotForLong(peer, each, said));
          this.#long.set(peer, new Set([...(this.#long.get(peer) ?? []), family]));
          peer.until.set(family, until + time * 1000);
        } else this.endOfRib(peer, family);
      }
    }
  }

  // --- what follows

  paths(family: FamilyName): Map<string, ModelPath[]> {
    const all = new Map<string, ModelPath[]>();
    const add = (said: ModelSaid, from: ModelPeer | undefined): void => {
      const key = plainKey(family, said.nlri);
      const external = from !== undefined && from.as !== OUR_AS;
      const { originatorId, clusterList = [] } = said.attributes;
      const order = [
        originatorId !== undefined
          ? number(originatorId)
          : from === undefined
            ? 0
            : number(from.id),
        clusterList.length,
        number(from?.neighbour.address ?? '0.0.0.0'),
        said.nlri.pathId ?? 0,
      ];
      all.set(key, [...(all.get(key) ?? []), { ...said, from, external, order }]);
    };
    for (const peer of this.peers) {
      for (const each of peer.said.values()) {
        const said = each.family === family ? this.accepted(peer, family, each.said) : undefined;
        if (said !== undefined) add(said, peer);
      }
    }
    for (const each of this.ours.values()) if (each.family === family) add(each.said, undefined);
    return all;
  }

  /** In order; how many are used. */
  ranked(paths: readonly ModelPath[]): { paths: ModelPath[]; used: number } {
    const [, equal] = this.#best(paths);
    const ranked: ModelPath[] = [];
    let left = [...paths];
    while (left.length > 0) {
      const [best] = this.#best(left);
      ranked.push(best);
      left = left.filter((path) => path !== best);
    }
    const used = ranked.filter((path) => equal.includes(path));
    const others = ranked.filter((path) => !equal.includes(path));
    return { paths: [...used, ...others], used: Math.min(used.length, this.multipath) };
  }

  #best(paths: readonly ModelPath[]): [ModelPath, ModelPath[]] {
    let left = [...paths];
    const least = (score: (path: ModelPath) => number): void => {
      const lowest = Math.min(...left.map(score));
      left = left.filter((path) => score(path) === lowest);
    };
    const isMac = left.every(({ nlri }) => (nlri as EvpnNlri).type === 'mac-ip');
    const mobility = ({ attributes }: ModelPath) =>
      attributes.extendedCommunities?.find((each) => each.kind === 'mac-mobility');
    least(({ attributes }) => (has(attributes, COMMUNITIES.llgrStale) ? 1 : 0));
    if (isMac) {
      least((path) => (mobility(path)?.sticky === true ? 0 : 1));
      least((path) => -(mobility(path)?.sequence ?? 0));
    }
    least(({ attributes }) => -(attributes.localPref ?? 100));
    least(({ from }) => (from === undefined ? 0 : 1));
    least(({ attributes }) => (attributes.asPath ?? []).flatMap(({ asns }) => asns).length);
    least(({ attributes }) => ['igp', 'egp', 'incomplete'].indexOf(attributes.origin ?? 'igp'));
    const as = ({ attributes }: ModelPath) => attributes.asPath?.[0]?.asns[0] ?? 0;
    const med = ({ attributes }: ModelPath) => attributes.med ?? 0;
    left = left.filter((path) => !left.some((o) => as(o) === as(path) && med(o) < med(path)));
    least(({ external }) => (external ? 0 : 1));
    const equal = left;
    for (let at = 0; at < 4; at++) least(({ order }) => order[at] as number);
    return [left[0] as ModelPath, equal];
  }

  /** What `peer` must hold: by key, without path ids where it has one path of each. */
  told(peer: ModelPeer, family: FamilyName): Map<string, string[]> {
    const told = new Map<string, string[]>();
    if (!peer.isUp) return told;
    const many = peer.addPath.has(family);
    for (const [key, all] of this.paths(family)) {
      const { paths } = this.ranked(all);
      const could = paths.filter((path) => this.#may(peer, family, path));
      const wording = could.flatMap((path) => {
        const words = this.#words(peer, family, path);
        return words === undefined ? [] : [{ path, words }];
      });
      const first = family === 'rtc' ? could[0] : could.find((path) => path === paths[0]);
      const picked = many
        ? wording.slice(0, peer.sendPaths)
        : wording.filter(({ path }) => path === first);
      const back = family === 'rtc' && peer.neighbour.client;
      const texts = picked
        .filter(({ path }) => path.from !== peer || back)
        .filter(({ words }) => this.#wants(peer, family, words))
        .map(({ path, words }) => heldText(path.nlri, words, this.#hop(peer, family, path)));
      if (texts.length > 0) told.set(key, texts.sort());
    }
    return told;
  }

  #may(
    peer: ModelPeer,
    family: FamilyName,
    { attributes, from, external, nlri }: ModelPath,
  ): boolean {
    const outside = peer.as !== OUR_AS;
    if (has(attributes, COMMUNITIES.noAdvertise)) return false;
    if (outside && NO_EXPORT.some((each) => has(attributes, each))) return false;
    if (has(attributes, COMMUNITIES.llgrStale) && !peer.longLived) return false;
    if (family === 'rtc') {
      const asked = peer.neighbour.families.some((each) => each.defaultRoute === true);
      if ((nlri as RtcNlri).bits === 0) return asked && from === undefined;
      const all = (attributes.asPath ?? []).flatMap(({ asns }) => asns);
      if (outside && all.includes(peer.as)) return false;
    }
    if (outside || from === undefined || external) return true;
    return from.neighbour.client || peer.neighbour.client;
  }

  #wants(peer: ModelPeer, family: FamilyName, words: Attributes): boolean {
    const speaks = peer.neighbour.families.some((each) => each.family === 'rtc');
    if (!VPN.has(family) || !speaks) return true;
    const targets = (words.extendedCommunities ?? [])
      .filter(({ kind }) => kind === 'route-target')
      .map((each) => BigInt(`0x${extendedHex(each)}`));
    return [...peer.said.values()].some(({ family: of, said }) => {
      if (of !== 'rtc' || this.accepted(peer, 'rtc', said) === undefined) return false;
      const { bits, target } = said.nlri as RtcNlri;
      if (bits <= 32) return true;
      const shift = BigInt(96 - bits);
      return targets.some((each) => each >> shift === BigInt(`0x${target}`) >> shift);
    });
  }

  #hop(peer: ModelPeer, family: FamilyName, { from, external, nextHop }: ModelPath): string {
    const reflected = from !== undefined && !external && peer.as === OUR_AS;
    if (family === 'rtc') return OUR_ID;
    if (VPN.has(family)) return nextHop;
    const asked = peer.neighbour.nextHop ?? (peer.as === OUR_AS ? 'unchanged' : 'self');
    return asked === 'self' && !reflected ? OUR_ID : nextHop;
  }

  #words(peer: ModelPeer, family: FamilyName, path: ModelPath): Attributes | undefined {
    const { from, external, nlri } = path;
    const words: { -readonly [K in keyof Attributes]: Attributes[K] } = {
      ...path.attributes,
      origin: path.attributes.origin ?? 'igp',
      asPath: path.attributes.asPath ?? [],
    };
    if (peer.as !== OUR_AS) {
      delete words.localPref;
      delete words.originatorId;
      delete words.clusterList;
      if (from !== undefined) delete words.med;
      const all = (words.asPath ?? []).flatMap(({ asns }) => asns);
      words.asPath = [{ kind: 'sequence', asns: [OUR_AS, ...all] }];
    } else {
      words.localPref ??= 100;
      if (from !== undefined && !external) {
        const own = family === 'rtc' && peer.neighbour.client;
        words.originatorId = (own ? OUR_ID : (words.originatorId ?? from.id)) as never;
        words.clusterList = [OUR_ID as never, ...(words.clusterList ?? [])];
      }
    }
    return byPolicy(peer.neighbour.export, family, nlri, words);
  }
}

export function heldText(nlri: Nlri, attributes: Attributes, nextHop: string): string {
  const { pathId: _, ...route } = nlri;
  const sorted = Object.entries(attributes).sort(([a], [b]) => (a < b ? -1 : 1));
  return JSON.stringify([Object.entries(route).sort(), nextHop, sorted]);
}
