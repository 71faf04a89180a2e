import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { jsonSchemaText, SCHEMA_NAMES } from '../../../src/config/json-schema.ts';
import { checkParams, loadControl, loadNode, loadState } from '../../../src/config/load.ts';
import { editDistance, nearest } from '../../../src/config/nearest.ts';
import { controlNodeName, vifSchema } from '../../../src/config/node.ts';
import { ConfigError } from '../../../src/errors.ts';

function problemsOf(run: () => unknown) {
  try {
    run();
  } catch (error) {
    if (error instanceof ConfigError) return error.problems;
    throw error;
  }
  throw new Error('accepted');
}

describe('nearest', () => {
  it('counts a swap as one step', () => {
    expect(editDistance('gatewya', 'gateway')).toBe(1);
    expect(editDistance('', 'abc')).toBe(3);
    expect(editDistance('abc', 'abc')).toBe(0);
  });
  it('finds what was meant and nothing when nothing is near', () => {
    expect(nearest('gatway4', ['gateway4', 'gateway6', 'mtu'])).toBe('gateway4');
    expect(nearest('POLICY', ['policy', 'l2'])).toBe('policy');
    expect(nearest('zebra', ['gateway4', 'mtu'])).toBeUndefined();
    expect(nearest('x'.repeat(5000), ['gateway4'])).toBeUndefined();
  });
});

describe('state file', () => {
  const good = `router: {ipv4: 10.0.0.1}
vrfs:
  - {name: fabric, id: 0}
vifs:
  - name: eth0
    type: physical
    vrf: fabric
`;
  it('takes YAML and JSON alike', () => {
    const fromYaml = loadState('a.yaml', good).value;
    expect(loadState('a.json', JSON.stringify(fromYaml)).value).toEqual(fromYaml);
    expect(fromYaml.vifs?.[0]?.name).toBe('eth0');
  });

  it('takes an empty file as an empty router', () => {
    expect(loadState('a.yaml', '').value).toEqual({});
  });

  it('refuses an unknown key at its place, with the nearest one', () => {
    const problems = problemsOf(() => loadState('a.yaml', `${good}    gatway4: 10.0.0.254\n`));
    expect(problems).toEqual([
      {
        line: 8,
        column: 5,
        key: 'vifs[0].gatway4',
        message: 'unknown key "gatway4" (did you mean "gateway4"?)',
      },
    ]);
  });

  it('lists every problem in the order of the text', () => {
    const problems = problemsOf(() =>
      loadState(
        'a.yaml',
        `vifs:
  - {name: a/b, type: virtul, vrf: x}
  - {name: c, type: virtual, vrf: x, mac: "02:00", ipv4: 10.0.0.256}
routes:
  - {vrf: x, prefix: 10.0.0.1/24, next_hop: 3}
  - {vrf: x, next_hop: 3}
`,
      ),
    );
    expect(problems.map((p) => [p.line, p.key, p.message])).toEqual([
      [2, 'vifs[0].name', expect.stringContaining('1 to 128 of letters')],
      [2, 'vifs[0].type', 'unknown value "virtul" (did you mean "virtual"?)'],
      [3, 'vifs[1].mac', expect.stringContaining('six pairs')],
      [3, 'vifs[1].ipv4', 'an IPv4 address is needed'],
      [5, 'routes[0].prefix', expect.stringContaining('10.0.0.0/24 would be one')],
      [6, 'routes[1].prefix', 'missing'],
    ]);
  });

  it('names the kinds of next hop when the type is wrong', () => {
    const problems = problemsOf(() =>
      loadState('a.yaml', 'next_hops:\n  - {name: t, type: tunel}\n'),
    );
    expect(problems).toMatchObject([
      {
        line: 2,
        key: 'next_hops[0].type',
        message: 'unknown type "tunel" (did you mean "tunnel"?)',
      },
    ]);
  });

  it('places YAML errors, duplicate keys among them', () => {
    expect(problemsOf(() => loadState('a.yaml', 'vrfs: []\nvrfs: []\n'))).toMatchObject([
      { line: 2, message: expect.stringContaining('unique') },
    ]);
    expect(problemsOf(() => loadState('a.yaml', 'vrfs: [\n'))[0]?.line).toBeGreaterThan(0);
  });

  it('does not expand aliases without bound', () => {
    let text = 'a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n';
    for (let i = 1; i < 9; i++)
      text += `a${i}: &a${i} [${Array(10)
        .fill(`*a${i - 1}`)
        .join(',')}]\n`;
    expect(problemsOf(() => loadState('a.yaml', text))[0]?.message).toMatch(/alias/i);
  });

  it('says which file cannot be read', () => {
    const error = (() => {
      try {
        loadState('/nonexistent/state.yaml');
      } catch (e) {
        return e as ConfigError;
      }
      return undefined;
    })();
    expect(error?.message).toContain('/nonexistent/state.yaml:1');
  });
});

