/** What of a tenant's goes to the agent, by the node file; and the MTU it is told. */
import { describe, expect, it } from 'vitest';
import type { NodeFile, VifFile } from '../../../src/config/node.ts';
import { nodeReferenceProblems } from '../../../src/config/references.ts';
import { hostNetwork } from '../../../src/program/host-side.ts';
import { vifIntent } from '../../../src/program/node-intents.ts';
import { told, tunnelMtu } from '../../../src/program/tenant-services.ts';

const bare: VifFile = {
  name: 'pod-a',
  port: { kind: 'memory' },
  vrf: 'pods',
  tenant_mac: '02:00:00:00:00:01',
};
const v4 = { ...bare, ipv4: '10.1.0.1', gateway4: '10.1.0.254' };
const v6 = { ...bare, ipv6: 'fd00::1', gateway6: 'fd00::fe' };
const health_checks = [{ type: 'tcp' as const, port: 80 }];

describe("a tenant's packets", () => {
  it.each([
    ['no services', v4, undefined, [undefined, undefined]],
    ['services that are none', v4, {}, [undefined, undefined]],
    ['DHCP', v4, { dhcp: {} }, [true, undefined]],
    ['DHCP over IPv6', v6, { dhcp: {} }, [true, undefined]],
    ['DHCP without a gateway', { ...bare, ipv4: '10.1.0.1' }, { dhcp: {} }, [undefined, undefined]],
    ['DHCP, but not this one', { ...v4, dhcp: false }, { dhcp: {} }, [undefined, undefined]],
    ['DNS', v4, { dns: {} }, [undefined, true]],
    ['DNS without a gateway', bare, { dns: {} }, [undefined, undefined]],
    ['a health check', { ...v4, health_checks }, {}, [undefined, true]],
  ] as const)('go to the agent as it is asked for: %s', (_, vif, services, expected) => {
    const { trapDhcp, trapGateway } = vifIntent(vif as VifFile, 1, services);
    expect([trapDhcp, trapGateway]).toEqual(expected);
  });

  it('health checks that nobody would make are refused', () => {
    expect(() => vifIntent({ ...v4, health_checks }, 1)).toThrow(
      /pod-a: health_checks: .*services/,
    );
    expect(() => vifIntent({ ...bare, health_checks }, 1, {})).toThrow(/its gateway/);
    const file = { name: 'n', vrfs: [{ name: 'pods' }], vifs: [{ ...v4, health_checks }] };
    expect(nodeReferenceProblems(file as NodeFile)).toMatchObject([
      { path: ['vifs', 0, 'health_checks'] },
    ]);
    expect(nodeReferenceProblems({ ...file, services: {} } as NodeFile)).toEqual([]);
  });
});

describe('the link-local network', () => {
  const url = { url: 'http://192.0.2.1:8775' };
  const http = [{ type: 'http' as const, port: 80 }];
  it.each([
    ['metadata', v4, { metadata: url }, ['client']],
    ['metadata without a gateway', { ...bare, ipv4: '10.1.0.1' }, { metadata: url }, ['client']],
    ['metadata over IPv6', v6, { metadata: url }, undefined],
    ['nothing', v4, { host: {}, link_local: [] }, undefined],
    ['a check by HTTP', { ...v4, health_checks: http }, { host: {} }, ['server']],
    ['both', { ...v4, health_checks: http }, { metadata: url }, ['client', 'server']],
  ] as const)('is for who takes part: %s', (_, vif, services, expected) => {
    expect(vifIntent(vif as VifFile, 1, services as NodeFile['services']).linkLocal).toEqual(
      expected,
    );
  });

  it('a check by HTTP needs it, and IPv4', () => {
    expect(() => vifIntent({ ...v4, health_checks: http }, 1, { dhcp: {} })).toThrow(
      /pod-a: .*services\.host/,
    );
    expect(() => vifIntent({ ...v6, health_checks: http }, 1, { host: {} })).toThrow(/ipv4/);
  });

  it('DHCP says the way to it, over IPv4', () => {
    const underlay = { port: { kind: 'memory' }, mac: '02:00:00:00:00:14', ipv4: '192.0.2.1' };
    const link_local = [
      { name: 'a', address: '169.254.169.254', port: 81, to: { address: '::1', port: 1 } },
      { name: 'b', address: '169.254.1.1', port: 81, to: { address: '::1', port: 1 } },
    ];
    const services = { dhcp: {}, metadata: url, link_local };
    const file = { name: 'n', underlay, services } as unknown as NodeFile;
    const routes = (family: 4 | 6) =>
      told({ file, agent: undefined as never }, family).routes.map(({ prefix }) => prefix);
    expect(routes(4)).toEqual(['169.254.169.254/32', '169.254.1.1/32']);
    expect(routes(6)).toEqual([]);
    for (let i = 0; i < 30; i++) link_local.push({ ...link_local[1]!, address: `169.254.2.${i}` });
    expect(routes(4)).toHaveLength(16); // what fits into a message
  });

  it('services that are twice, or where they cannot be, are said at their place', () => {
    const to = { address: '127.0.0.1', port: 9000 };
    const link_local = [
      { name: 'a', address: '169.254.169.254', port: 80, to },
      { name: 'metadata', address: '169.254.169.254', port: 81, to },
      { name: 'c', address: '10.0.0.1', port: 80, to },
    ];
    const file = { name: 'n', services: { metadata: url, link_local } } as unknown as NodeFile;
    expect(nodeReferenceProblems(file).map(({ path }) => path.slice(2))).toEqual([
      [0, 'port'],
      [1, 'name'],
      [2, 'address'],
    ]);
    const services = { link_local: [{ ...link_local[0], address: '169.254.65.1' }] };
    expect(() => hostNetwork({ services } as NodeFile)).toThrow(/services\.host\.network/);
    expect(hostNetwork({} as NodeFile)).toBeUndefined();
  });
});

describe('the MTU of a tenant', () => {
  const underlay = { port: { kind: 'memory' as const }, mac: '02:00:00:00:00:14' };
  it.each([
    [{ ipv4: '192.0.2.1' }, 1450],
    [{ ipv6: 'fd00::1' }, 1430],
    [{ ipv4: '192.0.2.1', encaps: ['udp' as const, 'gre' as const] }, 1468],
    [{ ipv4: '192.0.2.1', encaps: ['gre' as const], mtu: 9000 }, 8972],
  ])('over %j is %i', (more, mtu) => expect(tunnelMtu({ ...underlay, ...more })).toBe(mtu));
});
