/** Access lists of a configuration: as policies where they can be said, and closed where they cannot. */
import { describe, expect, test } from 'vitest';
import { policyName } from '../../../src/configured/desired.ts';
import { desiredState } from '../../../src/configured/translate.ts';
import { graphOf } from '../../support/config-graph.ts';
import {
  BLUE,
  CONFIGURATION,
  configIqs,
  GROUP,
  link,
  match,
  name,
  ports,
  VMI_UUID,
} from '../../support/config-text.ts';

const state = (texts: readonly string[]) =>
  desiredState(graphOf(configIqs(texts)), [{ name: 'pod1', vmi: VMI_UUID }]);
const without = (part: string) => CONFIGURATION.filter((text) => !text.includes(part));
const EGRESS = policyName(`${GROUP}:egress-access-control-list`);

describe('access control lists fail closed', () => {
  const subnet = (prefix: string, length: number) =>
    `<subnet><ip-prefix>${prefix}</ip-prefix><ip-prefix-len>${length}</ip-prefix-len></subnet>`;
  const ruled = (...rules: readonly string[]) => {
    const list = name(
      'access-control-list',
      'acl',
      `<access-control-list-entries>${rules.join('')}</access-control-list-entries>`,
    );
    const joined = link(
      'virtual-network-access-control-list',
      ['virtual-network', BLUE],
      ['access-control-list', 'acl'],
    );
    const found = state([...CONFIGURATION, list, joined]);
    const [used] = found.vifs[0]?.network_policies ?? [];
    expect(used).toMatch(/^acl acl( in default-domain:demo:blue:blue)?$/);
    return {
      rules: found.policies.find((policy) => policy.name === used)?.rules,
      notes: found.notes.filter(({ object }) => object.endsWith(' acl')).map(({ what }) => what),
    };
  };
  const acl = (condition: string, action = '<simple-action>pass</simple-action>', more = '') =>
    `<acl-rule><match-condition>${condition}</match-condition><action-list>${action}</action-list>${more}</acl-rule>`;
  const any = ports(0, 65535);
  const DENY = '<simple-action>deny</simple-action>';

  test.each<[string, string, object]>([
    [
      'a network by its subnets',
      acl(match('any', `<virtual-network>${BLUE}</virtual-network>`, any)),
      { action: 'pass', source: '10.32.0.0/12' },
    ],
    [
      'any network',
      acl(match('17', '<virtual-network>any</virtual-network>', any)),
      { action: 'pass', protocol: 17, source: '0.0.0.0/0' },
    ],
    [
      'any group',
      acl(match('6', '<security-group>-1</security-group>', any)),
      { action: 'pass', protocol: 6, source: '0.0.0.0/0' },
    ],
    [
      'a subnet with bits past its length',
      acl(match('any', subnet('10.32.7.7', 16), any)),
      { action: 'pass', source: '10.32.0.0/16' },
    ],
    [
      'ports with -1 for any',
      acl(match('6', '', ports(-1, -1))),
      { action: 'pass', protocol: 6, source: '0.0.0.0/0' },
    ],
    [
      'both ends',
      acl(match('6', subnet('10.0.0.0', 8), ports(80, 90), subnet('10.1.0.0', 16))),
      {
        action: 'pass',
        protocol: 6,
        source: '10.0.0.0/8',
        destination: '10.1.0.0/16',
        destination_ports: [80, 90],
      },
    ],
    [
      'reject',
      acl(match('6', '', any), '<simple-action>reject</simple-action>'),
      { action: 'deny', protocol: 6, source: '0.0.0.0/0' },
    ],
    [
      'no action at all',
      acl(match('6', '', any), ''),
      { action: 'deny', protocol: 6, source: '0.0.0.0/0' },
    ],
  ])('%s', (_, text, expected) => {
    expect(ruled(text)).toEqual({ rules: [expected], notes: [] });
  });

  test.each<[string, string, RegExp]>([
    [
      'a group by its id',
      acl(match('any', '<security-group>8000002</security-group>', any)),
      /security group 8000002/,
    ],
    [
      'a network that is not known here',
      acl(match('any', '<virtual-network>default-domain:x:far</virtual-network>', any)),
      /default-domain:x:far/,
    ],
    [
      'a network without subnets',
      acl(match('any', '<virtual-network>default-domain:demo:services</virtual-network>', any)),
      /subnets are not known/,
    ],
    [
      'a network and a subnet at once',
      acl(match('any', `<virtual-network>${BLUE}</virtual-network>${subnet('10.0.0.0', 8)}`, any)),
      /at once/,
    ],
    [
      'a policy for an address',
      acl(match('any', '<network-policy>p</network-policy>', any)),
      /network policy p/,
    ],
    ['types of ICMP', acl(match('1', '', ports(8, 8))), /types of ICMP/],
    ['ports the wrong way round', acl(match('6', '', ports(9, 8))), /ports 9 to 8/],
    [
      'a way round by a service',
      acl(
        match('6', '', any),
        '<simple-action>pass</simple-action><assign-routing-instance>fw</assign-routing-instance>',
      ),
      /by way of routing-instance fw/,
    ],
  ])('%s: lets nothing pass, and is named', (_, text, why) => {
    const { rules, notes } = ruled(text);
    expect(rules).toEqual([]);
    expect(notes).toHaveLength(1);
    expect(notes[0]).toMatch(why);
    expect(notes[0]).toContain('lets nothing pass');
  });

  test('one that denies what cannot be said denies more, before what passes', () => {
    const { rules, notes } = ruled(
      acl(match('6', '<security-group>8000002</security-group>', ports(22, 22)), DENY),
      acl(match('any', '', any)),
    );
    expect(rules).toEqual([
      { action: 'deny', protocol: 6, source: '0.0.0.0/0', destination_ports: [22, 22] },
      { action: 'pass', source: '0.0.0.0/0' },
    ]);
    expect(notes[0]).toContain('denies more than it says');
  });

  test('in both directions, where it says so', () => {
    const { rules } = ruled(
      acl(
        match('6', subnet('10.0.0.0', 8), ports(80, 80), subnet('10.1.0.0', 16)),
        undefined,
        '<direction>&lt;&gt;</direction>',
      ),
    );
    expect(rules?.[1]).toEqual({
      action: 'pass',
      protocol: 6,
      source: '10.1.0.0/16',
      destination: '10.0.0.0/8',
      source_ports: [80, 80],
    });
  });

  test('prefixes of two families do not meet', () => {
    const { rules } = ruled(acl(match('any', subnet('fd00::', 16), any)));
    expect(rules).toEqual([]);
  });

  test('one that would be too long denies everything', () => {
    const list = Array.from(
      { length: 64 },
      (_, i) =>
        `<subnet-list><ip-prefix>10.${i}.0.0</ip-prefix><ip-prefix-len>16</ip-prefix-len></subnet-list>`,
    ).join('');
    const text = acl(match('any', list + subnet('10.0.0.0', 16), any, list));
    expect(ruled(text)).toEqual({
      rules: [{ action: 'deny' }],
      notes: ['more than 4096 rules here: it denies everything'],
    });
  });

  test('a group that has no list lets nothing pass', () => {
    const { vifs, policies } = state(without('ingress-access-control-list'));
    const [closed] = vifs[0]?.ingress_groups ?? [];
    expect(policies.find((policy) => policy.name === closed)?.rules).toEqual([]);
    expect(vifs[0]?.egress_groups).toEqual([EGRESS]);
  });

  test.each<[string, string, 'network_policies' | 'ingress_groups' | 'egress_groups']>([
    ['group', '<security-group-id>', 'ingress_groups'],
    ['group', '<security-group-id>', 'egress_groups'],
    ['list of its network', '>acl<', 'network_policies'],
  ])('a %s that is linked and not there lets nothing pass (%s)', (_, part, key) => {
    const joined = link(
      'virtual-network-access-control-list',
      ['virtual-network', BLUE],
      ['access-control-list', 'acl'],
    );
    const texts = without(part).concat(joined);
    const { vifs, policies, notes } = state(texts);
    const [closed] = vifs[0]?.[key] ?? [];
    expect(closed).toBeDefined();
    expect(policies.find((policy) => policy.name === closed)?.rules).toEqual([]);
    expect(notes.some(({ what }) => what === 'not there: lets nothing pass')).toBe(true);
  });

  test('an interface whose policy is off has neither', () => {
    const off = CONFIGURATION.map((t) =>
      t.replace(
        '<virtual-machine-interface-mac',
        '<virtual-machine-interface-disable-policy>true</virtual-machine-interface-disable-policy><virtual-machine-interface-mac',
      ),
    );
    expect(state(off).vifs[0]).not.toHaveProperty('ingress_groups');
  });
});
