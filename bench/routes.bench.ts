/** What an announce costs before it becomes an op: best path, and the exchange between agents. */
import { RouteExchange } from '../src/control/exchange.ts';
import { Rib } from '../src/rib/rib.ts';
import type { Route, RouteUpdate } from '../src/rib/route.ts';
import { measure } from './harness.ts';

const ROUTES = 1000;

const route = (i: number, label: number): Route => ({
  instance: 'pods',
  family: 'inet',
  prefix: `10.${32 + (i >> 8)}.${i & 255}.1/32`,
  hops: [
    { address: '192.0.2.1', label, encaps: ['udp', 'gre'] },
    { address: '192.0.2.2', label: label + 1, encaps: ['udp'] },
  ],
});
const announces = (label: number): RouteUpdate[] =>
  Array.from({ length: ROUTES }, (_, i) => ({ type: 'announce', route: route(i, label) }));

let turn = 0;
const updates = [announces(16), announces(32)];
const rib = new Rib();
measure('best path of changed routes', 'routes', ROUTES, () =>
  rib.apply('bench', updates[turn++ & 1]!),
);

const exchange = new RouteExchange();
const from = exchange.attach('a');
const to = exchange.attach('b');
let told = 0;
to.onUpdates((batch) => {
  told += batch.length;
});
to.subscribe('pods', 1);
const published = [16, 32].map((label) =>
  Array.from({ length: ROUTES }, (_, i) => route(i, label)),
);
measure('exchange changed routes', 'routes', ROUTES, () => {
  for (const one of published[turn++ & 1]!) from.publish(one);
  exchange.flush();
});
if (told === 0) throw new Error('nothing was exchanged');
