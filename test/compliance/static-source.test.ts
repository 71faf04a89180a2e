import { expect, test } from 'vitest';
import { type Route, routeKeyText } from '../../src/rib/route.ts';
import { StaticRouteSource } from '../../src/rib/static-source.ts';
import { hop, route } from '../support/routes.ts';
import { routeSourceCompliance } from './route-source.ts';

routeSourceCompliance('static', async () => {
  const source = new StaticRouteSource();
  const offered = new Map<string, Route>();
  let closed = false;
  const replace = () => {
    if (!closed) source.replace([...offered.values()]);
  };
  const close = source.close.bind(source);
  source.close = () => {
    closed = true;
    close();
  };
  return {
    source,
    offer(r) {
      offered.set(routeKeyText(r), r);
      replace();
    },
    retract(key) {
      offered.delete(routeKeyText(key));
      replace();
    },
    settle: async () => {
      while (source.flush() > 0);
    },
    published: () => source.published(),
    close: async () => source.close(),
  };
});

test('replace tells the difference only', () => {
  const [a, b, c] = ['10.0.0.1/32', '10.0.0.2/32', '10.0.0.3/32'].map((p) =>
    route('pods', p, [hop('1.1.1.1', 17)]),
  ) as [Route, Route, Route];
  const source = new StaticRouteSource({ routes: [a, b] });
  const heard: string[] = [];
  source.onUpdates((updates) => heard.push(...updates.map((u) => u.type)));
  source.subscribe('pods', 1);
  source.flush();
  heard.length = 0;
  source.replace([b, c]);
  expect(source.flush()).toBe(2);
  expect(heard.sort()).toEqual(['announce', 'withdraw']);
  source.replace([b, c]);
  expect(source.flush()).toBe(0);
});

test('a route given twice, or not sound, is refused by position', () => {
  const a = route('pods', '10.0.0.1/32', [hop('1.1.1.1', 17)]);
  expect(() => new StaticRouteSource({ routes: [a, a] })).toThrow('routes[1]');
  expect(() => new StaticRouteSource({ routes: [a, { ...a, prefix: 'x' }] })).toThrow(
    'routes[1].prefix',
  );
});
