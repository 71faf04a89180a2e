/**
 * Every vector with one byte changed, at every place, to sixteen values, over TCP to our speaker, while another peer is
 * there that is told of whatever is left of it. Each time what follows is what the codec says of these bytes
 * (RFC 7606): the same notification, the same findings, the same routes in the RIB; and the other peer has one
 * session from the beginning to the end, in which nothing wrong is said.
 */
import assert from 'node:assert/strict';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { IpText } from '../../src/addr/ip.ts';
import type { Neighbour } from '../../src/bgp/neighbour.ts';
import type { Nlri } from '../../src/bgp/rib/contract.ts';
import type { NeighbourStatus } from '../../src/bgp/session/status.ts';
import { agree } from '../../src/bgp/wire/agree.ts';
import type { AsPath } from '../../src/bgp/wire/as-path.ts';
import type { WireOptions } from '../../src/bgp/wire/attributes.ts';
import type { Capability } from '../../src/bgp/wire/capabilities.ts';
import { nlriKey } from '../../src/bgp/wire/family.ts';
import {
  FAMILY_NAMES,
  type FamilyName,
  type FamilyText,
  isFamily,
} from '../../src/bgp/wire/family-names.ts';
import { CONSEQUENCES, type Consequence } from '../../src/bgp/wire/finding.ts';
import { HEADER_BYTES, updateMessages } from '../../src/bgp/wire/message.ts';
import type { Open } from '../../src/bgp/wire/open.ts';
import { type ReadUpdate, readUpdate } from '../../src/bgp/wire/update.ts';
import { Lab } from '../../src/program/lab.ts';
import { MESSAGES, messageBody } from '../support/bgp-messages.ts';
import { RawSession } from '../support/bgp-peers/raw-session.ts';
import { SpeakerProcess } from '../support/bgp-peers/speaker-process.ts';

const AS = 65000;
const HOSTILE = '127.0.0.2';
const HEALTHY = '127.0.0.3';
/** What our process may have grown by when all is over. */
const MAX_GROWTH = 48 << 20;
const SLOW = 60_000;
const PATIENCE_MS = 10_000;

/** The other peer says no memberships, which must not mean that it wants nothing. */
const ALL_BUT_RTC = FAMILY_NAMES.filter((family) => family !== 'rtc');

function openOf(as: number, id: string, families: readonly FamilyName[] = FAMILY_NAMES): Open {
  const capabilities: Capability[] = [
    ...families.map((family) => ({ kind: 'multiprotocol' as const, family })),
    { kind: 'as4', as },
    { kind: 'route-refresh' },
  ];
  return { as, holdTime: 0, id: id as IpText, capabilities };
}

const neighbour = (address: string, as: number): Neighbour => ({
  ...{ name: address, address: address as IpText, port: 179, as, passive: true, holdTime: 0 },
  ...{ families: FAMILY_NAMES.map((family) => ({ family })), client: false, allowAsIn: 0 },
});

const OURS: Open = openOf(AS, '127.0.0.1');
const OPTIONS: WireOptions = agree(OURS, openOf(AS, HOSTILE)).receive;
const VECTORS = MESSAGES.filter(({ kind }) => kind === 'update');

function framed(body: Uint8Array): Uint8Array {
  const length = HEADER_BYTES + body.length;
  return Uint8Array.from([
    ...new Array<number>(16).fill(0xff),
    length >> 8,
    length & 0xff,
    2,
    ...body,
  ]);
}

/** Eight bits turned, the ends, and values that mean something somewhere. */
function mutants(byte: number): ReadonlySet<number> {
  const turned = Array.from({ length: 8 }, (_, bit) => byte ^ (1 << bit));
  const others = [0, 1, 2, 0x7f, 0x80, 0xff, byte + 1, byte - 1].map((value) => value & 0xff);
  const all = new Set([...turned, ...others]);
  all.delete(byte);
  return all;
}

function* mutations(bytes: Uint8Array, from: number, to: number): Generator<Uint8Array> {
  for (let at = from; at < to; at++) {
    for (const value of mutants(bytes[at] as number)) {
      const mutant = bytes.slice();
      mutant[at] = value;
      yield mutant;
    }
  }
}

type Counts = Record<Consequence, number>;
const noCounts = () => Object.fromEntries(CONSEQUENCES.map((name) => [name, 0])) as Counts;

/** What the hostile peer's routes must be. */
class Model {
  readonly keys = new Set<string>();

  disable(family: FamilyText): void {
    for (const key of this.keys) if (key.startsWith(`${family} `)) this.keys.delete(key);
  }

  take({ update }: ReadUpdate): void {
    for (const { family, nlri } of update.withdrawn) {
      for (const one of nlri) this.keys.delete(keyOf(family, one));
    }
    for (const { family, nlri } of update.announced) {
      for (const one of nlri) this.keys.add(keyOf(family, one));
    }
  }
}

const keyOf = (family: FamilyName, nlri: Nlri) => `${family} ${nlriKey(family, nlri as never)}`;

