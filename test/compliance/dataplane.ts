/**
 * What every Dataplane must do, whichever way it reaches the core: run by the addon's test, and by that of
 * each implementation to come. `open` gives a fresh, empty data plane.
 */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Dataplane, DataplaneOptions, Op } from '../../src/dataplane/api.ts';
import { framePair, openDescriptor, socketPair } from '../../src/dataplane/descriptor.ts';
import { layout } from '../../src/dataplane/layout.ts';
import { decodeProgram, encodeProgram } from '../../src/dataplane/program.ts';
import { VRouterError } from '../../src/errors.ts';
import { arp, ether, filler, ipv4, packet, udp } from '../support/packet.ts';

const MAC = '00:00:5e:00:01:00';
const TENANTS = ['02:00:00:00:00:01', '02:00:00:00:00:02'] as const;
const ADDRESSES = ['10.1.0.1', '10.1.0.2'] as const;

function errorOf(run: () => unknown): VRouterError {
  try {
    run();
  } catch (error) {
    if (error instanceof VRouterError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}

/** One VRF with two tenants on memory ports. */
function twoTenants(ports: readonly number[]): Op[] {
  return [
    { op: 'vrf_set', vrf: 1, name: 'red' },
    ...[0, 1].flatMap((i): Op[] => [
      {
        op: 'vif_set',
        vif: i + 1,
        name: `tap${i}`,
        type: 3,
        port: ports[i]!,
        mac: MAC,
        vrf: 1,
        flags: 0x41,
        nextHop: 10 + i,
        ipv4: ADDRESSES[i]!,
        gateway4: '10.1.0.254',
      },
      {
        op: 'nh_interface_set',
        nextHop: 10 + i,
        vrf: 1,
        vif: i + 1,
        flags: 2,
        destinationMac: TENANTS[i]!,
        sourceMac: MAC,
      },
      { op: 'route_set', vrf: 1, prefix: `${ADDRESSES[i]}/32`, nextHop: 10 + i },
    ]),
  ];
}

function frame(sport = 1000): Uint8Array {
  return packet(
    ether({ dst: MAC, src: TENANTS[0] }),
    ipv4({ src: ADDRESSES[0], dst: ADDRESSES[1] }),
    udp({ sport, dport: 53 }),
    filler(20),
  );
}

/** What the second tenant says to frame(7001). */
function answer(): Uint8Array {
  return packet(
    ether({ dst: MAC, src: TENANTS[1] }),
    ipv4({ src: ADDRESSES[1], dst: ADDRESSES[0] }),
    udp({ sport: 53, dport: 7001 }),
    filler(20),
  );
}

export function dataplaneCompliance(
  name: string,
  open: (options?: DataplaneOptions) => Dataplane,
): void {
  describe(`${name} as a Dataplane`, () => {
    let dp: Dataplane;
    let ports: number[];

    beforeEach(() => {
      dp = open({ flowEntries: 1024, buffers: 512 });
      ports = [dp.addPort({ kind: 'memory' }), dp.addPort({ kind: 'memory', mtu: 9000 })];
    });
    afterEach(() => dp.close());

    describe('commit', () => {
      it('applies a Program, whatever the order of its ops, and counts generations', () => {
        const first = dp.commit(twoTenants(ports));
        const second = dp.commit([]);
        const third = dp.commit([{ op: 'label_set', label: 16, nextHop: 10 }]);
        expect(second).toBeGreaterThanOrEqual(first);
        expect(third).toBeGreaterThan(first);
        expect(dp.info().generation).toBe(third);

        const other = open({ flowEntries: 1024, buffers: 512 });
        try {
          const mirrored = [other.addPort({ kind: 'memory' }), other.addPort({ kind: 'memory' })];
          other.commit(
            [...twoTenants(mirrored), { op: 'label_set', label: 16, nextHop: 10 } as Op].reverse(),
          );
          expect(Buffer.from(other.snapshot())).toEqual(Buffer.from(dp.snapshot()));
        } finally {
          other.close();
        }
      });

      it('gives back what was put in, every field', () => {
        dp.commit(twoTenants(ports));
        expect(dp.dump('vifs')).toMatchObject([
          { op: 'vif_set', vif: 1, name: 'tap0', port: ports[0], mac: MAC, nextHop: 10, mtu: 1500 },
          { op: 'vif_set', vif: 2, name: 'tap1', port: ports[1], ipv4: '10.1.0.2', ipv6: '' },
        ]);
        expect(dp.dump('routes', 1)).toMatchObject([
          { op: 'route_set', vrf: 1, prefix: '10.1.0.1/32', nextHop: 10, label: 0xfffff },
          { op: 'route_set', vrf: 1, prefix: '10.1.0.2/32', nextHop: 11 },
        ]);
        expect(dp.dump('routes', 0)).toEqual([]);
        expect(dp.info().nextHopReferences.get(10)).toBeGreaterThanOrEqual(2);
      });

      it('rebuilds equal tables from its own snapshot', () => {
        dp.commit(twoTenants(ports));
        dp.commit([
          {
            op: 'policy_set',
            policy: 3,
            name: 'web',
            rules: [{ action: 1, protocol: 6, destinationPortLow: 80, destinationPortHigh: 80 }],
          },
          {
            op: 'nh_ecmp_set',
            nextHop: 30,
            vrf: 1,
            members: [
              { member: 5, nextHop: 10 },
              { member: 6, nextHop: 11 },
            ],
          },
          {
            op: 'floating_ip_set',
            floatingIp: 1,
            vif: 2,
            vrf: 1,
            address: '10.9.9.9',
            fixed: '10.1.0.2',
            portMap: 1,
            ports: [{ protocol: 6, port: 80, toPort: 8080 }],
          },
        ]);
        const snapshot = dp.snapshot();
        const other = open({ flowEntries: 1024, buffers: 512 });
        try {
          for (let i = 0; i < 2; i++) other.addPort({ kind: 'memory' });
          other.commitBytes(snapshot);
          expect(Buffer.from(other.snapshot())).toEqual(Buffer.from(snapshot));
          expect(decodeProgram(snapshot).length).toBeGreaterThan(10);
        } finally {
          other.close();
        }
      });

      const refusals: [string, () => Op[], string, number, string?][] = [
        [
          'a route to a next hop there is not',
          () => [{ op: 'route_set', vrf: 1, prefix: '10.2.0.0/16', nextHop: 777 }],
          'DANGLING_NEXT_HOP',
          1,
          'next_hop',
        ],
        [
          'a route in a VRF there is not',
          () => [{ op: 'route_set', vrf: 9, prefix: '10.2.0.0/16', nextHop: 10 }],
          'DANGLING_VRF',
          1,
          'vrf',
        ],
        [
          'a next hop over a vif there is not',
          () => [
            {
              op: 'nh_interface_set',
              nextHop: 20,
              vrf: 1,
              vif: 99,
              destinationMac: MAC,
              sourceMac: MAC,
            },
          ],
          'DANGLING_VIF',
          1,
          'vif',
        ],
        [
          'a vif on a port there is not',
          () => [{ op: 'vif_set', vif: 3, type: 3, port: 77, mac: MAC, vrf: 1 }],
          'DANGLING_PORT',
          1,
          'port',
        ],
        [
          'a vif under a policy there is not',
          () => [
            { op: 'vif_set', vif: 3, type: 3, mac: MAC, vrf: 1, networkPolicies: [{ policy: 5 }] },
          ],
          'DANGLING_POLICY',
          1,
        ],
        [
          'a label beyond 20 bits',
          () => [{ op: 'label_set', label: 1 << 20, nextHop: 10 }],
          'OUT_OF_RANGE',
          1,
          'label',
        ],
        [
          'a vif type that does not exist',
          () => [{ op: 'vif_set', vif: 3, type: 77, mac: MAC, vrf: 1 }],
          'BAD_VALUE',
          1,
          'type',
        ],
        [
          'the end of a next hop that is referred to',
          () => [{ op: 'nh_delete', nextHop: 10 }],
          'IN_USE',
          1,
        ],
        [
          'the end of a route there is not',
          () => [{ op: 'route_delete', vrf: 1, prefix: '99.0.0.0/8' }],
          'NOT_FOUND',
          1,
        ],
        [
          'a composite in itself',
          () => [{ op: 'nh_ecmp_set', nextHop: 40, vrf: 1, members: [{ member: 1, nextHop: 40 }] }],
          'LOOPING_NEXT_HOP',
          1,
        ],
      ];
      it.each(refusals)('refuses %s whole', (_, bad, code, opIndex, field) => {
        dp.commit(twoTenants(ports));
        const before = Buffer.from(dp.snapshot());
        const { generation } = dp.info();
        const good: Op = { op: 'vrf_set', vrf: 2, name: 'blue' };
        const after: Op = { op: 'route_delete', vrf: 1, prefix: '10.1.0.1/32' };
        const error = errorOf(() => dp.commit([good, ...bad(), after]));
        expect(error).toMatchObject({ code, opIndex });
        expect(error.message).toContain(`op ${opIndex} (${bad()[0]!.op})`);
        if (field !== undefined) expect(error.field).toBe(field);
        expect(Buffer.from(dp.snapshot()).equals(before)).toBe(true);
        expect(dp.info().generation).toBe(generation);
      });

      it('refuses bytes that are no Program, by code and op index, and changes nothing', () => {
        dp.commit(twoTenants(ports));
        const before = Buffer.from(dp.snapshot());
        const good = encodeProgram([
          { op: 'vrf_set', vrf: 2, name: 'blue' },
          { op: 'label_set', label: 17, nextHop: 10 },
        ]).slice();
        const changed = (at: number, value: number) => {
          const bytes = good.slice();
          bytes[at] = value;
          return bytes;
        };
        const second = good.length - 16;
        const bad: [string, Uint8Array, string, number | undefined][] = [
          ['magic', changed(0, 0), 'BAD_MAGIC', undefined],
          ['op code', changed(second, 0xfe), 'UNKNOWN_OP', 1],
          ['length', changed(second + 4, 7), 'BAD_LENGTH', 1],
          ['truncated', good.slice(0, -1), 'TRUNCATED', 1],
          ['trailing', Uint8Array.from([...good, 0]), 'BAD_LENGTH', undefined],
          ['empty', new Uint8Array(0), 'BAD_MAGIC', undefined],
        ];
        for (const [what, bytes, code, opIndex] of bad) {
          const error = errorOf(() => dp.commitBytes(bytes));
          // Short bytes may be called truncated wherever they end.
          expect([code, 'TRUNCATED'], what).toContain(error.code);
          if (opIndex !== undefined) expect(error.opIndex, what).toBe(opIndex);
          expect(Buffer.from(dp.snapshot()).equals(before), what).toBe(true);
        }
        expect(() => dp.commitBytes(good)).not.toThrow();
      });

      it('refuses a Program with more ops than a commit may hold', () => {
        const ops: Op[] = Array.from({ length: layout.limits.maxProgramOps + 1 }, () => ({
          op: 'flow_flush',
          vrf: 0xffffffff,
        }));
        expect(errorOf(() => dp.commit(ops)).code).toBe('TOO_MANY_OPS');
      });
    });

    describe('frames', () => {
      it('go in by inject, through step, out by collect, each counted', () => {
        dp.commit(twoTenants(ports));
        expect(dp.inject(ports[0]!, [frame(1), frame(2)])).toBe(2);
        expect(dp.step(1_000_000n)).toBe(2);
        const out = dp.collect(ports[1]!);
        expect(out).toHaveLength(2);
        expect(out[0]).toHaveLength(frame().length);
        expect(dp.collect(ports[1]!)).toEqual([]);
        const counters = dp.readCounters();
        expect(counters.totals).toMatchObject({ received: 2n, forwarded: 2n, dropped: 0n });
        expect(counters.vifs.get(1)).toMatchObject({ rxPackets: 2n, txPackets: 0n });
        expect(counters.vifs.get(2)).toMatchObject({ rxPackets: 0n, txPackets: 2n });
        expect([...counters.drops.keys()]).toEqual(layout.dropReasons.map((r) => r.printed));
        expect([...counters.vrfs.get(1)!.keys()]).toEqual([...layout.vrfCounters]);
        expect(counters.vrfs.get(1)!.get('encaps')).toBe(2n);
      });

      it('are counted by name when they are dropped, and counters can be cleared', () => {
        dp.commit(twoTenants(ports));
        dp.inject(ports[0]!, [Uint8Array.of(1, 2, 3)]);
        dp.step(1n);
        const { totals, drops } = dp.readCounters();
        expect(totals).toMatchObject({ received: 1n, dropped: 1n });
        expect([...drops.values()].reduce((a, b) => a + b, 0n)).toBe(1n);
        dp.clearCounters();
        const cleared = dp.readCounters();
        expect(cleared.totals.received).toBe(0n);
        expect([...cleared.drops.values()].every((n) => n === 0n)).toBe(true);
      });

      it('are refused by number when the port takes no more, and are never half taken', () => {
        const big = new Uint8Array(60_000);
        const fitted = dp.inject(ports[0]!, new Array<Uint8Array>(100).fill(big));
        expect(fitted).toBeGreaterThan(0);
        expect(fitted).toBeLessThan(100);
      });
    });

    describe('flows', () => {
      it('come in pairs that name each other, with letters, events and an end', () => {
        dp.commit(twoTenants(ports));
        dp.inject(ports[0]!, [frame(), frame()]);
        dp.step(5_000_000n);
        const flows = dp.flows();
        expect(flows).toHaveLength(2);
        const forward = flows.find((flow) => flow.initiator)!;
        const reverse = flows.find((flow) => !flow.initiator)!;
        expect(forward).toMatchObject({
          reverse: reverse.index,
          source: '10.1.0.1',
          destination: '10.1.0.2',
          sourcePort: 1000,
          destinationPort: 53,
          protocol: 17,
          action: 'F',
          drop: '',
          nat: '',
          tcp: '',
          packets: 2n,
          bytes: BigInt(2 * (frame().length - 14)),
          vrf: 1,
          keyNextHop: 10,
          nextHop: 11,
          vif: 1,
          member: -1,
          sourceInfo: '0.0.0.0',
          natSource: '',
        });
        expect(reverse).toMatchObject({ reverse: forward.index, source: '10.1.0.2', packets: 0n });
        const { events, lost } = dp.drainEvents();
        expect(lost).toBe(0n);
        expect(events).toMatchObject([
          {
            kind: 'created',
            flow: forward.index,
            reverse: reverse.index,
            source: '10.1.0.1',
            action: 'F',
            vif: 1,
            timeNs: 5_000_000n,
          },
        ]);
        expect(dp.drainEvents().events).toEqual([]);
        expect(dp.deleteFlow(reverse.index)).toBe(true);
        expect(dp.flows()).toEqual([]);
        expect(dp.deleteFlow(reverse.index)).toBe(false);
        expect(dp.drainEvents().events).toMatchObject([
          { kind: 'deleted', flow: forward.index, packets: 2n },
        ]);
        expect(dp.info()).toMatchObject({ flowsUsed: 0, flowsCreated: 2n, flowsDeleted: 2n });
      });

      it('end when a flush says so', () => {
        dp.commit(twoTenants(ports));
        dp.inject(ports[0]!, [frame()]);
        dp.step(1n);
        dp.commit([{ op: 'flow_flush', vrf: 7 }]);
        expect(dp.flows()).toHaveLength(2);
        dp.commit([{ op: 'flow_flush', vrf: 1 }]);
        expect(dp.flows()).toEqual([]);
      });

      it('are listed whole when there are many', () => {
        dp.commit(twoTenants(ports));
        for (let i = 0; i < 300; i++) {
          dp.inject(ports[0]!, [frame(i + 1)]);
          dp.step(1n);
        }
        const seen = new Set(dp.flows().map((flow) => flow.index));
        expect(seen.size).toBe(dp.info().flowsUsed);
        expect(seen.size).toBe(600);
      });
    });

    it('explains a frame room by room and changes nothing by it', () => {
      dp.commit(twoTenants(ports));
      const before = dp.readCounters();
      const { lines, ends } = dp.explain(frame(), 1);
      expect(lines.length).toBeGreaterThan(2);
      expect(lines.every((line) => line.room !== '' && line.text !== '')).toBe(true);
      expect(ends).toMatchObject([{ verdict: 'transmit', vif: 2, generated: false }]);
      expect(dp.readCounters()).toEqual(before);
      expect(dp.flows()).toEqual([]);
      expect(dp.collect(ports[1]!)).toEqual([]);
      expect(dp.drainEvents().events).toEqual([]);
      expect(errorOf(() => dp.explain(frame(), 99)).code).toBe('DANGLING_VIF');
    });

    it('explains a reply as if what it answers had come before, and makes no flow', () => {
      dp.commit(twoTenants(ports));
      const there = frame();
      const [left] = dp.explain(there, 1).ends;
      const seen = packet(
        ether({ dst: MAC, src: TENANTS[1] }),
        ipv4({ src: ADDRESSES[1], dst: ADDRESSES[0] }),
        udp({ sport: 53, dport: 1000 }),
      );
      const before = [{ frame: there, vif: 1 }];
      const told = (more?: typeof before) =>
        dp
          .explain(seen, 2, more)
          .lines.filter(({ room }) => room === 'flows' || room === 'open_flow');
      expect(left?.vif).toBe(2);
      expect(told()[0]?.text).toMatch(/^no flow/);
      expect(told(before).map(({ text }) => text)).toEqual([
        'found, as the packet before it would have made it',
        expect.stringMatching(/^reverse half, forward/),
      ]);
      expect(dp.flows()).toEqual([]);
      const any = dp as unknown as { explain(...args: unknown[]): unknown };
      for (const bad of [7, [7], [{ frame: there }], Array(17).fill(before[0])])
        expect(errorOf(() => any.explain(there, 1, bad)).code).toBe('BAD_ARGUMENT');
      expect(errorOf(() => any.explain(there, 1, [{ frame: there, vif: 99 }])).code).toBe(
        'DANGLING_VIF',
      );
    });

    it('explains what is told to the sender of a packet that does not fit', () => {
      dp.commit([{ op: 'router_set', icmpErrorsPerSecond: 1 }, ...twoTenants(ports)]);
      const dead = frame();
      dead[22] = 1; // TTL
      dead[24] = dead[25] = 0;
      let sum = 0;
      for (let at = 14; at < 34; at += 2) sum += (dead[at]! << 8) | dead[at + 1]!;
      sum = ~((sum & 0xffff) + (sum >> 16)) & 0xffff;
      dead[24] = sum >> 8;
      dead[25] = sum & 0xff;
      const { ends } = dp.explain(dead, 1);
      expect(ends).toMatchObject([
        { verdict: 'transmit', vif: 1, generated: true },
        { verdict: 'drop', drop: 'TTL Exceeded', room: 'check_fit', vif: -1, generated: false },
      ]);
    });

    it('hands over what a capture caught, as it came and as it left', () => {
      dp.commit(twoTenants(ports));
      expect(dp.startCapture(5, {})).toBeTypeOf('bigint');
      expect(errorOf(() => dp.startCapture(5, {})).code).toBe('IN_USE');
      expect(errorOf(() => dp.startCapture(6, { vif: 99 })).code).toBe('DANGLING_VIF');
      dp.inject(ports[0]!, [frame()]);
      dp.step(77n);
      const { packets, matched, lost, ended } = dp.readCapture(5, 1 << 20);
      expect({ matched, lost, ended }).toEqual({ matched: 2n, lost: 0n, ended: false });
      expect(packets.map(({ number, way, vif, timeNs }) => [number, way, vif, timeNs])).toEqual([
        [1, 'in', 1, 77n],
        [2, 'out', 2, 77n],
      ]);
      expect(Buffer.from(packets[0]!.frame)).toEqual(Buffer.from(frame()));
      expect(Buffer.from(packets[1]!.frame)).toEqual(Buffer.from(dp.collect(ports[1]!)[0]!));
      expect(dp.readCapture(5, 1 << 20).packets).toEqual([]);
      expect(dp.stopCapture(5)).toBe(true);
      expect(dp.stopCapture(5)).toBe(false);
      expect(errorOf(() => dp.readCapture(5, 1)).code).toBe('NOT_FOUND');
    });

    it('traces what comes in, by the ends of its flow', () => {
      dp.commit(twoTenants(ports));
      const ends = [{ address: ADDRESSES[0], port: 7 }, { address: ADDRESSES[1] }];
      dp.startCapture(1, { trace: true, out: false, ends, protocol: 17 });
      dp.inject(ports[0]!, [frame(7), frame(8)]);
      dp.step(1n);
      const { packets } = dp.readCapture(1, 1 << 20);
      expect(packets.map(({ frame: bytes }) => Buffer.from(bytes))).toEqual([
        Buffer.from(frame(7)),
      ]);
      const rooms = packets[0]!.lines.map(({ room }) => room);
      expect(rooms.slice(0, 2)).toEqual(['parse', 'admit']);
      expect(rooms).toContain('finish');
      expect(dp.readCounters().totals.forwarded).toBe(2n);
    });

    describe('step and start', () => {
      it('exclude each other', () => {
        dp.start();
        expect(errorOf(() => dp.step(1n)).code).toBe('BUSY');
        expect(errorOf(() => dp.start()).code).toBe('BUSY');
        dp.stop();
        dp.stop();
        expect(dp.step(1n)).toBe(0);
      });

      it('forward alike: a running worker takes what is injected', async () => {
        dp.commit(twoTenants(ports));
        dp.start();
        dp.inject(ports[0]!, [frame()]);
        const out: Uint8Array[] = [];
        for (let tries = 0; tries < 200 && out.length === 0; tries++) {
          await new Promise((resolve) => setTimeout(resolve, 5));
          out.push(...dp.collect(ports[1]!));
        }
        expect(out).toHaveLength(1);
        // Tables change under a running worker, and stay readable.
        dp.commit([{ op: 'vrf_set', vrf: 2, name: 'blue' }]);
        expect(dp.readCounters().totals.forwarded).toBe(1n);
        expect(dp.flows()).toHaveLength(2);
        dp.stop();
      });
    });

    describe('ports', () => {
      it('describe themselves and go when nothing is bound to them', () => {
        expect(dp.portInfo(ports[1]!)).toMatchObject({ kind: 'memory', mtu: 9000, rxErrors: 0n });
        dp.commit(twoTenants(ports));
        expect(errorOf(() => dp.removePort(ports[0]!)).code).toBe('IN_USE');
        const spare = dp.addPort({ kind: 'memory' });
        dp.removePort(spare);
        expect(errorOf(() => dp.portInfo(spare)).code).toBe('NOT_FOUND');
        expect(errorOf(() => dp.inject(spare, [])).code).toBe('NOT_FOUND');
      });

      it.each([
        [{ kind: 'wormhole' }, 'kind'],
        [{ kind: 'memory', mtu: 10 }, 'mtu'],
        [{ kind: 'memory', mtu: '1500' }, 'mtu'],
        [{ kind: 'tap' }, 'name'],
        [{ kind: 'tap', name: 'a'.repeat(16) }, 'name'],
        [{ kind: 'tap', name: 'a\0b' }, 'name'],
        [{ kind: 'af_packet' }, 'interface'],
        [{ kind: 'pcap' }, 'port'],
        [{}, 'kind'],
        [undefined, 'port'],
      ])('are refused by field: %j', (spec, field) => {
        expect(errorOf(() => dp.addPort(spec as never))).toMatchObject({
          code: 'BAD_ARGUMENT',
          field,
        });
      });

      it('of kind socket give and take frames at the end that was kept', async () => {
        const [kept, given] = framePair();
        const far = openDescriptor(kept);
        try {
          const port = dp.addPort({ kind: 'socket' }, given);
          expect(dp.portInfo(port)).toMatchObject({ kind: 'socket', mtu: 1500, rxErrors: 0n });
          dp.commit(twoTenants([ports[0]!, port]));
          dp.inject(ports[0]!, [frame(7001)]);
          dp.step(1n);
          const heard = await new Promise<Uint8Array>((resolve) => {
            const into = new Uint8Array(2048);
            far.onReadable(() => resolve(into.subarray(0, far.read(into))));
          });
          expect(heard.length).toBe(62);
          far.write(answer());
          dp.step(2n);
          expect(dp.readCounters().vifs.get(2)).toMatchObject({ rxPackets: 1n, txPackets: 1n });
        } finally {
          far.close();
        }
      });

      it('of kind socket need one end of a frame pair', () => {
        expect(errorOf(() => dp.addPort({ kind: 'socket' }))).toMatchObject({
          code: 'BAD_VALUE',
          field: 'fd',
        });
        const [kept, given] = socketPair();
        const error = errorOf(() => dp.addPort({ kind: 'socket' }, given));
        expect(error).toMatchObject({ code: 'BAD_VALUE', field: 'fd' });
        openDescriptor(kept).close();
      });

      it('name a file that is not there', () => {
        const error = errorOf(() => dp.addPort({ kind: 'pcap', read: '/nonexistent/in.pcap' }));
        expect(['BAD_FILE', 'NOT_FOUND']).toContain(error.code);
        expect(error.message).toContain('/nonexistent/in.pcap');
      });
    });

    it('refuses arguments that are not what they should be', () => {
      const any = dp as unknown as Record<string, (...args: unknown[]) => unknown>;
      const bad: [string, unknown[]][] = [
        ['step', [1]],
        ['step', [-1n]],
        ['step', [2n ** 64n]],
        ['commitBytes', ['VRP1']],
        ['commitBytes', [new Uint16Array(4)]],
        ['commitBytes', [new Uint8Array(new SharedArrayBuffer(8))]],
        ['deleteFlow', [-1]],
        ['deleteFlow', [1.5]],
        ['deleteFlow', [Number.NaN]],
        ['removePort', ['0']],
        ['explain', [frame(), -1]],
        ['explain', ['frame', 1]],
        ['startCapture', [-1, {}]],
        ['startCapture', [1, { vif: -1 }]],
        ['startCapture', [1, { in: 1 }]],
        ['startCapture', [1, { snap: 0 }]],
        ['startCapture', [1, { sample: 0 }]],
        ['startCapture', [1, { bytes: 100_000 }]],
        ['startCapture', [1, { filter: 'icmp' }]],
        ['startCapture', [1, { ends: [{}, {}, {}] }]],
        ['startCapture', [1, { ends: [{ port: 65_536 }] }]],
        ['readCapture', [1, 0]],
        ['stopCapture', ['1']],
        ['dump', ['nonsense']],
        ['dump', ['routes', 70_000]],
      ];
      for (const [method, args] of bad) {
        expect(errorOf(() => any[method]!(...args)).code, `${method} ${String(args)}`).toBe(
          'BAD_ARGUMENT',
        );
      }
      for (const options of [
        { flowEntries: 3 },
        { flowEntries: '1024' },
        { buffers: 0 },
        { seed: 1 },
        7,
      ]) {
        expect(errorOf(() => open(options as never)).code).toBe('BAD_ARGUMENT');
      }
    });

    it('answers ARP the same way for the same seed and differs in nothing else', () => {
      const runs = [7n, 7n].map((seed) => {
        const one = open({ flowEntries: 1024, buffers: 512, seed });
        try {
          const own = [one.addPort({ kind: 'memory' }), one.addPort({ kind: 'memory' })];
          one.commit(twoTenants(own));
          const ask = packet(
            ether({ dst: 'ff:ff:ff:ff:ff:ff', src: TENANTS[0] }),
            arp({
              op: 'request',
              senderMac: TENANTS[0],
              senderIp: ADDRESSES[0],
              targetIp: '10.1.0.254',
            }),
          );
          one.inject(own[0]!, [ask, ...Array.from({ length: 40 }, (_, i) => frame(i + 1))]);
          one.step(1n);
          const frames = own.map((port) =>
            one.collect(port).map((f) => Buffer.from(f).toString('hex')),
          );
          return { frames, flows: one.flows() };
        } finally {
          one.close();
        }
      });
      expect(runs[0]).toEqual(runs[1]);
      expect(runs[0]!.frames[0]).toHaveLength(1);
    });

    describe('close', () => {
      it('can be repeated; after it every other method throws CLOSED', () => {
        dp.commit(twoTenants(ports));
        dp.close();
        dp.close();
        const calls: (() => unknown)[] = [
          () => dp.addPort({ kind: 'memory' }),
          () => dp.removePort(0),
          () => dp.portInfo(0),
          () => dp.start(),
          () => dp.stop(),
          () => dp.step(1n),
          () => dp.commit([]),
          () => dp.commitBytes(encodeProgram([])),
          () => dp.dump('vifs'),
          () => dp.snapshot(),
          () => dp.flows(),
          () => dp.deleteFlow(0),
          () => dp.readCounters(),
          () => dp.clearCounters(),
          () => dp.drainEvents(),
          () => dp.inject(0, []),
          () => dp.collect(0),
          () => dp.explain(frame(), 1),
          () => dp.startCapture(1, {}),
          () => dp.readCapture(1, 1),
          () => dp.stopCapture(1),
          () => dp.info(),
        ];
        for (const call of calls) expect(errorOf(call).code, call.toString()).toBe('CLOSED');
      });

      it('stops a running worker', () => {
        dp.commit(twoTenants(ports));
        dp.start();
        dp.inject(ports[0]!, [frame()]);
        dp.close();
        expect(errorOf(() => dp.info()).code).toBe('CLOSED');
      });
    });
  });
}
