/** `vrouter status` and `vrouter support-bundle` of a running node; no root: its ports are memory. */
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { Client } from '../../src/cli/client.ts';
import { Lab } from '../../src/program/lab.ts';

const MAIN = resolve(import.meta.dirname, '../../dist/cli/main.js');

describe('a running node', () => {
  let lab: Lab;
  const run = (...argv: string[]) => lab.run([process.execPath, MAIN, ...argv]);
  const socket = () => lab.path('cent222.sock');
  async function call(method: string, params: unknown): Promise<void> {
    const client = await Client.connect(socket());
    await client.call(method, params);
    client.close();
  }

  beforeAll(async () => {
    lab = new Lab();
    const file = {
      name: 'cent222',
      socket: socket(),
      dataplane: { flow_entries: 1024, buffers: 512 },
      underlay: {
        port: { kind: 'memory' },
        mac: '02:00:00:00:00:20',
        ipv4: '10.169.25.20',
        neighbours: { '10.169.25.21': '02:00:00:00:00:21' },
      },
      vrfs: [{ name: 'red' }],
      vifs: [
        {
          name: 'pod',
          port: { kind: 'memory' },
          vrf: 'red',
          tenant_mac: '02:ed:00:00:00:01',
          ipv4: '10.1.0.1',
          gateway4: '10.1.0.254',
        },
      ],
    };
    writeFileSync(lab.path('node.yaml'), stringify(file));
    lab.start('node', [process.execPath, MAIN, 'node', '--config', lab.path('node.yaml')]);
    const there = lab.until('the node', () => call('status', {}).then(() => true), 20_000);
    await Promise.race([there, lab.broken]);
  });
  afterAll(() => lab.close());

  it('says that all is well, and what is not, by its exit status too', async () => {
    const well = await run('status', '--sock', socket());
    expect(well.out).toMatch(/^All is well\.\n\nname: +cent222$/m);
    expect(well.status).toBe(0);
    const route = { instance: 'red', prefix: '10.1.0.9/32' };
    await call('route.set', { ...route, hops: [{ address: '10.169.25.99', label: 17 }] });
    const ill = await run('status', '--sock', socket());
    expect(ill.out).toMatch(
      /^Not well:\n {2}1 routes with hops that cannot be used, such as 10\.1\.0\.9\/32 in red/,
    );
    expect(ill.status).toBe(1);
    expect(
      JSON.parse((await run('status', '--json', '--sock', socket())).out).problems,
    ).toHaveLength(1);
    await call('route.remove', route);
    expect((await run('status', '--sock', socket())).status).toBe(0);
  });

  it('tells route changes as they come, a line of JSON each', async () => {
    const argv = [process.execPath, MAIN, 'rt', '--monitor', '--count', '2', '--sock', socket()];
    const monitor = lab.start('monitor', argv, { mayEnd: true });
    const route = { instance: 'red', prefix: '10.1.0.8/32' };
    // It may not listen yet: changes until it has told of two.
    let ended = false;
    void monitor.ended.then(() => {
      ended = true;
    });
    for (let i = 0; i < 100 && !ended; i++) {
      await call('route.set', { ...route, hops: [{ address: '10.169.25.21', label: 17 }] });
      await call('route.remove', route);
      await lab.poll(async () => undefined, 60);
    }
    const lines = (await monitor.ended).out
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(lines).toHaveLength(2);
    const at = { family: 'AF_INET', vrf_id: 1, prefix: 32, address: '10.1.0.8' };
    for (const line of lines) expect(line).toMatchObject(at);
    const added = lines.find(({ operation }) => operation === 'add');
    expect(added).toMatchObject({ label: 17, flags: { label_valid: true, arp_trap: false } });
    expect(lines.map(({ operation }) => operation).sort()).toEqual(['add', 'delete']);
  });

  it('shows its limits and networks', async () => {
    const info = (await run('info', '--sock', socket())).out;
    expect(info).toMatch(/^Flow Table limit {25}1024$/m);
    expect(info).toMatch(/^Used VRF tables {26}2$/m);
    expect((await run('vrftable', '--sock', socket())).out).toMatch(/^ {4}1 {4}V .*red$/m);
    const none = await run('vrftable', '--get', '9', '--sock', socket());
    expect([none.status, none.err]).toEqual([1, 'vrouter: vrftable: there is no VRF 9\n']);
  });

  it('is put into one file, with what could not be had named', async () => {
    const out = lab.path('bundle.tar.gz');
    const done = await run(
      'support-bundle',
      '-o',
      out,
      '--sock',
      socket(),
      lab.path('nobody.sock'),
    );
    expect(done.status, done.err).toBe(0);
    expect(done.out).toBe(`${out}\n`);
    expect(done.err).toMatch(/^not in it: .*nobody\.sock: .*no such socket/m);
    execFileSync('tar', ['-xzf', out, '-C', lab.directory, '--strip-components=1']);
    const read = (name: string) => readFileSync(lab.path(name), 'utf8');
    expect(JSON.parse(read('cent222/vif.json')).map((one: { name: string }) => one.name)).toContain(
      'pod',
    );
    expect(read('cent222/vif.txt')).toContain('vif0/');
    expect(read('cent222/rt-1-inet.txt')).toContain('10.1.0.1/32');
    expect(read('cent222/flow.txt')).toContain('Flow table(');
    expect(read('cent222/status.txt')).toMatch(/^All is well/);
    expect(read('host/uname_-a.txt')).toContain('Linux');
    expect(read('errors.txt')).toContain('nobody.sock');
  });

  it('says where it cannot write', async () => {
    const done = await run('support-bundle', '-o', '/nonexistent/x.tar.gz', '--sock', socket());
    expect(done.status).toBe(1);
    expect(done.err).toMatch(/vrouter: \/nonexistent\/x\.tar\.gz: /);
  });
});
