/** Flow events as the core's ring hands them over (native/state/events.h). */
import type { FlowEvent } from './api.ts';
import { layout } from './layout.ts';
import { ACTIONS, addressAt, offsetsOf, records } from './records.ts';

export const EVENT_SIZE = layout.eventRecord.size;
const at = offsetsOf(layout.eventRecord);

const CREATED = 1;
const NO_VIF = 0xffff;

export function decodeEvents(bytes: Uint8Array): FlowEvent[] {
  const out: FlowEvent[] = [];
  for (const record of records(bytes, EVENT_SIZE)) {
    out.push(decodeEvent(record.bytes, record.view));
  }
  return out;
}

function decodeEvent(bytes: Uint8Array, view: DataView): FlowEvent {
  const family = view.getUint8(at.family);
  const action = ACTIONS[view.getUint8(at.action)] ?? 'D';
  const vif = view.getUint16(at.vif, true);
  return {
    kind: view.getUint32(at.kind, true) === CREATED ? 'created' : 'deleted',
    timeNs: view.getBigUint64(at.time_ns, true),
    flow: view.getUint32(at.flow, true),
    reverse: view.getUint32(at.reverse, true),
    vrf: view.getUint32(at.vrf, true),
    vif: vif === NO_VIF ? -1 : vif,
    source: addressAt(bytes, at.source, family),
    destination: addressAt(bytes, at.destination, family),
    sourcePort: view.getUint16(at.source_port, true),
    destinationPort: view.getUint16(at.destination_port, true),
    protocol: view.getUint8(at.protocol),
    action,
    drop: action === 'D' ? (layout.flowDrops[view.getUint8(at.drop)]?.printed ?? 'Unknown') : '',
    packets: view.getBigUint64(at.packets, true),
    bytes: view.getBigUint64(at.bytes, true),
  };
}
