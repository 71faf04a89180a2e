/**
 * A lab for far ends that are not ours: one real node, its pods behind TAPs, and a veth, of both families, to a
 * namespace where whoever speaks the other side's protocol is set up by the test.
 *
 * Invariants
 *  * The veth is a plain wire: no offloads at the far side, so every frame is as it would be on a cable, and
 *    every checksum in a capture can be checked.
 *  * All that crosses is captured from the first frame on; verdict() ends the capture and asks tshark.
 * Used by the interop tests; Lab removes everything.
 */
import { createHash } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { resolve } from 'node:path';
import { stringify } from 'yaml';
import type { LabelView, VifView } from '../../src/cli/views.ts';
import { type Ended, Lab, type Service } from '../../src/program/lab.ts';
import { connectVeth, type NetworkNamespace } from '../../src/program/netns.ts';
import { askTshark, type WireOpinion } from '../../src/program/tshark.ts';
import { callAt } from './lab.ts';

const MAIN = resolve(import.meta.dirname, '../../dist/cli/main.js');
export const NODE = { ipv4: '10.9.0.1', ipv6: 'fd00:9::1', mac: '02:00:0a:09:00:01' } as const;
export const FAR = { ipv4: '10.9.0.2', ipv6: 'fd00:9::2', mac: '02:00:0a:09:00:02' } as const;
export const GATEWAY = {
  ipv4: '10.8.1.254',
  ipv6: 'fd00:8::fe',
  mac: '00:00:5e:00:01:00',
} as const;
/** What its tests need besides. */
export const FAR_TOOLS = ['bridge', 'ethtool', 'tcpdump', 'tshark', 'curl', 'ping'] as const;
export const TENANT_MTU = 1430; // 1500 less IPv6, UDP, VXLAN, Ethernet
/** One megabyte that repeats nowhere in itself. */
const PAGE = `const { createHash } = require('node:crypto');
const page = Buffer.concat(Array.from({ length: 31250 }, (_, i) => createHash('sha256').update(String(i)).digest()));
`;
const DIGEST = createHash('sha256')
  .update(new Function('require', `${PAGE} return page`)(createRequire(import.meta.url)))
  .digest('hex');
const HTTP = `${PAGE} require('node:http').createServer((_, r) => r.end(page)).listen(80, '::', () => console.log('ready'))`;

export interface PodPlan {
  readonly name: string;
  readonly mac: string;
  readonly ipv4: string;
  readonly ipv6?: string;
}

export interface FarLabPlan {
  readonly pods: readonly PodPlan[];
  /** Pods have the others of their subnet on the link, not behind the gateway. */
  readonly onLink?: boolean;
  readonly vrf: { readonly name: string; readonly vni: number };
  /** Of the node file. */
  readonly routes: readonly object[];
}

export class FarLab {
  readonly lab = new Lab();
  readonly pods = new Map<string, NetworkNamespace>();
  readonly #plan: FarLabPlan;
  #node: NetworkNamespace | undefined;
  #far: NetworkNamespace | undefined;
  #capture: Service | undefined;

  private constructor(plan: FarLabPlan) {
    this.#plan = plan;
  }

  static async make(plan: FarLabPlan): Promise<FarLab> {
    const made = new FarLab(plan);
    try {
      await made.#wire();
      await made.#startNode();
      for (const pod of plan.pods) await made.#startPod(pod);
      return made;
    } catch (error) {
      await made.lab.close();
      throw error;
    }
  }

  get far(): NetworkNamespace {
    return this.#far as NetworkNamespace;
  }

  pod(name: string): NetworkNamespace {
    return this.pods.get(name) as NetworkNamespace;
  }

  inPod(name: string, ...argv: string[]): Promise<Ended> {
    return this.lab.run(argv, { namespace: this.pod(name) });
  }

  inFar(...argv: string[]): Promise<Ended> {
    return this.lab.run(argv, { namespace: this.far });
  }

