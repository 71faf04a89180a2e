/**
 * What a node answers its tenants itself, on real kernels: pods behind TAPs that know nothing but their MAC.
 * The client is another's: scapy's DHCP, the kernel's stack, ping. All of it with the data plane in the
 * node's process, and with a forwarder process, which is killed on the way; and so is the agent.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import type { Page } from '../../src/cli/protocol.ts';
import type { DropView, StatusView } from '../../src/cli/views.ts';
import { openRemote } from '../../src/dataplane/remote.ts';
import { Lab, type Service } from '../../src/program/lab.ts';
import type { NetworkNamespace } from '../../src/program/netns.ts';
import { callAt, whyNot } from '../support/lab.ts';

const MAIN = resolve(import.meta.dirname, '../../dist/cli/main.js');
const START_MS = 20_000;
const GATEWAY = '10.1.0.254';
/** Debian's: where its scapy is. */
const PYTHON = '/usr/bin/python3';

/** Asks until it has an answer; prints one line of JSON a message: its DHCP options, addresses, frame. */
const CLIENT = `
import sys, json
from scapy.all import *
conf.verb = 0
conf.checkIPaddr = False
mac = get_if_hwaddr('eth0')
def ask(options, **bootp):
    packet = (Ether(src=mac, dst='ff:ff:ff:ff:ff:ff') / IP(src='0.0.0.0', dst='255.255.255.255')
              / UDP(sport=68, dport=67)
              / BOOTP(chaddr=bytes.fromhex(mac.replace(':', '')), xid=RandInt(), **bootp)
              / DHCP(options=options + [('param_req_list', [1, 3, 6, 12, 15, 26, 28, 121]), 'end']))
    packet = Ether(bytes(packet))
    answer = srp1(packet, iface='eth0', timeout=2, retry=5)
    if answer is None:
        print('null', flush=True); sys.exit(1)
    said = {}
    for option in answer[DHCP].options:
        if isinstance(option, tuple):
            said[str(option[0])] = [v.decode() if isinstance(v, bytes) and v.isascii() else
                                    list(v) if isinstance(v, bytes) else v for v in option[1:]]
    print(json.dumps({'yiaddr': answer[BOOTP].yiaddr, 'from': answer[IP].src, 'to': answer[IP].dst,
                      'mac': answer[Ether].dst, 'options': said}, default=str), flush=True)
    return answer
for step in sys.argv[1:]:
    if step == 'discover': last = ask([('message-type', 'discover')])
    elif step == 'request':
        last = ask([('message-type', 'request'), ('server_id', last[IP].src),
                    ('requested_addr', last[BOOTP].yiaddr)])
    else: last = ask([('message-type', 'request'), ('requested_addr', step)])
`;

/** Solicit, then request what was offered; prints the address and the name servers of each answer. */
const CLIENT6 = `
import json
from scapy.all import *
from scapy.layers.dhcp6 import *
conf.verb = 0
conf.checkIPaddr = False
mac = get_if_hwaddr('eth0')
source = [a for a, _, name in in6_getifaddr() if name == 'eth0' and a.startswith('fe80')][0]
duid = DUID_LL(lladdr=mac)
def ask(message):
    packet = (Ether(src=mac, dst='33:33:00:01:00:02') / IPv6(src=source, dst='ff02::1:2')
              / UDP(sport=546, dport=547) / message / DHCP6OptClientId(duid=duid)
              / DHCP6OptOptReq(reqopts=[23, 24]) / DHCP6OptIA_NA(iaid=7))
    answer = srp1(Ether(bytes(packet)), iface='eth0', timeout=2, retry=5)
    address = answer[DHCP6OptIAAddress]
    print(json.dumps({'type': answer[DHCP6_Reply].msgtype if DHCP6_Reply in answer else 2,
                      'address': address.addr, 'valid': address.validlft,
                      'dns': answer[DHCP6OptDNSServers].dnsservers}), flush=True)
    return answer
offer = ask(DHCP6_Solicit(trid=1))
ask(DHCP6_Request(trid=2) / DHCP6OptServerId(duid=offer[DHCP6OptServerId].duid))
`;

