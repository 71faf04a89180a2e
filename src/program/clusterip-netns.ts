/**
 * The `clusterip` scenario's stage on real kernels: each node, pod and the fabric a network namespace,
 * control and nodes processes of their own (this program, started again), backends HTTP servers, the
 * client curl. Here is what is made and asked; the order of things and the verdict are demo-netns.ts's.
 *
 *   pod --- eth0, a TAP of its node's process
 *   node -- eth1, a veth without an address, an AF_PACKET port of its process; and vhost0, a TAP by which the kernel has
 *           the node's address: the process speaks XMPP through its own data plane
 *   control eth1, a veth with its address
 *   fabric  a bridge that joins the other ends of all eth1; captured whole by `vrouter capture`
 *
 * MTUs are 1500 everywhere: that full segments cross the fabric is up to the vRouter's MSS clamp.
 */
import { statSync, writeFileSync } from 'node:fs';
import { stringify } from 'yaml';
import { Client } from '../cli/client.ts';
import type { NextHopView } from '../cli/views.ts';
import type { ControlFile } from '../config/control.ts';
import { type NodeFile, type VifFile, XMPP_PORT } from '../config/node.ts';
import {
  CLIENT,
  CONTROLS,
  MULTI_PORT,
  NODES,
  POD_GATEWAY,
  POD_NETWORK,
  POD_SUBNET,
  type PodPlan,
  SERVICE_NETWORK,
  type ServicePlan,
  WEB,
} from '../sim/clusterip-plan.ts';
import { NetnsControl, NetnsNode } from './clusterip-netns-processes.ts';
import { type Ended, type Lab, LabError, type Service } from './lab.ts';
import { addBridge, command, connectVeth, type NetworkNamespace } from './netns.ts';

export const NODE_MACS: Readonly<Record<string, string>> = {
  [NODES.client.name]: '52:54:00:00:02:22',
  [NODES.remote.name]: '52:54:00:00:03:33',
};
export const NODE_PLANS = [NODES.client, NODES.remote] as const;
const POD_LINK = 'eth0';
const UPLINK = 'eth1';
const HOST_LINK = 'vhost0';
const FABRIC_LENGTH = 24;
const FABRIC_LINK = 'fabric0';
const FLOW_ENTRIES = 65_536;
/** A busy machine starts processes slowly. */
const START_MS = 30_000;

/**
 * A backend: says who it is on the first line, then fills the page, so that it takes several full
 * segments. `/hold` is answered with that line only and stays open.
 */
export const PAGE_FILLER = 8191;
const SERVER = `
const { createServer } = require('node:http');
const [backend, ...ports] = process.argv.slice(1);
let listening = 0;
for (const port of ports.map(Number)) {
  createServer((request, response) => {
    const { remoteAddress: caller, remotePort: callerPort } = request.socket;
    response.setHeader('content-type', 'text/plain');
    response.write(JSON.stringify({ backend, port, caller, callerPort }) + '\\n');
    if (request.url !== '/hold') response.end('.'.repeat(${PAGE_FILLER}) + '\\n');
  }).listen(port, '0.0.0.0', () => {
    listening += 1;
    if (listening === ports.length) console.log('ready');
  });
}
`;

export interface NetnsStageOptions {
  readonly lab: Lab;
  /** Command line of this program. */
  readonly program: readonly string[];
  readonly seed: bigint;
  readonly connectNetworks: boolean;
}

export interface PlacedPod {
  readonly plan: PodPlan;
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

  get backends(): PlacedPod[] {
    return [...this.pods.values()].filter(({ plan }) => plan.name !== CLIENT.name);
  }

  // --- namespaces and processes ----------------------------------------------------------------

