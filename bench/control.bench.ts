/**
 * A control node and agents over real sockets on loopback: how long until every route is at every agent that is
 * interested, what a path costs, and how long one change takes. Agents are a process of their own that writes
 * strings and counts items, so that what is measured is the control node.
 * 100 instances; an agent takes part in one of them and publishes 100 routes. VROUTER_BENCH_AGENTS: other than 1,000.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { connect, type Socket } from 'node:net';
import { fileURLToPath } from 'node:url';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { ControlAgents } from '../src/control/agents.ts';
import { RouteTables } from '../src/control/tables.ts';
import { listenStreams } from '../src/xmpp/transport/sockets.ts';

const AGENTS = Number(process.env['VROUTER_BENCH_AGENTS'] ?? 1000);
const INSTANCES = Math.min(100, AGENTS / 10);
const ROUTES = 100;
/** What each agent hears: the routes of all agents of its instance. */
const HEARD = (AGENTS / INSTANCES) * ROUTES;
const CHANGES = 500;

const CONTROL = 'to="network-control@contrailsystems.com/bgp-peer"';
const instanceOf = (agent: number): string => `d:p:vn${agent % INSTANCES}:vn${agent % INSTANCES}`;
const hopOf = (agent: number): string => `10.255.${agent >> 8}.${agent & 255}`;

function publish(agent: number, route: number, label: number): string {
  const prefix = `10.${agent >> 8}.${agent & 255}.${route}/32`;
  const node = `1/1/${instanceOf(agent)}/${prefix}`;
  const encaps = ['gre', 'udp'].map((e) => `<tunnel-encapsulation>${e}</tunnel-encapsulation>`);
  return (
    `<iq type="set" from="c${agent}" ${CONTROL} id="pubsub${route}"><pubsub xmlns="http://jabber.org/protocol/pubsub"><publish node="${node}"><item><entry>` +
    `<nlri><af>1</af><safi>1</safi><address>${prefix}</address></nlri><next-hops><next-hop><af>1</af><address>${hopOf(agent)}</address><mac>02:00:00:00:00:01</mac><label>${label}</label><vni>0</vni>` +
    `<tunnel-encapsulation-list>${encaps.join('')}</tunnel-encapsulation-list><virtual-network /><tag-list><tag>65537</tag></tag-list><local-sequence-number>0</local-sequence-number></next-hop></next-hops>` +
    '<version>1</version><virtual-network /><mobility seqno="0" sticky="false" /><sequence-number>0</sequence-number><security-group-list><security-group>8000001</security-group></security-group-list>' +
    '<local-preference>100</local-preference><med>0</med><sub-protocol>interface</sub-protocol></entry></item></publish></pubsub></iq>' +
    `<iq type="set" from="c${agent}" ${CONTROL} id="collection${route}"><pubsub xmlns="http://jabber.org/protocol/pubsub"><collection node="${instanceOf(agent)}"><associate node="${node}" /></collection></pubsub></iq>`
  );
}

const ITEM = Buffer.from('<item ');

function itemsIn(bytes: Buffer): number {
  let found = 0;
  for (let at = bytes.indexOf(ITEM); at >= 0; at = bytes.indexOf(ITEM, at + 6)) found++;
  return found;
}

