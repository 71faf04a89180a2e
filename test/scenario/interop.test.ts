/**
 * Far ends that are not ours: the Linux kernel's VXLAN, routed, and MPLSoUDP and MPLSoGRE as scapy reads the
 * RFCs. One node, one pod behind a TAP, a veth to all of them; what crossed is read by tshark.
 */
import { existsSync, writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { Client } from '../../src/cli/client.ts';
import { haveCommand, Lab, type Service } from '../../src/program/lab.ts';
import { connectVeth, type NetworkNamespace } from '../../src/program/netns.ts';

const MAIN = resolve(import.meta.dirname, '../../dist/cli/main.js');
const FAR_END = resolve(import.meta.dirname, '../support/far-end.py');
const NODE = { ip: '10.9.0.1', mac: '02:00:0a:09:00:01' };
const FAR_MAC = '02:00:0a:09:00:02';
const ROUTER_MAC = '02:aa:00:00:00:02';
const GATEWAY_MAC = '00:00:5e:00:01:00';
const POD = { ip: '10.8.1.1', mac: '02:00:00:00:00:01', gateway: '10.8.1.254' };
/** The node's first label is its first vif's. */
const LABEL = 16;
const VNI = 42;
const HTTP = `require('node:http').createServer((_, r) => r.end('x'.repeat(1000000))).listen(80, '0.0.0.0', () => console.log('ready'))`;

function missing(): string | undefined {
  if (process.getuid?.() !== 0) return 'root is needed';
  if (!existsSync('/dev/net/tun')) return 'there is no /dev/net/tun';
  const tools = [
    'ip',
    'bridge',
    'tcpdump',
    'tshark',
    'curl',
    'ping',
    'python3',
    'nsenter',
    'setpriv',
  ];
  const none = tools.find((name) => !haveCommand(name));
  return none === undefined ? undefined : `${none} is not installed`;
}
const why = missing();
if (why !== undefined && process.env.CI === 'true') throw new Error(`cannot run: ${why}`);
if (why !== undefined) console.log(`skipped: ${why}`);

describe.skipIf(why !== undefined)('far ends that are not ours', () => {
  let lab: Lab;
  let node: NetworkNamespace;
  let pod: NetworkNamespace;
  let far: NetworkNamespace;
  let capture: Service;
  const inPod = (...argv: string[]) => lab.run(argv, { namespace: pod });
  const inFar = (...argv: string[]) => lab.run(argv, { namespace: far });
  const ready = (service: Service, word = 'ready') =>
    lab.until(
      service.name,
      async () => (`${service.out()}${service.err()}`.includes(word) ? true : undefined),
      10_000,
    );

  beforeAll(async () => {
    lab = new Lab();
    node = await lab.namespace('node');
    pod = await lab.namespace('pod');
    far = await lab.namespace('far');
    await connectVeth(
      { namespace: node, name: 'up0', mac: NODE.mac },
      { namespace: far, name: 'up0', mac: FAR_MAC },
    );
    for (const side of [node, far]) await side.ip('link', 'set', 'up0', 'up');
    await far.ip('addr', 'add', '10.9.0.2/24', 'dev', 'up0');
    const hop = (address: string, label: number, encap: string, more = {}) => [
      { address, label, encaps: [encap], ...more },
    ];
    const file = {
      name: 'cent222',
      socket: lab.path('node.sock'),
      log: { level: 'warn' },
      underlay: {
        port: { kind: 'af_packet', interface: 'up0', offloads: 'none' },
        mac: NODE.mac,
        ipv4: NODE.ip,
        neighbours: { '10.9.0.0/24': FAR_MAC },
      },
      vrfs: [{ name: 'red', vni: VNI }],
      routes: [
        {
          instance: 'red',
          prefix: '10.8.1.2',
          hops: hop('10.9.0.2', VNI, 'vxlan', { mac: ROUTER_MAC }),
        },
        { instance: 'red', prefix: '10.8.1.3', hops: hop('10.9.0.3', 103, 'udp') },
        { instance: 'red', prefix: '10.8.1.4', hops: hop('10.9.0.4', 104, 'gre') },
      ],
      vifs: [
        {
          name: 'pod',
          port: { kind: 'tap', name: 'eth0', netns: pod.name, mtu: 1450 },
          vrf: 'red',
          tenant_mac: POD.mac,
          ipv4: POD.ip,
          gateway4: POD.gateway,
          mtu: 1450,
        },
      ],
    };
    writeFileSync(lab.path('node.yaml'), stringify(file));
    lab.start('node', [process.execPath, MAIN, 'node', '--config', lab.path('node.yaml')], {
      namespace: node,
    });
    await lab.until(
      'the node',
      async () => {
        const client = await Client.connect(lab.path('node.sock'));
        client.close();
        return true;
      },
      20_000,
    );
    await pod.ip('link', 'set', 'eth0', 'address', POD.mac);
    await pod.ip('link', 'set', 'eth0', 'up');
    await pod.ip('addr', 'add', `${POD.ip}/32`, 'dev', 'eth0');
    await pod.ip('route', 'add', POD.gateway, 'dev', 'eth0');
    await pod.ip('route', 'add', 'default', 'via', POD.gateway);
    // The kernel's VXLAN as a router behind its VNI.
    await far.ip(
      'link',
      'add',
      'vx0',
      'type',
      'vxlan',
      'id',
      `${VNI}`,
      'local',
      '10.9.0.2',
      'dstport',
      '4789',
      'dev',
      'up0',
    );
    await far.ip('link', 'set', 'vx0', 'address', ROUTER_MAC);
    await far.ip('link', 'set', 'vx0', 'mtu', '1450');
    await far.ip('link', 'set', 'vx0', 'up');
    await far.ip('addr', 'add', '10.8.1.2/32', 'dev', 'vx0');
    await far.ip('route', 'add', POD.ip, 'dev', 'vx0');
    await far.ip('neigh', 'add', POD.ip, 'lladdr', GATEWAY_MAC, 'dev', 'vx0', 'nud', 'permanent');
    await inFar('bridge', 'fdb', 'append', GATEWAY_MAC, 'dev', 'vx0', 'dst', NODE.ip);
    capture = lab.start(
      'tcpdump',
      ['tcpdump', '-U', '-i', 'up0', '-w', lab.path('wire.pcap'), 'ip'],
      { namespace: far, mayEnd: true },
    );
    await ready(capture, 'listening');
  });
  afterAll(() => lab.close());

  it('Linux VXLAN, routed: echo both ways', async () => {
    expect((await inPod('ping', '-c', '5', '-i', '0.1', '-W', '2', '10.8.1.2')).out).toContain(
      ' 0% packet loss',
    );
    expect((await inFar('ping', '-c', '5', '-i', '0.1', '-W', '2', POD.ip)).out).toContain(
      ' 0% packet loss',
    );
  });

  it('Linux VXLAN, routed: a page each way', async () => {
    for (const [server, address, client] of [
      [far, '10.8.1.2', pod],
      [pod, POD.ip, far],
    ] as const) {
      const service = lab.start('http', [process.execPath, '-e', HTTP], {
        namespace: server,
        mayEnd: true,
      });
      await ready(service);
      const got = await lab.run(['sh', '-c', `curl -sS -m 10 http://${address}/ | wc -c`], {
        namespace: client,
      });
      expect(got).toMatchObject({ err: '', out: '1000000\n' });
      await service.stop();
    }
  });

  it('scapy as MPLSoUDP and MPLSoGRE far end: asks and is asked, and finds nothing wrong', async () => {
    const script = lab.start(
      'scapy',
      ['/usr/bin/python3', '-u', FAR_END, 'up0', NODE.mac, NODE.ip, POD.ip, `${LABEL}`],
      { namespace: far, mayEnd: true },
    );
    await lab.until(
      'scapy',
      async () => (script.out().includes('ready') ? true : undefined),
      20_000,
    );
    for (const address of ['10.8.1.3', '10.8.1.4']) {
      const ping = await inPod('ping', '-c', '5', '-i', '0.2', '-W', '2', address);
      expect(ping.out, address).toContain(' 0% packet loss');
    }
    await lab.poll(async () => undefined, 1500);
    const { out } = await script.stop();
    const seen = JSON.parse(out.trim().split('\n').at(-1) as string);
    expect(seen).toEqual({
      udp: { requests: 5, answers: 20, wrong: [] },
      gre: { requests: 5, answers: 20, wrong: [] },
    });
  });

  it('tshark finds nothing malformed, and each of the three', async () => {
    await capture.stop();
    const read = (...more: string[]) =>
      lab.run(['tshark', '-n', '-r', lab.path('wire.pcap'), '-d', 'udp.port==6635,mpls', ...more]);
    const malformed = await read(
      '-Y',
      '_ws.malformed || ip.checksum.status == "Bad" || tcp.checksum.status == "Bad"',
      '-o',
      'ip.check_checksum:TRUE',
    );
    expect(malformed.out).toBe('');
    for (const [filter, least] of [
      ['vxlan && tcp', 20],
      ['udp.port == 6635 && mpls && icmp', 50],
      ['gre && mpls && icmp', 50],
    ] as const) {
      const { out } = await read('-Y', filter);
      expect(out.trim().split('\n').length, filter).toBeGreaterThanOrEqual(least);
    }
  });
});
