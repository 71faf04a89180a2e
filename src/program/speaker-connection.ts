/**
 * A speaker's end of one connection: frames in, checked, to whoever is at home (speaker.ts); best paths out, as far as they
 * are taken.
 *
 * Invariants
 *  * The first message is a hello; until it has been answered nothing more is read.
 *  * After an error has been told nothing is read or said any more.
 */
import type { Socket } from 'node:net';
import { HELLO_MS, MAX_LINK_UNREAD_BYTES, MAX_LINK_WAITING_BYTES } from '../bgp/limits.ts';
import { FRAME, type Frame, FrameReader } from '../bgp/link/frame.ts';
import { messageFrame, readToSpeaker, type ToSpeaker } from '../bgp/link/messages.ts';
import { readRouteBatch, type SaidRoute } from '../bgp/link/route-batch.ts';
import type { Untold } from '../bgp/link/untold.ts';
import { ParseError } from '../errors.ts';

type Hello = ToSpeaker & { readonly type: 'hello' };

export interface ControlHome {
  /** Answers it, or throws why not. */
  hello(connection: ControlConnection, hello: Hello): Promise<void>;
  take(connection: ControlConnection, message: Exclude<ToSpeaker, Hello>): void;
  takeRoutes(said: readonly SaidRoute[]): void;
  mayQuit(): void;
  failed(connection: ControlConnection, error: unknown): void;
  closed(connection: ControlConnection): void;
}

export class ControlConnection {
  readonly #socket: Socket;
  readonly #home: ControlHome;
  readonly #reader = new FrameReader();
  #queue: Frame[] = [];
  #state: 'new' | 'greeting' | 'open' | 'over' = 'new';
  #untold: Untold | undefined;
  #pumping = false;

  constructor(socket: Socket, home: ControlHome) {
    this.#socket = socket;
    this.#home = home;
    const impatience = setTimeout(() => socket.destroy(), HELLO_MS);
    socket.on('data', (bytes) => {
      clearTimeout(impatience);
      this.#read(bytes);
    });
    socket.on('drain', () => this.pump());
    socket.on('error', () => socket.destroy());
    socket.on('close', () => {
      clearTimeout(impatience);
      this.#state = 'over';
      home.closed(this);
    });
  }

  get closed(): boolean {
    return this.#state === 'over';
  }

  /** Its hello has been taken: from here on it is told what waits. */
  open(untold: Untold): void {
    this.#state = 'open';
    this.#untold = untold;
  }

  send(frame: Uint8Array): void {
    if (this.#state === 'over') return;
    if (this.#socket.writableLength > MAX_LINK_UNREAD_BYTES) this.destroy();
    else this.#socket.write(frame);
  }

  /** After whoever has something to tell has told all of it. */
  pumpSoon(): void {
    if (this.#pumping) return;
    this.#pumping = true;
    setImmediate(() => {
      this.#pumping = false;
      this.pump();
    });
  }

  /** One batch, and the next one after sockets and timers have been looked at. */
  pump(): void {
    const untold = this.#untold;
    if (this.#state !== 'open' || untold === undefined) return;
    // `drain` asks again.
    if (this.#socket.writableLength >= MAX_LINK_WAITING_BYTES) return;
    for (const frame of untold.next()) this.#socket.write(frame);
    if (untold.size > 0) this.pumpSoon();
  }

  destroy(): void {
    this.#socket.destroy();
  }

  // --- in --------------------------------------------------------------------------------------------

  #read(bytes: Uint8Array): void {
    if (this.#state === 'over') return;
    try {
      this.#queue.push(...this.#reader.push(bytes));
      this.#takeQueued();
    } catch (error) {
      this.#refuse(error);
    }
  }

  #takeQueued(): void {
    while (this.#state !== 'greeting' && this.#state !== 'over') {
      const frame = this.#queue.shift();
      if (frame === undefined) return;
      this.#take(frame);
    }
  }

  #take({ kind, body }: Frame): void {
    if (kind === FRAME.routes && this.#state === 'open') {
      this.#home.takeRoutes(readRouteBatch(body));
      return;
    }
    if (kind !== FRAME.message) throw new ParseError(`frame: ${kind} is not expected`);
    const message = readToSpeaker(body);
    if (message.type === 'hello') this.#greet(message);
    else if (this.#state === 'open') this.#home.take(this, message);
    else if (message.type === 'quit') this.#home.mayQuit();
    else throw new ParseError(`type: ${message.type} before hello`);
  }

  #greet(hello: Hello): void {
    if (this.#state !== 'new') throw new ParseError('type: a second hello');
    this.#state = 'greeting';
    this.#socket.pause();
    this.#home.hello(this, hello).then(
      () => {
        this.#socket.resume();
        this.#read(new Uint8Array(0));
      },
      (error: unknown) => this.#refuse(error),
    );
  }

  /** Tells why, then hangs up, whether the other side reads on or not. */
  #refuse(error: unknown): void {
    if (this.#state === 'over') return;
    const { code, message } = error as { readonly code?: unknown; readonly message?: unknown };
    const named = typeof code === 'string' ? code.slice(0, 64) : 'INTERNAL';
    const told = { code: named, message: String(message).slice(0, 4096) };
    this.#socket.resume();
    this.#socket.end(messageFrame({ type: 'error', ...told }));
    this.#socket.once('finish', () => this.#socket.destroy());
    this.#state = 'over';
    this.#queue = [];
    this.#home.failed(this, error);
  }
}
