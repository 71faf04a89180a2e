/**
 * `vrouter node` and `vrouter control` as a user has them: configuration files, sockets, the command line.
 * Two nodes and an exchange in this process; packets come from pcap files.
 */
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Client } from '../../src/cli/client.ts';
import { buildFrame } from '../../src/cli/frame.ts';
import type { Io } from '../../src/cli/io.ts';
import { run } from '../../src/cli/main.ts';
import type { FlowView, NextHopView, RouteView, StatusView, VifView } from '../../src/cli/views.ts';
import { PcapWriter } from '../../src/codec/pcap.ts';
import { startControl } from '../../src/program/control.ts';
import { type RunningProcess, startNode } from '../../src/program/node.ts';

const PODS = 'k8s-default-pod-network';
const SERVICES = 'k8s-default-service-network';
const SERVICE = '10.105.139.153';

let work: string;
let control: RunningProcess;
let near: RunningProcess;
let far: RunningProcess;

async function vrouter(argv: string[], env: NodeJS.ProcessEnv = {}) {
  let out = '';
  let err = '';
  const io: Io = {
    out: (text) => {
      out += text;
    },
    err: (text) => {
      err += text;
    },
    env,
    fail: () => {},
  };
  const status = await run(argv, io);
  return { status, out, err };
}

async function call<T>(process: RunningProcess, method: string, params: unknown = {}): Promise<T> {
  const client = await Client.connect(process.socket);
  try {
    return await client.call<T>(method, params);
  } finally {
    client.close();
  }
}

async function until(what: string, test: () => Promise<boolean>): Promise<void> {
  for (let i = 0; i < 200; i++) {
    if (await test()) return;
    await sleep(25);
  }
  throw new Error(`never: ${what}`);
}

function path(name: string): string {
  return join(work, name);
}

function write(name: string, text: string): string {
  writeFileSync(path(name), text);
  return path(name);
}

/** TCP SYNs of the client, to the service and to a port it does not have. */
function clientPackets(): string {
  const writer = new PcapWriter();
  for (let i = 0; i < 60; i++) {
    const frame = buildFrame({
      sourceMac: '02:00:00:00:02:37',
      destinationMac: '00:00:5e:00:01:00',
      source: '10.47.255.237',
      destination: SERVICE,
      protocol: 'tcp',
      sourcePort: 40_000 + i,
      destinationPort: i < 50 ? 8888 : 8889,
      flags: 'S',
      ttl: 64,
      payload: new Uint8Array(0),
    });
    writer.add(1_700_000_000_000_000_000n + BigInt(i) * 1000n, frame);
  }
  writeFileSync(path('client.pcap'), writer.bytes());
  return path('client.pcap');
}

function nodeFile(name: string, last: number): string {
  const peer = last === 20 ? 21 : 20;
  return write(
    `${name}.yaml`,
    `name: ${name}
socket: ${path(`${name}.sock`)}
log: {level: silent}
dataplane: {flow_entries: 4096, seed: 7}
underlay:
  port: {kind: memory}
  mac: 02:00:00:00:00:${last}
  ipv4: 10.169.25.${last}
  neighbours: {10.169.25.${peer}: 02:00:00:00:00:${peer}}
exchange: {socket: ${path('exchange')}}
vrfs: [{name: ${PODS}}, {name: ${SERVICES}}]
routes:
  - {instance: ${PODS}, prefix: 10.99.0.0/16, hops: [{address: 10.169.25.${peer}, label: 900}]}
vifs:
  - name: web${last}
    port: {kind: memory}
    vrf: ${PODS}
    tenant_mac: 02:00:00:00:01:${last}
    ipv4: 10.47.255.${last === 20 ? 236 : 238}
    gateway4: 10.47.255.254
    floating_ips:
      - {address: ${SERVICE}, vrf: ${SERVICES}, leak_to: [${PODS}], ports: [{protocol: tcp, port: 8888, to_port: 80}]}
`,
  );
}

