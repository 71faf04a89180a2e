/** The metadata proxy and the TCP proxy over loopback: who is let in, how many, and what becomes of the server's end. */
import { createServer, request, type Server } from 'node:http';
import { type AddressInfo, connect, createServer as createTcpServer, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, describe, expect, it } from 'vitest';
import { MAX_CONNECTIONS_PER_TENANT, type Peer } from '../../../src/services/link-local-peers.ts';
import { MAX_RESPONSE_BYTES, MetadataProxy } from '../../../src/services/metadata-proxy.ts';
import { TcpProxy } from '../../../src/services/tcp-proxy.ts';

const ends: (() => void)[] = [];
afterEach(() => {
  for (const end of ends.splice(0)) end();
});

const peer = (name: string): Peer => {
  return { vif: 3, name, address: '10.1.0.3', instanceId: `id of ${name}`, tenantId: 'pods' };
};

async function backend(serve: Parameters<typeof createServer>[1]): Promise<string> {
  const server: Server = createServer(serve);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  ends.push(() => {
    server.close();
    server.closeAllConnections();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

async function proxy(url: string, peerOf: (address: string) => Peer | undefined) {
  const made = new MetadataProxy({ peerOf, to: { url }, sharedSecret: undefined });
  const port = await made.listen('127.0.0.1');
  ends.push(() => made.close());
  return { made, port };
}

function dial(port: number): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1', () => resolve(socket));
    socket.on('error', reject);
    ends.push(() => socket.destroy());
  });
}

/** All that is heard until the end, or until it has `until`. */
function hear(socket: Socket, until = '\0'): Promise<string> {
  return new Promise((resolve) => {
    let text = '';
    socket.on('data', (data) => {
      text += data;
      if (text.includes(until)) resolve(text);
    });
    socket.on('error', () => resolve(text));
    socket.on('close', () => resolve(text));
  });
}

const GET = 'GET /who HTTP/1.1\r\nHost: x\r\n\r\n';

