import { describe, expect, it } from 'vitest';
import { PcapWriter, readPcap } from '../../../src/codec/pcap.ts';
import { VRouterError } from '../../../src/errors.ts';

/** A pcap file made by hand, so that the reader is not tested against our writer alone. */
function file(options: { little: boolean; nano: boolean; records: [number, number, string][] }) {
  const { little, nano, records } = options;
  const size = 24 + records.reduce((n, [, , hex]) => n + 16 + hex.length / 2, 0);
  const bytes = Buffer.alloc(size);
  const u32 = (value: number, at: number) =>
    little ? bytes.writeUInt32LE(value, at) : bytes.writeUInt32BE(value, at);
  u32(nano ? 0xa1b23c4d : 0xa1b2c3d4, 0);
  if (little) bytes.writeUInt16LE(2, 4);
  else bytes.writeUInt16BE(2, 4);
  u32(65535, 16);
  u32(1, 20);
  let at = 24;
  for (const [seconds, fraction, hex] of records) {
    u32(seconds, at);
    u32(fraction, at + 4);
    u32(hex.length / 2, at + 8);
    u32(hex.length / 2 + 4, at + 12);
    bytes.write(hex, at + 16, 'hex');
    at += 16 + hex.length / 2;
  }
  return bytes;
}

function refusal(bytes: Uint8Array): string {
  try {
    for (const _ of readPcap('in.pcap', bytes));
  } catch (error) {
    expect(error).toBeInstanceOf(VRouterError);
    expect((error as VRouterError).code).toBe('BAD_FILE');
    return (error as Error).message;
  }
  throw new Error('accepted');
}

describe('readPcap', () => {
  it.each([
    [true, true],
    [true, false],
    [false, true],
    [false, false],
  ])('reads little-endian %s, nanoseconds %s', (little, nano) => {
    const records = [
      ...readPcap(
        'in.pcap',
        file({
          little,
          nano,
          records: [
            [7, 5, '0102'],
            [8, 0, ''],
          ],
        }),
      ),
    ];
    expect(
      records.map((r) => [r.timeNs, Buffer.from(r.frame).toString('hex'), r.wireLength]),
    ).toEqual([
      [nano ? 7_000_000_005n : 7_000_005_000n, '0102', 6],
      [8_000_000_000n, '', 4],
    ]);
  });

  it('refuses everything else with file and offset', () => {
    const good = file({ little: true, nano: false, records: [[7, 5, '0102']] });
    expect(refusal(good.subarray(0, 10))).toMatch(/in\.pcap: offset 0: .*24 bytes/);
    expect(refusal(good.subarray(0, 30))).toMatch(/offset 24: .*inside a record header/);
    expect(refusal(good.subarray(0, 41))).toMatch(/offset 40: 2 bytes .*announced, 1 are left/);
    const changed = (at: number, value: number) => {
      const copy = Buffer.from(good);
      copy.writeUInt32LE(value, at);
      return copy;
    };
    expect(refusal(changed(0, 0x12345678))).toMatch(/offset 0: not a pcap file/);
    expect(refusal(changed(0, 0x0a0d0d0a))).toMatch(/pcapng/);
    expect(refusal(changed(4, 9))).toMatch(/offset 4: version 9/);
    expect(refusal(changed(20, 101))).toMatch(/offset 20: link type 101/);
    expect(refusal(changed(28, 1_000_000))).toMatch(/offset 28: 1000000 is more than a second/);
    expect(refusal(changed(32, 300_000))).toMatch(/offset 32: a frame of 300000 bytes/);
  });
});

describe('PcapWriter', () => {
  it('writes what the reader reads, past the size of its first buffer', () => {
    const writer = new PcapWriter();
    const frames = Array.from({ length: 200 }, (_, i) => new Uint8Array(900).fill(i));
    frames.forEach((frame, i) => {
      writer.add(1_700_000_000_000_000_001n + BigInt(i), frame);
    });
    const back = [...readPcap('out.pcap', writer.bytes())];
    expect(back).toHaveLength(200);
    expect(back[199]?.timeNs).toBe(1_700_000_000_000_000_200n);
    expect(Buffer.from(back[150]?.frame ?? []).equals(Buffer.from(frames[150] as Uint8Array))).toBe(
      true,
    );
    expect(() => writer.add(-1n, new Uint8Array())).toThrow(RangeError);
  });
});
