// The table: what is measured, and what is asked of it. Data only.
//   JOBS   what a trial runs, each in a process of its own; the figures of a job are named after it
//   ROWS   what is shown: a figure or the ratio of two of the same trial, its floor and target, and what somebody
//          else's figure is. `less`: less is better.
//   PEERS  rows of `--peers`, each beside a figure of ours
// Floors and targets are those the project has set itself. Figures of VPP and of the ancestor are quoted, not measured
// here: VPP 26.10-rc0, one core, from memory, on the machine REFERENCE describes.

/** Where the quoted figures come from: cycles of a dependent chain a TSC clock is what scales them. */
export const REFERENCE = { tscGhz: 2.4454, coreGhz: 3.11, dramNs: 181.17, copyGbps: 13.07 };

const FLOWS = { '1k': 1_000, '100k': 100_000, '1M': 1_000_000 };
const PACKETS = 2_000_000; // a round, where flows are not new

const pipeline = (workload, size, bytes) => ({
  name: `${workload}-${size}${bytes === undefined ? '' : `-${bytes}`}`,
  program: 'pipeline_bench',
  args: [workload, FLOWS[size], PACKETS, ...(bytes === undefined ? [] : [bytes])].map(String),
  bytes,
});

/**
 * `program`: of bench/native; `script`: of bench/. Only with `--all`, or named by `--only`: `extra`. `trials`: at most.
 */
export const JOBS = [
  ...['1k', '100k', '1M'].map((size) => pipeline('forward', size)),
  ...['1k', '100k', '1M'].map((size) => pipeline('nat', size)),
  pipeline('nat-gre', '100k'),
  pipeline('nat-vxlan', '100k'),
  pipeline('deliver', '100k'),
  pipeline('bridge', '100k'),
  pipeline('flowless', '100k'),
  pipeline('new-flows', '100k'),
  pipeline('forward-6', '100k'),
  pipeline('nat-6', '100k'),
  pipeline('deliver-6', '100k'),
  pipeline('flowless-6', '100k'),
  pipeline('new-flows-6', '100k'),
  pipeline('nat', '100k', 1514),
  { name: 'workers-vifs', program: 'workers_bench', args: ['vifs', '9'] },
  { name: 'workers-fabric', program: 'workers_bench', args: ['fabric', '9'] },
  { name: 'flow-hold', program: 'flow_hold_bench', args: ['4000000'] },
  { name: 'lpm', program: 'lpm_bench', filter: '^lookup(_burst)?/v[46]/1000000$' },
  { name: 'commit', script: 'commit.bench' },
  // Minutes: a million paths twice.
  { name: 'bgp', script: 'bgp.bench', trials: 1 },
  { name: 'program', script: 'program.bench', extra: true },
  { name: 'routes', script: 'routes.bench', extra: true },
  { name: 'control', script: 'control.bench', extra: true },
  { name: 'bgp-rib', script: 'bgp-rib.bench', extra: true },
  { name: 'route-change', script: 'route-change.bench', extra: true },
  { name: 'lpm_bench', program: 'lpm_bench', filter: '', extra: true },
  { name: 'flow_table_bench', program: 'flow_table_bench', filter: '', extra: true },
  { name: 'offload_bench', program: 'offload_bench', filter: '', extra: true },
];

const clocks = { unit: 'clk', less: true };
const ratio = { unit: 'x', less: true };
const vpp = (value, note) => ({ who: 'VPP', value, ...(note === undefined ? {} : { note }) });

const twin = (workload, called) => ({
  ...ratio,
  id: `${workload}-6`,
  title: `IPv6 over IPv4: ${called}`,
  of: [`${workload}-6-100k.clk`, `${workload}-100k.clk`],
  floor: 1.25,
  target: 1.15,
});
const established = (workload, called, size, spoken, floor, target, quoted) => ({
  ...clocks,
  id: `${workload}-${size}`,
  title: `${called}, ${spoken} flows`,
  of: `${workload}-${size}.clk`,
  floor,
  target,
  quoted,
});
const forward = 'policy, forward, MPLSoUDP';
const nat = 'NAT, MPLSoUDP';
const stateless = 'stateless, no flow table';

