/** headersOf and innermostHeaders: what they say of frames that are right, and that no bytes make them throw. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { buildFrame } from '../../../src/cli/frame.ts';
import { headersOf, innermostHeaders } from '../../../src/cli/frame-headers.ts';

const FIELDS = {
  sourceMac: '02:00:00:00:00:01',
  destinationMac: '02:00:00:00:00:02',
  sourcePort: 49_152,
  destinationPort: 80,
  flags: 'S',
  ttl: 64,
  payload: new Uint8Array(0),
};
const four = { ...FIELDS, source: '10.0.0.1', destination: '10.0.0.2' };
const six = { ...FIELDS, source: 'fd00::1', destination: 'fd00::2' };
const inner = (payload: Uint8Array) => payload.subarray(14);
const bytes = (...parts: readonly (readonly number[] | Uint8Array)[]) =>
  Uint8Array.from(parts.flatMap((part) => [...part]));

describe('headers of a frame', () => {
  it.each([
    ['tcp', four],
    ['udp', six],
    ['sctp', four],
  ])('are those it was built of: %s', (protocol, fields) => {
    expect(headersOf(buildFrame({ ...fields, protocol }))).toMatchObject({
      source: fields.source,
      destination: fields.destination,
      sourcePort: 49_152,
      destinationPort: 80,
      icmp: 0,
    });
  });

  it('of an echo reply: its type, identifier and sequence', () => {
    const frame = buildFrame({ ...four, protocol: 'icmp', reply: true });
    expect(headersOf(frame)).toMatchObject({ protocol: 1, icmp: 0x0000, sourcePort: 49_152 });
    const question = buildFrame({ ...six, protocol: 'icmp6' });
    expect(headersOf(question)).toMatchObject({ protocol: 58, icmp: 0x8000 });
  });

  it.each([
    ['MPLSoUDP', { protocol: 'udp', destinationPort: 6635 }, [0, 1, 1, 64], six],
    ['two labels', { protocol: 'udp', destinationPort: 6635 }, [0, 1, 0, 64, 0, 2, 1, 64], four],
  ])('inside %s', (_, outer, label, fields) => {
    const packet = inner(buildFrame({ ...fields, protocol: 'tcp' }));
    const frame = buildFrame({
      ...four,
      source: '192.0.2.1',
      ...outer,
      payload: bytes(label, packet),
    });
    expect(innermostHeaders(frame)).toMatchObject({ source: fields.source, protocol: 6 });
    expect(headersOf(frame)).toMatchObject({ source: '192.0.2.1' });
  });

  it('inside VXLAN', () => {
    const payload = bytes([8, 0, 0, 0, 0, 0, 42, 0], buildFrame({ ...six, protocol: 'tcp' }));
    const frame = buildFrame({ ...four, protocol: 'udp', destinationPort: 4789, payload });
    expect(innermostHeaders(frame)).toMatchObject({ source: 'fd00::1', protocol: 6 });
  });

  it('are none, and nothing is thrown, whatever the bytes', () => {
    const tunnel = buildFrame({
      ...four,
      protocol: 'udp',
      destinationPort: 6635,
      payload: bytes([0, 1, 1, 64], inner(buildFrame({ ...six, protocol: 'tcp' }))),
    });
    fc.assert(
      fc.property(
        fc.oneof(
          fc.uint8Array({ maxLength: 200 }),
          fc
            .tuple(fc.nat(tunnel.length), fc.nat(tunnel.length - 1), fc.nat(255))
            .map(([length, at, value]) => {
              const changed = tunnel.slice(0, length);
              if (at < length) changed[at] = value;
              return changed;
            }),
        ),
        (frame) => {
          const found = innermostHeaders(frame);
          expect(found === undefined || found.transportAt <= frame.length).toBe(true);
        },
      ),
      { numRuns: 2000 },
    );
  });
});
