/** What a configuration asks of a node: the ancestor's messages in, words of the node file out. */
import { describe, expect, test } from 'vitest';
import { checkParams } from '../../../src/config/load.ts';
import { policySchema, vifSchema, vrfSchema } from '../../../src/config/node.ts';
import { type ConfiguredPort, policyName } from '../../../src/configured/desired.ts';
import { desiredState } from '../../../src/configured/translate.ts';
import { graphOf } from '../../support/config-graph.ts';
import {
  BLUE,
  BLUE_RI,
  CONFIGURATION,
  configIqs,
  floatingIp,
  GROUP,
  INSTANCE_IP,
  link,
  name,
  SERVICES,
  SERVICES_RI,
  VM,
  VMI,
  VMI_UUID,
} from '../../support/config-text.ts';

const PORT: ConfiguredPort = { name: 'pod1', vmi: VMI_UUID };
const state = (texts: readonly string[], asked: readonly ConfiguredPort[] = [PORT]) =>
  desiredState(graphOf(configIqs(texts)), asked);
const without = (...parts: readonly string[]) =>
  CONFIGURATION.filter((text) => !parts.some((part) => text.includes(part)));
// About a group by its id, so a policy of the instance's own.
const INGRESS = policyName(`${GROUP}:ingress-access-control-list in ${BLUE_RI}`);
const EGRESS = policyName(`${GROUP}:egress-access-control-list`);

test('an interface with all that it has', () => {
  const { notes, groups, ...found } = state(CONFIGURATION);
  expect([...groups]).toEqual([8_000_001]);
  expect(found).toEqual({
    vrfs: [
      { name: BLUE_RI, network: BLUE, vni: 5 },
      { name: SERVICES_RI, network: SERVICES, vni: 6 },
    ],
    policies: [
      { name: EGRESS, rules: [{ action: 'pass', source: '0.0.0.0/0' }] },
      {
        name: INGRESS,
        rules: [
          { action: 'pass', protocol: 6, source: '10.32.0.0/12', destination_ports: [8080, 8080] },
        ],
      },
    ],
    vifs: [
      {
        name: 'pod1',
        vrf: BLUE_RI,
        tenant_mac: '02:ef:1e:98:28:05',
        ipv4: '10.32.0.5',
        gateway4: '10.32.0.1',
        instance_id: VM,
        floating_ips: [
          {
            address: '10.96.0.10',
            vrf: SERVICES_RI,
            direction: 'ingress',
            ports: [{ protocol: 'tcp', port: 80, to_port: 8080 }],
          },
        ],
        ingress_groups: [INGRESS],
        egress_groups: [EGRESS],
        security_group_ids: [8_000_001],
      },
    ],
    waiting: [],
  });
  expect(notes).toEqual([
    {
      object: `access-control-list ${GROUP}:egress-access-control-list`,
      what: 'rule 2 (r-1) lets nothing pass: virtual network default-domain:far:green: its subnets are not known here',
    },
    {
      object: `access-control-list ${GROUP}:ingress-access-control-list`,
      what: 'rule 2 (r-1) lets nothing pass: security group 8000001: its members are not known here',
    },
  ]);
  // In the node file's own words; but its policies have names that no policy of the node file can have.
  const port = { kind: 'memory' };
  const legal = (names: readonly string[] = []) => names.map((one) => one.replaceAll(' ', ':'));
  for (const { ingress_groups, egress_groups, ...vif } of found.vifs) {
    const groups = { ingress_groups: legal(ingress_groups), egress_groups: legal(egress_groups) };
    checkParams(vifSchema, 'vif', { ...vif, ...groups, port });
    expect(() => checkParams(vifSchema, 'vif', { ...vif, ingress_groups, port })).toThrow('a name');
  }
  for (const vrf of found.vrfs) checkParams(vrfSchema, 'vrf', vrf);
  for (const { rules } of found.policies) checkParams(policySchema, 'policy', { name: 'p', rules });
});

