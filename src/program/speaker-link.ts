/**
 * SpeakerLink: a control node's hold on its BGP speaker: finds or starts it, says what it is to do, and comes back to it, or to
 * another, when the connection ends.
 *
 * Invariants
 *  * A speaker that is there is taken as it is; one that has sessions as somebody else (another AS, another id) is replaced.
 *  * Said again is everything, each time. The end-of-rib follows at once where this control node has been there for a while,
 *    or where nobody keeps what the one before has said; else after `settleSeconds`, for agents have to come back first.
 *  * What a speaker has told stays, marked, when it is gone. One that had gone on says all again, and what it has not is
 *    swept; one that begins anew has nothing yet: `staleSeconds` after the loss what it has not said by then is swept.
 *  * A speaker is a process of its own session: what ends the control node does not end it.
 */
import { existsSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { Logger } from 'pino';
import { MAX_CALLS, MAX_LINK_WAITING_BYTES } from '../bgp/limits.ts';
import { FRAME, type Frame, FrameReader } from '../bgp/link/frame.ts';
import { LINK_VERSION, messageFrame, readToControl, type ToControl } from '../bgp/link/messages.ts';
import { readChangeBatch } from '../bgp/link/route-batch.ts';
import { DEFAULT_DIRECTORY } from '../cli/protocol.ts';
import {
  type BgpFile,
  DEFAULT_KEEP_SECONDS,
  DEFAULT_SPEAKER_SETTLE_SECONDS,
  DEFAULT_STALE_SECONDS,
} from '../config/bgp.ts';
import type { Federation } from '../control/bgp-federation.ts';
import type { Sender } from '../control/bgp-paths.ts';
import { RemoteRib } from '../control/bgp-remote.ts';
import { ParseError, VRouterError } from '../errors.ts';
import { startDetached } from './detached.ts';
import type { BgpEvents } from './speaker-part.ts';

/** How long a started speaker may take until it serves, and one that another control node has, until that is gone. */
const START_MS = 10_000;
const POLL_MS = 10;
const FIRST_WAIT_MS = 100;
const MAX_WAIT_MS = 5_000;
const MAIN = 'cli/main.js';

export interface SpeakerLinkOptions {
  readonly name: string;
  readonly socket: string;
  /** Undefined: somebody else starts it. */
  readonly command: readonly string[] | undefined;
  readonly bgp: BgpFile;
  readonly keepSeconds: number;
  readonly settleSeconds: number;
  readonly staleSeconds: number;
  readonly log: Logger;
}

export function speakerLinkOptions(name: string, bgp: BgpFile, log: Logger): SpeakerLinkOptions {
  const { speaker = {} } = bgp;
  return {
    ...{ name, bgp, log },
    socket: speaker.socket ?? `${DEFAULT_DIRECTORY}/${name}.speaker`,
    command: speaker.supervised === true ? undefined : (speaker.command ?? ownCommand()),
    keepSeconds: speaker.keep_seconds ?? DEFAULT_KEEP_SECONDS,
    settleSeconds: bgp.settle_seconds ?? DEFAULT_SPEAKER_SETTLE_SECONDS,
    staleSeconds: speaker.stale_seconds ?? DEFAULT_STALE_SECONDS,
  };
}

/** Compiled beside us, or, where sources run as they are, in dist/. */
function ownCommand(): readonly string[] {
  const above = join(dirname(fileURLToPath(import.meta.url)), '..');
  const beside = join(above, MAIN);
  const main = existsSync(beside) ? beside : join(above, '../dist', MAIN);
  return [process.execPath, main, 'speaker'];
}

type Welcome = ToControl & { readonly type: 'welcome' };

interface Call {
  resolve(result: unknown): void;
  reject(error: Error): void;
}

const away = (): VRouterError => new VRouterError('NO_SPEAKER', 'the BGP speaker is away');

export class SpeakerLink {
  readonly rib: RemoteRib;
  readonly #options: SpeakerLinkOptions;
  readonly #federation: Pick<Federation, 'changed' | 'lost' | 'sweep'>;
  readonly #events: BgpEvents;
  readonly #log: Logger;
  readonly #senders = new Map<string, Sender>();
  readonly #calls = new Map<number, Call>();
  #lastCall = 0;
  /** Of an attached speaker. */
  #socket: Socket | undefined;
  #welcome: Welcome | undefined;
  /** Our agents have had their time. */
  #settled = false;
  #settleTimer: NodeJS.Timeout | undefined;
  #staleTimer: NodeJS.Timeout | undefined;
  #pumping = false;
  #closed = false;
  #restarts = 0;

  constructor(
    options: SpeakerLinkOptions,
    federation: Pick<Federation, 'changed' | 'lost' | 'sweep'>,
    events: BgpEvents,
  ) {
    this.#options = options;
    this.#federation = federation;
    this.#events = events;
    this.#log = options.log;
    this.rib = new RemoteRib(
      () => this.#pumpSoon(),
      ({ family, nlri }) => this.#log.warn({ family, nlri }, 'too long a route to be said'),
    );
  }

  get ports(): readonly number[] {
    return this.#welcome?.ports ?? [];
  }

  /** How often it had to be started again. */
  get restarts(): number {
    return this.#restarts;
  }

  sender(neighbour: string): Sender {
    return this.#senders.get(neighbour) ?? { external: false, id: '' };
  }

  /** Throws what the speaker refuses us for, and NO_SPEAKER. */
  async open(): Promise<void> {
    const end = Date.now() + START_MS;
    await this.#bring((code) => !PASSING.has(code) || Date.now() > end);
  }

  call(method: string, params: unknown): Promise<unknown> {
    const socket = this.#socket;
    if (socket === undefined) throw away();
    if (this.#calls.size >= MAX_CALLS) {
      throw new VRouterError('BUSY', `${MAX_CALLS} calls are not answered yet`);
    }
    const id = ++this.#lastCall;
    return new Promise((resolve, reject) => {
      this.#calls.set(id, { resolve, reject });
      socket.write(messageFrame({ type: 'call', id, method, params: params ?? {} }));
    });
  }

  /** leave: it goes on with its sessions, for the next control node. */
  close(leave: boolean): void {
    this.#closed = true;
    clearTimeout(this.#settleTimer);
    clearTimeout(this.#staleTimer);
    if (!leave) this.#socket?.write(messageFrame({ type: 'quit' }));
    this.#socket?.end();
  }

  // --- finding it ------------------------------------------------------------------------------------

  /** Until there is one, or until `gaveUp` with what it was refused for. */
  async #bring(gaveUp: (code: string) => boolean): Promise<void> {
    for (let wait = FIRST_WAIT_MS; !this.#closed; wait = Math.min(wait * 2, MAX_WAIT_MS)) {
      try {
        await this.#attachOrStart();
        return;
      } catch (error) {
        const code = error instanceof VRouterError ? error.code : 'INTERNAL';
        if (gaveUp(code)) throw error;
        this.#log.warn({ err: error }, 'no BGP speaker yet');
      }
      await sleep(wait);
    }
  }

  async #attachOrStart(): Promise<void> {
    if (await this.#replacing()) return;
    const died = this.#start() ?? (() => undefined);
    const end = Date.now() + START_MS;
    while (!(await this.#attach())) {
      const late = Date.now() > end ? `it does not serve after ${START_MS} ms` : undefined;
      const why = died() ?? late;
      if (why !== undefined) throw new VRouterError('NO_SPEAKER', `no BGP speaker: ${why}`);
      await sleep(POLL_MS);
    }
  }

  /** False: nobody serves there, or not any more. */
  async #replacing(): Promise<boolean> {
    try {
      return await this.#attach();
    } catch (error) {
      if (!(error instanceof VRouterError) || error.code !== 'OTHER_SPEAKER') throw error;
      this.#log.warn({ err: error }, 'the BGP speaker is replaced');
      const socket = connect(this.#options.socket);
      socket.on('error', () => socket.destroy());
      socket.end(messageFrame({ type: 'quit' }));
      for (let i = 0; i < START_MS / POLL_MS && existsSync(this.#options.socket); i++) {
        await sleep(POLL_MS);
      }
      return false;
    }
  }

  /** Returns what tells of its end, should it end; nothing, where it is only waited for. */
  #start(): (() => string | undefined) | undefined {
    const { command, socket, log } = this.#options;
    if (command === undefined) return undefined;
    this.#restarts++;
    return startDetached([...command, '--socket', socket, '--log-level', log.level]);
  }

  /** False: nobody serves there. Throws what is said instead of a welcome. */
  #attach(): Promise<boolean> {
    const { name, bgp, keepSeconds } = this.#options;
    return new Promise((resolve, reject) => {
      const socket = connect(this.#options.socket);
      const reader = new FrameReader();
      let why: Error | undefined;
      socket.on('connect', () => {
        const hello = { type: 'hello', version: LINK_VERSION, pid: process.pid } as const;
        socket.write(messageFrame({ ...hello, name, keepSeconds, bgp }));
      });
      socket.on('data', (bytes) => {
        try {
          for (const frame of reader.push(bytes)) {
            const welcome = this.#take(socket, frame);
            if (welcome !== undefined) resolve(true);
          }
        } catch (error) {
          why = error as Error;
          socket.destroy();
          // What is neither nonsense nor a refusal is an error of ours.
          if (!(error instanceof ParseError || error instanceof VRouterError)) throw error;
        }
      });
      socket.on('drain', () => this.#pump());
      socket.on('error', (error: NodeJS.ErrnoException) => {
        if (NOBODY.has(error.code ?? '')) resolve(false);
        why ??= new VRouterError('CLOSED', error.message);
      });
      socket.on('close', () => {
        reject(why ?? new VRouterError('CLOSED', 'the BGP speaker has hung up'));
        if (this.#socket === socket) this.#lost(why);
      });
    });
  }

  // --- what it says ----------------------------------------------------------------------------------

  /** Returns the welcome, should it be one. */
  #take(socket: Socket, { kind, body }: Frame): Welcome | undefined {
    const attached = this.#socket === socket;
    if (kind === FRAME.changes && attached) {
      this.#federation.changed(readChangeBatch(body));
      return undefined;
    }
    if (kind !== FRAME.message) throw new ParseError(`frame: ${kind} is not expected`);
    const message = readToControl(body);
    if (message.type === 'error') throw new VRouterError(message.code, message.message);
    if (message.type === 'welcome') {
      if (attached) throw new ParseError('type: a second welcome');
      this.#attached(socket, message);
      return message;
    }
    if (!attached) throw new ParseError(`type: ${message.type} before welcome`);
    this.#hear(message);
    return undefined;
  }

  #hear(message: Exclude<ToControl, { type: 'welcome' | 'error' }>): void {
    if (message.type === 'sender') {
      const { name, external, id, encapsulation } = message;
      this.#senders.set(name, { external, id, ...(encapsulation && { encapsulation }) });
    } else if (message.type === 'end-of-rib') {
      if (this.#welcome?.resumed === true) this.#sweep();
    } else if (message.type === 'session') {
      this.#events.onSession(message.neighbour, message.state, message.why);
    } else if (message.type === 'trouble') {
      const error = new VRouterError('BGP_SPEAKER', message.message);
      this.#events.onError(error, message.what);
    } else {
      const call = this.#calls.get(message.id);
      this.#calls.delete(message.id);
      const { error, result } = message;
      if (error === undefined) call?.resolve(result);
      else call?.reject(new VRouterError(error.code, error.message));
    }
  }

  #attached(socket: Socket, welcome: Welcome): void {
    if (welcome.version !== LINK_VERSION) {
      throw new VRouterError('BAD_VERSION', `version ${welcome.version} is not spoken here`);
    }
    this.#socket = socket;
    this.#welcome = welcome;
    const { pid, resumed, kept } = welcome;
    this.#log.info({ pid, resumed, kept }, 'BGP speaker attached');
    this.rib.begin();
    if (!resumed && !welcome.restarts) this.#settled = true;
    if (this.#settled) this.rib.end();
    else this.#settleTimer ??= setTimeout(() => this.#settle(), this.#options.settleSeconds * 1000);
    this.#pump();
  }

  #settle(): void {
    this.#settled = true;
    if (this.#socket !== undefined) this.rib.end();
  }

  #lost(why: Error | undefined): void {
    this.#socket = undefined;
    const calls = [...this.#calls.values()];
    this.#calls.clear();
    for (const call of calls) call.reject(away());
    if (this.#closed) return;
    this.#log.warn({ err: why }, 'BGP speaker lost');
    this.#federation.lost();
    clearTimeout(this.#staleTimer);
    this.#staleTimer = setTimeout(() => this.#sweep(), this.#options.staleSeconds * 1000);
    void this.#bring(() => false);
  }

  #sweep(): void {
    clearTimeout(this.#staleTimer);
    const routes = this.#federation.sweep();
    if (routes > 0) this.#log.info({ routes }, 'routes of BGP swept');
  }

  // --- what it is told -------------------------------------------------------------------------------

  /** After whoever has something to say has said all of it. */
  #pumpSoon(): void {
    if (this.#pumping) return;
    this.#pumping = true;
    setImmediate(() => {
      this.#pumping = false;
      this.#pump();
    });
  }

  /** One batch, and the next one after sockets and timers have been looked at. */
  #pump(): void {
    const socket = this.#socket;
    // `drain` asks again.
    if (socket === undefined || socket.writableLength >= MAX_LINK_WAITING_BYTES) return;
    const frame = this.rib.next();
    if (frame === undefined) return;
    socket.write(frame);
    this.#pumpSoon();
  }
}

/** Of a connection that could not be made. */
const NOBODY: ReadonlySet<string> = new Set(['ENOENT', 'ECONNREFUSED']);
/** May be over in a moment: another control node that is just ending, a speaker that is. */
const PASSING: ReadonlySet<string> = new Set(['BUSY', 'CLOSED']);
