import { beforeEach, describe, expect, test } from 'vitest';
import { RouteExchange } from '../../../src/control/exchange.ts';
import { VRouterError } from '../../../src/errors.ts';
import { keyOf, type RouteSource, type RouteUpdate } from '../../../src/rib/route.ts';
import { hop, route } from '../../support/routes.ts';

const PODS = 'pods';
const SERVICES = 'services';
const VIP = '10.105.139.153/32';

let exchange: RouteExchange;
let heard: Record<string, RouteUpdate[]>;

beforeEach(() => {
  exchange = new RouteExchange();
  heard = {};
});

function attach(name: string, ...instances: string[]): RouteSource {
  const source = exchange.attach(name);
  heard[name] = [];
  source.onUpdates((updates) => heard[name]?.push(...updates));
  for (const [i, instance] of instances.entries()) source.subscribe(instance, i + 1);
  return source;
}

/** What was heard since last time, short: `+pods 10.0.0.1/32 1.1.1.1:17`. */
function take(name: string): string[] {
  const updates = heard[name] ?? [];
  heard[name] = [];
  return updates.map((u) => {
    if (u.type === 'withdraw') return `-${u.key.instance} ${u.key.prefix}`;
    if (u.type !== 'announce') return `${u.type} ${u.instance}`;
    const hops = u.route.hops.map((h) => `${h.address}:${h.label}`).join(' ');
    return `+${u.route.instance} ${u.route.prefix} ${hops}`;
  });
}

describe('echo and merge', () => {
  test('an agent hears its own route; then everyone, merged', () => {
    const a = attach('a', PODS);
    const b = attach('b', PODS);
    exchange.flush();
    expect([take('a'), take('b')]).toEqual([['end-of-rib pods'], ['end-of-rib pods']]);
    b.publish(route(PODS, VIP, [hop('10.0.0.2', 20)]));
    exchange.flush();
    expect(take('b')).toEqual([`+pods ${VIP} 10.0.0.2:20`]);
    a.publish(route(PODS, VIP, [hop('10.0.0.1', 17), hop('10.0.0.1', 18)]));
    exchange.flush();
    const merged = [`+pods ${VIP} 10.0.0.1:17 10.0.0.1:18 10.0.0.2:20`];
    expect([take('a'), take('b')].slice(0)).toEqual([
      [`+pods ${VIP} 10.0.0.2:20`, ...merged],
      merged,
    ]);
    b.withdraw(keyOf(route(PODS, VIP, [])));
    exchange.flush();
    expect(take('a')).toEqual([`+pods ${VIP} 10.0.0.1:17 10.0.0.1:18`]);
  });

  test('publishing again replaces; the same again is silence', () => {
    const a = attach('a', PODS);
    a.publish(route(PODS, VIP, [hop('10.0.0.1', 17)]));
    exchange.flush();
    take('a');
    a.publish(route(PODS, VIP, [hop('10.0.0.1', 17)]));
    expect(exchange.flush()).toBe(0);
    a.publish(route(PODS, VIP, [hop('10.0.0.1', 99)]));
    exchange.flush();
    expect(take('a')).toEqual([`+pods ${VIP} 10.0.0.1:99`]);
  });

  test('N changes between two flushes are one update', () => {
    const a = attach('a', PODS);
    exchange.flush();
    take('a');
    for (let label = 16; label < 116; label++)
      a.publish(route(PODS, VIP, [hop('10.0.0.1', label)]));
    expect(exchange.flush()).toBe(1);
    expect(take('a')).toEqual([`+pods ${VIP} 10.0.0.1:115`]);
  });

  test('a closed session takes its routes with it', () => {
    const a = attach('a', PODS);
    attach('b', PODS);
    a.publish(route(PODS, VIP, [hop('10.0.0.1', 17)]));
    exchange.flush();
    take('b');
    a.close();
    exchange.flush();
    expect(take('b')).toEqual([`-pods ${VIP}`]);
    expect(() => a.publish(route(PODS, VIP, [hop('10.0.0.1', 17)]))).toThrow("'a' is closed");
    expect(() => exchange.attach('a')).not.toThrow();
  });
});

