/**
 * ForwarderLink: an agent's hold on its forwarder: finds or starts it, and brings it back when it dies.
 *
 * Invariants
 *  * A forwarder that serves and runs is taken over as it is (`resumed`); one that serves but does not run
 *    was left half made by somebody, and is replaced.
 *  * What a new forwarder gets, in this order: whose ids its flows are made with, the ports with the
 *    descriptors kept here, the tables as they were last committed, start. So no packet is looked at before
 *    everything it can meet is there, and flows find the next hops they are scoped to.
 *  * The first restart is at once; one that dies young again and again is restarted more and more slowly.
 *  * A forwarder is a process of its own session: what ends the agent does not end it.
 */
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { Logger } from 'pino';
import { DEFAULT_DIRECTORY } from '../cli/protocol.ts';
import type { NodeFile } from '../config/node.ts';
import type { DataplaneOptions } from '../dataplane/api.ts';
import { loadAddon } from '../dataplane/binding.ts';
import { type Descriptor, openDescriptor } from '../dataplane/descriptor.ts';
import { type Hello, openRemote, type RemoteDataplane } from '../dataplane/remote.ts';
import { VRouterError } from '../errors.ts';
import { startDetached } from './detached.ts';
import { forwarderArguments } from './forwarder-main.ts';

/** How long a started forwarder may take until it serves. */
const START_MS = 10_000;
const POLL_MS = 3;
/** A connection that we gave up ourselves has no end to hear of: it is looked at so often. */
const LOOK_MS = 1_000;
/** Older than this it did not die young. */
const ADULT_MS = 10_000;
const FIRST_WAIT_MS = 100;
const MAX_WAIT_MS = 5_000;
const PROCESS = 'forwarder-process.js';

export interface ForwarderHooks {
  /** The data plane is empty again, with its ports: make in it what it held. */
  restore(): void;
  /** It was away and went on: compare. */
  compare(): void;
}

export interface ForwarderLinkOptions {
  readonly socket: string;
  readonly dataplane: DataplaneOptions;
  readonly command?: readonly string[];
  readonly log: Logger;
}

export function forwarderLinkOptions(
  file: NodeFile,
  dataplane: DataplaneOptions,
  log: Logger,
): ForwarderLinkOptions {
  const { socket, flow_file, cpu, command } = file.forwarder ?? {};
  return {
    socket: socket ?? `${DEFAULT_DIRECTORY}/${file.name}.forwarder`,
    dataplane: {
      ...dataplane,
      flowFile: flow_file ?? `${DEFAULT_DIRECTORY}/${file.name}.flows`,
      ...(cpu === undefined ? {} : { cpu }),
    },
    ...(command === undefined ? {} : { command }),
    log,
  };
}

/** Compiled beside us, or, where sources run as they are, in dist/. */
function ownCommand(): readonly string[] {
  const here = dirname(fileURLToPath(import.meta.url));
  const beside = join(here, PROCESS);
  return [
    process.execPath,
    existsSync(beside) ? beside : join(here, '../../dist/program', PROCESS),
  ];
}

function drawOwner(): bigint {
  return randomBytes(8).readBigUInt64LE() | 1n; // 0 is nobody
}

export class ForwarderLink {
  readonly dataplane: RemoteDataplane;
  /** It went on without its agent. */
  readonly resumed: boolean;
  readonly #options: ForwarderLinkOptions;
  readonly #log: Logger;
  #owner: bigint;
  #hooks: ForwarderHooks | undefined;
  #watch: Descriptor | undefined;
  #timer: NodeJS.Timeout | undefined;
  #bringing = false;
  #closed = false;
  #born = Date.now();
  #young = 0;
  #restarts = 0;

  private constructor(
    options: ForwarderLinkOptions,
    dataplane: RemoteDataplane,
    resumed: boolean,
    owner: bigint,
  ) {
    this.#options = options;
    this.#log = options.log;
    this.dataplane = dataplane;
    this.resumed = resumed;
    this.#owner = owner;
  }

  static async open(options: ForwarderLinkOptions): Promise<ForwarderLink> {
    let dataplane = tryOpen(options.socket);
    if (dataplane !== undefined && !dataplane.running) {
      options.log.info('a forwarder that was never started is replaced');
      dataplane.quit();
      dataplane.close();
      dataplane = undefined;
      await gone(options.socket);
    }
    const resumed = dataplane !== undefined;
    if (dataplane === undefined) {
      const died = startProcess(options);
      dataplane = await served(() => tryOpen(options.socket), died);
    }
    const hello = dataplane.attach();
    const owner = resumed && hello.flowFile.owner !== 0n ? hello.flowFile.owner : drawOwner();
    const link = new ForwarderLink(options, dataplane, resumed, owner);
    if (resumed) dataplane.learnPorts();
    link.#greet(hello);
    return link;
  }

