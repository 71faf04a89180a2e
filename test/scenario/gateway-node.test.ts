/**
 * A gateway as a process with a file and a socket, beside a control node: both in this process, BGP over loopback. What
 * the data plane does with the routes is loadbalancer's to show; here is what a user says and sees.
 */
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { stringify } from 'yaml';
import type { Io } from '../../src/cli/io.ts';
import { run } from '../../src/cli/main.ts';
import type { NextHopView, RouteView, StatusView } from '../../src/cli/views.ts';
import { type RunningControl, startControl } from '../../src/program/control.ts';
import { type RunningProcess, startNode } from '../../src/program/node.ts';
import { connectExchange } from '../../src/rib/connect.ts';
import type { RouteSource } from '../../src/rib/route.ts';
import { callAt } from '../support/lab.ts';

const AS = 64512;
const VIP = '101.101.101.252/32';
const RT = '64512:10101';
const NODE = '10.169.25.20';
const GATEWAY = '192.168.0.204';

let work: string;
let control: RunningControl;
let gateway: RunningProcess;
let stopped: boolean;
/** Of a compute node. */
let agent: RouteSource;

const write = (name: string, file: object): string => {
  const path = join(work, `${name}.yaml`);
  writeFileSync(path, stringify(file));
  return path;
};

const gatewayFile = (more: object = {}) => ({
  ...{ name: 'gateway', socket: join(work, 'gateway.sock'), log: { level: 'silent' } },
  dataplane: { flow_entries: 1024, buffers: 256 },
  underlay: {
    port: { kind: 'memory' },
    ...{ mac: '52:54:00:00:02:04', ipv4: GATEWAY, encaps: ['gre', 'udp'] },
    neighbours: { '10.169.25.0/24': '52:54:00:00:00:01' },
  },
  bgp: {
    ...{ as: AS, router_id: GATEWAY, listen: [] },
    neighbors: [
      {
        ...{ name: 'cent111', address: '127.0.0.2', port: control.bgpPorts?.[0], as: AS },
        local_address: '127.0.0.3',
      },
    ],
  },
  vrfs: [{ name: 'internet', import: [RT], export: [RT] }],
  vifs: [
    {
      ...{ name: 'upstream', vrf: 'internet', tenant_mac: '02:00:00:00:99:07' },
      port: { kind: 'memory' },
      ...{ ipv4: '203.0.113.1', gateway4: '203.0.113.254', prefixes: ['0.0.0.0/0'] },
    },
  ],
  ...more,
});

beforeEach(async () => {
  stopped = false;
  work = mkdtempSync(join(tmpdir(), 'vrouter-gateway-'));
  control = await startControl(
    write('control', {
      ...{ name: 'cent111', socket: join(work, 'exchange'), cli: join(work, 'cent111.sock') },
      log: { level: 'silent' },
      instances: [{ name: 'vn-ns-default', import: [RT], export: [RT] }],
      bgp: {
        ...{ as: AS, router_id: '10.169.25.19', listen: ['127.0.0.2:0'] },
        ranges: [{ name: 'local', prefix: '127.0.0.0/8', as: AS }],
      },
    }),
  );
  agent = connectExchange({ path: join(work, 'exchange'), name: 'cent222' });
  agent.subscribe('vn-ns-default', 1);
  say(16);
});

afterEach(async () => {
  if (!stopped) await gateway?.stop();
  agent.close();
  await control.stop();
  rmSync(work, { recursive: true });
});

const say = (label: number, address = NODE) =>
  agent.publish({
    ...{ instance: 'vn-ns-default', family: 'inet', prefix: VIP },
    hops: [{ address, label, encaps: ['udp', 'gre'] }],
  });

async function until<T>(what: string, ask: () => Promise<T | undefined>): Promise<T> {
  for (let i = 0; i < 400; i++) {
    const answer = await ask();
    if (answer !== undefined) return answer;
    await sleep(25);
  }
  throw new Error(`never: ${what}`);
}

const start = async (more: object = {}) => {
  gateway = await startNode(write('gateway', gatewayFile(more)));
};
const call = <T>(method: string, params: unknown = {}) => callAt<T>(gateway.socket, method, params);
const refused = (method: string, params: unknown) =>
  call(method, params).then(
    () => 'taken',
    (error: Error) => error.message,
  );

/** The service's way out of a VRF: `MPLSoGRE NODE label N`. */
async function way(name = 'internet'): Promise<string | undefined> {
  const vrfs = await call<{ vrf: number; name: string }[]>('vrfstats.dump');
  const vrf = vrfs.find((each) => each.name === name)?.vrf;
  const { items } = await call<{ items: RouteView[] }>('rt.dump', { vrf });
  const route = items.find(({ prefix }) => prefix === VIP);
  if (route === undefined) return undefined;
  // It may be another by now.
  const [nextHop] = await call<NextHopView[]>('nh.get', { id: route.nextHop }).catch(() => []);
  if (nextHop === undefined) return way(name);
  const kind = nextHop?.flags.find((flag) => flag.startsWith('MPLSo'));
  return `${kind} ${nextHop?.destination} label ${route.label}`;
}

const seenByControl = async () => {
  const routes = await callAt<{ prefix: string; hops: { address: string }[] }[]>(
    control.socket,
    'instance.routes',
    { instance: 'vn-ns-default' },
  );
  return routes
    .filter(({ hops }) => hops[0]?.address === GATEWAY)
    .map(({ prefix }) => prefix)
    .sort();
};