/** The other process: dials, subscribes, publishes, counts; then changes one route at a time. */
async function agents(port: number): Promise<void> {
  const sockets: Socket[] = [];
  const heard = new Array<number>(AGENTS).fill(0);
  let missing = AGENTS;
  let onItem: (() => void) | undefined;
  let finished: () => void = () => {};
  const all = new Promise<void>((resolve) => {
    finished = resolve;
  });
  for (let i = 0; i < AGENTS; i++) {
    const socket = connect(port, '127.0.0.1');
    socket.setNoDelay(true);
    let tail: Buffer = Buffer.alloc(0);
    socket.on('data', (bytes: Buffer) => {
      // An item's first bytes may be in one chunk and its last in the next.
      const items = itemsIn(Buffer.concat([tail, bytes]));
      tail = bytes.subarray(Math.max(0, bytes.length - ITEM.length + 1));
      if (items === 0) return;
      const before = heard[i] as number;
      heard[i] = before + items;
      if (before < HEARD && (heard[i] as number) >= HEARD && --missing === 0) finished();
      if (i === 0) onItem?.();
    });
    socket.write(
      `<?xml version='1.0'?><stream:stream from='c${i}' to='x' version='1.0' xmlns='' xmlns:stream='http://etherx.jabber.org/streams' >` +
        `<iq type="set" from="c${i}" ${CONTROL}><pubsub xmlns="http://jabber.org/protocol/pubsub"><subscribe node="${instanceOf(i)}"><options><instance-id>1</instance-id></options></subscribe></pubsub></iq>`,
    );
    sockets.push(socket);
    if (i % 50 === 49) await new Promise((resolve) => setTimeout(resolve, 10));
  }
  process.send?.('subscribed');
  await new Promise((resolve) => process.once('message', resolve));
  const start = performance.now();
  for (let route = 0; route < ROUTES; route++) {
    for (let i = 0; i < AGENTS; i++) sockets[i]?.write(publish(i, route, 16 + route));
    if (route % 10 === 9) await new Promise((resolve) => setImmediate(resolve));
  }
  await all;
  const seconds = (performance.now() - start) / 1000;
  process.send?.({ seconds });
  await new Promise((resolve) => process.once('message', resolve));
  const took: number[] = [];
  for (let i = 0; i < CHANGES; i++) {
    // From another agent of agent 0's instance, to agent 0.
    const at = performance.now();
    const told = new Promise<void>((resolve) => {
      onItem = resolve;
    });
    sockets[INSTANCES]?.write(publish(INSTANCES, 0, 5000 + i));
    await told;
    took.push(performance.now() - at);
  }
  took.sort((a, b) => a - b);
  process.send?.({ p50: took[CHANGES >> 1], p99: took[Math.floor(CHANGES * 0.99)] });
  for (const socket of sockets) socket.destroy();
  process.disconnect?.();
}

const answer = <T>(child: ChildProcess): Promise<T> =>
  new Promise((resolve, reject) => {
    child.once('message', (message) => resolve(message as T));
    child.once('exit', (code) => reject(new Error(`the agents ended (${code})`)));
  });

function heap(): number {
  setFlagsFromString('--expose-gc');
  (runInNewContext('gc') as () => void)();
  return process.memoryUsage().heapUsed;
}

function figure(name: string, value: number, unit: string): void {
  console.log(JSON.stringify({ name, value, unit }));
}

async function control(): Promise<void> {
  const tables = new RouteTables({ schedule: setImmediate });
  for (let i = 0; i < INSTANCES; i++) tables.createInstance({ name: instanceOf(i) });
  const lost: string[] = [];
  const served = new ControlAgents(tables, {
    onSession: (name, _address, state, error) => {
      if (state === 'down') lost.push(`${name} ${error?.code}`);
    },
  });
  const listening = await listenStreams({
    host: '127.0.0.1',
    port: 0,
    accept: (stream) => served.accept(stream),
  });
  const child = fork(fileURLToPath(import.meta.url), ['agents', String(listening.port)]);
  await answer(child);
  while (served.sessions().length < AGENTS) await new Promise((resolve) => setTimeout(resolve, 20));
  const before = heap();
  const cpu = process.cpuUsage();
  child.send('go');
  const { seconds } = await answer<{ seconds: number }>(child);
  const used = process.cpuUsage(cpu);
  const routes = AGENTS * ROUTES;
  const what = `${AGENTS.toLocaleString('en')} agents, ${routes.toLocaleString('en')} routes`;
  figure(`${what}: at all that are interested after`, seconds, 's');
  figure(`${what}: control node's CPU`, (used.user + used.system) / 1e6, 's');
  figure(`${what}: a path`, (heap() - before) / routes, 'bytes');
  child.send('change');
  const { p50, p99 } = await answer<{ p50: number; p99: number }>(child);
  figure('a change, agent to agent, median', p50, 'ms');
  figure('a change, agent to agent, 99th percentile', p99, 'ms');
  if (lost.length > 0) throw new Error(`sessions were lost: ${lost.slice(0, 3).join(', ')}`);
  const closed = listening.close();
  served.close();
  await closed;
}

if (process.argv[2] === 'agents') await agents(Number(process.argv[3]));
else await control();
