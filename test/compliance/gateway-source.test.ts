import { RouteExchange } from '../../src/control/exchange.ts';
import { Gateway } from '../../src/control/gateway.ts';
import { routeSourceCompliance } from './route-source.ts';

routeSourceCompliance('gateway', async () => {
  const gateway = new Gateway({
    ...{ name: 'node', addresses: ['192.168.0.204'], encaps: ['gre', 'udp', 'vxlan'] },
  });
  gateway.learned();
  const exchange = new RouteExchange(gateway.tables);
  const other = exchange.attach('other');
  const { source } = gateway;
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
