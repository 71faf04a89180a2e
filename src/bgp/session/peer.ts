/**
 * Peer: one neighbour as the speaker drives it. The machine (fsm.ts) decides; this has its connections and its timer, does
 * what it says, and stands between it and the neighbour's part of the RIB.
 *
 * Invariants
 *  * Events are handled one at a time: what an action brings about comes after all actions of the event before it.
 *  * The RIB's `up` and `down` alternate, and between them, only there, it is given updates and asked for some.
 *  * Whatever a peer sends ends its own session at most.
 */
import { Session, type SessionAction, type SessionEvent } from '../fsm.ts';
import { DYNAMIC_OPEN_MS, OVERFLOW_RETRY_MS } from '../limits.ts';
import type { Neighbour } from '../neighbour.ts';
import type { RibPeer } from '../rib/contract.ts';
import type { Agreed } from '../wire/agree.ts';
import { isFamily } from '../wire/family-names.ts';
import {
  keepaliveMessage,
  type Message,
  notificationMessage,
  openMessage,
  refreshMessage,
} from '../wire/message.ts';
import { NOTIFICATIONS, type Notification } from '../wire/notification.ts';
import type { Open } from '../wire/open.ts';
import type { ReadUpdate } from '../wire/update.ts';
import { Alarm } from './alarm.ts';
import { CEASE, ceased, fullText, hardened, SEND_HOLD_EXPIRED } from './cease.ts';
import { Connection } from './connection.ts';
import { disabledBy, type Established, keptMs } from './established.ts';
import { hopsOf } from './hops.ts';
import { Journal } from './journal.ts';
import { ourOpen } from './our-open.ts';
import type { PeerSetting } from './peer-setting.ts';
import { Sender } from './sender.ts';
import { Tally } from './status.ts';
import type { Hops, PeerStream } from './transport.ts';

const NEVER = Number.POSITIVE_INFINITY;
const { cease, update: updateError } = NOTIFICATIONS;
/** Invalid network field. */
const UNREADABLE: Notification = { code: updateError.code, subcode: 10, data: '' };

interface Tick {
  readonly kind: 'tick';
}

type Handlers = {
  readonly [K in SessionAction['kind']]: (action: Extract<SessionAction, { kind: K }>) => void;
};

export class Peer {
  neighbour: Neighbour;
  readonly rib: RibPeer;
  readonly tally = new Tally();
  readonly journal: Journal;
  readonly #setting: PeerSetting;
  readonly #machine: Session;
  readonly #connections = new Map<number, Connection>();
  #enabled = true;
  #up: Established | undefined;
  /** When that came or went. */
  #since: number;
  #lastConnection = 0;
  #cancelConnect: () => void = () => {};
  readonly #events: (SessionEvent | Tick)[] = [];
  #handling = false;
  /** Too many routes: not before. */
  #restartAt = NEVER;
  /** A restarting peer's routes are kept for it until then. */
  #keptUntil = 0;
  readonly #alarm: Alarm;
  #gone = false;

