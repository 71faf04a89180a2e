/**
 * `vrouter why` against what is really wrong: two nodes, control and pods on real kernels. Each set-up is
 * broken in one way, a real attempt (ping, curl) shows that it is, `why` must name that cause and no other,
 * and when it is mended both must work again.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { CAUSES } from '../../src/cli/why/causes.ts';
import type { WhyView } from '../../src/cli/why/walk.ts';
import { Lab, type Service } from '../../src/program/lab.ts';
import { connectVeth, type NetworkNamespace } from '../../src/program/netns.ts';

const MAIN = resolve(import.meta.dirname, '../../dist/cli/main.js');
const START_MS = 20_000;
const NODE = { a: '10.169.25.20', b: '10.169.25.21' } as const;
const NODE6 = { a: 'fd00:169::20', b: 'fd00:169::21' } as const;
const NODE_MAC = { a: '02:00:00:00:00:20', b: '02:00:00:00:00:21' } as const;
type Id = keyof typeof NODE;
const SERVICE = '10.3.0.1';
const GATEWAY = '10.1.0.254';
/** Of the pods `client` and `web`, and their gateway's. */
const IPV6 = { client: 'fd00:1::1', web: 'fd00:1::2' } as const;
const GATEWAY6 = 'fd00:1::fe';
/** By pod: its node, network and address. */
const PODS = {
  client: { node: 'a', vrf: 'red', ipv4: '10.1.0.1', mac: '02:ed:00:00:00:01' },
  small: { node: 'a', vrf: 'red', ipv4: '10.1.0.3', mac: '02:ed:00:00:00:03' },
  web: { node: 'b', vrf: 'red', ipv4: '10.1.0.2', mac: '02:ed:00:00:00:02' },
  other: { node: 'b', vrf: 'blue', ipv4: '10.2.0.1', mac: '02:ed:00:00:00:04' },
  inet: { node: 'b', vrf: 'ext', ipv4: '203.0.113.1', mac: '02:ed:00:00:00:05' },
} as const;
type Pod = keyof typeof PODS;
const TARGET = {
  red: 'target:64512:1',
  blue: 'target:64512:2',
  svc: 'target:64512:3',
  ext: 'target:64512:4',
};
const HTTP = `
for (const port of [80, 8080]) require('node:http').createServer((_, r) => r.end('hello\\n')).listen(port, '0.0.0.0', () => console.log('ready'));
`;
/** So many flows as there are ports: each a datagram of its own. */
const DATAGRAMS = `
import socket, sys
for i in range(int(sys.argv[2])):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.bind(('', 41000 + i))
    s.sendto(b'x', (sys.argv[1], 7000))
`;

import { callAt, whyNot } from '../support/lab.ts';

const reason = whyNot('python3', 'ping', 'curl');

