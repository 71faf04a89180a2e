import { describe, expect, it } from 'vitest';
import { staticRoute, staticRouteKey, uplinkPort } from '../../../src/program/node-intents.ts';

const hops = [{ address: '10.0.0.2', label: 42 }];

describe('static routes', () => {
  it.each([
    [{ prefix: '10.1.0.1' }, 'inet', '10.1.0.1/32'],
    [{ prefix: 'FD00:0::/64' }, 'inet6', 'fd00::/64'],
    [{ mac: '02:00:00:00:00:AB' }, 'evpn', '02:00:00:00:00:ab'],
    [{ mac: '02-00-00-00-00-ab', address: '10.1.0.1' }, 'evpn', '02:00:00:00:00:ab,10.1.0.1/32'],
    [{ mac: '02:00:00:00:00:ab', address: 'fd00::01' }, 'evpn', '02:00:00:00:00:ab,fd00::1/128'],
    [{ mac: 'FF:FF:FF:FF:FF:FF' }, 'evpn', 'ff:ff:ff:ff:ff:ff'],
  ])('%j is one of %s, %s, in whatever spelling', (where, family, prefix) => {
    const key = { instance: 'red', family, prefix };
    expect(staticRouteKey({ instance: 'red', ...where })).toEqual(key);
    expect(staticRoute({ instance: 'red', ...where, hops })).toEqual({
      ...key,
      hops: [{ address: '10.0.0.2', label: 42, encaps: ['udp', 'gre'] }],
    });
  });
});

describe('the port of an uplink', () => {
  const mac = '02:00:00:00:00:01';
  const tap = { kind: 'tap', name: 'uplink', offloads: 'uplink' } as const;
  const shared = { interface: 'eth1' };

  it('is told what tc joins it with, where the uplink is shared with the host', () => {
    expect(uplinkPort({ mac, port: tap, shared })).toEqual({ ...tap, joined: 'eth1' });
    expect(uplinkPort({ mac, port: { ...tap, joined: 'eth1' } })).toEqual({
      ...tap,
      joined: 'eth1',
    });
    expect(uplinkPort({ mac, port: tap })).toEqual(tap);
    expect(uplinkPort({ mac, port: { kind: 'memory' }, shared })).toEqual({ kind: 'memory' });
  });
});
