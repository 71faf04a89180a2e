/**
 * Text of `flow -l`, `--match`, `--get` and `-s`. Pure; layout is the ancestor's, with the missing blank
 * before `Processed` that its readers' scripts know.
 */
import type { FlowDetail, FlowListing, FlowStatistics, FlowTableView, FlowView } from '../views.ts';
import { type Before, perSecond, type Rate, rateOf } from '../watch.ts';

const HEADS =
  '    Index                Source:Port/Destination:Port                      Proto(V)\n' +
  '-----------------------------------------------------------------------------------\n';

const LEGEND =
  'Action:F=Forward, D=Drop N=NAT(S=SNAT, D=DNAT, Ps=SPAT, Pd=DPAT, L=Link Local Port)\n' +
  ' Other:K(nh)=Key_Nexthop, S(nh)=RPF_Nexthop\n' +
  ' Flags:E=Evicted, Ec=Evict Candidate, N=New Flow, M=Modified Dm=Delete Marked\n' +
  'TCP(r=reverse):S=SYN, F=FIN, R=RST, C=HalfClose, E=Established, D=Dead\n';

const TCP = 6;

function header(table: FlowTableView): string {
  return (
    `Flow table(size ${table.bytes}, entries ${table.entries})\n\n` +
    `Entries: Created ${table.created} Added ${table.added} Deleted ${table.deleted} ` +
    `Changed ${table.changed}Processed ${table.processed} ` +
    `Used Overflow entries ${table.overflow}\n` +
    `(Created Flows/CPU: ${table.createdPerCpu.join(' ')})(oflows ${table.overflow})\n\n` +
    `${LEGEND}\n`
  );
}

function action(flow: FlowView): string {
  if (flow.action === 'D') return `D(${flow.drop})`;
  if (flow.action === 'N') return `N(${flow.nat})`;
  return flow.action;
}

/** Items of the parenthesis; a line ends after the item that takes it to 70 characters. */
function wrapped(items: readonly string[]): string {
  let text = '';
  let line = 0;
  items.forEach((item, i) => {
    text += item;
    line += item.length;
    if (line >= 70 && i < items.length - 1) {
      text += '\n';
      line = 0;
    }
  });
  return text;
}

/** Since the last look; absent at the first, and of a flow that is newer. */
export interface RatedFlow extends FlowView {
  readonly rate?: Rate;
}

export function renderFlow(flow: RatedFlow): string {
  const ids = `${String(flow.index).padStart(9)}<=>${flow.reverse}`.padEnd(25);
  const source = `${flow.source}:${String(flow.sourcePort).padEnd(5)}`.padEnd(49);
  const vrf =
    flow.vrf === flow.destinationVrf ? `${flow.vrf}` : `${flow.vrf}->${flow.destinationVrf}`;
  const items = [
    `(Gen: ${flow.generationId}, `,
    `K(nh):${flow.keyNextHop}, `,
    `Action:${action(flow)}, `,
    `Flags:${flow.flags}, `,
  ];
  if (flow.member >= 0) items.push(`E:${flow.member}, `);
  if (flow.protocol === TCP) items.push(`TCP:${flow.tcp}, `);
  items.push(
    'QOS:-1, ',
    `S(nh):${flow.rpfNextHop}, `,
    ` Stats:${flow.packets}/${flow.bytes}, `,
    ` SPort ${flow.outerSourcePort},`,
    ' TTL 0,',
    ...(flow.underlayLeg < 0 ? [] : [` UnderlayEcmpIdx:${flow.underlayLeg},`]),
    ` Sinfo ${flow.sourceInfo})`,
  );
  return (
    `${ids}${source}${String(flow.protocol).padStart(4)} (${vrf})\n` +
    `${' '.repeat(25)}${flow.destination}:${String(flow.destinationPort).padEnd(5)}\n` +
    `${wrapped(items)}\n` +
    (flow.rate === undefined
      ? ''
      : ` Rate packets/s:${flow.rate.packets} bits/s:${flow.rate.bits}\n`) +
    '\n'
  );
}

