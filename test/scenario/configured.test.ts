/**
 * A node whose ports are what a control node says they are: the control node is a socket and strings, of the ancestor's
 * form (support/scripted-control.ts), the node is a real one with memory ports.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { stringify } from 'yaml';
import { Client } from '../../src/cli/client.ts';
import { run } from '../../src/cli/main.ts';
import type { ConfigurationView, StatusView, VifView } from '../../src/cli/views.ts';
import { type NodeOptions, type RunningProcess, startNode } from '../../src/program/node.ts';
import {
  BLUE,
  BLUE_RI,
  CLIENT,
  CLIENT_CONFIGURATION,
  CONFIGURATION,
  configIqs,
  floatingIp,
  name,
  SERVICES,
  SERVICES_RI,
  VM,
  VMI_UUID,
} from '../support/config-text.ts';
import { ScriptedControl } from '../support/scripted-control.ts';

const QUIET_SECONDS = 1;
const METRICS = 19_474;
const SERVICE = '10.96.0.10';
const ALL = [...CONFIGURATION, ...CLIENT_CONFIGURATION];
const PORT = { port: { kind: 'memory' }, vmi: VMI_UUID, vm: VM };

let directory: string;
let control: ScriptedControl;
let node: RunningProcess;

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'vrouter-configured-'));
  control = await ScriptedControl.listen();
  await start();
});
afterEach(async () => {
  await node.stop();
  await control.close();
  rmSync(directory, { recursive: true, force: true });
});

async function start(more: object = {}, options: NodeOptions = {}): Promise<void> {
  const file = {
    name: 'compute-1',
    socket: join(directory, 'node.sock'),
    log: { level: 'fatal' },
    dataplane: { flow_entries: 4096, seed: 1 },
    underlay: {
      port: { kind: 'memory' },
      mac: '02:00:0a:09:00:01',
      ipv4: '127.0.0.1',
      neighbours: { '192.0.2.12': '02:00:00:00:00:12' },
    },
    control: {
      xmpp: [{ address: '127.0.0.1', port: control.port }],
      settle_seconds: 1,
      configuration: { quiet_seconds: QUIET_SECONDS },
    },
    ports: [{ name: 'client', port: { kind: 'memory' }, vmi: CLIENT }],
    plug: { socket: join(directory, 'plug.sock'), state_dir: join(directory, 'ports') },
    metrics: { port: METRICS },
    ...more,
  };
  const path = join(directory, 'node.yaml');
  writeFileSync(path, stringify(file));
  node = await startNode(path, options);
}

async function call<T>(method: string, params: unknown = {}): Promise<T> {
  const client = await Client.connect(node.socket);
  try {
    return await client.call<T>(method, params);
  } finally {
    client.close();
  }
}

async function vrouter(...argv: string[]) {
  let [out, err, failed] = ['', '', 0];
  const io = {
    out: (text: string) => {
      out += text;
    },
    err: (text: string) => {
      err += text;
    },
    fail: (status = 1) => {
      failed = status;
    },
    env: { VROUTER_SOCK: node.socket },
  };
  const status = await run(argv, io);
  return { out, err, status: status || failed };
}

function plug(method: string, path: string, body?: unknown) {
  return new Promise<{ status: number; body: Record<string, unknown> }>((done, failed) => {
    const text = body === undefined ? undefined : JSON.stringify(body);
    const headers = text === undefined ? {} : { 'content-type': 'application/json' };
    const socketPath = join(directory, 'plug.sock');
    const asked = request({ socketPath, method, path, headers }, (response) => {
      let all = '';
      response.on('data', (part) => {
        all += part;
      });
      response.on('end', () =>
        done({ status: response.statusCode ?? 0, body: all === '' ? {} : JSON.parse(all) }),
      );
    });
    asked.on('error', failed);
    asked.end(text);
  });
}

async function until(what: string, holds: () => Promise<boolean>, ms = 8000): Promise<void> {
  const end = Date.now() + ms;
  while (!(await holds())) {
    if (Date.now() > end) throw new Error(`never: ${what}`);
    await sleep(20);
  }
}

const configuration = () => call<ConfigurationView>('config.show');
const generation = async () => (await call<StatusView>('status')).generation;
const tenants = async () => {
  const { items } = await call<{ items: VifView[] }>('vif.list');
  return items.filter(({ type }) => type === 'Virtual');
};
const forwards = (...names: string[]) =>
  until(`vifs ${names}`, async () => {
    const found = (await tenants()).map((vif) => vif.name).sort();
    return JSON.stringify(found) === JSON.stringify(names.sort());
  });
/** All that the data plane holds, but for counters. */
async function tables(): Promise<unknown> {
  const vifs = (await tenants()).map(({ id, name: vif, vrf, ipv4 }) => ({ id, vif, vrf, ipv4 }));
  const hops = await call<{ items: object[] }>('nh.list');
  const labels = await call<{ items: object[] }>('mpls.dump');
  return { vifs, hops: hops.items, labels: labels.items };
}
const subscribed = (sessions = 1) =>
  control.until(
    () => count('virtual-router:default-global-system-config:compute-1') === sessions,
    'subscription',
  );