async function vrouter(...argv: string[]) {
  let out = '';
  const io: Io = {
    out: (text) => {
      out += text;
    },
    err: () => {},
    env: { VROUTER_SOCK: gateway.socket },
    fail: () => {},
  };
  return { status: await run(argv, io), out };
}

test('routes cross both ways, and follow what is said', async () => {
  await start();
  expect(await until('the service', () => way())).toBe(`MPLSoGRE ${NODE} label 16`);
  say(17);
  await until('its new label', async () => ((await way())?.endsWith(' 17') ? true : undefined));
  const own = ['0.0.0.0/0', '203.0.113.1/32'];
  await until('own routes', async () => ((await seenByControl()).length === 2 ? true : undefined));
  expect(await seenByControl()).toEqual(own);
  agent.withdraw({ instance: 'vn-ns-default', family: 'inet', prefix: VIP });
  await until('its end', async () => ((await way()) === undefined ? true : undefined));
});

test('ends with IPv6 addresses are reached from the one of the same family', async () => {
  const far = '2001:db8::20';
  say(18, far);
  const { underlay } = gatewayFile();
  const neighbours = { ...underlay.neighbours, '2001:db8::/64': '52:54:00:00:00:01' };
  await start({ underlay: { ...underlay, ipv6: '2001:db8::204', neighbours } });
  expect(await until('the service', () => way())).toBe(`MPLSoGRE ${far} label 18`);
  await gateway.stop();
  const { ipv4: _, ...six } = underlay;
  await start({ underlay: { ...six, ipv6: '2001:db8::204', neighbours } });
  expect(await until('the service', () => way())).toBe(`MPLSoGRE ${far} label 18`);
  const seen = async () => {
    const routes = await callAt<{ prefix: string; hops: { address: string }[] }[]>(
      ...([control.socket, 'instance.routes', { instance: 'vn-ns-default' }] as const),
    );
    return routes.find(({ prefix }) => prefix === '0.0.0.0/0')?.hops[0]?.address;
  };
  await until('own routes', seen);
  expect(await seen()).toBe('2001:db8::204');
});

test('neighbours and routes are shown, and neighbours that are away are no good', async () => {
  await start();
  await until('the service', () => way());
  expect((await call<StatusView>('status')).bgp).toEqual([
    { name: 'cent111', state: 'established' },
  ]);
  expect((await call<StatusView>('status')).problems).toEqual([]);
  expect((await vrouter('bgp', 'neighbors')).out).toMatch(/cent111 .*established/i);
  expect((await vrouter('bgp', 'routes', VIP)).out).toContain(`next-hop ${NODE} label 16`);
  expect((await vrouter('bgp', 'received', 'cent111')).out).toContain(RT);
  expect((await vrouter('bgp', 'advertised', 'cent111')).out).toContain(`${GATEWAY}:1 0.0.0.0/0`);
  expect(await vrouter('bgp', 'neighbor', 'disable', 'cent111')).toMatchObject({ status: 0 });
  expect((await call<StatusView>('status')).bgp).toEqual([{ name: 'cent111', state: 'disabled' }]);
  await until('its end', async () => ((await way()) === undefined ? true : undefined));
  await vrouter('bgp', 'neighbor', 'enable', 'cent111');
  expect((await call<StatusView>('status')).problems).toContain('no BGP session with cent111');
  expect(await until('the service', () => way())).toBe(`MPLSoGRE ${NODE} label 16`);
});

test('VRFs with targets come and go while it runs', async () => {
  await start();
  await until('the service', () => way());
  await call('vrf.add', { name: 'other', import: [RT] });
  expect(await until('the service', () => way('other'))).toBe(`MPLSoGRE ${NODE} label 16`);
  await call('vrf.remove', { name: 'other' });
  await call('vrf.add', { name: 'other', import: ['64512:9'] });
  await call('route.unresolved');
  expect(await way('other')).toBeUndefined();
  expect(await refused('vrf.add', { name: 'other' })).toMatch(/exists already/);
  expect(await refused('vrf.add', { name: 'third', export: ['x'] })).toMatch(/export/);
});

test('when it stops its routes go, with it and not by the hold time', async () => {
  await start();
  await until('own routes', async () => ((await seenByControl()).length === 2 ? true : undefined));
  await gateway.stop();
  stopped = true;
  await until('their end', async () => ((await seenByControl()).length === 0 ? true : undefined));
});

test('a node without bgp says so', async () => {
  const { bgp: _, vrfs: __, vifs: ___, ...plain } = gatewayFile();
  gateway = await startNode(write('gateway', plain));
  expect(await refused('vrf.add', { name: 'red', import: [RT] })).toMatch(
    /import: the node file has no bgp/,
  );
  expect(await refused('bgp.neighbors', {})).toMatch(/no method|unknown|there is no/i);
  expect((await call<StatusView>('status')).bgp).toBeUndefined();
});

test('its neighbours are among its metrics, under the names that a control node has for them', async () => {
  const port = await freePort();
  await start({ metrics: { port } });
  await until('a way', async () => ((await way()) === undefined ? undefined : true));
  const page = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
  const sample = (name: string, labels: string) =>
    new RegExp(`^vrouter_control_bgp_${name}\\{${labels}[^}]*\\} (\\S+)$`, 'm').exec(page)?.[1];
  expect(page).toMatch(/^vrouter_dataplane_up\{node="gateway"\} 1$/m);
  expect(sample('up', 'neighbour="cent111"')).toBe('1');
  expect(sample('routes', 'neighbour="cent111",family="vpnv4",what="accepted"')).toBe('1');
  expect(sample('sessions_total', 'state="up"')).toBe('1');
  expect(sample('bridged_routes', 'what="learned"')).toBe('1');
});

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}