test('the order of messages says nothing', () => {
  const turned = [...CONFIGURATION].reverse();
  expect(state(turned)).toEqual(state(CONFIGURATION));
});

test.each([
  ['by name', VMI],
  ['by UUID', VMI_UUID],
  ['by UUID in capitals', VMI_UUID.toUpperCase()],
])('a port names its interface %s', (_, vmi) => {
  expect(state(CONFIGURATION, [{ name: 'p', vmi }]).vifs).toHaveLength(1);
});

test('by UUID of its id-perms, where its name has none', () => {
  const renamed = CONFIGURATION.map((text) => text.replaceAll(VMI, 'default-domain:demo:pod'));
  expect(state(renamed).vifs).toHaveLength(1);
});

describe('a port waits, and says for what', () => {
  const other = { name: 'pod0', vmi: VMI };
  test.each<[string, readonly string[], readonly ConfiguredPort[], string]>([
    ['interface', [], [PORT], `no virtual-machine-interface ${VMI_UUID} in the configuration`],
    [
      'MAC address',
      CONFIGURATION.map((t) => t.replace(/<virtual-machine-interface-mac.*addresses>/, '')),
      [PORT],
      `${VMI} has no MAC address`,
    ],
    [
      'being enabled',
      CONFIGURATION.map((t) => t.replace('<enable>true', '<enable>false')),
      [PORT],
      `${VMI} is disabled`,
    ],
    ['network', without(`>${BLUE}<`), [PORT], `${VMI} has no virtual-network`],
    ['instance', without(`>${BLUE_RI}<`), [PORT], `${VMI}: no routing-instance of ${BLUE}`],
    ['address', without('>iip-1<'), [PORT], `${VMI} has no instance-ip`],
    [
      'interface of its own',
      CONFIGURATION,
      [PORT, other],
      `virtual-machine-interface ${VMI} is port pod0's`,
    ],
  ])('%s', (_, texts, asked, reason) => {
    const found = state(texts, asked);
    expect(found.waiting).toEqual([{ port: 'pod1', reason }]);
    expect(found.vifs.map((vif) => vif.name)).toEqual(asked.length > 1 ? ['pod0'] : []);
  });

  test('an instance whose name is too long', () => {
    const long = CONFIGURATION.map((t) => t.replaceAll(BLUE_RI, `x:${'y'.repeat(130)}`));
    expect(state(long).waiting[0]?.reason).toContain('no name that a VRF can have');
  });
});

describe('floating IPs', () => {
  const only = (texts: readonly string[]) => {
    const { vifs, notes } = state(texts);
    return { fips: vifs[0]?.floating_ips, notes: notes.map(({ what }) => what) };
  };
  const given = (text: string) => CONFIGURATION.map((t) => (t === floatingIp() ? text : t));

  test('by pool', () => {
    const pool = ['floating-ip-pool', 'pool'] as const;
    const texts = without('instance-ip-floating-ip').concat(
      name(...pool),
      link('floating-ip-pool-floating-ip', pool, ['floating-ip', 'svc-fip']),
      link('virtual-network-floating-ip-pool', ['virtual-network', BLUE], pool),
    );
    expect(only(texts).fips?.[0]?.vrf).toBe(BLUE_RI);
  });

  test.each<[string, string, string]>([
    [
      'an address of its own that is another',
      floatingIp().replace(
        '<floating-ip-tr',
        '<floating-ip-fixed-ip-address>10.32.0.6</floating-ip-fixed-ip-address><floating-ip-tr',
      ),
      'it is for 10.32.0.6',
    ],
    ['another family', floatingIp(1, 'fd00::1'), 'the interface has no address of that family'],
    [
      'no address',
      floatingIp().replace(/<floating-ip-address>.*<.floating-ip-address>/, ''),
      'it has no address',
    ],
  ])('not had: %s', (_, text, why) => {
    const { fips, notes } = only(given(text));
    expect(fips).toBeUndefined();
    expect(notes).toContain(`not had by ${VMI}: ${why}`);
  });

  test('not had without a network', () => {
    expect(only(without('instance-ip-floating-ip')).fips).toBeUndefined();
  });

  test.each<[string, string]>([
    ['ICMP', floatingIp().replace('TCP', '1')],
    ['any', floatingIp().replace('TCP', 'any')],
    ['no port', floatingIp().replace('<src-port>80</src-port>', '')],
  ])('a mapping of %s closes its port, and no others come in its stead', (_, text) => {
    const { fips, notes } = only(given(text));
    expect(fips?.[0]?.ports).toEqual([]);
    expect(notes.some((what) => what.startsWith('port mapping 1 is none'))).toBe(true);
  });

  test('without the word that mappings are meant it is of all ports', () => {
    const text = floatingIp().replace('enable>true', 'enable>false');
    expect(only(given(text)).fips?.[0]).not.toHaveProperty('ports');
  });
});