  /** How often it had to be started again. */
  get restarts(): number {
    return this.#restarts;
  }

  /** From here on a forwarder that is lost is brought back. */
  supervise(hooks: ForwarderHooks): void {
    this.#hooks = hooks;
    this.#watchEnd();
    this.#timer = setInterval(() => {
      if (this.dataplane.fd < 0) this.#lost();
    }, LOOK_MS);
    this.#timer.unref();
  }

  /** leave: it goes on forwarding, for the next agent. */
  close(leave: boolean): void {
    this.#closed = true;
    clearInterval(this.#timer);
    this.#watch?.close();
    if (!leave && this.dataplane.fd >= 0) this.dataplane.quit();
    this.dataplane.close();
  }

  #greet(hello: Hello): void {
    const { flowFile } = hello;
    const claimed = this.dataplane.claimFlows(this.#owner);
    const { entries, dropped, reason } = flowFile;
    const flows = flowFile.adopted ? { entries: claimed ? entries : 0, dropped } : { reason };
    this.#log.info({ pid: hello.pid, running: hello.running, flows }, 'forwarder attached');
    if (!claimed) this.#log.warn('its flows were made for an agent that is gone: they begin anew');
    this.#born = Date.now();
  }

  #watchEnd(): void {
    this.#watch?.close();
    const watch = openDescriptor(loadAddon().addon.duplicateDescriptor(this.dataplane.fd));
    // Answers are read by the calls they belong to: what is left to hear is the end.
    watch.onReadable(() => {
      watch.close();
      this.#lost();
    });
    this.#watch = watch;
  }

  #lost(): void {
    if (this.#closed || this.#bringing) return;
    this.#bringing = true;
    this.#young = Date.now() - this.#born < ADULT_MS ? this.#young + 1 : 0;
    this.#log.warn({ young: this.#young }, 'forwarder lost');
    void this.#bring();
  }

  async #bring(): Promise<void> {
    const began = performance.now();
    for (;;) {
      if (this.#young > 1) {
        await sleep(Math.min(FIRST_WAIT_MS * 2 ** (this.#young - 2), MAX_WAIT_MS));
      }
      if (this.#closed) return;
      try {
        await this.#bringOnce();
        break;
      } catch (error) {
        this.#log.error({ err: error }, 'forwarder not brought back');
        this.#young++;
      }
    }
    this.#bringing = false;
    const ms = Math.round(performance.now() - began);
    this.#log.info({ ms, restarts: this.#restarts }, 'forwarder is back');
  }

  async #bringOnce(): Promise<void> {
    let hello = this.#tryAttach();
    if (hello === undefined) {
      this.#restarts++;
      const died = startProcess(this.#options);
      hello = await served(() => this.#tryAttach(), died);
    }
    if (this.#closed) return;
    this.#greet(hello);
    if (hello.running) {
      this.#hooks?.compare();
    } else {
      try {
        this.dataplane.giveBackPorts();
        this.#hooks?.restore();
        this.dataplane.start();
      } catch (error) {
        // Half made: the next one begins from nothing.
        if (this.dataplane.fd >= 0) this.dataplane.quit();
        await gone(this.#options.socket);
        throw error;
      }
    }
    this.#watchEnd();
  }

  #tryAttach(): Hello | undefined {
    return unlessClosed(() => this.dataplane.attach());
  }
}

function unlessClosed<T>(run: () => T): T | undefined {
  try {
    return run();
  } catch (error) {
    if (error instanceof VRouterError && error.code === 'CLOSED') return undefined;
    throw error;
  }
}

function tryOpen(path: string): RemoteDataplane | undefined {
  return unlessClosed(() => openRemote({ path }));
}

/** Returns what tells of its end, should it end. */
function startProcess(options: ForwarderLinkOptions): () => string | undefined {
  const wanted = forwarderArguments({ ...options.dataplane, socket: options.socket });
  return startDetached([...(options.command ?? ownCommand()), ...wanted]);
}

async function served<T>(ask: () => T | undefined, died: () => string | undefined): Promise<T> {
  const end = Date.now() + START_MS;
  for (;;) {
    const answer = ask();
    if (answer !== undefined) return answer;
    const why = died() ?? (Date.now() > end ? `it does not serve after ${START_MS} ms` : undefined);
    if (why !== undefined) throw new VRouterError('NO_FORWARDER', `no forwarder: ${why}`);
    await sleep(POLL_MS);
  }
}

/** Until nobody serves there any more. */
async function gone(path: string): Promise<void> {
  for (let i = 0; i < START_MS / POLL_MS && existsSync(path); i++) await sleep(POLL_MS);
}
