/** Speakers over real sockets on loopback: plain, with the options that only the addon can set, and with peers that misbehave. */
import { connect, createServer, type Socket } from 'node:net';
import { afterEach, describe, expect, test } from 'vitest';
import type { Neighbour } from '../../src/bgp/neighbour.ts';
import { BgpSpeaker, type BgpSpeakerOptions } from '../../src/bgp/session/speaker.ts';
import { TcpTransport } from '../../src/bgp/session/tcp.ts';
import { keepaliveMessage, openMessage } from '../../src/bgp/wire/message.ts';
import { loadAddon } from '../../src/dataplane/binding.ts';
import { randomOf } from '../../src/sim/random.ts';
import { ip, neighbour, RecordingRib, route } from '../support/bgp-speakers.ts';

const sockets = loadAddon().addon;
const closing: (() => void)[] = [];
afterEach(() => {
  for (const close of closing.splice(0)) close();
});

interface Tcp {
  readonly plain?: boolean;
  readonly speaker?: Partial<BgpSpeakerOptions>;
}

async function speakerAt(address: string, { plain, speaker: more }: Tcp = {}) {
  const listen = [{ address: ip(address), port: 0 }];
  const transport = await TcpTransport.open(plain === true ? { listen } : { listen, sockets });
  const speaker = new BgpSpeaker({
    ...{ speaker: { as: 65000, id: ip(address.includes(':') ? '9.9.9.9' : address) }, transport },
    makeRib: (options) => new RecordingRib(options),
    ...more,
  });
  closing.push(() => speaker.close());
  return { speaker, address, rib: speaker.rib as RecordingRib, port: transport.ports[0] as number };
}
type At = Awaited<ReturnType<typeof speakerAt>>;

/** From `a`'s address to `b`'s. */
function know(a: At, b: At, more: Partial<Neighbour> = {}): void {
  const { address, port } = b;
  a.speaker.setNeighbour(neighbour(address, { port, localAddress: ip(a.address), ...more }));
}

const states = (a: At, b: At) => [
  a.speaker.neighbour(b.address)?.state,
  b.speaker.neighbour(a.address)?.state,
];
const UP = ['established', 'established'];
const patience = { timeout: 6000, interval: 20 };
const settled = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

describe('TCP', () => {
  test.each([
    ['plain', true],
    ['with options', false],
  ])('%s: a session between two that both call; it ends with what was said', async (_, plain) => {
    const a = await speakerAt('127.0.1.1', { plain });
    const b = await speakerAt('127.0.1.2', { plain });
    know(a, b);
    know(b, a);
    await expect.poll(() => states(a, b), patience).toEqual(UP);
    a.speaker.shutdown(b.address, 'moved to another rack');
    await expect.poll(() => b.rib.peers[0]?.log.at(-1), patience).toBe('down');
    expect(b.speaker.neighbour(a.address)?.lastErrorIn?.text).toBe(
      'cease: administrative shutdown (6/2): "moved to another rack"',
    );
    expect(b.speaker.neighbour(a.address)?.flaps).toBe(1);
    await settled(50);
    expect(states(a, b)[0]).toBe('idle');
    a.speaker.enable(b.address);
    await expect.poll(() => states(a, b), patience).toEqual(UP);
  });

  test('nobody answers: it is said, and tried again', async () => {
    const a = await speakerAt('127.0.1.1');
    a.speaker.setNeighbour(neighbour('127.0.1.9', { port: 9 }));
    await expect
      .poll(() => a.speaker.neighbour('127.0.1.9')?.lastEnd?.text, patience)
      .toContain('ECONNREFUSED');
  });

  test.each([true, false])('an address that is taken is named (plain: %s)', async (plain) => {
    const { address, port } = await speakerAt('127.0.1.1', { plain });
    const listen = [{ address: ip(address), port }];
    const again = TcpTransport.open(plain ? { listen } : { listen, sockets });
    await expect(again).rejects.toMatchObject({
      code: 'PORT_FAILED',
      message: expect.stringMatching(new RegExp(`^127.0.1.1 port ${port}: .*(in use|EADDRINUSE)`)),
    });
  });

  test('IPv6', async () => {
    const a = await speakerAt('::1');
    const b = await speakerAt('127.0.1.2', {
      speaker: { speaker: { as: 65000, id: ip('9.9.9.8') } },
    });
    b.speaker.setNeighbour(neighbour('::1', { port: a.port }));
    a.speaker.setRange({
      name: 'six',
      prefix: '::/0' as never,
      limit: 2,
      template: neighbour('::'),
    });
    await expect.poll(() => b.speaker.neighbour('::1')?.state, patience).toBe('established');
    expect(a.speaker.neighbour('six/::1')?.remote?.address).toBe('::1');
  });
});

