import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { VRouterError } from '../../../src/errors.ts';
import { COMMAND, decodeAgentFrame, encodeAgentFrame } from '../../../src/services/agent-header.ts';
import { buildDatagram, parseDatagram, parseFrame } from '../../../src/services/frame.ts';
import { hostnameOf } from '../../../src/services/service.ts';
import { ether, ipv4, ipv6, packet, raw, udp } from '../../support/packet.ts';

const MACS = { dst: '00:00:5e:00:01:00', src: '02:00:00:00:00:01' };
const addresses = {
  sourceMac: MACS.src,
  destinationMac: MACS.dst,
  source: '10.1.0.1',
  destination: '10.1.0.254',
  sourcePort: 68,
  destinationPort: 67,
};
const data = new TextEncoder().encode('hello');

function refusal(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    if (error instanceof VRouterError && error.code === 'BAD_PACKET') return error.message;
    throw error;
  }
  return 'taken';
}

describe('frames', () => {
  it.each([
    ['IPv4', addresses, ipv4({ src: '10.1.0.1', dst: '10.1.0.254', id: 0 })],
    [
      'IPv6',
      { ...addresses, source: 'fd00::1', destination: 'fd00::254' },
      ipv6({ src: 'fd00::1', dst: 'fd00::254' }),
    ],
  ])('are read as another encoder writes them, and written the same: %s', (_, own, ip) => {
    const theirs = packet(ether(MACS), ip, udp({ sport: 68, dport: 67 }), raw('hello'));
    const read = parseDatagram(parseFrame(theirs));
    expect(read).toMatchObject({ ...own, protocol: 17, hopLimit: 64 });
    expect(read.data).toEqual(data);
    expect(Buffer.from(buildDatagram(own, data))).toEqual(Buffer.from(theirs));
  });

  it('do not see what is behind the packet', () => {
    const padded = Buffer.concat([buildDatagram(addresses, data), Buffer.alloc(20, 0xff)]);
    expect(Uint8Array.from(parseDatagram(parseFrame(padded)).data)).toEqual(data);
  });

  it('are refused for every byte that is not as it should be', () => {
    const whole = buildDatagram(addresses, data);
    const checked = (at: number) => at >= 14 && at !== 14 + 20 + 6 && at !== 14 + 20 + 7;
    for (let at = 0; at < whole.length; at++) {
      if (!checked(at)) continue;
      const broken = whole.slice();
      broken[at]! ^= 0x5a;
      expect(
        refusal(() => parseDatagram(parseFrame(broken))),
        `byte ${at}`,
      ).not.toBe('taken');
    }
  });

  it('are refused wherever they are cut', () => {
    for (const v6 of [false, true]) {
      const own = v6 ? { ...addresses, source: 'fd00::1', destination: 'fd00::2' } : addresses;
      const whole = buildDatagram(own, data);
      for (let length = 0; length < whole.length; length++) {
        const cut = whole.subarray(0, length);
        expect(
          refusal(() => parseDatagram(parseFrame(cut))),
          `${length}`,
        ).not.toBe('taken');
      }
    }
  });

  it('a UDP checksum of 0 is none over IPv4, and wrong over IPv6', () => {
    const zero = (frame: Uint8Array, header: number) => {
      frame.fill(0, 14 + header + 6, 14 + header + 8);
      return frame;
    };
    expect(refusal(() => parseFrame(zero(buildDatagram(addresses, data), 20)))).toBe('taken');
    const v6 = { ...addresses, source: 'fd00::1', destination: 'fd00::2' };
    expect(refusal(() => parseFrame(zero(buildDatagram(v6, data), 40)))).not.toBe('taken');
  });

  it('of any bytes are read or refused, nothing else', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 120 }),
        fc.constantFrom(0x0800, 0x86dd),
        (bytes, t) => {
          if (bytes.length >= 14) new DataView(bytes.buffer).setUint16(12, t);
          refusal(() => parseDatagram(parseFrame(bytes)));
        },
      ),
      { numRuns: 2000 },
    );
  });
});

describe('the agent header', () => {
  it('comes back, and its bytes are where the core has them', () => {
    const frame = buildDatagram(addresses, data);
    const bytes = encodeAgentFrame({ vif: 0x1234, vrf: 5, command: COMMAND.route, frame });
    expect(bytes.length).toBe(44 + frame.length);
    expect([...bytes.subarray(14, 20)]).toEqual([0x12, 0x34, 0, 5, 0, 1]);
    expect(decodeAgentFrame(bytes)).toEqual({ vif: 0x1234, vrf: 5, command: 1, frame });
    expect(refusal(() => decodeAgentFrame(bytes.subarray(0, 43)))).toContain('43 bytes');
  });
});

describe('a host name', () => {
  it.each([
    ['web-1', 'web-1'],
    ['default:Web.1@x', 'default-web-1-x'],
    ['_a_', 'a'],
    ['a'.repeat(80), 'a'.repeat(63)],
    ['___', undefined],
  ])('of the vif %s is %s', (name, host) => expect(hostnameOf(name)).toBe(host));
});
