import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import {
  renderFlow,
  renderFlowGet,
  renderFlowRate,
  renderFlowStatistics,
  renderFlows,
  withFlowRates,
  withSetUpRates,
} from '../../../src/cli/render/flow.ts';
import { renderInfo } from '../../../src/cli/render/info.ts';
import { renderLabels, renderVnis } from '../../../src/cli/render/labels.ts';
import { renderNextHopGet, renderNextHopList } from '../../../src/cli/render/nh.ts';
import { renderMacs, renderRouteGet, renderRoutes } from '../../../src/cli/render/rt.ts';
import { renderDrops, renderVrfStats } from '../../../src/cli/render/stats.ts';
import { renderStatus } from '../../../src/cli/render/status.ts';
import {
  renderVif,
  renderVifRates,
  renderVifs,
  withVifRates,
} from '../../../src/cli/render/vif.ts';
import type {
  FlowTableView,
  FlowView,
  KernelTierView,
  NextHopView,
  RouteView,
  VifView,
} from '../../../src/cli/views.ts';

/** What stands between the samples in the file ends where the text ends. */
function golden(name: string): string {
  const file = new URL(`../../fixtures/cli/${name}.txt`, import.meta.url);
  return readFileSync(file, 'utf8').replace(/\n+$/, '');
}

function trimmed(text: string): string {
  return text.replace(/\n+$/, '');
}

const ECMP: NextHopView = {
  id: 87,
  type: 'ecmp',
  family: 'inet',
  references: 4,
  vrf: 2,
  flags: ['Valid', 'Policy', 'Ecmp'],
  hashFields: ['Proto', 'SrcIP', 'SrcPort', 'DstIp', 'DstPort'],
  slots: [{ nextHop: 21, label: 42 }, null, { nextHop: 25, label: 17 }],
};
const TUNNEL: NextHopView = {
  id: 21,
  type: 'tunnel',
  family: 'inet',
  references: 12,
  vrf: 0,
  flags: ['Valid', 'MPLSoUDP'],
  vif: 0,
  data: '001b21bbf948001b21bbf9460800',
  source: '8.0.0.1',
  destination: '8.0.0.3',
};
const ENCAP: NextHopView = {
  id: 25,
  type: 'interface',
  family: 'inet',
  references: 6,
  vrf: 2,
  flags: ['Valid', 'Policy'],
  vif: 8,
  encapFamily: 0x0806,
  data: '02e703ea67f100005e0001000800',
};

describe('nh', () => {
  it('prints a composite and what its slots name, as the ancestor does', () => {
    expect(trimmed(renderNextHopGet([ECMP, TUNNEL, ENCAP]))).toBe(golden('nh-ecmp'));
  });
  it('ends every entry with a blank line', () => {
    expect(renderNextHopList([TUNNEL, ENCAP])).toMatch(/\n\n$/);
  });
  it('prints a line for each leg of a tunnel, one that is down without its header', () => {
    const { vif: _, data = '', ...ends } = TUNNEL;
    const legs = [
      { vif: 0, data, valid: true },
      { vif: 3, data, valid: false },
    ];
    const lines = renderNextHopGet([{ ...ends, legs }]).split('\n');
    expect(lines[2]).toMatch(/^ {14}Oif:0 EncapValid:1 Len:14 Data:([0-9a-f]{2} ){14}$/);
    expect(lines[3]).toBe(`${' '.repeat(14)}Oif:3 EncapValid:0 Len:0 Data:NULL`);
  });
  it('breaks a long list of slots after 60 characters and indents what follows', () => {
    const slots = Array.from({ length: 12 }, (_, i) => ({ nextHop: 100 + i, label: 20 + i }));
    const lines = renderNextHopGet([{ ...ECMP, hashFields: [], slots }]).split('\n');
    expect(lines[2]).toBe(
      `${' '.repeat(14)}Sub NH(label): 100(20) 101(21) 102(22) 103(23) 104(24) 105(25) 106(26) 107(27)`,
    );
    expect(lines[3]).toBe(`${' '.repeat(28)} 108(28) 109(29) 110(30) 111(31)`);
  });
  it('cuts a list at 16 components, not a get', () => {
    const slots = Array.from({ length: 20 }, (_, i) => ({ nextHop: i + 1, label: null }));
    expect(renderNextHopList([{ ...ECMP, slots }])).toContain(' 16 and 4 more components...\n');
    expect(renderNextHopGet([{ ...ECMP, slots }])).toContain(' 20\n');
  });
  it('prints the other kinds', () => {
    const base = { references: 1, vrf: 3, flags: ['Valid'] } as const;
    const text = renderNextHopList([
      { ...base, id: 0, type: 'discard', family: 'unspec', flags: [] },
      { ...base, id: 1, type: 'receive', family: 'inet', vif: 1 },
      { ...base, id: 2, type: 'l2_receive', family: 'bridge' },
      { ...base, id: 3, type: 'vrf_translate', family: 'inet6' },
      { ...TUNNEL, source: 'fd00::1', destination: 'fd00::2', l3VxlanMac: '02:00:00:00:00:01' },
    ]);
    expect(text).toContain('Id:0          Type:Drop           Fmly:AF_UNSPEC  Rid:0');
    expect(text).toContain('Flags:None\n\n');
    expect(text).toContain('Type:Receive ');
    expect(text).toContain(`${' '.repeat(14)}Oif:1\n\n`);
    expect(text).toContain('Type:L2 Receive     Fmly:AF_BRIDGE  ');
    expect(text).toContain('Type:Vrf_Translate  Fmly:AF_INET6  ');
    expect(text).toContain(`${' '.repeat(14)}Vrf:3\n`);
    expect(text).toContain('Sip: fd00::1 Dip: fd00::2 L3_Vxlan_Mac: 02:00:00:00:00:01\n');
  });
});

