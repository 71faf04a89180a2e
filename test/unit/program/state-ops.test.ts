import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { loadState } from '../../../src/config/load.ts';
import type { Op } from '../../../src/dataplane/api.ts';
import { encodeProgram } from '../../../src/dataplane/program.ts';
import { ConfigError } from '../../../src/errors.ts';
import { compileState, NO_LABEL } from '../../../src/program/state-ops.ts';

function compile(text: string): Op[] {
  return [...compileState(loadState('s.yaml', text), () => 9).ops];
}

function problems(text: string) {
  try {
    compile(text);
  } catch (error) {
    if (error instanceof ConfigError) return error.problems.map((p) => [p.line, p.key, p.message]);
    throw error;
  }
  throw new Error('accepted');
}

const BASE = `router: {ipv4: 10.0.0.1, timeouts: [{protocol: tcp, state: closing, seconds: 5}]}
vrfs: [{name: fabric, id: 0}, {name: red}, {name: blue, id: 1}, {name: green}]
vifs:
  - {name: eth0, type: physical, vrf: fabric, mac: 02:00:00:00:00:AA}
  - {name: vm, type: virtual, vrf: red, ipv4: 10.1.0.5, flags: [policy, l2], ingress_groups: [web]}
policies: [{name: web, rules: [{action: pass, protocol: tcp, source: 10.0.0.0/8, destination_ports: [80, 81]}]}]
next_hops:
  - {name: l2, type: interface, vrf: red, vif: vm, flags: [bridge], destination_mac: 02:00:00:00:00:01}
  - {name: vm, type: interface, vrf: red, vif: vm, flags: [policy], destination_mac: 02:00:00:00:00:01}
  - {name: far, type: tunnel, vif: eth0, encap: vxlan, destination: 10.0.0.2, destination_mac: 02:00:00:00:00:02}
  - {name: set, type: ecmp, vrf: red, hash_fields: [source, destination_port], members: [{id: 7, next_hop: far, label: 30}, {id: 3, next_hop: vm, weight: 0}]}
  - {name: flood, type: replicate, vrf: red, kind: evpn, replicas: [{next_hop: far, label: 5}]}
`;

