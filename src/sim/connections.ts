/**
 * Connections of simulated tenants in bulk: opened in turns, asked in batches, or held open while something changes; and
 * what was observed of them. Plain values; judging is not done here.
 */
import type { SimulatedCluster } from './cluster.ts';
import type { Connection, Tenant } from './tenant.ts';

/** Ephemeral ports of today's Linux. */
const FIRST_PORT = 32_768;
const LAST_PORT = 60_999;
/** Of connections, in a load. */
export const BATCH = 100;
/** Between the two requests of a connection. */
const PAUSE_MS = 250;

export interface Destination {
  readonly ipv4: string;
  readonly port: number;
}

/** Tenants that connect, each from a port that it has not used before. */
export class Clients {
  readonly cluster: SimulatedCluster;
  readonly #owners = new WeakMap<Connection, Tenant>();
  readonly #nextPort = new Map<Tenant, number>();
  #turn = 0;

  constructor(cluster: SimulatedCluster) {
    this.cluster = cluster;
  }

  connect(from: Tenant, { ipv4, port }: Destination): Connection {
    const local = this.#nextPort.get(from) ?? FIRST_PORT;
    this.#nextPort.set(from, local === LAST_PORT ? FIRST_PORT : local + 1);
    const connection = from.connect(ipv4, port, local);
    this.#owners.set(connection, from);
    return connection;
  }

  /** One after the other, so that each of them opens as many. */
  connectInTurn(all: readonly Tenant[], to: Destination): Connection {
    const from = all[this.#turn++ % all.length];
    if (from === undefined) throw new Error('nobody is there to connect');
    return this.connect(from, to);
  }

  request(connection: Connection): void {
    this.#owner(connection).request(connection);
  }

  close(connection: Connection): void {
    this.#owner(connection).close(connection);
  }

  #owner(connection: Connection): Tenant {
    const owner = this.#owners.get(connection);
    if (owner === undefined) throw new Error('a connection of nobody');
    return owner;
  }
}

// --- what was observed -------------------------------------------------------------------------

/** Answers by backend, of any number of connections. */
export function spread(connections: readonly Connection[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const { answers } of connections) {
    const first = answers[0]?.backend;
    if (first !== undefined) counts.set(first, (counts.get(first) ?? 0) + 1);
  }
  return new Map([...counts].sort(([a], [b]) => (a < b ? -1 : 1)));
}

export function changedBackend({ answers }: Connection): boolean {
  return answers.some(({ backend }) => backend !== answers[0]?.backend);
}

export interface Load {
  readonly connections: number;
  readonly perBackend: ReadonlyMap<string, number>;
  /** Connections that had answers of more than one backend. */
  readonly changed: number;
  readonly requests: number;
  readonly answers: number;
  readonly closed: number;
  /** Ports that answers were served on. */
  readonly servedOn: readonly number[];
}

export function loadOf(connections: readonly Connection[]): Load {
  const sum = (value: (c: Connection) => number) => connections.reduce((n, c) => n + value(c), 0);
  const ports = new Set(connections.flatMap((c) => c.answers.map((answer) => answer.port)));
  return {
    connections: connections.length,
    perBackend: spread(connections),
    changed: connections.filter(changedBackend).length,
    // A connection that never opened could not ask; what it meant to ask counts.
    requests: sum((c) => Math.max(c.requests, 2)),
    answers: sum((c) => c.answers.length),
    closed: connections.filter((c) => c.state === 'closed').length,
    servedOn: [...ports].sort((a, b) => a - b),
  };
}

// --- many connections --------------------------------------------------------------------------

export interface LoadPlan {
  readonly from: readonly Tenant[];
  readonly to: Destination;
  readonly count: number;
  /** Told how many connections have ended, when the SYNs of the next batch are on their way. */
  readonly onBatch?: (ended: number) => void;
}

/** SYN, request, pause, request, FIN; in batches, all of a batch at the same moment. */
export function loadFrom(clients: Clients, { from, to, count, onBatch }: LoadPlan): Load {
  const { cluster } = clients;
  const all: Connection[] = [];
  while (all.length < count) {
    const batch: Connection[] = [];
    while (batch.length < BATCH && all.length + batch.length < count) {
      batch.push(clients.connectInTurn(from, to));
    }
    onBatch?.(all.length);
    cluster.settle();
    for (const connection of batch) clients.request(connection);
    cluster.advance(PAUSE_MS);
    for (const connection of batch) clients.request(connection);
    cluster.settle();
    for (const connection of batch) clients.close(connection);
    cluster.settle();
    all.push(...batch);
  }
  return loadOf(all);
}

/** Every open connection asks once in so many ticks of a millisecond. */
export const PERIOD = 10;

/** Connections held open, each asking every 10 ms, not all at the same millisecond. */
export class HeldConnections {
  readonly all: Connection[] = [];
  readonly #clients: Clients;
  readonly #from: readonly Tenant[];
  readonly #to: Destination;
  #ticks = 0;

  constructor(clients: Clients, from: readonly Tenant[], to: Destination) {
    this.#clients = clients;
    this.#from = from;
    this.#to = to;
  }

  open(count: number): Connection[] {
    const opened = Array.from({ length: count }, () =>
      this.#clients.connectInTurn(this.#from, this.#to),
    );
    this.#clients.cluster.settle();
    this.all.push(...opened);
    this.run(PERIOD);
    return opened;
  }

  run(ticks: number): void {
    for (let i = 0; i < ticks; i += 1) {
      this.#askSome();
      this.#clients.cluster.advance(1);
    }
  }

  /**
   * All ask at once, the change happens while their packets are on the way, and they go on asking until it is done;
   * `meanwhile` is called in each round of it.
   */
  runThrough(change: () => void, meanwhile: () => void = () => {}): void {
    for (const connection of this.all) this.#clients.request(connection);
    change();
    this.#clients.cluster.settle(() => {
      meanwhile();
      this.#askSome();
    });
  }

  #askSome(): void {
    this.#ticks += 1;
    this.all.forEach((connection, n) => {
      if (n % PERIOD === this.#ticks % PERIOD) this.#clients.request(connection);
    });
  }
}

// --- some stay, some go ------------------------------------------------------------------------

/** Of connections whose backends were taken away. */
export interface Removed {
  readonly connections: number;
  readonly reset: number;
  /** Open, but nothing is answered any more. */
  readonly silent: number;
  /** Still served: must be none. */
  readonly alive: number;
  /** Answered by a backend that had not answered before: must be none. */
  readonly changed: number;
}

/** `removed`: those that a backend served which is gone. They have asked twice since. */
export function removedOf(removed: readonly Connection[]): Removed {
  const silent = removed.filter((c) => c.state === 'open' && c.requests > c.answers.length + 1);
  return {
    connections: removed.length,
    reset: removed.filter((c) => c.state === 'reset').length,
    silent: silent.length,
    alive: removed.filter((c) => c.state === 'open' && !silent.includes(c)).length,
    changed: removed.filter(changedBackend).length,
  };
}
