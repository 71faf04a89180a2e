// Our BGP speaker with its RIB and nothing else, as a process: tests run it in a network namespace (nsenter), and ask it
// over a Unix socket, in lines of JSON: {method, params} -> {result} or {error}, in order.
//   node speaker.mjs FILE     what is in it: SpeakerSetting of speaker-process.ts, and the socket's path
import { readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { createInterface } from 'node:readline';
import { Rib } from '../../../dist/bgp/rib/rib.js';
import { BgpSpeaker } from '../../../dist/bgp/session/speaker.js';
import { TcpTransport } from '../../../dist/bgp/session/tcp.js';

const setting = JSON.parse(readFileSync(process.argv[2], 'utf8'));
const transport = await TcpTransport.open({ listen: setting.listen });
const faults = [];
const speaker = new BgpSpeaker({
  speaker: setting.speaker,
  transport,
  makeRib: (options) => new Rib(setting.speaker, options),
  restarted: setting.restarted === true,
  forwardingKept: true,
  onFault: (error) => faults.push(error instanceof Error ? error.stack : String(error)),
});
for (const path of setting.paths ?? []) speaker.rib.originate(path);
for (const neighbour of setting.neighbours) speaker.setNeighbour(neighbour);
for (const range of setting.ranges ?? []) speaker.setRange(range);

const { rib } = speaker;
const peer = (name) => {
  const found = speaker.ribPeer(name);
  if (found === undefined) throw new Error(`no neighbour ${name}`);
  return found;
};

/** Without what the RIB has beside them. */
const plain = ({ family, nlri, attributes, nextHop, from, stale }) => ({
  ...{ family, nlri, attributes, nextHop, from, stale },
});

const METHODS = {
  status: () => speaker.status(),
  ports: () => transport.ports,
  faults: () => faults,
  memory: () => {
    globalThis.gc?.();
    return process.memoryUsage();
  },
  originate: ({ paths }) => {
    for (const path of paths) rib.originate(path);
  },
  withdraw: ({ routes }) => {
    for (const { family, nlri } of routes) rib.withdraw(family, nlri);
  },
  want: ({ targets }) => rib.want(new Set(targets)),
  routes: ({ family }) =>
    [...rib.routes(family)].map(({ key, paths }) => ({ key, paths: paths.map(plain) })),
  received: ({ neighbour, family }) => [...rib.received(peer(neighbour), family)].map(plain),
  everything: ({ neighbour }) => ({
    updates: speaker.neighbour(neighbour).messagesIn.update,
    received: speaker
      .neighbour(neighbour)
      .families.flatMap(({ family }) => [...rib.received(peer(neighbour), family)].map(plain)),
  }),
  advertised: ({ neighbour, family }) => [...rib.advertised(peer(neighbour), family)].map(plain),
  setNeighbour: ({ neighbour }) => speaker.setNeighbour(neighbour),
  clear: ({ neighbour, clearing }) => speaker.clear(neighbour, clearing),
};

const asText = (_, value) =>
  typeof value === 'bigint' ? `${value}` : value instanceof Set ? [...value] : value;

createServer((socket) => {
  socket.on('error', () => socket.destroy());
  createInterface({ input: socket }).on('line', (line) => {
    let answer;
    try {
      const { method, params } = JSON.parse(line);
      answer = { result: METHODS[method](params ?? {}) ?? null };
    } catch (error) {
      answer = { error: error instanceof Error ? error.stack : String(error) };
    }
    socket.write(`${JSON.stringify(answer, asText)}\n`);
  });
}).listen(setting.socket);

process.on('SIGTERM', () => {
  speaker.close();
  // What was written last is on its way.
  setTimeout(() => process.exit(0), 100);
});
