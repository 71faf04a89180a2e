/** Health checks against a tenant made of test/support/packet.ts, on a clock of the test's; and the gateway's refusals. */
import { describe, expect, it } from 'vitest';
import { buildFrame, parseFrame } from '../../../src/services/frame.ts';
import { type HealthCheck, HealthChecker } from '../../../src/services/health-checker.ts';
import { RefuseService } from '../../../src/services/refuse-service.ts';
import type { Tenant } from '../../../src/services/service.ts';
import { parseSegment, TCP_FLAG } from '../../../src/services/tcp-segment.ts';
import { ether, ipv4, ipv6, packet, raw, tcp } from '../../support/packet.ts';

const MAC = '02:00:00:00:00:0a';
const GATEWAY = '10.1.0.254';
function tenant(vif: number, more: Partial<Tenant> = {}): Tenant {
  const none = { ipv6: undefined, gateway6: undefined, hostname: undefined };
  const own = { ipv4: `10.1.0.${vif}`, gateway4: GATEWAY, mtu: 1500, vrf: 'pods', mac: MAC };
  return { vif, name: `pod-${vif}`, ...none, ...own, ...more };
}
const times = { intervalMs: 1000, timeoutMs: 500, failures: 3, successes: 2 };
const PING: HealthCheck = { type: 'ping', ...times };
const TCP: HealthCheck = { type: 'tcp', port: 80, ...times };

function lab(checks: readonly HealthCheck[] = [TCP], one = tenant(3)) {
  const sent: Uint8Array[] = [];
  const changes: [string, boolean][] = [];
  let now = 0;
  let draw = 0;
  const random = (below: number) => {
    draw += 7919;
    return draw % below;
  };
  let room = true;
  const checker = new HealthChecker({
    send: (_, frame) => {
      if (room) sent.push(frame);
      return room;
    },
    now: () => now,
    random,
    onChange: (vif, healthy) => changes.push([vif, healthy]),
  });
  checker.watch([{ tenant: one, checks, version: 1 }]);
  /** In steps of a tick. */
  const pass = (ms: number, each: () => void = () => {}) => {
    for (const end = now + ms; now < end; ) {
      now += 100;
      checker.tick();
      each();
    }
  };
  /** What a tenant with that port open, or not, says to all it was sent. */
  const reply = (flags: string, from = one) => {
    for (const frame of sent.splice(0)) {
      const probe = parseFrame(frame);
      const { sourcePort, destinationPort, sequence, flags: theirs } = parseSegment(probe);
      if ((theirs & TCP_FLAG.rst) !== 0) continue;
      const answer = packet(
        ether({ src: MAC, dst: '00:00:5e:00:01:00' }),
        ipv4({ src: probe.destination, dst: probe.source }),
        tcp({
          sport: destinationPort,
          dport: sourcePort,
          seq: 5,
          ack: (sequence + 1) >>> 0,
          flags,
        }),
      );
      checker.take(parseFrame(answer), from);
    }
  };
  const full = () => {
    room = false;
  };
  return { checker, sent, changes, pass, reply, full };
}

describe('a TCP check', () => {
  it('sends a SYN from the gateway each interval, and takes back what is answered', () => {
    const { sent, pass, reply, checker } = lab();
    pass(1000);
    expect(sent).toHaveLength(1);
    const probe = parseFrame(sent[0]!);
    expect(probe).toMatchObject({
      source: GATEWAY,
      destination: '10.1.0.3',
      destinationMac: MAC,
      sourceMac: '00:00:5e:00:01:00',
    });
    const { flags, sequence, sourcePort } = parseSegment(probe);
    expect(flags).toBe(TCP_FLAG.syn);
    reply('SA');
    expect(sent.map((frame) => parseSegment(parseFrame(frame)))).toEqual([
      {
        sourcePort,
        destinationPort: 80,
        sequence: (sequence + 1) >>> 0,
        acknowledged: 0,
        flags: TCP_FLAG.rst,
      },
    ]);
    expect(checker.view()).toEqual([
      { vif: 'pod-3', type: 'tcp', port: 80, healthy: true, run: 1 },
    ]);
  });

  it('fails by RST and by silence, after so many in a row; comes back after so many', () => {
    const { changes, pass, reply, checker } = lab();
    pass(2000, () => reply('RA'));
    expect(changes).toEqual([]);
    pass(1000, () => reply('SA'));
    pass(2000, () => reply('RA'));
    expect(changes).toEqual([]); // never three in a row
    pass(2000);
    expect(changes).toEqual([['pod-3', false]]);
    for (let answers = 1; answers <= 2; answers++) {
      expect(changes).toHaveLength(1);
      const { answered } = checker.counters;
      while (checker.counters.answered === answered) pass(100, () => reply('SA'));
    }
    expect(changes).toEqual([
      ['pod-3', false],
      ['pod-3', true],
    ]);
    expect(checker.counters.late).toBeGreaterThan(0);
  });

  it('is not answered by another tenant, or by an answer to another question', () => {
    const { checker, changes, pass, reply } = lab();
    pass(4500, () => reply('SA', tenant(4)));
    expect(changes).toEqual([['pod-3', false]]);
    const wrong = packet(
      ether({ src: MAC, dst: '00:00:5e:00:01:00' }),
      ipv4({ src: '10.1.0.3', dst: GATEWAY }),
      tcp({ sport: 80, dport: 50_000, seq: 5, ack: 1, flags: 'SA' }),
    );
    expect(checker.take(parseFrame(wrong), tenant(3))).toBe(true);
    expect(checker.counters).toMatchObject({ answered: 0 });
    expect(checker.counters.stray).toBeGreaterThan(0);
  });

  it('that does not leave makes nobody ill', () => {
    const { changes, pass, full, checker } = lab();
    full();
    pass(20_000);
    expect(changes).toEqual([]);
    expect(checker.counters.unsent).toBeGreaterThan(10);
  });
});

