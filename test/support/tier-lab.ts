/**
 * Two nodes with their kernel tiers on real kernels, joined by a veth pair; behind each a tenant or two, by TAPs or
 * by veths. What is sent, and what came when, is told by test/support/tier-ends.py, which shares nothing with us.
 */
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { stringify } from 'yaml';
import type { Page } from '../../src/cli/protocol.ts';
import type { FlowView, InfoView, StatusView, VifView } from '../../src/cli/views.ts';
import { Lab, type Service } from '../../src/program/lab.ts';
import { command, connectVeth, type NetworkNamespace } from '../../src/program/netns.ts';
import { answers, callAt } from './lab.ts';

export const MAIN = resolve(import.meta.dirname, '../../dist/cli/main.js');
const ENDS = resolve(import.meta.dirname, 'tier-ends.py');
const GATEWAY = '10.8.1.254';
const GATEWAY_MAC = '00:00:5e:00:01:00';
export const MTU = 1450;
const START_MS = 20_000;

export type Id = 1 | 2;
export const IDS: readonly Id[] = [1, 2];
export const other = (id: Id): Id => (id === 1 ? 2 : 1);
export const nodeMac = (id: Id) => `02:00:0a:09:00:0${id}`;

/** `red` is always there; of the second ones, `guest` is in its VRF, and `blue` has its addresses in another. */
export type Tenant = 'red' | 'guest' | 'blue';
const VRF: Readonly<Record<Tenant, string>> = { red: 'red', guest: 'red', blue: 'blue' };
export const addressOf = (id: Id, tenant: Tenant = 'red') =>
  tenant === 'guest' ? `10.8.2.${id}` : `10.8.1.${id}`;
export const macOf = (id: Id, tenant: Tenant = 'red') =>
  `02:00:00:00:0${tenant === 'red' ? 0 : 1}:0${id}`;

export interface Plan {
  readonly pods: 'tap' | 'veth';
  /** Who joins the uplink with the NIC: the node, or tc by hand. Default shared. */
  readonly uplink?: 'shared' | 'joined';
  /** The underlay has no offloads. */
  readonly wire?: boolean;
  readonly tier?: boolean;
  /** Segments towards pods are merged; default true. */
  readonly coalesce?: boolean;
  readonly forwarder?: boolean;
  readonly second?: 'guest' | 'blue';
  /** In front of the command line of a node. */
  readonly before?: readonly string[];
}

/** Of a datagram: its number, and when the kernel had it, in ms since 1970. */
export interface Arrival {
  readonly number: number;
  readonly at: number;
  readonly size: number;
}

export interface StreamEnd {
  readonly sent: number;
  readonly arrivals: readonly Arrival[];
  /** Sent, and never seen. */
  readonly missing: readonly number[];
}

export interface Stream {
  /** So far. */
  arrivals(): readonly Arrival[];
  end(): Promise<StreamEnd>;
}

/** What `python3` is: where it is a script that looks for one, only once. */
let found: string | undefined;
export function python(): string {
  found ??= execFileSync('python3', ['-c', 'import sys; print(sys.executable)'], {
    encoding: 'utf8',
  }).trim();
  return found;
}

const ALL_OFFLOADS = ['tso', 'gso', 'gro', 'tx', 'rx', 'sg'].flatMap((one) => [one, 'off']);

export class TierLab {
  readonly lab = new Lab();
  readonly #plan: Plan;
  readonly #nodes = new Map<Id, NetworkNamespace>();
  readonly #pods = new Map<string, NetworkNamespace>();
  readonly services = new Map<Id, Service>();
  #streams = 0;

  private constructor(plan: Plan) {
    this.#plan = plan;
  }

  static async open(plan: Plan): Promise<TierLab> {
    const made = new TierLab(plan);
    try {
      await made.#make();
    } catch (error) {
      await made.close();
      throw error;
    }
    return made;
  }

  async close(): Promise<void> {
    for (const service of this.services.values()) await service.stop();
    await this.lab.close();
  }

