/** What of a tenant's goes to the agent, by the node file; and the MTU it is told. */
import { describe, expect, it } from 'vitest';
import type { NodeFile, VifFile } from '../../../src/config/node.ts';
import { nodeReferenceProblems } from '../../../src/config/references.ts';
import { vifIntent } from '../../../src/program/node-intents.ts';
import { tunnelMtu } from '../../../src/program/tenant-services.ts';

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

describe('the MTU of a tenant', () => {
  const underlay = { port: { kind: 'memory' as const }, mac: '02:00:00:00:00:14' };
  it.each([
    [{ ipv4: '192.0.2.1' }, 1450],
    [{ ipv6: 'fd00::1' }, 1430],
    [{ ipv4: '192.0.2.1', encaps: ['udp' as const, 'gre' as const] }, 1468],
    [{ ipv4: '192.0.2.1', encaps: ['gre' as const], mtu: 9000 }, 8972],
  ])('over %j is %i', (more, mtu) => expect(tunnelMtu({ ...underlay, ...more })).toBe(mtu));
});
