import { describe, expect, test } from 'vitest';
import { ParseError } from '../../../src/errors.ts';
import { checkName, checkRoute, checkUpdate, parseEvpnPrefix } from '../../../src/rib/check.ts';
import { hop, route } from '../../support/routes.ts';

const good = route('pods', '10.0.0.1/32', [hop('1.1.1.1', 17)]);

test('text becomes canonical, so equal routes are equal', () => {
  const checked = checkRoute({
    ...good,
    family: 'inet6',
    prefix: 'FD00:0::/64',
    hops: [{ address: 'FD00::0001', label: 3, encaps: ['vxlan'], mac: '00-00-5E-00-01-00' }],
    routeTargets: ['target:64512:1'],
  });
  expect(checked.prefix).toBe('fd00::/64');
  expect(checked.hops[0]).toEqual({
    address: 'fd00::1',
    label: 3,
    encaps: ['vxlan'],
    mac: '00:00:5e:00:01:00',
  });
  expect(checked.routeTargets).toEqual(['64512:1']);
});

describe('the field at fault is named', () => {
  const bad: [string, unknown][] = [
    ['route: not an object', 7],
    ['route: not an object', []],
    ['route: unknown field "prefiks"', { ...good, prefiks: 1 }],
    ['route.instance', { ...good, instance: '' }],
    ['route.instance', { ...good, instance: 'a\nb' }],
    ['route.instance', { ...good, instance: 'x'.repeat(129) }],
    ['route.family', { ...good, family: 'ipx' }],
    ['route.prefix', { ...good, prefix: '10.0.0.1/8' }],
    ['route.prefix', { ...good, prefix: 'fd00::/64' }],
    ['route.hops', { ...good, hops: undefined }],
    ['route.hops: is empty', { ...good, hops: [] }],
    ['route.hops: more than 1024', { ...good, hops: Array(1025).fill(hop('1.1.1.1', 1)) }],
    ['route.hops[0].address', { ...good, hops: [hop('1.1.1', 1)] }],
    ['route.hops[0].label', { ...good, hops: [hop('1.1.1.1', -1)] }],
    ['route.hops[0].label', { ...good, hops: [hop('1.1.1.1', 0xfffff)] }],
    ['route.hops[0].label', { ...good, hops: [hop('1.1.1.1', 1.5)] }],
    ['route.hops[0].encaps: is empty', { ...good, hops: [hop('1.1.1.1', 1, { encaps: [] })] }],
    ['route.hops[0].encaps[0]', { ...good, hops: [{ ...hop('1.1.1.1', 1), encaps: ['ipip'] }] }],
    ['encaps: names one twice', { ...good, hops: [hop('1.1.1.1', 1, { encaps: ['udp', 'udp'] })] }],
    ['route.hops[0].weight', { ...good, hops: [hop('1.1.1.1', 1, { weight: 65536 })] }],
    ['route.hops[0].member', { ...good, hops: [hop('1.1.1.1', 1, { member: 65535 })] }],
    ['one member id twice', { ...good, hops: [1, 2].map((l) => hop('1.1.1.1', l, { member: 3 })) }],
    ['route.med', { ...good, med: '1' }],
    ['route.routeTargets[1]', { ...good, routeTargets: ['1:1', 'x'] }],
    ['route.securityGroups', { ...good, securityGroups: {} }],
    ['route.loadBalance[0]', { ...good, loadBalance: ['colour'] }],
  ];
  test.each(bad)('%s', (where, value) => {
    expect(() => checkRoute(value)).toThrow(ParseError);
    expect(() => checkRoute(value)).toThrow(where);
  });
});

test('updates: each type has what it needs', () => {
  expect(checkUpdate({ type: 'stale', instance: 'a' })).toEqual({ type: 'stale', instance: 'a' });
  expect(() => checkUpdate({ type: 'withdraw' })).toThrow('update.key');
  expect(() => checkUpdate({ type: 'announce', route: {} })).toThrow('update.route');
  expect(() => checkUpdate({ type: 'gone' })).toThrow('update.type');
});

test('evpn prefixes', () => {
  expect(parseEvpnPrefix('02:00:00:00:00:01')).toEqual({ mac: '02:00:00:00:00:01' });
  expect(parseEvpnPrefix('02-00-00-00-00-01,FD00::1/128')).toEqual({
    mac: '02:00:00:00:00:01',
    ip: 'fd00::1/128',
  });
  expect(() => parseEvpnPrefix('02:00:00:00:00:01,')).toThrow(ParseError);
});

test('names may hold any letters, but no controls and no half characters', () => {
  expect(checkName('naïve-Ω', 'n')).toBe('naïve-Ω');
  for (const bad of ['a\u0000', 'a\u007f', 'a\u0085', 'a\ud800']) {
    expect(() => checkName(bad, 'n')).toThrow(ParseError);
  }
});