  get tenants(): readonly Tenant[] {
    const { second } = this.#plan;
    return second === undefined ? ['red'] : ['red', second];
  }
  node(id: Id): NetworkNamespace {
    return this.#nodes.get(id) as NetworkNamespace;
  }
  pod(id: Id, tenant: Tenant = 'red'): NetworkNamespace {
    return this.#pods.get(`${tenant}${id}`) as NetworkNamespace;
  }
  socket(id: Id): string {
    return this.lab.path(`${id}.sock`);
  }
  call<T>(id: Id, method: string, params: unknown = {}): Promise<T> {
    return callAt<T>(this.socket(id), method, params);
  }
  inPod(id: Id, ...argv: string[]) {
    return this.lab.run(argv, { namespace: this.pod(id) });
  }
  inNode(id: Id, ...argv: string[]) {
    return this.lab.run(argv, { namespace: this.node(id) });
  }
  /** The command line at a node; throws when it fails. */
  async vrouter(id: Id, ...argv: string[]): Promise<string> {
    const all = [process.execPath, MAIN, ...argv, '--sock', this.socket(id)];
    const { status, out, err } = await this.lab.run(all);
    if (status !== 0) throw new Error(`${argv.join(' ')}: exit status ${status}: ${err}${out}`);
    return out;
  }

  async tier(id: Id): Promise<InfoView['kernelTier']> {
    return (JSON.parse(await this.vrouter(id, 'info', '--json')) as InfoView).kernelTier;
  }
  /** Packets that the tier has carried, by the socket: cheap. */
  async carried(id: Id): Promise<number> {
    return Number((await this.call<StatusView>(id, 'status')).kernelTier.packets);
  }
  async vif(id: Id, name: string): Promise<VifView> {
    const { items } = await this.call<Page<VifView>>(id, 'vif.list');
    const found = items.find((one) => one.name === name);
    if (found === undefined) throw new Error(`node ${id} has no vif ${name}`);
    return found;
  }
  async flows(id: Id, match?: string): Promise<readonly FlowView[]> {
    const params = match === undefined ? {} : { match };
    return (await this.call<Page<FlowView>>(id, 'flow.list', params)).items;
  }

  /** Until most of what is sent is carried: `carried` grows by as much as `share` of what came. */
  async untilCarried(id: Id, stream: Stream, share = 0.9, patienceMs = 5_000): Promise<void> {
    let [carried, came] = [await this.carried(id), stream.arrivals().length];
    await this.lab.until(
      `node ${id} carries the stream`,
      async () => {
        await sleep(300);
        const now = [await this.carried(id), stream.arrivals().length] as const;
        const [more, of] = [now[0] - carried, now[1] - came];
        [carried, came] = now;
        return of > 100 && more >= of * share ? true : undefined;
      },
      patienceMs,
    );
  }

  route(id: Id, tenant: Tenant = 'red') {
    return {
      instance: VRF[tenant],
      prefix: addressOf(other(id), tenant),
      hops: [
        {
          address: `10.9.0.${other(id)}`,
          label: tenant === 'red' ? 16 : 17,
          encaps: ['udp'],
        },
      ],
    };
  }

  /** A Python program of tier-ends.py in a pod, from when it says that it listens, if it does. */
  async ends(namespace: NetworkNamespace, listens: boolean, ...args: string[]): Promise<Service> {
    const argv = [python(), '-u', ENDS, ...args];
    const service = this.lab.start(args[0] as string, argv, { namespace, mayEnd: true });
    if (listens) {
      await this.lab.until(
        args.join(' '),
        async () => {
          if (service.err() !== '') throw new Error(service.err());
          return service.out().includes('ready') ? true : undefined;
        },
        START_MS,
      );
    }
    return service;
  }

  /** So many bytes each way at once; what each end says it sent and got: "SENT-DIGEST GOT-DIGEST BYTES". */
  async transfer(
    bytes: number,
    {
      tenant = 'red',
      to = [2, tenant],
      address = addressOf(...to),
      port = 8080,
      seed = 1,
      pause = 0,
    } = {} as {
      /** Of node 1. */
      tenant?: Tenant;
      to?: readonly [Id, Tenant];
      /** Where that one is asked for. */
      address?: string;
      port?: number;
      seed?: number;
      pause?: number;
    },
  ): Promise<{ readonly near: string[]; readonly far: string[] }> {
    const plan = [`${port}`, `${bytes}`, `${pause}`];
    const server = await this.ends(this.pod(...to), true, 'serve', ...plan, `${seed + 1}`);
    const client = await this.ends(
      this.pod(1, tenant),
      false,
      'connect',
      ...plan,
      `${seed}`,
      address,
    );
    const [near, far] = [await client.ended, await server.ended];
    if (near.status !== 0 || far.status !== 0) throw new Error(`${near.err}\n${far.err}`);
    return {
      near: near.out.trim().split(' '),
      far: far.out.replace('ready', '').trim().split(' '),
    };
  }