beforeAll(async () => {
  work = mkdtempSync(join(tmpdir(), 'vrouter-node-'));
  control = await startControl(
    write(
      'control.yaml',
      `name: cent111
socket: ${path('exchange')}
cli: ${path('cent111.sock')}
log: {level: silent}
instances:
  - {name: ${PODS}}
  - {name: ${SERVICES}}
connect:
  - {between: [${PODS}, ${SERVICES}]}
`,
    ),
  );
  near = await startNode(nodeFile('cent222', 20));
  far = await startNode(nodeFile('cent333', 21));
});

afterAll(async () => {
  await near?.stop();
  await far?.stop();
  await control?.stop();
  rmSync(work, { recursive: true, force: true });
});

const vrfOf = async (name: string): Promise<number> => {
  const rows = await call<{ vrf: number; name: string }[]>(near, 'vrfstats.dump');
  return rows.find((row) => row.name === name)?.vrf ?? -1;
};
const service = async (): Promise<RouteView | undefined> => {
  const page = await call<{ items: RouteView[] }>(near, 'rt.dump', { vrf: await vrfOf(PODS) });
  return page.items.find((route) => route.prefix === `${SERVICE}/32`);
};
const serviceMembers = async (): Promise<NextHopView[]> => {
  const route = await service();
  return route === undefined ? [] : call<NextHopView[]>(near, 'nh.get', { id: route.nextHop });
};

