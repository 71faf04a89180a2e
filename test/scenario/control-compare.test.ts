/**
 * `vrouter control compare` of two control nodes to which the same agents speak over TCP: in step, and by name what
 * one has and the other has not.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Client } from '../../src/cli/client.ts';
import type { Comparison } from '../../src/cli/control-compare.ts';
import { run } from '../../src/cli/main.ts';
import { type RunningControl, startControl } from '../../src/program/control.ts';
import { type Publish, ScriptedAgent } from '../support/scripted-agent.ts';

const VIP = '10.96.0.10/32';
const SIDES = [0, 1] as const;
type Side = (typeof SIDES)[number];

let directory: string;
let controls: RunningControl[];
const open: ScriptedAgent[] = [];
const socketOf = (side: Side) => join(directory, `cli-${side}`);

/** An agent's sessions with both. */
class Agent {
  readonly at: ScriptedAgent[] = [];

  static async connect(name: string, id: number): Promise<Agent> {
    const agent = new Agent();
    for (const side of SIDES) {
      const session = await ScriptedAgent.connect(name, controls[side]?.xmppPort as number);
      for (const instance of ['blue', 'red']) session.subscribe(instance, id);
      agent.at.push(session);
      open.push(session);
    }
    return agent;
  }

  say(instance: string, publish: Publish): void {
    for (const session of this.at) session.inet(instance, publish);
  }

  async told(side: Side, text: string): Promise<void> {
    const session = this.at[side] as ScriptedAgent;
    await session.until(() => session.messages.some((m) => m.includes(text)), text);
  }
}

async function compare(...more: string[]) {
  let out = '';
  const statuses: number[] = [];
  const io = {
    out: (text: string) => {
      out += text;
    },
    err: (text: string) => {
      out += text;
    },
    env: {},
    fail: (status = 1) => statuses.push(status),
  };
  const again = more.includes('--again') ? [] : ['--again', '0'];
  await run(['control', 'compare', socketOf(0), socketOf(1), ...again, ...more], io);
  return { out, status: statuses[0] ?? 0 };
}

async function ask(side: Side, method: string, params: unknown): Promise<unknown> {
  const client = await Client.connect(socketOf(side));
  try {
    return await client.call(method, params);
  } finally {
    client.close();
  }
}

async function digestOf(side: Side): Promise<string | undefined> {
  const page = await fetch(`http://127.0.0.1:${controls[side]?.metricsPort}/metrics`);
  return /^vrouter_control_digest\S* (\d+)$/m.exec(await page.text())?.[1];
}

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'vrouter-compare-'));
  controls = [];
  for (const side of SIDES) {
    const file = join(directory, `${side}.yaml`);
    // The second has them in another order, and so other numbers for targets.
    const names = side === 0 ? ['blue', 'red'] : ['red', 'blue'];
    writeFileSync(
      file,
      `name: cent11${side}
socket: ${directory}/exchange-${side}
cli: ${socketOf(side)}
log: { level: silent }
metrics: { port: 0 }
xmpp: { listen: '127.0.0.1:0' }
instances: [${names.map((name) => `{ name: ${name} }`).join(', ')}]
`,
    );
    controls.push(await startControl(file));
  }
});
afterEach(async () => {
  for (const session of open.splice(0)) session.destroy();
  for (const control of controls) await control.stop();
  rmSync(directory, { recursive: true, force: true });
});

test('the same is in step, and says so to Prometheus', async () => {
  const [one, two] = [await Agent.connect('compute-1', 1), await Agent.connect('compute-2', 2)];
  one.say('blue', { address: VIP, label: 25 });
  two.say('blue', { address: VIP, label: 31, hop: '192.0.2.12' });
  for (const side of SIDES) await one.told(side, '<label>31</label>');
  expect(await compare()).toEqual({
    out: 'cent110 and cent111 are in step: 2 instances, 2 paths\n',
    status: 0,
  });
  expect(await digestOf(0)).toMatch(/^[1-9]\d*$/);
  expect(await digestOf(0)).toBe(await digestOf(1));
  await ask(1, 'instance.add', { name: 'green' });
  expect(await digestOf(0)).not.toBe(await digestOf(1));
});

