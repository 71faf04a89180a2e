import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { stringify } from 'yaml';
import { type BgpFile, neighbourName } from '../../../src/config/bgp.ts';
import { neighbourOf, rangeOf, speakerOf } from '../../../src/config/bgp-neighbours.ts';
import { communityText, parseCommunity, policyOf } from '../../../src/config/bgp-policies.ts';
import { loadControl, loadNode } from '../../../src/config/load.ts';
import { ConfigError } from '../../../src/errors.ts';

const BASE = { as: 64512, router_id: '192.0.2.250' };

function load(bgp: object): BgpFile {
  const text = stringify({ name: 'cent111', instances: [], bgp: { ...BASE, ...bgp } });
  return loadControl('control.yaml', text).value.bgp as BgpFile;
}

/** Key and message of each problem. */
function problems(bgp: object): string[] {
  try {
    load(bgp);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    return error.problems.map(({ key, message }) => `${key}: ${message}`);
  }
  return [];
}

const near = (more: object = {}) => ({ neighbors: [{ address: '192.0.2.1', ...more }] });
const AT = 'bgp.neighbors[0]';

describe('what becomes of it', () => {
  test('the least that can be said', () => {
    const file = load(near());
    expect(speakerOf(file)).toEqual({ as: 64512, id: '192.0.2.250' });
    expect(neighbourOf(file.neighbors?.[0] as never, new Map())).toEqual({
      name: '192.0.2.1',
      address: '192.0.2.1',
      port: 179,
      passive: false,
      holdTime: 90,
      families: [{ family: 'vpnv4' }, { family: 'vpnv6' }, { family: 'evpn' }, { family: 'rtc' }],
      client: false,
      allowAsIn: 0,
    });
  });

  test('all of it', () => {
    const file = load({
      cluster_id: '192.0.2.251',
      listen: ['127.0.0.1:1179', '[::1]:1179'],
      policies: [{ name: 'low', terms: [{ name: 'all', action: 'accept', set: { med: 5 } }] }],
      ...near({
        ...{ name: 'spine', address: '2001:DB8::1', port: 1179, passive: true, as: 65001 },
        ...{ description: 'rack 4', local_address: '2001:db8::2', families: ['vpnv4', 'rtc'] },
        ...{ hold_seconds: 9, multihop: 3, password: 'secret', graceful_restart_seconds: 120 },
        ...{ long_lived_seconds: 3600, add_path: 'both', send_paths: 4, max_routes: 1000 },
        ...{ default_route_target: true, next_hop: 'self', allow_as_in: 2 },
        ...{ encapsulation: ['udp'], import: 'low', export: 'low' },
      }),
    });
    const low = policyOf(file.policies?.[0] as never);
    expect(speakerOf(file).clusterId).toBe('192.0.2.251');
    expect(neighbourOf(file.neighbors?.[0] as never, new Map([['low', low]]))).toEqual({
      ...{ name: 'spine', address: '2001:db8::1', port: 1179, passive: true, as: 65001 },
      ...{ localAddress: '2001:db8::2', holdTime: 9, ttl: 3, password: 'secret' },
      ...{ restartTime: 120, longLivedTime: 3600, client: false, allowAsIn: 2 },
      ...{ nextHop: 'self', encapsulation: ['udp'], import: low, export: low },
      families: [
        { family: 'vpnv4', maxRoutes: 1000, addPath: 'both', sendPaths: 4 },
        { family: 'rtc', maxRoutes: 1000, defaultRoute: true },
      ],
    });
  });

  test('neighbours of one address on two links', () => {
    const file = load({
      neighbors: ['eth0', 'eth1'].map((each) => ({
        ...{ address: 'fe80::1', interface: each, as: 65001 },
      })),
    });
    expect(file.neighbors?.map((each) => neighbourOf(each, new Map()))).toMatchObject([
      { name: 'fe80::1%eth0', address: 'fe80::1', interface: 'eth0' },
      { name: 'fe80::1%eth1', address: 'fe80::1', interface: 'eth1' },
    ]);
  });

  test('a range', () => {
    const file = load({ ranges: [{ name: 'leaves', prefix: '10.0.0.0/8', ttl_security: 1 }] });
    const range = rangeOf(file.ranges?.[0] as never, new Map(), 'from a file');
    expect(range).toMatchObject({ name: 'leaves', prefix: '10.0.0.0/8', limit: 64 });
    expect(range.template).toMatchObject({ ttlSecurity: 1, password: 'from a file', port: 179 });
    expect(range.template).not.toHaveProperty('address');
  });

  test('a policy', () => {
    const file = load({
      policies: [
        {
          name: 'p',
          terms: [
            {
              name: 't',
              match: {
                families: ['vpnv4'],
                prefixes: [{ prefix: '10.0.0.0/8', or_longer: true }, { prefix: 'FD00::/8' }],
                communities: ['64512:7', 'no-export'],
                route_targets: ['target:64512:1'],
              },
              action: 'reject',
              set: {
                local_preference: 1,
                add_communities: ['65535:1'],
                remove_communities: ['blackhole'],
              },
            },
          ],
        },
      ],
    });
    expect(policyOf(file.policies?.[0] as never).terms).toEqual([
      {
        name: 't',
        match: {
          families: ['vpnv4'],
          prefixes: [
            { prefix: '10.0.0.0/8', orLonger: true },
            { prefix: 'fd00::/8', orLonger: false },
          ],
          communities: [0xfc000007, 0xffffff01],
          routeTargets: ['64512:1'],
        },
        action: 'reject',
        set: { localPref: 1, addCommunities: [0xffff0001], removeCommunities: [0xffff029a] },
      },
    ]);
  });

  test('communities as texts', () => {
    for (const text of ['0:0', '64512:7', '65535:65535', 'no-export', 'graceful-shutdown']) {
      expect(communityText(parseCommunity(text) as number)).toBe(text);
    }
    for (const text of ['65536:1', '1:65536', '1', 'no-exports', '1:2:3', '-1:2'])
      expect(parseCommunity(text)).toBeUndefined();
  });
});

