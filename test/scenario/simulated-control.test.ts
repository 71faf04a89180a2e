/**
 * Control nodes that are lost and come back while connections run, in the simulator: two nodes of `clusterip`, real agents
 * and data planes, two control nodes over XMPP, all on the virtual clock. Every connection asks every second; `heard` is
 * what agents were told of routes.
 */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { Capture } from '../../src/sim/capture.ts';
import type { SimulatedNode } from '../../src/sim/cluster.ts';
import { Stage } from '../../src/sim/clusterip.ts';
import { BACKENDS, CONTROLS, WEB, WEB_PORT } from '../../src/sim/clusterip-plan.ts';
import type { Connection } from '../../src/sim/tenant.ts';
import { LAG_MS, SETTLE_MS } from '../../src/xmpp/control-nodes.ts';
import { HOLD_MS } from '../../src/xmpp/session.ts';

const [FIRST, SECOND] = CONTROLS.map(({ name }) => name) as [string, string];
const [web1, web2] = BACKENDS;
const SECOND_MS = 1000;
/** Longer than every timer there is. */
const LONG_MS = 150_000;

class Run {
  readonly stage: Stage;
  readonly connections: Connection[] = [];
  readonly #heard: string[] = [];
  #generations: number[] = [];

  constructor(seed = 1n, prepare: (stage: Stage) => void = () => {}) {
    this.stage = new Stage({ seed, connectNetworks: true });
    prepare(this.stage);
    this.stage.addClient();
    this.stage.addBackend(web1);
    this.stage.addBackend(web2);
    this.cluster.settle();
    this.open(100);
    this.pass(SETTLE_MS + LAG_MS);
    this.cluster.tapRoutes(({ node, updates }) => {
      for (const update of updates) {
        const what =
          update.type === 'announce'
            ? `+${update.route.prefix}`
            : update.type === 'withdraw'
              ? `-${update.key.prefix}`
              : update.type;
        this.#heard.push(`${node} ${what}`);
      }
    });
    this.#generations = this.#nodes.map(({ dataplane }) => dataplane.info().generation);
  }

  get cluster() {
    return this.stage.cluster;
  }

  get #nodes(): SimulatedNode[] {
    return [...this.cluster.nodes.values()];
  }

  heard(): string[] {
    return this.#heard.splice(0);
  }

  /** Commits to both data planes since the beginning. */
  commits(): number[] {
    return this.#nodes.map(
      ({ dataplane }, i) => dataplane.info().generation - (this.#generations[i] ?? 0),
    );
  }

  standings(): string[] {
    return this.#nodes.flatMap(({ source }) =>
      source.view().map(({ state, standing, stale }) => `${state} ${standing} ${stale}`),
    );
  }

  open(count: number): void {
    for (let i = 0; i < count; i++) {
      this.connections.push(this.stage.connect(this.stage.client, WEB, WEB_PORT));
    }
    this.cluster.settle();
  }

  ask(): void {
    for (const connection of this.connections) this.stage.client.request(connection);
  }

  pass(ms: number): void {
    for (let passed = 0; passed < ms; passed += SECOND_MS) {
      this.ask();
      this.cluster.advance(SECOND_MS);
    }
  }

  /** With packets on their way before it, and in each round that it takes. */
  under(change: () => void): void {
    this.ask();
    change();
    this.cluster.settle(() => this.ask());
  }

  /** Of all packets, both ways, that were sent so far: none is missing, and all went where the first one did. */
  check(): void {
    const unserved = this.connections.filter(
      ({ state, requests, answers }) => state !== 'open' || answers.length !== requests,
    );
    expect(unserved).toEqual([]);
    const backends = this.connections.map(
      ({ answers }) => new Set(answers.map(({ backend }) => backend)).size,
    );
    expect(new Set(backends)).toEqual(new Set([1]));
    for (const { dataplane } of this.#nodes) {
      expect(dataplane.readCounters().totals.dropped).toBe(0n);
    }
  }
}

let runs: Run[] = [];
function run(seed?: bigint, prepare?: (stage: Stage) => void): Run {
  const made = new Run(seed, prepare);
  runs.push(made);
  return made;
}
afterEach(() => {
  for (const { cluster } of runs) cluster.close();
  runs = [];
});

const ALL_SETTLED = Array(4).fill('established settled 0');