describe('compileState', () => {
  it('gives ids in file order around those that are said', () => {
    const ops = compile(BASE);
    const vrfs = ops.flatMap((op) => (op.op === 'vrf_set' ? [[op.name, op.vrf]] : []));
    expect(vrfs).toEqual([
      ['fabric', 0],
      ['red', 2],
      ['blue', 1],
      ['green', 3],
    ]);
    expect(compile(BASE)).toEqual(ops);
  });

  it('fills in what is not said', () => {
    const ops = compile(BASE);
    expect(ops[0]).toMatchObject({
      op: 'router_set',
      ipv4: '10.0.0.1',
      timeouts: [{ protocol: 6, state: 2, seconds: 5 }],
    });
    const vif = ops.find((op) => op.op === 'vif_set' && op.name === 'vm');
    // Its own next hop is the plain one, not the bridged one before it.
    expect(vif).toMatchObject({
      vif: 1,
      port: 9,
      flags: 0x81,
      nextHop: 2,
      mtu: 1500,
      mac: '00:00:5e:00:01:00',
      ingressGroups: [{ policy: 1 }],
    });
    expect(ops.find((op) => op.op === 'nh_tunnel_set')).toMatchObject({
      vrf: 0,
      encap: 3,
      source: '10.0.0.1',
      sourceMac: '02:00:00:00:00:aa',
      l3VxlanMac: '',
    });
    expect(ops.find((op) => op.op === 'nh_ecmp_set')).toMatchObject({
      hashFields: 0x12,
      members: [
        { member: 7, nextHop: 3, label: 30, weight: 1 },
        { member: 3, nextHop: 2, label: NO_LABEL, weight: 0 },
      ],
    });
    expect(ops.find((op) => op.op === 'nh_replicate_set')).toMatchObject({ kind: 3 });
    expect(ops.find((op) => op.op === 'policy_set')).toMatchObject({
      rules: [
        {
          action: 1,
          protocol: 6,
          source: '10.0.0.0/8',
          destination: '',
          destinationPortLow: 80,
          destinationPortHigh: 81,
          sourcePortHigh: 65535,
        },
      ],
    });
  });

  it('compiles every table', () => {
    const ops = compile(`${BASE}
routes:
  - {vrf: red, prefix: 10.1.0.5, next_hop: vm, flags: [proxy, flood], mac: 02:00:00:00:00:01}
  - {vrf: red, prefix: 'fd00::/64', next_hop: discard}
macs: [{vrf: red, mac: 02:00:00:00:00:01, next_hop: l2, flags: [dhcp_flood]}]
labels: [{label: 20, next_hop: vm}]
vnis: [{vni: 5, next_hop: flood}]
floating_ips:
  - {vif: vm, vrf: blue, address: 192.0.2.5}
  - {vif: vm, vrf: blue, address: 192.0.2.6, direction: egress, ports: []}
source_nats: [{vrf: red, to_vrf: fabric, address: 10.0.0.1, ports: [50000, 50999]}]
`);
    const of = (name: string) => ops.filter((op) => op.op === name);
    expect(of('route_set')).toMatchObject([
      { prefix: '10.1.0.5/32', flags: 0xa, nextHop: 2, label: NO_LABEL },
      { prefix: 'fd00::/64', nextHop: 0 },
    ]);
    expect(of('mac_set')).toMatchObject([{ nextHop: 1, flags: 4 }]);
    expect(of('label_set')).toEqual([{ op: 'label_set', label: 20, nextHop: 2 }]);
    expect(of('vni_set')).toEqual([{ op: 'vni_set', vni: 5, nextHop: 5 }]);
    expect(of('floating_ip_set')).toMatchObject([
      { floatingIp: 1, fixed: '10.1.0.5', direction: 0, portMap: 0 },
      { floatingIp: 2, direction: 2, portMap: 1, ports: [] },
    ]);
    expect(of('source_nat_set')).toMatchObject([{ portLow: 50000, portHigh: 50999, source: '' }]);
    // Every op is one that the data plane's codec takes.
    expect(encodeProgram(ops).length).toBeGreaterThan(ops.length * 8);
  });

  it('refuses names that nothing has, twice-used names and ids, at their places', () => {
    expect(
      problems(`${BASE}routes:
  - {vrf: rd, prefix: 10.0.0.0/8, next_hop: vm}
  - {vrf: red, prefix: 10.0.0.0/8, next_hop: 77}
labels: [{label: 16, next_hop: vn}]
`),
    ).toEqual([
      [14, 'routes[0].vrf', 'no VRF is called "rd" (did you mean "red"?)'],
      [15, 'routes[1].next_hop', 'no next hop has id 77'],
      [16, 'labels[0].next_hop', 'no next hop is called "vn" (did you mean "vm"?)'],
    ]);
    expect(problems('vrfs: [{name: a}, {name: b, id: 4}, {name: a}, {name: c, id: 4}]')).toEqual([
      [1, 'vrfs[2].name', '"a" is a name twice'],
      [1, 'vrfs[3].id', 'b has id 4 already'],
    ]);
    expect(
      problems(
        'vrfs: [{name: a, id: 0}]\nvifs: [{name: e, type: physical, vrf: a}]\nnext_hops:\n  - {type: tunnel, vif: e, encap: vxlan, destination: "fd00::2", destination_mac: 02:00:00:00:00:02}\n',
      ),
    ).toEqual([[4, 'next_hops[0]', 'no source, and router.ipv6 is not set either']]);
    expect(
      problems(
        'vrfs: [{name: a}]\nvifs: [{name: v, type: virtual, vrf: a}]\nfloating_ips:\n  - {vif: v, vrf: a, address: 1.2.3.4}\n',
      ),
    ).toEqual([[4, 'floating_ips[0]', 'no fixed address, and vif "v" has no ipv4']]);
  });

  it.each(['cent222', 'cent333'])('compiles the example %s', (name) => {
    const file = new URL(`../../../examples/clusterip/${name}.yaml`, import.meta.url);
    const ops = compile(readFileSync(file, 'utf8'));
    expect(ops.filter((op) => op.op === 'floating_ip_set')).toHaveLength(2);
  });
});
