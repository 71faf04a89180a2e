/** Two tenants on one wire, with a gateway that only answers ARP and swaps MACs. */
import { describe, expect, it } from 'vitest';
import { type Connection, Tenant } from '../../../src/sim/tenant.ts';
import {
  decodeArp,
  decodeFrame,
  decodeIpv4,
  decodeSegment,
  ETHERTYPE,
  encodeArp,
  encodeFrame,
  encodeIpv4,
  encodeSegment,
  macBytes,
  PROTOCOL,
  TCP,
} from '../../../src/sim/wire.ts';

const GATEWAY = '10.0.0.254';
const GATEWAY_MAC = macBytes('00:00:5e:00:01:00');

function pair() {
  const client = new Tenant({
    name: 'client',
    mac: '02:00:00:00:00:01',
    ipv4: '10.0.0.1',
    gateway: GATEWAY,
  });
  const server = new Tenant({
    name: 'server',
    mac: '02:00:00:00:00:02',
    ipv4: '10.0.0.2',
    gateway: GATEWAY,
    listen: [80],
  });
  const seen: Buffer[] = [];
  /** As a router would: ARP answered, packets to whoever has the address. `change` may drop or replace. */
  const run = (change: (frame: Buffer) => Buffer | undefined = (frame) => frame) => {
    for (let moved = true; moved; ) {
      moved = false;
      for (const [from, to] of [
        [client, server],
        [server, client],
      ] as const) {
        for (const bytes of from.take()) {
          moved = true;
          const frame = decodeFrame(bytes)!;
          if (frame.etherType === ETHERTYPE.arp) {
            const ask = decodeArp(frame.payload)!;
            const answer = {
              operation: 2,
              senderMac: GATEWAY_MAC,
              senderIp: ask.targetIp,
              targetMac: ask.senderMac,
              targetIp: ask.senderIp,
            } as const;
            from.deliver(
              encodeFrame({
                destination: frame.source,
                source: GATEWAY_MAC,
                etherType: ETHERTYPE.arp,
                payload: encodeArp(answer),
              }),
            );
            continue;
          }
          expect(frame.destination).toEqual(GATEWAY_MAC);
          const routed = change(
            encodeFrame({ ...frame, destination: macBytes(to.mac), source: GATEWAY_MAC }),
          );
          seen.push(bytes);
          if (routed !== undefined) to.deliver(routed);
        }
      }
    }
  };
  return { client, server, run, seen };
}

function opened() {
  const all = pair();
  const connection = all.client.connect('10.0.0.2', 80, 40_000);
  all.run();
  return { ...all, connection };
}

describe('a connection', () => {
  it('opens, asks and is answered by name and port, and ends with nothing left over', () => {
    const { client, server, connection, run } = opened();
    expect(connection.state).toBe('open');
    client.request(connection);
    run();
    client.request(connection);
    run();
    expect(connection.answers).toEqual([
      { backend: 'server', port: 80 },
      { backend: 'server', port: 80 },
    ]);
    client.close(connection);
    run();
    expect(connection.state).toBe('closed');
    expect([client.resets, server.resets, client.bad, server.bad]).toEqual([0, 0, 0, 0]);
    expect(server.served).toBe(2);
    expect([...client.heard]).toEqual(['10.0.0.2:80']);
    expect([...server.callers]).toEqual(['10.0.0.1']);
    expect(server.peerMss).toBe(1460);
  });

  it('is answered once more for requests that come together', () => {
    const { client, connection, run } = opened();
    for (let i = 0; i < 3; i += 1) client.request(connection);
    run();
    expect(connection.answers).toHaveLength(3);
  });

  it('is reset by a port nobody listens on', () => {
    const { client, server, run } = pair();
    const connection = client.connect('10.0.0.2', 81, 40_000);
    run();
    expect(connection.state).toBe('reset');
    expect(server.resets).toBe(1);
    client.request(connection);
    expect(client.take()).toEqual([]);
  });

  it('is reset by a server that does not know it', () => {
    const { client, connection, run } = opened();
    const other = new Tenant({
      name: 'other',
      mac: '02:00:00:00:00:02',
      ipv4: '10.0.0.2',
      gateway: GATEWAY,
      listen: [80],
    });
    client.request(connection);
    for (const bytes of client.take()) {
      const frame = decodeFrame(bytes)!;
      other.deliver(
        encodeFrame({ ...frame, destination: macBytes(other.mac), source: GATEWAY_MAC }),
      );
    }
    // Its ARP first, then the reset.
    const [ask] = other.take();
    const { senderMac, senderIp, targetIp } = decodeArp(decodeFrame(ask!)!.payload)!;
    const answer = {
      operation: 2,
      senderMac: GATEWAY_MAC,
      senderIp: targetIp,
      targetMac: senderMac,
      targetIp: senderIp,
    } as const;
    other.deliver(
      encodeFrame({
        destination: senderMac,
        source: GATEWAY_MAC,
        etherType: ETHERTYPE.arp,
        payload: encodeArp(answer),
      }),
    );
    for (const bytes of other.take()) {
      client.deliver(encodeFrame({ ...decodeFrame(bytes)!, destination: macBytes(client.mac) }));
    }
    expect(connection.state).toBe('reset');
    run();
    expect(connection.answers).toEqual([]);
  });

  it('is not reset by a reset with a wrong sequence number', () => {
    const { client, connection } = opened();
    const blind = (sequence: number) => {
      const [source, destination] = [0x0a000002, 0x0a000001];
      const segment = {
        sourcePort: 80,
        destinationPort: 40_000,
        sequence,
        acknowledgement: 0,
        flags: TCP.rst,
        data: Buffer.alloc(0),
      };
      const payload = encodeSegment(source, destination, segment);
      return encodeFrame({
        destination: macBytes(client.mac),
        source: GATEWAY_MAC,
        etherType: ETHERTYPE.ipv4,
        payload: encodeIpv4({ source, destination, protocol: PROTOCOL.tcp, ttl: 64, payload }),
      });
    };
    client.deliver(blind(12345));
    expect(connection.state).toBe('open');
  });
});

