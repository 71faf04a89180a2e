/** `objects:` of a control file: what is refused, and with which words. */
import { describe, expect, test } from 'vitest';
import { loadControl } from '../../../src/config/load.ts';
import type { ConfigError } from '../../../src/errors.ts';

const load = (objects: string) =>
  loadControl('control.yaml', `name: cent111\ninstances: []\nobjects:\n  ${objects}`).value.objects;

const PORT = "name: p, virtual_machine: m, network: n, mac: '02:00:00:00:00:01'";

describe('objects of a control file', () => {
  test('all of them', () => {
    expect(
      load(`networks: [{ name: 'd:p:n', id: 4, vni: 7, forwarding: l3, rpf: false, flood_unknown_unicast: true, subnets: [{ prefix: 'fd00::/64', gateway: 'fd00::1', dns: 'fd00::2', dhcp: false }], policy: a, import: ['64512:1'], export: [] }]
  security_groups: [{ name: g, id: 8000001, ingress: [{ protocol: 89, ports: [1, 2], remote: { prefix: 10.0.0.0/8 } }], egress: [{}] }]
  policies: [{ name: a, rules: [{ action: deny, protocol: tcp, source: { network: n }, source_ports: [0, 9], destination: { group: g }, destination_ports: [80, 80] }] }]
  ports: [{ ${PORT}, addresses: [10.0.0.1], security_groups: [g], enable: false }]
  floating_ips: [{ name: f, network: n, address: 192.0.2.1, ports: [p], direction: ingress, fixed_address: 10.0.0.1, port_mappings: [{ protocol: udp, from: 53, to: 1053 }] }]
  virtual_routers: [{ name: r, address: 192.0.2.11, virtual_machines: [m] }]`),
    ).toMatchObject({ ports: [{ name: 'p', enable: false }] });
  });

  test.each([
    ['ports: [{ name: p }]', 'objects.ports[0].virtual_machine', 'missing'],
    [`ports: [{ ${PORT}, addresses: [10.0.0.0/8] }]`, 'objects.ports[0].addresses[0]', 'not an IP'],
    [`ports: [{ ${PORT}, floating: x }]`, 'objects.ports[0].floating', 'unknown key'],
    [
      'networks: [{ name: n, subnets: [{ prefix: 10.0.0.0/24, gateway: "fd00::1" }] }]',
      'objects.networks[0].subnets[0].gateway',
      'not of the family of 10.0.0.0/24',
    ],
    ['security_groups: [{ name: g }]', 'objects.security_groups[0].id', 'missing'],
    [
      'security_groups: [{ name: g, id: 1, ingress: [{ remote: { group: a, network: b } }] }]',
      'objects.security_groups[0].ingress[0].remote',
      'one of prefix, network, group',
    ],
    [
      'floating_ips: [{ name: f, network: n, address: 192.0.2.1, ports: [], port_mappings: [{ protocol: icmp, from: 1, to: 1 }] }]',
      'objects.floating_ips[0].port_mappings[0].protocol',
      'unknown value "icmp"',
    ],
    ['routers: []', 'objects.routers', 'unknown key "routers"'],
  ])('%s', (text, key, message) => {
    const problem = (() => {
      try {
        load(text);
      } catch (error) {
        return (error as ConfigError).problems?.[0];
      }
      return undefined;
    })();
    expect(problem?.key).toBe(key);
    expect(problem?.message).toContain(message);
  });
});
