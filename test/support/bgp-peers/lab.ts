/**
 * Hosts on one Ethernet, each a network namespace: where the tests' BGP speakers run.
 *
 * Invariant: host number n has 10.99.0.n and fd99::n, and nothing else goes anywhere. All of it is gone after close(),
 * daemons first: their files are in the lab's directory, none in /etc or /run.
 */
import { chmodSync, mkdirSync } from 'node:fs';
import { isDeepStrictEqual } from 'node:util';
import { vi } from 'vitest';
import type { FamilyName } from '../../../src/bgp/wire/family-names.ts';
import { Lab, LabError } from '../../../src/program/lab.ts';
import { addBridge, connectVeth, type NetworkNamespace } from '../../../src/program/netns.ts';
import { whyNot } from '../lab.ts';
import { type BgpPeer, byKey, type PeerConfig, type SeenRoute } from './peer.ts';

/** A daemon's start, its first connection and a retry after it. */
export const PATIENCE_MS = 20_000;
/** Of whoever runs them: daemons, connections, and one that has to be waited for in vain to say what is missing. */
vi.setConfig({ testTimeout: 60_000 });
const LOG_TAIL = 3_000;
const SWITCH = 'br0';

/** Why this machine cannot run these peers. */
export const whyNoPeers = (...commands: readonly (readonly string[])[]): string | undefined =>
  whyNot(...commands.flat());

export interface Host {
  readonly lab: Lab;
  readonly name: string;
  readonly namespace: NetworkNamespace;
  readonly address: string;
  readonly address6: string;
  /** On eth0. */
  readonly linkLocal: string;
  /** Its own, and readable by whomever a daemon becomes. */
  readonly directory: string;
}

export class PeerLab {
  readonly lab: Lab;
  readonly #hosts: Host[] = [];
  readonly #wire: NetworkNamespace;

  private constructor(lab: Lab, wire: NetworkNamespace) {
    this.lab = lab;
    this.#wire = wire;
  }

  static async make(): Promise<PeerLab> {
    const lab = new Lab();
    try {
      // Daemons that become another user must reach their own directories; names in it are not secret.
      chmodSync(lab.directory, 0o711);
      const wire = await lab.namespace('wire');
      await addBridge(wire, SWITCH);
      return new PeerLab(lab, wire);
    } catch (error) {
      await lab.close();
      throw error;
    }
  }

  async host(name: string): Promise<Host> {
    const namespace = await this.lab.namespace(name);
    const n = this.#hosts.length + 1;
    const directory = this.lab.path(name);
    mkdirSync(directory, { mode: 0o755 });
    const address = `10.99.0.${n}`;
    const address6 = `fd99::${n}`;
    await connectVeth({ namespace, name: 'eth0' }, { namespace: this.#wire, name: `port${n}` });
    await this.#wire.ip('link', 'set', `port${n}`, 'master', SWITCH, 'up');
    await namespace.set('net/ipv6/conf/eth0/disable_ipv6', '0');
    await namespace.set('net/ipv6/conf/eth0/accept_dad', '0');
    const linkLocal = `fe80::${n}`;
    await namespace.ip('link', 'set', 'eth0', 'addrgenmode', 'none');
    await namespace.ip('link', 'set', 'eth0', 'up');
    await namespace.ip('addr', 'add', `${linkLocal}/64`, 'dev', 'eth0', 'nodad');
    await namespace.ip('addr', 'add', `${address}/24`, 'dev', 'eth0');
    await namespace.ip('addr', 'add', `${address6}/64`, 'dev', 'eth0', 'nodad');
    const host = { lab: this.lab, name, namespace, address, address6, linkLocal, directory };
    this.#hosts.push(host);
    return host;
  }

  close(): Promise<void> {
    return this.lab.close();
  }
}

/** One lab for as long as `work` takes. */
export async function withLab(work: (lab: PeerLab) => Promise<void>): Promise<void> {
  const lab = await PeerLab.make();
  try {
    await work(lab);
  } finally {
    await lab.close();
  }
}

/** Within one AS, with those hosts. */
export function within(
  as: number,
  families: readonly FamilyName[],
  hosts: readonly Host[],
  client = false,
): PeerConfig {
  const neighbours = hosts.map(({ address }) => ({ address, as, families, client }));
  return { as, neighbours };
}

const tail = (peer: BgpPeer) => `--- ${peer.name} said:\n${peer.log().slice(-LOG_TAIL)}`;

/** What `ask` answers once `holds`; what it answered last, and what the peer said, when it never does. */
export async function eventually<T>(
  peer: BgpPeer,
  what: string,
  ask: () => Promise<T>,
  holds: (answer: T) => boolean,
  patienceMs = PATIENCE_MS,
): Promise<T> {
  let last: unknown = 'nothing';
  const asking = async () => {
    const answer = await ask().catch((error: Error) => {
      last = error.message;
      throw error;
    });
    last = answer;
    return holds(answer) ? { answer } : undefined;
  };
  const found = await peer.host.lab.poll(asking, patienceMs);
  if (found !== undefined) return found.answer;
  const text = typeof last === 'string' ? last : JSON.stringify(last, undefined, 1);
  throw new LabError(
    `not in ${patienceMs} ms: ${peer.name}: ${what}; last: ${text}\n${tail(peer)}`,
  );
}

export async function meet(a: BgpPeer, b: BgpPeer): Promise<void> {
  for (const [one, other] of [
    [a, b],
    [b, a],
  ] as const) {
    const { address, address6, linkLocal } = other.host;
    const addresses = [address, address6, linkLocal];
    await eventually(
      one,
      `a session with ${other.name}`,
      () => one.established(),
      (up) => up.some((one) => addresses.includes(one)),
    );
  }
}

/** The peer has exactly these of others, by its own account. Labels that it does not show are not compared. */
export async function sees(
  peer: BgpPeer,
  family: FamilyName,
  routes: readonly SeenRoute[],
  patienceMs = PATIENCE_MS,
): Promise<void> {
  const wanted = routes.toSorted(byKey);
  const matches = (seen: readonly SeenRoute[]) =>
    seen.length === wanted.length &&
    seen.every((route, at) => {
      const expected = wanted[at] as SeenRoute;
      const label = route.label === undefined ? {} : { label: expected.label };
      const { label: _, ...rest } = expected;
      return isDeepStrictEqual({ ...route }, { ...rest, ...label });
    });
  const learned = async () => {
    const seen = await peer.routes(family);
    return seen.filter(({ from }) => from !== undefined).toSorted(byKey);
  };
  const what = `${family} routes ${JSON.stringify(wanted, undefined, 1)}`;
  await eventually(peer, what, learned, matches, patienceMs);
}
