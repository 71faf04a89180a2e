/**
 * Ports that orchestrators plug in and out: what is plugged, on disk and in the node. Knows neither HTTP nor
 * the agent.
 *
 * Invariants
 *  * Adding: into the node, then onto disk, then the answer. A crash between them loses a port whose caller
 *    has no answer and asks again. Removing: off the disk, then out of the node: what was removed once does
 *    not come back.
 *  * The same body again changes nothing. A call that fails leaves things as they were.
 *  * Only what was plugged here can be changed here; a vif of the node file is somebody else's.
 *  * A port may be in the node and wait there for what it lacks: the node says so, and says when that has changed.
 */
import { isDeepStrictEqual } from 'node:util';
import { VRouterError } from '../errors.ts';
import type { PortStore } from './store.ts';

/** Limit of ports, all of them together: the data plane's vifs. */
export const MAX_PORTS = 4352;

/** In the node, and not forwarding yet. */
export interface Waiting {
  readonly waiting: string;
}

/** The generation in which it forwards, or what it waits for. */
export type Standing = number | Waiting;

export interface PortsBackend<T> {
  /** A vif of this name exists, plugged or not. */
  exists(id: string): boolean;
  add(id: string, port: T): Standing;
  change(id: string, before: T, port: T): Standing;
  remove(id: string): void;
}

export interface Plugged<T> {
  readonly id: string;
  readonly port: T;
  /** `failed`: at start, from disk. */
  readonly state: 'programmed' | 'waiting' | 'failed';
  readonly generation: number | null;
  /** Why it is not programmed. */
  readonly error: string | null;
}

export type Outcome = 'added' | 'changed' | 'same';

export class Ports<T> {
  readonly #backend: PortsBackend<T>;
  readonly #store: PortStore<T>;
  readonly #plugged = new Map<string, Plugged<T>>();
  readonly #waiting = new Set<() => void>();

  constructor(backend: PortsBackend<T>, store: PortStore<T>) {
    this.#backend = backend;
    this.#store = store;
  }

  /** What was plugged before the process ended. Returns those that could not be had again. */
  restore(): Plugged<T>[] {
    for (const { id, value } of this.#store.load()) {
      try {
        this.#set(id, value, this.#backend.add(id, value));
      } catch (error) {
        const message = error instanceof Error ? error.message : String(error);
        this.#plugged.set(id, {
          id,
          port: value,
          state: 'failed',
          generation: null,
          error: message,
        });
      }
    }
    return this.list().filter(({ state }) => state === 'failed');
  }

  put(id: string, port: T): { outcome: Outcome; plugged: Plugged<T> } {
    const before = this.#plugged.get(id);
    if (before !== undefined && before.state !== 'failed') {
      if (isDeepStrictEqual(before.port, port)) return { outcome: 'same', plugged: before };
      const standing = this.#backend.change(id, before.port, port);
      this.#store.put(id, port);
      return { outcome: 'changed', plugged: this.#set(id, port, standing) };
    }
    if (before === undefined && this.#backend.exists(id)) {
      throw new VRouterError('CONFLICT', `vif ${id} exists, and was not plugged in here`);
    }
    if (before === undefined && this.#plugged.size >= MAX_PORTS) {
      throw new VRouterError('TABLE_FULL', `${MAX_PORTS} ports are plugged in`);
    }
    const standing = this.#backend.add(id, port);
    this.#store.put(id, port);
    return { outcome: 'added', plugged: this.#set(id, port, standing) };
  }

  /** What the node says of one that is in it. */
  settle(id: string, standing: Standing): void {
    const before = this.#plugged.get(id);
    if (before !== undefined && before.state !== 'failed') this.#set(id, before.port, standing);
  }

  /** Whether there was one. */
  remove(id: string): boolean {
    const before = this.#plugged.get(id);
    if (before === undefined) return false;
    this.#store.remove(id);
    try {
      if (before.state !== 'failed') this.#backend.remove(id);
    } catch (error) {
      this.#store.put(id, before.port);
      throw error;
    }
    this.#plugged.delete(id);
    return true;
  }

  get(id: string): Plugged<T> | undefined {
    return this.#plugged.get(id);
  }

  list(): Plugged<T>[] {
    return [...this.#plugged.values()];
  }

  /** The port once it is programmed; undefined after `milliseconds`. */
  async programmed(id: string, milliseconds: number): Promise<Plugged<T> | undefined> {
    const end = Date.now() + milliseconds;
    for (;;) {
      const now = this.#plugged.get(id);
      if (now?.state === 'programmed') return now;
      const left = end - Date.now();
      if (left <= 0) return undefined;
      await new Promise<void>((resolve) => {
        const wake = () => {
          clearTimeout(timer);
          this.#waiting.delete(wake);
          resolve();
        };
        const timer = setTimeout(wake, left);
        this.#waiting.add(wake);
      });
    }
  }

  #set(id: string, port: T, standing: Standing): Plugged<T> {
    const plugged: Plugged<T> =
      typeof standing === 'number'
        ? { id, port, state: 'programmed', generation: standing, error: null }
        : { id, port, state: 'waiting', generation: null, error: standing.waiting };
    this.#plugged.set(id, plugged);
    for (const wake of [...this.#waiting]) wake();
    return plugged;
  }
}
