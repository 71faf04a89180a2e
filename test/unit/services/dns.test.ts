/** The DNS proxy: what it forwards, what it answers, what it refuses; over real sockets where it asks others. */
import { createSocket, type Socket } from 'node:dgram';
import { setImmediate as soon } from 'node:timers/promises';
import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import { VRouterError } from '../../../src/errors.ts';
import { decodeDns, ownAnswer, reverseName } from '../../../src/services/dns-message.ts';
import {
  DnsService,
  MAX_PENDING,
  MAX_PENDING_PER_TENANT,
} from '../../../src/services/dns-service.ts';
import { UdpUpstream } from '../../../src/services/dns-upstream.ts';
import { encodeName } from '../../../src/services/domain-name.ts';
import { buildDatagram, parseDatagram, parseFrame } from '../../../src/services/frame.ts';
import type { Tenant } from '../../../src/services/service.ts';

function refusal(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    if (error instanceof VRouterError && error.code === 'BAD_PACKET') return error.message;
    throw error;
  }
  return 'taken';
}

/** RFC 1035: id, RD, one question; and, if asked for, an OPT record as resolvers send it. */
function query(name: string, type = 1, id = 0x1234, flags = 0x0100): Buffer {
  const head = Buffer.alloc(12);
  head.writeUInt16BE(id, 0);
  head.writeUInt16BE(flags, 2);
  head.writeUInt16BE(1, 4);
  return Buffer.concat([head, encodeName(name), Buffer.from([0, type, 0, 1])]);
}

const GATEWAY = '10.1.0.254';
function tenant(vif: number, more: Partial<Tenant> = {}): Tenant {
  return {
    vif,
    name: `pod-${vif}`,
    mac: '02:00:00:00:00:0a',
    vrf: 'pods',
    ipv4: `10.1.0.${vif}`,
    ipv6: undefined,
    gateway4: GATEWAY,
    gateway6: undefined,
    mtu: 1500,
    hostname: `pod-${vif}`,
    ...more,
  };
}

const packetOf = (data: Uint8Array, destinationPort = 53) =>
  parseFrame(
    buildDatagram(
      {
        sourceMac: '02:00:00:00:00:0a',
        destinationMac: '00:00:5e:00:01:00',
        source: '10.1.0.3',
        destination: GATEWAY,
        sourcePort: 4000,
        destinationPort,
      },
      data,
    ),
  );

describe('a DNS message', () => {
  it('is read, one question of it', () => {
    expect(decodeDns(query('Host.Example', 28))).toMatchObject({
      id: 0x1234,
      isResponse: false,
      opcode: 0,
      question: { name: 'host.example', type: 28, class: 1 },
    });
    const two = query('a');
    two.writeUInt16BE(2, 4);
    expect(refusal(() => decodeDns(two))).toContain('2 questions');
    expect(refusal(() => decodeDns(query('a').subarray(0, 17)))).toContain('cut off');
  });

  it('of any bytes is read or refused, nothing else', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 80 }),
        (bytes) => void refusal(() => decodeDns(bytes)),
      ),
      { numRuns: 3000 },
    );
  });

  it('knows the names of RFC 1035 and 3596 for addresses', () => {
    expect(reverseName('192.0.2.5')).toBe('5.2.0.192.in-addr.arpa');
    expect(reverseName('2001:db8::1')).toBe(`1.${'0.'.repeat(23)}8.b.d.0.1.0.0.2.ip6.arpa`);
  });
});

