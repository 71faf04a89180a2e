/** Text of `dropstats` and `vrfstats`. Pure; layout is the ancestor's. */
import type { Count, DropLogView, DropView, VrfStatsView } from '../views.ts';

/** Not a loss: shown with `--debug` only. */
const HIDDEN = new Set(['Cloned Original']);

export function renderDrops(drops: readonly DropView[], debug: boolean): string {
  return drops
    .filter((drop) => drop.packets !== 0 && (debug || !HIDDEN.has(drop.name)))
    .map((drop) => `${drop.name.padEnd(28)}  ${drop.packets}\n`)
    .join('');
}

/** A line a drop, and under it what the packet was. */
export function renderDropLog(drops: readonly DropLogView[]): string {
  return drops
    .map(({ time, reason, room, vif, vrf, length, text }) => {
      const where = `vif0/${vif < 0 ? '-' : vif} vrf ${vrf < 0 ? '-' : vrf}`;
      const layers = text
        .trimEnd()
        .split('\n')
        .map((line) => `    ${line}\n`)
        .join('');
      return `${time}  ${reason}  in ${room}  ${where}  ${length} bytes\n${layers}`;
    })
    .join('');
}

/** Printed name, counter; one list per line. Counters we do not have are zero, as they are. */
const LINES: readonly (readonly (readonly [string, string])[])[] = [
  [
    ['Discards', 'discards'],
    ['Resolves', 'resolves'],
    ['Receives', 'receives'],
    ['L2 Receives', 'l2_receives'],
    ['Vrf Translates', 'vrf_translates'],
    ['Unknown Unicast Floods', 'unknown_unicast_floods'],
  ],
  [
    ['Ecmp Composites', 'ecmp_composites'],
    ['L2 Mcast Composites', 'l2_mcast_composites'],
    ['Fabric Composites', 'fabric_composites'],
    ['Encap Composites', 'encap_composites'],
    ['Evpn Composites', 'evpn_composites'],
  ],
  [
    ['Udp Tunnels', 'udp_tunnels'],
    ['Udp Mpls Tunnels', 'udp_mpls_tunnels'],
    ['Gre Mpls Tunnels', 'gre_mpls_tunnels'],
    ['Vxlan Tunnels', 'vxlan_tunnels'],
    ['Pbb Tunnels', 'pbb_tunnels'],
    ['Mpls over Mpls Tunnels', 'mpls_over_mpls_tunnels'],
  ],
  [
    ['L2 Encaps', 'l2_encaps'],
    ['Encaps', 'encaps'],
  ],
  [
    ['GROs', 'gros'],
    ['Diags', 'diags'],
  ],
  [
    ['Arp Virtual Proxys', 'arp_virtual_proxys'],
    ['Arp Virtual Stitchs', 'arp_virtual_stitchs'],
    ['Arp Virtual Floods', 'arp_virtual_floods'],
    ['Arp Physical Stitchs', 'arp_physical_stitchs'],
    ['Arp Tor Proxys', 'arp_tor_proxys'],
    ['Arp Physical Floods', 'arp_physical_floods'],
  ],
];

function renderVrf(stats: VrfStatsView): string {
  const value = (name: string): Count => stats.counters[name] ?? 0;
  const lines = LINES.map((line) =>
    line.map(([printed, name]) => `${printed} ${value(name)}`).join(', '),
  );
  return `Vrf: ${stats.vrf}\n${lines.join('\n')}\n\n`;
}

export function renderVrfStats(all: readonly VrfStatsView[]): string {
  return all.map(renderVrf).join('');
}
