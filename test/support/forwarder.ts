/**
 * A forwarder process for a test, and its Dataplane. Opening is synchronous, like a Dataplane's: the process
 * is waited for here.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, existsSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import type { Dataplane, DataplaneOptions } from '../../src/dataplane/api.ts';
import { openRemote, type RemoteDataplane } from '../../src/dataplane/remote.ts';
import { VRouterError } from '../../src/errors.ts';
import { forwarderArguments } from '../../src/program/forwarder-main.ts';

export const FORWARDER = resolve(import.meta.dirname, '../../dist/program/forwarder-process.js');

const waiting = new Int32Array(new SharedArrayBuffer(4));
export function sleepNow(ms: number): void {
  Atomics.wait(waiting, 0, 0, ms);
}

export interface TestForwarder {
  readonly socket: string;
  readonly directory: string;
  readonly process: ChildProcess;
  readonly remote: RemoteDataplane;
  log(): string;
  /** SIGKILL, and the files. */
  remove(): void;
}

export function spawnForwarder(
  directory: string,
  options: DataplaneOptions = {},
): { readonly socket: string; readonly process: ChildProcess; log(): string } {
  if (!existsSync(FORWARDER)) throw new Error(`${FORWARDER} is not built: node scripts/setup.mjs`);
  if (typeof options !== 'object')
    throw new VRouterError('BAD_ARGUMENT', 'options must be an object');
  const socket = join(directory, 'forwarder.sock');
  const words = join(directory, 'forwarder.log');
  const log = openSync(words, 'a');
  const child = spawn(
    process.execPath,
    [FORWARDER, ...forwarderArguments({ ...options, socket })],
    { stdio: ['ignore', 'ignore', log] },
  );
  closeSync(log);
  return { socket, process: child, log: () => readFileSync(words, 'utf8') };
}

export function startTestForwarder(options: DataplaneOptions = {}): TestForwarder {
  const directory = mkdtempSync(join(tmpdir(), 'vrouter-forwarder-'));
  let started: ReturnType<typeof spawnForwarder>;
  try {
    started = spawnForwarder(directory, options);
  } catch (error) {
    rmSync(directory, { recursive: true });
    throw error;
  }
  const remove = () => {
    started.process.kill('SIGKILL');
    rmSync(directory, { recursive: true, force: true });
  };
  for (let i = 0; i < 2000; i++) {
    try {
      const remote = openRemote({ path: started.socket });
      return { ...started, directory, remote, remove };
    } catch (error) {
      if (!(error instanceof VRouterError) || error.code !== 'CLOSED') throw error;
    }
    const refused = /^vrouter forwarder: ([A-Z_]+): (.*)$/m.exec(started.log());
    if (refused !== null) {
      remove();
      throw new VRouterError(refused[1] as string, refused[2] as string);
    }
    sleepNow(5);
  }
  remove();
  throw new Error(`the forwarder does not serve: ${started.log()}`);
}

/** Like openDataplane; the process goes when it is closed. */
export function openInForwarder(options: DataplaneOptions = {}): Dataplane {
  const { remote, remove } = startTestForwarder(options);
  const close = remote.close.bind(remote);
  return Object.assign(remote, {
    close: () => {
      close();
      remove();
    },
  });
}
