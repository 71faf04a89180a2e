/** Each row of the table of what is not well: silent while its matter is in order, and says it when not. */
import { describe, expect, it } from 'vitest';
import type { VifView } from '../../../src/cli/views.ts';
import type { DataplaneInfo } from '../../../src/dataplane/api.ts';
import { problems, type Symptoms } from '../../../src/program/health.ts';

const vif = (name: string, more: Partial<VifView> = {}) =>
  ({ name, transport: 'Virtual', portUp: true, ...more }) as VifView;
const tier = (more: Partial<DataplaneInfo['kernelTier']> = {}) => ({
  ...{ on: false, reason: 'not asked for', flows: 0, packets: 0n, bytes: 0n, devices: [] },
  ...more,
});
const info = (more: Partial<DataplaneInfo> = {}) =>
  ({
    ...{ buffers: 1000, buffersFree: 900, flowEntries: 1000, flowsUsed: 10, kernelTier: tier() },
    ...more,
  }) as DataplaneInfo;
const well: Symptoms = {
  info: info(),
  vifs: [vif('a'), vif('b')],
  exchange: 'connected',
  unresolved: [],
  refused: undefined,
};
const key = { instance: 'red', prefix: '10.0.0.1/32' };

describe('problems of a node', () => {
  it('are none when all is well, with an exchange or without', () => {
    expect(problems(well)).toEqual([]);
    expect(problems({ ...well, exchange: 'none' })).toEqual([]);
  });

  it.each<[string, Partial<Symptoms>, RegExp]>([
    ['a lost exchange', { exchange: 'lost' }, /exchange is lost/],
    ['one not there yet', { exchange: 'connecting' }, /exchange is connecting/],
    ['a refused change', { refused: 'op 3: no' }, /refused the last change: op 3: no/],
    ['an interface down', { vifs: [vif('a'), vif('b', { portUp: false })] }, /down: b$/],
    ['no port', { vifs: [vif('a', { transport: null })] }, /without a port: a$/],
    [
      'many down',
      { vifs: [...'abcdefgh'].map((name) => vif(name, { portUp: false })) },
      /down: a, b, c, d, e and 3 more$/,
    ],
    [
      'ports that wait',
      { configuration: { waiting: [{ port: 'pod1', reason: 'no MAC address' }], notes: [] } },
      /wait for their configuration: pod1 \(no MAC address\)$/,
    ],
    [
      'configuration that is not as it says',
      { configuration: { waiting: [], notes: [{ object: 'acl x', what: 'rule 1 lets nothing' }] } },
      /^1 matters .* acl x: rule 1 lets nothing$/,
    ],
    [
      'a route that leads nowhere',
      { unresolved: [{ key, reasons: ['no MAC'] }] },
      /1 routes .* 10\.0\.0\.1\/32 in red: no MAC/,
    ],
    [
      'a kernel tier that cannot be had',
      { info: info({ kernelTier: tier({ reason: 'CAP_BPF is needed' }) }) },
      /no kernel tier, .*: CAP_BPF is needed$/,
    ],
    [
      'a device that it cannot take',
      {
        info: info({
          kernelTier: tier({
            on: true,
            reason: '',
            devices: [
              { port: 0, device: 'up0', way: 'fabric' },
              { port: 1, device: 'eth0', way: 'none: no TCX' },
            ],
          }),
        }),
      },
      /cannot take: eth0 \(no TCX\)$/,
    ],
    ['few buffers', { info: info({ buffersFree: 49 }) }, /49 of 1000 packet buffers/],
    ['a full flow table', { info: info({ flowsUsed: 950 }) }, /950 of 1000 flow entries/],
  ])('name %s', (_, change, said) => {
    const found = problems({ ...well, ...change });
    expect(found).toHaveLength(1);
    expect(found[0]).toMatch(said);
  });
});