  async stream(
    rate: number,
    { tenant = 'red', sizes = [64], port = 9, batch = 1 } = {} as {
      tenant?: Tenant;
      sizes?: readonly number[];
      port?: number;
      /** So many, of one size, as one super-packet. */
      batch?: number;
    },
  ): Promise<Stream> {
    const file = this.lab.path(`stream${++this.#streams}`);
    const receiver = await this.ends(this.pod(2, tenant), true, 'hear', `${port}`, file);
    const address = addressOf(2, tenant);
    const plan = [`${port}`, `${rate}`, `${sizes}`, address, `${batch}`];
    const sender = await this.ends(this.pod(1, tenant), false, 'say', ...plan);
    const arrivals = () => {
      const bytes = readFileSync(file);
      return Array.from({ length: Math.floor(bytes.length / 24) }, (_, i) => ({
        number: Number(bytes.readBigUInt64LE(i * 24)),
        at: Number(bytes.readBigUInt64LE(i * 24 + 8)) / 1e6,
        size: Number(bytes.readBigUInt64LE(i * 24 + 16)),
      }));
    };
    return {
      arrivals,
      end: async () => {
        const { out, err } = await sender.stop();
        await sleep(300); // what is under way
        const heard = await receiver.stop();
        if (err + heard.err !== '') throw new Error(err + heard.err);
        const all = arrivals();
        const seen = new Set(all.map(({ number }) => number));
        const sent = Number(out);
        const missing = Array.from({ length: sent }, (_, i) => i).filter((i) => !seen.has(i));
        return { sent, arrivals: all, missing };
      },
    };
  }

  // --- making ---------------------------------------------------------------------------------