let lab: Lab;
let ours: SpeakerProcess;
let port: number;
let healthy: RawSession;
let growth: () => Promise<number>;
/** Of all that was sent. */
const expected = noCounts();
let sent = 0;
let resets = 0;

beforeAll(async () => {
  lab = new Lab();
  ours = await SpeakerProcess.start(lab, 'ours', {
    speaker: { as: AS, id: '127.0.0.1' },
    listen: [{ address: '127.0.0.1', port: 0 }],
    neighbours: [neighbour(HOSTILE, AS), neighbour(HEALTHY, 65001)],
  });
  [port = 0] = await ours.call('ports');
  const before = await ours.call('memory');
  growth = async () => (await ours.call('memory')).heapUsed - before.heapUsed;
  const open = openOf(65001, HEALTHY, ALL_BUT_RTC);
  healthy = await RawSession.open({ port, from: HEALTHY, open });
  const { update } = readUpdate(messageBody('vpn4'), OPTIONS);
  const asPath: AsPath = [{ kind: 'sequence', asns: [65001] }];
  const its = { ...update, attributes: { ...update.attributes, asPath } };
  for (const message of updateMessages(its, OPTIONS)) healthy.send(message);
});

afterAll(async () => {
  healthy.close();
  await lab.close();
});

const call = () => RawSession.open({ port, from: HOSTILE, open: openOf(AS, HOSTILE) });

async function status(name: string): Promise<NeighbourStatus> {
  const { neighbours } = await ours.call('status');
  return neighbours.find((one) => one.name === name) as NeighbourStatus;
}

/** Once the speaker has worked off all that was sent. */
async function checkRoutes(model: Model): Promise<void> {
  for (const end = Date.now() + PATIENCE_MS; ; ) {
    const { updates, received } = await ours.call('everything', { neighbour: HOSTILE });
    if (updates < sent && Date.now() < end) continue;
    assert.equal(updates, sent);
    const have = received.map(({ family, nlri }) => keyOf(family, nlri));
    assert.deepEqual(have.toSorted(), [...model.keys].toSorted());
    return;
  }
}

test.each(VECTORS)(
  '$name: the body',
  async ({ body }) => {
    const whole = framed(body);
    const say = (message: Uint8Array) => {
      const read = readUpdate(message.subarray(HEADER_BYTES), OPTIONS);
      for (const { consequence } of read.findings) expected[consequence] += 1;
      session.send(message);
      sent += 1;
      return read;
    };
    const begin = async () => {
      session = await call();
      model.keys.clear();
      model.take(say(whole));
    };
    const model = new Model();
    let session: RawSession = await call();
    model.take(say(whole));
    for (let at = HEADER_BYTES; at < whole.length; at++) {
      let withdrawn = 0;
      for (const mutant of mutations(whole, at, at + 1)) {
        const read = say(mutant);
        const { consequence, notification } = read;
        if (consequence === 'session-reset') {
          resets += 1;
          const said = await session.ended();
          expect(said).toMatchObject({ code: notification?.code, subcode: notification?.subcode });
          await begin();
        } else if (consequence === 'afi-safi-disable') {
          // All of the family goes, and what comes after it in the same session would not be heard.
          const families = read.findings.flatMap(({ family }) => family ?? []);
          for (const family of families) model.disable(family);
          model.take(read);
          await checkRoutes(model);
          if (!families.some(isFamily)) continue;
          session.close();
          await begin();
        } else model.take(read);
        // With what came before it still there, and at the end.
        if (consequence === 'treat-as-withdraw' && withdrawn++ === 0) await checkRoutes(model);
      }
      await checkRoutes(model);
    }
    const { findings } = await status(HOSTILE);
    expect(findings).toEqual(expected);
    session.close();
  },
  SLOW,
);

test(
  'the header',
  async () => {
    const whole = framed(messageBody('vpn4'));
    for (const mutant of mutations(whole, 0, HEADER_BYTES)) {
      const session = await call();
      // Whatever length it says, there is an end to it.
      session.send(mutant);
      session.send(new Uint8Array(0x10000));
      const said = await session.ended();
      expect(said === undefined ? 0 : said.code).toBeLessThan(6);
    }
  },
  SLOW,
);

test('all the while the other peer was there, and has heard nothing that is wrong', async () => {
  expect(resets).toBeGreaterThan(1000);
  const { state, flaps, messagesIn } = await status(HEALTHY);
  expect({ state, flaps, closed: healthy.closed }).toEqual({
    ...{ state: 'established', flaps: 0, closed: false },
  });
  expect(messagesIn.notification).toBe(0);
  expect(healthy.updates.length).toBeGreaterThan(100);
  expect(healthy.wrong).toEqual([]);
  const { received } = await ours.call('everything', { neighbour: HEALTHY });
  expect(received.length).toBe(1);
  expect(await ours.call('faults')).toEqual([]);
  expect(await growth()).toBeLessThan(MAX_GROWTH);
});
