/**
 * The configuration channel of `vrouter control`, with the examples' files and agents that are nothing but sockets and
 * strings: a snapshot, differences, what is not for an agent, and the commands that change it.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { run } from '../../src/cli/main.ts';
import { type RunningControl, startControl } from '../../src/program/control.ts';
import { ScriptedAgent } from '../support/scripted-agent.ts';

const example = (name: string) =>
  fileURLToPath(new URL(`../../examples/control/${name}.yaml`, import.meta.url));
const ROUTER = 'virtual-router:default-global-system-config:';
const FIP = 'default-domain:k8s:web-service';

let directory: string;
let control: RunningControl;
const agents: ScriptedAgent[] = [];

async function start(change: (text: string) => string = (text) => text): Promise<void> {
  const text = readFileSync(example('cent111'), 'utf8')
    .replace('10.169.25.19:5269', '127.0.0.1:0')
    .concat(
      `socket: ${directory}/exchange\ncli: ${directory}/cli\nlog: { level: silent }\nmetrics: { port: 0 }\n`,
    );
  const file = join(directory, 'control.yaml');
  writeFileSync(file, change(text));
  control = await startControl(file);
}

async function agent(name: string): Promise<ScriptedAgent> {
  const connected = await ScriptedAgent.connect(name, control.xmppPort as number);
  agents.push(connected);
  return connected;
}

/** What the command line prints. */
async function vrouter(...argv: string[]): Promise<string> {
  let text = '';
  const out = (more: string) => {
    text += more;
  };
  await run([...argv, '--sock', `${directory}/cli`], { out, err: out, env: {}, fail: () => {} });
  return text;
}

async function apply(yaml: string): Promise<string> {
  const file = join(directory, 'objects.yaml');
  writeFileSync(file, yaml);
  return vrouter('control', 'config', 'apply', file);
}

const isEnd = (message: string) => message.includes(' end-of-snapshot="true"');

/** Types and names of the objects in a section; `a - b` are links. */
function objectsIn(messages: readonly string[], section: 'update' | 'delete'): string[] {
  const name = '<node type="([^"]+)"><name>([^<]+)</name>';
  return messages.flatMap((message) => {
    const [, content = ''] = new RegExp(`<${section}>(.*)</${section}>`, 's').exec(message) ?? [];
    const links = new RegExp(
      `<link>${name}</node>${name}</node><metadata type="[^"]+" /></link>`,
      'g',
    );
    const rest = content.replace(links, '');
    return [
      ...[...rest.matchAll(new RegExp(name, 'g'))].map(([, type, of]) => `${type} ${of}`),
      ...[...content.matchAll(links)].map(([, a, b, c, d]) => `${a} ${b} - ${c} ${d}`),
    ].sort();
  });
}

const versionOf = (message: string) => Number(/<config version="(\d+)"/.exec(message)?.[1]);

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'vrouter-config-'));
});
afterEach(async () => {
  for (const a of agents.splice(0)) a.destroy();
  await control?.stop();
  rmSync(directory, { recursive: true, force: true });
});

async function subscribed(name: string): Promise<{ a: ScriptedAgent; snapshot: string[] }> {
  const a = await agent(name);
  a.configure(`${ROUTER}${name}`);
  return { a, snapshot: await a.configured(isEnd) };
}