describe('the proxy', () => {
  interface Asked {
    readonly bytes: Uint8Array;
    readonly answer: (bytes: Uint8Array | undefined) => void;
  }
  function proxy(tenants: readonly Tenant[] = [], domain?: string) {
    const sent: { vif: number; data: Buffer; destinationPort: number; source: string }[] = [];
    const asked: Asked[] = [];
    let now = 0;
    const service = new DnsService({
      send: (vif, frame) => {
        const { data, destinationPort, source } = parseDatagram(parseFrame(frame));
        sent.push({ vif, data: Buffer.from(data), destinationPort, source });
        return true;
      },
      upstream: {
        ask: (bytes) => new Promise((resolve) => asked.push({ bytes, answer: resolve })),
        close: () => {},
      },
      tenants: () => tenants,
      now: () => now,
      domain,
    });
    return { service, sent, asked, later: () => (now += 2000) };
  }

  it('asks for a tenant, and what it hears goes back to where the question was from', async () => {
    const { service, sent, asked } = proxy();
    expect(service.take(packetOf(query('www.example')), tenant(3))).toBe(true);
    expect(Buffer.from(asked[0]!.bytes)).toEqual(query('www.example'));
    const answer = ownAnswer(
      decodeDns(query('www.example')),
      0,
      [{ type: 'address', address: '192.0.2.1' }],
      60,
    );
    asked[0]!.answer(answer);
    await soon();
    expect(sent).toEqual([
      { vif: 3, data: Buffer.from(answer), destinationPort: 4000, source: GATEWAY },
    ]);
    expect(service.counters).toMatchObject({ forwarded: 1, answered: 1 });
  });

  it('says so when nobody answers', async () => {
    const { service, sent, asked } = proxy();
    service.take(packetOf(query('www.example')), tenant(3));
    asked[0]!.answer(undefined);
    await soon();
    expect(sent[0]!.data.readUInt16BE(2) & 0xf).toBe(2);
    expect(service.counters.failed).toBe(1);
  });

  it('answers for tenants of the same network, forward and back, and for no others', () => {
    const web = tenant(7, { hostname: 'Web', ipv6: 'fd00::7' });
    const { service, sent, asked } = proxy(
      [web, tenant(8, { vrf: 'others', hostname: 'db' })],
      'Pods.example',
    );
    const ask = (name: string, type: number) =>
      service.take(packetOf(query(name, type)), tenant(3));
    ask('WEB.pods.example', 1);
    ask('web.pods.example', 28);
    ask('web.pods.example', 15);
    ask(reverseName('10.1.0.7'), 12);
    ask(reverseName('fd00::7'), 12);
    expect(sent.map(({ data }) => data.readUInt16BE(6))).toEqual([1, 1, 0, 1, 1]);
    expect(sent[0]!.data.subarray(-4)).toEqual(Buffer.from([10, 1, 0, 7]));
    expect(sent[1]!.data.subarray(-1)).toEqual(Buffer.from([7]));
    expect(sent[3]!.data.subarray(-18)).toEqual(
      Buffer.from(encodeName('web.Pods.example'.toLowerCase())),
    );
    expect(asked).toHaveLength(0);
    ask('db.pods.example', 1);
    ask('pods.example', 1);
    expect(asked).toHaveLength(2);
  });

  it('knows a tenant that came, and none that left, a second later', () => {
    const tenants = [tenant(7, { hostname: 'web' })];
    const { service, sent, asked, later } = proxy(tenants, 'x');
    const ask = () => service.take(packetOf(query('web.x')), tenant(3));
    ask();
    tenants.pop();
    later();
    ask();
    expect([sent.length, asked.length]).toEqual([1, 1]);
  });

  it('refuses what is no question, says nothing to answers, and leaves other ports alone', () => {
    const { service, sent, asked } = proxy();
    service.take(packetOf(query('a', 1, 1, 0x2800)), tenant(3)); // an update
    const none = query('a').subarray(0, 12);
    none.writeUInt16BE(0, 4);
    service.take(packetOf(none), tenant(3));
    expect(sent.map(({ data }) => data.readUInt16BE(2) & 0xf)).toEqual([4, 1]);
    expect(service.take(packetOf(query('a', 1, 1, 0x8100)), tenant(3))).toBe(true);
    expect(sent).toHaveLength(2);
    expect(asked).toHaveLength(0);
    expect(service.take(packetOf(query('a'), 5353), tenant(3))).toBe(false);
    expect(refusal(() => service.take(packetOf(Buffer.alloc(5)), tenant(3)))).toContain('5 bytes');
  });

  it('has room for so many questions, and for so many of one tenant', async () => {
    const { service, asked } = proxy();
    const flood = (vif: number) => {
      for (let i = 0; i < 100; i++) service.take(packetOf(query('a')), tenant(vif));
    };
    flood(3);
    expect(asked).toHaveLength(MAX_PENDING_PER_TENANT);
    for (let vif = 4; vif < 60; vif++) flood(vif);
    expect(asked).toHaveLength(MAX_PENDING);
    asked[0]!.answer(undefined);
    await soon();
    flood(3);
    expect(asked).toHaveLength(MAX_PENDING + 1);
  });

  it('cuts what the link does not carry, and says that it did', async () => {
    const { service, sent, asked } = proxy();
    service.take(packetOf(query('www.example')), tenant(3, { mtu: 576 }));
    asked[0]!.answer(Buffer.concat([query('www.example', 1, 0x1234, 0x8180), Buffer.alloc(600)]));
    await soon();
    expect(sent[0]!.data.length).toBe(query('www.example').length);
    expect(sent[0]!.data.readUInt16BE(2)).toBe(0x8380);
  });
});

