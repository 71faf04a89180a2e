/** What is said of the kernel tier: over the socket of a forwarder, in views, to Prometheus and at start. */
import { describe, expect, it } from 'vitest';
import type { NodeFile } from '../../../src/config/node.ts';
import type { Dataplane, DataplaneInfo, KernelTier } from '../../../src/dataplane/api.ts';
import {
  decodeAnswer,
  encodeRequest,
  type Served,
  serve,
} from '../../../src/dataplane/protocol.ts';
import { tellKernelTier } from '../../../src/program/kernel-tier.ts';
import { startMetrics } from '../../../src/program/metrics.ts';
import type { MetricsServer } from '../../../src/program/metrics-server.ts';
import type { NodeContext } from '../../../src/program/node-part.ts';
import { info, kernelTier } from '../../../src/program/views.ts';
import { RecordingDataplane } from '../../support/recording-dataplane.ts';

const ON: KernelTier = {
  on: true,
  reason: '',
  flows: 12,
  packets: 34_567n,
  bytes: (1n << 53n) + 1n,
  devices: [
    { port: 0, device: 'eth1', way: 'fabric' },
    { port: 3, device: 'tap0', way: 'tenant tap' },
  ],
};
const OFF: KernelTier = {
  on: false,
  reason: 'CAP_BPF is needed',
  flows: 0,
  packets: 0n,
  bytes: 0n,
  devices: [],
};

class WithTier extends RecordingDataplane {
  override info(): DataplaneInfo {
    return { ...super.info(), kernelTier: ON };
  }
}

describe('the kernel tier', () => {
  it('comes from a forwarder as it is there, counts beyond 53 bits included', () => {
    const native = { info: () => ({ kernelTier: ON }) };
    const served = { native, ports: new Map(), running: true } as unknown as Served;
    const { bytes } = serve(served, encodeRequest('info', []), [], () => {});
    expect(decodeAnswer(bytes)).toEqual({ kernelTier: ON });
  });

  it('is in the views whole, its counts as JSON has them', () => {
    expect(info(new WithTier()).kernelTier).toEqual({
      ...ON,
      packets: 34_567,
      bytes: '9007199254740993',
    });
    const { packets, bytes, ...rest } = kernelTier({ kernelTier: OFF } as DataplaneInfo);
    expect({ packets, bytes }).toEqual({ packets: 0, bytes: 0 });
    expect(rest).toMatchObject({ on: false, reason: 'CAP_BPF is needed', devices: [] });
  });

  it.each([
    ['on', ON, [1, 12, 34_567, 2 ** 53]],
    ['off', OFF, [0, 0, 0, 0]],
  ])('is told to Prometheus when it is %s', async (_, tier, values) => {
    const counters = { totals: {}, drops: new Map(), vifs: new Map(), vrfs: new Map() };
    const node = {
      file: { name: 'n', metrics: { port: 0 } },
      log: { debug: () => {} },
      dataplane: {
        info: () => ({ ...new RecordingDataplane().info(), kernelTier: tier }),
        readCounters: () => counters,
      },
      agent: { unresolved: () => [], vifs: () => [] },
    } as unknown as NodeContext;
    const server = (await startMetrics(node)) as unknown as MetricsServer;
    try {
      const page = await (await fetch(`http://127.0.0.1:${server.port}/metrics`)).text();
      const names = ['up', 'flows', 'packets_total', 'bytes_total'];
      const read = names.map(
        (name) =>
          new RegExp(`^vrouter_kernel_tier_${name}\\{node="n"\\} (\\d+)$`, 'm').exec(page)?.[1],
      );
      expect(read.map(Number)).toEqual(values);
      expect(page).toContain('vrouter_dataplane_up{node="n"} 1');
    } finally {
      server.stop();
    }
  });

  it.each<[boolean | undefined, KernelTier, unknown[]]>([
    [true, ON, ['info', { devices: 2 }, 'kernel tier on']],
    [true, OFF, ['warn', { reason: 'CAP_BPF is needed' }, 'kernel tier asked for, but off']],
    [false, OFF, []],
    [undefined, OFF, []],
  ])('asked for: %s, a node says at its start how it is', (asked, tier, line) => {
    const said: unknown[] = [];
    const file: Pick<NodeFile, 'dataplane'> =
      asked === undefined ? {} : { dataplane: { kernel_tier: asked } };
    const dataplane = { info: () => ({ kernelTier: tier }) } as Pick<Dataplane, 'info'>;
    tellKernelTier(file, dataplane, {
      info: (...words: unknown[]) => said.push('info', ...words),
      warn: (...words: unknown[]) => said.push('warn', ...words),
    });
    expect(said).toEqual(line);
  });
});