  /** A command that has to work, in the far end's namespace. */
  async far$(...argv: string[]): Promise<string> {
    const { status, out, err } = await this.inFar(...argv);
    if (status !== 0) throw new Error(`${argv.join(' ')}: ${err}`);
    return out;
  }

  call<T>(method: string, params: unknown = {}): Promise<T> {
    return callAt<T>(this.lab.path('node.sock'), method, params);
  }

  /** The label that leads to a pod. */
  async label(pod: string): Promise<number> {
    const vifs = await this.call<{ items: VifView[] }>('vif.list');
    const labels = await this.call<{ items: LabelView[] }>('mpls.dump');
    const nextHop = vifs.items.find(({ name }) => name === pod)?.nextHop;
    const found = labels.items.find((row) => row.nextHop === nextHop);
    if (found === undefined) throw new Error(`no label of ${pod}`);
    return found.label;
  }

  ready(service: Service, word = 'ready', patienceMs = 20_000): Promise<true> {
    return this.lab.until(
      service.name,
      async () => (`${service.out()}${service.err()}`.includes(word) ? true : undefined),
      patienceMs,
    );
  }

  /** Five echo requests; what ping says. */
  async ping(from: NetworkNamespace, address: string): Promise<string> {
    const argv = ['ping', '-c', '5', '-i', '0.1', '-W', '2', address];
    const { out, err } = await this.lab.run(argv, { namespace: from });
    return out + err;
  }

  /** A page of 1 MB from `server`, asked for by `client`: `whole`, or what is wrong with it. */
  async page(server: NetworkNamespace, address: string, client: NetworkNamespace): Promise<string> {
    const service = this.lab.start('http', [process.execPath, '-e', HTTP], {
      namespace: server,
      mayEnd: true,
    });
    await this.ready(service);
    const host = address.includes(':') ? `[${address}]` : address;
    const { out, err } = await this.lab.run(
      ['sh', '-c', `curl -sS -m 10 http://${host}/ | sha256sum`],
      { namespace: client },
    );
    await service.stop();
    return out.startsWith(DIGEST) ? 'whole' : `${err}${out}`;
  }

  /** Ends the capture; what tshark thinks of all that crossed, every checksum looked at. */
  async verdict(): Promise<WireOpinion> {
    await this.#capture?.stop();
    return askTshark((argv, options) => this.lab.run(argv, options), this.#pcap, []);
  }

  /** What crossed, by direction and protocols from the outside in: `out eth:ethertype:ip:udp:vxlan:…`. */
  async kinds(): Promise<Map<string, number>> {
    const kinds = new Map<string, number>();
    for (const [mac, protocols] of await this.#fields('', 'eth.src', 'frame.protocols')) {
      const outer = mac?.split(',')[0];
      const way = outer === NODE.mac ? 'out' : outer === FAR.mac ? 'in' : `from ${outer}`;
      const kind = `${way} ${protocols?.replace(':icmp:data', ':icmp')}`;
      kinds.set(kind, (kinds.get(kind) ?? 0) + 1);
    }
    return kinds;
  }

  /** How many captured frames tshark's filter takes. */
  async count(filter: string): Promise<number> {
    return (await this.#fields(filter, 'frame.number')).length;
  }

  close(): Promise<void> {
    return this.lab.close();
  }

  async #fields(filter: string, ...names: string[]): Promise<string[][]> {
    const { out, err, status } = await this.lab.run([
      ...['tshark', '-n', '-r', this.#pcap, '-T', 'fields', '-E', 'separator=/t'],
      ...(filter === '' ? [] : ['-Y', filter]),
      ...names.flatMap((name) => ['-e', name]),
    ]);
    if (status !== 0) throw new Error(err);
    return out.split('\n').flatMap((line) => (line === '' ? [] : [line.split('\t')]));
  }

  get #pcap(): string {
    return this.lab.path('wire.pcap');
  }

  async #wire(): Promise<void> {
    const node = await this.lab.namespace('node');
    const far = await this.lab.namespace('far');
    this.#node = node;
    this.#far = far;
    await connectVeth(
      { namespace: node, name: 'up0', mac: NODE.mac },
      { namespace: far, name: 'up0', mac: FAR.mac },
    );
    await this.far$('ethtool', '-K', 'up0', 'tx', 'off', 'tso', 'off', 'gso', 'off');
    await far.set('net/ipv6/conf/up0/disable_ipv6', '0');
    for (const side of [node, far]) await side.ip('link', 'set', 'up0', 'up');
    // At once: what waits in its ring when it is told to end would be lost.
    this.#capture = this.lab.start(
      'tcpdump',
      [
        'tcpdump',
        '-U',
        '--immediate-mode',
        '-s',
        '2048',
        '-B',
        '32768',
        '-i',
        'up0',
        '-w',
        this.#pcap,
      ],
      {
        namespace: far,
        mayEnd: true,
      },
    );
    await this.ready(this.#capture, 'listening');
    await far.ip('addr', 'add', `${FAR.ipv4}/24`, 'dev', 'up0');
    await far.ip('addr', 'add', `${FAR.ipv6}/64`, 'dev', 'up0', 'nodad');
  }

