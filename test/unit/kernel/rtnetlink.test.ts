/** rtnetlink as bytes: there and back, whatever bytes come, and against the kernel this runs on. */
import { execFileSync } from 'node:child_process';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { VRouterError } from '../../../src/errors.ts';
import { readMessages, writeMessage } from '../../../src/kernel/netlink.ts';
import {
  AF_INET,
  AF_INET6,
  decodeAddress,
  decodeLink,
  decodeNeighbour,
  decodeRoute,
  encodeNeighbour,
  encodeRoute,
} from '../../../src/kernel/rtnetlink.ts';
import { KernelTables } from '../../../src/kernel/tables.ts';

const ipv4 = fc.ipV4();
const mac = fc
  .uint8Array({ minLength: 6, maxLength: 6 })
  .map((bytes) => [...bytes].map((b) => b.toString(16).padStart(2, '0')).join(':'));

describe('netlink messages', () => {
  it('come back as they were', () => {
    const message = fc.record({
      type: fc.integer({ min: 16, max: 200 }),
      flags: fc.integer({ min: 0, max: 0xffff }),
      sequence: fc.integer({ min: 0, max: 0xffffffff }),
      payload: fc.uint8Array({ maxLength: 100 }),
    });
    fc.assert(
      fc.property(message, (one) => {
        const [back] = readMessages(writeMessage(one));
        expect(back).toMatchObject({ type: one.type, flags: one.flags, sequence: one.sequence });
        expect([...back!.payload]).toEqual([...one.payload]);
      }),
    );
  });

  it('of any bytes are read or refused, and never past their end', () => {
    const decoders = [readMessages, decodeLink, decodeAddress, decodeNeighbour, decodeRoute];
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        for (const decode of decoders) {
          try {
            decode(bytes);
          } catch (error) {
            if (!(error instanceof VRouterError) && (error as { code?: string }).code === undefined)
              throw error;
          }
        }
      }),
      { numRuns: 2000 },
    );
  });
});

describe('objects', () => {
  it('neighbours and routes come back as they were', () => {
    fc.assert(
      fc.property(ipv4, mac, fc.integer({ min: 1, max: 1000 }), (address, lladdr, index) => {
        const neighbour = {
          family: AF_INET,
          index,
          state: 2,
          flags: 0,
          kind: 1,
          address,
          mac: lladdr,
        };
        expect(decodeNeighbour(encodeNeighbour(neighbour))).toMatchObject(neighbour);
        const route = {
          family: AF_INET,
          destinationLength: 32,
          sourceLength: 0,
          tos: 0,
          shortTable: 254,
          protocol: 3,
          scope: 0,
          kind: 1,
          flags: 0,
          destination: address,
          output: index,
        };
        expect(decodeRoute(encodeRoute(route))).toMatchObject(route);
      }),
    );
    const six = {
      family: AF_INET6,
      index: 2,
      state: 4,
      flags: 0,
      kind: 1,
      address: 'fd00::1',
      mac: '02:00:00:00:00:01',
    };
    expect(decodeNeighbour(encodeNeighbour(six))).toMatchObject(six);
  });

  it('are what ip says they are', () => {
    const tables = new KernelTables();
    const links = JSON.parse(execFileSync('ip', ['-j', 'link'], { encoding: 'utf8' })) as {
      ifindex: number;
      ifname: string;
      mtu: number;
    }[];
    for (const { ifindex, ifname, mtu } of links) {
      expect(tables.link(ifindex)).toMatchObject({ index: ifindex, name: ifname, mtu });
    }
    expect(tables.route('127.0.0.1')).toMatchObject({ family: AF_INET });
    tables.close();
  });
});