describe('what is not right', () => {
  const damages: [string, (frame: Buffer) => Buffer][] = [
    ['another MAC', (f) => Buffer.concat([macBytes('02:00:00:00:00:99'), f.subarray(6)])],
    [
      'a wrong TCP checksum',
      (f) => Buffer.concat([f.subarray(0, -1), Buffer.of((f.at(-1) ?? 0) ^ 1)]),
    ],
    [
      'a wrong IP checksum',
      (f) => Buffer.concat([f.subarray(0, 22), Buffer.of(7), f.subarray(23)]),
    ],
  ];
  for (const [what, damage] of damages) {
    it(`is counted and does nothing: ${what}`, () => {
      const { client, server, connection, run } = opened();
      client.request(connection);
      run((frame) => damage(frame));
      expect(server.bad).toBe(1);
      expect(server.served).toBe(0);
      expect(connection.answers).toEqual([]);
    });
  }

  it('is not asked for again: a lost segment stays lost', () => {
    const { client, connection, run, seen } = opened();
    const before = seen.length;
    client.request(connection);
    run(() => undefined);
    expect(seen.length).toBe(before + 1);
    expect(connection.requests).toBe(1);
    expect(connection.answers).toEqual([]);
  });

  it('another tenant does not own a connection', () => {
    const { server, connection } = opened();
    const stolen: Connection = connection;
    expect(() => server.request(stolen)).toThrow(/server: not a connection/);
  });
});

describe('ARP', () => {
  it('is asked once, and what waits goes out when the answer comes', () => {
    const { client, run } = pair();
    client.connect('10.0.0.2', 80, 1000);
    client.connect('10.0.0.2', 80, 1001);
    const frames = client.take();
    expect(frames).toHaveLength(1);
    expect(client.gatewayMac).toBeUndefined();
    for (const bytes of frames) {
      const { senderMac, senderIp, targetIp } = decodeArp(decodeFrame(bytes)!.payload)!;
      const answer = {
        operation: 2,
        senderMac: GATEWAY_MAC,
        senderIp: targetIp,
        targetMac: senderMac,
        targetIp: senderIp,
      } as const;
      client.deliver(
        encodeFrame({
          destination: senderMac,
          source: GATEWAY_MAC,
          etherType: ETHERTYPE.arp,
          payload: encodeArp(answer),
        }),
      );
    }
    const syns = client.take().map((f) => decodeSegment(decodeIpv4(decodeFrame(f)!.payload)!)!);
    expect(syns.map((s) => s.sourcePort)).toEqual([1000, 1001]);
    expect(client.gatewayMac).toBe('00:00:5e:00:01:00');
    run();
  });
});
