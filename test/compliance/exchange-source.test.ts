import { RouteExchange } from '../../src/control/exchange.ts';
import { routeSourceCompliance } from './route-source.ts';

routeSourceCompliance('exchange', async () => {
  const exchange = new RouteExchange();
  const source = exchange.attach('node');
  const other = exchange.attach('other');
  return {
    source,
    offer: (route) => other.publish(route),
    retract: (key) => other.withdraw(key),
    settle: async () => {
      while (exchange.flush() > 0);
    },
    published: () => exchange.routes('pods'),
    close: async () => source.close(),
  };
});