/** A resolver of the host's that knows one name; what else it is asked does not exist. */
const RESOLVER = `
import socket, struct
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(('127.0.0.1', 53))
print('ready', flush=True)
while True:
    q, peer = s.recvfrom(4096)
    end = q.index(b'\\0', 12) + 5
    known = q[12:end - 4].lower() == b'\\x03www\\x07example\\0' and q[end - 3] == 1
    flags = 0x8180 if known else 0x8183
    record = struct.pack('!HHHIH4B', 0xc00c, 1, 1, 60, 4, 192, 0, 2, 80) if known else b''
    s.sendto(q[:2] + struct.pack('!HHHHH', flags, 1, int(known), 0, 0) + q[12:end] + record, peer)
`;
/** What node:dns makes of it, asking the gateway only. */
const LOOKUP = `
const { Resolver } = require('node:dns').promises;
const [server, ...names] = process.argv.slice(1);
const resolver = new Resolver({ timeout: 2000, tries: 2 });
resolver.setServers([server]);
(async () => {
  for (const name of names) {
    const [kind, what] = name.split('=');
    try { console.log(JSON.stringify(await resolver[kind](what))); }
    catch (error) { console.log(JSON.stringify(error.code)); }
  }
})();
`;

/** DISCOVERs as fast as they go; prints how many. */
const FLOOD = `
import socket, sys
from scapy.all import Ether, IP, UDP, BOOTP, DHCP, get_if_hwaddr
mac = get_if_hwaddr('eth0')
frame = bytes(Ether(src=mac, dst='ff:ff:ff:ff:ff:ff') / IP(src='0.0.0.0', dst='255.255.255.255')
              / UDP(sport=68, dport=67) / BOOTP(chaddr=bytes.fromhex(mac.replace(':', '')))
              / DHCP(options=[('message-type', 'discover'), 'end']))
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind(('eth0', 0))
for _ in range(int(sys.argv[1])): s.send(frame)
print(sys.argv[1])
`;

const scapy = spawnSync(PYTHON, ['-c', 'import scapy']).status === 0;
const why = whyNot('ping', ...(scapy ? [] : ['python3-scapy']));

interface Heard {
  readonly yiaddr: string;
  readonly from: string;
  readonly to: string;
  readonly mac: string;
  readonly options: Readonly<Record<string, readonly unknown[]>>;
}

interface ServicesStatus {
  readonly agent_vif: Readonly<Record<string, number>>;
  readonly services: Readonly<Record<string, Readonly<Record<string, number>>>>;
}

const PODS = ['pod-a', 'pod-b'] as const;
type Pod = (typeof PODS)[number];
const LAST: Readonly<Record<Pod, number>> = { 'pod-a': 1, 'pod-b': 2 };
const macOf = (pod: Pod) => `02:ed:00:00:00:0${LAST[pod]}`;
/** What the first makes of its MAC; what the second would not. */
const V6: Readonly<Record<Pod, string>> = { 'pod-a': 'fd00:1::ed:ff:fe00:1', 'pod-b': 'fd00:1::b' };
const SERVICE = { address: '10.9.9.9', vrf: 'pods' };
const OFTEN = { interval_ms: 300, timeout_ms: 200, failures: 2, successes: 2 };
const CHECKS = [
  { type: 'tcp', port: 8080, ...OFTEN },
  { type: 'ping', ...OFTEN },
];
const GATEWAY6 = 'fd00:1::1';
const ROUTER6 = 'fe80::200:5eff:fe00:100';
const addressOf = (pod: Pod) => `10.1.0.${LAST[pod]}`;