describe('a snapshot', () => {
  beforeEach(() => start());

  test('has what is reached from the virtual router, nodes before links, 16 a message', async () => {
    const { a, snapshot } = await subscribed('compute-1');
    const updates = objectsIn(snapshot, 'update');
    expect(updates.filter((text) => !text.includes(' - ')).sort()).toEqual(
      [
        'virtual-router default-global-system-config:compute-1',
        'virtual-machine web-1',
        'virtual-machine-interface web-1:eth0',
        'instance-ip web-1:eth0:10.32.0.5',
        'virtual-network default-domain:k8s:pods',
        'routing-instance default-domain:k8s:pods:pods',
        'virtual-machine-interface-routing-instance attr(default-domain:k8s:pods:pods,web-1:eth0)',
        'virtual-network-network-ipam attr(default-domain:default-project:default-network-ipam,default-domain:k8s:pods)',
        'network-ipam default-domain:default-project:default-network-ipam',
        'security-group default-domain:k8s:web',
        'access-control-list default-domain:k8s:web:egress-access-control-list',
        'access-control-list default-domain:k8s:web:ingress-access-control-list',
      ].sort(),
    );
    expect(updates.join('\n')).not.toMatch(/web-2|compute-2|services/);
    for (const message of snapshot) {
      expect(objectsIn([message], 'update').length).toBeLessThanOrEqual(16);
      expect(message).toMatch(
        /^<iq type="set" from="network-control@contrailsystems.com" to="default-global-system-config:compute-1\/config"><config /,
      );
    }
    expect(snapshot.map(isEnd)).toEqual([false, true]);
    const all = snapshot.join('');
    expect(all.indexOf('<link>')).toBeGreaterThan(all.lastIndexOf('<id-perms>'));
    for (const part of [
      '<virtual-network-network-id>4</virtual-network-network-id>',
      '<virtual-machine-interface-mac-addresses><mac-address>02:00:00:00:00:05</mac-address></virtual-machine-interface-mac-addresses>',
      '<instance-ip-address>10.32.0.5</instance-ip-address>',
      '<value><ipam-subnets><subnet><ip-prefix>10.32.0.0</ip-prefix><ip-prefix-len>24</ip-prefix-len></subnet><default-gateway>10.32.0.1</default-gateway><dns-server-address>10.32.0.1</dns-server-address>',
      '<security-group-id>8000001</security-group-id>',
      '<src-address><security-group>8000001</security-group></src-address>',
      '<dst-port><start-port>8080</start-port><end-port>8080</end-port></dst-port>',
      '<metadata type="virtual-machine-interface-virtual-network" />',
    ]) {
      expect(all).toContain(part);
    }
    expect(a.closed).toBe(false);
  });

  test('is told again to whoever asks again, and not to whoever has left', async () => {
    const { a, snapshot } = await subscribed('compute-1');
    a.configure(`${ROUTER}compute-1`, 'subscribe', ' version="17"');
    expect(objectsIn(await a.configured(isEnd), 'update')).toEqual(objectsIn(snapshot, 'update'));
    a.configure(`${ROUTER}compute-1`, 'unsubscribe');
    await a.silent();
    await vrouter('control', 'config', 'apply', example('floating-ip'));
    await a.silent();
    expect(a.configs).toEqual([]);
  });

  test('of nothing is its end', async () => {
    const { snapshot } = await subscribed('compute-3');
    expect(snapshot).toHaveLength(1);
    expect(snapshot[0]).toMatch(/<config version="\d+" end-of-snapshot="true"><\/config><\/iq>$/);
  });

  test("another's virtual router is not told, and the session stays", async () => {
    const a = await agent('compute-1');
    a.configure(`${ROUTER}compute-2`);
    a.configure('virtual-machine:web-2'); // compute-2 has it
    const only = await a.configured(isEnd);
    expect(objectsIn(only, 'update')).toEqual([]);
    expect(await vrouter('control', 'show', 'sessions')).toMatch(/compute-1 .* 1 +0\n/);
    expect(a.closed).toBe(false);
  });
});