describe('TCP MD5 signatures', () => {
  test('the same key: up; another key, or none: no connection', async () => {
    const a = await speakerAt('127.0.2.1');
    const b = await speakerAt('127.0.2.2');
    know(a, b, { password: 'secret' });
    know(b, a, { password: 'secret', passive: true });
    await expect.poll(() => states(a, b), patience).toEqual(UP);

    // A password is of the connection: the session starts anew, and cannot.
    know(b, a, { password: 'another', passive: true });
    await expect.poll(() => states(a, b)[1], patience).toBe('active');
    await settled(1500);
    expect(states(a, b)).toEqual(['connect', 'active']);
    know(b, a, { passive: true });
    await settled(1500);
    expect(states(a, b)).toEqual(['connect', 'active']);
  });

  test('a range has one key for all who are of it', async () => {
    const hub = await speakerAt('127.0.2.1');
    const signed = await speakerAt('127.0.2.7');
    const unsigned = await speakerAt('127.0.2.8');
    const template = neighbour('127.0.2.0', { password: 'secret' });
    hub.speaker.setRange({ name: 'pods', prefix: '127.0.2.0/24' as never, limit: 9, template });
    know(signed, hub, { password: 'secret' });
    know(unsigned, hub);
    const here = () => hub.speaker.status().neighbours.map(({ name, state }) => `${name} ${state}`);
    await expect.poll(here, patience).toEqual(['pods/127.0.2.7 established']);
    await settled(500);
    expect(here()).toEqual(['pods/127.0.2.7 established']);
    expect(unsigned.speaker.neighbour('127.0.2.1')?.state).toBe('connect');
  });

  test('without the addon it is refused, by name', async () => {
    const a = await speakerAt('127.0.2.1', { plain: true });
    expect(() => a.speaker.setNeighbour(neighbour('127.0.2.2', { password: 'secret' }))).toThrow(
      /the addon is needed/,
    );
  });
});

describe('the addon', () => {
  const { openTcp, setTcpHops, setTcpKey, closeDescriptor } = sockets;
  const four = Uint8Array.of(127, 0, 0, 1);
  const key = Uint8Array.of(1, 2, 3);

  test('refuses what is no address, prefix, key or socket, by name', () => {
    expect(() => openTcp(new Uint8Array(5))).toThrow(/Address family not supported/);
    expect(() => openTcp(Uint8Array.of(203, 0, 113, 1), 0)).toThrow(/Cannot assign/);
    expect(() => openTcp(four, 65_536)).toThrow(/port must be/);
    expect(() => openTcp('127.0.0.1' as never)).toThrow(/address must be/);
    expect(() => setTcpHops(1 << 19, 64, 0)).toThrow(/Bad file descriptor/);
    const fd = openTcp(four);
    expect(() => setTcpHops(fd, 256, 0)).toThrow(/ttl must be/);
    expect(() => setTcpKey(fd, four, 33, key)).toThrow(/Invalid argument/);
    expect(() => setTcpKey(fd, four, 32, new Uint8Array(81))).toThrow(/Invalid argument/);
    expect(() => setTcpKey(fd, four, 24, key)).not.toThrow();
    expect(() => setTcpKey(fd, four, 24, new Uint8Array(0))).not.toThrow();
    expect(() => setTcpKey(fd, four, 24, new Uint8Array(0))).toThrow(/No such file/);
    closeDescriptor(fd);
  });
});