const VIF: VifView = {
  id: 8,
  name: 'tap41a9ab05-64',
  transport: 'PMD',
  type: 'Virtual',
  nextHop: 25,
  mac: '00:00:5e:00:01:00',
  ipv4: '10.10.10.5',
  ipv6: null,
  vrf: 2,
  multicastVrf: 2,
  flags: ['P', 'L3', 'L2', 'D', 'Er'],
  references: 23,
  rxPort: { packets: 1209, errors: 0, syscalls: 1 },
  rxQueue: { packets: 1209, errors: 0 },
  rxQueueErrors: [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
  txPort: { packets: 1188, errors: 0 },
  rx: { packets: 1209, bytes: 86412, errors: 0 },
  tx: { packets: 1188, bytes: 84901, errors: 0 },
  drops: 2,
};

describe('vif', () => {
  it('prints an interface as the ancestor does', () => {
    expect(trimmed(renderVif(VIF))).toBe(golden('vif'));
  });
  it('heads a list with the legend, four letters to a line', () => {
    const lines = renderVifs([VIF]).split('\n');
    expect(lines.slice(0, 4)).toEqual([
      'Vrouter Interface Table',
      '',
      'Flags: P=Policy, X=Cross Connect, S=Service Chain, Mr=Receive Mirror',
      '       Mt=Transmit Mirror, Tc=Transmit Checksum Offload, L3=Layer 3, L2=Layer 2',
    ]);
    expect(lines[9]).toBe('');
    expect(lines[10]).toBe('vif0/8      PMD: tap41a9ab05-64 NH: 25');
    expect(lines.slice(2, 9).some((line) => line.endsWith(','))).toBe(false);
  });
  it('omits port lines that are all zero, keeps RX, TX and Drops, says NULL for no flags', () => {
    const text = renderVif({
      ...VIF,
      flags: [],
      ipv4: null,
      ipv6: 'fd00::5',
      rxPort: { packets: 0, errors: 0 },
      rx: { packets: 0, bytes: 0, errors: 0 },
    });
    expect(text).not.toContain('RX port');
    expect(text).toContain('IPaddr:0.0.0.0\n            IP6addr:fd00::5\n');
    expect(text).toContain('Flags:NULL QOS:-1');
    expect(text).toContain('RX packets:0  bytes:0 errors:0\n');
  });
  it('adds the drops of the vif when asked', () => {
    const text = renderVif(VIF, [{ name: 'Flow Action Drop', packets: 3 }]);
    expect(text).toContain('            Flow Action Drop              3\n');
  });
  it('computes rates from two readings', () => {
    const later = { ...VIF, rx: { packets: 1409, bytes: 0, errors: 4 } };
    const rows = renderVifRates([VIF], [later], 2).split('\n');
    expect(rows.at(-2)?.split(/\s+/)).toEqual(['tap41a9ab05-64', 'vif0/8', '2', '100', '0', '0']);
    expect(rows[3]?.indexOf('VIF ID')).toBe(30);
    expect(rows[3]?.indexOf('RX')).toBe(60);
    expect(rows[3]?.indexOf('TX')).toBe(90);
  });
  it('shows packets and bits a second since the last look', () => {
    const later = {
      ...VIF,
      rx: { packets: 1409, bytes: 86412 + 25_000, errors: 0 },
      tx: { packets: 5, bytes: 500, errors: 0 },
      drops: 2,
    };
    const [rated] = withVifRates([later], [VIF], 2);
    // tx counts less than before: it began anew, and has counted all of this since.
    expect(renderVif(rated!)).toContain(
      '            Drops:2\n' +
        '            RX rate packets/s:100 bits/s:100000\n' +
        '            TX rate packets/s:3 bits/s:2000 drops/s:0\n',
    );
    expect(renderVif(withVifRates([later], [], 2)[0]!)).not.toContain('rate');
  });
});

const ROUTE: RouteView = {
  prefix: '10.10.10.5/32',
  length: 32,
  flags: 'P',
  label: null,
  nextHop: 25,
  mac: '02:e7:03:ea:67:f1',
  macIndex: 186308,
};

describe('rt', () => {
  it('prints an inet table as the ancestor does', () => {
    const routes: RouteView[] = [
      { prefix: '0.0.0.0/8', length: 0, flags: '', label: null, nextHop: 0, mac: null },
      ROUTE,
      {
        ...ROUTE,
        prefix: '10.10.10.10/32',
        flags: 'LP',
        label: 42,
        nextHop: 21,
        mac: '02:a2:44:63:5b:bd',
        macIndex: 203980,
      },
      { prefix: '10.10.10.255/32', length: 24, flags: 'TF', label: null, nextHop: 1, mac: null },
      { prefix: '20.20.20.5/32', length: 32, flags: 'P', label: null, nextHop: 87, mac: null },
    ];
    expect(trimmed(renderRoutes({ vrf: 2, family: 'inet', routes }))).toBe(golden('rt-inet'));
  });
  it('widens the first column for inet6', () => {
    const route: RouteView = {
      prefix: 'fd00:1111:2222:3333:4444:5555:6666:7777/128',
      length: 128,
      flags: '',
      label: 7,
      nextHop: 3,
      mac: null,
    };
    const lines = renderRoutes({ vrf: 4, family: 'inet6', routes: [route] }).split('\n');
    expect(lines[1]).toBe('vRouter inet6 routing table 0/4/unicast');
    expect(lines[2]?.indexOf('PPL')).toBe(lines[3]?.search(/(?<= )128/));
    expect(lines[3]).toMatch(/\/128 +128 +7 +3 +-$/);
  });
  it('says what a get matched', () => {
    const text = renderRouteGet({ vrf: 2, family: 'inet', routes: [ROUTE] }, '10.10.10.5/32');
    expect(text.split('\n')[0]).toBe('Match 10.10.10.5/32 in vRouter inet4 table 0/2/unicast');
  });
  it('prints a bridge table as the ancestor does', () => {
    const macs = [
      { index: 8496, mac: '02:e7:03:ea:67:f1', flags: '', label: null, nextHop: 37, packets: 1234 },
      { index: 84684, mac: '00:00:5e:00:01:00', flags: 'Df', label: null, nextHop: 3, packets: 99 },
      { index: 186308, mac: 'ff:ff:ff:ff:ff:ff', flags: 'LDf', label: 5, nextHop: 32, packets: 7 },
    ];
    expect(trimmed(renderMacs({ vrf: 2, family: 'bridge', macs }))).toBe(golden('rt-bridge'));
  });
});

const FLOW: FlowView = {
  index: 262184,
  reverse: 506068,
  source: '10.204.217.10',
  sourcePort: 56910,
  destination: '169.254.0.3',
  destinationPort: 8022,
  protocol: 6,
  vrf: 0,
  destinationVrf: 2,
  generationId: 1,
  keyNextHop: 5,
  rpfNextHop: 5,
  nextHop: 25,
  label: null,
  member: -1,
  vif: 3,
  action: 'N',
  drop: '',
  nat: 'DPd',
  tcp: 'SSrEEr',
  flags: '',
  initiator: true,
  packets: 12,
  bytes: 1630,
  underlayLeg: -1,
  outerSourcePort: 0,
  sourceInfo: '0.0.0.0',
  natSource: '10.204.217.10',
  natSourcePort: 56910,
  natDestination: '1.1.1.3',
  natDestinationPort: 22,
  idleMs: 1500,
};
const TABLE: FlowTableView = {
  bytes: 161218560,
  entries: 629760,
  used: 2,
  created: 2,
  added: 2,
  deleted: 0,
  changed: 2,
  processed: 2,
  evicted: 0,
  overflow: 0,
  createdPerCpu: [0, 0, 1, 1],
};

describe('flow', () => {
  it('lists matching flows as the ancestor does', () => {
    const reverse: FlowView = {
      ...FLOW,
      index: 506068,
      reverse: 262184,
      source: '1.1.1.3',
      sourcePort: 22,
      destination: '10.204.217.10',
      destinationPort: 56910,
      vrf: 2,
      destinationVrf: 0,
      keyNextHop: 25,
      rpfNextHop: 25,
      nat: 'SPs',
      packets: 10,
      bytes: 1480,
    };
    const text = renderFlows(
      { table: TABLE, flows: [FLOW, reverse] },
      '[10.204.217.10]:56910, Protocol TCP',
    );
    expect(trimmed(text)).toBe(golden('flow-match'));
  });
  it('lists an ECMP flow and a dropped one as the ancestor does', () => {
    const base = { ...FLOW, keyNextHop: 23, rpfNextHop: 23, vrf: 2, destinationVrf: 2, nat: '' };
    const ecmp: FlowView = {
      ...base,
      index: 338668,
      reverse: 55764,
      source: '1.1.1.4',
      sourcePort: 1136,
      destination: '2.1.1.4',
      destinationPort: 0,
      protocol: 1,
      generationId: 3,
      action: 'F',
      member: 1,
      packets: 5,
      bytes: 490,
      outerSourcePort: 60847,
      sourceInfo: '8.0.0.3',
    };
    const dropped: FlowView = {
      ...base,
      index: 100,
      reverse: 104,
      source: '1.1.1.4',
      sourcePort: 53,
      destination: '9.9.9.9',
      destinationPort: 4000,
      protocol: 17,
      generationId: 2,
      action: 'D',
      drop: 'SG',
      flags: 'M',
      packets: 1,
      bytes: 90,
    };
    expect(trimmed(renderFlow(ecmp) + renderFlow(dropped))).toBe(golden('flow-list'));
    const all = renderFlows({ table: TABLE, flows: [ecmp, dropped] });
    expect(all).not.toContain('Listing flows matching');
    expect(trimmed(all).endsWith(golden('flow-list'))).toBe(true);
  });
  it('tells one flow in words', () => {
    const text = renderFlowGet({
      flow: FLOW,
      rpf: { nextHop: 5, vrf: 0, type: 'interface' },
      vif: { id: 3, vrf: 0, name: 'tap0' },
      systemDrops: 9,
    });
    const lines = text.split('\n');
    expect(lines[0]).toBe('Flow Index:                   262184');
    expect(lines).toContain('Flow Source:                  [10.204.217.10]:56910');
    expect(lines).toContain(
      'Flow Action:                  NAT: DestinationNAT, DestinationPortNAT,',
    );
    expect(lines).toContain('Expected Source:              NextHop(Index, VRF, Type): 5, 0, ENCAP');
    expect(lines).toContain(
      'TCP FLAGS:                    SYN, SYN(REVERSE), ESTABLISHED, ESTABLISHED(REVERSE)',
    );
    expect(lines).toContain('Flow Statistics:              12/1630');
  });
  it('tells source and port translation apart in the letters', () => {
    const text = renderFlowGet({
      flow: { ...FLOW, nat: 'SPsD' },
      rpf: null,
      vif: null,
      systemDrops: 0,
    });
    expect(text).toContain('NAT: SourceNAT, SourcePortNAT, DestinationNAT,');
  });
  it('prints rates and statistics', () => {
    const after = { ...TABLE, used: 20, created: 22, deleted: 2 };
    expect(renderFlowRate(TABLE, after, 2, 0, 'T')).toBe(
      'T:  Entries =       20 Rate =     10 (Fwd =        5 Rev =        5 Del =        1) ' +
        'Hold =        0 Free Burst Tokens =        0 Total Hold Entries        0\n',
    );
    const text = renderFlowStatistics({
      table: after,
      byAction: { forward: 3, drop: 1, nat: 16, hold: 0 },
    });
    expect(text).toContain('NAT flow Entries      = 16\n');
    expect(text).not.toContain('per second');
    const byAction = { forward: 3, drop: 1, nat: 16, hold: 0 };
    const before = { value: { table: TABLE, byAction }, seconds: 2 };
    const rated = renderFlowStatistics(withSetUpRates({ table: after, byAction }, before));
    expect(rated).toContain('    Created per second    = 10\n    Deleted per second    = 1\n');
  });
  it('shows what a flow had since the last look, unless it is another flow', () => {
    const later = { ...FLOW, packets: 32, bytes: 1630 + 5000 };
    const [rated] = withFlowRates([later], [FLOW], 2);
    expect(rated?.rate).toEqual({ packets: 10, bits: 20_000 });
    expect(renderFlow(rated!)).toMatch(/\)\n Rate packets\/s:10 bits\/s:20000\n\n$/);
    expect(withFlowRates([later], [], 2)[0]).not.toHaveProperty('rate');
    const other = { ...later, generationId: FLOW.generationId + 1 };
    expect(withFlowRates([other], [FLOW], 2)[0]).not.toHaveProperty('rate');
  });
});

