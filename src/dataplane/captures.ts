/** Captures (native/worker/capture.h): what is asked, as the addon takes it, and what it caught. */
import { parseIp } from '../addr/ip.ts';
import type { CapturedPacket, CaptureSpec } from './api.ts';
import { loadAddon, type NativeCaptureSpec } from './binding.ts';
import { layout } from './layout.ts';
import { explainLines } from './notes.ts';
import { offsetsOf } from './records.ts';

const at = offsetsOf(layout.captureRecord);
const OUT = 1;
const text = new TextDecoder();

/**
 * A filter in libpcap's language as what a capture takes. It may wait for a resolver, so it is for the
 * process of who asks, not for that of a router. NO_PACKAGE: libpcap is not installed.
 */
export function compileFilter(filter: string): Uint8Array {
  return loadAddon().addon.compileFilter(filter);
}

export function nativeCapture({ ends, ...spec }: CaptureSpec): NativeCaptureSpec {
  if (ends === undefined) return spec;
  return {
    ...spec,
    ends: ends.map(({ address, ...end }) =>
      address === undefined ? end : { ...end, address: parseIp(address).bytes },
    ),
  };
}

/** Frames are views of `bytes`. */
export function decodeCaptured(bytes: Uint8Array): CapturedPacket[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const packets: CapturedPacket[] = [];
  for (let here = 0; here < bytes.length; ) {
    const start = here + layout.captureRecord.size;
    const captured = view.getUint32(here + at.captured, true);
    const notes = view.getUint32(here + at.text, true);
    const end = start + captured;
    packets.push({
      number: Number(view.getBigUint64(here + at.number, true)),
      timeNs: view.getBigUint64(here + at.time_ns, true),
      vif: view.getUint16(here + at.vif, true),
      way: view.getUint8(here + at.way) === OUT ? 'out' : 'in',
      super: view.getUint8(here + at.super) !== 0,
      length: view.getUint32(here + at.length, true),
      frame: bytes.subarray(start, end),
      lines: notes === 0 ? [] : explainLines(text.decode(bytes.subarray(end, end + notes))),
    });
    here = end + notes;
  }
  return packets;
}
