/**
 * The `loadbalancer` scenario on real kernels: control node, two compute nodes, a gateway and a BGP router between the
 * control node and the gateway, each in a network namespace of its own, on one Ethernet; pods with HTTP servers, and
 * hosts beyond the gateway with curl. Here is what is made and asked; what is expected is the test's.
 *
 *   router 10.169.25.30 -- BGP -- control 10.169.25.19 -- XMPP -- cent222, cent333
 *        \-- BGP -- gateway 192.168.0.204 == MPLS over GRE == cent222, cent333
 *
 * Nobody is told a MAC or a far end: kernels find each other, and tunnels follow the routes.
 */
import { chmodSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { stringify } from 'yaml';
import type { StatusView } from '../../src/cli/views.ts';
import { readPcap } from '../../src/codec/pcap.ts';
import type { ControlFile } from '../../src/config/control.ts';
import type { NodeFile, VifFile } from '../../src/config/node.ts';
import { Lab, type Service } from '../../src/program/lab.ts';
import { addBridge, command, connectVeth, type NetworkNamespace } from '../../src/program/netns.ts';
import { FABRIC_WIRE } from '../../src/sim/cluster.ts';
import { tunnelOf } from '../../src/sim/loadbalancer.ts';
import {
  AS,
  type BackendPlan,
  CONTROL,
  EXTERNAL_NETWORK,
  EXTERNAL_TARGET,
  GATEWAY,
  INTERNET,
  NODES,
  POD_GATEWAY,
  POD_NETWORK,
  POD_SUBNET,
  SERVICE,
} from '../../src/sim/loadbalancer-plan.ts';
import type { Host } from './bgp-peers/lab.ts';
import { answers, callAt } from './lab.ts';

const MAIN = resolve(import.meta.dirname, '../../dist/cli/main.js');
const PROGRAM = [process.execPath, MAIN];
const UPLINK = 'eth1';
const HOST_LINK = 'vhost0';
const TENANT_LINK = 'eth0';
const FABRIC_LINK = 'fabric0';
const SUBNETS = ['10.169.25.0/24', '192.168.0.0/24'] as const;
const PATIENCE_MS = 30_000;
const RESTART_SECONDS = 120;
export const ROUTER = { name: 'router', ipv4: '10.169.25.30' } as const;

/** Beyond the gateway, each by an interface of its own in a VRF of its own. */
export const OUTSIDE = [
  {
    ...{ name: 'internet', vrf: INTERNET, ipv4: '198.51.100.7', mac: '02:ed:00:00:99:07' },
    link: { ipv4: '203.0.113.1', gateway: '203.0.113.254', length: 24 },
    ...{ prefix: '0.0.0.0/0', maximumPaths: undefined },
  },
  {
    ...{ name: 'single', vrf: 'internet-single', ipv4: '192.0.2.7', mac: '02:ed:00:00:99:08' },
    link: { ipv4: '203.0.114.1', gateway: '203.0.114.254', length: 24 },
    ...{ prefix: '192.0.2.0/24', maximumPaths: 1 },
  },
] as const;
export type Outside = (typeof OUTSIDE)[number];

const SERVER = `
const { createServer } = require('node:http');
const [backend, port] = process.argv.slice(1);
createServer((request, response) => {
  const { remoteAddress: caller } = request.socket;
  response.end(JSON.stringify({ backend, caller }) + '\\n' + '.'.repeat(8000));
}).listen(Number(port), '0.0.0.0', () => console.log('ready'));
`;

export interface Page {
  readonly backend: string;
  readonly caller: string;
}

export class LoadbalancerLab {
  readonly lab = new Lab();
  readonly #namespaces = new Map<string, NetworkNamespace>();
  readonly #pods = new Map<string, { readonly namespace: NetworkNamespace; server: Service }>();

  socket(name: string): string {
    return this.lab.path(`${name}.sock`);
  }

  namespace(name: string): NetworkNamespace {
    const found = this.#namespaces.get(name);
    if (found === undefined) throw new Error(`no namespace ${name}`);
    return found;
  }

  close(): Promise<void> {
    return this.lab.close();
  }

  // --- making it -------------------------------------------------------------------------------------

  async addFabric(): Promise<void> {
    chmodSync(this.lab.directory, 0o711); // a router's daemons may become another user
    await addBridge(await this.#make('fabric'), FABRIC_LINK);
    for (const { name, ipv4 } of [CONTROL, ROUTER]) {
      const namespace = await this.#plug(name);
      await namespace.ip('address', 'add', `${ipv4}/24`, 'dev', UPLINK);
      await namespace.ip('link', 'set', UPLINK, 'up');
      await this.#onLink(name, UPLINK);
    }
    for (const { name, ipv4 } of [NODES.first, NODES.second, GATEWAY]) {
      await (await this.#plug(name, macOf(ipv4))).ip('link', 'set', UPLINK, 'up');
    }
  }

  /** Where a BGP router of the tests' can be started. */
  routerHost(): Host {
    const { name, ipv4 } = ROUTER;
    const directory = this.lab.path(name);
    mkdirSync(directory, { mode: 0o755 });
    const namespace = this.namespace(name);
    const addresses = { address: ipv4, address6: '::', linkLocal: '::' };
    return { lab: this.lab, name, namespace, ...addresses, directory };
  }

  async startControl(): Promise<void> {
    const { name, ipv4 } = CONTROL;
    const targets = { import: [EXTERNAL_TARGET], export: [EXTERNAL_TARGET] };
    const file: ControlFile = {
      ...{ name, socket: this.lab.path(`${name}.exchange`), cli: this.socket(name) },
      xmpp: { listen: `${ipv4}:5269` },
      bgp: { as: AS, router_id: ipv4, settle_seconds: 1, neighbors: [this.#neighbour()] },
      instances: [{ name: POD_NETWORK }, { name: EXTERNAL_NETWORK, ...targets }],
    };
    await this.#start('control', name, file);
  }

  async startNode(node: { readonly name: string; readonly ipv4: string }): Promise<void> {
    await this.#start('node', node.name, {
      ...this.#fabricSide(node, '24'),
      control: { xmpp: [{ address: CONTROL.ipv4 }] },
      vrfs: [{ name: POD_NETWORK }, { name: EXTERNAL_NETWORK }],
    });
    await this.#onLink(node.name, HOST_LINK);
  }

  async startGateway(): Promise<void> {
    for (const { name } of OUTSIDE) await this.#make(name);
    const targets = { import: [EXTERNAL_TARGET], export: [EXTERNAL_TARGET] };
    const file: NodeFile = {
      ...this.#fabricSide(GATEWAY, '24', ['gre', 'udp']),
      bgp: { as: AS, router_id: GATEWAY.ipv4, neighbors: [this.#neighbour()] },
      vrfs: OUTSIDE.map(({ vrf, maximumPaths }) => ({
        ...{ name: vrf, ...targets },
        ...(maximumPaths !== undefined && { maximum_paths: maximumPaths }),
      })),
      vifs: OUTSIDE.map(({ name, vrf, mac, link, prefix }) => ({
        ...{ name, vrf, tenant_mac: mac, ipv4: link.ipv4, gateway4: link.gateway },
        port: { kind: 'tap', name: TENANT_LINK, netns: this.namespace(name).path },
        prefixes: [prefix],
      })),
    };
    await this.#start('node', GATEWAY.name, file);
    await this.#onLink(GATEWAY.name, HOST_LINK);
    for (const { name, ipv4, mac, link } of OUTSIDE) {
      const namespace = this.namespace(name);
      await namespace.ip('address', 'add', `${ipv4}/32`, 'dev', 'lo');
      await namespace.ip('link', 'set', TENANT_LINK, 'address', mac);
      await namespace.ip('address', 'add', `${link.ipv4}/${link.length}`, 'dev', TENANT_LINK);
      await namespace.ip('route', 'add', 'default', 'via', link.gateway, 'src', ipv4);
    }
  }

  async addBackend(pod: BackendPlan): Promise<void> {
    const { name, node, ipv4, mac } = pod;
    const namespace = await this.#make(name);
    const argv = [process.execPath, '-e', SERVER, name, `${SERVICE.toPort}`];
    const server = this.lab.start(name, argv, { namespace });
    this.#pods.set(name, { namespace, server });
    const ready = async () => (server.out().includes('ready') ? true : undefined);
    await this.lab.until(`${name} serves`, ready, PATIENCE_MS);
    const vif: VifFile = {
      ...{ name: `tap-${name}`, vrf: POD_NETWORK, tenant_mac: mac, ipv4, gateway4: POD_GATEWAY },
      port: { kind: 'tap', name: TENANT_LINK, netns: namespace.path },
      floating_ips: [
        {
          ...{ address: SERVICE.ipv4, vrf: EXTERNAL_NETWORK },
          ports: [{ protocol: 'tcp', port: SERVICE.port, to_port: SERVICE.toPort }],
        },
      ],
    };
    await callAt(this.socket(node), 'vif.add', vif);
    await namespace.ip('link', 'set', TENANT_LINK, 'address', mac);
    const [, length] = POD_SUBNET.split('/');
    await namespace.ip('address', 'add', `${ipv4}/${length}`, 'dev', TENANT_LINK);
    await namespace.ip('route', 'add', 'default', 'via', POD_GATEWAY);
  }

  async removeBackend({ name, node }: BackendPlan): Promise<void> {
    await callAt(this.socket(node), 'vif.remove', { name: `tap-${name}` });
    await this.#pods.get(name)?.server.stop();
  }

  // --- asking it -------------------------------------------------------------------------------------

  /** The command line, at a node's socket. */
  async vrouter<T>(name: string, ...words: readonly string[]): Promise<T> {
    const argv = [...PROGRAM, ...words, '--sock', this.socket(name), '--json'];
    return JSON.parse(await command(argv)) as T;
  }

  status(name: string): Promise<StatusView> {
    return callAt(this.socket(name), 'status');
  }

  /** So many pages from a host beyond the gateway, one connection each; undefined: that one failed. */
  async fetch({ name, ipv4 }: Outside, count: number): Promise<(Page | undefined)[]> {
    const url = `http://${SERVICE.ipv4}:${SERVICE.port}/`;
    const argv = ['curl', '-q', '-sS', '--noproxy', '*', '--interface', ipv4, '-m', '5', url];
    const one = async (): Promise<Page | undefined> => {
      const { status, out } = await this.lab.run(argv, { namespace: this.namespace(name) });
      const [line = '', rest = ''] = out.split('\n');
      return status === 0 && rest.length === 8000 ? (JSON.parse(line) as Page) : undefined;
    };
    const pages: (Page | undefined)[] = [];
    while (pages.length < count) {
      const batch = Math.min(8, count - pages.length);
      pages.push(...(await Promise.all(Array.from({ length: batch }, one))));
    }
    return pages;
  }

  /** Tunnelled frames on the fabric by tunnel, while `work` works. */
  async tunnels(work: () => Promise<void>): Promise<Map<string, number>> {
    const file = this.lab.path(`fabric-${Date.now()}.pcap`);
    const argv = [...PROGRAM, 'capture', '--interface', FABRIC_LINK, '--write', file];
    const capture = this.lab.start('capture', argv, { namespace: this.namespace('fabric') });
    const open = async () => (statSync(file).size > 0 ? true : undefined);
    await this.lab.until('the capture listens', open, PATIENCE_MS);
    try {
      await work();
    } finally {
      await capture.stop();
    }
    const used = new Map<string, number>();
    for (const { timeNs, frame } of readPcap(file, readFileSync(file))) {
      const bytes = Buffer.from(frame.buffer, frame.byteOffset, frame.byteLength);
      const tunnel = tunnelOf({ timeNs, wire: FABRIC_WIRE, from: '', to: '', frame: bytes });
      if (tunnel !== undefined && !tunnel.startsWith('other'))
        used.set(tunnel, (used.get(tunnel) ?? 0) + 1);
    }
    return new Map([...used].sort(([a], [b]) => (a < b ? -1 : 1)));
  }

  // --- parts -----------------------------------------------------------------------------------------

  async #make(name: string): Promise<NetworkNamespace> {
    const namespace = await this.lab.namespace(name);
    this.#namespaces.set(name, namespace);
    return namespace;
  }

  async #plug(name: string, mac?: string): Promise<NetworkNamespace> {
    const namespace = await this.#make(name);
    const fabric = this.namespace('fabric');
    const end = { namespace, name: UPLINK, ...(mac !== undefined && { mac }) };
    await connectVeth(end, { namespace: fabric, name });
    const whole = ['tx', 'off', 'tso', 'off', 'gso', 'off'];
    await command(namespace.enter(['ethtool', '-K', UPLINK, ...whole]));
    await fabric.ip('link', 'set', name, 'master', FABRIC_LINK, 'up');
    return namespace;
  }

  /** Both subnets are on the one Ethernet. */
  async #onLink(name: string, link: string): Promise<void> {
    const namespace = this.namespace(name);
    const known = await namespace.ip('route', 'show');
    for (const subnet of SUBNETS)
      if (!known.includes(subnet)) await namespace.ip('route', 'add', subnet, 'dev', link);
  }

  #neighbour() {
    return {
      ...{ address: ROUTER.ipv4, as: AS, families: ['vpnv4' as const] },
      graceful_restart_seconds: RESTART_SECONDS,
    };
  }

  #fabricSide(
    { name, ipv4 }: { readonly name: string; readonly ipv4: string },
    length: string,
    encaps?: ('gre' | 'udp')[],
  ): NodeFile {
    return {
      ...{ name, socket: this.socket(name), dataplane: { flow_entries: 16_384 } },
      underlay: {
        port: { kind: 'af_packet', interface: UPLINK, offloads: 'none' },
        mac: macOf(ipv4),
        ipv4,
        ...(encaps !== undefined && { encaps }),
      },
      host: { port: { kind: 'tap', name: HOST_LINK }, addresses: [`${ipv4}/${length}`] },
    };
  }

  async #start(what: 'node' | 'control', name: string, file: object): Promise<void> {
    const config = this.lab.path(`${name}.yaml`);
    writeFileSync(config, stringify(file));
    const argv = [...PROGRAM, what, '--config', config];
    const service = this.lab.start(name, argv, { namespace: this.namespace(name) });
    await Promise.race([
      answers(this.lab, `${name} answers`, this.socket(name), PATIENCE_MS),
      this.lab.broken,
    ]).catch((error) => {
      throw new Error(`${error.message}\n${service.err()}`);
    });
  }
}

function macOf(ipv4: string): string {
  const hex = ipv4.split('.').map((part) => Number(part).toString(16).padStart(2, '0'));
  return `52:54:${hex.join(':')}`;
}
