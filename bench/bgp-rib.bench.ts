/**
 * The BGP RIB: what it takes to hear 1,000,000 VPNv4 routes, as values and as messages, and what one costs; and how long
 * a withdrawal takes from one peer to a hundred others, written to bytes for each. No sockets: those are the session's.
 * Routes come 200 a message, as 4096 bytes take, or one, as some speakers
 * send them; of 500 route distinguishers, each with attributes of its own.
 * VROUTER_BENCH_ROUTES: other than 1,000,000.
 */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import type { IpText } from '../src/addr/ip.ts';
import type { PrefixText } from '../src/addr/prefix.ts';
import type { RouteTarget } from '../src/addr/route-target.ts';
import type { Neighbour } from '../src/bgp/neighbour.ts';
import type { RibPeer } from '../src/bgp/rib/contract.ts';
import { createRib, type Rib } from '../src/bgp/rib/rib.ts';
import { type Agreed, agree } from '../src/bgp/wire/agree.ts';
import type { WireOptions } from '../src/bgp/wire/attributes.ts';
import { updateMessages } from '../src/bgp/wire/message.ts';
import type { VpnNlri, WireRd } from '../src/bgp/wire/nlri.ts';
import type { Open } from '../src/bgp/wire/open.ts';
import { readUpdate, type Update } from '../src/bgp/wire/update.ts';
import { report } from './harness.ts';

const ROUTES = Number(process.env['VROUTER_BENCH_ROUTES'] ?? 1_000_000);
const DISTINGUISHERS = 500;
const IN_MESSAGE = 200;
const HEADER = 19;
const OUT_PEERS = 100;
const OUT_ROUTES = 100_000;
const CHANGES = 500;
const AS = 65000;

const SPEAKER = { as: AS, id: '10.0.0.1' as IpText };

function open(id: string): Open {
  return {
    ...{ as: AS, holdTime: 90, id: id as IpText },
    capabilities: [
      { kind: 'multiprotocol', family: 'vpnv4' },
      { kind: 'as4', as: AS },
      { kind: 'route-refresh' },
    ],
  };
}

const addressOf = (peer: number): string => `10.0.${peer >> 8}.${(peer & 255) + 2}`;

function neighbour(peer: number): Neighbour {
  const address = addressOf(peer) as IpText;
  return {
    ...{ name: address, address, port: 179, passive: false, holdTime: 90, allowAsIn: 0 },
    ...{ families: [{ family: 'vpnv4' }], client: true },
  };
}

interface Fed {
  readonly rib: Rib;
  readonly tasks: (() => void)[];
}

function fed(onReady: (peer: RibPeer) => void = () => undefined): Fed {
  const tasks: (() => void)[] = [];
  const onChanges = () => undefined;
  const rib = createRib(SPEAKER, { schedule: (run) => tasks.push(run), onReady, onChanges });
  return { rib, tasks };
}

function run({ tasks }: Fed): void {
  for (let task = tasks.shift(); task !== undefined; task = tasks.shift()) task();
}

function join({ rib }: Fed, peer: number): [RibPeer, Agreed] {
  const joined = rib.addPeer(neighbour(peer));
  const agreed = agree(open(SPEAKER.id), open(addressOf(peer)));
  joined.up(agreed, open(addressOf(peer)), 0, SPEAKER.id);
  return [joined, agreed];
}

function* updates(routes = ROUTES, inMessage = IN_MESSAGE): Iterable<Update> {
  const each = routes / DISTINGUISHERS;
  for (let rd = 0; rd < DISTINGUISHERS; rd++) {
    for (let from = 0; from < each; from += inMessage) {
      const nlri: VpnNlri[] = [];
      for (let at = from; at < Math.min(each, from + inMessage); at++) {
        const prefix = `${10 + (at >> 16)}.${(at >> 8) & 255}.${at & 255}.0/24` as PrefixText;
        nlri.push({ rd: `65000:${rd + 1}` as WireRd, prefix, label: 16 + rd });
      }
      yield {
        withdrawn: [],
        announced: [
          { family: 'vpnv4', nlri, nextHop: { address: `10.9.0.${rd % 250}` as IpText } },
        ],
        attributes: {
          ...{ origin: 'igp', asPath: [], localPref: 100 },
          extendedCommunities: [
            { kind: 'route-target', target: `65000:${rd + 1}` as RouteTarget },
            { kind: 'encapsulation', tunnel: 13 },
          ],
        },
      };
    }
  }
}

setFlagsFromString('--expose-gc');
const gc = runInNewContext('gc') as () => void;