describe('subscriptions', () => {
  test('existing routes come first, then end-of-rib, once', () => {
    const a = attach('a');
    a.publish(route(PODS, '10.0.0.2/32', [hop('10.0.0.1', 18)]));
    a.publish(route(PODS, '10.0.0.1/32', [hop('10.0.0.1', 17)]));
    exchange.flush();
    const b = attach('b', PODS);
    exchange.flush();
    expect(take('b')).toEqual([
      '+pods 10.0.0.1/32 10.0.0.1:17',
      '+pods 10.0.0.2/32 10.0.0.1:18',
      'end-of-rib pods',
    ]);
    expect(() => b.subscribe(PODS, 1)).toThrow(VRouterError);
    b.unsubscribe(PODS);
    a.publish(route(PODS, '10.0.0.1/32', [hop('10.0.0.1', 99)]));
    exchange.flush();
    expect(take('b')).toEqual([]);
    b.subscribe(PODS, 1);
    exchange.flush();
    expect(take('b')).toContain('end-of-rib pods');
  });

  test('not heard inside a call, nor re-entered by a listener', () => {
    const a = exchange.attach('a');
    const depths: number[] = [];
    let depth = 0;
    a.onUpdates((updates) => {
      depths.push(++depth);
      if (updates.some((u) => u.type === 'end-of-rib')) {
        a.publish(route(PODS, VIP, [hop('10.0.0.1', 17)]));
        expect(exchange.flush()).toBe(0);
      }
      depth--;
    });
    a.subscribe(PODS, 1);
    expect(depths).toEqual([]);
    exchange.flush();
    expect(depths).toEqual([1]);
    exchange.flush();
    expect(depths).toEqual([1, 1]);
  });

  test('one listener that throws does not cost the others their updates', () => {
    exchange.attach('a').onUpdates(() => {
      throw new Error('mine');
    });
    const a = attach('b', PODS);
    const bad = exchange.attach('c');
    bad.onUpdates(() => {
      throw new Error('mine');
    });
    bad.subscribe(PODS, 1);
    expect(() => exchange.flush()).toThrow('mine');
    expect(take('b')).toEqual(['end-of-rib pods']);
    a.publish(route(PODS, VIP, [hop('10.0.0.1', 17)]));
    expect(() => exchange.flush()).toThrow('mine');
    expect(take('b')).toHaveLength(1);
  });
});