describe('changes', () => {
  beforeEach(() => start());

  test('a floating IP that is added: the difference, and to nobody else', async () => {
    const { a, snapshot } = await subscribed('compute-1');
    const { a: b } = await subscribed('compute-2');
    const { a: c } = await subscribed('compute-3');
    expect(await vrouter('control', 'config', 'apply', example('floating-ip'))).toMatch(
      /^version \d+, \d+ told\n$/,
    );
    const [difference, ...more] = await a.configured();
    expect(more).toEqual([]);
    const services = 'default-domain:k8s:services';
    const ipam = 'default-domain:default-project:default-network-ipam';
    expect(objectsIn([difference as string], 'update')).toEqual(
      [
        `floating-ip ${FIP}`,
        `floating-ip-pool ${services}:floating-ips`,
        `virtual-network ${services}`,
        `routing-instance ${services}:services`,
        `virtual-network-network-ipam attr(${ipam},${services})`,
        `floating-ip ${FIP} - virtual-machine-interface web-1:eth0`,
        `floating-ip-pool ${services}:floating-ips - floating-ip ${FIP}`,
        `virtual-network ${services} - floating-ip-pool ${services}:floating-ips`,
        `virtual-network ${services} - routing-instance ${services}:services`,
        `virtual-network ${services} - virtual-network-network-ipam attr(${ipam},${services})`,
        `virtual-network-network-ipam attr(${ipam},${services}) - network-ipam ${ipam}`,
      ].sort(),
    );
    for (const part of [
      '<floating-ip-address>10.96.0.10</floating-ip-address><floating-ip-traffic-direction>ingress</floating-ip-traffic-direction>',
      '<floating-ip-port-mappings-enable>true</floating-ip-port-mappings-enable>',
      '<floating-ip-port-mappings><port-mappings><protocol>TCP</protocol><src-port>80</src-port><dst-port>8080</dst-port></port-mappings></floating-ip-port-mappings>',
    ]) {
      expect(difference).toContain(part);
    }
    expect(versionOf(difference as string)).toBe(versionOf(snapshot.at(-1) as string) + 1);
    expect(isEnd(difference as string)).toBe(false);
    expect(objectsIn(await b.configured(), 'update')).toContain(
      `floating-ip ${FIP} - virtual-machine-interface web-2:eth0`,
    );
    await c.silent();
    expect(c.configs).toEqual([]);
  });

  test('an object that leaves its reach is deleted, its links before it', async () => {
    await vrouter('control', 'config', 'apply', example('floating-ip'));
    const { a } = await subscribed('compute-1');
    const { a: b } = await subscribed('compute-2');
    expect(
      await apply(
        `floating_ips: [{ name: '${FIP}', network: 'default-domain:k8s:services', address: 10.96.0.10, ports: ['web-2:eth0'], direction: ingress, port_mappings: [{ protocol: tcp, from: 80, to: 8080 }] }]`,
      ),
    ).toMatch(/^version \d+, 11 told\n$/);
    const messages = await a.configured();
    expect(objectsIn(messages, 'update')).toEqual([]);
    const deleted = objectsIn(messages, 'delete');
    expect(deleted).toHaveLength(11);
    expect(deleted).toContain(`floating-ip ${FIP}`);
    expect(messages[0]).not.toContain('<floating-ip-address>');
    expect(messages.join('')).toMatch(
      /<delete>(<link>(?:(?!<\/link>).)*<\/link>)+(<node (?:(?!<\/node>|<link>).)*<\/node>)+<\/delete>/,
    );
    await b.silent();
    expect(b.configs, 'the other one sees what it has seen').toEqual([]);
  });

  test('a property that changes is one object', async () => {
    const { a } = await subscribed('compute-1');
    await apply(
      "security_groups: [{ name: 'default-domain:k8s:web', id: 8000001, ingress: [{ protocol: udp }], egress: [{}] }]",
    );
    const messages = await a.configured();
    expect(objectsIn(messages, 'update')).toEqual([
      'access-control-list default-domain:k8s:web:ingress-access-control-list',
    ]);
    expect(messages[0]).toContain('<protocol>17</protocol>');
    expect(
      await apply(
        "security_groups: [{ name: 'default-domain:k8s:web', id: 8000001, ingress: [{ protocol: udp }], egress: [{}] }]",
      ),
    ).toMatch(/as it was/);
    await a.silent();
    expect(a.configs).toEqual([]);
  });

  test('a virtual machine that moves leaves the one and comes to the other', async () => {
    const { a } = await subscribed('compute-1');
    const { a: b } = await subscribed('compute-2');
    await apply(
      'virtual_routers: [{ name: compute-1, virtual_machines: [] }, { name: compute-2, virtual_machines: [web-2, web-1] }]',
    );
    const gone = await a.configured();
    expect(objectsIn(gone, 'delete')).toContain('virtual-machine-interface web-1:eth0');
    const come = objectsIn(await b.configured(), 'update');
    expect(come).toContain('virtual-machine-interface web-1:eth0');
    expect(come, 'what it has is not told again').not.toContain(
      'security-group default-domain:k8s:web',
    );
  });

  test('a virtual machine that no router has yet is told to who asks for it', async () => {
    const { a } = await subscribed('compute-1');
    await apply(
      "ports: [{ name: 'new:eth0', virtual_machine: new, network: 'default-domain:k8s:pods', mac: '02:00:00:00:00:07', addresses: [10.32.0.7] }]",
    );
    await a.silent();
    expect(a.configs).toEqual([]);
    a.configure('virtual-machine:new');
    expect(objectsIn(await a.configured(isEnd), 'update')).toContain(
      'instance-ip new:eth0:10.32.0.7',
    );
    a.configure('virtual-machine:new', 'unsubscribe');
    expect(objectsIn(await a.configured(), 'delete')).toContain('virtual-machine new');
  });
});