describe('a cluster of two nodes and an exchange', () => {
  it('learns the service from both nodes: a composite of a tunnel and a local interface', async () => {
    await until('two members', async () => (await serviceMembers())[0]?.slots?.length === 2);
    const [composite, ...members] = await serviceMembers();
    expect(composite?.type).toBe('ecmp');
    expect(members.map((member) => member.type).sort()).toEqual(['interface', 'tunnel']);
    expect(members.find((member) => member.type === 'tunnel')).toMatchObject({
      source: '10.169.25.20',
      destination: '10.169.25.21',
      flags: expect.arrayContaining(['MPLSoUDP']),
    });
  });

  it('shows a static route from the file beside those it learned', async () => {
    const text = await vrouter(['rt', '--dump', String(await vrfOf(PODS)), '--sock', near.socket]);
    expect(text.out).toMatch(/^10\.99\.0\.0\/16 +16 +L? +900 /m);
    expect(text.out).toMatch(/^10\.47\.255\.238\/32/m);
  });

  it('takes a vif at run time; its packets make flows, translated or refused by name', async () => {
    const added = await call<{ generation: number; port: number }>(near, 'vif.add', {
      name: 'client',
      port: { kind: 'pcap', read: clientPackets(), write: path('client-out.pcap') },
      vrf: PODS,
      tenant_mac: '02:00:00:00:02:37',
      ipv4: '10.47.255.237',
      gateway4: '10.47.255.254',
    });
    expect(added.generation).toBeGreaterThan(0);
    await until('60 flows', async () => {
      const status = await call<StatusView>(near, 'status');
      return status.flows.used >= 120;
    });
    const page = await call<{ items: FlowView[] }>(near, 'flow.list', { match: `${SERVICE}:8888` });
    const first = page.items.filter((flow) => flow.initiator);
    expect(first).toHaveLength(50);
    // Some to the backend here, translated here; the others leave untranslated with a member and a label.
    expect(new Set(first.map((flow) => flow.action))).toEqual(new Set(['F', 'N']));
    const away = first.filter((flow) => flow.action === 'F');
    expect(away.every((flow) => flow.member >= 0 && flow.label !== null)).toBe(true);
    const refused = await call<{ items: FlowView[] }>(near, 'flow.list', {
      match: `${SERVICE}:8889`,
    });
    // The far node refuses what goes there; here, those the local backend was chosen for.
    const dropped = refused.items.filter((flow) => flow.action === 'D');
    expect(dropped.length).toBeGreaterThan(0);
    expect(dropped.every((flow) => flow.drop === 'NoFipPortMap')).toBe(true);
  });

  it('scales the backends at run time', async () => {
    await call(far, 'vif.add', {
      name: 'web3',
      port: { kind: 'memory' },
      vrf: PODS,
      tenant_mac: '02:00:00:00:01:99',
      ipv4: '10.47.255.239',
    });
    const fip = {
      address: SERVICE,
      vrf: SERVICES,
      leak_to: [PODS],
      ports: [{ protocol: 'tcp', port: 8888, to_port: 80 }],
    };
    await call(far, 'fip.add', { vif: 'web3', ...fip });
    await until('three members', async () => (await serviceMembers())[0]?.slots?.length === 3);
    await call(far, 'fip.remove', { vif: 'web3', address: SERVICE });
    await call(far, 'vif.remove', { name: 'web3' });
    await until('two members', async () => (await serviceMembers())[0]?.slots?.length === 2);
    // The port went with the vif: its name can be used again.
    await call(far, 'vif.add', {
      name: 'web3',
      port: { kind: 'memory' },
      vrf: PODS,
      tenant_mac: '02:00:00:00:01:99',
      ipv4: '10.47.255.239',
    });
    await call(far, 'vif.remove', { name: 'web3' });
  });

  it('leaves nothing of an intent that is refused', async () => {
    const before = await call<StatusView>(near, 'status');
    const vifs = await call<{ items: VifView[] }>(near, 'vif.list');
    await expect(
      call(near, 'vif.add', {
        name: 'lost',
        port: { kind: 'memory' },
        vrf: 'no-such-network',
        tenant_mac: '02:00:00:00:02:38',
      }),
    ).rejects.toThrow(/no-such-network/);
    await expect(
      call(near, 'vif.add', {
        name: 'lost',
        port: { kind: 'af_packet', interface: 'no-such-if' },
        vrf: PODS,
        tenant_mac: '02:00:00:00:02:38',
      }),
    ).rejects.toThrow(/vif lost: port/);
    const after = await call<StatusView>(near, 'status');
    expect(after.generation).toBe(before.generation);
    expect((await call<{ items: VifView[] }>(near, 'vif.list')).items).toHaveLength(
      vifs.items.length,
    );
  });

  it('refuses unknown keys and methods with the nearest known one', async () => {
    await expect(call(near, 'vif.ad', {})).rejects.toMatchObject({
      code: 'UNKNOWN_METHOD',
      message: expect.stringContaining('did you mean "vif.add"?'),
    });
    await expect(call(near, 'vif.get', { idd: 1 })).rejects.toMatchObject({
      code: 'BAD_CONFIG',
      message: expect.stringContaining('did you mean "id"?'),
    });
    await expect(call(near, 'vif.get', { id: 4000 })).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });

  it('tells of itself', async () => {
    const status = await call<StatusView>(near, 'status');
    expect(status).toMatchObject({ name: 'cent222', exchange: 'connected', unresolved: 0 });
    const exchange = await call<{ sessions: string[]; instances: number }>(control, 'status');
    expect(exchange).toMatchObject({ sessions: ['cent222', 'cent333'], instances: 2 });
    const text = await vrouter(['status', '--sock', control.socket]);
    expect(text.out).toMatch(/^sessions: +cent222, cent333$/m);
  });

  it('changes links and instances of the exchange while it runs', async () => {
    const link = { between: [PODS, SERVICES] };
    const own = await service();
    expect(own).toBeDefined();
    await call(control, 'link.remove', link);
    await expect(call(control, 'link.remove', link)).rejects.toMatchObject({ code: 'NOT_FOUND' });
    await call(control, 'link.add', link);
    await call(control, 'instance.add', { name: 'blue', import: ['64512:1'], export: ['64512:1'] });
    const list = await call<{ name: string }[]>(control, 'instance.list');
    expect(list.map((instance) => instance.name)).toContain('blue');
    await call(control, 'instance.remove', { name: 'blue' });
    const routes = await call<{ prefix: string }[]>(control, 'instance.routes', { instance: PODS });
    expect(routes.map((route) => route.prefix)).toContain(`${SERVICE}/32`);
  });
});