test('paths: missing, other, and used at one only', async () => {
  const [one, two] = [await Agent.connect('compute-1', 1), await Agent.connect('compute-2', 2)];
  one.say('blue', { address: VIP, label: 25 });
  one.at[0]?.inet('blue', { address: '10.0.0.1/32', label: 26 });
  one.at[1]?.inet('red', { address: '10.0.0.2/32', label: 27 });
  two.at[0]?.inet('blue', { address: VIP, label: 31, hop: '192.0.2.12' });
  two.at[1]?.inet('blue', {
    address: VIP,
    label: 31,
    hop: '192.0.2.12',
    more: '<local-preference>200</local-preference>',
  });
  two.at[0]?.inet('red', { address: '10.0.0.9/32', label: 40 });
  two.at[1]?.inet('red', { address: '10.0.0.9/32', label: 41 });
  await one.told(0, '<label>40</label>');
  await one.told(1, '<label>41</label>');
  const { out, status } = await compare();
  expect(status).toBe(1);
  const short = out.replaceAll(/ +/g, ' ').replaceAll(/ lp \d.*/g, '');
  expect(short).toBe(
    [
      'a: cent110',
      'b: cent111',
      'blue',
      ' inet 10.0.0.1/32',
      ' a only best compute-1 127.0.0.1:1 192.0.2.11 label 26 (udp)',
      ` inet ${VIP}`,
      ' a best compute-1 127.0.0.1:1 192.0.2.11 label 25 (udp)',
      ' b lost: local-preference compute-1 127.0.0.1:1 192.0.2.11 label 25 (udp)',
      ' a ecmp compute-2 127.0.0.1:2 192.0.2.12 label 31 (udp)',
      ' b best compute-2 127.0.0.1:2 192.0.2.12 label 31 (udp)',
      'red',
      ' inet 10.0.0.2/32',
      ' b only best compute-1 127.0.0.1:1 192.0.2.11 label 27 (udp)',
      ' inet 10.0.0.9/32',
      ' a best compute-2 127.0.0.1:2 192.0.2.11 label 40 (udp)',
      ' b best compute-2 127.0.0.1:2 192.0.2.11 label 41 (udp)',
      '5 differences: 2 instances, 4 paths',
      '',
    ].join('\n'),
  );
});

test('instances, targets and links that were changed over the API at one of them', async () => {
  await ask(1, 'instance.add', { name: 'green', import: ['1:1'], export: ['1:1'] });
  await ask(1, 'instance.update', { name: 'red', import: ['1:1', '1:2'], export: [] });
  expect(await compare()).toMatchObject({ status: 1 });
  await ask(0, 'instance.add', { name: 'green', import: ['1:1'], export: ['1:1'] });
  await ask(0, 'link.add', { between: ['blue', 'green'] });
  const { out, status } = await compare('--json');
  expect(status).toBe(1);
  expect(JSON.parse(out)).toMatchObject({
    a: 'cent110',
    b: 'cent111',
    instances: 3,
    more: 0,
    differences: [
      { instance: 'blue', setting: 'connected', a: ['green'], b: [] },
      { instance: 'green', setting: 'connected', a: ['blue'], b: [] },
      { instance: 'red', setting: 'import', a: ['automatic'], b: ['1:1', '1:2'] },
      { instance: 'red', setting: 'export', a: ['automatic'], b: [] },
    ],
  });
  await ask(1, 'instance.remove', { name: 'green' });
  expect((await compare()).out).toContain('green\n  configured: a yes  b no\n');
});

test('long tables are read in pages; more differences than are named are counted', async () => {
  const one = await Agent.connect('compute-1', 1);
  // 600 each: 100 that the other has not, and 50 with another label, on the second page.
  const route = (i: number) => ({ address: `10.1.${i >> 8}.${i & 255}/32`, label: 100 + i });
  for (let i = 0; i < 700; i++) {
    if (i >= 100) one.at[0]?.inet('blue', route(i));
    const { address, label } = route(i);
    const other = i >= 562 && i < 612 ? 10_000 : 0;
    if (i < 100 || i >= 200) one.at[1]?.inet('blue', { address, label: label + other });
  }
  for (const side of SIDES) await one.told(side, '10.1.2.187/32');
  const { differences, more } = JSON.parse((await compare('--json')).out) as Comparison;
  expect(differences).toHaveLength(250);
  expect(more).toBe(0);
  expect(new Set(differences.map((each) => JSON.stringify(each))).size).toBe(250);
  const short = JSON.parse((await compare('--json', '--limit', '30')).out) as Comparison;
  expect(short.differences).toEqual(differences.slice(0, 30));
  expect(short.more).toBe(220);
  expect((await compare('--limit', '0')).out).toContain('--limit must be at least 1');
});

test('what is only under way is no difference', async () => {
  const one = await Agent.connect('compute-1', 1);
  one.at[0]?.inet('blue', { address: VIP, label: 25 });
  await one.told(0, VIP);
  expect((await compare()).out).toContain('a only');
  const asked = compare('--again', '1');
  await new Promise((resolve) => setTimeout(resolve, 300));
  one.at[1]?.inet('blue', { address: VIP, label: 25 });
  expect(await asked).toMatchObject({ status: 0, out: expect.stringContaining('in step') });
});