describe('route targets and policy', () => {
  test('a route goes where its targets are imported', () => {
    exchange.createInstance({ name: 'hub', import: ['1:2'], export: ['1:1'] });
    exchange.createInstance({ name: 'spoke-a', import: ['1:1'], export: ['1:2'] });
    exchange.createInstance({ name: 'spoke-b', import: ['1:1'], export: ['1:2'] });
    const a = attach('a', 'hub', 'spoke-a', 'spoke-b');
    exchange.flush();
    take('a');
    a.publish(route('spoke-a', '10.1.0.1/32', [hop('10.0.0.1', 17)]));
    a.publish(route('hub', '10.9.0.1/32', [hop('10.0.0.1', 18)]));
    exchange.flush();
    expect(take('a').sort()).toEqual([
      '+hub 10.1.0.1/32 10.0.0.1:17',
      '+hub 10.9.0.1/32 10.0.0.1:18',
      '+spoke-a 10.1.0.1/32 10.0.0.1:17',
      '+spoke-a 10.9.0.1/32 10.0.0.1:18',
      '+spoke-b 10.9.0.1/32 10.0.0.1:18', // and not spoke-a's
    ]);
  });

  test("a route's own targets count beside its instance's", () => {
    exchange.createInstance({ name: 'far', import: ['9:9'], export: [] });
    const a = attach('a', 'far');
    a.publish(route(PODS, VIP, [hop('10.0.0.1', 17)], { routeTargets: ['target:9:9'] }));
    exchange.flush();
    expect(take('a')).toEqual([`+far ${VIP} 10.0.0.1:17`, 'end-of-rib far']);
  });

  test('connect and disconnect while running: routes come and go both ways', () => {
    for (const name of [PODS, SERVICES]) exchange.createInstance({ name });
    const a = attach('a', PODS, SERVICES);
    a.publish(route(SERVICES, VIP, [hop('10.0.0.1', 17)]));
    a.publish(route(PODS, '10.47.255.237/32', [hop('10.0.0.1', 18)]));
    exchange.flush();
    take('a');
    exchange.connect(PODS, SERVICES);
    exchange.flush();
    expect(take('a').sort()).toEqual([
      `+pods ${VIP} 10.0.0.1:17`,
      '+services 10.47.255.237/32 10.0.0.1:18',
    ]);
    expect(exchange.instances().map((i) => i.connected)).toEqual([[SERVICES], [PODS]]);
    exchange.disconnect(PODS, SERVICES);
    exchange.flush();
    expect(take('a').sort()).toEqual([`-pods ${VIP}`, '-services 10.47.255.237/32']);
    expect(() => exchange.disconnect(PODS, SERVICES)).toThrow('not connected');
  });

  test('policy does not pass routes on: a-b, b-c is not a-c', () => {
    for (const name of ['a', 'b', 'c']) exchange.createInstance({ name });
    exchange.connect('a', 'b');
    exchange.connect('b', 'c');
    attach('x').publish(route('a', VIP, [hop('10.0.0.1', 17)]));
    exchange.flush();
    expect(exchange.routes('b')).toHaveLength(1);
    expect(exchange.routes('c')).toHaveLength(0);
  });

  test('targets changed while running', () => {
    exchange.createInstance({ name: 'src', import: [], export: ['1:1'] });
    exchange.createInstance({ name: 'dst', import: ['1:2'], export: [] });
    attach('x').publish(route('src', VIP, [hop('10.0.0.1', 17)]));
    const a = attach('a', 'dst');
    exchange.flush();
    expect(take('a')).toEqual(['end-of-rib dst']);
    exchange.updateInstance({ name: 'dst', import: ['1:1'], export: [] });
    exchange.flush();
    expect(take('a')).toEqual([`+dst ${VIP} 10.0.0.1:17`]);
    exchange.updateInstance({ name: 'src', import: [], export: ['1:3'] });
    exchange.flush();
    expect(take('a')).toEqual([`-dst ${VIP}`]);
    exchange.updateInstance({ name: 'src', import: [], export: ['1:1'] });
    exchange.flush();
    exchange.deleteInstance('src');
    exchange.flush();
    expect(take('a')).toEqual([`+dst ${VIP} 10.0.0.1:17`, `-dst ${VIP}`]);
    a.close();
  });

  test('a route imported from two instances is one, with the hops of both', () => {
    exchange.createInstance({ name: 'x', import: [], export: ['1:1'] });
    exchange.createInstance({ name: 'y', import: [], export: ['1:1'] });
    exchange.createInstance({ name: 'z', import: ['1:1'], export: [] });
    const a = attach('a', 'z');
    a.publish(route('x', VIP, [hop('10.0.0.1', 17)]));
    a.publish(route('y', VIP, [hop('10.0.0.1', 17), hop('10.0.0.1', 18)]));
    exchange.flush();
    expect(take('a')).toEqual([`+z ${VIP} 10.0.0.1:17 10.0.0.1:18`, 'end-of-rib z']);
  });

  test('automatic targets differ from instance to instance', () => {
    for (const name of ['a', 'b']) exchange.createInstance({ name });
    const [a, b] = exchange.instances();
    expect(a?.import).toEqual(['64512:8000001']);
    expect(b?.export).toEqual(['64512:8000002']);
    expect(() => exchange.createInstance({ name: 'a' })).toThrow('exists already');
    expect(() => exchange.connect('a', 'nobody')).toThrow("no instance 'nobody'");
    expect(() => exchange.connect('a', 'a')).toThrow('cannot meet itself');
  });
});

test('schedule: asked once for any number of calls, again after a flush', () => {
  const runs: (() => void)[] = [];
  exchange = new RouteExchange({ schedule: (run) => runs.push(run) });
  const a = attach('a', PODS);
  a.publish(route(PODS, VIP, [hop('10.0.0.1', 17)]));
  expect(runs).toHaveLength(1);
  runs.shift()?.();
  expect(take('a')).toHaveLength(2);
  a.withdraw(keyOf(route(PODS, VIP, [])));
  expect(runs).toHaveLength(1);
});
