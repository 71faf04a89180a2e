/**
 * Lab: what a run on real kernels makes of the machine (network namespaces, processes, a directory), and
 * the promise that all of it goes again.
 *
 * Invariants
 *  * Namespaces and directory carry our pid in their names; only what was made here is ended or removed:
 *    processes by their pid, namespaces by their name.
 *  * Everything goes on close(), and at once when this process exits, whatever the reason. Processes ask
 *    the kernel to end with us (pdeathsig), so that even SIGKILL leaves none behind.
 *  * A service that ends before it is told to makes `broken` reject, with its last words.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { accessSync, constants, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { NetworkNamespace } from './netns.ts';

export class LabError extends Error {
  override readonly name = 'LabError';
  readonly code = 'LAB';
}

export interface Ended {
  /** Null: by a signal, or it could not be started. */
  readonly status: number | null;
  readonly out: string;
  readonly err: string;
}

export interface RunOptions {
  readonly namespace?: NetworkNamespace | undefined;
  readonly env?: NodeJS.ProcessEnv;
}

export interface StartOptions extends RunOptions {
  /** Its end by itself is no failure of the lab's. */
  readonly mayEnd?: boolean;
}

/** A process that runs until it is told to end. */
export interface Service {
  readonly name: string;
  readonly pid: number;
  /** All it has written so far. */
  readonly out: () => string;
  readonly err: () => string;
  readonly ended: Promise<Ended>;
  /** SIGTERM, then SIGKILL when that is not heard. */
  stop(): Promise<Ended>;
  /** SIGKILL: it has no time to say anything. */
  kill(): Promise<Ended>;
}

const POLL_MS = 20;
const PATIENCE_MS = 5_000;
/** What is kept of a service's output: of a ping a millisecond, two minutes. */
const TAIL = 8 << 20;

export function haveCommand(name: string): boolean {
  return (process.env.PATH ?? '').split(delimiter).some((folder) => {
    try {
      accessSync(join(folder, name), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

interface Child {
  readonly process: ChildProcess;
  readonly ended: Promise<Ended>;
  readonly out: () => string;
  readonly err: () => string;
}

export class Lab {
  readonly directory: string;
  /** Rejects when a service ends by itself; never resolves. */
  readonly broken: Promise<never>;
  readonly #namespaces: NetworkNamespace[] = [];
  readonly #children = new Set<ChildProcess>();
  readonly #services: Service[] = [];
  readonly #onExit = () => this.#removeNow();
  #break: (error: Error) => void = () => {};
  #closing = false;

  constructor() {
    this.directory = mkdtempSync(join(tmpdir(), `vrouter-lab-${process.pid}-`));
    this.broken = new Promise((_, reject) => {
      this.#break = reject;
    });
    this.broken.catch(() => {});
    process.on('exit', this.#onExit);
  }

  path(name: string): string {
    return join(this.directory, name);
  }

  async namespace(name: string): Promise<NetworkNamespace> {
    if (this.#closing) throw new LabError('the lab is closed');
    const made = NetworkNamespace.make(`vrd${process.pid}-${name}`);
    this.#namespaces.push(made);
    await made.prepare();
    return made;
  }

  /** Runs to the end, whatever the exit status. */
  run(argv: readonly string[], options: RunOptions = {}): Promise<Ended> {
    return this.#spawn(argv, options, Number.POSITIVE_INFINITY).ended;
  }

  start(name: string, argv: readonly string[], options: StartOptions = {}): Service {
    const child = this.#spawn(argv, options, TAIL);
    let told = options.mayEnd === true;
    void child.ended.then(({ status, err }) => {
      if (told || this.#closing) return;
      const words = err.trim().split('\n').slice(-5).join('\n');
      this.#break(new LabError(`${name} ended by itself (exit status ${status}): ${words}`));
    });
    const service: Service = {
      name,
      pid: child.process.pid ?? 0,
      out: child.out,
      err: child.err,
      ended: child.ended,
      stop: async () => {
        told = true;
        child.process.kill('SIGTERM');
        const late = setTimeout(() => child.process.kill('SIGKILL'), PATIENCE_MS);
        const ended = await child.ended;
        clearTimeout(late);
        return ended;
      },
      kill: () => {
        told = true;
        child.process.kill('SIGKILL');
        return child.ended;
      },
    };
    this.#services.push(service);
    return service;
  }

  /** Asks until the answer is not undefined; undefined after `patienceMs`. Errors mean: not yet. */
  async poll<T>(ask: () => Promise<T | undefined>, patienceMs: number): Promise<T | undefined> {
    const end = Date.now() + patienceMs;
    for (;;) {
      try {
        const answer = await ask();
        if (answer !== undefined) return answer;
      } catch {
        // A process that does not listen yet.
      }
      if (this.#closing || Date.now() >= end) return undefined;
      await sleep(POLL_MS);
    }
  }

  /** The same, but it has to come. */
  async until<T>(what: string, ask: () => Promise<T | undefined>, patienceMs: number): Promise<T> {
    let last = '';
    const noting = async () => {
      try {
        return await ask();
      } catch (error) {
        last = error instanceof Error ? `: ${error.message}` : '';
        throw error;
      }
    };
    const answer = await this.poll(noting, patienceMs);
    if (answer === undefined) throw new LabError(`not in ${patienceMs} ms: ${what}${last}`);
    return answer;
  }

  /** In the opposite order of making. Does not throw before everything was tried. */
  async close(): Promise<void> {
    this.#closing = true;
    for (const service of this.#services.toReversed()) await service.stop();
    process.off('exit', this.#onExit);
    const left = this.#removeNow();
    if (left.length > 0) throw new LabError(`not removed: ${left.join('; ')}`);
  }

  #spawn(argv: readonly string[], options: RunOptions, keep: number): Child {
    if (this.#closing) throw new LabError('the lab is closed');
    const dying = ['setpriv', '--pdeathsig', 'TERM', ...argv];
    const [file = '', ...args] = options.namespace?.enter(dying) ?? dying;
    const child = spawn(file, args, {
      stdio: ['ignore', 'pipe', 'pipe'],
      ...(options.env === undefined ? {} : { env: { ...process.env, ...options.env } }),
    });
    this.#children.add(child);
    let out = '';
    let err = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      out = (out + text).slice(-keep);
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      err = (err + text).slice(-keep);
    });
    const ended = new Promise<Ended>((resolve) => {
      child.on('error', (error) => {
        this.#children.delete(child);
        resolve({ status: null, out, err: err + error.message });
      });
      child.on('close', (status) => {
        this.#children.delete(child);
        resolve({ status, out, err });
      });
    });
    return { process: child, ended, out: () => out, err: () => err };
  }

  /** What could not be removed. */
  #removeNow(): string[] {
    const left: string[] = [];
    const attempt = (remove: () => void) => {
      try {
        remove();
      } catch (error) {
        left.push(error instanceof Error ? error.message : String(error));
      }
    };
    this.#closing = true;
    for (const child of this.#children) child.kill('SIGKILL');
    for (const namespace of this.#namespaces.splice(0)) attempt(() => namespace.remove());
    attempt(() => rmSync(this.directory, { recursive: true, force: true }));
    return left;
  }
}
