/** `vrouter demo clusterip`, simulated: the whole spine, its verdict, and that the verdict can turn. */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { run } from '../../src/cli/main.ts';
import { readPcap } from '../../src/codec/pcap.ts';
import { runClusterip } from '../../src/program/demo-clusterip.ts';
import { type DemoReport, reportJson } from '../../src/program/demo-report.ts';
import { SABOTAGE_NAMES } from '../../src/sim/sabotage.ts';
import { decodeMplsOverUdp } from '../../src/sim/wire.ts';

const FEW = 200;

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

function observed(report: DemoReport, id: string): string {
  return report.expectations.find((e) => e.id === id)?.observed ?? `no ${id}`;
}

describe('a thousand connections', () => {
  let report: DemoReport;
  let text = '';
  let cpuSeconds = 0;
  beforeAll(() => {
    const before = process.cpuUsage();
    report = runClusterip({
      seed: 1n,
      connections: 1000,
      narrate: (more) => {
        text += more;
      },
    });
    const { user, system } = process.cpuUsage(before);
    cpuSeconds = (user + system) / 1e6;
  });

  it('is as expected in everything', () => {
    expect(report.failed).toEqual([]);
    expect(report.ok).toBe(true);
    expect(report.expectations.map((e) => e.id)).toEqual([
      'xmpp',
      'vif',
      'composite',
      'gateway',
      'first-connection',
      'client-flow',
      'backend-flow',
      'tcp-state',
      'spread',
      'pinned',
      'answered',
      'closed',
      'multi-port-8888',
      'multi-port-9999',
      'unmapped',
      'hairpin',
      'control-killed',
      'headless',
      'scale-spread',
      'scale-survivors',
      'scale-removed',
      'client-sees-service',
      'backend-sees-client',
      'fabric',
      'entropy',
      'checksums',
      'mss',
      'accounted-cent222',
      'accounted-cent333',
    ]);
  });

  it('observes what it claims', () => {
    expect(observed(report, 'answered')).toBe('2000 answers to 2000 requests');
    expect(observed(report, 'tcp-state')).toBe('SSrEEr, SSrEEr, SSrEEr, SSrEEr');
    expect(observed(report, 'xmpp')).toMatch(
      /^cent222 - cent111: established, 4 routes published, 10 heard in \d+ messages; .*cent333 - cent112: est/,
    );
    expect(observed(report, 'control-killed')).toBe(
      '200 of 200, 100 of them before it; cent222: 0 commits, sessions waiting and established; ' +
        'cent333: 0 commits, sessions waiting and established',
    );
    expect(
      text.match(/60 s later: cent\d+ - cent11[12]: established, settled, 10 routes/g),
    ).toHaveLength(4);
    expect(observed(report, 'headless')).toBe(
      '200 of 200, 100 of them before it; cent222: 0 commits, sessions waiting and waiting; ' +
        'cent333: 0 commits, sessions waiting and waiting',
    );
    expect(observed(report, 'backend-flow')).toMatch(/N\(DPd\).*N\(SPs\)/);
    const [, asked, answered] =
      /(\d+) requests 10 ms apart, (\d+) answers/.exec(observed(report, 'scale-survivors')) ?? [];
    expect(Number(asked)).toBeGreaterThan(10_000);
    expect(answered).toBe(asked);
  });

  it('shows both nodes in the layout of the tools', () => {
    for (const piece of [
      'vif0/3      Virtual: tap-client NH: ',
      '10.105.139.153/32      32            P          -',
      'Type:Composite      Fmly: AF_INET',
      'Sub NH(label): ',
      'Sip:10.169.25.20 Dip:10.169.25.21',
      'MPLS Input Label Map',
      'Action:F, ',
      'Action:N(DPd), ',
      'Action:N(SPs), ',
      'TCP:SSrEEr, ',
    ]) {
      expect(text).toContain(piece);
    }
    const commands = report.tables.map(({ node, command }) => `${node} ${command.split(' ')[1]}`);
    for (const node of ['cent222', 'cent333']) {
      for (const tool of ['vif', 'rt', 'nh', 'mpls', 'flow', 'explain']) {
        expect(commands).toContain(`${node} ${tool}`);
      }
    }
    expect(text).toMatch(/ {2}cent222 -> cent333 .* udp mpls 17\n {34}\{ 10\.47\.255\.237:\d+ > /);
    expect(text).toMatch(/translate +10\.47\.255\.237:\d+ -> 10\.47\.255\.238:80\n/);
    expect(text.trimEnd()).toMatch(/VERDICT: ok\. .*29 of 29 expectations met\.$/);
    expect(text).not.toContain('\u001b');
  });

  it('costs less than 5 s of processor time', () => {
    expect(cpuSeconds).toBeLessThan(5);
  });
});

describe('a run', () => {
  it('is a function of its seed', () => {
    const json = (seed: bigint) => reportJson(runClusterip({ seed, connections: FEW }));
    const first = json(7n);
    expect(json(7n)).toBe(first);
    expect(json(8n)).not.toBe(first);
  });

  it('comes out well whatever the seed', () => {
    for (const seed of [0n, 2n, 3n, 0xffff_ffff_ffff_ffffn]) {
      expect(runClusterip({ seed, connections: FEW }).failed, `seed ${seed}`).toEqual([]);
    }
  });

  it('can be captured; every frame of the fabric is sound', () => {
    const directory = mkdtempSync(join(tmpdir(), 'vrouter-wires-'));
    try {
      const report = runClusterip({ seed: 1n, connections: FEW, pcap: directory });
      const files = readdirSync(directory).sort();
      expect(files).toEqual([
        'client.pcap',
        'fabric.pcap',
        'web-1.pcap',
        'web-2.pcap',
        'web-3.pcap',
      ]);
      const file = join(directory, 'fabric.pcap');
      const records = [...readPcap(file, readFileSync(file))];
      expect(observed(report, 'fabric')).toContain(`${records.length} frames`);
      let last = 0n;
      for (const { timeNs, frame } of records) {
        expect(typeof decodeMplsOverUdp(Buffer.from(frame))).toBe('object');
        expect(timeNs).toBeGreaterThanOrEqual(last);
        last = timeNs;
      }
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  });
});

describe('sabotage turns the verdict', () => {
  /** What each must be caught by, at least; `only`: and by nothing else. */
  const caught: Record<string, { readonly by: readonly string[]; readonly only?: boolean }> = {
    'drop-nat': { by: ['first-connection', 'backend-flow', 'answered'] },
    'swap-label': { by: ['composite', 'first-connection', 'answered'] },
    'wrong-mac': { by: ['first-connection', 'answered', 'checksums'] },
    'no-policy': { by: ['composite', 'first-connection', 'answered', 'fabric'] },
    'skew-weight': { by: ['spread'], only: true },
    'open-port': { by: ['unmapped', 'client-sees-service'], only: true },
    'renumber-members': { by: ['scale-survivors'], only: true },
  };

  it('every kind is tested', () => {
    expect(Object.keys(caught).sort()).toEqual([...SABOTAGE_NAMES].sort());
  });

  for (const [name, { by, only }] of Object.entries(caught)) {
    it(name, async () => {
      const argv = ['--sabotage', name, '--connections', `${FEW}`, '--json'];
      const { status, out } = await vrouter('demo', 'clusterip', ...argv);
      expect(status).toBe(1);
      const { failed, ok } = JSON.parse(out) as DemoReport;
      expect(ok).toBe(false);
      if (only === true) expect(failed).toEqual(by);
      else expect(failed).toEqual(expect.arrayContaining([...by]));
    });
  }
});

describe('command line', () => {
  let plain: Awaited<ReturnType<typeof vrouter>>;
  beforeAll(async () => {
    plain = await vrouter('demo', 'clusterip', '--connections', `${FEW}`, '--seed', '5');
  });
  afterAll(() => {
    expect(process.exitCode ?? 0).toBe(0);
  });

  it('prints the report as it goes, and exits 0', () => {
    expect(plain).toMatchObject({ status: 0, err: '' });
    expect(plain.out).toMatch(/^clusterip \(simulated\)\n=+\n/);
    expect(plain.out).toMatch(/VERDICT: ok\. clusterip/);
  });

  it('prints one document with --json, with the same expectations', async () => {
    const json = await vrouter(
      'demo',
      'clusterip',
      '--connections',
      `${FEW}`,
      '--seed',
      '5',
      '--json',
    );
    expect(json.status).toBe(0);
    const report = JSON.parse(json.out) as DemoReport;
    expect(report.options).toEqual({ seed: '5', connections: FEW, sabotage: null });
    for (const { observed: seen } of report.expectations) {
      expect(plain.out.replace(/\s+/g, ' ')).toContain(seen);
    }
  });

  const refused: [string, string[], RegExp][] = [
    [
      'an unknown sabotage, with the nearest',
      ['--sabotage', 'drop-net'],
      /unknown "drop-net" \(did you mean "drop-nat"\?\)/,
    ],
    ['a name of Object.prototype', ['--sabotage', 'constructor'], /unknown "constructor"/],
    [
      '`list`, with what there is',
      ['--sabotage', 'list'],
      /known:\n {2}drop-nat +the port map of [\s\S]*swap-label/,
    ],
    ['no connections', ['--connections', '0'], /--connections: 1 to 20000, not 0/],
    ['too many', ['--connections', '20001'], /0 to 20000/],
    ['a seed that is none', ['--seed', 'x'], /0 to 2\^64 - 1/],
    ['an unknown option', ['--sabotag', 'x'], /unknown option '--sabotag'[\s\S]*--sabotage/],
    ['an argument too many', ['twice'], /too many arguments/],
  ];
  for (const [what, argv, message] of refused) {
    it(`refuses ${what}`, async () => {
      const { status, out, err } = await vrouter('demo', 'clusterip', ...argv);
      expect(status).toBe(1);
      expect(out).toBe('');
      expect(err).toMatch(message);
    });
  }

  it('refuses a demonstration there is not, naming the nearest', async () => {
    const { status, err } = await vrouter('demo', 'clustrip');
    expect(status).toBe(1);
    expect(err).toMatch(/unknown command 'clustrip'[\s\S]*clusterip/);
  });

  it('explains itself', async () => {
    const { status, out } = await vrouter('demo', 'clusterip', '--help');
    expect(status).toBe(0);
    for (const option of ['--netns', '--seed', '--connections', '--pcap', '--sabotage', '--json']) {
      expect(out).toContain(option);
    }
  });
});