  async addFabric(): Promise<void> {
    const fabric = await this.lab.namespace('fabric');
    this.#fabric = fabric;
    await addBridge(fabric, FABRIC_LINK);
    for (const plan of CONTROLS) {
      const { name, ipv4 } = plan;
      const namespace = await this.lab.namespace(name);
      await connectVeth({ namespace, name: UPLINK }, { namespace: fabric, name });
      // Frames are to be whole, as on a wire: nobody behind the bridge completes checksums, or cuts segments.
      const whole = ['tx', 'off', 'tso', 'off', 'gso', 'off'];
      await command(namespace.enter(['ethtool', '-K', UPLINK, ...whole]));
      await namespace.ip('address', 'add', `${ipv4}/${FABRIC_LENGTH}`, 'dev', UPLINK);
      await namespace.ip('link', 'set', UPLINK, 'up');
      await fabric.ip('link', 'set', name, 'master', FABRIC_LINK, 'up');
      this.controls.set(name, new NetnsControl(plan, namespace, () => this.#client(name)));
    }
    for (const { name } of NODE_PLANS) {
      const namespace = await this.lab.namespace(name);
      const mac = NODE_MACS[name] as string;
      await connectVeth({ namespace, name: UPLINK, mac }, { namespace: fabric, name });
      await fabric.ip('link', 'set', name, 'master', FABRIC_LINK);
      await namespace.ip('link', 'set', UPLINK, 'up');
      const client = () => this.#client(name);
      this.nodes.set(name, new NetnsNode(name, namespace, this.lab.path(`${name}.sock`), client));
    }
  }

  async startCapture(): Promise<Service> {
    const argv = ['capture', '--interface', FABRIC_LINK, '--write', this.capture];
    const service = this.#start('capture', argv, this.#fabric);
    this.#capturing = service;
    // The file's header is written when the interface is open.
    const isOpen = async () => (statSync(this.capture).size > 0 ? true : undefined);
    await this.#ready(service, 'the capture listens', isOpen);
    return service;
  }

  /** Gives the last frames time to arrive. */
  async stopCapture(): Promise<void> {
    const { err, status } = (await this.#capturing?.stop()) ?? { err: '', status: 0 };
    if (status !== 0) throw new LabError(`capture: exit status ${status}: ${err.trim()}`);
  }

  async startControl(control: NetnsControl): Promise<Service> {
    const { name, ipv4, namespace } = control;
    const cli = this.lab.path(`${name}.sock`);
    const file: ControlFile = {
      name,
      socket: this.lab.path(`${name}.exchange`),
      cli,
      xmpp: { listen: `${ipv4}:${XMPP_PORT}` },
      instances: [{ name: POD_NETWORK }, { name: SERVICE_NETWORK }],
      ...(this.#options.connectNetworks
        ? { connect: [{ between: [POD_NETWORK, SERVICE_NETWORK] }] }
        : {}),
    };
    const config = this.#write(name, file);
    const service = this.#start(name, ['control', '--config', config], namespace);
    control.service = service;
    await this.#connect(service, cli);
    return service;
  }

  /** A node with the pods that are planned on it; then their kernels get their addresses. */
  async startNode(name: string, plans: readonly PodPlan[]): Promise<Service> {
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
      return met.length === CONTROLS.length ? true : undefined;
    });
    for (const plan of plans) await this.#configure(this.pod(plan.name));
    return service;
  }

  /** Orchestrator's way: over the socket of the node that runs. */
  async addBackend(plan: PodPlan): Promise<PlacedPod> {
    const pod = await this.#addPod(plan);
    await this.startServer(pod);
    await pod.node.call('vif.add', this.#vifFile(pod));
    await this.#configure(pod);
    return pod;
  }

  async removeBackend(name: string): Promise<void> {
    const pod = this.pod(name);
    await pod.server?.stop();
    await pod.namespace.ip('link', 'set', POD_LINK, 'down');
    pod.node.entered += (await pod.namespace.counters(POD_LINK)).txPackets;
    await pod.node.call('vif.remove', { name: pod.vif });
    this.pods.delete(name);
  }

  async startServer(pod: PlacedPod): Promise<Service> {
    const ports = [WEB, MULTI_PORT].flatMap((service) => service.ports.map((p) => `${p.toPort}`));
    const argv = [process.execPath, '-e', SERVER, pod.plan.name, ...new Set(ports)];
    const server = this.lab.start(pod.plan.name, argv, { namespace: pod.namespace });
    pod.server = server;
    await this.#ready(server, `${pod.plan.name} serves`, async () =>
      server.out().includes('ready') ? true : undefined,
    );
    return server;
  }

  /** The service's next hop on a node, when it has so many members; what there is when it does not come. */
  async serviceMembers(
    node: NetnsNode,
    members: number,
    patienceMs: number,
  ): Promise<NextHopView[]> {
    const vrf = await node.vrf(POD_NETWORK);
    const ask = () => node.nextHopsTo(vrf, WEB.ipv4);
    const settled = await this.lab.poll(async () => {
      const tree = await ask();
      const [top] = tree;
      const count = top === undefined ? 0 : (top.slots?.filter((s) => s !== null).length ?? 1);
      return count === members ? tree : undefined;
    }, patienceMs);
    return settled ?? ask();
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
    return this.lab.start(name, [...this.#options.program, ...argv], { namespace });
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
    const index = NODE_PLANS.findIndex((node) => node.name === name);
    const others = NODE_PLANS.filter((node) => node.name !== name);
    const ipv4 = NODE_PLANS[index]?.ipv4;
    return {
      name,
      socket: this.node(name).socket,
      dataplane: {
        flow_entries: FLOW_ENTRIES,
        seed: Number(BigInt.asUintN(48, this.#options.seed)) + index,
      },
      underlay: {
        port: { kind: 'af_packet', interface: UPLINK, offloads: 'none' },
        mac: NODE_MACS[name] as string,
        ipv4,
        neighbours: Object.fromEntries(
          others.map((other) => [other.ipv4, NODE_MACS[other.name] as string]),
        ),
      },
      host: {
        port: { kind: 'tap', name: HOST_LINK },
        addresses: [`${ipv4}/${FABRIC_LENGTH}`],
      },
      control: { xmpp: CONTROLS.map((control) => ({ address: control.ipv4 })) },
      vrfs: [{ name: POD_NETWORK }, { name: SERVICE_NETWORK }],
      vifs,
    };
  }

  #vifFile({ plan, namespace, vif }: PlacedPod): VifFile {
    const { mac, ipv4 } = plan;
    return {
      name: vif,
      port: { kind: 'tap', name: POD_LINK, netns: namespace.path },
      vrf: POD_NETWORK,
      tenant_mac: mac,
      ipv4,
      gateway4: POD_GATEWAY,
      ...(plan.name === CLIENT.name ? {} : { floating_ips: [WEB, MULTI_PORT].map(floatingIp) }),
    };
  }

  async #addPod(plan: PodPlan): Promise<PlacedPod> {
    const namespace = await this.lab.namespace(plan.name);
    const pod = { plan, namespace, node: this.node(plan.node), vif: `tap-${plan.name}` };
    this.pods.set(plan.name, pod);
    return pod;
  }

  /** What a CNI plugin does inside: the interface is there, its node made it. */
  async #configure({ plan, namespace }: PlacedPod): Promise<void> {
    const length = POD_SUBNET.split('/')[1];
    await namespace.ip('link', 'set', POD_LINK, 'address', plan.mac);
    await namespace.ip('address', 'add', `${plan.ipv4}/${length}`, 'dev', POD_LINK);
    await namespace.ip('route', 'add', 'default', 'via', POD_GATEWAY);
  }
}

/** A service address is a floating IP of every backend, in the service network, with a port map. */
export function floatingIp(service: ServicePlan) {
  return {
    address: service.ipv4,
    vrf: SERVICE_NETWORK,
    ports: service.ports.map(({ port, toPort }) => ({
      protocol: 'tcp' as const,
      port,
      to_port: toPort,
    })),
  };
}