describe('node and control files', () => {
  it('takes a whole node', () => {
    const { value } = loadNode(
      'node.yaml',
      `name: cent222
underlay:
  port: {kind: af_packet, interface: eth1}
  mac: 02:00:00:00:00:01
  ipv4: 10.169.25.20
  neighbours: {10.169.25.21: 02:00:00:00:00:02}
exchange: {socket: /run/vrouter/control.exchange}
vrfs: [{name: pods}, {name: services}]
vifs:
  - name: web
    port: {kind: tap, name: tap0, netns: web}
    vrf: pods
    tenant_mac: 02:00:00:00:01:01
    ipv4: 10.47.255.236
    floating_ips:
      - {address: 10.105.139.153, vrf: services, ports: [{protocol: tcp, port: 8888, to_port: 80}]}
`,
    );
    expect(value.vifs?.[0]?.port).toEqual({ kind: 'tap', name: 'tap0', netns: 'web' });
  });

  it('refuses a port of a kind there is not, and keys of another kind', () => {
    const problems = problemsOf(() =>
      loadNode(
        'node.yaml',
        `name: n
underlay:
  port: {kind: af_packe, interface: eth1}
  mac: 02:00:00:00:00:01
  neighbours: {}
vifs:
  - {name: v, vrf: p, tenant_mac: "02:00:00:00:00:02", port: {kind: memory, interface: x}}
`,
      ),
    );
    expect(problems.map((p) => [p.line, p.key])).toEqual([
      [3, 'underlay.port.kind'],
      [7, 'vifs[0].port.interface'],
    ]);
    expect(problems[0]?.message).toContain('did you mean "af_packet"?');
  });

  it('checks route targets of a control file', () => {
    const problems = problemsOf(() =>
      loadControl('c.yaml', 'name: c\ninstances:\n  - {name: a, import: [64512:x], export: []}\n'),
    );
    expect(problems).toMatchObject([{ line: 3, key: 'instances[0].import[0]' }]);
  });

  it('takes a static route by prefix or by MAC, not by both or neither', () => {
    const rest = 'hops: [{address: 10.0.0.2, label: 42, encaps: [vxlan]}]';
    const text = `name: n
underlay: {port: {kind: memory}, mac: "02:00:00:00:00:01", ipv4: 10.0.0.1}
routes:
  - {instance: red, ${rest}}
  - {instance: red, prefix: 10.1.0.1, mac: "02:00:00:00:00:02", ${rest}}
  - {instance: red, prefix: 10.1.0.1, address: 10.1.0.1, ${rest}}
  - {instance: red, mac: "01:00:5e:00:00:01", ${rest}}
  - {instance: red, mac: "FF:ff:ff:ff:ff:ff", address: 10.1.0.1, ${rest}}
  - {instance: red, mac: "FF:ff:ff:ff:ff:ff", ${rest}}
  - {instance: red, mac: "02:00:00:00:00:02", address: 10.1.0.1, ${rest}}
`;
    const problems = problemsOf(() => loadNode('n.yaml', text));
    expect(problems.map((p) => `${p.line} ${p.key}`)).toEqual([
      '4 routes[0].prefix',
      '5 routes[1].mac',
      '6 routes[2].address',
      '7 routes[3].mac',
      '8 routes[4].address',
    ]);
  });

  it('checks run-time parameters by the same schema', () => {
    const problems = problemsOf(() => checkParams(vifSchema, 'vif.add', { nam: 'x' }));
    expect(problems.map((p) => p.key)).toEqual(
      expect.arrayContaining(['nam', 'name', 'port', 'vrf', 'tenant_mac']),
    );
    expect(problems.find((p) => p.key === 'name')?.message).toBe('missing');
  });
});