export const ROWS = [
  established('forward', forward, '1k', '1 k', 180, 100, vpp(169, stateless)),
  established('forward', forward, '100k', '100 k', 240, 150, vpp(185, stateless)),
  established('forward', forward, '1M', '1 M', 320, 210, vpp(187, stateless)),
  established('nat', nat, '1k', '1 k', 200, 110, vpp(433)),
  established('nat', nat, '100k', '100 k', 260, 160, vpp(1400, 'about; random order')),
  established('nat', nat, '1M', '1 M', 340, 220, vpp(1712, 'random order')),
  {
    ...ratio,
    id: 'nat-gre',
    title: 'MPLSoGRE over MPLSoUDP: NAT, 100 k flows',
    of: ['nat-gre-100k.clk', 'nat-100k.clk'],
    floor: 1.1,
    target: 1.05,
  },
  {
    ...ratio,
    id: 'nat-vxlan',
    title: 'VXLAN routed over MPLSoUDP: NAT, 100 k flows',
    of: ['nat-vxlan-100k.clk', 'nat-100k.clk'],
    floor: 1.1,
    target: 1.05,
  },
  {
    ...clocks,
    id: 'deliver-100k',
    title: 'MPLSoUDP ends, NAT, local vif, 100 k flows',
    of: 'deliver-100k.clk',
    floor: 280,
    target: 180,
    quoted: vpp(248, 'ends and routes only'),
  },
  {
    ...clocks,
    id: 'bridge-100k',
    title: 'bridged, VXLAN, no flow, 100 k MACs',
    of: 'bridge-100k.clk',
    floor: 134,
    target: 90,
    quoted: vpp(134),
  },
  {
    ...clocks,
    id: 'flowless-100k',
    title: 'route, ECMP of 4, MPLSoUDP, no flow, 100 k destinations',
    of: 'flowless-100k.clk',
    floor: 190,
    target: 120,
    quoted: vpp(196),
  },
  {
    ...clocks,
    id: 'new-flows',
    title: 'new flows: policy, NAT, ECMP of 4, a pair',
    of: 'new-flows-100k.clk',
    floor: 1500,
    target: 800,
    quoted: vpp(2000, 'about; balanced DNAT, NAT only; SNAT 3,500-5,700'),
  },
  twin('forward', 'policy, forward, 100 k flows'),
  twin('nat', 'NAT, 100 k flows'),
  twin('deliver', 'ends, NAT, local vif, 100 k flows'),
  twin('flowless', 'route, ECMP of 4, 100 k destinations'),
  twin('new-flows', 'new flows'),
  {
    unit: 'x',
    less: false,
    id: 'workers-vifs',
    title: '2 workers over 1, disjoint vifs',
    of: 'workers-vifs.ratio',
    floor: 1.8,
    target: 1.95,
  },
  {
    unit: 'x',
    less: false,
    id: 'workers-fabric',
    title: '2 workers over 1, one fabric port',
    of: 'workers-fabric.ratio',
    floor: 1.6,
    target: 1.8,
  },
  {
    unit: 'Gb/s',
    less: false,
    id: 'nat-1514',
    title: 'NAT, MPLSoUDP, frames of 1,514 bytes',
    of: 'nat-100k-1514.gbps',
    floor: 20,
  },
  {
    unit: '%',
    less: false,
    id: 'nat-1514-share',
    title: '  of what memcpy() copies from memory to memory',
    of: ['nat-100k-1514.gbps', 'calibration.copyGbps'],
    scale: 100 / 8, // bits and bytes
    target: 100,
  },
  {
    unit: 'B',
    less: true,
    id: 'flow-bytes',
    title: 'flow table, memory a pair, holding 4 M',
    of: 'flow-hold.bytesPerPairHeld',
    floor: 256,
    target: 192,
    quoted: { who: 'ancestor', value: 512 },
  },
  {
    unit: 'B',
    less: true,
    id: 'flow-bytes-room',
    title: '  and a pair it has room for',
    of: 'flow-hold.bytesPerPairOfRoom',
  },
  {
    unit: 's',
    less: true,
    id: 'flow-hold',
    title: '  time until it holds 4 M pairs',
    of: 'flow-hold.seconds',
  },
  {
    ...clocks,
    id: 'lpm-1M',
    title: 'longest match, 1 M IPv4 prefixes, random hits, bursts',
    of: 'lpm.lookup_burst/v4/1000000.tsc',
    floor: 90,
    target: 60,
    quoted: vpp(180, '100 k of /32'),
  },
  {
    ...clocks,
    id: 'lpm-1M-single',
    title: '  one at a time',
    of: 'lpm.lookup/v4/1000000.tsc',
  },
  {
    unit: 'B',
    less: true,
    id: 'lpm-1M-bytes',
    title: '  memory a prefix',
    of: 'lpm.lookup_burst/v4/1000000.bytes/prefix',
  },
  {
    ...clocks,
    id: 'lpm-1M-6',
    title: '  1 M IPv6 prefixes, bursts',
    of: 'lpm.lookup_burst/v6/1000000.tsc',
  },
  ...[
    ['one', 'one VRF'],
    ['many', '1,000 VRFs'],
  ].flatMap(([id, called]) => [
    {
      unit: 'M/s',
      less: false,
      id: `routes-${id}`,
      title: `routes committed from TypeScript, ${called}`,
      of: `commit.routes set, ${called}`,
      scale: 1e-6,
      floor: 1,
      target: 2,
      quoted: { who: 'VPP', value: 0.27, note: 'its command line', as: 'it is' },
    },
    {
      unit: 'M/s',
      less: false,
      id: `routes-${id}-changed`,
      title: '  changed, all being there',
      of: `commit.routes changed, ${called}`,
      scale: 1e-6,
    },
  ]),
  {
    ...ratio,
    id: 'bgp-import',
    title: '1 M VPNv4 paths in over BGP, time over gobgpd',
    of: ['bgp.ours-seconds', 'bgp.gobgpd-seconds'],
    floor: 1,
  },
  {
    ...ratio,
    id: 'bgp-import-memory',
    title: '  memory over gobgpd',
    of: ['bgp.ours-rss-mb', 'bgp.gobgpd-rss-mb'],
    floor: 1,
  },
  { unit: 's', less: true, id: 'bgp-import-ours', title: '  time', of: 'bgp.ours-seconds' },
  { unit: 's', less: true, id: 'bgp-import-gobgpd', title: '  gobgpd', of: 'bgp.gobgpd-seconds' },
  { unit: 'MB', less: true, id: 'bgp-memory-ours', title: '  memory', of: 'bgp.ours-rss-mb' },
  { unit: 'MB', less: true, id: 'bgp-memory-gobgpd', title: '  gobgpd', of: 'bgp.gobgpd-rss-mb' },
  {
    unit: 'ms',
    less: true,
    id: 'bgp-withdrawal',
    title: 'a withdrawal in, out to each of 100 peers, p99',
    of: 'bgp.withdrawal-p99',
    floor: 20,
  },
];