describe('a ping', () => {
  it.each([
    ['IPv4', tenant(3), 8, 0],
    [
      'IPv6',
      tenant(3, { ipv4: undefined, gateway4: undefined, ipv6: 'fd00::3', gateway6: 'fd00::1' }),
      128,
      129,
    ],
  ])('is an echo of %s, and its reply is known by its number', (_, one, request, answer) => {
    const { sent, pass, checker, changes } = lab([PING], one);
    const reply = (change: number) => {
      for (const frame of sent.splice(0)) {
        const probe = parseFrame(frame);
        expect(probe.payload[0]).toBe(request);
        const payload = Uint8Array.from(probe.payload);
        payload[0] = answer;
        payload[7]! ^= change;
        const ways = {
          sourceMac: MAC,
          destinationMac: '00:00:5e:00:01:00',
          source: probe.destination,
          destination: probe.source,
        };
        checker.take(parseFrame(buildFrame(ways, probe.protocol, payload, 2)), one);
      }
    };
    pass(5000, () => reply(0));
    expect(checker.counters.answered).toBe(5);
    expect(changes).toEqual([]);
    pass(5000, () => reply(1));
    expect(changes).toEqual([['pod-3', false]]);
  });
});

describe('a tenant', () => {
  it('is well while all its checks are', () => {
    const { changes, pass, reply } = lab([TCP, { ...TCP, port: 81, failures: 1 }]);
    pass(5000, () => reply('SA'));
    expect(changes).toEqual([]);
    pass(2500);
    expect(changes).toEqual([['pod-3', false]]);
  });

  it('whose checks are taken away is well again; one that stays goes on', () => {
    const { checker, changes, pass } = lab();
    pass(5000);
    checker.watch([{ tenant: tenant(3), checks: [TCP], version: 1 }]);
    expect(changes).toEqual([['pod-3', false]]);
    checker.watch([]);
    expect(changes).toEqual([
      ['pod-3', false],
      ['pod-3', true],
    ]);
  });
});

describe('the gateway', () => {
  it('refuses a connection as RFC 9293 says, and nothing else', () => {
    const sent: Uint8Array[] = [];
    const service = new RefuseService((_, frame) => sent.push(frame) > 0);
    const from = (flags: string) =>
      parseFrame(
        packet(
          ether({ src: MAC, dst: '00:00:5e:00:01:00' }),
          ipv6({ src: 'fd00::3', dst: 'fd00::1' }),
          tcp({ sport: 4000, dport: 53, seq: 0xffffffff, ack: 0, flags }),
          raw(''),
        ),
      );
    expect(service.take(from('S'), tenant(3))).toBe(true);
    service.take(from('A'), tenant(3));
    service.take(from('R'), tenant(3));
    expect(sent.map((frame) => parseSegment(parseFrame(frame)))).toEqual([
      { sourcePort: 53, destinationPort: 4000, sequence: 0, acknowledged: 0, flags: 20 },
    ]);
  });
});

describe('an HTTP check', () => {
  const HTTP: HealthCheck = { type: 'http', port: 80, path: '/ready', ...times };
  function asking(http: (tenant: Tenant, check: HealthCheck) => Promise<boolean> | undefined) {
    const changes: [string, boolean][] = [];
    let now = 0;
    const checker = new HealthChecker({
      send: () => expect.unreachable('no frame'),
      now: () => now,
      random: (below) => below % 7919,
      onChange: (vif, healthy) => changes.push([vif, healthy]),
      http,
    });
    const watch = (version: number, one = tenant(3)) =>
      checker.watch([{ tenant: one, checks: [HTTP], version }]);
    watch(1);
    const pass = async (ms: number) => {
      for (const end = now + ms; now < end; ) {
        now += 100;
        checker.tick();
        await Promise.resolve().then(() => {});
        await new Promise(setImmediate);
      }
    };
    return { checker, changes, watch, pass };
  }

  it('is asked by the host, and makes ill and well as others do', async () => {
    let well = false;
    const asked: [string, string | undefined][] = [];
    const { checker, changes, pass } = asking(async ({ name }, { path }) => {
      asked.push([name, path]);
      if (!well) throw new Error('refused');
      return true;
    });
    await pass(4000);
    expect(changes).toEqual([['pod-3', false]]);
    well = true;
    await pass(3000);
    expect(changes).toEqual([
      ['pod-3', false],
      ['pod-3', true],
    ]);
    expect(asked[0]).toEqual(['pod-3', '/ready']);
    expect(checker.view()).toMatchObject([{ type: 'http', port: 80, healthy: true }]);
  });

  it('an answer that is late, or to another, is none; who cannot be asked is not ill', async () => {
    const answers: ((well: boolean) => void)[] = [];
    const { checker, changes, watch, pass } = asking(
      () => new Promise((resolve) => answers.push(resolve)),
    );
    await pass(4000);
    expect(changes).toEqual([['pod-3', false]]);
    for (const answer of answers.slice(0, 3)) answer(true);
    await pass(100);
    expect(checker.counters).toMatchObject({ answered: 0 });
    watch(2);
    expect(changes.at(-1)).toEqual(['pod-3', true]);
    const none = asking(() => undefined);
    await none.pass(5000);
    expect(none.changes).toEqual([]);
    expect(none.checker.counters.asked).toBe(0);
    expect(none.checker.counters.unsent).toBeGreaterThan(0);
  });
});