describe('resolvers', () => {
  const open: { close(): void }[] = [];
  afterEach(() => {
    for (const one of open.splice(0)) one.close();
  });
  async function resolver(
    port: number,
    address: string,
    answer: (bytes: Buffer, from: { port: number; address: string }, socket: Socket) => void,
  ): Promise<number> {
    const socket = createSocket('udp4');
    open.push(socket);
    socket.on('message', (bytes, from) => answer(bytes, from, socket));
    await new Promise<void>((resolve) => socket.bind(port, address, resolve));
    return socket.address().port;
  }
  function upstream(port: number, resolvers: readonly string[], timeoutMs = 200): UdpUpstream {
    const made = new UdpUpstream({ resolvers, timeoutMs, port });
    open.push(made);
    return made;
  }
  const answered = (bytes: Buffer) => Buffer.from(ownAnswer(decodeDns(bytes), 0));
  const asking = query('www.example');

  it('are asked under another id from another port each time, and answered under our own', async () => {
    const seen: { id: number; port: number }[] = [];
    const port = await resolver(0, '127.0.0.1', (bytes, from, socket) => {
      seen.push({ id: bytes.readUInt16BE(0), port: from.port });
      socket.send(answered(bytes), from.port, from.address);
    });
    const up = upstream(port, ['127.0.0.1']);
    for (let i = 0; i < 20; i++) {
      const answer = await up.ask(asking, decodeDns(asking));
      expect(Buffer.from(answer!).readUInt16BE(0)).toBe(0x1234);
    }
    expect(new Set(seen.map(({ id }) => id)).size).toBeGreaterThan(15);
    expect(new Set(seen.map((one) => one.port)).size).toBeGreaterThan(15);
  });

  it('that say something else have said nothing', async () => {
    const port = await resolver(0, '127.0.0.1', (bytes, from, socket) => {
      const send = (answer: Buffer) => socket.send(answer, from.port, from.address);
      const otherId = answered(bytes);
      otherId.writeUInt16BE(bytes.readUInt16BE(0) ^ 1, 0);
      send(otherId);
      send(answered(query('evil.example', 1, bytes.readUInt16BE(0))));
      send(bytes); // not an answer
      send(Buffer.alloc(3));
    });
    expect(await upstream(port, ['127.0.0.1'], 100).ask(asking, decodeDns(asking))).toBeUndefined();
  });

  it('that are silent or not there are followed by the next', async () => {
    const port = await resolver(0, '127.0.0.2', (bytes, from, socket) => {
      socket.send(answered(bytes), from.port, from.address);
    });
    const up = upstream(port, ['127.0.0.3', '127.0.0.2']);
    expect(await up.ask(asking, decodeDns(asking))).toBeDefined();
  });

  it('end when they are closed', async () => {
    const port = await resolver(0, '127.0.0.1', () => {});
    const up = upstream(port, ['127.0.0.1'], 60_000);
    const answer = up.ask(asking, decodeDns(asking));
    up.close();
    expect(await answer).toBeUndefined();
  });
});
