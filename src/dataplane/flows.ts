/**
 * Flow records as the core hands them over (native/binding/records.h), given the ancestor's letters.
 */
import type { FlowRecord } from './api.ts';
import { layout } from './layout.ts';
import { ACTIONS, addressAt, offsetsOf, records } from './records.ts';

const { size } = layout.flowRecord;
const at = offsetsOf(layout.flowRecord);

/** Bit and letter, in the order they are printed. Values: native/state/flow.h. */
const NAT_LETTERS = [
  [0x1, 'S'],
  [0x2, 'Ps'],
  [0x4, 'D'],
  [0x8, 'Pd'],
] as const;

const TCP_LETTERS = [
  [0x8, 'S'],
  [0x10, 'Sr'],
  [0x20, 'E'],
  [0x40, 'Er'],
  [0x1, 'F'],
  [0x4, 'Fr'],
  [0x80, 'R'],
  [0x2, 'C'],
  [0x8000, 'D'],
] as const;

const FLAG_LETTERS = [
  [0x10, 'Ec'],
  [0x80, 'M'],
] as const;
const INITIATOR = 0x2;

const NO_MEMBER = 0xffff;
const NO_VIF = 0xffff;
const NO_LEG = 0xffff;
const TCP = 6;

export function letters(bits: number, table: readonly (readonly [number, string])[]): string {
  let out = '';
  for (const [bit, letter] of table) if ((bits & bit) !== 0) out += letter;
  return out;
}

export function natLetters(bits: number): string {
  return letters(bits, NAT_LETTERS);
}

export function tcpLetters(bits: number): string {
  return letters(bits, TCP_LETTERS);
}

export function decodeFlows(bytes: Uint8Array): FlowRecord[] {
  const out: FlowRecord[] = [];
  for (const record of records(bytes, size)) out.push(decodeFlow(record.bytes, record.view));
  return out;
}

function decodeFlow(bytes: Uint8Array, view: DataView): FlowRecord {
  const u8 = (offset: number) => view.getUint8(offset);
  const u16 = (offset: number) => view.getUint16(offset, true);
  const u32 = (offset: number) => view.getUint32(offset, true);
  const family = u8(at.family);
  const protocol = u8(at.protocol);
  const action = ACTIONS[u8(at.action)] ?? 'D';
  const flags = u8(at.flags);
  const translated = action === 'N';
  const member = u16(at.member);
  const leg = u16(at.underlay_leg);
  const vif = u32(at.vif);
  return {
    index: u32(at.index),
    reverse: u32(at.reverse),
    source: addressAt(bytes, at.source, family),
    destination: addressAt(bytes, at.destination, family),
    sourcePort: u16(at.source_port),
    destinationPort: u16(at.destination_port),
    protocol,
    vrf: u32(at.vrf),
    destinationVrf: u32(at.destination_vrf),
    keyNextHop: u32(at.key_next_hop),
    rpfNextHop: u32(at.rpf_next_hop),
    nextHop: u32(at.next_hop),
    label: u32(at.label),
    member: member === NO_MEMBER ? -1 : member,
    vif: vif === NO_VIF ? -1 : vif,
    underlayLeg: leg === NO_LEG ? -1 : leg,
    action,
    drop: action === 'D' ? (layout.flowDrops[u8(at.drop)]?.printed ?? 'Unknown') : '',
    nat: natLetters(u8(at.nat)),
    tcp: protocol === TCP ? tcpLetters(u16(at.tcp)) : '',
    flags: letters(flags, FLAG_LETTERS),
    initiator: (flags & INITIATOR) !== 0,
    packets: view.getBigUint64(at.packets, true),
    bytes: view.getBigUint64(at.bytes, true),
    generationId: u8(at.generation_id),
    outerSourcePort: u16(at.outer_source_port),
    sourceInfo: addressAt(bytes, at.source_info, u8(at.source_family)) || '0.0.0.0',
    natSource: translated ? addressAt(bytes, at.nat_source, family) : '',
    natDestination: translated ? addressAt(bytes, at.nat_destination, family) : '',
    natSourcePort: translated ? u16(at.nat_source_port) : 0,
    natDestinationPort: translated ? u16(at.nat_destination_port) : 0,
    idleMs: u32(at.idle_ms),
  };
}