describe('control nodes of a node file', () => {
  const node = (more: string) => () =>
    loadNode(
      'n.yaml',
      `name: n\nunderlay: { port: { kind: memory }, mac: 02:00:00:00:00:01 }\n${more}`,
    );

  it('are addresses, with ports', () => {
    const { value } = node(
      'control: { xmpp: [ { address: 10.9.0.9, port: 5270 }, { address: "fd00::9" } ] }',
    )();
    expect(value.control?.xmpp.map(controlNodeName)).toEqual(['10.9.0.9:5270', '[fd00::9]:5269']);
  });

  it.each([
    ['control: { xmpp: [] }', 'control.xmpp'],
    ['control: { xmpp: [ { address: cent111 } ] }', 'control.xmpp[0].address'],
    [
      'control: { xmpp: [ { address: 10.9.0.9 }, { address: 10.9.0.9, port: 5269 } ] }',
      'control.xmpp[1].address',
    ],
    [
      'control: { xmpp: [ { address: 10.9.0.9 } ], tls: { certificate: a, key: b } }',
      'control.tls.authority',
    ],
    ['exchange: { socket: /x }\ncontrol: { xmpp: [ { address: 10.9.0.9 } ] }', 'control'],
    ['control: { xmpp: [ { address: 10.9.0.9 } ], hold_seconds: 91 }', 'control.hold_seconds'],
  ])('%s is refused', (text, key) => {
    expect(problemsOf(node(text)).map((problem) => problem.key)).toContain(key);
  });
});

describe('docs/schema', () => {
  it.each(SCHEMA_NAMES)('%s.json is what the schema says', (name) => {
    const file = new URL(`../../../docs/schema/${name}.json`, import.meta.url);
    // By value: how the file is laid out is the formatter's business.
    expect(JSON.parse(readFileSync(file, 'utf8'))).toEqual(JSON.parse(jsonSchemaText(name)));
  });
});

describe('uplinks of a node file', () => {
  const own = 'port: {kind: memory}, mac: "02:00:00:00:00:01"';
  const tap = (joined: string) =>
    `port: {kind: tap, name: up, joined: "${joined}"}, mac: "02:00:00:00:00:01"`;
  it.each([
    [`${own}, ipv4: 10.0.0.1`, undefined],
    [`uplinks: [{${own}}, {${own}}, {${own}}], ipv4: 10.0.0.1`, undefined],
    ['ipv4: 10.0.0.1', 'underlay.port: missing (or uplinks)'],
    [`${own}, uplinks: [{${own}}]`, 'underlay.port: each of uplinks has its own'],
    [`uplinks: [${Array(4).fill(`{${own}}`).join()}]`, 'underlay.uplinks'],
    [
      `uplinks: [{${own}, shared: {interface: e}}, {${own}}]`,
      'all are shared with the host, or none',
    ],
    [`uplinks: [{${own}, name: a}, {${own}, name: a}]`, 'two have one name'],
    [`${tap('eth1')}`, undefined],
    [`${tap('eth1')}, shared: {interface: eth1}`, undefined],
    [`${tap('eth1')}, shared: {interface: eth2}`, 'underlay.port: joined is the interface of'],
    [
      `uplinks: [{${tap('eth1')}, shared: {interface: eth2}}]`,
      'underlay.uplinks: joined is the interface of shared',
    ],
    [`${tap('a/b')}`, 'underlay.port.joined: an interface name'],
  ])('{%s}: %s', (underlay, problem) => {
    const load = () => loadNode('n.yaml', `name: n\nunderlay: {${underlay}}\n`);
    if (problem === undefined) expect(load).not.toThrow();
    else expect(load).toThrow(problem);
  });
});

describe('what a node file says of itself', () => {
  const head =
    'name: n\nunderlay: { port: { kind: memory }, mac: 02:00:00:00:00:01, ipv4: 10.0.0.1, neighbours: {} }\n';
  it('names every reference that leads nowhere and every name that two have', () => {
    const text = `${head}vrfs: [{ name: red }, { name: red }]
vifs:
  - { name: a, port: { kind: memory }, vrf: blue, tenant_mac: 02:00:00:00:00:02, network_policies: [web] }
source_nats:
  - { name: s, vrf: red, to_vrf: out, address: 10.0.0.9, ports: [1024, 2048] }
`;
    let found: unknown;
    try {
      loadNode('n.yaml', text);
    } catch (error) {
      found = error;
    }
    expect(found).toBeInstanceOf(ConfigError);
    expect((found as ConfigError).problems.map(({ line, key }) => `${line} ${key}`)).toEqual([
      '3 vrfs[1].name',
      '5 vifs[0].vrf',
      '5 vifs[0].network_policies[0]',
      '7 source_nats[0].to_vrf',
    ]);
  });
});
