/**
 * `vrouter demo anycast --netns` as a user runs it: the built program, as root, on this machine's kernel, once for each
 * peering. The report is read, what is left behind is looked for, and what should turn the verdict is tried.
 */
import { spawn } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { resolve } from 'node:path';
import { beforeAll, describe, expect, it, type TestContext } from 'vitest';
import type { DemoReport } from '../../src/program/demo-report.ts';
import { missingForNetns } from '../../src/program/netns-needs.ts';
import { connectionsOf, endedOf, tcpLoadOf, tcpRemovedOf } from '../../src/program/netns-tcp.ts';
import { PEERINGS } from '../../src/sim/anycast-plan.ts';

const MAIN = resolve(import.meta.dirname, '../../dist/cli/main.js');
/** A quiet machine with two cores takes a sixth of it. */
const RUN_MS = 300_000;

let missing: string[];
beforeAll(async () => {
  missing = await missingForNetns();
});
const needed = ({ skip }: TestContext) => {
  skip(missing.length > 0, `needs ${missing.join('; ')}`);
};

async function demo(...args: readonly string[]) {
  if (!existsSync(MAIN)) throw new Error('dist/cli/main.js is not built: node scripts/setup.mjs');
  const child = spawn(process.execPath, [MAIN, 'demo', 'anycast', '--netns', ...args]);
  let [out, err] = ['', ''];
  child.stdout.on('data', (chunk) => {
    out += chunk;
  });
  child.stderr.on('data', (chunk) => {
    err += chunk;
  });
  const status = await new Promise<number | null>((done) => child.on('close', done));
  const left = existsSync('/run/netns')
    ? readdirSync('/run/netns').filter((name) => name.startsWith(`vrd${child.pid}-`))
    : [];
  return { status, out, err, left };
}

describe.each(PEERINGS)('%s, on real kernels', (peering) => {
  it(
    'meets every expectation, and leaves nothing behind',
    async (ctx) => {
      needed(ctx);
      const { status, out, err, left } = await demo('--json', '--peering', peering);
      if (out === '') throw new Error(`no report: ${err}`);
      const report = JSON.parse(out) as DemoReport;
      expect(report.expectations.filter(({ ok }) => !ok)).toEqual([]);
      const ids = [
        'bgp',
        'ways-before',
        'before-patch',
        'ways-patched',
        'spread',
        'pinned',
        'answered',
        'closed',
        'killed-control-1a',
        'hub',
        'spokes',
        'withdrawn',
        'moved-on',
        'survivors',
        'removed',
        'addresses',
        'fabric',
        'xmpp-wire',
        'bgp-wire',
        'tshark',
        ...['node-1a', 'node-2a', 'node-3a', 'node-3b'].map((node) => `accounted-${node}`),
      ];
      expect(report.expectations.map(({ id }) => id)).toEqual(ids.map((id) => `${peering}-${id}`));
      expect(report).toMatchObject({ demo: 'anycast', setting: 'netns', ok: true });
      expect(status).toBe(0);
      expect(err).toBe('');
      expect(left).toEqual([]);
    },
    RUN_MS,
  );
});

describe('the verdict', () => {
  it(
    'turns when the target is not given',
    async (ctx) => {
      needed(ctx);
      const args = ['--json', '--peering', 'ibgp', '--connections', '100'];
      const { status, out, left } = await demo(...args, '--sabotage', 'no-patch');
      const { failed } = JSON.parse(out) as DemoReport;
      expect(status).toBe(1);
      for (const id of ['ways-patched', 'spread', 'answered', 'survivors']) {
        expect(failed).toContain(`ibgp-${id}`);
      }
      // What does not depend on it still holds.
      for (const id of ['bgp', 'hub', 'spokes', 'bgp-wire', 'tshark']) {
        expect(failed).not.toContain(`ibgp-${id}`);
      }
      expect(left).toEqual([]);
    },
    RUN_MS,
  );

  it('is refused for what cannot be done here', async (ctx) => {
    needed(ctx);
    const { status, err } = await demo('--sabotage', 'skew-weight');
    expect(status).toBe(1);
    expect(err).toMatch(/skew-weight: on simulated nodes only; with --netns: no-patch/);
  });
});

describe('what a client prints', () => {
  const row = (more: object) => ({
    ...{ backend: 'web', requests: 2, answers: 2, changed: false, state: 'closed' },
    ...{ heard: '203.0.113.2:80', callers: ['10.43.0.21'] },
    ...more,
  });
  const printed = (...rows: object[]) => `ended 20\nended 40\n${JSON.stringify(rows)}\n`;

  it('is read to the last line, and how far it was', () => {
    expect(endedOf('')).toBe(0);
    expect(endedOf('ended 20\nended 4')).toBe(20);
    expect(endedOf(printed())).toBe(40);
    expect(connectionsOf('ended 20\n')).toEqual([]);
    expect(connectionsOf(printed(row({})))).toHaveLength(1);
  });

  it('counts what was meant to be asked, and what each backend had', () => {
    const all = connectionsOf(
      printed(
        row({}),
        row({ backend: 'other', changed: true }),
        row({ backend: '', requests: 0, answers: 0, state: 'silent', heard: '', callers: [] }),
      ),
    );
    expect(tcpLoadOf(all, 2)).toMatchObject({
      ...{ connections: 3, changed: 1, requests: 6, answers: 4, closed: 2 },
      perBackend: new Map([
        ['other', 1],
        ['web', 1],
      ]),
    });
  });

  it('says which connections to what is gone have ended', () => {
    const gone = [
      row({ state: 'reset' }),
      row({ state: 'open', requests: 5 }),
      row({ state: 'open', requests: 3 }),
    ];
    expect(tcpRemovedOf(gone)).toEqual({
      ...{ connections: 3, reset: 1, silent: 1, alive: 1, changed: 0 },
    });
  });
});