  constructor(neighbour: Neighbour, setting: PeerSetting) {
    this.neighbour = neighbour;
    this.#setting = setting;
    this.#since = setting.clock.now();
    this.journal = new Journal(setting.clock);
    // What has arrived by now counts, though nobody has read it yet: sockets are looked at, then read, and then the time.
    const { soon } = setting;
    this.#alarm = new Alarm(setting.clock, () => soon(() => soon(() => this.#tick())));
    const { speaker, circumstances } = setting;
    const open = () => ourOpen(speaker, this.neighbour, circumstances());
    this.#machine = new Session(
      {
        get open() {
          return open();
        },
        passive: neighbour.passive,
        ...(setting.dynamic ? { openHoldMs: DYNAMIC_OPEN_MS } : {}),
        ...(neighbour.as === undefined ? {} : { peerAs: neighbour.as }),
      },
      setting.random,
    );
    this.rib = setting.rib.addPeer(neighbour);
  }

  get dynamic(): boolean {
    return this.#setting.dynamic;
  }

  get enabled(): boolean {
    return this.#enabled;
  }

  get state() {
    return this.#machine.state;
  }

  get up(): Established | undefined {
    return this.#up;
  }

  /** After too many routes. */
  get restartAt(): number | undefined {
    return this.#restartAt === NEVER ? undefined : this.#restartAt;
  }

  /** Ours, if we are away for a while (RFC 4724). */
  get keepsRoutes(): boolean {
    return this.#up?.agreed.gracefulRestart !== undefined;
  }

  get since(): number {
    return this.#since;
  }

  get connections(): number {
    return this.#connections.size;
  }

  /** Written, and not taken. */
  get waiting(): number {
    return this.#up?.connection.stream.waiting ?? 0;
  }

  get hops(): Hops {
    return hopsOf(this.neighbour, this.#setting.speaker);
  }

  // --- what the speaker says ---------------------------------------------------------------------------

  start(): void {
    this.#enabled = true;
    this.#restartAt = NEVER;
    this.#handle({ kind: 'start' });
  }

  accept(stream: PeerStream): void {
    const id = this.#adopt(stream);
    this.#handle({ kind: 'accepted', connection: id });
    this.#connections.get(id)?.listen();
  }

  shutdown(text?: string): void {
    this.#enabled = false;
    this.#restartAt = NEVER;
    this.#stop(ceased(CEASE.shutdown, text));
  }

  reset(text?: string): void {
    this.#stop(ceased(CEASE.reset, text));
    if (this.#enabled) this.start();
  }

  /** The peer says all again. False: it cannot, or there is no session. */
  refreshIn(): boolean {
    const up = this.#up;
    if (up === undefined || !up.agreed.refresh) return false;
    for (const family of up.agreed.receive.families) {
      up.connection.write('route-refresh', refreshMessage({ family, kind: 'request' }));
    }
    return true;
  }

  /** We say all again. */
  refreshOut(): boolean {
    const up = this.#up;
    if (up === undefined) return false;
    for (const family of up.agreed.send.families) this.rib.refresh({ family, kind: 'request' });
    this.#setting.ribCalled();
    return true;
  }

  changePolicies(neighbour: Neighbour): void {
    this.neighbour = neighbour;
    this.#setting.rib.changePolicies(this.rib, neighbour);
    this.#setting.ribCalled();
  }

  /** Nothing comes of it any more. */
  remove(reason: Notification): void {
    if (this.#gone) return;
    if (this.#handling) {
      this.#setting.soon(() => this.remove(reason));
      return;
    }
    this.#stop(reason);
    this.#forget();
    this.#setting.rib.removePeer(this.rib);
    this.#setting.ribCalled();
  }

  /** Without a word, as when we are killed: a peer that keeps routes over restarts keeps them. */
  leave(): void {
    for (const connection of this.#connections.values()) connection.end();
    this.#connections.clear();
    this.#cancelConnect();
    this.#forget();
  }

  ready(): void {
    this.#up?.sender.pump();
  }

  // --- the machine -------------------------------------------------------------------------------------

  #stop(reason: Notification): void {
    this.#handle({ kind: 'stop', notification: hardened(reason, this.#up?.agreed) });
  }

  #forget(): void {
    this.#gone = true;
    this.#alarm.cancel();
  }

  #handle(event: SessionEvent | Tick): void {
    if (this.#gone) return;
    this.#events.push(event);
    if (this.#handling) return;
    this.#handling = true;
    try {
      for (let next = this.#events.shift(); next !== undefined; next = this.#events.shift()) {
        const now = this.#setting.clock.now();
        const machine = this.#machine;
        const actions = next.kind === 'tick' ? machine.tick(now) : machine.handle(next, now);
        for (const action of actions) {
          (this.#handlers[action.kind] as (action: SessionAction) => void)(action);
        }
      }
    } finally {
      this.#handling = false;
    }
    this.#arm();
    this.#lookWhetherIdle();
  }

  readonly #handlers: Handlers = {
    connect: () => this.#connect(),
    'abort-connect': () => {
      this.#cancelConnect();
      const given = this.#connections.size === 0 && this.#machine.state !== 'idle';
      if (given) this.journal.ended('nobody answered');
    },
    'send-open': ({ connection, open }) =>
      this.#connections.get(connection)?.write('open', openMessage(open)),
    'send-keepalive': ({ connection }) =>
      this.#connections.get(connection)?.write('keepalive', keepaliveMessage()),
    'send-notification': ({ connection, notification }) => {
      this.#connections.get(connection)?.write('notification', notificationMessage(notification));
      this.journal.sent(fullText(notification));
    },
    close: ({ connection, why }) => {
      this.#connections.get(connection)?.end();
      this.#connections.delete(connection);
      this.journal.ended(why);
    },
    established: ({ connection, peer, agreed }) => this.#established(connection, peer, agreed),
    down: ({ graceful }) => this.#down(graceful),
    update: ({ read }) => this.#update(read),
    refresh: ({ refresh }) => {
      this.rib.refresh(refresh);
      this.#setting.ribCalled();
    },
  };

  // --- connections -------------------------------------------------------------------------------------

  #connect(): void {
    const { address, interface: on, port, localAddress, password } = this.neighbour;
    this.#cancelConnect = this.#setting.transport.connect(
      {
        remote: { address, port, ...(on !== undefined && { interface: on }) },
        ...this.hops,
        ...(localAddress === undefined ? {} : { localAddress }),
        ...(password === undefined ? {} : { password }),
      },
      {
        connected: (stream) => {
          const id = this.#adopt(stream);
          this.#handle({ kind: 'connected', connection: id });
          this.#connections.get(id)?.listen();
        },
        failed: (why) => {
          this.journal.ended(why);
          this.#handle({ kind: 'connect-failed' });
        },
      },
    );
  }

  #adopt(stream: PeerStream): number {
    const id = ++this.#lastConnection;
    const { clock, soon } = this.#setting;
    const connection = new Connection(
      stream,
      {
        message: (message) => this.#guarded(id, () => this.#message(id, message)),
        unreadable: (notification) => this.#end(id, notification),
        drained: () => {
          if (this.#up?.id === id) this.#up.sender.drained();
        },
        closed: (why) => {
          this.#connections.delete(id);
          this.journal.ended(why);
          this.#handle({ kind: 'closed', connection: id });
        },
      },
      { clock, soon, tally: this.tally },
    );
    this.#connections.set(id, connection);
    return id;
  }

  /** An error of ours in what a peer's message brings about is that session's end, and nobody else's. */
  #guarded(id: number, run: () => void): void {
    try {
      run();
    } catch (error) {
      this.#fail(id, error);
    }
  }

  #fail(id: number, error: unknown): void {
    this.#end(id, ceased(CEASE.outOfResources));
    this.#setting.fault(error);
  }

  /** For a reason of ours; it is tried again. */
  #end(id: number, notification: Notification): void {
    this.#handle({ kind: 'unreadable', connection: id, notification });
  }

  #message(id: number, message: Message): void {
    if (message.kind === 'notification') this.journal.heard(fullText(message.notification));
    if (message.kind === 'update' && this.#up?.id === id) {
      for (const { consequence, message: text } of message.read.findings) {
        this.tally.findings[consequence] += 1;
        this.journal.found(consequence, text);
      }
    }
    this.#handle({ kind: 'message', connection: id, message });
  }

  // --- between machine and RIB -------------------------------------------------------------------------

  #established(id: number, peer: Open, agreed: Agreed): void {
    const connection = this.#connections.get(id);
    if (connection === undefined) return;
    const { clock, soon } = this.#setting;
    const sender = new Sender(connection, this.rib, agreed, {
      ...{ clock, soon, tally: this.tally },
      blocked: () => this.#arm(),
      failed: (error) => this.#fail(id, error),
    });
    this.#up = { id, connection, peer, agreed, sender, disabled: new Set() };
    this.#since = this.#setting.clock.now();
    connection.establish(agreed);
    this.rib.up(agreed, peer, this.#since, connection.stream.local.address);
    this.#setting.ribCalled();
    this.#setting.session('up');
    sender.pump();
  }

  #down(graceful: boolean): void {
    const up = this.#up;
    if (up === undefined) return;
    const now = this.#setting.clock.now();
    this.#up = undefined;
    this.#since = now;
    up.sender.stop();
    this.tally.flaps += 1;
    this.#keptUntil = graceful ? now + keptMs(up.agreed) : now;
    this.rib.down(graceful, now);
    this.#setting.ribCalled();
    this.#setting.session('down');
  }

  #update(read: ReadUpdate): void {
    const up = this.#up;
    if (up === undefined) return;
    if (read.consequence === 'afi-safi-disable' && !this.#disable(up, read)) return;
    const reason = this.rib.take(read.update);
    if (reason === undefined) return;
    if (reason.code !== cease.code || reason.subcode !== CEASE.tooManyRoutes) {
      this.#end(up.id, reason);
      return;
    }
    this.#stop(reason);
    this.#restartAt = this.#setting.clock.now() + OVERFLOW_RETRY_MS;
  }

  /** False: it is not known whose routes cannot be read, so none can. */
  #disable(up: Established, read: ReadUpdate): boolean {
    const families = disabledBy(read.findings);
    if (families.length === 0) {
      this.#end(up.id, UNREADABLE);
      return false;
    }
    for (const family of families) {
      if (!isFamily(family) || !up.agreed.receive.families.has(family)) continue;
      if (up.disabled.has(family)) continue;
      up.disabled.add(family);
      this.rib.disable(family);
    }
    return true;
  }

  // --- time --------------------------------------------------------------------------------------------

  #arm(): void {
    if (this.#gone) return;
    const idleAt = this.#mayBeIdle ? this.#keptUntil : NEVER;
    const sendAt = this.#up?.sender.deadline ?? NEVER;
    this.#alarm.set(Math.min(this.#machine.deadline ?? NEVER, this.#restartAt, sendAt, idleAt));
  }

  #tick(): void {
    if (this.#gone) return;
    const now = this.#setting.clock.now();
    if (now >= this.#restartAt) this.start();
    if (this.#up !== undefined && now >= this.#up.sender.deadline) {
      this.#end(this.#up.id, SEND_HOLD_EXPIRED);
    }
    this.#handle({ kind: 'tick' });
  }

  get #mayBeIdle(): boolean {
    return this.dynamic && this.#connections.size === 0;
  }

  /** A dynamic neighbour that has nothing here any more is none. */
  #lookWhetherIdle(): void {
    if (!this.#mayBeIdle || this.#gone || this.#setting.clock.now() < this.#keptUntil) return;
    this.#setting.soon(() => {
      if (this.#mayBeIdle && !this.#gone) this.#setting.idle();
    });
  }
}
