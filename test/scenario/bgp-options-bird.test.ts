/** TCP MD5 signatures and TTL security with a router that is not ours: BIRD, on loopback. */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import type { Neighbour } from '../../src/bgp/neighbour.ts';
import { BgpSpeaker } from '../../src/bgp/session/speaker.ts';
import { TcpTransport } from '../../src/bgp/session/tcp.ts';
import { loadAddon } from '../../src/dataplane/binding.ts';
import { ip, neighbour, RecordingRib } from '../support/bgp-speakers.ts';

const BIRD = ['/usr/sbin/bird', '/sbin/bird'].find(existsSync);
const why = BIRD === undefined ? 'there is no bird' : undefined;
const patience = { timeout: 12_000, interval: 50 };

const closing: (() => void)[] = [];
afterEach(() => {
  for (const close of closing.splice(0).reverse()) close();
});

async function freePort(address: string): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, address, resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}

async function startBird(ports: { readonly bird: number; readonly ours: number }): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'bird-'));
  const file = (name: string) => join(directory, name);
  writeFileSync(
    file('conf'),
    `router id 127.0.6.1;
vpn4 table vpntab4;
protocol device { scan time 10; }
protocol bgp ours {
  local 127.0.6.1 port ${ports.bird} as 65000; neighbor 127.0.6.2 port ${ports.ours} as 65000;
  strict bind on; multihop 1; ttl security on; password "sesame";
  connect delay time 1; connect retry time 1; error wait time 1, 2;
  vpn4 mpls { table vpntab4; import all; export all; };
}
`,
  );
  const bird: ChildProcess = spawn(
    BIRD as string,
    ['-f', '-c', file('conf'), '-s', file('ctl'), '-P', file('pid')],
    { stdio: 'ignore' },
  );
  closing.push(() => {
    bird.kill('SIGKILL');
    rmSync(directory, { recursive: true, force: true });
  });
  await expect.poll(() => existsSync(file('ctl')), patience).toBe(true);
}

describe.skipIf(why !== undefined)(`options of sockets with BIRD (${why ?? 'installed'})`, () => {
  test.each<[string, Partial<Neighbour>, boolean]>([
    ['we call, with its key and from near', { password: 'sesame', ttlSecurity: 1 }, true],
    ['it calls', { password: 'sesame', ttlSecurity: 1, passive: true }, true],
    ['another key', { password: 'open', ttlSecurity: 1 }, false],
    ['no key', { ttlSecurity: 1 }, false],
    // Its kernel drops what comes from so far away once it has accepted the connection.
    ['its key, and from far away', { password: 'sesame', ttl: 64 }, false],
  ])(
    '%s',
    async (_, more, comesUp) => {
      const ports = { bird: await freePort('127.0.6.1'), ours: await freePort('127.0.6.2') };
      const transport = await TcpTransport.open({
        listen: [{ address: ip('127.0.6.2'), port: ports.ours }],
        sockets: loadAddon().addon,
      });
      const speaker = new BgpSpeaker({
        ...{ speaker: { as: 65000, id: ip('127.0.6.2') }, transport },
        makeRib: (options) => new RecordingRib(options),
      });
      closing.push(() => speaker.close());
      await startBird(ports);
      const [port, localAddress] = [ports.bird, ip('127.0.6.2')];
      speaker.setNeighbour(neighbour('127.0.6.1', { port, localAddress, ...more }));
      const seen = () => speaker.neighbour('127.0.6.1');
      if (comesUp) {
        await expect.poll(() => seen()?.state, patience).toBe('established');
        // It says that it has said all, and goes on to say that it lives.
        await expect.poll(() => seen()?.messagesIn.update, patience).toBeGreaterThan(0);
      } else {
        await new Promise((resolve) => setTimeout(resolve, 4_000));
        expect(seen()?.messagesIn.update).toBe(0);
      }
    },
    30_000,
  );
});
