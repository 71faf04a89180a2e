/**
 * Every fault of native/port/faults.def through the real core: before, during and after it, connections of a
 * service (NAT) and into an MPLSoUDP tunnel. What stays true: every frame is accounted for, by the router and
 * by the port; no buffer is lost; when the fault is over, traffic of old and new connections passes again.
 */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import type { Dataplane, Op, PortSpec } from '../../src/dataplane/api.ts';
import { openDataplane } from '../../src/dataplane/dataplane.ts';
import { ether, filler, ipv4, mpls, packet, tcp, udp } from '../support/packet.ts';

const FAULTS = [
  ...readFileSync(
    fileURLToPath(new URL('../../native/port/faults.def', import.meta.url)),
    'utf8',
  ).matchAll(/^FAULT\(\w+, "(\w+)", (Rx|Tx),/gm),
].map((match) => ({ name: match[1] as string, direction: match[2] as 'Rx' | 'Tx' }));

const GATEWAY = '00:00:5e:00:01:00';
const CLIENT = { mac: '02:00:00:00:00:01', ip: '10.1.0.1', label: 16 };
const FABRIC = { mac: '02:00:00:00:00:f0', ip: '192.0.2.1' };
const FAR = { mac: '02:00:00:00:00:f1', ip: '192.0.2.2', tenant: '10.1.0.2', label: 77 };
const SERVICE = '10.96.0.9';
const MS = 1_000_000n;
const FROM = 100n * MS;
const UNTIL = 200n * MS;
const POLICY = 0x41;

/** A tenant with a service address, and one far tenant behind a tunnel. */
const TABLES: readonly Op[] = [
  { op: 'router_set', ipv4: FABRIC.ip, icmpErrorsPerSecond: 1000 },
  { op: 'vrf_set', vrf: 0, name: 'fabric' },
  { op: 'vrf_set', vrf: 1, name: 'red' },
  {
    op: 'vif_set',
    vif: 0,
    name: 'fabric',
    type: 2,
    port: 0,
    mac: FABRIC.mac,
    vrf: 0,
    flags: 0xc0,
    mtu: 1500,
    ipv4: FABRIC.ip,
  },
  { op: 'nh_receive_set', nextHop: 1, vrf: 0, vif: 0xffffffff },
  { op: 'route_set', vrf: 0, prefix: `${FABRIC.ip}/32`, nextHop: 1 },
  {
    op: 'vif_set',
    vif: 3,
    name: 'client',
    type: 3,
    port: 1,
    mac: GATEWAY,
    vrf: 1,
    flags: POLICY,
    mtu: 1500,
    nextHop: 10,
    ipv4: CLIENT.ip,
    gateway4: '10.1.0.254',
  },
  {
    op: 'nh_interface_set',
    nextHop: 10,
    vrf: 1,
    vif: 3,
    flags: 2,
    destinationMac: CLIENT.mac,
    sourceMac: GATEWAY,
  },
  { op: 'route_set', vrf: 1, prefix: `${CLIENT.ip}/32`, nextHop: 10 },
  { op: 'route_set', vrf: 1, prefix: `${SERVICE}/32`, nextHop: 10 },
  { op: 'label_set', label: CLIENT.label, nextHop: 10 },
  {
    op: 'nh_tunnel_set',
    nextHop: 20,
    vrf: 0,
    vif: 0,
    encap: 2,
    source: FABRIC.ip,
    destination: FAR.ip,
    destinationMac: FAR.mac,
    sourceMac: FABRIC.mac,
  },
  { op: 'route_set', vrf: 1, prefix: `${FAR.tenant}/32`, nextHop: 20, label: FAR.label },
  {
    op: 'floating_ip_set',
    floatingIp: 1,
    vif: 3,
    vrf: 1,
    address: SERVICE,
    fixed: CLIENT.ip,
    portMap: 1,
    ports: [{ protocol: 6, port: 8888, toPort: 80 }],
  },
];

class Lab {
  readonly dp: Dataplane;
  now = 0n;
  offered = 0;
  constructor(fault: string, perMillion: number, faulty: number) {
    const plans = [{ fault, perMillion, fromNs: FROM, untilNs: UNTIL }];
    const port = (id: number): PortSpec =>
      id === faulty
        ? { kind: 'faulty', port: { kind: 'memory' }, faults: plans, seed: 7n }
        : { kind: 'memory' };
    this.dp = openDataplane({ flowEntries: 4096, buffers: 512 });
    this.dp.addPort(port(0));
    this.dp.addPort(port(1));
    this.dp.commit(TABLES);
  }
  /** What a client at the far end asks of the service, in its tunnel. */
  request(sport: number, flags: 'S' | 'A'): Uint8Array {
    return packet(
      ether({ dst: FABRIC.mac, src: FAR.mac }),
      ipv4({ src: FAR.ip, dst: FABRIC.ip }),
      udp({ sport: 50_000, dport: 6635, checksum: 0 }),
      mpls({ label: CLIENT.label, ttl: 63 }),
      ipv4({ src: FAR.tenant, dst: SERVICE }),
      tcp({ sport, dport: 8888, flags, seq: 100, ack: flags === 'A' ? 1 : 0 }),
      filler(64),
    );
  }
  answer(dport: number): Uint8Array {
    return packet(
      ether({ dst: GATEWAY, src: CLIENT.mac }),
      ipv4({ src: CLIENT.ip, dst: FAR.tenant }),
      tcp({ sport: 80, dport, flags: 'A', seq: 1, ack: 101 }),
      filler(64),
    );
  }
  step(): void {
    this.now += MS;
    this.dp.step(this.now);
  }
  /** One request and, whatever became of it, one answer for each port. Returns what came out, per side. */
  exchange(ports: readonly number[], flags: 'S' | 'A'): { fabric: number; client: number } {
    const out = { fabric: 0, client: 0 };
    for (const sport of ports) {
      this.offered += this.dp.inject(0, [this.request(sport, flags)]);
      this.step();
      this.offered += this.dp.inject(1, [this.answer(sport)]);
      this.step();
      out.fabric += this.dp.collect(0).length;
      out.client += this.dp.collect(1).length;
    }
    return out;
  }
}

const ports = (from: number, count: number) => Array.from({ length: count }, (_, i) => from + i);
const old = ports(1000, 20);

describe('faults', () => {
  it('are at least 24', () => {
    expect(FAULTS.length).toBeGreaterThanOrEqual(24);
  });

  for (const { name } of FAULTS) {
    for (const [side, where] of [
      ['fabric', 0],
      ['tenant', 1],
    ] as const) {
      for (const perMillion of [1_000_000, 300_000]) {
        it(`${name} at the ${side}'s port, ${perMillion / 10_000} %: accounted for, and over when it is over`, () => {
          const lab = new Lab(name, perMillion, where);
          expect(lab.exchange(old, 'S')).toEqual({ fabric: 20, client: 20 });
          lab.now = FROM;
          lab.exchange([...old, ...ports(2000, 25)], 'A');
          expect(lab.now).toBeLessThan(UNTIL);
          const during = lab.dp.portInfo(where).faults!;
          expect(during.injected[name], 'the fault was done').toBeGreaterThan(0n);
          // Over: what was held back comes out by itself, then everything passes.
          lab.now = UNTIL;
          for (let i = 0; i < 10; i++) lab.step();
          lab.dp.collect(0);
          lab.dp.collect(1);
          expect(lab.exchange(old, 'A'), 'old connections').toEqual({ fabric: 20, client: 20 });
          expect(lab.exchange(ports(3000, 20), 'S'), 'new ones').toEqual({
            fabric: 20,
            client: 20,
          });

          const { totals } = lab.dp.readCounters();
          const { forwarded, replied, punted, dropped, consumed, held, received } = totals;
          expect(forwarded + replied + punted + dropped + consumed + held).toBe(received);
          const faults = lab.dp.portInfo(where).faults!;
          expect(faults.rxWaiting + faults.txWaiting).toBe(0n);
          const offered = BigInt(lab.offered);
          expect(received).toBe(offered - faults.rxLost + faults.rxDuplicated + faults.rxMade);
          const info = lab.dp.info();
          expect(BigInt(info.buffers - info.buffersFree)).toBe(held);
          lab.dp.close();
        });
      }
    }
  }
});
