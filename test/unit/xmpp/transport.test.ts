/** Sessions over streams and a clock of this process: opening, holding, limits, back-off; no socket, no waiting. */
import { beforeEach, describe, expect, test } from 'vitest';
import { ControlAgents } from '../../../src/control/agents.ts';
import { RouteTables } from '../../../src/control/tables.ts';
import { VRouterError } from '../../../src/errors.ts';
import { type MemoryStream, streamPair } from '../../../src/sim/streams.ts';
import { MAX_WAITING_BYTES, STALLED_MS, STANZA_MS } from '../../../src/xmpp/limits.ts';
import { toItem } from '../../../src/xmpp/routes.ts';
import { OPEN_MS, type SessionOptions } from '../../../src/xmpp/session.ts';
import {
  type Stanza,
  writeMessage,
  writePublish,
  writeSubscription,
} from '../../../src/xmpp/stanza.ts';
import { CONTROL_NAME, writeClientHeader } from '../../../src/xmpp/stream.ts';
import { xmppClient } from '../../../src/xmpp/transport/client.ts';
import type { SessionDriver, SessionOwner } from '../../../src/xmpp/transport/driver.ts';
import { XmppServer } from '../../../src/xmpp/transport/server.ts';
import { hop, route } from '../../support/routes.ts';
import { PatientClock } from '../../support/virtual-time.ts';

let clock: PatientClock;
beforeEach(() => {
  clock = new PatientClock();
});

/** Notes what happens, and throws what it is told to. */
class Notes implements SessionOwner {
  readonly log: string[] = [];
  readonly stanzas: Stanza[] = [];
  offence: Error | undefined;
  up(header: { from: string }, secure: boolean): void {
    this.log.push(`up ${header.from}${secure ? ' secure' : ''}`);
  }
  stanza(stanza: Stanza): void {
    this.stanzas.push(stanza);
    if (this.offence !== undefined) throw this.offence;
  }
  down(error: VRouterError): void {
    this.log.push(`down ${error.code}`);
  }
  drained(): void {
    this.log.push('drained');
  }
  closed(error: VRouterError): void {
    this.log.push(`closed ${error.code}`);
  }
  giveWay(): void {
    this.log.push('give way');
  }
}

function serve(session: Partial<SessionOptions> = {}, maxSessions = 8) {
  const owners: Notes[] = [];
  const drivers: SessionDriver[] = [];
  const server = new XmppServer({
    session: { name: CONTROL_NAME, tls: 'off', ...session },
    clock,
    maxSessions,
    onStream(driver) {
      drivers.push(driver);
      const owner = new Notes();
      owners.push(owner);
      return owner;
    },
  });
  return { server, owners, drivers };
}

/** A peer that is a stream and what it wrote. */
function dial(server: XmppServer): {
  near: MemoryStream;
  heard: () => string;
  ended: () => boolean;
} {
  const [near, far] = streamPair(clock);
  let text = '';
  let over = false;
  near.listen({
    data: (bytes) => {
      text += Buffer.from(bytes).toString();
    },
    drained() {},
    closed: () => {
      over = true;
    },
  });
  server.accept(far);
  return { near, heard: () => text, ended: () => over };
}

const HEADER = writeClientHeader({ from: 'compute-1', to: CONTROL_NAME });
const SUBSCRIBE = `<iq type="set" from="a" to="x/bgp-peer"><pubsub><subscribe node="n"/></pubsub></iq>`;

