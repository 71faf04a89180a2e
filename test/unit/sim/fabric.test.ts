import { describe, expect, it } from 'vitest';
import { Fabric } from '../../../src/sim/fabric.ts';
import { FabricAudit } from '../../../src/sim/fabric-audit.ts';
import * as builder from '../../support/packet.ts';

const HERE = { mac: '52:54:00:00:02:22', ip: '10.169.25.20' };
const THERE = { mac: '52:54:00:00:03:33', ip: '10.169.25.21' };

function frame(options: { sport?: number; dport?: number } = {}): Buffer {
  const { sport = 50_000, dport = 6635 } = options;
  return Buffer.from(
    builder.packet(
      builder.ether({ dst: THERE.mac, src: HERE.mac }),
      builder.ipv4({ src: HERE.ip, dst: THERE.ip }),
      builder.udp({ sport, dport, checksum: 0 }),
      builder.mpls({ label: 16, ttl: 63 }),
      builder.ipv4({ src: '10.47.255.237', dst: '10.105.139.153' }),
      builder.tcp({ sport: 1, dport: 2, flags: 'A' }),
    ),
  );
}

describe('fabric', () => {
  it('brings a frame to the node with its MAC, once', () => {
    const fabric = new Fabric();
    fabric.attach('here', HERE.mac);
    fabric.attach('there', THERE.mac.toUpperCase());
    expect(fabric.send(frame())).toBe('there');
    expect(fabric.take('here')).toEqual([]);
    expect(fabric.take('there')).toHaveLength(1);
    expect(fabric.take('there')).toEqual([]);
  });

  it('counts what nobody has the MAC of', () => {
    const fabric = new Fabric();
    fabric.attach('here', HERE.mac);
    expect(fabric.send(frame())).toBeUndefined();
    expect(fabric.lost).toBe(1);
  });
});

describe('audit', () => {
  const see = (audit: FabricAudit, bytes: Buffer, to = 'there', wire = 'fabric') =>
    audit.see({ timeNs: 0n, wire, from: 'here', to, frame: bytes });

  it('counts sound frames with their ports and directions, and leaves other wires alone', () => {
    const audit = new FabricAudit();
    see(audit, frame());
    see(audit, frame({ sport: 60_000 }));
    see(audit, Buffer.alloc(3), 'client', 'client');
    expect(audit).toMatchObject({ frames: 2, malformed: 0, portsInRange: true });
    expect([...audit.sourcePorts]).toEqual([50_000, 60_000]);
    expect([...audit.directions]).toEqual([[`${HERE.ip} -> ${THERE.ip}`, 2]]);
    expect([...audit.labels]).toEqual([`${THERE.ip} label 16`]);
  });

  it('sees source ports out of range', () => {
    const audit = new FabricAudit();
    see(audit, frame({ sport: 49_151 }));
    expect(audit.portsInRange).toBe(false);
  });

  const broken: [string, (f: Buffer) => Buffer][] = [
    ['outer IPv4 header: length or checksum', (f) => flip(f, 15)],
    ['UDP port 4789', () => frame({ dport: 4789 })],
    ['UDP length', (f) => flip(f, 39)],
    ['more than one MPLS label', (f) => flip(f, 44)],
    ['inner IPv4 header: length or checksum', (f) => flip(f, 60)],
    ['inner TCP: length or checksum', (f) => flip(f, f.length - 1)],
  ];
  for (const [fault, breakIt] of broken) {
    it(`names it: ${fault}`, () => {
      const audit = new FabricAudit();
      see(audit, breakIt(frame()));
      expect(audit.malformed).toBe(1);
      expect([...audit.faults]).toEqual([fault]);
    });
  }

  it('names a frame to nobody', () => {
    const audit = new FabricAudit();
    see(audit, frame(), '');
    expect([...audit.faults]).toEqual(['destination MAC of nobody']);
  });
});

function flip(bytes: Buffer, at: number): Buffer {
  const changed = Buffer.from(bytes);
  changed[at] = (changed[at] as number) ^ 1;
  return changed;
}