  async #startNode(): Promise<void> {
    const { pods, routes, vrf } = this.#plan;
    for (const { name } of pods) this.pods.set(name, await this.lab.namespace(name));
    const file = {
      name: 'cent222',
      socket: this.lab.path('node.sock'),
      log: { level: 'warn' },
      underlay: {
        port: { kind: 'af_packet', interface: 'up0', offloads: 'none' },
        mac: NODE.mac,
        ipv4: NODE.ipv4,
        ipv6: NODE.ipv6,
        neighbours: { '10.9.0.0/24': FAR.mac, 'fd00:9::/64': FAR.mac },
      },
      vrfs: [vrf],
      routes,
      vifs: pods.map(({ name, mac, ipv4, ipv6 }) => ({
        name,
        port: { kind: 'tap', name: 'eth0', netns: this.pod(name).name, mtu: TENANT_MTU },
        vrf: vrf.name,
        tenant_mac: mac,
        ipv4,
        gateway4: GATEWAY.ipv4,
        ...(ipv6 === undefined ? {} : { ipv6, gateway6: GATEWAY.ipv6 }),
        mtu: TENANT_MTU,
      })),
    };
    writeFileSync(this.lab.path('node.yaml'), stringify(file));
    const argv = [process.execPath, MAIN, 'node', '--config', this.lab.path('node.yaml')];
    this.lab.start('node', argv, { namespace: this.#node });
    const up = this.lab.until('the node', () => this.call('status'), 20_000);
    await Promise.race([up, this.lab.broken]);
  }

  async #startPod({ name, mac, ipv4, ipv6 }: PodPlan): Promise<void> {
    const pod = this.pod(name);
    const { onLink = false } = this.#plan;
    await pod.ip('link', 'set', 'eth0', 'address', mac);
    if (ipv6 !== undefined) await pod.set('net/ipv6/conf/eth0/disable_ipv6', '0');
    await pod.ip('link', 'set', 'eth0', 'up');
    await pod.ip('addr', 'add', `${ipv4}/${onLink ? 24 : 32}`, 'dev', 'eth0');
    if (!onLink) await pod.ip('route', 'add', GATEWAY.ipv4, 'dev', 'eth0');
    await pod.ip('route', 'add', 'default', 'via', GATEWAY.ipv4);
    if (ipv6 === undefined) return;
    await pod.ip('addr', 'add', `${ipv6}/${onLink ? 64 : 128}`, 'dev', 'eth0', 'nodad');
    if (!onLink) await pod.ip('-6', 'route', 'add', GATEWAY.ipv6, 'dev', 'eth0');
    await pod.ip('-6', 'route', 'add', 'default', 'via', GATEWAY.ipv6);
  }
}