test('the example', () => {
  const file = fileURLToPath(new URL('../../../examples/control/federated.yaml', import.meta.url));
  const bgp = loadControl(file).value.bgp as BgpFile;
  expect(bgp.neighbors?.map(neighbourName)).toEqual(['10.169.25.20', 'west', 'border']);
});

describe('refused, with the key', () => {
  test.each<[object, string]>([
    [near({ asn: 1 }), `${AT}.asn: unknown key "asn" (did you mean "as"?)`],
    [
      near({ families: ['vpn4'] }),
      `${AT}.families[0]: unknown value "vpn4" (did you mean "vpnv4"?)`,
    ],
    [near({ families: ['evpn', 'evpn'] }), `${AT}.families: "evpn" is there twice`],
    [
      near({ families: ['rtc'] }),
      `${AT}.families: rtc is about vpnv4, vpnv6 and evpn: none is there`,
    ],
    [near({ hold_seconds: 2 }), `${AT}.hold_seconds: must be 0, or at least 3`],
    [near({ address: '224.0.0.5' }), `${AT}.address: is no host`],
    [near({ address: 'fe80::1' }), `${AT}.interface: is missing: the address is link-local`],
    [near({ interface: 'eth0' }), `${AT}.interface: is for link-local addresses`],
    [
      near({ address: 'fe80::1', interface: 'eth0', families: ['vpnv4', 'ipv4-unicast'] }),
      `${AT}.families[1]: needs a neighbour with a global address`,
    ],
    [near({ local_address: '::1' }), `${AT}.local_address: is not of the family of 192.0.2.1`],
    [
      near({ as: 64512, multihop: 2 }),
      `${AT}.multihop: is for neighbours of another AS; this one is of 64512, as we are`,
    ],
    [
      near({ as: 64512, allow_as_in: 1 }),
      `${AT}.allow_as_in: is for neighbours of another AS; this one is of 64512, as we are`,
    ],
    [
      near({ as: 65001, route_reflector_client: true }),
      `${AT}.route_reflector_client: is for neighbours of our own AS, 64512`,
    ],
    [near({ ttl: 2, multihop: 2 }), `${AT}.multihop: is ttl by another name: one of them only`],
    [
      near({ ttl: 2, ttl_security: 1 }),
      `${AT}.ttl_security: with it our packets have 255 hops: neither ttl nor multihop can be given`,
    ],
    [
      near({ password: 'ä'.repeat(41) }),
      `${AT}.password: longer than 80 bytes, the most that TCP MD5 takes`,
    ],
    [
      near({ password: 'a', password_file: 'b' }),
      `${AT}.password: and password_file exclude each other`,
    ],
    [near({ long_lived_seconds: 5 }), `${AT}.long_lived_seconds: needs graceful_restart_seconds`],
    [near({ send_paths: 5 }), `${AT}.send_paths: needs add_path: send, or both`],
    [
      near({ families: ['vpnv4'], default_route_target: true }),
      `${AT}.default_route_target: needs rtc among the families`,
    ],
    [near({ encapsulation: ['udp', 'udp'] }), `${AT}.encapsulation: names one twice`],
    [near({ import: 'x' }), `${AT}.import: no policy "x"`],
    [
      { neighbors: [{ address: '::1' }, { address: '0::1' }] },
      'bgp.neighbors[1].address: "::1" is there already',
    ],
    [
      { neighbors: [{ address: '192.0.2.1' }, { name: 'n', address: '192.0.2.1' }] },
      'bgp.neighbors[1].address: "192.0.2.1" is there already',
    ],
    [
      {
        neighbors: [{ name: 'n', address: '192.0.2.1' }],
        ranges: [{ name: 'n', prefix: '10.0.0.0/8' }],
      },
      'bgp.ranges[0].name: "n" is there already',
    ],
    [
      { policies: [{ name: 'p', terms: [{ name: 't', action: 'drop' }] }] },
      'bgp.policies[0].terms[0].action: unknown value "drop" (known: accept, reject)',
    ],
    [
      {
        policies: [
          { name: 'p', terms: [] },
          { name: 'p', terms: [] },
        ],
      },
      'bgp.policies[1].name: "p" is there already',
    ],
    [
      {
        policies: [
          {
            name: 'p',
            terms: [{ name: 't', action: 'accept', match: { communities: ['no-exprot'] } }],
          },
        ],
      },
      'bgp.policies[0].terms[0].match.communities[0]: a community is two numbers, as 64512:1, or a name (did you mean "no-export"?)',
    ],
    [{ listen: ['127.0.0.1'] }, 'bgp.listen[0]: "127.0.0.1" is not address:port'],
    [{ router_id: '0.0.0.0' }, 'bgp.router_id: is no host'],
    [{ as: 0 }, 'bgp.as: must be 1 to 4294967295'],
  ])('%j', (bgp, problem) => {
    expect(problems(bgp)).toEqual([problem]);
  });

  test('two sessions with one address, from two of ours, are two', () => {
    const at = (name: string, local_address: string) => ({
      name,
      address: '192.0.2.1',
      local_address,
    });
    expect(problems({ neighbors: [at('a', '192.0.2.5'), at('b', '192.0.2.6')] })).toEqual([]);
  });

  test('the line is named', () => {
    const text = `name: c\ninstances: []\nbgp:\n  as: 1\n  router_id: 192.0.2.1\n  neighbors:\n    - address: 192.0.2.2\n      import: nothing\n`;
    expect(() => loadControl('control.yaml', text)).toThrow(
      'control.yaml:8: bgp.neighbors[0].import: no policy "nothing"',
    );
  });
});