describe('the command line against a node', () => {
  const view = (...argv: string[]) => vrouter([...argv, '--sock', near.socket]);

  it('prints every view as text, and the same as JSON', async () => {
    const pods = String(await vrfOf(PODS));
    const [label] = JSON.parse((await view('mpls', '--dump', '--json')).out) as { label: number }[];
    const [flow] = (await call<{ items: FlowView[] }>(near, 'flow.list')).items;
    const views: [string[], RegExp][] = [
      [['vif', '--list'], /^Vrouter Interface Table\n\nFlags: P=Policy[\s\S]*^vif0\/0 /m],
      [
        ['vif', '--get', '0'],
        /^ {12}Type:Physical HWaddr:02:00:00:00:00:20 IPaddr:10\.169\.25\.20$/m,
      ],
      [['vif', '--get', '0', '--get-drop-stats'], /^ {12}Flow Action Drop +\d+$/m],
      [['nh', '--list'], /^Id:0 +Type:Drop /m],
      [['nh', '--get', String((await service())?.nextHop)], /Sub NH\(label\): \d+/],
      [['rt', '--dump', pods], /^vRouter inet4 routing table 0\/\d+\/unicast$/m],
      [['rt', '--dump', pods, '--family', 'inet6'], /^vRouter inet6 routing table/m],
      [['rt', '--dump', pods, '--family', 'bridge'], /^vRouter bridge table 0\/\d+$/m],
      [
        ['rt', '--get', `${SERVICE}/32`, '--vrf', pods],
        /^Match 10\.105\.139\.153\/32 in vRouter inet4 table/,
      ],
      [['rt', '--get', '10.99.1.2', '--vrf', pods], /^10\.99\.1\.2\/32 +16 /m],
      [['flow', '-l'], /^Flow table\(size \d+, entries 4096\)$/m],
      [
        ['flow', '--match', `${SERVICE}:8888 & proto tcp`],
        /^Listing flows matching \(\[10\.105\.139\.153\]:8888, Protocol TCP\)$/m,
      ],
      [['flow', '--get', String(flow?.index)], /^Flow Protocol: +TCP$/m],
      [['flow', '-s'], /^Flow Statistics$/m],
      [['flow', '-r', '--count', '1'], /Entries = +\d+ Rate = /],
      [['mpls', '--dump'], /^MPLS Input Label Map$/m],
      [['mpls', '--get', String(label?.label)], new RegExp(`^ +${label?.label} +\\d+$`, 'm')],
      [['vxlan', '--dump'], /^VXLAN Table$/m],
      [['dropstats'], /^Flow Action Drop +\d+$/m],
      [['vrfstats', '--get', pods], /^Ecmp Composites \d+, /m],
      [['vrfstats', '--dump'], /^Vrf: 0$/m],
      [['status'], /^name: +cent222$/m],
    ];
    for (const [argv, expected] of views) {
      const text = await view(...argv);
      expect(text, argv.join(' ')).toMatchObject({ status: 0, err: '' });
      expect(text.out, argv.join(' ')).toMatch(expected);
      const json = await view(...argv, '--json');
      expect(() => JSON.parse(json.out), argv.join(' ')).not.toThrow();
    }
  }, 60_000);

  it('measures rates', async () => {
    const { out } = await view('vif', '--list', '--rate');
    expect(out).toMatch(/^Interface rate statistics$/m);
  });

  it('explains a packet in the running node, and changes nothing', async () => {
    const before = await call<StatusView>(near, 'status');
    const { out, status } = await view(
      'explain',
      '--vif',
      'client',
      '--src',
      '10.47.255.237',
      '--dst',
      SERVICE,
      '--dport',
      '8888',
      '--sport',
      '33333',
    );
    expect(status).toBe(0);
    expect(out).toMatch(/^parse +10\.47\.255\.237 -> 10\.105\.139\.153/m);
    expect((await call<StatusView>(near, 'status')).flows.used).toBe(before.flows.used);
  });

  it('ends one flow, then all; clears counters', async () => {
    const { items } = await call<{ items: FlowView[] }>(near, 'flow.list');
    const index = String(items[0]?.index);
    expect((await view('flow', '-i', index)).out).toBe(`Flow ${index} deleted\n`);
    expect((await view('flow', '-i', index)).err).toBe(`vrouter: there is no flow ${index}\n`);
    await view('flow', '-F');
    expect((await call<StatusView>(near, 'status')).flows.used).toBe(0);
    await view('dropstats', '--clear');
    expect((await view('dropstats')).out).toBe('');
  });

  it('finds its socket in the environment, and says when there is none', async () => {
    expect((await vrouter(['status'], { VROUTER_SOCK: near.socket })).status).toBe(0);
    const wrong = await vrouter(['status', '--sock', path('nobody.sock')]);
    expect(wrong.status).toBe(1);
    expect(wrong.err).toMatch(/nobody\.sock: there is no such socket; is `vrouter node` running\?/);
  });
});

