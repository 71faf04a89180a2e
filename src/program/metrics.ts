/**
 * Prometheus metrics of a node: `metrics:` in the node file. Values are read when they are asked for; nothing is
 * counted twice. Cardinality is bounded by vifs, drop reasons and BGP neighbours.
 */
import { collectDefaultMetrics, Gauge, Registry } from 'prom-client';
import type { KernelTier } from '../dataplane/api.ts';
import { BgpMetrics } from './control-bgp-metrics.ts';
import { serveMetrics } from './metrics-server.ts';
import type { StartPart } from './node-part.ts';

const VIF_COUNTERS = [
  ['rxPackets', 'vrouter_vif_receive_packets_total', 'Packets received from the vif'],
  ['rxBytes', 'vrouter_vif_receive_bytes_total', 'Bytes received from the vif'],
  ['txPackets', 'vrouter_vif_transmit_packets_total', 'Packets sent to the vif'],
  ['txBytes', 'vrouter_vif_transmit_bytes_total', 'Bytes sent to the vif'],
  ['drops', 'vrouter_vif_drops_total', 'Packets of the vif that were dropped'],
] as const;

const KERNEL_TIER: readonly (readonly [string, string, (tier: KernelTier) => number])[] = [
  [
    'vrouter_kernel_tier_up',
    '1 when established flows are handed to the kernel',
    ({ on }) => (on ? 1 : 0),
  ],
  [
    'vrouter_kernel_tier_flows',
    'Halves of connections that the kernel forwards by itself now',
    ({ flows }) => flows,
  ],
  [
    'vrouter_kernel_tier_packets_total',
    'Packets that the kernel forwarded by itself',
    ({ packets }) => Number(packets),
  ],
  [
    'vrouter_kernel_tier_bytes_total',
    'Bytes that the kernel forwarded by itself',
    ({ bytes }) => Number(bytes),
  ],
];

export const startMetrics: StartPart = async (node) => {
  const { file, log, dataplane, agent, configured, gateway } = node;
  const { metrics } = file;
  if (metrics === undefined) return undefined;
  const registry = new Registry();
  registry.setDefaultLabels({ node: file.name });
  collectDefaultMetrics({ register: registry });
  const gauge = (name: string, help: string, labelNames: readonly string[] = []) =>
    new Gauge({ name, help, labelNames: [...labelNames], registers: [registry] });
  const up = gauge('vrouter_dataplane_up', '1 when the data plane answers');
  const generation = gauge('vrouter_generation', 'Generation of the last Program');
  const flows = gauge('vrouter_flow_entries', 'Flow entries in use');
  const flowLimit = gauge('vrouter_flow_entries_limit', 'Flow entries there can be');
  const buffers = gauge('vrouter_buffers_free', 'Packet buffers not in use');
  const unresolved = gauge('vrouter_routes_unresolved', 'Routes with hops that cannot be used now');
  const waiting =
    configured && gauge('vrouter_ports_waiting', 'Ports that wait for their configuration');
  const totals = gauge('vrouter_packets_total', 'Packets by what became of them', ['fate']);
  const drops = gauge('vrouter_drops_total', 'Packets dropped, by reason', ['reason']);
  const perVif = VIF_COUNTERS.map(([key, name, help]) => ({
    key,
    gauge: gauge(name, help, ['vif']),
  }));

  const tier = KERNEL_TIER.map(([name, help, of]) => ({ gauge: gauge(name, help), of }));

  // The same series as a control node's: to who watches BGP they are one thing.
  const bgp = gateway && new BgpMetrics(registry);
  gateway?.onSession((state) => bgp?.session(state));

  async function read(): Promise<void> {
    if (gateway?.bgp !== undefined) await bgp?.read(gateway.bgp);
    unresolved.set(agent.unresolved().length);
    waiting?.set(configured?.waiting ?? 0);
    try {
      const info = dataplane.info();
      const counters = dataplane.readCounters();
      generation.set(info.generation);
      flows.set(info.flowsUsed);
      flowLimit.set(info.flowEntries);
      buffers.set(info.buffersFree);
      for (const { gauge: one, of } of tier) one.set(of(info.kernelTier));
      for (const [fate, value] of Object.entries(counters.totals))
        totals.set({ fate }, Number(value));
      for (const [reason, value] of counters.drops) drops.set({ reason }, Number(value));
      const names = new Map([['fabric', 0]]);
      for (const name of agent.vifs()) names.set(name, agent.vifId(name) as number);
      for (const { key, gauge: one } of perVif) {
        one.reset();
        for (const [vif, id] of names) {
          const value = counters.vifs.get(id)?.[key];
          if (value !== undefined) one.set({ vif }, Number(value));
        }
      }
      up.set(1);
    } catch (error) {
      // Its forwarder is being restarted: what was known stays, and `up` says so.
      log.debug({ err: error }, 'metrics');
      up.set(0);
    }
  }

  return serveMetrics(metrics, registry, log, {
    read,
    notReady: async () =>
      (await up.get()).values[0]?.value === 1 ? undefined : 'the data plane does not answer',
  });
};
