/** Text of `nh --list` and `nh --get`. Pure; layout is the ancestor's. */
import type { LegView, NextHopSlot, NextHopView } from '../views.ts';

const INDENT = ' '.repeat(14);
/** Sub-NHs shown in a list; `--get` shows all. */
const LISTED_SLOTS = 16;
/** The line of sub-NHs is broken once this much has been printed on it. */
const SLOT_LINE = 60;

const TYPE = {
  discard: 'Drop',
  receive: 'Receive',
  l2_receive: 'L2 Receive',
  interface: 'Encap',
  tunnel: 'Tunnel',
  ecmp: 'Composite',
  replicate: 'Composite',
  vrf_translate: 'Vrf_Translate',
} as const;

const FAMILY = {
  inet: 'AF_INET',
  inet6: 'AF_INET6',
  bridge: 'AF_BRIDGE',
  unspec: 'AF_UNSPEC',
} as const;

/** `00 1b 21 …` with the blank after the last byte. */
function bytes(hex: string): string {
  return hex.replace(/../g, '$& ');
}

function slotText(slot: NextHopSlot | null): string {
  if (slot === null) return '-1';
  return slot.label === null ? `${slot.nextHop}` : `${slot.nextHop}(${slot.label})`;
}

function slotLines(slots: readonly (NextHopSlot | null)[], limit: number): string {
  let text = `${INDENT}Sub NH(label):`;
  let printed = 0;
  for (const slot of slots.slice(0, limit)) {
    if (printed > SLOT_LINE) {
      text += `\n${INDENT}${INDENT}`;
      printed = 0;
    }
    const part = ` ${slotText(slot)}`;
    text += part;
    printed += part.length;
  }
  if (slots.length > limit) text += ` and ${slots.length - limit} more components...`;
  return `${text}\n`;
}

function leg({ vif, data, valid }: LegView): string {
  if (!valid) return `Oif:${vif} EncapValid:0 Len:0 Data:NULL`;
  return `Oif:${vif} EncapValid:1 Len:${data.length / 2} Data:${bytes(data)}`;
}

function details(nextHop: NextHopView, limit: number): string {
  switch (nextHop.type) {
    case 'receive':
      return `${INDENT}Oif:${nextHop.vif ?? -1}\n`;
    case 'interface': {
      const family = (nextHop.encapFamily ?? 0x0806).toString(16).padStart(4, '0');
      const data = nextHop.data ?? '';
      return (
        `${INDENT}EncapFmly:${family} Oif:${nextHop.vif ?? 0} Len:${data.length / 2}\n` +
        `${INDENT}Encap Data: ${bytes(data)}\n`
      );
    }
    case 'tunnel': {
      const data = nextHop.data ?? '';
      const source = nextHop.source ?? '';
      const destination = nextHop.destination ?? '';
      const ends = source.includes(':')
        ? `Sip: ${source} Dip: ${destination}`
        : `Sip:${source} Dip:${destination}`;
      const mac = nextHop.l3VxlanMac === undefined ? '' : ` L3_Vxlan_Mac: ${nextHop.l3VxlanMac}`;
      const ways = nextHop.legs?.map(leg) ?? [
        `Oif:${nextHop.vif ?? 0} Len:${data.length / 2} Data:${bytes(data)}`,
      ];
      return `${ways.map((way) => `${INDENT}${way}\n`).join('')}${INDENT}${ends}${mac}\n`;
    }
    case 'ecmp':
    case 'replicate': {
      const fields = nextHop.hashFields ?? [];
      const hash =
        fields.length === 0 ? '' : `${INDENT}Valid Hash Key Parameters: ${fields.join(',')}\n`;
      return hash + slotLines(nextHop.slots ?? [], limit);
    }
    case 'vrf_translate':
      return `${INDENT}Vrf:${nextHop.vrf}\n`;
    default:
      return '';
  }
}

function entry(nextHop: NextHopView, limit: number): string {
  const flags =
    nextHop.flags.length === 0 ? 'None' : nextHop.flags.map((flag) => `${flag}, `).join('');
  return (
    `Id:${String(nextHop.id).padEnd(9)}  Type:${TYPE[nextHop.type].padEnd(13)}  ` +
    `Fmly:${FAMILY[nextHop.family].padStart(8)}  Rid:0  ` +
    `Ref_cnt:${String(nextHop.references).padEnd(10)} Vrf:${nextHop.vrf}\n` +
    `${INDENT}Flags:${flags}\n` +
    `${details(nextHop, limit)}\n`
  );
}

export function renderNextHopList(nextHops: readonly NextHopView[]): string {
  return nextHops.map((nextHop) => entry(nextHop, LISTED_SLOTS)).join('');
}

/** The next hop asked for, then those its slots name, in slot order. */
export function renderNextHopGet(nextHops: readonly NextHopView[]): string {
  return nextHops.map((nextHop) => entry(nextHop, Number.POSITIVE_INFINITY)).join('');
}