describe('one of two control nodes', () => {
  test.each([FIRST, SECOND])(
    '%s is killed and comes back: no packet is lost, no route changes',
    (name) => {
      const made = run();
      expect(made.standings()).toEqual(ALL_SETTLED);
      const control = made.cluster.control(name);
      made.under(() => control.kill());
      made.pass(LONG_MS);
      const index = name === FIRST ? 0 : 1;
      expect(made.standings()[index]).toBe('waiting lost 0'); // swept: the other one has it all
      expect(made.standings()[1 - index]).toBe('established settled 0');
      made.open(50);
      made.under(() => control.start());
      made.pass(LONG_MS);
      expect(made.standings()).toEqual(ALL_SETTLED);
      expect(made.heard()).toEqual([]);
      expect(made.commits()).toEqual([0, 0]);
      made.check();
    },
  );

  test('it is not reached any more: found out by the hold time, and that is all that happens', () => {
    const made = run();
    const control = made.cluster.control(FIRST);
    made.under(() => control.unplug());
    made.pass(HOLD_MS - 31_000);
    expect(made.standings()).toEqual(ALL_SETTLED);
    expect(control.sessions()).toHaveLength(2);
    made.pass(32_000);
    const [view] = made.stage.clientNode.source.view();
    expect(view?.standing).toBe('lost');
    expect(view?.lastError).toContain('nothing for 90 s');
    expect(control.sessions()).toEqual([]); // its side has the same hold time
    made.pass(LONG_MS);
    made.under(() => control.plug());
    made.pass(LONG_MS);
    expect(made.standings()).toEqual(ALL_SETTLED);
    expect(made.heard()).toEqual([]);
    expect(made.commits()).toEqual([0, 0]);
    made.check();
  });

  test('a change reaches agents by the one that is left', () => {
    const made = run();
    made.under(() => made.cluster.control(FIRST).kill());
    made.under(() => made.stage.addBackend(BACKENDS[2]));
    expect(made.heard()).toContain('cent222 +10.47.255.235/32');
    made.pass(LONG_MS);
    made.check();
  });
});

describe('both control nodes', () => {
  const both = (made: Run) => [...made.cluster.controls.values()];

  test('are killed and come back: forwarding and new flows go on, what is old is swept without a flap', () => {
    const made = run();
    made.under(() => {
      for (const control of both(made)) control.kill();
    });
    made.pass(LONG_MS);
    for (const text of made.standings()) expect(text).toMatch(/^waiting lost 10$/);
    made.open(100); // headless
    made.pass(10_000);
    made.under(() => both(made)[0]?.start());
    made.pass(20_000);
    made.under(() => both(made)[1]?.start());
    made.pass(LONG_MS);
    expect(made.standings()).toEqual(ALL_SETTLED);
    expect(made.heard()).toEqual([]);
    expect(made.commits()).toEqual([0, 0]);
    made.check();
    const went = new Set(made.connections.slice(100).map(({ answers }) => answers[0]?.backend));
    expect([...went].sort()).toEqual([web1.name, web2.name]);
  });

  test('what went meanwhile goes once they are back, once, and nothing else does', () => {
    const made = run();
    for (const control of both(made)) control.kill();
    made.cluster.settle();
    made.stage.removeBackend(web2);
    made.cluster.advance(LONG_MS);
    const far = () => made.heard().filter((text) => text.startsWith('cent222'));
    expect(far()).toEqual([]);
    for (const control of both(made)) control.start();
    made.cluster.advance(LONG_MS);
    // In the pod network and in the service network.
    const once = ['+10.101.102.27/32', '+10.105.139.153/32', '-10.47.255.238/32'];
    expect(far().sort()).toEqual([...once, ...once].map((text) => `cent222 ${text}`).sort());
    expect(made.standings()).toEqual(ALL_SETTLED);
  });
});

describe('the same seed', () => {
  /** Everything on every wire, and all that was said over XMPP. */
  function record(seed: bigint): { readonly wires: Record<string, Buffer>; readonly said: string } {
    const capture = new Capture();
    const said: string[] = [];
    const made = run(seed, ({ cluster }) => {
      cluster.tap((seen) => capture.see(seen));
      cluster.tapMessages(({ control, address, way, bytes }) => {
        said.push(`${cluster.nowNs} ${control} ${way} ${address} ${Buffer.from(bytes)}`);
      });
    });
    made.under(() => made.cluster.control(FIRST).kill());
    made.under(() => made.stage.addBackend(BACKENDS[2]));
    made.pass(30_000);
    made.under(() => made.cluster.control(FIRST).start());
    made.pass(60_000);
    const directory = mkdtempSync(join(tmpdir(), 'vrouter-wires-'));
    try {
      capture.write(directory);
      const wires = readdirSync(directory).map((file) => [
        file,
        readFileSync(join(directory, file)),
      ]);
      return { wires: Object.fromEntries(wires), said: said.join('\n') };
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  }

  test('gives the same bytes, on all wires and in all sessions', () => {
    const first = record(5n);
    const again = record(5n);
    expect(Object.keys(first.wires)).toContain('fabric.pcap');
    for (const [file, bytes] of Object.entries(first.wires)) {
      expect(again.wires[file]?.equals(bytes), file).toBe(true);
    }
    expect(again.said).toBe(first.said);
    expect(first.said).toContain(
      '<publish node="1/1/k8s-default-service-network/10.105.139.153/32">',
    );
    const other = record(6n);
    expect(other.wires['fabric.pcap']?.equals(first.wires['fabric.pcap'] as Buffer)).toBe(false);
    expect(other.said).not.toBe(first.said); // back-off has chance in it
  });
});