function heap(): number {
  gc();
  gc();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

const MANY = ROUTES.toLocaleString('en');

function hear(name: string, feed: (peer: RibPeer, fed: Fed, options: WireOptions) => void): void {
  const before = heap();
  const into = fed();
  const [peer, agreed] = join(into, 0);
  run(into);
  const start = performance.now();
  const cpu = process.cpuUsage();
  feed(peer, into, agreed.receive);
  run(into);
  const seconds = (performance.now() - start) / 1000;
  const { user, system } = process.cpuUsage(cpu);
  const { held } = into.rib;
  if (held.entries !== ROUTES) throw new Error(`${held.entries} routes of ${ROUTES}`);
  report({ name: `${MANY} VPNv4 routes in, ${name}`, value: seconds, unit: 's' });
  const used = (user + system) / 1e6;
  report({ name: `${MANY} VPNv4 routes in, ${name}, CPU`, value: used, unit: 's' });
  report({ name: `a route, ${name}`, value: (heap() - before) / ROUTES, unit: 'bytes' });
  const rss = process.memoryUsage().rss / 2 ** 20;
  report({ name: `the process, ${name}`, value: rss, unit: 'MiB' });
  const left = performance.now();
  peer.down(false, 0);
  run(into);
  const took = (performance.now() - left) / 1000;
  report({ name: `${MANY} routes gone with their peer, ${name}`, value: took, unit: 's' });
}

function messages(inMessage: number): Uint8Array[] {
  const { send } = agree(open('10.0.0.2'), open(SPEAKER.id));
  const all: Uint8Array[] = [];
  // As a socket gives them: some in one buffer.
  for (const update of updates(ROUTES, inMessage)) {
    for (const bytes of updateMessages(update, send)) all.push(Buffer.from(bytes));
  }
  return all;
}

function fanOut(): void {
  const told: { peer: RibPeer; agreed: Agreed; bytes: number }[] = [];
  const written = new WeakMap<Update, Uint8Array[]>();
  const into = fed((peer) => {
    const one = told.find((each) => each.peer === peer);
    if (one === undefined) return;
    for (let out = peer.next(); out !== undefined; out = peer.next()) {
      if (out.kind !== 'update') continue;
      const bytes = written.get(out.update) ?? updateMessages(out.update, one.agreed.send);
      written.set(out.update, bytes);
      one.bytes += bytes.reduce((sum, each) => sum + each.length, 0);
    }
  });
  for (let at = 1; at <= OUT_PEERS; at++) {
    const [peer, agreed] = join(into, at);
    told.push({ peer, agreed, bytes: 0 });
  }
  const [from] = join(into, 0);
  run(into);
  const start = performance.now();
  const some = [...updates(OUT_ROUTES)];
  for (const update of some) from.take(update);
  run(into);
  const dumped = (performance.now() - start) / 1000;
  const routes = some.reduce((sum, { announced }) => sum + (announced[0]?.nlri.length ?? 0), 0);
  const what = `${routes.toLocaleString('en')} routes to ${OUT_PEERS} peers`;
  report({ name: `${what}, in bytes`, value: dumped, unit: 's' });
  const took: number[] = [];
  for (let at = 0; at < CHANGES; at++) {
    const routes = (some[at % some.length] as Update).announced[0] as { nlri: readonly object[] };
    const nlri = [routes.nlri[at % 7] as VpnNlri];
    const before = told.map(({ bytes }) => bytes);
    const began = performance.now();
    from.take({ withdrawn: [{ family: 'vpnv4', nlri }], announced: [], attributes: {} });
    run(into);
    took.push(performance.now() - began);
    if (!told.every(({ bytes }, peer) => bytes > (before[peer] as number))) {
      throw new Error('a peer was told nothing');
    }
  }
  took.sort((a, b) => a - b);
  const p99 = took[Math.floor(CHANGES * 0.99)] as number;
  const p50 = took[CHANGES >> 1] as number;
  report({ name: `a withdrawal to ${OUT_PEERS} peers, in bytes, median`, value: p50, unit: 'ms' });
  report({
    name: `a withdrawal to ${OUT_PEERS} peers, in bytes, 99th percentile`,
    value: p99,
    unit: 'ms',
  });
}

const only = process.argv[2];
if (only === undefined || only === 'values') {
  hear('as values', (peer, into) => {
    for (const update of updates()) {
      peer.take(update);
      run(into);
    }
  });
}
for (const [name, inMessage] of [
  ['messages', IN_MESSAGE],
  ['single', 1],
] as const) {
  if (only !== undefined && only !== name) continue;
  const all = messages(inMessage);
  hear(inMessage === 1 ? 'each a message' : 'as messages', (peer, into, options) => {
    let turn = 0;
    for (const bytes of all) {
      peer.take(readUpdate(bytes.subarray(HEADER), options).update);
      // As many as one read of a socket brings.
      if (++turn % (inMessage === 1 ? 512 : 16) === 0) run(into);
    }
  });
}
if (only === undefined || only === 'out') fanOut();