describe('the socket', () => {
  it('is for its user only, and one process at a time', async () => {
    expect(statSync(near.socket).mode & 0o777).toBe(0o600);
    await expect(startNode(path('cent222.yaml'))).rejects.toThrow(
      /another process serves this socket/,
    );
    // The one that serves was not disturbed.
    expect((await call<StatusView>(near, 'status')).name).toBe('cent222');
  });

  it('ends a client that talks nonsense, and no other', async () => {
    const answers: string[] = [];
    const socket = connect(near.socket);
    socket.on('data', (chunk) => answers.push(chunk.toString()));
    socket.write(
      'this is not JSON\n{"id":1,"method":"status"}\n{"id":2,"method":"status","parms":1}\n',
    );
    await until('three answers', async () => answers.join('').split('\n').length === 4);
    const lines = answers
      .join('')
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(lines.find((line) => line.id === 1)?.result.name).toBe('cent222');
    expect(lines.filter((line) => line.error?.code === 'BAD_TEXT')).toHaveLength(2);
    const closed = new Promise((resolve) => socket.once('close', resolve));
    socket.write('x'.repeat((1 << 20) + 1));
    await closed;
    expect(answers.join('')).toContain('line: longer than');
    expect((await call<StatusView>(near, 'status')).name).toBe('cent222');
  });

  it('serves many clients at once, and refuses those past its limit', async () => {
    const clients = await Promise.all(
      Array.from({ length: 70 }, () => Client.connect(near.socket)),
    );
    const answers = await Promise.allSettled(clients.map((client) => client.call('status')));
    const served = answers.filter((answer) => answer.status === 'fulfilled').length;
    expect(served).toBe(64);
    for (const client of clients) client.close();
    await until('room again', async () => {
      try {
        await call(near, 'status');
        return true;
      } catch {
        return false;
      }
    });
  });

  it('goes when the node is told to end', async () => {
    const config = write(
      'brief.yaml',
      `name: brief
socket: ${path('brief.sock')}
log: {level: silent}
dataplane: {flow_entries: 1024}
underlay: {port: {kind: memory}, mac: 02:00:00:00:00:31, ipv4: 10.169.25.31, neighbours: {}}
`,
    );
    const listeners = new Set(process.listeners('SIGTERM'));
    const ended = vrouter(['node', '--config', config]);
    await until('it listens', async () => existsSync(path('brief.sock')));
    await until(
      'it waits for a signal',
      async () => process.listeners('SIGTERM').length > listeners.size,
    );
    for (const listener of process.listeners('SIGTERM')) {
      if (!listeners.has(listener)) listener('SIGTERM');
    }
    expect((await ended).status).toBe(0);
    expect(existsSync(path('brief.sock'))).toBe(false);
  });

  it('refuses a wrong file with its place, and starts nothing', async () => {
    const config = write(
      'wrong.yaml',
      'name: x\nunderlay:\n  port: {kind: memory}\n  mac: 02:00\n  colour: red\n',
    );
    const { status, err } = await vrouter(['node', '--config', config]);
    expect(status).toBe(1);
    expect(err).toContain(`${config}:4: underlay.mac:`);
    expect(err).toContain(`${config}:5: underlay.colour: unknown key`);
  });
});
