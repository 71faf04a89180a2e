/**
 * A peer that sends whatever bytes it is given: OPEN and KEEPALIVE as they should be, then nothing by itself. It
 * reads all that comes, and holds our speaker to it: a message that cannot be read, or with anything wrong in it, is
 * an error of the test's.
 */
import { connect, type Socket } from 'node:net';
import { agree } from '../../../src/bgp/wire/agree.ts';
import {
  keepaliveMessage,
  type Message,
  messageLength,
  openMessage,
  readMessage,
} from '../../../src/bgp/wire/message.ts';
import type { Notification } from '../../../src/bgp/wire/notification.ts';
import type { Open } from '../../../src/bgp/wire/open.ts';
import { INTERNAL } from '../bgp-messages.ts';

export interface RawCall {
  readonly port: number;
  readonly from: string;
  readonly open: Open;
}

const PATIENCE_MS = 10_000;

export class RawSession {
  readonly #socket: Socket;
  readonly #call: RawCall;
  #held: Buffer = Buffer.alloc(0);
  #options = { ...INTERNAL, families: new Set() } as typeof INTERNAL;
  #established = false;
  #closed = false;
  #wake: () => void = () => {};
  /** Of the speaker's, in which something was wrong. */
  readonly wrong: string[] = [];
  readonly updates: Extract<Message, { kind: 'update' }>[] = [];
  notification: Notification | undefined;

  private constructor(call: RawCall) {
    this.#call = call;
    this.#socket = connect({ host: '127.0.0.1', port: call.port, localAddress: call.from });
    this.#socket.setNoDelay(true);
    this.#socket.on('connect', () => this.send(openMessage(call.open)));
    this.#socket.on('data', (bytes) => this.#data(bytes));
    this.#socket.on('error', () => {});
    this.#socket.on('close', () => {
      this.#closed = true;
      this.#wake();
    });
  }

  static async open(call: RawCall): Promise<RawSession> {
    const session = new RawSession(call);
    await session.#until('established', () => session.#established);
    return session;
  }

  get closed(): boolean {
    return this.#closed;
  }

  send(bytes: Uint8Array): void {
    this.#socket.write(bytes);
  }

  /** The speaker has ended it. */
  async ended(): Promise<Notification | undefined> {
    await this.#until('ended', () => this.#closed);
    return this.notification;
  }

  close(): void {
    this.#socket.destroy();
  }

  async #until(what: string, holds: () => boolean): Promise<void> {
    const end = Date.now() + PATIENCE_MS;
    while (!holds()) {
      if (this.#closed || Date.now() > end) {
        throw new Error(`${this.#call.from}: not ${what}; ${JSON.stringify(this.notification)}`);
      }
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, 100);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  }

  #data(bytes: Buffer): void {
    this.#held = Buffer.concat([this.#held, bytes]);
    for (;;) {
      const length = messageLength(this.#held, this.#options.maxMessage);
      if (length === undefined || length > this.#held.length) break;
      const message = readMessage(this.#held.subarray(0, length), this.#options);
      this.#held = this.#held.subarray(length);
      this.#take(message);
    }
    this.#wake();
  }

  #take(message: Message): void {
    if (message.kind === 'open') {
      this.#options = agree(this.#call.open, message.open).receive;
      this.send(keepaliveMessage());
    }
    if (message.kind === 'keepalive') this.#established = true;
    if (message.kind === 'notification') this.notification = message.notification;
    if (message.kind !== 'update') return;
    this.updates.push(message);
    for (const { message: text } of message.read.findings) this.wrong.push(text);
  }
}