describe('of a node file', () => {
  const underlay = {
    port: { kind: 'memory' },
    ...{ mac: '52:54:00:00:02:04', ipv4: '192.168.0.204', neighbours: {} },
  };
  const node = (more: object) =>
    loadNode('gateway.yaml', stringify({ name: 'gateway', underlay, ...more })).value;
  const wrong = (more: object): string[] => {
    try {
      node(more);
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      return error.problems.map(({ key, message }) => `${key}: ${message}`);
    }
    return [];
  };
  const bgp = { ...BASE, ...near() };

  test('the words are those of a control file, and how many paths are used', () => {
    const vrfs = [{ name: 'red', import: ['64512:1'], export: ['64512:1'], maximum_paths: 1 }];
    const vifs = [
      {
        ...{ name: 'a', vrf: 'red', tenant_mac: '02:00:00:00:00:01' },
        ...{ port: { kind: 'memory' }, prefixes: ['0.0.0.0/0', '2001:db8::/32'] },
      },
    ];
    const file = node({ bgp: { ...bgp, maximum_paths: 8 }, vrfs, vifs });
    expect(file.bgp?.maximum_paths).toBe(8);
    expect(file.bgp?.neighbors).toEqual(near().neighbors);
    expect(file.vrfs).toEqual(vrfs);
    expect(file.vifs?.[0]?.prefixes).toEqual(['0.0.0.0/0', '2001:db8::/32']);
  });

  test('the one in docs/gateway.md is whole', () => {
    const text = readFileSync(new URL('../../../docs/gateway.md', import.meta.url), 'utf8');
    const [, yaml = ''] = /```yaml\n([\s\S]*?)```/.exec(text) ?? [];
    const file = loadNode('gateway.md', yaml).value;
    expect(file).toMatchObject({ name: 'gateway', bgp: { maximum_paths: 16 } });
  });

  test('is one of three places where routes come from', () => {
    const exchange = { socket: '/run/x.exchange' };
    const control = { xmpp: [{ address: '192.0.2.1' }] };
    expect(wrong({ bgp, exchange })).toEqual(['bgp: exchange or bgp, not both']);
    expect(wrong({ bgp, control })).toEqual(['bgp: control or bgp, not both']);
    expect(wrong({ exchange, control })).toEqual(['control: exchange or control, not both']);
    expect(wrong({ bgp, control, exchange })).toEqual([
      'control: exchange or control or bgp, not several',
    ]);
  });

  test('what a VRF says of BGP needs it', () => {
    expect(wrong({ vrfs: [{ name: 'red', import: ['64512:1'], maximum_paths: 2 }] })).toEqual([
      'vrfs[0].import: there is no bgp in this file',
      'vrfs[0].maximum_paths: there is no bgp in this file',
    ]);
  });

  test('what is wrong with neighbours, targets and numbers is said at its place', () => {
    const vrfs = [{ name: 'red', export: ['64512'], maximum_paths: 0 }];
    const said = wrong({ bgp: { ...bgp, maximum_paths: 257 }, vrfs });
    expect(said.map((text) => text.slice(0, text.indexOf(':')))).toEqual([
      'bgp.maximum_paths',
      'vrfs[0].export[0]',
      'vrfs[0].maximum_paths',
    ]);
    expect(wrong({ bgp: { ...BASE, ...near({ import: 'none' }) } })).toEqual([
      'bgp.neighbors[0].import: no policy "none"',
    ]);
  });
});