describe('addresses and networks', () => {
  test('the second address is named, and is not taken over', () => {
    const { vifs, notes } = state(
      CONFIGURATION.concat(
        INSTANCE_IP.replaceAll('iip-1', 'iip-2').replace('10.32.0.5', '10.32.0.9'),
        link(
          'instance-ip-virtual-machine-interface',
          ['instance-ip', 'iip-2'],
          ['virtual-machine-interface', VMI],
        ),
      ),
    );
    expect(vifs[0]?.ipv4).toBe('10.32.0.5');
    expect(notes.map(({ object }) => object)).toContain('instance-ip iip-2');
  });

  test('both families', () => {
    const { vifs } = state(
      CONFIGURATION.concat(
        INSTANCE_IP.replaceAll('iip-1', 'iip-6').replace('10.32.0.5', 'fd00::5'),
        link(
          'instance-ip-virtual-machine-interface',
          ['instance-ip', 'iip-6'],
          ['virtual-machine-interface', VMI],
        ),
      ),
    );
    expect(vifs[0]).toMatchObject({ ipv4: '10.32.0.5', ipv6: 'fd00::5', gateway4: '10.32.0.1' });
    expect(vifs[0]).not.toHaveProperty('gateway6');
  });

  test.each<[string, string, number | undefined]>([
    [
      'its own',
      '<virtual-network-properties><vxlan-network-identifier>77</vxlan-network-identifier></virtual-network-properties>',
      77,
    ],
    [
      'none of a routed network',
      '<virtual-network-properties><forwarding-mode>l3</forwarding-mode></virtual-network-properties>',
      undefined,
    ],
  ])('VNI: %s', (_, properties, vni) => {
    const texts = CONFIGURATION.map((t) =>
      t.replace('<virtual-network-network-id>5<', `${properties}<virtual-network-network-id>5<`),
    );
    expect(state(texts).vrfs[0]?.vni).toBe(vni);
  });

  test('two networks with one VNI: the second has none, and that is named', () => {
    const { vrfs, notes } = state(
      CONFIGURATION.map((t) => t.replace('network-id>6<', 'network-id>5<')),
    );
    expect(vrfs).toEqual([
      { name: BLUE_RI, network: BLUE, vni: 5 },
      { name: SERVICES_RI, network: SERVICES },
    ]);
    expect(notes.map(({ object }) => object)).toContain(`routing-instance ${SERVICES_RI}`);
  });
});

test('names of policies: as long as they may be, and two long ones are two', () => {
  const long = 'ü'.repeat(100);
  const [a, b] = [policyName(`${long}a`), policyName(`${long}b`)];
  expect(a).not.toBe(b);
  expect(Buffer.byteLength(a)).toBeLessThanOrEqual(128);
  expect(a).not.toContain('\ufffd');
});
