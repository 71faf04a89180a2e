/**
 * A scenario's stage on real kernels: each node, pod and the fabric a network namespace, control nodes and nodes
 * processes of their own (this program, started again), backends servers, clients whatever is run in their namespaces.
 * Here is what is made and asked, of any plan; which plan, the order of things and the verdict are each scenario's.
 *
 *   pod --- eth0, a TAP of its node's process
 *   node -- eth1, a veth without an address, an AF_PACKET port of its process; and vhost0, a TAP by which the kernel has
 *           the node's address: the process speaks XMPP through its own data plane
 *   control eth1, a veth with its address
 *   fabric  a bridge that joins the other ends of all eth1; captured whole by dumpcap
 *
 * MTUs are 1500 everywhere: that full segments cross the fabric is up to the vRouter's MSS clamp.
 */
import { writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { stringify } from 'yaml';
import { Client } from '../cli/client.ts';
import type { ControlFile } from '../config/control.ts';
import { type NodeFile, type VifFile, XMPP_PORT } from '../config/node.ts';
import { type Ended, type Lab, LabError, type Service } from './lab.ts';
import { addBridge, command, connectVeth, type NetworkNamespace } from './netns.ts';
import { NetnsControl, NetnsNode } from './netns-processes.ts';

const POD_LINK = 'eth0';
const UPLINK = 'eth1';
const HOST_LINK = 'vhost0';
const FABRIC_LINK = 'fabric0';
/** As in their units. */
const NICE = '-5';
const CAPTURE_BUFFER_MIB = 64;
/** The kernel hands frames over in blocks, a block that is not full after 250 ms. */
const CAPTURE_BLOCK_MS = 600;
const FLOW_ENTRIES = 65_536;
/** A busy machine starts processes slowly. */
const START_MS = 30_000;
/** What waits in a TAP is read by then. */
const READ_MS = 100;

export interface StagedControl {
  readonly name: string;
  readonly ipv4: string;
  readonly settings: Pick<ControlFile, 'instances' | 'connect' | 'bgp'>;
}

export interface StagedNode {
  readonly name: string;
  readonly ipv4: string;
  readonly mac: string;
  /** Addresses of its control nodes, in the order in which it prefers them. */
  readonly controls: readonly string[];
  readonly vrfs: readonly string[];
}

export interface StagedPod {
  readonly name: string;
  readonly node: string;
  readonly ipv4: string;
  readonly mac: string;
  readonly vrf: string;
  /** Of its network. */
  readonly prefixLength: number;
  readonly gateway: string;
  readonly floatingIps?: VifFile['floating_ips'];
  /** Command line of what serves in it; says `ready` when it does. */
  readonly server?: readonly string[];
}

export interface StagePlan {
  /** Bits of the prefix that joins nodes and control nodes. */
  readonly fabricLength: number;
  readonly controls: readonly StagedControl[];
  readonly nodes: readonly StagedNode[];
}

export interface NetnsStageOptions {
  readonly lab: Lab;
  /** Command line of this program. */
  readonly program: readonly string[];
  readonly seed: bigint;
  readonly plan: StagePlan;
}

export interface PlacedPod {
  readonly plan: StagedPod;
  readonly namespace: NetworkNamespace;
  readonly node: NetnsNode;
  readonly vif: string;
  server?: Service;
}

export class NetnsStage {
  readonly lab: Lab;
  readonly controls = new Map<string, NetnsControl>();
  readonly nodes = new Map<string, NetnsNode>();
  readonly pods = new Map<string, PlacedPod>();
  readonly capture: string;
  readonly #options: NetnsStageOptions;
  readonly #clients = new Map<string, Client>();
  #fabric: NetworkNamespace | undefined;
  #capturing: Service | undefined;

  constructor(options: NetnsStageOptions) {
    this.#options = options;
    this.lab = options.lab;
    this.capture = this.lab.path('fabric.pcap');
  }

  node(name: string): NetnsNode {
    const found = this.nodes.get(name);
    if (found === undefined) throw new LabError(`no node ${name}`);
    return found;
  }

  pod(name: string): PlacedPod {
    const found = this.pods.get(name);
    if (found === undefined) throw new LabError(`no pod ${name}`);
    return found;
  }

  get plan(): StagePlan {
    return this.#options.plan;
  }

  // --- namespaces and processes ----------------------------------------------------------------

  async addFabric(): Promise<void> {
    const fabric = await this.lab.namespace('fabric');
    this.#fabric = fabric;
    await addBridge(fabric, FABRIC_LINK);
    const { controls, nodes, fabricLength } = this.plan;
    for (const plan of controls) {
      const { name, ipv4 } = plan;
      const namespace = await this.lab.namespace(name);
      await connectVeth({ namespace, name: UPLINK }, { namespace: fabric, name });
      // Frames are to be whole, as on a wire: nobody behind the bridge completes checksums, or cuts segments.
      const whole = ['tx', 'off', 'tso', 'off', 'gso', 'off'];
      await command(namespace.enter(['ethtool', '-K', UPLINK, ...whole]));
      await namespace.ip('address', 'add', `${ipv4}/${fabricLength}`, 'dev', UPLINK);
      await namespace.ip('link', 'set', UPLINK, 'up');
      await fabric.ip('link', 'set', name, 'master', FABRIC_LINK, 'up');
      this.controls.set(name, new NetnsControl(plan, namespace, () => this.#client(name)));
    }
    for (const { name, mac } of nodes) {
      const namespace = await this.lab.namespace(name);
      await connectVeth({ namespace, name: UPLINK, mac }, { namespace: fabric, name });
      await fabric.ip('link', 'set', name, 'master', FABRIC_LINK);
      await namespace.ip('link', 'set', UPLINK, 'up');
      const client = () => this.#client(name);
      this.nodes.set(name, new NetnsNode(name, namespace, this.lab.path(`${name}.sock`), client));
    }
  }

  /** Frames with the kernel's times: who is late to look does not move them. */
  async startCapture(): Promise<Service> {
    const options = ['-q', '-P', '-B', `${CAPTURE_BUFFER_MIB}`, '-i', FABRIC_LINK];
    const argv = ['dumpcap', ...options, '-w', this.capture];
    const service = this.lab.start('capture', argv, { namespace: this.#fabric });
    this.#capturing = service;
    const isOpen = async () => (service.err().includes('File: ') ? true : undefined);
    await this.#ready(service, 'the capture listens', isOpen);
    return service;
  }

  /** Gives the last frames time to arrive. */
  async stopCapture(): Promise<void> {
    if (this.#capturing === undefined) return;
    await sleep(CAPTURE_BLOCK_MS);
    const { err, status } = await this.#capturing.stop();
    if (status !== 0) throw new LabError(`capture: exit status ${status}: ${err.trim()}`);
    const [, dropped] = /received\/dropped on interface .*: \d+\/(\d+)/.exec(err) ?? [];
    if (dropped !== '0') throw new LabError(`capture: it has not seen everything: ${err.trim()}`);
  }

  async startControl(control: NetnsControl): Promise<Service> {
    const { name, ipv4, namespace } = control;
    const cli = this.lab.path(`${name}.sock`);
    const settings = this.plan.controls.find((plan) => plan.name === name)?.settings;
    if (settings === undefined) throw new LabError(`no control node ${name} is planned`);
    const file: ControlFile = {
      name,
      socket: this.lab.path(`${name}.exchange`),
      cli,
      xmpp: { listen: `${ipv4}:${XMPP_PORT}` },
      ...settings,
    };
    const config = this.#write(name, file);
    const service = this.#start(name, ['control', '--config', config], namespace);
    control.service = service;
    await this.#connect(service, cli);
    return service;
  }

  /** A node with the pods that are planned on it; then their kernels get their addresses. */
  async startNode(name: string, plans: readonly StagedPod[]): Promise<Service> {
    const node = this.node(name);
    const vifs: VifFile[] = [];
    for (const plan of plans) vifs.push(this.#vifFile(await this.#addPod(plan)));
    const config = this.#write(name, this.#nodeFile(name, vifs));
    const service = this.#start(name, ['node', '--config', config], node.namespace);
    node.service = service;
    await this.#connect(service, node.socket);
    // The cable comes last: what arrives before somebody listens would be counted by the kernel only.
    await this.#fabric?.ip('link', 'set', name, 'up');
    await this.#ready(service, `${name} meets its control nodes`, async () => {
      const { control = [] } = await node.status();
      const met = control.filter(({ state }) => state === 'established');
      return met.length === this.#node(name).controls.length ? true : undefined;
    });
    for (const plan of plans) await this.#configure(this.pod(plan.name));
    return service;
  }

  /** Orchestrator's way: over the socket of the node that runs. */
  async addPod(plan: StagedPod): Promise<PlacedPod> {
    const pod = await this.#addPod(plan);
    await this.startServer(pod);
    await pod.node.call('vif.add', this.#vifFile(pod));
    await this.#configure(pod);
    return pod;
  }

  async removePod(name: string): Promise<void> {
    const pod = this.pod(name);
    await pod.server?.stop();
    await this.silence(pod);
    await this.unplug(pod);
  }

  /** It sends no more, and what it has sent is counted: its interface goes. A TAP's frames count when they are read. */
  async silence({ namespace, node }: PlacedPod): Promise<void> {
    await namespace.ip('link', 'set', POD_LINK, 'down');
    const sent = async () => (await namespace.counters(POD_LINK)).txPackets;
    let before = -1;
    let now = await sent();
    while (now !== before) {
      await sleep(READ_MS);
      before = now;
      now = await sent();
    }
    node.entered += now;
  }

  /** Orchestrator's way to take a pod away. */
  async unplug({ node, vif, plan }: PlacedPod): Promise<void> {
    await node.call('vif.remove', { name: vif });
    this.pods.delete(plan.name);
  }

  async startServer(pod: PlacedPod): Promise<void> {
    const { name, server: argv } = pod.plan;
    if (argv === undefined) return;
    const server = this.lab.start(name, argv, { namespace: pod.namespace });
    pod.server = server;
    await this.#ready(server, `${name} serves`, async () =>
      server.out().includes('ready') ? true : undefined,
    );
  }

  /** In the pod's namespace. */
  run(pod: PlacedPod, argv: readonly string[]): Promise<Ended> {
    return this.lab.run(argv, { namespace: pod.namespace });
  }

  /** Frames that the kernels say they handed to a node: by its uplink, its host's and its pods' interfaces. */
  async entered(node: NetnsNode): Promise<number> {
    let sum = node.entered + (await node.namespace.counters(UPLINK)).rxPackets;
    sum += (await node.namespace.counters(HOST_LINK)).txPackets;
    for (const pod of this.pods.values()) {
      if (pod.node === node) sum += (await pod.namespace.counters(POD_LINK)).txPackets;
    }
    return sum;
  }

  closeClients(): void {
    for (const client of this.#clients.values()) client.close();
    this.#clients.clear();
  }

  // --- parts -----------------------------------------------------------------------------------

  #start(name: string, argv: readonly string[], namespace?: NetworkNamespace): Service {
    const command = ['nice', '-n', NICE, ...this.#options.program, ...argv];
    return this.lab.start(name, command, { namespace });
  }

  #ready<T>(service: Service, what: string, ask: () => Promise<T | undefined>): Promise<T> {
    return Promise.race([this.lab.until(what, ask, START_MS), this.lab.broken]).catch((error) => {
      const words = service.err().trim();
      throw new LabError(words === '' ? error.message : `${error.message}\n${words}`);
    });
  }

  #client(name: string): Client {
    const found = this.#clients.get(name);
    if (found === undefined) throw new LabError(`${name} is not connected`);
    return found;
  }

  async #connect(service: Service, socket: string): Promise<void> {
    const client = await this.#ready(service, `${service.name} answers on its socket`, () =>
      Client.connect(socket),
    );
    this.#clients.set(service.name, client);
  }

  #write(name: string, file: unknown): string {
    const path = this.lab.path(`${name}.yaml`);
    writeFileSync(path, stringify(file));
    return path;
  }

  #nodeFile(name: string, vifs: VifFile[]): NodeFile {
    const { nodes, fabricLength } = this.plan;
    const { ipv4, mac, controls, vrfs } = this.#node(name);
    const index = nodes.findIndex((node) => node.name === name);
    const others = nodes.filter((node) => node.name !== name);
    return {
      name,
      socket: this.node(name).socket,
      dataplane: {
        flow_entries: FLOW_ENTRIES,
        seed: Number(BigInt.asUintN(48, this.#options.seed)) + index,
      },
      underlay: {
        port: { kind: 'af_packet', interface: UPLINK, offloads: 'none' },
        mac,
        ipv4,
        neighbours: Object.fromEntries(others.map((other) => [other.ipv4, other.mac])),
      },
      host: {
        port: { kind: 'tap', name: HOST_LINK },
        addresses: [`${ipv4}/${fabricLength}`],
      },
      control: { xmpp: controls.map((address) => ({ address })) },
      vrfs: vrfs.map((vrf) => ({ name: vrf })),
      vifs,
    };
  }

  #node(name: string): StagedNode {
    const found = this.plan.nodes.find((node) => node.name === name);
    if (found === undefined) throw new LabError(`no node ${name} is planned`);
    return found;
  }

  #vifFile({ plan, namespace, vif }: PlacedPod): VifFile {
    const { mac, ipv4, vrf, gateway, floatingIps } = plan;
    return {
      name: vif,
      port: { kind: 'tap', name: POD_LINK, netns: namespace.path },
      vrf,
      tenant_mac: mac,
      ipv4,
      gateway4: gateway,
      ...(floatingIps && { floating_ips: floatingIps }),
    };
  }

  async #addPod(plan: StagedPod): Promise<PlacedPod> {
    const { name } = plan;
    const namespace = await this.lab.namespace(name);
    const pod = { plan, namespace, node: this.node(plan.node), vif: `tap-${name}` };
    this.pods.set(name, pod);
    return pod;
  }

  /** What a CNI plugin does inside: the interface is there, its node made it. */
  async #configure({ plan, namespace }: PlacedPod): Promise<void> {
    const { mac, ipv4, prefixLength, gateway } = plan;
    await namespace.ip('link', 'set', POD_LINK, 'address', mac);
    await namespace.ip('address', 'add', `${ipv4}/${prefixLength}`, 'dev', POD_LINK);
    await namespace.ip('route', 'add', 'default', 'via', gateway);
  }
}
