/**
 * `vrouter forwarder`: the data plane as a process of its own. It opens no port of the kernel's and decides
 * nothing: an agent connects, programs it and hands over descriptors (dataplane/protocol.ts). It goes on
 * when the agent is gone, and its flows are in a file that the next forwarder takes over.
 *
 * Invariants
 *  * It forwards nothing before an agent has said start(); until then frames wait in the kernel's queues.
 *  * A client's nonsense ends that client's connection and changes nothing.
 *  * SIGTERM: what has been received goes out, the flow file is left in order, exit status 0.
 *
 * This file is loaded when a forwarder has died and packets wait: it imports little on purpose.
 */
import { mkdirSync, rmSync } from 'node:fs';
import { dirname } from 'node:path';
import type { DataplaneOptions } from '../dataplane/api.ts';
import { loadAddon, type NativeChannel } from '../dataplane/binding.ts';
import { type Descriptor, openDescriptor } from '../dataplane/descriptor.ts';
import { type Served, serve } from '../dataplane/protocol.ts';
import { VRouterError } from '../errors.ts';

export interface ForwarderOptions extends DataplaneOptions {
  readonly socket: string;
}

export interface RunningForwarder {
  readonly socket: string;
  /** Resolves when a client has told it to end. */
  readonly quit: Promise<void>;
  stop(): Promise<void>;
}

const MAX_CLIENTS = 16;
/** A client that does not read its answer holds up the others for so long, then it goes. */
const SEND_MS = 1000;

/** One line of JSON on stderr, as pino writes them. */
function log(level: number, msg: string, fields: object = {}): void {
  const line = { level, time: Date.now(), pid: process.pid, name: 'forwarder', ...fields, msg };
  const text = JSON.stringify(line, (_, v) => (typeof v === 'bigint' ? `${v}` : v));
  process.stderr.write(`${text}\n`);
}
const INFO = 30;
const WARN = 40;

class Client {
  readonly #channel: NativeChannel;
  readonly #watch: Descriptor;
  readonly #served: Served;
  readonly #gone: () => void;

  constructor(fd: number, served: Served, gone: () => void) {
    const { addon } = loadAddon();
    this.#served = served;
    this.#gone = gone;
    this.#channel = new addon.Channel(fd);
    this.#watch = openDescriptor(addon.duplicateDescriptor(fd));
    this.#watch.onReadable(() => this.#readable());
  }

  #readable(): void {
    const { closeDescriptor } = loadAddon().addon;
    try {
      for (;;) {
        const request = this.#channel.receive();
        if (request === undefined) return;
        const answer = serve(this.#served, request.bytes, request.fds, closeDescriptor);
        try {
          this.#channel.send(answer.bytes, answer.fds, SEND_MS);
        } finally {
          for (const fd of answer.fds) closeDescriptor(fd);
        }
      }
    } catch (error) {
      if (!(error instanceof VRouterError)) throw error;
      if (error.code !== 'CLOSED')
        log(WARN, `client ended: ${error.message}`, { code: error.code });
      this.close();
      this.#gone();
    }
  }

  close(): void {
    this.#watch.close();
    this.#channel.close();
  }
}

/** Throws BUSY if another process serves the socket; a file that a dead one left is removed. */
function listen(path: string): number {
  const { addon } = loadAddon();
  mkdirSync(dirname(path), { recursive: true });
  let other: NativeChannel | undefined;
  try {
    other = new addon.Channel(path);
  } catch {
    rmSync(path, { force: true });
  }
  if (other !== undefined) {
    other.close();
    throw new VRouterError('BUSY', `${path}: another process serves this socket`);
  }
  return addon.listenUnix(path);
}

export function startForwarder(options: ForwarderOptions): RunningForwarder {
  const { addon, path: addonPath } = loadAddon();
  const { socket, ...dataplane } = options;
  // Whoever read our words may end before us.
  process.stderr.on('error', () => {});
  // First: two of them must not come to the flow file.
  const listener = openDescriptor(listen(socket));
  let native: Served['native'];
  try {
    native = new addon.Dataplane(dataplane);
  } catch (error) {
    listener.close();
    rmSync(socket, { force: true });
    throw error;
  }
  const flows = native.flowFile();
  if (options.flowFile !== undefined) {
    const { reason, entries, dropped, faults, runs } = flows;
    if (flows.adopted) log(INFO, 'flows taken over', { entries, dropped, faults, runs });
    else log(flows.file ? INFO : WARN, `flows begin empty: ${reason}`);
  }
  let quit = () => {};
  const asked = new Promise<void>((resolve) => {
    quit = resolve;
  });
  const served: Served = { native, addonPath, ports: new Map(), running: false, quit };
  const clients = new Set<Client>();
  listener.onReadable(() => {
    for (let fd = addon.acceptUnix(listener.fd); fd >= 0; fd = addon.acceptUnix(listener.fd)) {
      if (clients.size >= MAX_CLIENTS) {
        log(WARN, `${MAX_CLIENTS} clients are connected already: refused`);
        addon.closeDescriptor(fd);
        continue;
      }
      const client = new Client(fd, served, () => clients.delete(client));
      clients.add(client);
    }
  });
  // Descriptors do not keep a process alive.
  const alive = setInterval(() => {}, 1 << 30);
  log(INFO, 'ready', { socket, addon: addonPath });
  return {
    socket,
    quit: asked,
    async stop() {
      clearInterval(alive);
      listener.close();
      rmSync(socket, { force: true });
      for (const client of clients) client.close();
      native.stop();
      native.close();
      log(INFO, 'stopped');
    },
  };
}
