/**
 * `vrouter control` with objects and `vrouter node` with nothing but devices, as processes: the ports come to be, a
 * service is added while they run and works, the control node is killed and comes back with less.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import type { ConfigurationView, VifView } from '../../src/cli/views.ts';
import { Lab, type Service } from '../../src/program/lab.ts';
import { answers, callAt } from '../support/lab.ts';

const MAIN = resolve(import.meta.dirname, '../../dist/cli/main.js');
const PODS = 'default-domain:k8s:pods';
const SERVICES = 'default-domain:k8s:services';
const WEB = 'default-domain:k8s:web';
const VIP = '10.96.0.10';

const web = {
  name: 'web-1:eth0',
  virtual_machine: 'web-1',
  network: PODS,
  mac: '02:00:00:00:00:05',
  addresses: ['10.32.0.5'],
  security_groups: [WEB],
};
const client = {
  name: 'client:eth0',
  virtual_machine: 'client',
  network: PODS,
  mac: '02:00:00:00:00:06',
  addresses: ['10.32.0.6'],
};
const service = {
  name: 'default-domain:k8s:web-service',
  network: SERVICES,
  address: VIP,
  ports: [web.name],
  direction: 'ingress',
  port_mappings: [{ protocol: 'tcp', from: 80, to: 8080 }],
};

const objects = (...ports: readonly object[]) => ({
  networks: [
    { name: PODS, id: 4, subnets: [{ prefix: '10.32.0.0/24', gateway: '10.32.0.1' }] },
    { name: SERVICES, id: 5, subnets: [{ prefix: '10.96.0.0/16' }] },
  ],
  security_groups: [
    {
      name: WEB,
      id: 8_000_001,
      ingress: [{ protocol: 'tcp', ports: [8080, 8080] }, { remote: { group: WEB } }],
      egress: [{}],
    },
  ],
  ports,
  virtual_routers: [{ name: 'compute-1', virtual_machines: ['web-1', 'client'] }],
});

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  const address = server.address();
  await new Promise((done) => server.close(done));
  return typeof address === 'object' && address !== null ? address.port : 0;
}

describe('a node driven by a control node of this house', () => {
  let lab: Lab;
  let directory: string;
  let control: Service;
  let port: number;
  const socket = (name: string) => join(directory, `${name}.sock`);
  const node = <T>(method: string, params: unknown = {}) =>
    callAt<T>(socket('node'), method, params);
  const vrouter = (...argv: string[]) => lab.run([process.execPath, MAIN, ...argv]);
  const configuration = () => node<ConfigurationView>('config.show');
  const vifs = async () => {
    const { items } = await node<{ items: VifView[] }>('vif.list');
    return items.filter(({ type }) => type === 'Virtual');
  };
  const until = (what: string, holds: () => Promise<boolean>) =>
    lab.until(what, async () => ((await holds()) ? true : undefined), 30_000);
  const explain = (dport: string) =>
    vrouter(
      ...['explain', '--sock', socket('node'), '--vif', 'client', '--src', '10.32.0.6'],
      ...['--dst', VIP, '--proto', 'tcp', '--dport', dport],
    );

  async function startControl(...ports: readonly object[]): Promise<void> {
    const file = {
      name: 'cent111',
      socket: socket('exchange'),
      cli: socket('control'),
      log: { level: 'warn' },
      xmpp: { listen: `127.0.0.1:${port}` },
      instances: [],
      objects: objects(...ports),
      connect: [{ between: [`${PODS}:pods`, `${SERVICES}:services`] }],
    };
    writeFileSync(join(directory, 'control.yaml'), stringify(file));
    const argv = [process.execPath, MAIN, 'control', '--config', join(directory, 'control.yaml')];
    control = lab.start('control', argv, { mayEnd: true });
    await answers(lab, 'the control node', socket('control'));
  }

  beforeAll(async () => {
    lab = new Lab();
    directory = mkdtempSync(join(tmpdir(), 'vrouter-configured-'));
    port = await freePort();
    await startControl(web, client);
    const file = {
      name: 'compute-1',
      socket: socket('node'),
      log: { level: 'warn' },
      dataplane: { flow_entries: 4096 },
      underlay: {
        port: { kind: 'memory' },
        mac: '02:00:0a:09:00:01',
        ipv4: '127.0.0.11',
        neighbours: {},
      },
      control: { xmpp: [{ address: '127.0.0.1', port }], settle_seconds: 1, configuration: {} },
      ports: [
        { name: 'web', port: { kind: 'memory' }, vmi: web.name },
        { name: 'client', port: { kind: 'memory' }, vmi: client.name },
      ],
    };
    writeFileSync(join(directory, 'node.yaml'), stringify(file));
    lab.start('node', [process.execPath, MAIN, 'node', '--config', join(directory, 'node.yaml')]);
    await answers(lab, 'the node', socket('node'));
  }, 60_000);
  afterAll(async () => {
    await lab.close();
    rmSync(directory, { recursive: true, force: true });
  });

  it('has its ports when the snapshot has ended', async () => {
    await until('both ports', async () => (await vifs()).length === 2);
    const shown = await configuration();
    expect(shown).toMatchObject({ control: `127.0.0.1:${port}`, state: 'settled' });
    expect(shown.version).toBeGreaterThan(0);
    expect(shown.ports.map(({ vrf, addresses, waiting }) => [vrf, addresses, waiting])).toEqual([
      [`${PODS}:pods`, ['10.32.0.5'], null],
      [`${PODS}:pods`, ['10.32.0.6'], null],
    ]);
    expect(shown.notes).toEqual([]);
    const { out } = await vrouter('config', 'objects', 'security-group', '--sock', socket('node'));
    expect(out).toContain(`security-group ${WEB}\n`);
  }, 60_000);

  it('who comes into the group is let in by it, and shut out when it leaves', async () => {
    const into = (destination: string) =>
      vrouter(
        ...['explain', '--sock', socket('node'), '--vif', 'client', '--src', '10.32.0.6'],
        ...['--dst', destination, '--proto', 'tcp', '--dport', '9999'],
      );
    const LET_IN = 'towards its tenant: passes';
    const change = async (groups: readonly string[]) => {
      const ports = [{ ...client, security_groups: groups }];
      writeFileSync(join(directory, 'client.yaml'), stringify({ ports }));
      const { err } = await vrouter(
        ...['control', 'config', 'apply', join(directory, 'client.yaml')],
        ...['--sock', socket('control')],
      );
      expect(err).toBe('');
    };
    expect((await into('10.32.0.5')).out).toContain('SG');
    await change([WEB]);
    await until('it is let in', async () => (await into('10.32.0.5')).out.includes(LET_IN));
    await change([]);
    await until('it is shut out', async () => (await into('10.32.0.5')).out.includes('SG'));
  }, 60_000);

  it('a service that is added works, and touches nothing else', async () => {
    const before = (await vifs()).map(({ id, name }) => [id, name]);
    writeFileSync(join(directory, 'service.yaml'), stringify({ floating_ips: [service] }));
    const done = await vrouter(
      ...['control', 'config', 'apply', join(directory, 'service.yaml')],
      ...['--sock', socket('control')],
    );
    expect(done.err).toBe('');
    await until('the service', async () => /10\.32\.0\.5:8080/.test((await explain('80')).out));
    expect((await explain('81')).out).toContain('NoFipPortMap');
    expect((await vifs()).map(({ id, name }) => [id, name])).toEqual(before);
  }, 60_000);

  it('killed and back without a port: that one goes, and nothing else moves', async () => {
    const before = (await vifs()).find(({ name }) => name === 'web');
    const labels = () => node<object>('mpls.dump');
    const tables = async () => ({
      labels: await labels(),
      vifs: (await vifs()).map(({ id, name, vrf, ipv4 }) => ({ id, name, vrf, ipv4 })),
    });
    const kept = await tables();
    process.kill(control.pid, 'SIGKILL');
    await control.ended;
    await until('headless', async () => (await configuration()).state === 'headless');
    await sleep(500);
    expect(await tables()).toEqual(kept);
    expect((await explain('80')).out).toContain('10.32.0.5:8080');
    expect((await vrouter('status', '--sock', socket('node'))).out).toContain('headless');
    await startControl(web);
    await until('the sweep', async () => (await vifs()).length === 1);
    expect((await vifs())[0]).toMatchObject({ id: before?.id, name: 'web', vrf: before?.vrf });
    const { ports } = await configuration();
    expect(ports.find((one) => one.port === 'client')?.waiting).toBe(
      `no virtual-machine-interface ${client.name} in the configuration`,
    );
  }, 60_000);
});