test('who is back after a lost session asks again, and is told all of it as it is by then', async () => {
  await start((text) => text.replace('xmpp:', 'xmpp:\n  restart_seconds: 60'));
  const pods = 'default-domain:k8s:pods:pods';
  const { a, snapshot } = await subscribed('compute-1');
  const { a: b } = await subscribed('compute-2');
  a.subscribe(pods);
  b.subscribe(pods);
  a.inet(pods, { address: '10.32.0.5/32', label: 25 });
  await b.next('10.32.0.5/32');
  a.destroy();
  for (let i = 0; !(await vrouter('control', 'show', 'sessions')).includes('awaited'); i++) {
    expect(i).toBeLessThan(100);
  }
  expect(await vrouter('control', 'config', 'show'), 'nobody is told').not.toContain('compute-1');
  await vrouter('control', 'config', 'apply', example('floating-ip'));
  await b.configured();
  const { snapshot: again } = await subscribed('compute-1');
  const [before, after] = [objectsIn(snapshot, 'update'), objectsIn(again, 'update')];
  expect(after).toEqual(expect.arrayContaining(before));
  expect(after.length).toBe(before.length + 11);
  await b.silent();
  expect(b.configs).toEqual([]);
});

describe('the commands', () => {
  beforeEach(() => start());

  test('show says what each agent has been sent', async () => {
    await subscribed('compute-1');
    expect(await vrouter('control', 'config', 'show')).toMatch(
      /^version \d+: 2 networks, 1 security groups, 0 policies, 2 ports, 0 floating ips, 2 virtual routers; \d+ nodes, \d+ links\nAgent +Sent .*\ncompute-1 +\d+ +12 +\d+ +2 +\d+ +0 +no\n$/s,
    );
    const told = await vrouter('control', 'config', 'show', 'compute-1');
    expect(told).toContain(
      'instance-ip web-1:eth0:10.32.0.5\n  address 10.32.0.5, family v4\n  - virtual-machine-interface web-1:eth0\n  - virtual-network default-domain:k8s:pods\n',
    );
    expect(told).not.toContain('web-2');
    expect(await vrouter('control', 'config', 'show', 'compute-9')).toMatch(/no agent 'compute-9'/);
  });

  test('what names what is not there is refused whole, and what is named does not go', async () => {
    const refused = await apply(
      "ports: [{ name: p, virtual_machine: m, network: nowhere, mac: '02:00:00:00:00:01' }]\nnetworks: [{ name: fine }]",
    );
    expect(refused).toMatch(/objects\.ports\[0\]\.network: there is no network "nowhere"/);
    expect(await vrouter('control', 'config', 'show')).toMatch(/: 2 networks/);
    expect(
      await vrouter('control', 'config', 'remove', 'network', 'default-domain:k8s:pods'),
    ).toMatch(/port 'web-1:eth0' names network 'default-domain:k8s:pods'/);
    expect(await vrouter('control', 'config', 'remove', 'ports', 'x')).toMatch(
      /unknown value "ports"/,
    );
    expect(await apply('networks: [{ name: n, color: red }]')).toMatch(
      /objects\.yaml:1: networks\[0\]\.color: unknown key "color"/,
    );
  });

  test('a network has its routing instance, and takes it with it', async () => {
    expect(await vrouter('control', 'show', 'tables')).toContain('default-domain:k8s:pods:pods');
    await apply('networks: [{ name: red, import: ["64512:7"], export: ["64512:8"] }]');
    expect(await vrouter('control', 'show', 'tables')).toMatch(/^red:red .* 64512:7 +64512:8$/m);
    await vrouter('control', 'config', 'remove', 'network', 'red');
    expect(await vrouter('control', 'show', 'tables')).not.toContain('red:red');
  });

  test('metrics have the versions', async () => {
    await subscribed('compute-1');
    const page = await fetch(`http://127.0.0.1:${control.metricsPort}/metrics`);
    const text = await page.text();
    expect(text).toMatch(/vrouter_control_config_objects\{list="ports",control="cent111"\} 2/);
    expect(text).toMatch(
      /vrouter_control_agent_config_objects\{agent="compute-1",control="cent111"\} 12/,
    );
    expect(text).toMatch(
      /vrouter_control_agent_config_behind\{agent="compute-1",control="cent111"\} 0/,
    );
  });
});

test('a file whose objects do not fit together is refused with its place', async () => {
  await expect(
    start((text) => text.replace('network: default-domain:k8s:pods', 'network: nowhere')),
  ).rejects.toThrow(
    /control\.yaml:\d+: objects\.ports\[0\]\.network: there is no network "nowhere"/,
  );
});
