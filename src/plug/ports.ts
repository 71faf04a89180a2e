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
 */
import { isDeepStrictEqual } from 'node:util';
import { VRouterError } from '../errors.ts';
import type { PortStore } from './store.ts';

/** Limit of ports, all of them together: the data plane's vifs. */
export const MAX_PORTS = 4352;

export interface PortsBackend<T> {
  /** A vif of this name exists, plugged or not. */
  exists(id: string): boolean;
  /** Returns the generation in which it forwards. */
  add(id: string, port: T): number;
  change(id: string, before: T, port: T): number;
  remove(id: string): number;
}

export interface Plugged<T> {
  readonly id: string;
  readonly port: T;
  readonly state: 'programmed' | 'failed';
  readonly generation: number | null;
  /** Why it is not programmed: at start, from disk. */
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
    if (before?.state === 'programmed') {
      if (isDeepStrictEqual(before.port, port)) return { outcome: 'same', plugged: before };
      const generation = this.#backend.change(id, before.port, port);
      this.#store.put(id, port);
      return { outcome: 'changed', plugged: this.#set(id, port, generation) };
    }
    if (before === undefined && this.#backend.exists(id)) {
      throw new VRouterError('CONFLICT', `vif ${id} exists, and was not plugged in here`);
    }
    if (before === undefined && this.#plugged.size >= MAX_PORTS) {
      throw new VRouterError('TABLE_FULL', `${MAX_PORTS} ports are plugged in`);
    }
    const generation = this.#backend.add(id, port);
    this.#store.put(id, port);
    return { outcome: 'added', plugged: this.#set(id, port, generation) };
  }

  /** Whether there was one. */
  remove(id: string): boolean {
    const before = this.#plugged.get(id);
    if (before === undefined) return false;
    this.#store.remove(id);
    try {
      if (before.state === 'programmed') this.#backend.remove(id);
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

  #set(id: string, port: T, generation: number): Plugged<T> {
    const plugged: Plugged<T> = { id, port, state: 'programmed', generation, error: null };
    this.#plugged.set(id, plugged);
    for (const wake of [...this.#waiting]) wake();
    return plugged;
  }
}
