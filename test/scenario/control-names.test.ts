/**
 * Names as long as they may be, end to end: an agent's (512 bytes, whatever letters), an instance's (1,024); and what
 * is longer is refused where it is said, by a session's code or a line of the file.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Client } from '../../src/cli/client.ts';
import { run } from '../../src/cli/main.ts';
import { loadControl, loadNode } from '../../src/config/load.ts';
import { checkInstanceName } from '../../src/control/instances.ts';
import { type RunningControl, startControl } from '../../src/program/control.ts';
import { MAX_FQ_NAME_BYTES, MAX_PEER_NAME_BYTES } from '../../src/xmpp/limits.ts';
import { ScriptedAgent } from '../support/scripted-agent.ts';

const VIP = '10.96.0.10/32';
/** Two bytes a letter. */
const AGENT = 'é'.repeat(MAX_PEER_NAME_BYTES / 2);
const PART = 'n'.repeat(255);
const INSTANCE = `${PART}:${PART}:${PART}:${PART}`.padEnd(MAX_FQ_NAME_BYTES, 'x');

let directory: string;
let control: RunningControl;
const agents: ScriptedAgent[] = [];

async function agent(name: string): Promise<ScriptedAgent> {
  const connected = await ScriptedAgent.connect(name, control.xmppPort as number, { open: false });
  agents.push(connected);
  connected.open();
  return connected;
}

async function vrouter(...argv: string[]): Promise<string> {
  let text = '';
  const take = (more: string) => {
    text += more;
  };
  await run([...argv, '--sock', `${directory}/cli`], {
    out: take,
    err: take,
    env: {},
    fail: () => {},
  });
  return text;
}

async function ask<T>(method: string, params: unknown): Promise<T> {
  const client = await Client.connect(`${directory}/cli`);
  try {
    return await client.call<T>(method, params);
  } finally {
    client.close();
  }
}

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'vrouter-names-'));
  const file = join(directory, 'control.yaml');
  writeFileSync(
    file,
    `name: cent111
socket: ${directory}/exchange
cli: ${directory}/cli
log: { level: silent }
metrics: { port: 0 }
xmpp: { listen: '127.0.0.1:0' }
instances: [{ name: '${INSTANCE}' }, { name: blue }]
connect: [{ between: ['${INSTANCE}', blue] }]
`,
  );
  control = await startControl(file);
});
afterEach(async () => {
  for (const each of agents.splice(0)) each.destroy();
  await control?.stop();
  rmSync(directory, { recursive: true, force: true });
});

test('the longest names: session, routes, trace, metrics, configuration', async () => {
  const [a, b] = [await agent(AGENT), await agent('compute-2')];
  await a.until(() => a.header !== '', 'a header');
  a.subscribe(INSTANCE, 1);
  b.subscribe('blue', 1);
  a.inet(INSTANCE, { address: VIP, label: 25 });
  expect(await a.next(VIP)).toContain(`to="${AGENT}/bgp-peer"`);
  await b.next('1/1/blue', VIP);
  expect(await vrouter('control', 'show', 'sessions')).toContain(AGENT);
  expect(await vrouter('control', 'show', 'tables')).toContain(INSTANCE);
  expect(await vrouter('control', 'show', 'routes', INSTANCE)).toContain(
    `best                   ${AGENT}`,
  );
  await ask('session.trace', { agent: AGENT });
  a.inet(INSTANCE, { address: VIP, label: 26 });
  expect(await vrouter('control', 'trace', AGENT, '--count', '1')).toContain('26</label>');
  await b.next(VIP, '26</label>');
  const metrics = await (await fetch(`http://127.0.0.1:${control.metricsPort}/metrics`)).text();
  expect(metrics).toContain(`agent="${AGENT}"`);
  await ask('instance.remove', { name: INSTANCE });
  await b.next('<retract');
  await ask('instance.add', { name: INSTANCE });
  await ask('link.add', { between: ['blue', INSTANCE] });
  await b.next('1/1/blue', VIP);
});

test('an agent with a longer one is not let in, and the others stay', async () => {
  const [a, b] = [await agent(`${AGENT}x`), await agent('compute-2')];
  await a.gone();
  b.subscribe('blue', 1);
  await b.until(() => b.endsOfRib() > 0, 'end of rib');
  const metrics = await (await fetch(`http://127.0.0.1:${control.metricsPort}/metrics`)).text();
  expect(metrics).toMatch(/sessions_ended_total\{code="XMPP_BAD_HEADER".* 1$/m);
});

test('a longer instance ends the session that names it, and is refused in a file and over the API', async () => {
  const a = await agent('compute-1');
  a.subscribe(`${INSTANCE}x`, 1);
  await a.gone();
  const file = (name: string) => loadControl('c', `name: c\ninstances: [{ name: '${name}' }]\n`);
  expect(file(INSTANCE).value.instances[0]?.name).toBe(checkInstanceName(INSTANCE));
  expect(() => file(`${INSTANCE}x`)).toThrow(/instances\[0\]\.name.*1 to 1024 bytes/s);
  expect(() => checkInstanceName(`${INSTANCE}x`)).toThrow('1 to 1024 bytes');
  await expect(ask('instance.add', { name: `${INSTANCE}x` })).rejects.toThrow('1 to 1024 bytes');
});

test('a node of ours has a name of 128, and is told so in its file', () => {
  const file = (name: string) => () => loadNode('n', `name: ${name}\n`);
  expect(file('n'.repeat(128))).not.toThrow('a name is');
  expect(file('n'.repeat(129))).toThrow(/name.*a name is 1 to 128 of letters/s);
});
