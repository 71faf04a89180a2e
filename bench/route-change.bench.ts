/**
 * A route that changes, until it is programmed: one agent says so to a control node over TCP on loopback, another,
 * which is all of `vrouter node` between its session and its data plane (workers running), commits it. The control node
 * is a process of its own; both agents are in the other, so that one clock measures both ends. The one that speaks is
 * strings on a socket; the one that hears has ROUTES routes already.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { connect, type Socket } from 'node:net';
import { fileURLToPath } from 'node:url';
import { Agent } from '../src/agent/agent.ts';
import { ControlAgents } from '../src/control/agents.ts';
import { RouteTables } from '../src/control/tables.ts';
import { openDataplane } from '../src/dataplane/dataplane.ts';
import { ControlNodes } from '../src/xmpp/control-nodes.ts';
import { connectStream, listenStreams } from '../src/xmpp/transport/sockets.ts';

const ROUTES = 10_000;
const CHANGES = 1000;
/** A change at a time, and so long between two: what is measured is not a queue. */
const PAUSE_MS = 2;
const PATIENCE_MS = 60_000;
const INSTANCE = 'd:p:vn:vn';
const TO = 'to="network-control@contrailsystems.com/bgp-peer"';
const SPEAKER = '192.0.2.2';

const prefixOf = (route: number): string => `10.1.${route >> 8}.${route & 255}/32`;

function publish(route: number, label: number): string {
  const prefix = prefixOf(route);
  const node = `1/1/${INSTANCE}/${prefix}`;
  const pubsub = '<pubsub xmlns="http://jabber.org/protocol/pubsub">';
  return (
    `<iq type="set" from="speaker" ${TO} id="p">${pubsub}<publish node="${node}"><item><entry>` +
    `<nlri><af>1</af><safi>1</safi><address>${prefix}</address></nlri><next-hops><next-hop><af>1</af><address>${SPEAKER}</address><label>${label}</label>` +
    '<tunnel-encapsulation-list><tunnel-encapsulation>udp</tunnel-encapsulation></tunnel-encapsulation-list></next-hop></next-hops>' +
    '<local-preference>100</local-preference></entry></item></publish></pubsub></iq>' +
    `<iq type="set" from="speaker" ${TO} id="c">${pubsub}<collection node="${INSTANCE}"><associate node="${node}" /></collection></pubsub></iq>`
  );
}

/** The control node, until its parent goes. */
async function control(): Promise<void> {
  const tables = new RouteTables({ schedule: setImmediate });
  tables.createInstance({ name: INSTANCE });
  const served = new ControlAgents(tables, {});
  const listening = await listenStreams({
    host: '127.0.0.1',
    port: 0,
    accept: (stream) => served.accept(stream),
  });
  process.send?.(listening.port);
  process.once('disconnect', () => process.exit());
}

function figure(name: string, value: number, unit: string): void {
  console.log(JSON.stringify({ name, value, unit }));
}

/** All of a node but its file and its CLI. */
function hearer(port: number) {
  const dataplane = openDataplane({ flowEntries: 1024, buffers: 1024 });
  const uplink = dataplane.addPort({ kind: 'memory' });
  const routes = new ControlNodes({
    name: 'hearer',
    ownAddresses: ['192.0.2.1'],
    nodes: [
      {
        name: 'control',
        connect: (attempt) => connectStream({ host: '127.0.0.1', port }, attempt),
      },
    ],
  });
  const agent = new Agent({
    name: 'hearer',
    dataplane,
    routes,
    oneHop: true,
    underlay: {
      port: uplink,
      mac: '02:00:00:00:00:01',
      ipv4: '192.0.2.1',
      neighbours: { [SPEAKER]: '02:00:00:00:00:02' },
    },
    schedule: setImmediate,
  });
  agent.addVrf({ name: INSTANCE });
  routes.start();
  agent.flush();
  dataplane.start();
  return { agent, routes, dataplane };
}

async function speaker(port: number): Promise<Socket> {
  const socket = connect(port, '127.0.0.1');
  socket.setNoDelay(true);
  socket.resume();
  await new Promise((resolve, reject) => {
    socket.once('connect', resolve);
    socket.once('error', reject);
  });
  socket.write(
    `<?xml version='1.0'?><stream:stream from='speaker' to='x' version='1.0' xmlns='' xmlns:stream='http://etherx.jabber.org/streams' >` +
      `<iq type="set" from="speaker" ${TO}><pubsub xmlns="http://jabber.org/protocol/pubsub"><subscribe node="${INSTANCE}"><options><instance-id>1</instance-id><no-ribout>true</no-ribout></options></subscribe></pubsub></iq>`,
  );
  return socket;
}

async function agents(child: ChildProcess): Promise<void> {
  const port = await new Promise<number>((resolve) =>
    child.once('message', (message) => resolve(message as number)),
  );
  const { agent, routes, dataplane } = hearer(port);
  const socket = await speaker(port);
  const programmed = new Map<string, number>();
  let onCommit: () => void = () => {};
  agent.onCommit(({ ops }) => {
    const now = performance.now();
    for (const op of ops) if (op.op === 'route_set') programmed.set(op.prefix, now);
    onCommit();
  });
  const until = (done: () => boolean): Promise<void> =>
    new Promise((resolve, reject) => {
      const late = setTimeout(() => reject(new Error('a route did not come')), PATIENCE_MS);
      onCommit = () => {
        if (!done()) return;
        onCommit = () => {};
        clearTimeout(late);
        resolve();
      };
      onCommit();
    });
  for (let route = 0; route < ROUTES; route++) socket.write(publish(route, 16));
  const last = new Set(Array.from({ length: ROUTES }, (_, route) => prefixOf(route)));
  await until(() => {
    for (const prefix of programmed.keys()) last.delete(prefix);
    return last.size === 0;
  });
  const took: number[] = [];
  for (let i = 0; i < CHANGES; i++) {
    const prefix = prefixOf((i * 7919) % ROUTES);
    programmed.delete(prefix);
    const at = performance.now();
    socket.write(publish((i * 7919) % ROUTES, 5000 + i));
    await until(() => programmed.has(prefix));
    took.push((programmed.get(prefix) as number) - at);
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
  }
  took.sort((a, b) => a - b);
  const what = `a change until it is programmed, among ${ROUTES.toLocaleString('en')} routes`;
  figure(`${what}, median`, took[CHANGES >> 1] as number, 'ms');
  figure(`${what}, 99th percentile`, took[Math.floor(CHANGES * 0.99)] as number, 'ms');
  socket.destroy();
  routes.close();
  agent.close();
  dataplane.close();
}

if (process.argv[2] === 'control') {
  await control();
} else {
  const child = fork(fileURLToPath(import.meta.url), ['control']);
  try {
    await agents(child);
  } finally {
    child.disconnect();
  }
}