  async #make(): Promise<void> {
    const { wire = false, uplink = 'shared' } = this.#plan;
    for (const id of IDS) {
      this.#nodes.set(id, await this.lab.namespace(`node${id}`));
      for (const tenant of this.tenants)
        this.#pods.set(`${tenant}${id}`, await this.lab.namespace(`${tenant}${id}`));
    }
    const end = (id: Id) => ({ namespace: this.node(id), name: 'up0', mac: nodeMac(id) });
    await connectVeth(end(1), end(2));
    for (const id of IDS) {
      const node = this.node(id);
      await node.ip('link', 'set', 'up0', 'up');
      await node.ip('addr', 'add', `10.9.0.${id}/24`, 'dev', 'up0');
      if (wire) await command(node.enter(['ethtool', '-K', 'up0', ...ALL_OFFLOADS]));
      for (const tenant of this.tenants) await this.makeVeth(id, tenant);
      writeFileSync(this.lab.path(`${id}.yaml`), stringify(this.#file(id)));
    }
    for (const id of IDS) {
      await this.start(id);
      if (uplink === 'joined') await this.#join(id);
      for (const tenant of this.tenants) await this.setUp(id, tenant);
    }
    for (const tenant of this.tenants) await this.untilReached(tenant);
  }

  async untilReached(tenant: Tenant = 'red', patienceMs = 15_000): Promise<void> {
    const ping = ['ping', '-c', '1', '-W', '1', addressOf(2, tenant)];
    const namespace = this.pod(1, tenant);
    await this.lab.until(
      `${tenant} is reached`,
      async () => ((await this.lab.run(ping, { namespace })).status === 0 ? true : undefined),
      patienceMs,
    );
  }

  async start(id: Id): Promise<void> {
    const { before = [] } = this.#plan;
    const argv = [
      ...before,
      process.execPath,
      MAIN,
      'node',
      '--config',
      this.lab.path(`${id}.yaml`),
    ];
    const service = this.lab.start(`node${id}`, argv, { namespace: this.node(id), mayEnd: true });
    this.services.set(id, service);
    await answers(this.lab, `node ${id}`, this.socket(id)).catch((error) => {
      throw new Error(`${error}: ${service.err()}`);
    });
  }

  /** The pod's cable, where pods have one. */
  async makeVeth(id: Id, tenant: Tenant): Promise<void> {
    if (this.#plan.pods !== 'veth') return;
    const near = { namespace: this.node(id), name: `p-${tenant}` };
    await connectVeth({ namespace: this.pod(id, tenant), name: 'eth0' }, near);
    await near.namespace.ip('link', 'set', near.name, 'mtu', `${MTU}`, 'up');
    await this.pod(id, tenant).ip('link', 'set', 'eth0', 'mtu', `${MTU}`);
  }

  async setUp(id: Id, tenant: Tenant): Promise<void> {
    const pod = this.pod(id, tenant);
    await pod.ip('link', 'set', 'eth0', 'address', macOf(id, tenant));
    await pod.ip('link', 'set', 'eth0', 'up');
    await pod.ip('addr', 'add', `${addressOf(id, tenant)}/32`, 'dev', 'eth0');
    await pod.ip('route', 'add', GATEWAY, 'dev', 'eth0');
    // So that every packet that is counted is one of the test's.
    const gateway = [GATEWAY, 'lladdr', GATEWAY_MAC, 'dev', 'eth0', 'nud', 'permanent'];
    await pod.ip('neigh', 'replace', ...gateway);
    await pod.ip('route', 'add', 'default', 'via', GATEWAY);
  }

  vifFile(id: Id, tenant: Tenant) {
    const { coalesce = true } = this.#plan;
    return {
      name: tenant,
      port:
        this.#plan.pods === 'tap'
          ? { kind: 'tap', name: 'eth0', netns: this.pod(id, tenant).name, mtu: MTU, coalesce }
          : { kind: 'af_packet', interface: `p-${tenant}`, coalesce },
      vrf: VRF[tenant],
      tenant_mac: macOf(id, tenant),
      ipv4: addressOf(id, tenant),
      gateway4: GATEWAY,
      mtu: MTU,
      ingress_groups: ['open'],
      egress_groups: ['open'],
    };
  }

  #file(id: Id) {
    const { forwarder = false, uplink = 'shared', tier = true } = this.#plan;
    const joined = uplink === 'joined';
    return {
      name: `node${id}`,
      socket: this.socket(id),
      log: { level: 'warn' },
      dataplane: { kernel_tier: tier, flow_entries: 16_384 },
      ...(forwarder
        ? {
            forwarder: {
              socket: this.lab.path(`${id}.fwd`),
              flow_file: this.lab.path(`${id}.flows`),
            },
          }
        : {}),
      underlay: {
        port: {
          kind: 'tap',
          name: 'uplink',
          offloads: 'uplink',
          mtu: 1500,
          ...(joined ? { joined: 'up0' } : {}),
        },
        ...(joined ? {} : { shared: { interface: 'up0' } }),
        mac: nodeMac(id),
        ipv4: `10.9.0.${id}`,
        ...(joined ? { neighbours: { [`10.9.0.${other(id)}`]: nodeMac(other(id)) } } : {}),
      },
      policies: [{ name: 'open', rules: [{ action: 'pass' }] }],
      vrfs: [...new Set(this.tenants.map((tenant) => VRF[tenant]))].map((name) => ({ name })),
      routes: this.tenants.map((tenant) => this.route(id, tenant)),
      vifs: this.tenants.map((tenant) => this.vifFile(id, tenant)),
    };
  }

  async #join(id: Id): Promise<void> {
    const tc = (text: string) => command(['tc', '-n', this.node(id).name, ...text.split(' ')]);
    for (const device of ['up0', 'uplink']) await tc(`qdisc add dev ${device} clsact`);
    await tc(
      'filter add dev up0 ingress protocol ip u32 match ip protocol 17 0xff match ip dport 6635 0xffff action mirred egress redirect dev uplink',
    );
    await tc(
      'filter add dev uplink ingress protocol all u32 match u32 0 0 action mirred egress redirect dev up0',
    );
  }
}
