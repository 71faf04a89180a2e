/**
 * Asks tenants whether they are well, from their gateway's address: an echo request, or a SYN to a port that
 * is answered by SYN-ACK, and then taken back by RST. HTTP is asked by the host's own stack (`http`). Knows who is
 * well; what follows from it is others' to do.
 *
 * Invariants
 *  * A check changes its mind after so many answers of one kind in a row; a tenant is well while all its
 *    checks are. A tenant that is new is taken for well.
 *  * Only the answer to the last question counts: its vif, addresses, and a number drawn anew each time.
 *  * A question that did not leave is no question: a full socket makes nobody ill.
 */
import { MAC_GATEWAY } from '../addr/mac.ts';
import { buildFrame, type Packet, PROTOCOL, view } from './frame.ts';
import type { Send, Service, Tenant } from './service.ts';
import { buildSegment, parseSegment, TCP_FLAG } from './tcp-segment.ts';

export interface HealthCheck {
  readonly type: 'ping' | 'tcp' | 'http';
  /** Of tcp and http. */
  readonly port?: number;
  /** Of http. */
  readonly path?: string;
  readonly intervalMs: number;
  readonly timeoutMs: number;
  /** In a row, until it counts as ill. */
  readonly failures: number;
  /** In a row, until it counts as well again. */
  readonly successes: number;
}

export interface Watched {
  readonly tenant: Tenant;
  readonly checks: readonly HealthCheck[];
  /** Another one: begin anew. */
  readonly version: unknown;
}

export interface HealthView {
  readonly vif: string;
  readonly type: string;
  readonly port?: number;
  readonly healthy: boolean;
  /** Of the last answers, in a row; negative: failures. */
  readonly run: number;
}

export interface HealthOptions {
  readonly send: Send;
  /** Milliseconds, of any clock that does not go back. */
  readonly now: () => number;
  /** 0 ≤ n < below. */
  readonly random: (below: number) => number;
  readonly onChange: (vif: string, healthy: boolean) => void;
  /** Whether the tenant answers well, in the check's time; undefined: it cannot be asked now. */
  readonly http?: (tenant: Tenant, check: HealthCheck) => Promise<boolean> | undefined;
}

interface State {
  readonly check: HealthCheck;
  readonly tenant: Tenant;
  healthy: boolean;
  run: number;
  dueAt: number;
  /** What is under way: by what its answer is known, and when it is too late. */
  asked: { readonly number: number; readonly port: number; readonly lateAt: number } | undefined;
}

interface Entry {
  readonly tenant: Tenant;
  readonly version: unknown;
  readonly states: readonly State[];
  healthy: boolean;
}

const ECHO = {
  4: { protocol: PROTOCOL.icmp, request: 8, reply: 0 },
  6: { protocol: PROTOCOL.icmp6, request: 128, reply: 129 },
} as const;
const FIRST_PORT = 49_152;
const PORTS = 16_384;

export class HealthChecker implements Service {
  readonly counters = {
    asked: 0,
    answered: 0,
    refused: 0,
    late: 0,
    stray: 0,
    unsent: 0,
    changes: 0,
  };
  readonly #options: HealthOptions;
  /** By vif. */
  readonly #entries = new Map<number, Entry>();

  constructor(options: HealthOptions) {
    this.#options = options;
  }