/** What `--gate` holds: packets a second, and what of. */
export const GATE = [{ of: 'nat-100k.pps', least: 3e6, called: 'NAT, MPLSoUDP, 100 k flows' }];

/** Rows of programs that are not ours, each over a figure of ours where there is a like one. */
export const PEERS = [
  ...['1000', '100000', '1000000'].map((keys) => ({
    ...clocks,
    id: `rte_hash-${keys}`,
    title: `rte_hash, bulk look-up, ${Number(keys).toLocaleString('en')} keys`,
    of: `rte_hash.${keys}.clk`,
    ours: `flow-table.find_burst/v4/${keys}.tsc`,
    oursCalled: 'flow table, burst',
  })),
  {
    ...clocks,
    id: 'rte_lpm-100000',
    title: 'rte_lpm, bulk look-up, 100,000 prefixes',
    of: 'rte_lpm.100000.clk',
    ours: 'lpm-peer.lookup_burst/v4/100000.tsc',
    oursCalled: 'longest match, burst',
  },
  {
    ...clocks,
    id: 'rte_fib-1000000',
    title: 'rte_fib (DIR-24-8), bulk look-up, 1,000,000 prefixes',
    of: 'rte_fib.1000000.clk',
    ours: 'lpm-peer.lookup_burst/v4/1000000.tsc',
    oursCalled: 'longest match, burst',
  },
  ...['io', 'macswap'].map((mode) => ({
    ...clocks,
    id: `testpmd-${mode}`,
    title: `testpmd ${mode}, null to null, 64 bytes`,
    of: `testpmd-${mode}.clk`,
  })),
  {
    ...clocks,
    id: 'ovs-port-1k',
    title: 'OVS-DPDK, port to port, 1 k flows',
    of: 'ovs.port-1k.clk',
    ours: 'forward-1k.clk',
    oursCalled: 'policy, forward, MPLSoUDP',
  },
  {
    ...clocks,
    id: 'ovs-port-100k',
    title: 'OVS-DPDK, port to port, 100 k flows',
    of: 'ovs.port-100k.clk',
    ours: 'forward-100k.clk',
    oursCalled: 'policy, forward, MPLSoUDP',
  },
  {
    ...clocks,
    id: 'ovs-nat-1k',
    title: 'OVS-DPDK, sessions found and translated, 1 k flows',
    of: 'ovs.nat-1k.clk',
    ours: 'nat-1k.clk',
    oursCalled: 'NAT, MPLSoUDP',
  },
  {
    ...clocks,
    id: 'ovs-nat-100k',
    title: 'OVS-DPDK, sessions found and translated, 100 k flows',
    of: 'ovs.nat-100k.clk',
    ours: 'nat-100k.clk',
    oursCalled: 'NAT, MPLSoUDP',
  },
];