describe('TTL security', () => {
  test('who is near enough is heard, who is not is not', async () => {
    const a = await speakerAt('127.0.3.1');
    const near = await speakerAt('127.0.3.2');
    know(a, near, { ttlSecurity: 1 });
    know(near, a, { ttlSecurity: 1 });
    await expect.poll(() => states(a, near), patience).toEqual(UP);

    // 64 of 255 is what one sends who knows nothing of it, and what is left of 255 after 191 hops.
    const far = await speakerAt('127.0.3.3');
    know(a, far, { ttlSecurity: 1, passive: true });
    know(far, a, { ttl: 64 });
    const other = await speakerAt('127.0.3.4');
    know(a, other, { ttlSecurity: 192, passive: true });
    know(other, a, { ttl: 64 });
    await expect.poll(() => states(a, other), patience).toEqual(UP);
    await settled(500);
    expect(states(a, far)).not.toContain('established');
    expect(a.speaker.neighbour(far.address)?.messagesIn.keepalive).toBe(0);
  });
});

describe('dynamic neighbours', () => {
  test('as many as the range may have; who goes makes room', async () => {
    const hub = await speakerAt('127.0.4.1');
    const template = neighbour('127.0.4.0');
    hub.speaker.setRange({ name: 'r', prefix: '127.0.4.0/24' as never, limit: 2, template });
    const callers = await Promise.all([2, 3, 4].map((n) => speakerAt(`127.0.4.${n}`)));
    for (const caller of callers) know(caller, hub);
    const up = () => hub.speaker.status().neighbours.filter(({ state }) => state === 'established');
    await expect.poll(() => up().length, patience).toBe(2);
    await settled(300);
    expect(hub.speaker.status().neighbours.length).toBe(2);
    expect(hub.speaker.status().refusedByLimit).toBeGreaterThan(0);
    const names = up().map(({ address }) => address);
    const inside = callers.find(({ address }) => names.includes(address)) as At;
    const outside = callers.find(({ address }) => !names.includes(address)) as At;
    inside.speaker.removeNeighbour(hub.address);
    await expect
      .poll(() => up().map(({ address }) => address), { ...patience, timeout: 12_000 })
      .toContain(outside.address);
    expect(hub.rib.peers.length).toBe(2);
  }, 20_000);

  test('nobody we know is turned away', async () => {
    const hub = await speakerAt('127.0.4.1');
    const socket = connect({ host: '127.0.4.1', port: hub.port, localAddress: '127.0.4.9' });
    closing.push(() => socket.destroy());
    const heard: number[] = [];
    socket.on('data', (bytes) => heard.push(bytes.length));
    socket.on('error', () => undefined);
    await new Promise((resolve) => socket.once('close', resolve));
    expect(heard).toEqual([]);
    expect(hub.speaker.status().refused).toBe(1);
  });
});