  /** These and no others; who stays as it was goes on. */
  watch(all: readonly Watched[]): void {
    const { now, random } = this.#options;
    const left = new Set(this.#entries.keys());
    for (const { tenant, checks, version } of all) {
      left.delete(tenant.vif);
      if (this.#entries.get(tenant.vif)?.version === version) continue;
      const before = this.#entries.get(tenant.vif);
      const states = checks.map((check) => ({
        check,
        tenant,
        healthy: true,
        run: 0,
        // Not all of them at once.
        dueAt: now() + random(check.intervalMs),
        asked: undefined,
      }));
      this.#entries.set(tenant.vif, { tenant, version, states, healthy: true });
      if (before?.healthy === false) this.#tell(before.tenant.name, true);
    }
    for (const vif of left) {
      const entry = this.#entries.get(vif);
      this.#entries.delete(vif);
      if (entry?.healthy === false) this.#tell(entry.tenant.name, true);
    }
  }

  tick(): void {
    const now = this.#options.now();
    for (const entry of this.#entries.values()) {
      for (const state of entry.states) {
        if (state.asked !== undefined && now >= state.asked.lateAt) {
          this.counters.late++;
          this.#hear(entry, state, false);
        }
        if (state.asked === undefined && now >= state.dueAt) this.#ask(entry, state, now);
      }
    }
  }

  take(packet: Packet, { vif }: Tenant): boolean {
    const { protocol, family, payload } = packet;
    const echo = ECHO[family];
    const isReply = protocol === echo.protocol && payload[0] === echo.reply && payload.length >= 8;
    const segment = protocol === PROTOCOL.tcp ? parseSegment(packet) : undefined;
    const fromServer =
      segment !== undefined && (segment.flags & (TCP_FLAG.ack | TCP_FLAG.rst)) !== 0;
    if (!isReply && !fromServer) return false;
    const entry = this.#entries.get(vif);
    const state = entry?.states.find(({ check, asked, tenant }) => {
      const ways = addressesOf(tenant);
      if (asked === undefined || ways?.destination !== packet.source) return false;
      if (ways.source !== packet.destination) return false;
      if (segment === undefined) {
        return check.type === 'ping' && view(payload).getUint32(4) === asked.number;
      }
      return (
        check.type === 'tcp' &&
        segment.sourcePort === check.port &&
        segment.destinationPort === asked.port &&
        segment.acknowledged === (asked.number + 1) >>> 0
      );
    });
    if (entry === undefined || state === undefined) {
      this.counters.stray++;
      return true;
    }
    const open = segment === undefined || (segment.flags & TCP_FLAG.rst) === 0;
    if (segment !== undefined && open) this.#takeBack(state, segment.acknowledged);
    this.counters[open ? 'answered' : 'refused']++;
    this.#hear(entry, state, open);
    return true;
  }

  view(): HealthView[] {
    return [...this.#entries.values()].flatMap(({ tenant, states }) =>
      states.map(({ check, healthy, run }) => ({
        vif: tenant.name,
        type: check.type,
        ...(check.port === undefined ? {} : { port: check.port }),
        healthy,
        run,
      })),
    );
  }

  #ask(entry: Entry, state: State, now: number): void {
    const { check, tenant } = state;
    const { random, send } = this.#options;
    state.dueAt = now + check.intervalMs;
    const number = random(0x100000000);
    if (check.type === 'http') {
      this.#askHttp(entry, state, number, now);
      return;
    }
    const ways = addressesOf(tenant);
    if (ways === undefined) return;
    const port = FIRST_PORT + random(PORTS);
    const frame =
      check.type === 'ping' ? echoRequest(ways, number) : syn(ways, check, port, number);
    if (!send(tenant.vif, frame)) {
      this.counters.unsent++;
      return;
    }
    this.counters.asked++;
    state.asked = { number, port, lateAt: now + check.timeoutMs };
  }

  #askHttp(entry: Entry, state: State, number: number, now: number): void {
    const { check, tenant } = state;
    const answer = this.#options.http?.(tenant, check);
    if (answer === undefined) {
      this.counters.unsent++;
      return;
    }
    this.counters.asked++;
    const asked = { number, port: 0, lateAt: now + check.timeoutMs };
    state.asked = asked;
    void answer
      .catch(() => false)
      .then((well) => {
        const current = this.#entries.get(tenant.vif) === entry;
        if (!current || state.asked !== asked) return;
        this.counters[well ? 'answered' : 'refused']++;
        this.#hear(entry, state, well);
      });
  }

  /** The connection was never meant. */
  #takeBack({ check, tenant, asked }: State, sequence: number): void {
    const ways = addressesOf(tenant);
    if (ways === undefined || asked === undefined) return;
    const segment = {
      sourcePort: asked.port,
      destinationPort: check.port as number,
      sequence,
      acknowledged: 0,
      flags: TCP_FLAG.rst,
    };
    if (!this.#options.send(tenant.vif, buildSegment(ways, segment))) this.counters.unsent++;
  }

  #hear(entry: Entry, state: State, well: boolean): void {
    const { check } = state;
    state.asked = undefined;
    state.run = well ? Math.max(state.run, 0) + 1 : Math.min(state.run, 0) - 1;
    if (!state.healthy && state.run >= check.successes) state.healthy = true;
    else if (state.healthy && -state.run >= check.failures) state.healthy = false;
    const healthy = entry.states.every((one) => one.healthy);
    if (healthy === entry.healthy) return;
    entry.healthy = healthy;
    this.#tell(entry.tenant.name, healthy);
  }

  #tell(vif: string, healthy: boolean): void {
    this.counters.changes++;
    this.#options.onChange(vif, healthy);
  }
}

/** From its gateway, of the family it has both of; undefined: there is no such. */
function addressesOf({ ipv4, ipv6, gateway4, gateway6, mac }: Tenant) {
  const macs = { sourceMac: MAC_GATEWAY, destinationMac: mac };
  if (ipv4 !== undefined && gateway4 !== undefined)
    return { ...macs, source: gateway4, destination: ipv4 };
  if (ipv6 !== undefined && gateway6 !== undefined)
    return { ...macs, source: gateway6, destination: ipv6 };
  return undefined;
}

type Ways = NonNullable<ReturnType<typeof addressesOf>>;

/** The number is identifier and sequence number. */
function echoRequest(ways: Ways, number: number): Uint8Array {
  const { protocol, request } = ECHO[ways.source.includes(':') ? 6 : 4];
  const message = new Uint8Array(8);
  message[0] = request;
  view(message).setUint32(4, number);
  return buildFrame(ways, protocol, message, 2);
}

function syn(ways: Ways, { port: to }: HealthCheck, port: number, number: number): Uint8Array {
  return buildSegment(ways, {
    sourcePort: port,
    destinationPort: to as number,
    sequence: number,
    acknowledged: 0,
    flags: TCP_FLAG.syn,
  });
}