describe.skipIf(reason !== undefined)('why', () => {
  let lab: Lab;
  const nodes = new Map<Id, NetworkNamespace>();
  const pods = new Map<Pod, NetworkNamespace>();
  const services: Service[] = [];
  const socketOf = (name: string) => lab.path(`${name}.sock`);
  const everyone = () => ['a', 'b', 'control'].map(socketOf);

  const call = <T>(name: string, method: string, params: unknown) =>
    callAt<T>(socketOf(name), method, params);

  const inPod = (pod: Pod, ...argv: string[]) => lab.run(argv, { namespace: pods.get(pod) });
  const pings = async (pod: Pod, to: string, ...more: string[]) =>
    (await inPod(pod, 'ping', '-c', '1', '-W', '1', ...more, to)).status === 0;
  const curls = async (pod: Pod, to: string) =>
    (await inPod(pod, 'curl', '-s', '-m', '1', '-o', '/dev/null', `http://${to}/`)).status === 0;

  async function why(...argv: string[]): Promise<{ status: number | null; view: WhyView }> {
    const sockets = argv.includes('--sock') ? [] : ['--sock', ...everyone()];
    const command = [process.execPath, MAIN, 'why', ...argv, '--json', ...sockets];
    const { status, out, err } = await lab.run(command);
    if (out === '') throw new Error(err);
    return { status, view: JSON.parse(out) as WhyView };
  }

  const policy = (name: string, rules: unknown[]) => call('b', 'policy.set', { name, rules });
  const target = (name: string, imports: string[]) =>
    call('control', 'instance.update', {
      name,
      import: imports,
      export: [TARGET[name as keyof typeof TARGET]],
    });
  const RED_IMPORTS = [TARGET.red, TARGET.blue, TARGET.svc];
  const BLUE_IMPORTS = [TARGET.blue, TARGET.red];

  beforeAll(async () => {
    if (!existsSync(MAIN)) throw new Error('dist/cli/main.js is not built: node scripts/setup.mjs');
    lab = new Lab();
    for (const id of ['a', 'b'] as const) nodes.set(id, await lab.namespace(id));
    for (const pod of Object.keys(PODS) as Pod[]) pods.set(pod, await lab.namespace(`p-${pod}`));
    await connectVeth(
      { namespace: nodes.get('a') as NetworkNamespace, name: 'eth1', mac: NODE_MAC.a },
      { namespace: nodes.get('b') as NetworkNamespace, name: 'eth1', mac: NODE_MAC.b },
    );
    const control = {
      name: 'control',
      socket: lab.path('exchange'),
      cli: socketOf('control'),
      instances: [
        { name: 'red', import: RED_IMPORTS, export: [TARGET.red] },
        { name: 'blue', import: BLUE_IMPORTS, export: [TARGET.blue] },
        { name: 'svc', import: [TARGET.svc, TARGET.red], export: [TARGET.svc] },
        { name: 'ext', import: [TARGET.ext], export: [TARGET.ext] },
      ],
    };
    writeFileSync(lab.path('control.yaml'), stringify(control));
    lab.start('control', [process.execPath, MAIN, 'control', '--config', lab.path('control.yaml')]);
    for (const id of ['a', 'b'] as const) {
      const peer = id === 'a' ? 'b' : 'a';
      await nodes.get(id)?.ip('link', 'set', 'eth1', 'up');
      const file = {
        name: id,
        socket: socketOf(id),
        dataplane: { flow_entries: 65_536 },
        underlay: {
          port: { kind: 'af_packet', interface: 'eth1' },
          mac: NODE_MAC[id],
          ipv4: NODE[id],
          ipv6: NODE6[id],
          // The far end's IPv6 address has another MAC here than it has there: for one of the set-ups.
          neighbours: { [NODE[peer]]: NODE_MAC[peer], [NODE6[peer]]: '02:00:00:00:00:99' },
        },
        exchange: { socket: lab.path('exchange') },
        vrfs: ['red', 'blue', 'svc', 'ext'].map((name) => ({ name })),
        policies: [
          { name: 'all', rules: [{ action: 'pass' }] },
          { name: 'in', rules: [{ action: 'pass' }] },
        ],
        vifs: (Object.keys(PODS) as Pod[])
          .filter((pod) => PODS[pod].node === id)
          .map((pod) => ({
            name: pod,
            port: { kind: 'tap', name: 'eth0', netns: pods.get(pod)?.name, mtu: 1500 },
            vrf: PODS[pod].vrf,
            tenant_mac: PODS[pod].mac,
            ipv4: PODS[pod].ipv4,
            gateway4: GATEWAY,
            ...(pod === 'client' || pod === 'web' ? { ipv6: IPV6[pod], gateway6: GATEWAY6 } : {}),
            ...(pod === 'small' ? { flow_quota: 8 } : {}),
            ...(pod === 'web'
              ? {
                  network_policies: ['all'],
                  ingress_groups: ['in'],
                  floating_ips: [
                    {
                      address: SERVICE,
                      vrf: 'svc',
                      ports: [{ protocol: 'tcp', port: 8888, to_port: 80 }],
                      leak_to: ['red'],
                    },
                  ],
                }
              : {}),
          })),
        ...(id === 'a'
          ? {
              source_nats: [
                {
                  name: 'out',
                  vrf: 'red',
                  to_vrf: 'ext',
                  address: '100.64.0.1',
                  ports: [2000, 2003],
                },
              ],
            }
          : {}),
      };
      writeFileSync(lab.path(`${id}.yaml`), stringify(file));
      const argv = [process.execPath, MAIN, 'node', '--config', lab.path(`${id}.yaml`)];
      services.push(lab.start(id, argv, { namespace: nodes.get(id) }));
      const connected = lab.until(
        `node ${id}`,
        async () =>
          (await call<{ exchange: string }>(id, 'status', {})).exchange === 'connected'
            ? true
            : undefined,
        START_MS,
      );
      await Promise.race([connected, lab.broken]);
    }
    for (const [name, { ipv4, mac }] of Object.entries(PODS)) {
      const pod = pods.get(name as Pod) as NetworkNamespace;
      await pod.ip('link', 'set', 'eth0', 'address', mac);
      await pod.ip('link', 'set', 'eth0', 'up');
      await pod.ip('addr', 'add', `${ipv4}/32`, 'dev', 'eth0');
      await pod.ip('route', 'add', `${GATEWAY}/32`, 'dev', 'eth0');
      await pod.ip('route', 'add', 'default', 'via', GATEWAY);
      const ipv6 = IPV6[name as keyof typeof IPV6];
      if (ipv6 === undefined) continue;
      await pod.set('net/ipv6/conf/eth0/disable_ipv6', '0');
      await pod.ip('addr', 'add', `${ipv6}/64`, 'dev', 'eth0', 'nodad');
      await pod.ip('-6', 'route', 'add', 'default', 'via', GATEWAY6);
    }
    const web = lab.start('http', [process.execPath, '-e', HTTP], { namespace: pods.get('web') });
    await lab.until('http', async () => (web.out().includes('ready') ? true : undefined), START_MS);
    await lab.until(
      'the pods reach each other',
      async () => ((await pings('client', PODS.web.ipv4)) ? true : undefined),
      START_MS,
    );
  }, 60_000);

  afterAll(async () => {
    for (const service of services) await service.stop();
    await lab?.close();
  });

  interface SetUp {
    readonly code: keyof typeof CAUSES;
    readonly what: string;
    readonly ask: string[];
    /** The real thing. */
    readonly tries: () => Promise<boolean>;
    readonly break?: () => Promise<unknown>;
    readonly mend?: () => Promise<unknown>;
    /** Where it is to be found, when the cause alone does not say. */
    readonly node?: string;
    readonly direction?: 'there' | 'back';
    readonly detail?: RegExp;
  }
  const webPod = () => pods.get('web') as NetworkNamespace;
  const staticRoute = (prefix: string, address: string, label: number) =>
    call('a', 'route.set', { instance: 'red', prefix, hops: [{ address, label }] });
  const noRoute = (prefix: string) => call('a', 'route.remove', { instance: 'red', prefix });

  const SET_UPS: readonly SetUp[] = [
    {
      code: 'no_route',
      what: 'nobody has the address',
      ask: ['client', '10.1.0.99'],
      tries: () => pings('client', '10.1.0.99'),
    },
    {
      code: 'no_route',
      what: 'nobody has the IPv6 address',
      ask: ['client', 'fd00:2::99'],
      tries: () => pings('client', 'fd00:2::99'),
    },
    {
      code: 'too_big',
      what: 'the same over IPv6',
      ask: ['client', IPV6.web, '--size', '1500'],
      // The kernel learns the size from the first answer and splits then: so in one piece, once.
      tries: () => pings('client', IPV6.web, '-M', 'do', '-s', '1452'),
      detail: /at most 1468 bytes pass; the sender is told by ICMPv6/,
    },
    {
      code: 'not_imported',
      what: 'the target of the other network is not imported',
      ask: ['client', PODS.other.ipv4],
      tries: () => pings('client', PODS.other.ipv4),
      break: () => target('red', [TARGET.red, TARGET.svc]),
      mend: () => target('red', RED_IMPORTS),
      node: 'a',
    },
    {
      code: 'not_imported',
      what: 'the way back is not imported',
      ask: ['client', PODS.other.ipv4],
      tries: () => pings('client', PODS.other.ipv4),
      break: () => target('blue', [TARGET.blue]),
      mend: () => target('blue', BLUE_IMPORTS),
      node: 'b',
    },
    {
      code: 'policy',
      what: 'a network policy of the receiver denies the port',
      ask: ['client', PODS.web.ipv4, 'tcp', '80'],
      tries: () => curls('client', PODS.web.ipv4),
      break: () =>
        policy('all', [
          { action: 'deny', protocol: 'tcp', destination_ports: [80, 80] },
          { action: 'pass' },
        ]),
      mend: () => policy('all', [{ action: 'pass' }]),
      node: 'b',
    },
    {
      code: 'security_group',
      what: 'the security group of the receiver lets others in only',
      ask: ['client', PODS.web.ipv4, 'tcp', '80'],
      tries: () => curls('client', PODS.web.ipv4),
      break: () => policy('in', [{ action: 'pass', source: '10.9.0.0/16' }]),
      mend: () => policy('in', [{ action: 'pass' }]),
      node: 'b',
    },
    {
      code: 'wrong_source',
      what: 'the sender uses an address that is not its own',
      ask: ['client', PODS.web.ipv4, '--from', '10.1.0.77'],
      tries: () => pings('client', PODS.web.ipv4, '-I', '10.1.0.77'),
      break: () => pods.get('client')!.ip('addr', 'add', '10.1.0.77/32', 'dev', 'eth0'),
      node: 'a',
    },
    {
      code: 'too_big',
      what: 'a packet that may not be split is larger than the tunnel takes',
      ask: ['client', PODS.web.ipv4, '--size', '1500'],
      tries: () => pings('client', PODS.web.ipv4, '-M', 'do', '-s', '1472'),
      detail: /at most 1468 bytes pass; the sender is told/,
    },
    {
      code: 'receiver_down',
      what: "the receiver's interface is down",
      ask: ['client', PODS.web.ipv4, 'tcp', '80'],
      tries: () => curls('client', PODS.web.ipv4),
      break: () => webPod().ip('link', 'set', 'eth0', 'down'),
      mend: async () => {
        await webPod().ip('link', 'set', 'eth0', 'up');
        await webPod().ip('route', 'add', `${GATEWAY}/32`, 'dev', 'eth0');
        await webPod().ip('route', 'add', 'default', 'via', GATEWAY);
      },
      node: 'b',
    },
    {
      code: 'no_answer',
      what: 'a dead backend: the receiver is there and silent',
      ask: ['client', PODS.web.ipv4],
      tries: async () => {
        const answered = await pings('client', PODS.web.ipv4);
        await sleep(1100);
        return answered;
      },
      break: () => webPod().set('net/ipv4/icmp_echo_ignore_all', '1'),
      mend: () => webPod().set('net/ipv4/icmp_echo_ignore_all', '0'),
      direction: 'back',
    },
    {
      code: 'refused',
      what: 'a dead backend: nothing listens',
      ask: ['client', PODS.web.ipv4, 'tcp', '81'],
      tries: () => curls('client', `${PODS.web.ipv4}:81`),
      direction: 'back',
    },
    {
      code: 'unmapped_port',
      what: 'the floating IP does not map the port',
      ask: ['client', SERVICE, 'tcp', '9999'],
      tries: () => curls('client', `${SERVICE}:9999`),
      node: 'b',
    },
    {
      code: 'quota',
      what: 'the flow quota of the sender is used up',
      ask: ['small', PODS.web.ipv4],
      tries: () => pings('small', PODS.web.ipv4),
      break: () => inPod('small', 'python3', '-c', DATAGRAMS, PODS.web.ipv4, '12'),
      mend: () => call('a', 'flow.flush', {}),
      node: 'a',
    },
    {
      code: 'nat_ports',
      what: 'the source NAT has no port left',
      ask: ['client', PODS.inet.ipv4, 'udp', '7000'],
      tries: async () => {
        // The reply to a datagram nobody waits for, ICMP, shows that it arrived.
        const probe = `import socket\ns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\ns.settimeout(1)\ns.connect(('${PODS.inet.ipv4}', 7000))\ns.send(b'x')\ns.recv(1)`;
        const { err } = await inPod('client', 'python3', '-c', probe);
        return err.includes('ConnectionRefused');
      },
      break: () => inPod('client', 'python3', '-c', DATAGRAMS, PODS.inet.ipv4, '4'),
      mend: () => call('a', 'flow.flush', {}),
      node: 'a',
    },
    {
      code: 'unresolved_hop',
      what: 'a route to a far end that the underlay does not know',
      ask: ['client', '10.1.0.50'],
      tries: () => pings('client', '10.1.0.50'),
      break: () => staticRoute('10.1.0.50/32', '10.169.25.99', 20),
      mend: () => noRoute('10.1.0.50/32'),
      node: 'a',
    },
    {
      code: 'stale_label',
      what: 'a label that the far node has not given out',
      ask: ['client', '10.1.0.51'],
      tries: () => pings('client', '10.1.0.51'),
      break: () => staticRoute('10.1.0.51/32', NODE.b, 999),
      mend: () => noRoute('10.1.0.51/32'),
      node: 'b',
    },
    {
      code: 'wrong_neighbour',
      what: 'the MAC of the far end is not its own',
      ask: ['client', '10.1.0.52'],
      tries: () => pings('client', '10.1.0.52'),
      break: () => staticRoute('10.1.0.52/32', NODE6.b, 16),
      mend: () => noRoute('10.1.0.52/32'),
      node: 'b',
    },
    {
      code: 'uplink_down',
      what: "the node's uplink is down",
      ask: ['client', PODS.web.ipv4, 'tcp', '80'],
      tries: () => curls('client', PODS.web.ipv4),
      break: () => nodes.get('a')!.ip('link', 'set', 'eth1', 'down'),
      mend: () => nodes.get('a')!.ip('link', 'set', 'eth1', 'up'),
      node: 'a',
    },
    {
      code: 'sender_down',
      what: "the sender's own interface is down",
      ask: ['small', PODS.web.ipv4],
      tries: () => pings('small', PODS.web.ipv4),
      break: () => pods.get('small')!.ip('link', 'set', 'eth0', 'down'),
      mend: async () => {
        const pod = pods.get('small')!;
        await pod.ip('link', 'set', 'eth0', 'up');
        await pod.ip('route', 'add', `${GATEWAY}/32`, 'dev', 'eth0');
        await pod.ip('route', 'add', 'default', 'via', GATEWAY);
      },
      node: 'a',
    },
  ];

  it('says that it works where it does, through NAT too', async () => {
    expect(await pings('client', PODS.other.ipv4)).toBe(true);
    expect(await curls('client', `${SERVICE}:8888`)).toBe(true);
    for (const ask of [
      ['client', PODS.web.ipv4],
      ['client', PODS.other.ipv4],
      [PODS.client.ipv4, SERVICE, 'tcp', '8888'],
      ['web', 'client', 'tcp', '22'],
      ['client', IPV6.web],
      [IPV6.web, IPV6.client, 'udp', '53'],
      ['client', PODS.inet.ipv4, 'udp', '7000'],
    ]) {
      const { status, view } = await why(...ask);
      expect(view, ask.join(' ')).toMatchObject({ verdict: 'works', cause: null });
      expect(status).toBe(0);
      expect(view.hops.map(({ direction }) => direction)).toEqual([
        'there',
        'there',
        'back',
        'back',
      ]);
    }
  });

  it.each(SET_UPS)('$code: $what', async (setUp) => {
    if (setUp.break !== undefined && setUp.mend !== undefined) {
      expect((await why(...setUp.ask)).view.cause?.code, 'before').not.toBe(setUp.code);
    }
    await setUp.break?.();
    try {
      await sleep(100);
      expect(await setUp.tries(), 'the real thing works').toBe(false);
      const { status, view } = await why(...setUp.ask);
      expect(view.cause, JSON.stringify(view, null, 1)).toMatchObject({
        code: setUp.code,
        ...(setUp.node === undefined ? {} : { node: setUp.node }),
        direction: setUp.direction ?? 'there',
      });
      expect(view.cause?.detail).toMatch(setUp.detail ?? /./);
      expect(status).toBe(1);
    } finally {
      await setUp.mend?.();
    }
    const works = [
      'policy',
      'security_group',
      'not_imported',
      'receiver_down',
      'no_answer',
      'uplink_down',
      'sender_down',
      'quota',
      'nat_ports',
    ];
    if (works.includes(setUp.code)) {
      await lab.until('mended', async () => ((await setUp.tries()) ? true : undefined), START_MS);
      const { view } = await why(...setUp.ask);
      expect(view.verdict, JSON.stringify(view, null, 1)).toBe('works');
    }
  });

  it('finds a network that is not imported from the nodes alone', async () => {
    await target('red', [TARGET.red, TARGET.svc]);
    try {
      const { view } = await why('client', PODS.other.ipv4, '--sock', socketOf('a'), socketOf('b'));
      expect(view.cause).toMatchObject({ code: 'not_imported', node: 'a' });
      expect(view.cause?.detail).toContain('blue (b) has 10.2.0.1');
    } finally {
      await target('red', RED_IMPORTS);
    }
  });

  it('says what it cannot know: a far node that was not asked', async () => {
    const { status, view } = await why('client', PODS.web.ipv4, '--sock', socketOf('a'));
    expect(view).toMatchObject({ verdict: 'unknown', unknown: { code: 'far_end_not_asked' } });
    expect(view.unknown?.detail).toContain(NODE.b);
    expect(status).toBe(2);
  });

  it('changes nothing', async () => {
    const seen = async () => ({
      totals: (await call<{ totals: unknown }>('b', 'status', {})).totals,
      flows: await Promise.all(
        ['a', 'b'].map(async (id) => (await call<{ items: unknown[] }>(id, 'flow.list', {})).items),
      ),
    });
    // A kernel may have something to say meanwhile, but not each time.
    const changed = async () => {
      await call('a', 'flow.flush', {});
      await call('b', 'flow.flush', {});
      const before = await seen();
      await why('client', SERVICE, 'tcp', '8888');
      const after = await seen();
      return {
        before,
        after,
        same: isDeepStrictEqual(before, after) && after.flows.flat().length === 0,
      };
    };
    await expect.poll(changed, { timeout: 20_000 }).toMatchObject({ same: true });
  });

  it('has a row for every cause in its page', () => {
    const page = readFileSync(resolve(import.meta.dirname, '../../docs/why.md'), 'utf8');
    for (const [code, { what, help }] of Object.entries(CAUSES))
      expect(page).toContain(`| \`${code}\` | ${what} | ${help} |`);
  });

  it('is read by people', async () => {
    const argv = [MAIN, 'why', 'client', SERVICE, 'tcp', '9999', '--sock', ...everyone()];
    const { out, status } = await lab.run([process.execPath, ...argv]);
    expect(status).toBe(1);
    expect(out).toContain('10.1.0.1 (client on a) to 10.3.0.1, tcp 9999');
    expect(out).toMatch(/^there a {2}client -> fabric {4}/m);
    expect(out).toContain('It does not: the floating IP has no such port (unmapped_port).');
    const unknown = await lab.run([
      process.execPath,
      MAIN,
      'why',
      'clinet',
      '10.0.0.1',
      '--sock',
      socketOf('a'),
    ]);
    expect(unknown.status).toBe(1);
    expect(unknown.err).toContain('did you mean "client"');
  });
});