const count = (text: string) => control.stanzas.filter((stanza) => stanza.includes(text)).length;
/** Nothing more is under way: what was said has been taken, and has had its time. */
async function taken(messages: number): Promise<void> {
  await until(
    `${messages} messages`,
    async () => (await configuration()).counters.messages >= messages,
  );
  await sleep(120);
}
const IQS = configIqs(ALL).length;

/** The label by which this node's service is published. */
function publishedLabel(): string {
  const publish = control.stanzas.find((s) =>
    s.includes(`<publish node="1/1/${SERVICES_RI}/${SERVICE}/32">`),
  );
  return /<label>(\d+)<\/label>/.exec(publish ?? '')?.[1] ?? '';
}

const explain = (...more: string[]) =>
  vrouter('explain', '--vif', 'client', '--src', '10.32.0.6', '--proto', 'tcp', ...more);

test('a port plugged before its configuration waits, and is told why; then its service works', async () => {
  const added = await plug('PUT', '/v1/ports/pod1', PORT);
  expect(added).toMatchObject({ status: 202, body: { outcome: 'added', state: 'waiting' } });
  expect(added.body.error).toContain(`no virtual-machine-interface ${VMI_UUID}`);
  await subscribed();
  await control.until(
    () => count(`<subscribe node="virtual-machine:${VM}" />`) === 1,
    'its machine',
  );
  expect((await vrouter('port', 'list', '--plug', join(directory, 'plug.sock'))).out).toMatch(
    /pod1 +waiting .*no virtual-machine-interface/,
  );
  expect((await vrouter('status')).out).toMatch(
    /ports that wait for their configuration: .*pod1 \(no/,
  );
  expect((await vrouter('why', 'pod1', '10.32.0.6')).err).toContain(
    'pod1 on compute-1 waits for its configuration',
  );
  expect((await plug('GET', '/v1/ports/pod1/wait?timeout_ms=50')).body.detail).toContain(
    'no virtual-machine-interface',
  );

  const metrics = await (await fetch(`http://127.0.0.1:${METRICS}/metrics`)).text();
  expect(metrics).toMatch(/^vrouter_ports_waiting\{.*\} 2$/m);
  const waiting = plug('GET', '/v1/ports/pod1/wait?timeout_ms=5000');
  control.config(ALL);
  expect(await waiting).toMatchObject({ status: 200, body: { state: 'programmed' } });
  await forwards('client', 'pod1');
  const shown = await vrouter('config', 'show');
  expect(shown.out).toContain(`pod1    ${BLUE_RI} 10.32.0.5 (${VMI_UUID})`);
  expect(shown.out).toContain(`from 127.0.0.1:${control.port}: it is still being told`);
  expect(shown.out).toContain(
    'rule 2 (r-1) lets nothing pass: virtual network default-domain:far:green',
  );

  await control.until(() => publishedLabel() !== '', 'the service published');
  await control.until(() => count(`<subscribe node="${BLUE_RI}">`) === 1, 'its network');
  const publish = (node: string) =>
    control.stanzas.find((s) => s.includes(`<publish node="${node}">`));
  // Rules of other nodes go by the network and by the groups that a route says.
  for (const [route, network] of [
    [`1/1/${BLUE_RI}/10.32.0.5/32`, BLUE],
    [`1/1/${SERVICES_RI}/${SERVICE}/32`, SERVICES],
    ['25/242/02:ef:1e:98:28:05,10.32.0.5/32', BLUE],
  ] as const) {
    await control.until(() => publish(route) !== undefined, route);
    expect(publish(route)).toContain(`<virtual-network>${network}</virtual-network>`);
    expect(publish(route)).toContain(
      '<security-group-list><security-group>8000001</security-group></security-group-list>',
    );
  }
  control.inet(BLUE_RI, `${SERVICE}/32`, [`127.0.0.1:${publishedLabel()}`]);
  control.endOfRib();
  await until('the route', async () => {
    const { out } = await explain('--dst', SERVICE, '--dport', '80');
    return /10\.32\.0\.5:8080/.test(out);
  });
  const { out } = await explain('--dst', SERVICE, '--dport', '80');
  expect(out).toMatch(/policy +vif0\/\d+, towards its tenant: pass/);
  expect((await explain('--dst', SERVICE, '--dport', '81')).out).toContain('NoFipPortMap');
  expect((await explain('--dst', '10.32.0.5', '--dport', '22')).out).toMatch(/\bSG\b/);
  // Unplugged: it goes, and its service with it.
  expect((await plug('DELETE', '/v1/ports/pod1')).status).toBe(204);
  await forwards('client');
  await control.until(
    () => count(`<unsubscribe node="virtual-machine:${VM}" />`) === 1,
    'its machine left',
  );
  await control.until(() => count(`<unsubscribe node="${SERVICES_RI}">`) === 1, 'the network left');
});

test('configuration first, the port later; the same again changes nothing, a service only its own', async () => {
  await subscribed();
  control.config(ALL);
  await forwards('client');
  const added = await plug('PUT', '/v1/ports/pod1', PORT);
  expect(added).toMatchObject({ status: 201, body: { state: 'programmed' } });
  expect((await plug('PUT', '/v1/ports/pod1', PORT)).body).toMatchObject({ outcome: 'same' });
  await forwards('client', 'pod1');
  const [before, at] = [await tables(), await generation()];

  control.config([...ALL].reverse());
  await taken(2 * IQS);
  expect(await generation()).toBe(at);
  expect(await tables()).toEqual(before);

  control.config([floatingIp(9090)]);
  await until('another program', async () => (await generation()) !== at);
  expect(await tables()).toEqual(before);
  expect(await generation()).toBe((at ?? 0) + 1);

  // What it lacks, it waits for; what comes back, it is again.
  control.config([], [name('instance-ip', 'iip-client')]);
  await forwards('pod1');
  expect((await configuration()).ports.find(({ port }) => port === 'client')?.waiting).toBe(
    `${CLIENT} has no instance-ip, so far`,
  );
  control.config(CLIENT_CONFIGURATION);
  await forwards('client', 'pod1');
});

test('a control node that is back without some of it: swept at the end and not before; without one all stays', async () => {
  await subscribed();
  control.config(ALL);
  await plug('PUT', '/v1/ports/pod1', PORT);
  await forwards('client', 'pod1');
  await until('settled', async () => (await configuration()).state === 'settled');
  const [before, at] = [await tables(), await generation()];
  control.kill();
  await until('headless', async () => (await configuration()).state === 'headless');
  await subscribed(2);
  expect(count(`<subscribe node="virtual-machine:${VM}" />`)).toBe(2);
  // Without the client's address, and in another order.
  const rest = ALL.filter((text) => !text.includes('iip-client')).reverse();
  control.config(rest);
  await taken(IQS + configIqs(rest).length);
  expect(await generation()).toBe(at);
  expect(await tables()).toEqual(before);
  await forwards('pod1');
  const swept = await configuration();
  expect(swept).toMatchObject({ state: 'settled', counters: { swept: 1 } });
  expect(await tables()).toEqual({
    ...(before as object),
    ...((await tables()) as object),
    vifs: (before as { vifs: { vif: string }[] }).vifs.filter(({ vif }) => vif === 'pod1'),
  });
});

test('an agent that comes back to its forwarder has its ports under their ids, and nothing moves', async () => {
  await node.stop();
  const forwarder = {
    socket: join(directory, 'forwarder'),
    flow_file: join(directory, 'flows'),
  };
  const sessions = count('virtual-router:') + 1;
  await start({ forwarder }, { leaveForwarder: true });
  await subscribed(sessions);
  control.config(ALL);
  await plug('PUT', '/v1/ports/pod1', PORT);
  await forwards('client', 'pod1');
  const [before, at] = [await tables(), await generation()];
  await node.stop();
  await start({ forwarder });
  await subscribed(sessions + 1);
  expect(await tables()).toEqual(before); // and it knows nothing yet
  control.config(ALL);
  control.endOfRib();
  await until('programmed', async () =>
    (await configuration()).ports.every(({ waiting }) => waiting === null),
  );
  await sleep(500);
  expect(await tables()).toEqual(before);
  expect(await generation()).toBe(at);
});

test('a port that the host does not have waits and is named; the others are as they were', async () => {
  await subscribed();
  control.config(ALL);
  await forwards('client');
  const before = await tables();
  const device = { kind: 'af_packet', interface: 'nosuch0' };
  const added = await plug('PUT', '/v1/ports/pod1', { ...PORT, port: device });
  expect(added).toMatchObject({ status: 202, body: { state: 'waiting' } });
  expect(added.body.error).toContain('nosuch0');
  expect((await configuration()).notes.map(({ object }) => object)).toContain('vif pod1');
  await forwards('client');
  expect((await tables()) as { vifs: object }).toMatchObject({
    vifs: (before as { vifs: object }).vifs,
  });
  await plug('DELETE', '/v1/ports/pod1');
  await plug('PUT', '/v1/ports/pod1', PORT);
  await forwards('client', 'pod1');
});

test('what is wrong with a plugged port is said by its keys', async () => {
  expect(await plug('PUT', '/v1/ports/x', { ...PORT, vrf: 'red' })).toMatchObject({
    status: 400,
    body: { code: 'BAD_CONFIG', detail: expect.stringContaining('unknown key "vrf"') },
  });
  expect((await plug('PUT', '/v1/ports/client', PORT)).status).toBe(409);
  await plug('PUT', '/v1/ports/pod1', PORT);
  expect((await plug('PUT', '/v1/ports/pod1', { ...PORT, port: { kind: 'pcap' } })).status).toBe(
    409,
  );
  expect((await plug('PUT', '/v1/ports/pod1', { ...PORT, mtu: 1400 })).body).toMatchObject({
    outcome: 'changed',
  });
  const whole = { port: { kind: 'memory' }, vrf: 'red', tenant_mac: '02:00:00:00:00:07' };
  expect((await plug('PUT', '/v1/ports/pod1', whole)).status).toBe(409);
});
