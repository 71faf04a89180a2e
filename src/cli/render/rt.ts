/** Text of `rt --dump` and `rt --get` for inet, inet6 and bridge. Pure; layout is the ancestor's. */
import type { MacDump, MacView, RouteDump, RouteView } from '../views.ts';
import { shortMac } from './mac.ts';

const LEGEND =
  'Flags: L=Label Valid, P=Proxy ARP, T=Trap ARP, F=Flood ARP, Ml=MAC-IP learnt route\n';
const BRIDGE_LEGEND =
  'Flags: L=Label Valid, Df=DHCP flood, Mm=Mac Moved, L2c=L2 Evpn Control Word, N=New Entry, Ec=EvpnControlProcessing\n';

/** The widest IPv6 prefix is 43 characters. */
const DESTINATION = { inet: 21, inet6: 45 } as const;

function title(vrf: number, family: 'inet' | 'inet6'): string {
  const name = family === 'inet' ? 'inet4' : 'inet6';
  const heads = 'PPL        Flags        Label         Nexthop    Stitched MAC(Index)';
  return (
    LEGEND +
    `vRouter ${name} routing table 0/${vrf}/unicast\n` +
    `${'Destination'.padEnd(DESTINATION[family] + 1)}${heads}\n`
  );
}

function row(route: RouteView, family: 'inet' | 'inet6'): string {
  const [address, length] = route.prefix.split('/') as [string, string];
  const destination = `${address}/${length.padEnd(2)}`.padEnd(DESTINATION[family]);
  const label = route.label === null ? '-' : String(route.label);
  const mac = route.mac === null ? '-' : `${shortMac(route.mac)}(${route.macIndex ?? -1})`;
  return (
    destination +
    String(route.length).padStart(4) +
    route.flags.padStart(8 + 5) +
    label.padStart(6 + 5) +
    String(route.nextHop).padStart(8 + 7) +
    `${' '.repeat(8)}${mac}\n`
  );
}

export function renderRoutes(dump: RouteDump): string {
  return title(dump.vrf, dump.family) + dump.routes.map((r) => row(r, dump.family)).join('');
}

/** `--get`: the prefix asked for, with the length of the route that covers it. */
export function renderRouteGet(dump: RouteDump, asked: string): string {
  const name = dump.family === 'inet' ? 'inet4' : 'inet6';
  const match = `Match ${asked} in vRouter ${name} table 0/${dump.vrf}/unicast\n\n`;
  return match + renderRoutes(dump);
}

function macRow(entry: MacView): string {
  return (
    String(entry.index).padEnd(12) +
    shortMac(entry.mac).padEnd(20) +
    entry.flags.padStart(10) +
    (entry.label === null ? '-' : String(entry.label)).padStart(21) +
    String(entry.nextHop).padStart(13) +
    `${String(entry.packets).padStart(16)}\n`
  );
}

export function renderMacs(dump: MacDump): string {
  return (
    BRIDGE_LEGEND +
    `vRouter bridge table 0/${dump.vrf}\n` +
    'Index       DestMac                  Flags           Label/VNID      Nexthop           Stats\n' +
    dump.macs.map(macRow).join('')
  );
}