describe.skipIf(why !== undefined).each(['in the process of the node', 'in a forwarder process'])(
  'services for tenants, the data plane %s',
  (where) => {
    const apart = where.includes('forwarder');
    let lab: Lab;
    let node: NetworkNamespace;
    let agent: Service;
    const pods = new Map<Pod, NetworkNamespace>();
    const left: number[] = [];

    const socket = () => lab.path('node.sock');
    const forwarder = () => lab.path('node.forwarder');
    const call = <T>(method: string, params: unknown = {}) => callAt<T>(socket(), method, params);

    function forwarderPid(): number {
      const remote = openRemote({ path: forwarder() });
      const { pid } = remote.attach();
      remote.close();
      return pid;
    }

    async function startAgent(): Promise<void> {
      const argv = [process.execPath, MAIN, 'node', '--config', lab.path('node.yaml')];
      agent = lab.start('node', argv, { namespace: node, mayEnd: true });
      await lab.until(
        'the node is there',
        async () => ((await call<StatusView>('status')).generation > 1 ? true : undefined),
        START_MS,
      );
      if (apart) left.push(forwarderPid());
    }

    async function dhcp(pod: Pod, ...steps: string[]): Promise<(Heard | null)[]> {
      const argv = [PYTHON, '-c', CLIENT, ...steps];
      const { out, err } = await lab.run(argv, { namespace: pods.get(pod)! });
      if (out === '') throw new Error(err);
      return out
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line) as Heard | null);
    }

    async function drops(reason: string): Promise<number> {
      const view = await call<DropView[]>('dropstats.get');
      return Number(view.find(({ name }) => name === reason)?.packets ?? 0);
    }

    beforeAll(async () => {
      if (!existsSync(MAIN))
        throw new Error('dist/cli/main.js is not built: node scripts/setup.mjs');
      lab = new Lab();
      node = await lab.namespace('node');
      for (const pod of PODS) pods.set(pod, await lab.namespace(pod));
      writeFileSync(
        lab.path('node.yaml'),
        stringify({
          name: 'node',
          socket: socket(),
          dataplane: { flow_entries: 4096, buffers: 2048, buffer_bytes: 65_536 },
          ...(apart ? { forwarder: { socket: forwarder(), flow_file: lab.path('flows') } } : {}),
          underlay: { port: { kind: 'memory' }, mac: '02:00:00:00:00:14', ipv4: '10.169.25.20' },
          services: {
            dhcp: {
              dns: ['192.0.2.53', 'fd00:1::53'],
              domain: 'pods.example',
              lease_seconds: 600,
              subnets: ['fd00:1::/64'],
            },
            ra: {},
            dns: { resolvers: ['127.0.0.1'] },
          },
          vrfs: [{ name: 'pods' }],
          vifs: PODS.map((pod) => ({
            name: pod,
            port: { kind: 'tap', name: 'eth0', netns: pods.get(pod)!.name },
            vrf: 'pods',
            tenant_mac: macOf(pod),
            ipv4: addressOf(pod),
            gateway4: GATEWAY,
            ipv6: V6[pod],
            gateway6: GATEWAY6,
            ...(pod === 'pod-b' ? { health_checks: CHECKS, floating_ips: [SERVICE] } : {}),
          })),
        }),
      );
      await startAgent();
      for (const pod of PODS) {
        await pods.get(pod)!.ip('link', 'set', 'eth0', 'address', macOf(pod));
        await pods.get(pod)!.ip('link', 'set', 'eth0', 'up');
      }
    });

    afterAll(async () => {
      await agent?.stop();
      for (const pid of left) spawnSync('kill', ['-9', `${pid}`]); // none, unless a test failed
      await lab?.close();
    });

    it('a pod gets its address, and with what it was told reaches gateway and neighbour', async () => {
      for (const pod of PODS) {
        const [offer, ack] = await dhcp(pod, 'discover', 'request');
        expect(offer).toMatchObject({ yiaddr: addressOf(pod), from: GATEWAY, mac: macOf(pod) });
        expect(ack).toMatchObject({
          yiaddr: addressOf(pod),
          options: {
            'message-type': [5],
            server_id: [GATEWAY],
            lease_time: [600],
            subnet_mask: ['255.255.255.255'],
            router: [GATEWAY],
            name_server: ['192.0.2.53'],
            hostname: [pod],
            domain: ['pods.example'],
            'interface-mtu': [1450],
          },
        });
        const eth0 = pods.get(pod)!;
        const options = ack!.options;
        await eth0.ip('addr', 'add', `${ack!.yiaddr}/32`, 'dev', 'eth0');
        await eth0.ip('link', 'set', 'eth0', 'mtu', `${options['interface-mtu']![0]}`);
        // What option 121 says: the gateway is on the link, and the way to everything else.
        expect(JSON.stringify(options['classless_static_routes']?.flat())).toBe(
          JSON.stringify([`${GATEWAY}/32:0.0.0.0`, `0.0.0.0/0:${GATEWAY}`]),
        );
        await eth0.ip('route', 'add', GATEWAY, 'dev', 'eth0');
        await eth0.ip('route', 'add', 'default', 'via', GATEWAY);
      }
      for (const address of [GATEWAY, addressOf('pod-b')]) {
        const ping = ['ping', '-c', '2', '-W', '2', address];
        expect((await lab.run(ping, { namespace: pods.get('pod-a')! })).out).toContain(
          ' 0% packet loss',
        );
      }
      const { services } = await call<ServicesStatus>('services.status');
      expect(services['dhcp4']).toMatchObject({ offers: 2, acks: 2, naks: 0 });
    });

    it('IPv6: the kernel takes its route and MTU, the first pod its address too', async () => {
      for (const pod of PODS) {
        const space = pods.get(pod)!;
        await space.ip('link', 'set', 'eth0', 'mtu', '1500');
        await space.set('net/ipv6/conf/eth0/disable_ipv6', '0');
        const route = await lab.until(
          'a default route',
          async () => (await space.ip('-6', 'route', 'show', 'default')) || undefined,
          START_MS,
        );
        expect(route).toContain(`via ${ROUTER6} dev eth0 proto ra`);
        const file = '/proc/sys/net/ipv6/conf/eth0/mtu';
        expect((await lab.run(['cat', file], { namespace: space })).out.trim()).toBe('1450');
        const addresses = await space.ip('-6', 'addr', 'show', 'dev', 'eth0', 'scope', 'global');
        expect(addresses.includes(V6[pod])).toBe(pod === 'pod-a');
      }
      const space = { namespace: pods.get('pod-b')! };
      const { out, err } = await lab.run([PYTHON, '-c', CLIENT6], space);
      if (out === '') throw new Error(err + JSON.stringify(await call('services.status')));
      const heard = { address: V6['pod-b'], valid: 600, dns: ['fd00:1::53'] };
      expect(
        out
          .trim()
          .split('\n')
          .map((line) => JSON.parse(line)),
      ).toEqual([
        { type: 2, ...heard },
        { type: 7, ...heard },
      ]);
      await pods.get('pod-b')!.ip('addr', 'add', `${V6['pod-b']}/128`, 'dev', 'eth0', 'nodad');
      for (const address of [`${ROUTER6}%eth0`, GATEWAY6, V6['pod-b']]) {
        const ping = () =>
          lab.run(['ping', '-c', '2', '-W', '2', address], { namespace: pods.get('pod-a')! });
        await lab.until(
          `pod-a reaches ${address}`,
          async () => ((await ping()).out.includes(' 0% packet loss') ? true : undefined),
          10_000,
        );
      }
    });

    it('names: of the world by the resolver of the host, of the network from the node', async () => {
      const resolver = lab.start('resolver', [PYTHON, '-c', RESOLVER], {
        namespace: node,
        mayEnd: true,
      });
      await lab.until(
        'the resolver is there',
        async () => (resolver.out().includes('ready') ? true : undefined),
        START_MS,
      );
      const names = [
        'resolve4=www.example',
        'resolve4=nobody.example',
        'resolve4=pod-b.pods.example',
        'resolve6=POD-A.pods.example',
        `reverse=${addressOf('pod-b')}`,
        'resolveMx=pod-b.pods.example',
      ];
      for (const server of [GATEWAY, `[${GATEWAY6}]:53`]) {
        const argv = [process.execPath, '-e', LOOKUP, server, ...names];
        const { out } = await lab.run(argv, { namespace: pods.get('pod-a')! });
        expect(
          out
            .trim()
            .split('\n')
            .map((line) => JSON.parse(line)),
        ).toEqual([
          ['192.0.2.80'],
          'ENOTFOUND',
          [addressOf('pod-b')],
          [V6['pod-a']],
          ['pod-b.pods.example'],
          'ENODATA',
        ]);
      }
      await resolver.stop();
      const argv = [process.execPath, '-e', LOOKUP, GATEWAY, names[0]!];
      const { out } = await lab.run(argv, { namespace: pods.get('pod-a')! });
      expect(JSON.parse(out)).toBe('ESERVFAIL');
      const { services } = await call<ServicesStatus>('services.status');
      expect(services['dns']).toMatchObject({ overflow: 0, unsent: 0 });
    });

    it('a pod whose port is closed loses its floating IP, and has it again once it is open', async () => {
      const [a, b] = PODS.map((pod) => ({ namespace: pods.get(pod)! }));
      const reaches = async (expected: boolean) => {
        const connect = `import socket; socket.create_connection(('${SERVICE.address}', 8080), 1)`;
        await lab.until(
          `${SERVICE.address} is ${expected ? 'there' : 'gone'}`,
          async () => {
            const { status } = await lab.run([PYTHON, '-c', connect], a);
            const { items } = await call<Page<{ prefix: string }>>('rt.dump', { vrf: 1 });
            const there = items.some(({ prefix }) => prefix.startsWith(`${SERVICE.address}/`));
            return (status === 0) === expected && there === expected ? true : undefined;
          },
          START_MS,
        );
      };
      const server = `
import socket
s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(('', 8080)); s.listen(8)
while True: s.accept()[0].close()
`;
      await reaches(false);
      const start = () => lab.start('server', [PYTHON, '-c', server], { ...b, mayEnd: true });
      const first = start();
      await reaches(true);
      await first.stop();
      await reaches(false);
      // Its own address is not withdrawn.
      const ping = ['ping', '-c', '1', '-W', '2', addressOf('pod-b')];
      expect((await lab.run(ping, a)).status).toBe(0);
      const second = start();
      await reaches(true);
      await second.stop();
      const { services } = await call<ServicesStatus>('services.status');
      expect(services['health']).toMatchObject({ unsent: 0 });
      const { out } = await lab.run([process.execPath, MAIN, 'services', '--sock', socket()]);
      expect(out).toMatch(/^dhcp4:\n {2}offers:/m);
      expect(out).toMatch(/^checks:\n {2}pod-b tcp 8080 +\S+, \d+ \S+ in a row$/m);
    });

    it('the gateway refuses connections, at once', async () => {
      const connect = `import socket; socket.create_connection(('${GATEWAY}', 53), 5)`;
      const { err } = await lab.run([PYTHON, '-c', connect], { namespace: pods.get('pod-a')! });
      expect(err).toContain('ConnectionRefusedError');
    });

    it('a pod that was elsewhere before is told so', async () => {
      const [nak] = await dhcp('pod-a', '10.77.0.1');
      expect(nak).toMatchObject({
        yiaddr: '0.0.0.0',
        to: '255.255.255.255',
        mac: 'ff:ff:ff:ff:ff:ff',
      });
      expect(nak!.options['message-type']).toEqual([6]);
    });

    it('a pod that floods loses its own; its neighbour and the node go on', async () => {
      const before = await call<ServicesStatus>('services.status');
      const flood = lab.run([PYTHON, '-c', FLOOD, '20000'], { namespace: pods.get('pod-a')! });
      const answers = await dhcp('pod-b', 'discover', 'request');
      expect((await flood).out.trim()).toBe('20000');
      expect(answers.map((heard) => heard?.options['message-type'])).toEqual([[2], [5]]);
      // Not of all: what a slow machine does not read in time is dropped by the TAP's own ring.
      await expect.poll(() => drops('Trap Rate Limit'), { timeout: 5000 }).toBeGreaterThan(500);
      const after = await call<ServicesStatus>('services.status');
      const taken = after.agent_vif['received']! - before.agent_vif['received']!;
      expect(taken).toBeGreaterThan(100);
      expect(taken).toBeLessThan(10_000);
    });

    if (!apart) return;
    it('goes on when the forwarder was killed', async () => {
      const pid = forwarderPid();
      process.kill(pid, 'SIGKILL');
      await lab.until(
        'another forwarder',
        async () => (forwarderPid() === pid ? undefined : true),
        START_MS,
      );
      left.push(forwarderPid());
      const heard = await dhcp('pod-a', 'discover', 'request');
      expect(heard.map((one) => one?.options['message-type'])).toEqual([[2], [5]]);
    });

    it('goes on with the next agent, and nothing of the last one is left', async () => {
      process.kill(agent.pid, 'SIGKILL');
      await sleep(300); // its end is not seen: the forwarder has its stderr
      await startAgent();
      await lab.until(
        'the next agent has compared',
        async () => (agent.err().includes('"resumed"') ? true : undefined),
        START_MS,
      );
      // Two TAPs and the uplink stay; the socket of the last agent goes.
      expect(agent.err()).toMatch(/"closed":1,"complete":true/);
      const heard = await dhcp('pod-b', 'discover', 'request');
      expect(heard.map((one) => one?.options['message-type'])).toEqual([[2], [5]]);
    });
  },
);
