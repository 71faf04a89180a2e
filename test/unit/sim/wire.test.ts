/** The tenants' codec against the tests' own packet builder, and against damage. */
import { describe, expect, it } from 'vitest';
import { checksum } from '../../../src/codec/checksum.ts';
import {
  decodeArp,
  decodeFrame,
  decodeIpv4,
  decodeMplsOverUdp,
  decodeSegment,
  encodeArp,
  encodeFrame,
  encodeIpv4,
  encodeSegment,
  ipv4Number,
  ipv4Text,
  macBytes,
  PROTOCOL,
  TCP,
} from '../../../src/sim/wire.ts';
import * as builder from '../../support/packet.ts';

const SOURCE = '10.47.255.237';
const DESTINATION = '10.105.139.153';
const [CLIENT_MAC, ROUTER_MAC] = ['02:ed:00:00:02:37', '00:00:5e:00:01:00'];

function synFrame(mss: number | undefined, data = ''): Buffer {
  const [source, destination] = [ipv4Number(SOURCE), ipv4Number(DESTINATION)];
  const segment = {
    sourcePort: 32768,
    destinationPort: 8888,
    sequence: 0xfffffff0,
    acknowledgement: 7,
    flags: TCP.syn | TCP.ack,
    mss,
    data: Buffer.from(data),
  };
  const payload = encodeSegment(source, destination, segment);
  return encodeFrame({
    destination: macBytes(ROUTER_MAC),
    source: macBytes(CLIENT_MAC),
    etherType: 0x0800,
    payload: encodeIpv4({ source, destination, protocol: PROTOCOL.tcp, ttl: 64, payload }),
  });
}

function tunnelled(...inner: readonly builder.Layer[]): Buffer {
  const bytes = builder.packet(
    builder.ether({ dst: '52:54:00:00:03:33', src: '52:54:00:00:02:22' }),
    builder.ipv4({ src: '10.169.25.20', dst: '10.169.25.21' }),
    builder.udp({ sport: 50861, dport: 6635, checksum: 0 }),
    builder.mpls({ label: 16, ttl: 63 }),
    ...inner,
  );
  return Buffer.from(bytes);
}

const INNER = [
  builder.ipv4({ src: SOURCE, dst: DESTINATION, ttl: 63 }),
  builder.tcp({ sport: 32768, dport: 8888, flags: 'S', seq: 1, mss: 1428 }),
] as const;

describe('checksum', () => {
  it('is that of the example of RFC 1071', () => {
    expect(checksum(Buffer.from('0001f203f4f5f6f7', 'hex'))).toBe(0x220d);
  });

  it('pads an odd last byte, and agrees with the slow one on any piece', () => {
    for (let length = 0; length < 70; length += 1) {
      const bytes = Buffer.from(Array.from({ length }, (_, i) => (i * 151 + length) & 0xff));
      expect(checksum(bytes)).toBe(builder.checksum(bytes));
    }
  });
});

describe('encoding', () => {
  for (const [what, mss, data] of [
    ['a SYN with a segment size', 1460, ''],
    ['data of odd length', undefined, 'GET /'],
  ] as const) {
    it(`makes the bytes that the independent builder makes: ${what}`, () => {
      const expected = builder.packet(
        builder.ether({ dst: ROUTER_MAC, src: CLIENT_MAC }),
        builder.ipv4({ src: SOURCE, dst: DESTINATION, df: true, id: 0 }),
        builder.tcp({
          sport: 32768,
          dport: 8888,
          flags: 'SA',
          seq: 0xfffffff0,
          ack: 7,
          window: 0xffff,
          ...(mss === undefined ? {} : { mss }),
        }),
        builder.raw(data),
      );
      expect(synFrame(mss, data).toString('hex')).toBe(Buffer.from(expected).toString('hex'));
    });
  }

  it('reads back what it wrote', () => {
    const frame = decodeFrame(synFrame(1460, 'hello'));
    const packet = decodeIpv4(frame?.payload ?? Buffer.alloc(0));
    expect(packet).toMatchObject({ ttl: 64, protocol: 6 });
    expect(ipv4Text(packet?.destination ?? 0)).toBe(DESTINATION);
    expect(decodeSegment(packet!)).toMatchObject({
      sourcePort: 32768,
      sequence: 0xfffffff0,
      mss: 1460,
      data: Buffer.from('hello'),
    });
  });

  it('writes and reads ARP', () => {
    const message = {
      operation: 1,
      senderMac: macBytes(CLIENT_MAC),
      senderIp: ipv4Number(SOURCE),
      targetMac: Buffer.alloc(6),
      targetIp: ipv4Number('10.47.255.254'),
    } as const;
    expect(decodeArp(encodeArp(message))).toEqual(message);
    expect(decodeArp(encodeArp(message).subarray(0, 27))).toBeUndefined();
  });
});

describe('decoding', () => {
  it('refuses every single damaged byte of the IP and TCP headers and the data', () => {
    const good = synFrame(1460, 'data');
    const accepted = (bytes: Buffer) => {
      const packet = decodeIpv4(decodeFrame(bytes)?.payload ?? Buffer.alloc(0));
      return packet !== undefined && decodeSegment(packet) !== undefined;
    };
    expect(accepted(good)).toBe(true);
    for (let at = 14; at < good.length; at += 1) {
      const bad = Buffer.from(good);
      bad[at] = (bad[at] as number) ^ 0x10;
      expect(accepted(bad), `byte ${at}`).toBe(false);
    }
  });

  it('survives being cut anywhere', () => {
    const good = tunnelled(...INNER);
    for (let length = 0; length < good.length; length += 1) {
      expect(typeof decodeMplsOverUdp(good.subarray(0, length)), `${length} bytes`).toBe('string');
    }
  });

  it('takes MPLS over UDP apart', () => {
    const packet = decodeMplsOverUdp(tunnelled(...INNER));
    expect(packet).toMatchObject({ sourcePort: 50861, label: 16, ttl: 63 });
  });

  it('says what is wrong with what is not MPLS over UDP', () => {
    const [inner, tcp] = INNER;
    const ends = { src: '10.169.25.20', dst: '10.169.25.21' };
    const macs = builder.ether({ dst: '52:54:00:00:03:33', src: '52:54:00:00:02:22' });
    const cases: [string, Buffer][] = [
      [
        'UDP port 4789',
        Buffer.from(
          builder.packet(
            macs,
            builder.ipv4(ends),
            builder.udp({ sport: 50000, dport: 4789 }),
            inner,
            tcp,
          ),
        ),
      ],
      ['not UDP', Buffer.from(builder.packet(macs, builder.ipv4(ends), tcp))],
      ['inner length', tunnelled(inner, tcp, builder.filler(0))],
    ];
    // Three bytes that no inner packet counts.
    const last = cases[2] as [string, Buffer];
    const longer = Buffer.concat([last[1], Buffer.alloc(3)]);
    longer.writeUInt16BE(longer.readUInt16BE(16) + 3, 16);
    longer.writeUInt16BE(0, 24);
    longer.writeUInt16BE(checksum(longer.subarray(14, 34)), 24);
    longer.writeUInt16BE(longer.readUInt16BE(38) + 3, 38);
    last[1] = longer;
    for (const [fault, frame] of cases) expect(decodeMplsOverUdp(frame)).toBe(fault);
  });
});