export function withFlowRates(
  now: readonly FlowView[],
  before: readonly FlowView[],
  seconds: number,
): RatedFlow[] {
  const known = new Map(before.map((flow) => [flow.index, flow]));
  return now.map((flow) => {
    const old = known.get(flow.index);
    // An index may be another flow's by now: its slot's use count says so.
    if (old === undefined || old.generationId !== flow.generationId) return flow;
    return { ...flow, rate: rateOf(old, flow, seconds) };
  });
}

/** `matching`: the text of the filter, where there is one. */
export function renderFlows(
  listing: FlowListing & { readonly flows: readonly RatedFlow[] },
  matching?: string,
): string {
  const title = matching === undefined ? '' : `Listing flows matching (${matching})\n\n`;
  // With a filter the ancestor leaves one more blank line after each entry.
  const gap = matching === undefined ? '' : '\n';
  return (
    header(listing.table) +
    title +
    HEADS +
    listing.flows.map((flow) => renderFlow(flow) + gap).join('')
  );
}

const NAT_WORDS: readonly (readonly [string, string])[] = [
  ['Ps', 'SourcePortNAT'],
  ['Pd', 'DestinationPortNAT'],
  ['S', 'SourceNAT'],
  ['D', 'DestinationNAT'],
  ['L', 'LinkLocalPortNAT'],
];
const TCP_WORDS: readonly (readonly [string, string])[] = [
  ['Sr', 'SYN(REVERSE)'],
  ['Er', 'ESTABLISHED(REVERSE)'],
  ['Fr', 'FIN(REVERSE)'],
  ['S', 'SYN'],
  ['E', 'ESTABLISHED'],
  ['F', 'FIN'],
  ['R', 'RST'],
  ['C', 'HALFCLOSE'],
  ['D', 'DEAD'],
];

function words(letters: string, table: readonly (readonly [string, string])[]): string[] {
  const out: string[] = [];
  for (let at = 0; at < letters.length; ) {
    const hit = table.find(([letter]) => letters.startsWith(letter, at));
    if (hit === undefined) return [...out, letters.slice(at)];
    out.push(hit[1]);
    at += hit[0].length;
  }
  return out;
}

const PROTOCOL: Readonly<Record<number, string>> = {
  1: 'ICMP',
  6: 'TCP',
  17: 'UDP',
  58: 'ICMPv6',
  132: 'SCTP',
};
const NEXT_HOP = {
  discard: 'DROP',
  receive: 'RECEIVE',
  l2_receive: 'L2 RECEIVE',
  interface: 'ENCAP',
  tunnel: 'TUNNEL',
  ecmp: 'COMPOSITE',
  replicate: 'COMPOSITE',
  vrf_translate: 'VRF TRANSLATE',
} as const;

function end(address: string, port: number): string {
  return `[${address}]:${port}`;
}

function actionWords(flow: FlowView): string {
  if (flow.action === 'F') return 'FORWARD';
  if (flow.action === 'H') return 'HOLD';
  if (flow.action === 'D') return `DROP(${flow.drop})`;
  const list = words(flow.nat, NAT_WORDS).map((word) => `${word}, `);
  return `NAT: ${list.join('')}`;
}