describe('a hostile peer', () => {
  const raw = (hub: At, from: string): Socket => {
    const socket = connect({ host: hub.address, port: hub.port, localAddress: from });
    socket.on('error', () => undefined);
    closing.push(() => socket.destroy());
    return socket;
  };
  const opened = (from: string) =>
    openMessage({
      as: 65000,
      holdTime: 90,
      id: ip(from),
      capabilities: [{ kind: 'as4', as: 65000 }],
    });
  const flood = (byte: number, bytes: number) => new Uint8Array(bytes).fill(byte);

  const HOSTILE: { readonly [name: string]: (socket: Socket, from: string) => () => void } = {
    garbage: (socket) => {
      const random = randomOf(7n);
      const timer = setInterval(() => {
        socket.write(Uint8Array.from({ length: 4096 }, () => Math.floor(random() * 256)));
      }, 5);
      return () => clearInterval(timer);
    },
    'a byte at a time': (socket, from) => {
      const bytes = [...opened(from), ...keepaliveMessage()];
      socket.setNoDelay(true);
      const timer = setInterval(() => {
        const byte = bytes.shift();
        if (byte !== undefined) socket.write(Uint8Array.of(byte));
      }, 2);
      return () => clearInterval(timer);
    },
    'a huge length': (socket) => {
      socket.write(Buffer.concat([flood(0xff, 16), Buffer.from([0xff, 0xff, 2])]));
      const timer = setInterval(() => socket.write(flood(0, 65_536)), 2);
      return () => clearInterval(timer);
    },
    'keepalives without end': (socket, from) => {
      const many = Buffer.concat(Array.from({ length: 10_000 }, () => keepaliveMessage()));
      socket.write(Buffer.concat([opened(from), many]));
      const more = () => socket.write(many, () => setImmediate(more));
      more();
      socket.resume();
      return () => socket.destroy();
    },
    'nothing is read': (socket, from) => {
      socket.pause();
      socket.write(Buffer.concat([opened(from), keepaliveMessage()]));
      return () => socket.destroy();
    },
    'calls again and again': (first, from) => {
      const calls: Socket[] = [first];
      const timer = setInterval(() => {
        const { remoteAddress: host, remotePort: port } = first;
        if (host === undefined || port === undefined) return;
        const again = connect({ host, port, localAddress: from });
        again.on('error', () => undefined);
        calls.push(again);
        again.write(opened(from));
      }, 5);
      return () => {
        clearInterval(timer);
        for (const call of calls) call.destroy();
      };
    },
  };

  test.each(Object.entries(HOSTILE))(
    '%s: the others go on',
    async (_, attack) => {
      const hub = await speakerAt('127.0.5.1');
      const healthy = await speakerAt('127.0.5.2');
      know(hub, healthy, { holdTime: 3 });
      know(healthy, hub, { holdTime: 3 });
      await expect.poll(() => states(hub, healthy), patience).toEqual(UP);
      hub.speaker.setNeighbour(neighbour('127.0.5.66', { passive: true }));
      const attacker = hub.rib.peers[1] as RecordingRib['peers'][number];
      attacker.queue(...Array.from({ length: 20_000 }, (_, n) => route(n)));
      const stop = attack(raw(hub, '127.0.5.66'), '127.0.5.66');

      const [atHub, atHealthy] = [hub.rib.peers[0], healthy.rib.peers[0]];
      let slowest = 0;
      let most = 0;
      for (let n = 0; n < 30; n++) {
        const asked = performance.now();
        hub.rib.say(atHub as never, route(n));
        await expect
          .poll(() => atHealthy?.updates.length, { timeout: 3000, interval: 1 })
          .toBe(n + 1);
        slowest = Math.max(slowest, performance.now() - asked);
        most = Math.max(most, hub.speaker.neighbour('127.0.5.66')?.waiting ?? 0);
        await settled(100);
      }
      stop();
      // Longer than the hold time of 3 s.
      expect([atHub?.log, atHealthy?.log]).toEqual([['up'], ['up']]);
      expect(slowest).toBeLessThan(1000);
      expect(most).toBeLessThan(512 << 10);
    },
    20_000,
  );

  test('hears why it is over, though it has said much more', async () => {
    const hub = await speakerAt('127.0.5.1');
    hub.speaker.setNeighbour(neighbour('127.0.5.66', { passive: true }));
    const socket = raw(hub, '127.0.5.66');
    const heard: Buffer[] = [];
    socket.on('data', (bytes) => heard.push(bytes));
    for (let n = 0; n < 32; n++) socket.write(flood(0, 65_536));
    await new Promise((resolve) => socket.once('close', resolve));
    const all = Buffer.concat(heard).toString('hex');
    // Header error, connection not synchronized.
    expect(all.endsWith(`${'ff'.repeat(16)}0015030101`)).toBe(true);
  });

  test('who accepts and says nothing is given up, and tried again', async () => {
    const silent = createServer((socket) => socket.on('error', () => undefined));
    await new Promise<void>((resolve) => silent.listen(0, '127.0.5.7', resolve));
    closing.push(() => silent.close());
    const a = await speakerAt('127.0.5.1');
    const { port } = silent.address() as { port: number };
    a.speaker.setNeighbour(neighbour('127.0.5.7', { port }));
    await expect.poll(() => a.speaker.neighbour('127.0.5.7')?.state, patience).toBe('open-sent');
    a.speaker.removeNeighbour('127.0.5.7');
    expect(a.speaker.status().neighbours).toEqual([]);
  });
});
