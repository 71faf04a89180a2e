/**
 * STARTTLS between real sockets, both sides with certificates that openssl made: who has none of the authority's
 * stays out, and so does who will not have TLS at all.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { ControlAgents } from '../../src/control/agents.ts';
import { RouteTables } from '../../src/control/tables.ts';
import type { VRouterError } from '../../src/errors.ts';
import type { TlsWish } from '../../src/xmpp/session.ts';
import { writeSubscription } from '../../src/xmpp/stanza.ts';
import { CONTROL_NAME } from '../../src/xmpp/stream.ts';
import { xmppClient } from '../../src/xmpp/transport/client.ts';
import type { SessionDriver } from '../../src/xmpp/transport/driver.ts';
import {
  connectStream,
  listenStreams,
  type StreamListening,
  type TlsMaterial,
} from '../../src/xmpp/transport/sockets.ts';
import { ScriptedAgent } from '../support/scripted-agent.ts';

/** Why not: certificates are made by openssl. */
const why = spawnSync('openssl', ['version']).status === 0 ? undefined : 'openssl is not installed';

let directory: string;
const materials = new Map<string, TlsMaterial>();

function openssl(...args: string[]): void {
  execFileSync('openssl', args, { cwd: directory, stdio: 'ignore' });
}

/** An authority, and somebody it vouches for. */
function make(authority: string, names: readonly string[]): void {
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'];
  openssl(
    'req',
    '-x509',
    ...key,
    '-keyout',
    `${authority}.key`,
    '-out',
    `${authority}.pem`,
    '-subj',
    `/CN=${authority}`,
  );
  for (const name of names) {
    openssl(
      'req',
      ...key.slice(0, 5),
      '-keyout',
      `${name}.key`,
      '-out',
      `${name}.csr`,
      '-subj',
      `/CN=${name}`,
    );
    openssl(
      'x509',
      '-req',
      '-in',
      `${name}.csr`,
      '-CA',
      `${authority}.pem`,
      '-CAkey',
      `${authority}.key`,
      '-CAcreateserial',
      '-days',
      '2',
      '-out',
      `${name}.pem`,
    );
    const read = (file: string) => readFileSync(join(directory, file), 'utf8');
    materials.set(name, {
      certificate: read(`${name}.pem`),
      key: read(`${name}.key`),
      authority: read(`${authority}.pem`),
    });
  }
}
const of = (name: string) => materials.get(name) as TlsMaterial;

beforeAll(() => {
  if (why !== undefined) return;
  directory = mkdtempSync(join(tmpdir(), 'vrouter-tls-'));
  make('authority', ['control', 'agent']);
  make('stranger', ['intruder']);
});
afterAll(() => why ?? rmSync(directory, { recursive: true, force: true }));

let agents: ControlAgents;
let listening: StreamListening;
let port: number;
let log: string[];
let drivers: SessionDriver[];

async function serve(tls: TlsWish): Promise<void> {
  const tables = new RouteTables({ schedule: setImmediate });
  tables.createInstance({ name: 'blue' });
  agents = new ControlAgents(tables, {
    session: { tls },
    onSession: (name, _address, state, error) =>
      log.push([name, state, error?.code].filter(Boolean).join(' ')),
    onStranger: (_address, error) => log.push(error.code),
  });
  listening = await listenStreams({
    host: '127.0.0.1',
    port: 0,
    accept: (stream) => agents.accept(stream),
    ...(tls !== 'off' && { tls: of('control') }),
  });
  port = listening.port;
}

interface Dialled {
  readonly driver: SessionDriver;
  readonly said: string[];
}

function dial(tls: TlsWish, material?: TlsMaterial, name = 'compute-1'): Dialled {
  const said: string[] = [];
  const driver: SessionDriver = xmppClient(
    {
      session: { name, peer: CONTROL_NAME, tls },
      connect: (attempt) =>
        connectStream({ host: '127.0.0.1', port, ...(material && { tls: material }) }, attempt),
    },
    {
      up: (_header, secure) => {
        said.push(secure ? 'up, secure' : 'up');
        const head = { from: 'compute-1', to: `${CONTROL_NAME}/bgp-peer` };
        const subscription = {
          type: 'subscribe',
          node: 'blue',
          instanceId: 1,
          noRibout: false,
        } as const;
        driver.send(writeSubscription(head, 's', subscription));
      },
      stanza: ({ content }) => said.push(content.type),
      down: ({ code }: VRouterError) => said.push(`down ${code}`),
      closed: ({ code }: VRouterError) => said.push(`closed ${code}`),
      drained() {},
    },
  );
  drivers.push(driver);
  driver.start();
  return { driver, said };
}

