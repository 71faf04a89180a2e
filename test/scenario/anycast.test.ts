/** `vrouter demo anycast`, simulated: both peerings, its verdict, and that the verdict can turn. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { beforeAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { run } from '../../src/cli/main.ts';
import { loadControl, loadNode } from '../../src/config/load.ts';
import { runAnycast } from '../../src/program/demo-anycast.ts';
import { type DemoReport, reportJson } from '../../src/program/demo-report.ts';
import { AnycastStage } from '../../src/sim/anycast.ts';
import { FLOOR_MS, PEERINGS } from '../../src/sim/anycast-plan.ts';
import { ANYCAST_SABOTAGE_NAMES } from '../../src/sim/anycast-sabotage.ts';

const NODES = ['node-1a', 'node-1b', 'node-2a', 'node-2b', 'node-3a', 'node-3b'];

async function vrouter(...argv: string[]) {
  let out = '';
  let err = '';
  const status = await run(argv, {
    out: (text) => {
      out += text;
    },
    err: (text) => {
      err += text;
    },
    env: {},
    fail: () => {},
  });
  return { status, out, err };
}

describe('two thousand connections, within one AS and between three', () => {
  let report: DemoReport;
  let text = '';
  beforeAll(() => {
    report = runAnycast({
      seed: 1n,
      connections: 2000,
      narrate: (more) => {
        text += more;
      },
    });
  });

  it('is as expected in everything', () => {
    expect(report.failed).toEqual([]);
    expect(report.ok).toBe(true);
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
      'killed-control-3a',
      'bgp-again',
      'withdrawn',
      'moved-on',
      'survivors',
      'removed',
      'spread-again',
      'hub',
      'spokes',
      'addresses',
      'fabric',
      'checksums',
      'mss',
      ...NODES.map((node) => `accounted-${node}`),
    ];
    expect(report.expectations.map(({ id }) => id)).toEqual(
      PEERINGS.flatMap((peering) => ids.map((id) => `${peering}-${id}`)),
    );
  });

  it('says what was observed, and shows the next hop of both clients’ nodes', () => {
    expect(text).toContain('VERDICT: ok. anycast (simulated): 56 of 56 expectations met.');
    expect(report.tables.map(({ node }) => node)).toEqual([
      ...['node-3a', 'node-3b'],
      ...['node-3a', 'node-3b'],
    ]);
    const [first] = report.expectations.filter(({ id }) => id === 'ibgp-ways-patched');
    expect(first?.observed.match(/MPLSoUDP to 172\.16\.[12]\.2[12] label \d+/g)).toHaveLength(8);
  });
});

it('is a function of its seed, and comes out well whatever that is', () => {
  const report = (seed: bigint) =>
    reportJson(runAnycast({ seed, connections: 2000, peering: 'ebgp' }));
  const once = report(7n);
  expect(report(7n)).toBe(once);
  expect(JSON.parse(once).failed).toEqual([]);
  expect(JSON.parse(report(8n)).failed).toEqual([]);
});

it.each(PEERINGS)('%s: the withdrawal costs little to work out, all nodes together', (peering) => {
  const stage = new AnycastStage(1n, peering);
  try {
    stage.patch();
    stage.cluster.settle();
    const [one] = stage.plan.clusters;
    const lost = one.pods.filter(({ backend }) => backend);
    const round = () => {
      const before = process.cpuUsage();
      for (const { name } of lost) stage.cluster.remove(name);
      stage.cluster.settle();
      const { user, system } = process.cpuUsage(before);
      for (const pod of lost) stage.place(pod);
      stage.cluster.settle();
      return (user + system) / 1000;
    };
    const rounds = Array.from({ length: 5 }, round);
    expect(Math.min(...rounds)).toBeLessThan(FLOOR_MS);
  } finally {
    stage.close();
  }
});

describe('sabotage turns the verdict', () => {
  const turned: Readonly<Record<string, readonly string[]>> = {
    'no-patch': ['ways-patched', 'spread', 'answered', 'closed'],
    'other-target': ['spread', 'answered', 'closed'],
    'skew-weight': ['spread'],
    unheard: ['withdrawn', 'moved-on'],
    'renumber-members': ['survivors'],
    'leaky-spoke': ['spokes'],
  };

  it('each of them', () => {
    expect(Object.keys(turned).sort()).toEqual([...ANYCAST_SABOTAGE_NAMES].sort());
  });

  it.each(Object.entries(turned))('%s', (sabotage, ids) => {
    const report = runAnycast({ seed: 1n, connections: 2000, peering: 'ibgp', sabotage });
    expect(report.ok).toBe(false);
    for (const id of ids) expect(report.failed).toContain(`ibgp-${id}`);
    for (const id of ['bgp', 'ways-before', 'before-patch', 'fabric', 'checksums']) {
      expect(report.failed).not.toContain(`ibgp-${id}`);
    }
  });
});

describe('on the command line', () => {
  it('prints one document with --json', async () => {
    const { status, out } = await vrouter(
      ...['demo', 'anycast', '--json', '--peering', 'ibgp', '--connections', '100'],
    );
    expect(status).toBe(0);
    const report = JSON.parse(out) as DemoReport;
    expect(report).toMatchObject({ demo: 'anycast', setting: 'simulated', ok: true });
    expect(report.options).toMatchObject({ peering: 'ibgp', connections: 100 });
  });

  it.each([
    [['--peering', 'both'], /ibgp, ebgp/],
    [['--connections', '5'], /100 to 20000, not 5/],
    [['--sabotage', 'leaky-spok'], /did you mean "leaky-spoke"/],
    [['--sabotage', 'list'], /skew-weight/],
  ])('refuses %j', async (argv, message) => {
    const { status, out, err } = await vrouter('demo', 'anycast', ...argv);
    expect(status).toBe(1);
    expect(`${out}${err}`).toMatch(message);
  });
});

describe('docs/federation.md', () => {
  const path = (name: string) => fileURLToPath(new URL(`../../${name}`, import.meta.url));
  const shown = readFileSync(path('docs/federation.md'), 'utf8');

  it.each(['west', 'east'])('shows the whole file of %s, and it is one', (name) => {
    const { value } = loadControl(path(`examples/federation/${name}.yaml`));
    const [, text] = new RegExp(`\`\`\`yaml\n(name: ${name} [\\s\\S]*?)\`\`\``).exec(shown) ?? [];
    expect(parse(text ?? '')).toEqual(value);
  });

  it('has a node of the first cluster, which knows its control node and both networks', () => {
    const west = loadControl(path('examples/federation/west.yaml')).value;
    const { value } = loadNode(path('examples/federation/west-node.yaml'));
    expect(west.xmpp?.listen).toBe(`${value.control?.xmpp[0]?.address}:5269`);
    expect(value.vrfs?.map(({ name }) => name).sort()).toEqual(
      west.instances.map(({ name }) => name).sort(),
    );
  });
});
