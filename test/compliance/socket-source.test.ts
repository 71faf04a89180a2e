import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { RouteExchange } from '../../src/control/exchange.ts';
import { connectExchange } from '../../src/rib/connect.ts';
import { keyOf, type Route, type RouteUpdate } from '../../src/rib/route.ts';
import { type ExchangeServer, serveExchange } from '../../src/rib/serve.ts';
import { hop, route } from '../support/routes.ts';
import { routeSourceCompliance } from './route-source.ts';

let folder: string;
let path: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'exchange-'));
  path = join(folder, 'socket');
});
afterEach(() => rmSync(folder, { recursive: true }));

async function until(what: string, holds: () => boolean): Promise<void> {
  const end = Date.now() + 5000;
  while (!holds()) {
    if (Date.now() > end) throw new Error(`waited in vain: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

const soon = (run: () => void) => void setImmediate(run);

routeSourceCompliance('socket', async () => {
  const exchange = new RouteExchange({ schedule: soon });
  const server = await serveExchange(exchange, { path });
  const other = exchange.attach('other');
  let connected = false;
  const source = connectExchange({
    path,
    name: 'node',
    onState: (state) => {
      connected = state === 'connected';
    },
  });
  await until('connected', () => connected);
  // A second session behind the first: when its marker has come, so has what was sent before.
  let markers = 0;
  const seen: RouteUpdate[] = [];
  const marker = connectExchange({ path, name: 'marker' });
  marker.onUpdates((updates) => seen.push(...updates));
  marker.subscribe('marker', 1);
  return {
    source,
    offer: (r) => other.publish(r),
    retract: (key) => other.withdraw(key),
    settle: async () => {
      for (let i = 0; i < 3; i++) {
        const label = 16 + ++markers;
        marker.publish(route('marker', '10.0.0.1/32', [hop('1.1.1.1', label)]));
        await until('marker', () =>
          seen.some((u) => u.type === 'announce' && u.route.hops[0]?.label === label),
        );
      }
    },
    published: () => exchange.routes('pods'),
    close: async () => {
      source.close();
      marker.close();
      await server.close();
    },
  };
});

describe('sessions', () => {
  let exchange: RouteExchange;
  let server: ExchangeServer;
  let errors: string[];
  const serve = async () => {
    server = await serveExchange(exchange, {
      path,
      onError: (name, error) => errors.push(`${name}: ${error.message}`),
    });
  };

  beforeEach(async () => {
    exchange = new RouteExchange({ schedule: soon });
    errors = [];
    await serve();
  });
  afterEach(() => server.close());

  /** A raw peer: sends bytes, collects what comes back until the end. */
  function raw(): { socket: Socket; text: () => string; ended: () => boolean } {
    const socket = connect(path);
    let text = '';
    let ended = false;
    socket.on('data', (bytes) => {
      text += bytes.toString();
    });
    socket.on('close', () => {
      ended = true;
    });
    socket.on('error', () => {});
    return { socket, text: () => text, ended: () => ended };
  }

  const hello = '{"type":"hello","version":1,"name":"x"}\n';
  const hostile: [string, string | Uint8Array, string][] = [
    ['not JSON', 'GET / HTTP/1.1\n', 'not JSON'],
    ['not an object', '7\n', 'not an object'],
    ['no type', '{}\n', 'type'],
    ['an unknown type', `${hello}{"type":"fire"}\n`, 'no message is called "fire"'],
    ['not UTF-8', new Uint8Array([0xff, 0xfe, 0x0a]), 'not UTF-8'],
    ['another version', '{"type":"hello","version":2,"name":"x"}\n', 'hello.version'],
    ['no hello', '{"type":"unsubscribe","instance":"a"}\n', 'hello must come first'],
    ['hello twice', hello + hello, 'said already'],
    [
      'an unknown field',
      `${hello}{"type":"withdraw","key":{},"extra":1}\n`,
      'unknown field "extra"',
    ],
    [
      'a bad route',
      `${hello}{"type":"publish","route":{"instance":"a","family":"inet","prefix":"1.1.1.1/32","hops":[]}}\n`,
      'publish.route.hops',
    ],
    ['an endless line', new Uint8Array(2 << 20).fill(0x61), 'longer than'],
    [
      'an agent called __proto__ with a bad id',
      '{"type":"hello","version":1,"name":"__proto__"}\n{"type":"subscribe","instance":"a","id":-1}\n',
      'subscribe.id',
    ],
  ];
  test.each(hostile)(
    '%s ends the session with an error that says so',
    async (_, bytes, message) => {
      const peer = raw();
      peer.socket.write(bytes);
      await until('end', () => peer.ended());
      expect(errors.join('\n')).toContain(message);
      if (typeof bytes === 'string') {
        const last = JSON.parse(peer.text().trim().split('\n').at(-1) as string);
        expect(last).toMatchObject({ type: 'error', code: 'BAD_TEXT' });
        expect(last.message).toContain(message);
      }
      expect(server.sessions()).toEqual([]);
    },
  );

  test('other sessions go on, and a message may come in pieces', async () => {
    const good = raw();
    const bad = raw();
    for (const piece of [hello.slice(0, 9), hello.slice(9, 30), hello.slice(30)]) {
      good.socket.write(piece);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    bad.socket.write('x\n');
    await until('bad ended', () => bad.ended());
    good.socket.write('{"type":"subscribe","instance":"pods","id":1}\n');
    await until('end-of-rib', () => good.text().includes('end-of-rib'));
    expect(server.sessions()).toEqual(['x']);
    good.socket.destroy();
  });

  test('a session that ends takes its routes with it', async () => {
    const peer = raw();
    const publish = JSON.stringify({
      type: 'publish',
      route: route('pods', '10.0.0.1/32', [hop('1.1.1.1', 17)]),
    });
    peer.socket.write(`${hello}${publish}\n`);
    await until('published', () => exchange.routes('pods').length === 1);
    peer.socket.destroy();
    await until('gone', () => exchange.routes('pods').length === 0);
  });

  test('a newer session takes over a name', async () => {
    const older = raw();
    older.socket.write(hello);
    await until('welcome', () => older.text().includes('welcome'));
    const newer = raw();
    newer.socket.write(hello);
    await until('welcome', () => newer.text().includes('welcome'));
    await until('older ended', () => older.ended());
    expect(older.text()).toContain('newer session');
    expect(server.sessions()).toEqual(['x']);
    newer.socket.destroy();
  });

  test('a peer that does not read is ended, not waited for', async () => {
    await server.close();
    server = await serveExchange(exchange, {
      path,
      maxUnreadBytes: 64 << 10,
      onError: (name, error) => errors.push(`${name}: ${error.message}`),
    });
    const deaf = raw();
    deaf.socket.pause();
    deaf.socket.write(`${hello}{"type":"subscribe","instance":"pods","id":1}\n`);
    await until('session', () => server.sessions().length === 1);
    const source = exchange.attach('talker');
    for (let round = 0; errors.length === 0 && round < 200; round++) {
      for (let i = 0; i < 256; i++) {
        source.publish(route('pods', `10.0.${i}.0/24`, [hop('1.1.1.1', 16 + round)]));
      }
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
    expect(errors).toEqual(["x: 'x' does not read its updates"]);
    expect(server.sessions()).toEqual([]);
    deaf.socket.destroy();
  });

  test('a socket file nobody listens on any more is taken over; one in use is not', async () => {
    await expect(serveExchange(exchange, { path })).rejects.toThrow('EADDRINUSE');
    await server.close();
    // What a crash leaves: the file of a listener that is gone.
    const child = spawnSync(process.execPath, [
      '-e',
      `require('net').createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, 9))`,
    ]);
    expect(child.signal).toBe('SIGKILL');
    expect(existsSync(path)).toBe(true);
    await serve();
    expect(server.sessions()).toEqual([]);
  });

  test('a lost exchange: routes stay, come back, and what is gone is swept', async () => {
    const [stays, goes] = ['10.0.0.1/32', '10.0.0.2/32'].map((p) =>
      route('pods', p, [hop('1.1.1.1', 17)]),
    ) as [Route, Route];
    const mine = route('pods', '10.0.0.9/32', [hop('9.9.9.9', 19)]);
    const first = exchange.attach('other');
    first.publish(stays);
    first.publish(goes);
    const heard: string[] = [];
    const client = connectExchange({ path, name: 'node', retryMs: 5, maxRetryMs: 20 });
    client.onUpdates((updates) =>
      heard.push(...updates.map((u) => (u.type === 'announce' ? u.route.prefix : u.type))),
    );
    client.subscribe('pods', 1);
    client.publish(mine);
    await until('first table', () => heard.includes('end-of-rib') && heard.includes(mine.prefix));
    await server.close();
    await until('stale', () => heard.includes('stale'));
    expect(heard).not.toContain('withdraw');
    heard.length = 0;
    exchange = new RouteExchange({ schedule: soon });
    exchange.attach('other').publish(stays);
    await serve();
    await until('second table', () => heard.includes('end-of-rib'));
    expect(heard).toContain(stays.prefix);
    expect(heard).not.toContain(goes.prefix);
    await until('published again', () =>
      exchange.routes('pods').some((r) => r.prefix === keyOf(mine).prefix),
    );
    client.close();
  });
});

test('a client ends a stream of nonsense, says why, and tries again', async () => {
  const errors: string[] = [];
  let connections = 0;
  const server: Server = createServer((socket) => {
    connections++;
    socket.on('error', () => {});
    socket.resume();
    socket.write('{"type":"updates","updates":[{"type":"announce","route":{}}]}\n');
  });
  await new Promise<void>((resolve) => server.listen(path, resolve));
  const client = connectExchange({
    path,
    name: 'node',
    retryMs: 2,
    onError: (error) => errors.push(error.message),
  });
  await until('two tries', () => connections >= 2);
  expect(errors[0]).toContain('updates[0].route');
  client.close();
  await new Promise((resolve) => server.close(resolve));
});

describe('an agent that said it will be back', () => {
  const lan = route('red', '10.0.0.1/32', [hop('1.1.1.1', 20)]);
  const old = route('red', '10.0.0.2/32', [hop('1.1.1.1', 21)]);
  const prefixes = (exchange: RouteExchange) => exchange.routes('red').map((r) => r.prefix);

  /** Lost, not closed: what a killed process leaves. */
  async function publishAndVanish(restart: number, routes: readonly Route[]): Promise<void> {
    const socket = connect(path);
    socket.write(`{"type":"hello","version":1,"name":"node","restart":${restart}}\n`);
    socket.write('{"type":"subscribe","instance":"red","id":1}\n');
    for (const r of routes) socket.write(`${JSON.stringify({ type: 'publish', route: r })}\n`);
    await until('all of it has come', () => exchange.routes('red').length === routes.length);
    await new Promise<void>((resolve) => {
      socket.on('close', () => resolve());
      socket.destroy();
    });
    await until('the server knows', () => server.sessions().length === 0);
  }

  let exchange: RouteExchange;
  let server: ExchangeServer;
  beforeEach(async () => {
    exchange = new RouteExchange({ schedule: soon });
    exchange.attach('watcher').subscribe('red', 2);
    server = await serveExchange(exchange, { path });
  });
  afterEach(() => server.close());

  test('keeps its routes meanwhile; what it does not publish again is swept', async () => {
    await publishAndVanish(300, [lan, old]);
    expect(prefixes(exchange)).toEqual([lan.prefix, old.prefix]);
    const back = connectExchange({ path, name: 'node', restartMs: 300 });
    back.publish(lan);
    await until('swept', () => prefixes(exchange).length === 1);
    expect(prefixes(exchange)).toEqual([lan.prefix]);
    // An orderly end takes all of it away at once.
    back.close();
    await until('gone', () => prefixes(exchange).length === 0);
  });

  test('loses them when it is not back in time, and a name that is free is free', async () => {
    await publishAndVanish(30, [lan]);
    await until('gone', () => prefixes(exchange).length === 0);
    const back = connectExchange({ path, name: 'node' });
    back.publish(lan);
    await until('there again', () => prefixes(exchange).length === 1);
    back.close();
    await until('gone without having said so', () => prefixes(exchange).length === 0);
  });

  test('leaves them for a successor when told to', async () => {
    const one = connectExchange({ path, name: 'node', restartMs: 5000, leaveRoutes: () => true });
    one.publish(lan);
    await until('there', () => prefixes(exchange).length === 1);
    one.close();
    await until('the server knows', () => server.sessions().length === 0);
    expect(prefixes(exchange)).toEqual([lan.prefix]);
  });
});
