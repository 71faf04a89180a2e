/** Text of `info` and `vrftable`. Pure; layouts are the ancestor's, with the name of a VRF at the end. */
import type { InfoView, VrfTableView } from '../views.ts';
import { kernelTierText } from './kernel-tier.ts';

const LABEL = 41;

function section(title: string, rows: Readonly<Record<string, number | string>>): string {
  const lines = Object.entries(rows).map(([name, value]) => `${name.padEnd(LABEL)}${value}\n`);
  return `${title}\n${lines.join('')}`;
}

export function renderInfo({ version, limits, used, kernelTier }: InfoView): string {
  const now = { ...used, 'Kernel tier': kernelTierText(kernelTier) };
  return (
    `${'vRouter version'.padEnd(LABEL)}${version}\n\n` +
    `${section('Startup parameters', limits)}\n${section('Runtime parameters', now)}`
  );
}

export function renderVrfTable(rows: readonly VrfTableView[]): string {
  const line = ({ vrf, name }: VrfTableView) =>
    `${String(vrf).padStart(5)}    ${'V'.padEnd(5)}${'-'.padStart(11)}${'-'.padStart(8)}   ${name}\n`;
  return (
    'VRF Table\n\nFlags: V=Valid, Hl=HBS Left Valid, Hr=HBS Right Valid\n\n' +
    '   Vrf   Flags      HBS-L   HBS-R   Name\n' +
    `${'-'.repeat(48)}\n${rows.map(line).join('')}`
  );
}
