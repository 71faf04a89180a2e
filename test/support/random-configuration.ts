/** Random configurations of a few interfaces, for fast-check: mostly whole, each part missing now and then. */
import fc from 'fast-check';
import type { ConfiguredPort } from '../../src/configured/desired.ts';
import type { ConfigLink, ConfigNode, ObjectKey } from '../../src/ifmap/graph.ts';
import type { LinkType } from '../../src/ifmap/objects.ts';

export interface RandomConfiguration {
  readonly nodes: readonly ConfigNode[];
  readonly links: readonly ConfigLink[];
  readonly ports: readonly ConfiguredPort[];
}

const interfaceArbitrary = fc.record({
  network: fc.nat(2),
  address: fc.option(fc.integer({ min: 2, max: 250 }), { freq: 8 }),
  second: fc.option(fc.integer({ min: 2, max: 250 }), { freq: 2 }),
  mac: fc.boolean(),
  groups: fc.uniqueArray(fc.nat(2), { maxLength: 3 }),
  fips: fc.uniqueArray(fc.nat(3), { maxLength: 3 }),
  machine: fc.boolean(),
});

const ruleArbitrary = fc.record({
  match: fc.record(
    {
      protocol: fc.constantFrom('any', '6', 'udp', '1'),
      ethertype: fc.constantFrom('IPv4' as const, 'IPv6' as const),
      source: fc.constantFrom(
        {},
        { virtualNetwork: 'vn0' },
        { virtualNetwork: 'vn9' },
        { securityGroup: '7' },
        { subnet: { prefix: '10.0.0.0', length: 8 } },
        { subnet: { prefix: 'fd00::', length: 16 } },
      ),
      destinationPort: fc.constantFrom({ start: 0, end: 65535 }, { start: 80, end: 80 }),
    },
    { requiredKeys: ['protocol'] },
  ),
  action: fc.constantFrom({ simple: 'pass' as const }, { simple: 'deny' as const }),
});

const key = (type: ObjectKey['type'], name: string): ObjectKey => ({ type, name });

export const randomConfiguration: fc.Arbitrary<RandomConfiguration> = fc
  .record({
    interfaces: fc.array(interfaceArbitrary, { maxLength: 4 }),
    networks: fc.array(
      fc.record({
        instance: fc.boolean(),
        subnet: fc.boolean(),
        list: fc.boolean(),
        vni: fc.nat(3),
      }),
      { minLength: 3, maxLength: 3 },
    ),
    lists: fc.array(fc.array(ruleArbitrary, { maxLength: 3 }), { minLength: 5, maxLength: 5 }),
    mapped: fc.array(fc.boolean(), { minLength: 4, maxLength: 4 }),
  })
  .map(({ interfaces, networks, lists, mapped }) => {
    const nodes: ConfigNode[] = [];
    const links: ConfigLink[] = [];
    const join = (metadata: LinkType, a: ObjectKey, b: ObjectKey) =>
      links.push({ metadata, ends: [a, b] });
    networks.forEach(({ instance, subnet, list, vni }, i) => {
      const vn = key('virtual-network', `vn${i}`);
      nodes.push({ type: 'virtual-network', name: `vn${i}`, properties: { networkId: vni } });
      if (instance) {
        nodes.push({ type: 'routing-instance', name: `vn${i}:vn${i}`, properties: {} });
        join('virtual-network-routing-instance', vn, key('routing-instance', `vn${i}:vn${i}`));
      }
      if (subnet) {
        const value = {
          subnets: [{ subnet: { prefix: `10.${i}.0.0`, length: 24 }, gateway: `10.${i}.0.1` }],
        };
        nodes.push({
          type: 'virtual-network-network-ipam',
          name: `attr${i}`,
          properties: { value },
        });
        join('virtual-network-network-ipam', vn, key('virtual-network-network-ipam', `attr${i}`));
      }
      if (list) {
        const rules = lists[i] ?? [];
        nodes.push({
          type: 'access-control-list',
          name: `acl${i}`,
          properties: { entries: { rules } },
        });
        join('virtual-network-access-control-list', vn, key('access-control-list', `acl${i}`));
      }
    });
    for (const i of [0, 1, 2]) {
      nodes.push({ type: 'security-group', name: `sg${i}`, properties: { id: i } });
      for (const [n, direction] of ['ingress', 'egress'].entries()) {
        if (i === 2 && n === 1) continue; // a group that has only one of its lists
        const name = `sg${i}:${direction}-access-control-list`;
        const rules = lists[3 + n] ?? [];
        nodes.push({ type: 'access-control-list', name, properties: { entries: { rules } } });
        join(
          'security-group-access-control-list',
          key('security-group', `sg${i}`),
          key('access-control-list', name),
        );
      }
    }
    nodes.push({ type: 'floating-ip-pool', name: 'pool', properties: {} });
    join(
      'virtual-network-floating-ip-pool',
      key('virtual-network', 'vn2'),
      key('floating-ip-pool', 'pool'),
    );
    mapped.forEach((on, i) => {
      const properties = {
        address: `10.96.0.${i >> 1}`, // two are one address
        portMappingsEnabled: on,
        portMappings: { mappings: [{ protocol: 'TCP', from: 80, to: 8080 + i }] },
      };
      nodes.push({ type: 'floating-ip', name: `fip${i}`, properties });
      join(
        'floating-ip-pool-floating-ip',
        key('floating-ip-pool', 'pool'),
        key('floating-ip', `fip${i}`),
      );
    });
    interfaces.forEach((one, i) => {
      const vmi = key('virtual-machine-interface', `vm${i}:vmi${i}`);
      const macs = one.mac ? { macs: { addresses: [`02:00:00:00:00:0${i}`] } } : {};
      nodes.push({ type: 'virtual-machine-interface', name: vmi.name, properties: macs });
      join(
        'virtual-machine-interface-virtual-network',
        vmi,
        key('virtual-network', `vn${one.network}`),
      );
      for (const [n, address] of [one.address, one.second].entries()) {
        if (address === null) continue;
        const name = `iip${i}-${n}`;
        const properties = { address: `10.${one.network}.0.${address}`, secondary: n === 1 };
        nodes.push({ type: 'instance-ip', name, properties });
        join('instance-ip-virtual-machine-interface', key('instance-ip', name), vmi);
      }
      if (one.machine) {
        nodes.push({ type: 'virtual-machine', name: `vm${i}`, properties: {} });
        join('virtual-machine-interface-virtual-machine', vmi, key('virtual-machine', `vm${i}`));
      }
      for (const g of one.groups)
        join('virtual-machine-interface-security-group', vmi, key('security-group', `sg${g}`));
      for (const f of one.fips)
        join('floating-ip-virtual-machine-interface', key('floating-ip', `fip${f}`), vmi);
    });
    const ports = interfaces.map((_, i) => ({ name: `port${i}`, vmi: `vmi${i}` }));
    return {
      nodes,
      links,
      ports: [...ports, { name: 'more', vmi: 'none' }, { name: 'a-twin', vmi: 'vmi0' }],
    };
  });