export function renderFlowGet(detail: FlowDetail): string {
  const { flow } = detail;
  const fields: [string, string][] = [
    ['Flow Index', `${flow.index}`],
    ['Flow Generation ID', `${flow.generationId}`],
    ['Reverse Flow Index', `${flow.reverse}`],
    ['VRF', `${flow.vrf}`],
    ['Destination VRF', `${flow.destinationVrf}`],
    ['Flow Source', end(flow.source, flow.sourcePort)],
    ['Flow Destination', end(flow.destination, flow.destinationPort)],
    ['Flow Protocol', PROTOCOL[flow.protocol] ?? `${flow.protocol}`],
    ['Flow Action', actionWords(flow)],
  ];
  if (flow.action === 'N') {
    fields.push([
      'NAT(Source, Destination)',
      `${end(flow.natSource, flow.natSourcePort)}, ${end(flow.natDestination, flow.natDestinationPort)}`,
    ]);
  }
  if (detail.rpf !== null) {
    const { nextHop, vrf, type } = detail.rpf;
    fields.push([
      'Expected Source',
      `NextHop(Index, VRF, Type): ${nextHop}, ${vrf}, ${NEXT_HOP[type]}`,
    ]);
    if (detail.vif !== null) {
      const { id, vrf: of, name } = detail.vif;
      fields.push(['', `Ingress Interface(Index, VRF, OS): vif0/${id}, ${of}, ${name}`]);
    } else {
      fields.push(['', `Tunnel Source: ${flow.sourceInfo}`]);
    }
  }
  if (flow.member >= 0) fields.push(['ECMP Member', `${flow.member}`]);
  if (flow.underlayLeg >= 0) fields.push(['Flow Underlay ECMP Index', `${flow.underlayLeg}`]);
  fields.push(
    ['Next Hop', flow.label === null ? `${flow.nextHop}` : `${flow.nextHop}, label ${flow.label}`],
    ['Flow Flags', flow.flags === '' ? 'ACTIVE' : `ACTIVE, ${flow.flags}`],
  );
  if (flow.protocol === TCP) fields.push(['TCP FLAGS', words(flow.tcp, TCP_WORDS).join(', ')]);
  fields.push(
    ['UDP Source Port', `${flow.outerSourcePort}`],
    ['Idle', `${(flow.idleMs / 1000).toFixed(3)} s`],
    ['Flow Statistics', `${flow.packets}/${flow.bytes}`],
    ['System Wide Packet Drops', `${detail.systemDrops}`],
  );
  return fields
    .map(([name, value]) => `${(name === '' ? '' : `${name}:`).padEnd(30)}${value}`.trimEnd())
    .map((line) => `${line}\n`)
    .join('');
}

/** Entries made and ended a second, since the last look. */
export interface RatedStatistics extends FlowStatistics {
  readonly rate?: { readonly created: number; readonly deleted: number };
}

export function withSetUpRates(
  now: FlowStatistics,
  before: Before<FlowStatistics> | undefined,
): RatedStatistics {
  if (before === undefined) return now;
  const rate = (name: 'created' | 'deleted') =>
    perSecond(before.value.table[name], now.table[name], before.seconds);
  return { ...now, rate: { created: rate('created'), deleted: rate('deleted') } };
}

export function renderFlowStatistics({ table, byAction, rate }: RatedStatistics): string {
  const rows: [string, string][] = [
    ['Total  Entries', `${table.entries}`],
    ['Active Entries', `${table.used}`],
    ['Hold   Entries', `${byAction.hold}`],
    ['Fwd flow Entries', `${byAction.forward}`],
    ['drop flow Entries', `${byAction.drop}`],
    ['NAT flow Entries', `${byAction.nat}`],
    ['Created', `${table.created}`],
    ['Deleted', `${table.deleted}`],
    ['Evicted', `${table.evicted}`],
  ];
  if (rate !== undefined) {
    rows.push(['Created per second', `${rate.created}`], ['Deleted per second', `${rate.deleted}`]);
  }
  return (
    'Flow Statistics\n---------------\n' +
    rows.map(([name, value]) => `    ${name.padEnd(22)}= ${value}\n`).join('')
  );
}

/** One line of `flow -r`; rates are per second since the line before. */
export function renderFlowRate(
  before: FlowTableView,
  after: FlowTableView,
  seconds: number,
  hold: number,
  when: string,
): string {
  const rate = (was: number | string, is: number | string) => perSecond(was, is, seconds);
  const setUp = rate(before.created, after.created);
  const n = (value: number, width: number) => String(value).padStart(width);
  // Forward and reverse entries are always made together.
  return (
    `${when}:  Entries = ${n(after.used, 8)} Rate = ${n(setUp, 6)} ` +
    `(Fwd = ${n(Math.ceil(setUp / 2), 8)} Rev = ${n(Math.floor(setUp / 2), 8)} ` +
    `Del = ${n(rate(before.deleted, after.deleted), 8)}) Hold = ${n(hold, 8)} ` +
    `Free Burst Tokens = ${n(0, 8)} Total Hold Entries ${n(hold, 8)}\n`
  );
}
