/**
 * Two control nodes and two nodes as processes, each in a network namespace: a veth is the fabric, other ones carry
 * the sessions, pods are behind TAPs, a node is an agent and a forwarder. For tests in which processes are killed while
 * packets flow.
 *
 * Invariant: whatever the kernel drops on the way of a packet because a process was not run is counted by
 * `kernelDrops`, and what a node drops by `ownDrops`; so a packet that is missing has an owner.
 * Lab removes everything but the forwarders, which outlive their agents: close() does that first.
 */
import { existsSync, writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { stringify } from 'yaml';
import type { Page } from '../../src/cli/protocol.ts';
import type { RouteChangesView, RouteView, StatusView } from '../../src/cli/views.ts';
import { openRemote } from '../../src/dataplane/remote.ts';
import { Lab, type Service } from '../../src/program/lab.ts';
import { connectVeth, type NetworkNamespace } from '../../src/program/netns.ts';
import { callAt } from './lab.ts';

const MAIN = resolve(import.meta.dirname, '../../dist/cli/main.js');
/** Above all that a node waits for: 30 s between attempts, then 40 until it believes (settle_seconds as it is). */
const PATIENCE_MS = 120_000;
/** Frames that a TAP holds for a node that is not run: a second at the rate of the tests. */
const TAP_QUEUE = 20_000;
export const PODS = 'default-domain:k8s-default:pods:pods';
export const GATEWAY = '10.1.0.254';

export const NODES = ['cent222', 'cent333'] as const;
export type NodeName = (typeof NODES)[number];
export const CONTROLS = ['control-1', 'control-2'] as const;
export type ControlName = (typeof CONTROLS)[number];

const LAST: Readonly<Record<NodeName, number>> = { cent222: 20, cent333: 21 };
const nodeMac = (name: NodeName) => `02:00:00:00:00:${LAST[name]}`;
const sessionNet = (name: NodeName) => `10.0.${LAST[name]}`;
const controlAddress = (name: ControlName) => `10.0.0.${CONTROLS.indexOf(name) + 1}`;

/** A pod behind a TAP, in a namespace of its own. */
export interface Pod {
  readonly name: string;
  readonly node: NodeName;
  readonly address: string;
}

const podMac = ({ address }: Pod) => `02:ed:00:00:00:${address.split('.')[3]?.padStart(2, '0')}`;

/** A vif with nobody behind it. */
export function emptyVif(name: string, address: string): object {
  return {
    name,
    port: { kind: 'memory' },
    vrf: PODS,
    tenant_mac: podMac({ name, address, node: NODES[0] }),
    ipv4: address,
  };
}

/** What a node's packets are forwarded by. */
export interface Tables {
  readonly nextHops: readonly unknown[];
  readonly labels: readonly unknown[];
  readonly routes: readonly RouteView[];
  readonly vifs: readonly unknown[];
}

export class ControlLab {
  readonly lab = new Lab();
  readonly #namespaces = new Map<string, NetworkNamespace>();
  readonly #processes = new Map<string, Service>();

  /** `more`: vifs of a node's file beside its pods'. */
  static async make(
    pods: readonly Pod[],
    more: { readonly [N in NodeName]?: readonly object[] } = {},
  ): Promise<ControlLab> {
    if (!existsSync(MAIN)) throw new Error('dist/cli/main.js is not built: node scripts/setup.mjs');
    const made = new ControlLab();
    try {
      await made.#wire(pods);
      for (const name of CONTROLS) made.startControl(name);
      for (const name of NODES) made.#writeNode(name, pods, more[name] ?? []);
      for (const name of NODES) made.startAgent(name);
      await made.settled(...NODES);
      for (const pod of pods) await made.#setUpPod(pod);
      return made;
    } catch (error) {
      await made.close();
      throw error;
    }
  }

  namespace(name: string): NetworkNamespace {
    const found = this.#namespaces.get(name);
    if (found === undefined) throw new Error(`no namespace ${name}`);
    return found;
  }

  async close(): Promise<void> {
    const forwarders = NODES.flatMap((name) => {
      try {
        return [this.forwarderPid(name)];
      } catch {
        return []; // it has not been started, or has ended with its agent
      }
    });
    // A forwarder holds its agent's output open, so nothing is waited for before both are gone.
    for (const name of [...this.#processes.keys()]) this.#end(name);
    for (const pid of forwarders) if (existsSync(`/proc/${pid}`)) process.kill(pid, 'SIGKILL');
    await this.lab.close();
  }

  // --- processes -------------------------------------------------------------------------------------

  startControl(name: ControlName): void {
    this.#write(name, {
      name,
      socket: this.lab.path(`${name}.exchange`),
      cli: this.#socket(name),
      xmpp: { listen: `${controlAddress(name)}:5269`, restart_seconds: 60 },
      instances: [{ name: PODS }],
    });
    this.#start(name, 'control', this.namespace('control'));
  }

  startAgent(name: NodeName): Service {
    return this.#start(name, 'node', this.namespace(name));
  }

  async kill(name: string): Promise<void> {
    const pid = this.#end(name);
    await this.until(`${name} has ended`, async () => !existsSync(`/proc/${pid}`));
  }

  /** By SIGKILL; its number may be another's from then on. */
  #end(name: string): number {
    const service = this.#processes.get(name);
    if (service === undefined) throw new Error(`no process ${name}`);
    this.#processes.delete(name);
    process.kill(service.pid, 'SIGKILL');
    return service.pid;
  }

  forwarderPid(name: NodeName): number {
    const remote = openRemote({ path: this.#forwarder(name) });
    const { pid } = remote.attach();
    remote.close();
    return pid;
  }

  // --- what there is ---------------------------------------------------------------------------------

  call<T>(name: string, method: string, params: unknown = {}): Promise<T> {
    return callAt<T>(this.#socket(name), method, params);
  }

  async standings(name: NodeName): Promise<string> {
    const { control = [] } = await this.call<StatusView>(name, 'status');
    return control.map(({ standing }) => standing).join();
  }

  until(what: string, holds: () => Promise<boolean>): Promise<true> {
    return this.lab.until(what, async () => ((await holds()) ? true : undefined), PATIENCE_MS);
  }

  /** All their control nodes are there and believed. */
  async settled(...names: readonly NodeName[]): Promise<void> {
    for (const name of names) {
      await this.until(
        `${name} has settled`,
        async () => (await this.standings(name)) === CONTROLS.map(() => 'settled').join(),
      );
    }
  }

  async tables(name: NodeName): Promise<Tables> {
    const page = async <T>(method: string, params = {}) =>
      (await this.call<Page<T>>(name, method, params)).items;
    const { length } = await page('rt.dump', { vrf: 1 });
    if (length === 0) throw new Error(`${name} has no routes`);
    // Counters and numbers of references go on; what they belong to must not.
    const without = (row: unknown, ...keys: string[]) =>
      Object.fromEntries(Object.entries(row as object).filter(([key]) => !keys.includes(key)));
    return {
      nextHops: (await page('nh.list')).map((row) => without(row, 'references')),
      labels: await page('mpls.dump'),
      routes: await page<RouteView>('rt.dump', { vrf: 1 }),
      vifs: (await page<{ id: number; name: string; nextHop: number }>('vif.list')).map(
        ({ id, name: vif, nextHop }) => ({ id, vif, nextHop }),
      ),
    };
  }

  async hasRoute(name: NodeName, prefix: string): Promise<boolean> {
    return (await this.tables(name)).routes.some((route) => route.prefix === prefix);
  }

  /** What `vrouter control compare` says of both control nodes; undefined while they differ. */
  async inStep(): Promise<string | undefined> {
    const sockets = CONTROLS.map((name) => this.#socket(name));
    const asked = [process.execPath, MAIN, 'control', 'compare', ...sockets, '--again', '0'];
    const { status, out } = await this.lab.run(asked);
    return status === 0 ? out : undefined;
  }

  /** Of its routes, since then or since its agent was started. */
  async changes(name: NodeName, after = 0): Promise<string[]> {
    const { changes, lost } = await this.call<RouteChangesView>(name, 'rt.changes', { after });
    if (lost > 0) throw new Error(`${lost} changes were too many to be kept`);
    return changes.map(({ operation, address }) => `${operation} ${address}`);
  }

  async lastChange(name: NodeName): Promise<number> {
    return (await this.call<RouteChangesView>(name, 'rt.changes')).last;
  }

  /** By reason, of both nodes. */
  async ownDrops(): Promise<ReadonlyMap<string, number>> {
    const sum = new Map<string, number>();
    for (const node of NODES) {
      const drops = await this.call<{ name: string; packets: number | string }[]>(
        node,
        'dropstats.get',
      );
      for (const { name, packets } of drops) sum.set(name, (sum.get(name) ?? 0) + Number(packets));
    }
    return sum;
  }

  /** In queues of the kernel from one pod to the other: TAPs, the fabric's sockets, the receiver's socket. */
  async kernelDrops(from: string, to: string): Promise<number> {
    let sum = (await this.namespace(from).counters('eth0')).txDropped;
    sum += (await this.namespace(to).counters('eth0')).rxDropped;
    for (const node of NODES) {
      const { rxDropped, txDropped } = await this.namespace(node).counters('eth1');
      sum += rxDropped + txDropped;
      // Of packet sockets: skmem:(…,d<dropped>).
      const sockets = await this.#inside(node, ['ss', '-0', '-n', '-m']);
      for (const [, dropped] of sockets.matchAll(/,d(\d+)\)/g)) sum += Number(dropped);
    }
    const udp = (await this.#inside(to, ['cat', '/proc/net/snmp']))
      .split('\n')
      .filter((line) => line.startsWith('Udp:'))
      .map((line) => line.split(' '));
    return sum + Number(udp[1]?.[udp[0]?.indexOf('RcvbufErrors') ?? -1] ?? 0);
  }

  // --- the making ------------------------------------------------------------------------------------

  async #inside(namespace: string, argv: readonly string[]): Promise<string> {
    return (await this.lab.run(argv, { namespace: this.namespace(namespace) })).out;
  }

  #socket(name: string): string {
    return this.lab.path(`${name}.sock`);
  }

  #forwarder(name: NodeName): string {
    return this.lab.path(`${name}.forwarder`);
  }

  #write(name: string, file: unknown): void {
    writeFileSync(this.lab.path(`${name}.yaml`), stringify(file));
  }

  #start(name: string, command: 'node' | 'control', namespace: NetworkNamespace): Service {
    const file = this.lab.path(`${name}.yaml`);
    const service = this.lab.start(name, [process.execPath, MAIN, command, '--config', file], {
      namespace,
      mayEnd: true,
    });
    this.#processes.set(name, service);
    return service;
  }

  async #wire(pods: readonly Pod[]): Promise<void> {
    for (const name of [...NODES, 'control', ...pods.map((pod) => pod.name)]) {
      this.#namespaces.set(name, await this.lab.namespace(name));
    }
    const control = this.namespace('control');
    for (const name of CONTROLS) {
      await control.ip('addr', 'add', `${controlAddress(name)}/32`, 'dev', 'lo');
    }
    const [a, b] = NODES;
    await connectVeth(
      { namespace: this.namespace(a), name: 'eth1', mac: nodeMac(a) },
      { namespace: this.namespace(b), name: 'eth1', mac: nodeMac(b) },
    );
    for (const name of NODES) {
      const node = this.namespace(name);
      await connectVeth({ namespace: node, name: 'eth0' }, { namespace: control, name });
      await node.ip('addr', 'add', `${sessionNet(name)}.2/24`, 'dev', 'eth0');
      await control.ip('addr', 'add', `${sessionNet(name)}.1/24`, 'dev', name);
      for (const link of ['eth0', 'eth1']) await node.ip('link', 'set', link, 'up');
      await control.ip('link', 'set', name, 'up');
      await node.ip('route', 'add', 'default', 'via', `${sessionNet(name)}.1`);
    }
  }

  #writeNode(name: NodeName, pods: readonly Pod[], more: readonly object[]): void {
    const other = NODES.find((node) => node !== name) as NodeName;
    this.#write(name, {
      name,
      socket: this.#socket(name),
      dataplane: { flow_entries: 65_536, buffers: 4096 },
      forwarder: { socket: this.#forwarder(name), flow_file: this.lab.path(`${name}.flows`) },
      underlay: {
        port: { kind: 'af_packet', interface: 'eth1' },
        mac: nodeMac(name),
        ipv4: `10.169.25.${LAST[name]}`,
        neighbours: { [`10.169.25.${LAST[other]}`]: nodeMac(other) },
      },
      control: {
        xmpp: CONTROLS.map((control) => ({ address: controlAddress(control) })),
        source: `${sessionNet(name)}.2`,
      },
      vrfs: [{ name: PODS }],
      vifs: [...pods.filter(({ node }) => node === name).map((pod) => this.#podVif(pod)), ...more],
    });
  }

  #podVif(pod: Pod): object {
    return {
      name: pod.name,
      port: { kind: 'tap', name: 'eth0', netns: this.namespace(pod.name).name, mtu: 1400 },
      vrf: PODS,
      tenant_mac: podMac(pod),
      ipv4: pod.address,
      gateway4: GATEWAY,
    };
  }

  async #setUpPod(pod: Pod): Promise<void> {
    const inside = this.namespace(pod.name);
    await inside.ip('link', 'set', 'eth0', 'address', podMac(pod), 'txqueuelen', `${TAP_QUEUE}`);
    await inside.ip('link', 'set', 'eth0', 'up');
    await inside.ip('addr', 'add', `${pod.address}/32`, 'dev', 'eth0');
    await inside.ip('route', 'add', `${GATEWAY}/32`, 'dev', 'eth0');
    await inside.ip('route', 'add', 'default', 'via', GATEWAY);
  }
}
