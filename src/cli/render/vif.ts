/** Text of `vif --list`, `vif --get` and their `--rate`. Pure; layout is the ancestor's. */
import type { Count, PortCounters, VifView } from '../views.ts';
import { perSecond, type Rate, rateOf } from '../watch.ts';

const INDENT = ' '.repeat(12);

/** Letter, meaning; in the order `vif` prints them. */
export const VIF_LETTERS = [
  ['P', 'Policy'],
  ['X', 'Cross Connect'],
  ['S', 'Service Chain'],
  ['Mr', 'Receive Mirror'],
  ['Mt', 'Transmit Mirror'],
  ['Tc', 'Transmit Checksum Offload'],
  ['L3', 'Layer 3'],
  ['L2', 'Layer 2'],
  ['D', 'DHCP'],
  ['Vp', 'Vhost Physical'],
  ['Pr', 'Promiscuous'],
  ['Vnt', 'Native Vlan Tagged'],
  ['Mnp', 'No MAC Proxy'],
  ['Dpdk', 'DPDK PMD Interface'],
  ['Rfl', 'Receive Filtering Offload'],
  ['Mon', 'Interface is Monitored'],
  ['Uuf', 'Unknown Unicast Flood'],
  ['Vof', 'VLAN insert/strip offload'],
  ['Df', 'Drop New Flows'],
  ['L', 'MAC Learning Enabled'],
  ['Proxy', 'MAC Requests Proxied Always'],
  ['Er', 'Etree Root'],
  ['Mn', 'Mirror without Vlan Tag'],
  ['HbsL', 'HBS Left Intf'],
  ['HbsR', 'HBS Right Intf'],
  ['Ig', 'Igmp Trap Enabled'],
  ['Ml', 'MAC-IP Learning Enabled'],
] as const;

function legend(): string {
  const lines: string[] = [];
  for (let i = 0; i < VIF_LETTERS.length; i += 4) {
    lines.push(
      VIF_LETTERS.slice(i, i + 4)
        .map(([letter, meaning]) => `${letter}=${meaning}`)
        .join(', '),
    );
  }
  return `Flags: ${lines.join('\n       ')}\n`;
}

export const VIF_HEADER = `Vrouter Interface Table\n\n${legend()}\n`;

function isZero(value: Count | undefined): boolean {
  return value === undefined || value === 0;
}

function portLine(title: string, counters: PortCounters | undefined): string {
  if (counters === undefined) return '';
  if (isZero(counters.packets) && isZero(counters.errors) && isZero(counters.syscalls)) return '';
  const calls = counters.syscalls === undefined ? '' : ` syscalls:${counters.syscalls}`;
  return `${INDENT}${title} packets:${counters.packets} errors:${counters.errors}${calls}\n`;
}

export interface VifDrops {
  readonly name: string;
  readonly packets: Count;
}

/** Since the last look; absent at the first, and of a vif that was not there then. */
export interface RatedVif extends VifView {
  readonly rate?: { readonly rx: Rate; readonly tx: Rate; readonly drops: number };
}

export function withVifRates(
  now: readonly VifView[],
  before: readonly VifView[],
  seconds: number,
): RatedVif[] {
  const known = new Map(before.map((vif) => [vif.id, vif]));
  return now.map((vif) => {
    const old = known.get(vif.id);
    if (old === undefined) return vif;
    const rx = rateOf(old.rx, vif.rx, seconds);
    const tx = rateOf(old.tx, vif.tx, seconds);
    return { ...vif, rate: { rx, tx, drops: perSecond(old.drops, vif.drops, seconds) } };
  });
}

function rateLines(rate: RatedVif['rate']): string {
  if (rate === undefined) return '';
  const line = (title: string, { packets, bits }: Rate) =>
    `${INDENT}${title} rate packets/s:${packets} bits/s:${bits}`;
  return `${line('RX', rate.rx)}\n${line('TX', rate.tx)} drops/s:${rate.drops}\n`;
}

export function renderVif(vif: RatedVif, drops: readonly VifDrops[] = []): string {
  const place = vif.transport === null ? 'Virtual: (no port)' : `${vif.transport}: ${vif.name}`;
  const address = `IPaddr:${vif.ipv4 ?? '0.0.0.0'}`;
  const flags = vif.flags.length === 0 ? 'NULL' : vif.flags.join('');
  const queueErrors = vif.rxQueueErrors;
  return (
    `${`vif0/${vif.id}`.padEnd(12)}${place} NH: ${vif.nextHop}\n` +
    `${INDENT}Type:${vif.type} HWaddr:${vif.mac} ${address}\n` +
    (vif.ipv6 === null ? '' : `${INDENT}IP6addr:${vif.ipv6}\n`) +
    `${INDENT}Vrf:${vif.vrf} Mcast Vrf:${vif.multicastVrf} Flags:${flags} QOS:-1 Ref:${vif.references}\n` +
    portLine('RX port  ', vif.rxPort) +
    portLine('RX queue ', vif.rxQueue) +
    (queueErrors === undefined
      ? ''
      : `${INDENT}RX queue errors to lcore ${queueErrors.join(' ')}\n`) +
    `${INDENT}RX packets:${vif.rx.packets}  bytes:${vif.rx.bytes} errors:${vif.rx.errors}\n` +
    `${INDENT}TX packets:${vif.tx.packets}  bytes:${vif.tx.bytes} errors:${vif.tx.errors}\n` +
    `${INDENT}Drops:${vif.drops}\n` +
    rateLines(vif.rate) +
    portLine('TX port  ', vif.txPort) +
    drops.map((drop) => `${INDENT}${drop.name.padEnd(28)}  ${drop.packets}\n`).join('') +
    '\n'
  );
}

export function renderVifs(vifs: readonly VifView[]): string {
  return VIF_HEADER + vifs.map((vif) => renderVif(vif)).join('');
}

const STEP = 30;
const column = (text: string) => text.padEnd(STEP);

function pair(errors: string, packets: string): string {
  return column(`${errors.padEnd(9)}${packets}`);
}

/** Two readings, `seconds` apart, as errors and packets per second. */
export function renderVifRates(
  before: readonly VifView[],
  after: readonly VifView[],
  seconds: number,
): string {
  const title = 'Interface rate statistics';
  const known = new Map(before.map((vif) => [vif.id, vif]));
  const rows = after.map((vif) => {
    const old = known.get(vif.id);
    const rate = (was: Count | undefined, is: Count) => `${perSecond(was, is, seconds)}`;
    return (
      column(vif.name) +
      column(`vif0/${vif.id}`) +
      pair(rate(old?.rx.errors, vif.rx.errors), rate(old?.rx.packets, vif.rx.packets)) +
      pair(rate(old?.tx.errors, vif.tx.errors), rate(old?.tx.packets, vif.tx.packets))
    ).trimEnd();
  });
  return [
    title,
    '-'.repeat(title.length),
    '',
    `${column('Interface name')}${column('VIF ID')}${column('RX')}TX`,
    `${column('')}${column('')}${pair('Errors', 'Packets')}${pair('Errors', 'Packets').trimEnd()}`,
    '',
    ...rows,
    '',
  ].join('\n');
}