describe('the server', () => {
  test('a stream that says nothing, or drips its header, is closed in time', async () => {
    const { server, owners } = serve();
    const silent = dial(server);
    const drips = dial(server);
    for (let i = 0; i < 14; i++) {
      drips.near.write([HEADER.slice(i, i + 1)]);
      await clock.pass(1000);
    }
    expect(server.sessions).toBe(2);
    await clock.pass(OPEN_MS - 14_000);
    expect([silent.ended(), drips.ended(), server.sessions]).toEqual([true, true, 0]);
    expect(owners.map(({ log }) => log)).toEqual([
      ['closed XMPP_OPEN_TIME'],
      ['closed XMPP_OPEN_TIME'],
    ]);
  });

  test('a stanza that drips keeps the hold time, and is closed all the same', async () => {
    const { server, owners } = serve();
    const { near, ended } = dial(server);
    near.write([HEADER]);
    await clock.settle();
    for (let i = 0; i < STANZA_MS / 1000; i++) {
      expect(ended()).toBe(false);
      near.write([SUBSCRIBE.slice(i, i + 1)]);
      await clock.pass(1000);
    }
    expect(owners[0]?.log).toEqual([
      'up compute-1',
      'down XMPP_STANZA_TIME',
      'closed XMPP_STANZA_TIME',
    ]);
  });

  test('stanzas that are finished, one after another and never aligned, are no drip', async () => {
    const { server, owners } = serve();
    const { near } = dial(server);
    near.write([HEADER, SUBSCRIBE.slice(0, 10)]);
    for (let i = 0; i < 6; i++) {
      await clock.pass(STANZA_MS / 2);
      near.write([SUBSCRIBE.slice(10), SUBSCRIBE.slice(0, 10)]);
    }
    await clock.settle();
    expect(owners[0]?.log).toEqual(['up compute-1']);
    expect(owners[0]?.stanzas).toHaveLength(6);
  });

  test('silence: keepalives go out, and the hold time ends it', async () => {
    const { server, owners } = serve({ holdMs: 9000 });
    const { near, heard } = dial(server);
    near.write([HEADER]);
    await clock.pass(8999);
    expect(heard().match(/\u0200/g)).toHaveLength(2);
    expect(owners[0]?.log).toEqual(['up compute-1']);
    near.write(['\u0200']);
    await clock.pass(8999);
    expect(owners[0]?.log).toEqual(['up compute-1']);
    await clock.pass(2);
    expect(owners[0]?.log).toEqual([
      'up compute-1',
      'down XMPP_HOLD_TIME',
      'closed XMPP_HOLD_TIME',
    ]);
  });

  test('a peer that does not read is blocked, then closed; one that reads in time is told', async () => {
    const { server, owners, drivers } = serve({ holdMs: 90_000 });
    const body = Buffer.alloc(2 << 20, 'x');
    const peers = [dial(server), dial(server)];
    for (const { near } of peers) near.write([HEADER]);
    await clock.settle();
    for (const { near } of peers) near.reading = false;
    for (const driver of drivers) {
      expect(driver.blocked()).toBe(false);
      driver.send(body);
      expect(driver.blocked()).toBe(true);
    }
    // Both go on saying that they are there.
    const alive = async (ms: number) => {
      for (let t = 0; t < ms; t += 10_000) {
        for (const { near } of peers) near.write(['\u0200']);
        await clock.pass(10_000);
      }
    };
    await alive(STALLED_MS - 20_000);
    const [reader] = peers;
    if (reader !== undefined) {
      reader.near.reading = true;
      reader.near.wake();
    }
    await clock.settle();
    expect(owners[0]?.log).toContain('drained');
    expect(drivers[0]?.blocked()).toBe(false);
    await alive(40_000);
    expect(owners[0]?.log.filter((l) => l !== 'drained')).toEqual(['up compute-1']);
    expect(owners[1]?.log).toEqual(['up compute-1', 'down XMPP_TOO_SLOW', 'closed XMPP_TOO_SLOW']);
  });

  test('what waits for a peer has a limit', async () => {
    const { server, owners, drivers } = serve();
    const { near } = dial(server);
    near.write([HEADER]);
    await clock.settle();
    near.reading = false;
    const body = Buffer.alloc(1 << 20, 'x');
    for (let i = 0; i <= MAX_WAITING_BYTES >> 20; i++) drivers[0]?.send(body);
    expect(owners[0]?.log).toEqual(['up compute-1', 'down XMPP_TOO_SLOW', 'closed XMPP_TOO_SLOW']);
    drivers[0]?.send(body); // into nothing
  });

  test("what its owner throws ends the one session, with the owner's code", async () => {
    const { server, owners } = serve();
    const [first, second] = [dial(server), dial(server)];
    for (const { near } of [first, second]) near.write([HEADER]);
    await clock.settle();
    (owners[0] as Notes).offence = new VRouterError('XMPP_NOT_SUBSCRIBED', 'n');
    for (const { near } of [first, second]) near.write([SUBSCRIBE, SUBSCRIBE]);
    await clock.settle();
    expect(owners[0]?.log).toEqual([
      'up compute-1',
      'down XMPP_NOT_SUBSCRIBED',
      'closed XMPP_NOT_SUBSCRIBED',
    ]);
    expect(owners[0]?.stanzas, 'and the next one is not given').toHaveLength(1);
    expect(first.heard()).toContain('</stream:stream>');
    expect(owners[1]?.stanzas).toHaveLength(2);
  });

  test('another sub-cluster is refused, and so is one more than there may be', async () => {
    const { server, owners } = serve({ subCluster: 'east' }, 1);
    const other = dial(server);
    other.near.write([HEADER]);
    await clock.settle();
    expect(owners[0]?.log).toEqual(['closed XMPP_OTHER_CLUSTER']);
    dial(server);
    const surplus = dial(server);
    await clock.settle();
    expect([surplus.ended(), server.refused, server.sessions]).toEqual([true, 1, 1]);
  });

  test('stopped, it ends every stream', async () => {
    const { server, owners } = serve();
    const { near, heard } = dial(server);
    near.write([HEADER]);
    await clock.settle();
    server.close();
    await clock.settle();
    expect(owners[0]?.log).toEqual(['up compute-1', 'down CLOSED', 'closed CLOSED']);
    expect(heard()).toContain('</stream:stream>');
  });
});