describe('mpls, vxlan, dropstats, vrfstats', () => {
  it('prints labels and VNIs as the ancestor does', () => {
    expect(trimmed(renderLabels([{ label: 16, nextHop: 10 }]))).toBe(golden('mpls'));
    expect(trimmed(renderVnis([{ vni: 5, nextHop: 13 }]))).toBe(golden('vxlan'));
  });
  it('prints drops that are not zero, and the hidden one only with --debug', () => {
    const drops = [
      { name: 'Invalid IF', packets: 1 },
      { name: 'Flow Action Drop', packets: 12 },
      { name: 'Discards', packets: 0 },
      { name: 'No L2 Route', packets: 1 },
      { name: 'Cloned Original', packets: 4 },
    ];
    expect(trimmed(renderDrops(drops, false))).toBe(golden('dropstats'));
    expect(renderDrops(drops, true)).toContain('Cloned Original               4\n');
  });
  it('prints the six lines of a VRF', () => {
    const text = renderVrfStats([{ vrf: 2, name: 'a', counters: { discards: 3, encaps: '99' } }]);
    const lines = text.split('\n');
    expect(lines[0]).toBe('Vrf: 2');
    expect(lines[1]).toBe(
      'Discards 3, Resolves 0, Receives 0, L2 Receives 0, Vrf Translates 0, Unknown Unicast Floods 0',
    );
    expect(lines[4]).toBe('L2 Encaps 0, Encaps 99');
    expect(lines).toHaveLength(9);
  });
});

