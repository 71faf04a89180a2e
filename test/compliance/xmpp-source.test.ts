/** ControlNodes against our control node: one, and two at once. */

import { ControlAgents } from '../../src/control/agents.ts';
import { RouteExchange } from '../../src/control/exchange.ts';
import type { Route } from '../../src/rib/route.ts';
import { streamPair } from '../../src/sim/streams.ts';
import { ControlNodes } from '../../src/xmpp/control-nodes.ts';
import { PatientClock } from '../support/virtual-time.ts';
import { routeSourceCompliance } from './route-source.ts';

/** Weights are not carried (xmpp/routes.ts). */
const carried = (route: Route): Route => ({
  ...route,
  hops: route.hops.map(({ weight: _, ...hop }) => hop),
});

for (const count of [1, 2]) {
  routeSourceCompliance(`XMPP, control nodes: ${count}`, async () => {
    const clock = new PatientClock();
    const controls = Array.from({ length: count }, () => {
      const exchange = new RouteExchange({ schedule: (run) => clock.after(0, run) });
      for (const name of ['pods', 'other', 'empty']) exchange.createInstance({ name });
      const other = exchange.attach('other');
      return { exchange, other, agents: new ControlAgents(exchange.tables, { clock }) };
    });
    const source = new ControlNodes({
      name: 'node',
      ownAddresses: ['10.169.25.20'],
      clock,
      random: () => 0,
      nodes: controls.map(({ agents }, i) => ({
        name: `control-${i}`,
        connect: (attempt) => {
          const [near, far] = streamPair(clock);
          agents.accept(far);
          attempt.connected(near);
        },
      })),
    });
    source.start();
    await clock.settle();
    return {
      source,
      carried,
      offer: (route) => {
        for (const { other } of controls) other.publish(route);
      },
      retract: (key) => {
        for (const { other } of controls) other.withdraw(key);
      },
      settle: () => clock.settle(),
      published: () => controls.at(-1)?.exchange.routes('pods') ?? [],
      close: async () => source.close(),
    };
  });
}