async function until(done: () => boolean, what: () => unknown): Promise<void> {
  const end = Date.now() + 5000;
  while (!done()) {
    if (Date.now() > end) throw new Error(`waited in vain: ${JSON.stringify(what())}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

beforeEach(() => {
  log = [];
  drivers = [];
});
afterEach(async () => {
  for (const driver of drivers) driver.stop();
  agents.close();
  await listening.close();
});

describe.skipIf(why !== undefined)('a control node with certificates', () => {
  beforeEach(() => serve('required'));

  test('an agent with one of the same authority is up, in TLS, and is served', async () => {
    const { said } = dial('required', of('agent'));
    await until(
      () => said.includes('end-of-rib'),
      () => [said, log],
    );
    expect(said[0]).toBe('up, secure');
    expect(agents.sessions()[0]).toMatchObject({ name: 'compute-1', secure: true });
    expect(log).toEqual(['compute-1 up']);
  });

  test("another authority's is not let in, and nobody else is disturbed", async () => {
    const good = dial('required', of('agent'));
    await until(
      () => good.said.includes('end-of-rib'),
      () => [good.said, log],
    );
    const bad = dial('required', of('intruder'));
    await until(
      () => log.includes('XMPP_TLS_FAILED') || log.includes('XMPP_LOST'),
      () => [bad.said, log],
    );
    // One that trusts us, and has nothing to show that we would trust.
    const half = dial('required', { ...of('intruder'), authority: of('agent').authority });
    await until(
      () => log.filter((l) => l === 'XMPP_TLS_FAILED').length > 0,
      () => [half.said, log],
    );
    expect(bad.said).not.toContain('up, secure');
    expect(good.said.filter((s) => s.startsWith('down'))).toEqual([]);
    expect(agents.sessions()).toHaveLength(1);
  });

  test('one that will not have it stays down', async () => {
    const { said } = dial('off');
    await until(
      () => log.length > 0,
      () => [said, log],
    );
    expect(agents.sessions()).toEqual([]);
  });

  test('text that is slipped in between proceed and the handshake counts for nothing', async () => {
    const agent = await ScriptedAgent.connect('compute-1', port, { open: false });
    agent.open();
    await agent.until(() => agent.rest.includes('</stream:features>'), 'features');
    expect(agent.rest).toBe(
      '<stream:features><starttls xmlns="urn:ietf:params:xml:ns:xmpp-tls"><required /></starttls></stream:features>',
    );
    agent.send("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/><iq type='set'></iq>");
    await agent.gone();
    expect(log).toEqual(['XMPP_BAD_STANZA']);
  });

  test('and what is no TLS after proceed ends it', async () => {
    const socket = connect(port, '127.0.0.1');
    let heard = '';
    let over = false;
    socket.on('data', (bytes) => {
      heard += String(bytes);
      if (heard.includes('<proceed') && !over)
        socket.write('this is not a ClientHello at all, sorry');
    });
    socket.on('close', () => {
      over = true;
    });
    socket.on('error', () => {});
    socket.write("<?xml version='1.0'?><stream:stream from='x' to='y' xmlns:stream='z'>");
    await until(
      () => heard.includes('features'),
      () => heard,
    );
    socket.write("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>");
    await until(
      () => over && log.length > 0,
      () => [heard, log],
    );
    expect(log).toEqual(['XMPP_TLS_FAILED']);
  });
});

describe.skipIf(why !== undefined)('a control node without', () => {
  beforeEach(() => serve('off'));

  test('an agent that would like it goes without; one that must have it stays down', async () => {
    const { said } = dial('offered', of('agent'));
    await until(
      () => said.includes('end-of-rib'),
      () => [said, log],
    );
    expect(said[0]).toBe('up');
    const strict = dial('required', of('agent'), 'compute-2');
    await until(
      () => strict.said.length > 0,
      () => strict.said,
    );
    expect(strict.said).toEqual(['closed XMPP_TLS_NOT_OFFERED']);
  });
});