describe('the kernel tier', () => {
  const on: KernelTierView = {
    on: true,
    reason: '',
    flows: 12,
    packets: 34567,
    bytes: '9007199254740993',
    devices: [{ port: 0, device: 'eth1', way: 'fabric' }],
  };
  const off = { ...on, on: false, reason: 'this kernel has no TCX (needs Linux 6.6)', devices: [] };
  const sizes = { version: '1', limits: { Workers: 2 }, used: { 'Free packet buffers': 7 } };

  it('is one line of info and of status, in words', () => {
    const text = renderInfo({ ...sizes, kernelTier: on });
    expect(text).toContain(`${'Workers'.padEnd(41)}2\n`);
    expect(text).toMatch(/^Kernel tier {30}on, 12 flows, 34567 packets by it$/m);
    expect(renderInfo({ ...sizes, kernelTier: off })).toMatch(
      /^Kernel tier {30}off: this kernel has no TCX \(needs Linux 6\.6\)$/m,
    );
    expect(renderStatus({ workers: 2, kernelTier: on, generation: 3, problems: [] })).toBe(
      `All is well.\n\n${'workers:'.padEnd(24)}2\n${'kernelTier:'.padEnd(24)}` +
        `on, 12 flows, 34567 packets by it\n${'generation:'.padEnd(24)}3\n`,
    );
    expect(renderStatus({ name: 'exchange' })).toBe(`${'name:'.padEnd(24)}exchange\n`);
  });
});