describe('the metadata proxy', () => {
  it('strangers are not heard', async () => {
    const url = await backend((_, answer) => answer.end('never'));
    const { made, port } = await proxy(url, () => undefined);
    const socket = await dial(port);
    socket.write(GET);
    expect(await hear(socket)).toBe('');
    expect(made.counters).toMatchObject({ stranger: 1, requests: 0 });
  });

  it('a connection that stays is asked whose it is each time', async () => {
    const url = await backend((message, answer) => answer.end(message.headers['x-instance-id']));
    let owner: Peer | undefined = peer('a');
    const { made, port } = await proxy(url, () => owner);
    const socket = await dial(port);
    socket.write(GET);
    expect(await hear(socket, 'id of a')).toContain('200 OK');
    owner = peer('b'); // the vif's id has gone to another
    socket.write(GET);
    expect(await hear(socket)).toBe('');
    expect(made.counters).toMatchObject({ requests: 2, answered: 1, stranger: 1 });
  });

  it('a tenant has so many connections, and another one when one ends', async () => {
    const url = await backend((_, answer) => answer.end('here'));
    const { made, port } = await proxy(url, () => peer('a'));
    const held: Socket[] = [];
    for (let i = 0; i < MAX_CONNECTIONS_PER_TENANT; i++) held.push(await dial(port));
    const more = await dial(port);
    more.write(GET);
    expect(await hear(more)).toBe('');
    expect(made.counters.overflow).toBe(1);
    held[0]!.destroy();
    await sleep(50);
    const again = await dial(port);
    again.write(GET);
    expect(await hear(again, 'here')).toContain('200 OK');
  });

  it('a connection has one request at a time, and the next when that is answered', async () => {
    let under = 0;
    let most = 0;
    const url = await backend((_, answer) => {
      most = Math.max(most, ++under);
      setTimeout(() => {
        under--;
        answer.end('here');
      }, 50);
    });
    const { made, port } = await proxy(url, () => peer('a'));
    const socket = await dial(port);
    for (let i = 1; i <= 3; i++) {
      socket.write(GET);
      expect(await hear(socket, 'here')).toContain('200 OK');
    }
    const many = await dial(port);
    many.write(GET.repeat(100));
    expect(await hear(many)).toBe('');
    expect(most).toBe(1);
    expect(made.counters.overflow).toBe(99);
  });

  it('a server that is not there, hangs up, or has no end', async () => {
    const gone = await proxy('http://127.0.0.1:1', () => peer('a'));
    const socket = await dial(gone.port);
    socket.write(GET);
    expect(await hear(socket, '\r\n\r\n')).toContain(' 502 ');
    expect(gone.made.counters.failed).toBe(1);

    const part = Buffer.alloc(1 << 20, 120);
    const url = await backend((message, answer) => {
      if (message.url === '/hang-up') return void message.socket.destroy();
      const more = () => {
        while (!answer.destroyed && answer.write(part));
      };
      answer.on('drain', more);
      more();
    });
    const { port } = await proxy(url, () => peer('a'));
    const hung = await dial(port);
    hung.write(GET.replace('/who', '/hang-up'));
    expect(await hear(hung, '\r\n\r\n')).toContain(' 502 ');
    const endless = await dial(port);
    endless.write(GET);
    let taken = 0;
    endless.on('data', (data: Buffer) => {
      taken += data.length;
    });
    await new Promise<void>((resolve) => endless.on('close', () => resolve()));
    expect(taken).toBeLessThan(MAX_RESPONSE_BYTES + (4 << 20));
    expect(taken).toBeGreaterThan(MAX_RESPONSE_BYTES / 2);
  });

  it('a request that a tenant gives up is given up at the server', async () => {
    let closed = false;
    const url = await backend((message) => {
      message.socket.on('close', () => {
        closed = true;
      });
    });
    const { port } = await proxy(url, () => peer('a'));
    const asked = request({ port, host: '127.0.0.1', path: '/' });
    asked.on('error', () => {});
    asked.end();
    await sleep(100);
    asked.destroy();
    for (let i = 0; i < 40 && !closed; i++) await sleep(25);
    expect(closed).toBe(true);
  });
});

describe('the TCP proxy', () => {
  async function far(serve: (socket: Socket) => void): Promise<number> {
    const server = createTcpServer({ allowHalfOpen: true }, serve);
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    ends.push(() => server.close());
    return (server.address() as AddressInfo).port;
  }
  async function joined(port: number, peerOf: () => Peer | undefined = () => peer('a')) {
    const made = new TcpProxy({ address: '127.0.0.1', port }, peerOf);
    ends.push(() => made.close());
    return { made, at: await made.listen('127.0.0.1') };
  }

  it('an end is passed on, and what is said after it comes back', async () => {
    const port = await far((socket) => {
      let text = '';
      socket.on('data', (data) => {
        text += data;
      });
      socket.on('end', () => socket.end(text.toUpperCase()));
    });
    const { at } = await joined(port);
    const socket = await dial(at);
    socket.end('hello');
    expect(await hear(socket)).toBe('HELLO');
  });

  it('both sides end together; who is not there fails; strangers are not joined', async () => {
    let closed = 0;
    const port = await far((socket) => {
      socket.on('error', () => {});
      socket.on('close', () => closed++);
      socket.resume();
      socket.write('x');
    });
    const { made, at } = await joined(port);
    const socket = await dial(at);
    await hear(socket, 'x');
    socket.resetAndDestroy();
    for (let i = 0; i < 40 && closed === 0; i++) await sleep(25);
    expect(closed).toBe(1);
    expect(made.counters).toMatchObject({ connections: 1, failed: 0 });

    const nobody = await joined(1);
    expect(await hear(await dial(nobody.at))).toBe('');
    expect(nobody.made.counters.failed).toBe(1);
    const closedTo = await joined(port, () => undefined);
    expect(await hear(await dial(closedTo.at))).toBe('');
    expect(closedTo.made.counters).toMatchObject({ stranger: 1, connections: 0 });
  });
});
