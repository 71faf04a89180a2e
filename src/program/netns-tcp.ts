/**
 * Small TCP servers and clients for scenarios on real kernels: programs that Node runs in a pod's namespace, and what
 * they print. A server answers each line with who it is and who asked. A client opens many connections in one process:
 * `load` asks twice on each and ends it; `hold` keeps them and asks until it is told to end, on one after the other: with
 * a hundred connections there is a packet every millisecond, so that a capture shows to the millisecond where they go.
 */
import type { Load, Removed } from '../sim/connections.ts';

/** name port */
export const TCP_SERVER = `
const net = require('node:net');
const [backend, port] = process.argv.slice(1);
net.createServer((socket) => {
  const answer = JSON.stringify({ backend, caller: socket.remoteAddress }) + '\\n';
  socket.setNoDelay(true);
  socket.on('error', () => {});
  socket.on('data', (data) => {
    for (const byte of data) if (byte === 10) socket.write(answer);
  });
}).listen(Number(port), '0.0.0.0', () => console.log('ready'));
`;

/** mode host port count */
export const TCP_CLIENT = `
const net = require('node:net');
const [mode, host, port, count] = process.argv.slice(1);
const PARALLEL = 32;
const PATIENCE_MS = 5000;
// More and it is given up: what is broken need not be waited for.
const MAX_FAILURES = 20;
const ROUND_MS = 100;
// As many segments as a new connection may have under way.
const MAX_UNANSWERED = 10;
const all = [];
let ended = 0;
let failures = 0;
function open(answered) {
  const c = { backend: '', requests: 0, answers: 0, changed: false, state: 'syn-sent', heard: '', callers: [] };
  all.push(c);
  const socket = net.connect({ host, port: Number(port) });
  socket.setNoDelay(true);
  let text = '';
  c.ask = () => {
    if (c.state !== 'open' || c.requests - c.answers >= MAX_UNANSWERED) return;
    c.requests += 1;
    socket.write('?\\n');
  };
  c.end = () => socket.end();
  socket.on('connect', () => {
    c.state = 'open';
    c.heard = socket.remoteAddress + ':' + socket.remotePort;
    c.ask();
  });
  socket.on('data', (data) => {
    const lines = (text + data).split('\\n');
    text = lines.pop();
    for (const line of lines) {
      const { backend, caller } = JSON.parse(line);
      c.answers += 1;
      c.callers = [caller];
      if (c.backend !== '' && c.backend !== backend) c.changed = true;
      if (c.backend === '') c.backend = backend;
      answered(c);
    }
  });
  socket.on('error', (error) => { c.state = error.code === 'ECONNRESET' ? 'reset' : String(error.code); });
  return new Promise((done) => {
    socket.on('close', () => {
      if (c.state === 'open') c.state = 'closed';
      ended += 1;
      if (c.answers === 0) failures += 1;
      if (ended % 20 === 0) console.log('ended ' + ended);
      done();
    });
    if (mode === 'load') {
      socket.setTimeout(PATIENCE_MS, () => { c.state = 'silent'; socket.destroy(); });
    }
  });
}
const report = () => {
  const rows = all.map(({ ask, end, ...row }) => row);
  console.log(JSON.stringify(rows));
};
async function load() {
  let left = Number(count);
  const work = async () => {
    while (left > 0 && failures < MAX_FAILURES) {
      left -= 1;
      await open((c) => (c.answers < 2 ? c.ask() : c.end()));
    }
  };
  await Promise.all(Array.from({ length: PARALLEL }, work));
  report();
}
function hold() {
  let first = Number(count);
  for (let i = 0; i < Number(count); i++) {
    open((c) => {
      if (c.answers > 1) return;
      first -= 1;
      if (first === 0) console.log('ready');
    });
  }
  let turn = 0;
  const atOnce = Math.ceil(all.length / ROUND_MS);
  const asking = setInterval(() => {
    for (let i = 0; i < atOnce; i++) all[turn++ % all.length].ask();
  }, 1);
  process.on('SIGTERM', () => {
    clearInterval(asking);
    // What is on its way may come.
    setTimeout(() => { report(); process.exit(0); }, 500);
  });
}
if (mode === 'load') load(); else hold();
`;

/** A connection as a client saw it. */
export interface TcpConnection {
  /** Who answered first; '': nobody. */
  readonly backend: string;
  readonly requests: number;
  readonly answers: number;
  /** Another one answered later. */
  readonly changed: boolean;
  /** `open`, `closed`, `reset`, `silent`, or the kernel's error. */
  readonly state: string;
  readonly heard: string;
  readonly callers: readonly string[];
}

/** Of all that a client has printed: its last line. */
export function connectionsOf(out: string): TcpConnection[] {
  const line = out.trimEnd().split('\n').at(-1) ?? '';
  return line.startsWith('[') ? (JSON.parse(line) as TcpConnection[]) : [];
}

export function endedOf(out: string): number {
  const last = [...out.matchAll(/^ended (\d+)\n/gm)].at(-1);
  return Number(last?.[1] ?? 0);
}

export interface TcpLoad extends Load {
  readonly heard: ReadonlySet<string>;
  readonly callers: ReadonlySet<string>;
}

/** `asked`: requests that each meant to make. */
export function tcpLoadOf(connections: readonly TcpConnection[], asked: number): TcpLoad {
  const perBackend = new Map<string, number>();
  for (const { backend } of connections) {
    if (backend !== '') perBackend.set(backend, (perBackend.get(backend) ?? 0) + 1);
  }
  const sum = (value: (c: TcpConnection) => number) =>
    connections.reduce((n, c) => n + value(c), 0);
  return {
    connections: connections.length,
    perBackend: new Map([...perBackend].sort(([a], [b]) => (a < b ? -1 : 1))),
    changed: connections.filter(({ changed }) => changed).length,
    requests: sum(({ requests }) => Math.max(requests, asked)),
    answers: sum(({ answers }) => answers),
    closed: connections.filter(({ state }) => state === 'closed').length,
    servedOn: [],
    heard: new Set(connections.flatMap(({ heard }) => (heard === '' ? [] : [heard]))),
    callers: new Set(connections.flatMap(({ callers }) => callers)),
  };
}

/** Of connections whose backends are gone. */
export function tcpRemovedOf(removed: readonly TcpConnection[]): Removed {
  const silent = removed.filter((c) => c.state === 'open' && c.requests > c.answers + 1);
  return {
    connections: removed.length,
    reset: removed.filter((c) => c.state === 'reset').length,
    silent: silent.length,
    alive: removed.filter((c) => c.state === 'open' && !silent.includes(c)).length,
    changed: removed.filter(({ changed }) => changed).length,
  };
}