describe('a client', () => {
  function client(server: XmppServer, owner: Notes, name = 'compute-1', up = () => true) {
    let last: MemoryStream | undefined;
    const driver = xmppClient(
      {
        session: { name, peer: CONTROL_NAME, tls: 'off' },
        clock,
        random: () => 0,
        connect: (attempt) => {
          if (!up()) {
            attempt.failed('refused');
            return;
          }
          const [near, far] = streamPair(clock);
          server.accept(far);
          last = near;
          attempt.connected(near);
        },
      },
      owner,
    );
    return { driver, last: () => last as MemoryStream };
  }

  test('connects, is cut off, comes back by itself, and stops when it is told', async () => {
    const { server, owners } = serve();
    const owner = new Notes();
    const { driver, last } = client(server, owner);
    driver.start();
    await clock.settle();
    expect(owner.log).toEqual([`up ${CONTROL_NAME}`]);
    await clock.pass(40_000);
    last().cut();
    await clock.settle();
    expect(owner.log.slice(1)).toEqual(['down XMPP_LOST', 'closed XMPP_LOST']);
    await clock.pass(999);
    expect(owner.log).toHaveLength(3);
    await clock.pass(1);
    expect(owner.log[3]).toBe(`up ${CONTROL_NAME}`);
    driver.stop();
    await clock.settle();
    expect(owners.map(({ log }) => log[1])).toEqual(['down XMPP_LOST', 'down XMPP_LOST']);
    await clock.pass(100_000);
    expect(owners).toHaveLength(2);
  });

  test('backs off, and says when another should be tried', async () => {
    const { server } = serve();
    const owner = new Notes();
    let tries = 0;
    const { driver } = client(server, owner, 'a', () => ++tries > 5);
    driver.start();
    await clock.pass(7000);
    expect([tries, owner.log]).toEqual([4, ['give way']]);
    await clock.pass(24_000);
    expect(tries).toBe(6);
    expect(owner.log.at(-1)).toBe(`up ${CONTROL_NAME}`);
  });

  test('two agents of the simulator converge over memory and a virtual clock', async () => {
    const tables = new RouteTables({ schedule: (run) => clock.after(0, run) });
    tables.createInstance({ name: 'blue' });
    const agents = new ControlAgents(tables, { clock });
    const owners = [new Notes(), new Notes()];
    const clients = owners.map((owner, i) => client(agents.server, owner, `compute-${i}`));
    for (const { driver } of clients) driver.start();
    await clock.settle();
    const head = (i: number) => ({ from: `compute-${i}`, to: `${CONTROL_NAME}/bgp-peer` });
    for (const [i, { driver }] of clients.entries()) {
      driver.send(
        writeSubscription(head(i), 's', {
          type: 'subscribe',
          node: 'blue',
          instanceId: i,
          noRibout: false,
        }),
      );
      const item = toItem(route('blue', '10.0.0.1/32', [hop(`192.0.2.${i + 1}`, 17)]), 'publish');
      driver.send(writePublish(head(i), { publish: 'p', collection: 'c' }, 'blue', item, true));
    }
    await clock.settle();
    for (const owner of owners) {
      const last = owner.stanzas
        .map(({ content }) => content)
        .filter(({ type }) => type === 'items')
        .at(-1);
      expect(last).toMatchObject({
        type: 'items',
        instance: 'blue',
        items: [
          {
            id: '10.0.0.1/32',
            item: { entry: { hops: [{ address: '192.0.2.1' }, { address: '192.0.2.2' }] } },
          },
        ],
      });
      expect(owner.stanzas.some(({ content }) => content.type === 'end-of-rib')).toBe(true);
    }
    expect(agents.sessions().map(({ name, state, routes }) => [name, state, routes])).toEqual([
      ['compute-0', 'established', 1],
      ['compute-1', 'established', 1],
    ]);
    agents.close();
    await clock.settle();
    expect(tables.entries('blue')).toEqual([]);
    expect(writeMessage({ from: 'a', to: 'b' }, '')).toBe('<message from="a" to="b">');
  });
});
