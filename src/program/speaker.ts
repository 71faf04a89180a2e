/**
 * `vrouter speaker`: BGP as a process of its own. It knows nobody until a control node connects and says its `bgp:`; from
 * then on it has sessions, and keeps them when the control node is gone (bgp/link/ has what the two say).
 *
 * Invariants
 *  * One control node at a time: who comes while one is there is refused, and its end is the end of its connection.
 *  * A control node that is gone leaves sessions and routes as they are; if none comes within its `keepSeconds`, routes
 *    that were said are withdrawn. One that comes says all again; what it has not said by its end-of-rib is withdrawn.
 *  * Neighbours who keep our routes while we are away are called after the first end-of-rib: the end of the first table is
 *    the end of what is kept.
 *  * A message that is not what it should be ends its connection, with an error that says why, and changes nothing.
 *  * SIGTERM: sessions end as those of a control node that is told to end; exit status 0.
 */
import { chmodSync, mkdirSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { dirname } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { type Logger, pino } from 'pino';
import { MAX_LINKS } from '../bgp/limits.ts';
import { KeptRoutes } from '../bgp/link/kept-routes.ts';
import { LINK_VERSION, messageFrame, type ToSpeaker } from '../bgp/link/messages.ts';
import { Untold } from '../bgp/link/untold.ts';
import { type BgpFile, bgpProblems, bgpSchema } from '../config/bgp.ts';
import { ConfigText } from '../config/document.ts';
import { check } from '../config/load.ts';
import { bestOf, FEDERATED } from '../control/bgp-federation.ts';
import { VRouterError } from '../errors.ts';
import { speakerMethods } from './control-bgp-methods.ts';
import { passwordProblems } from './control-bgp-neighbours.ts';
import { clearStale, type Method, type Methods } from './rpc-server.ts';
import { ControlConnection, type ControlHome } from './speaker-connection.ts';
import { type BgpEvents, firstLine, type SpeakerPart, startSpeakerPart } from './speaker-part.ts';

export interface SpeakerOptions {
  readonly socket: string;
  readonly logLevel?: string;
}

export interface RunningSpeaker {
  readonly socket: string;
  /** Resolves when a control node has told it to end. */
  readonly quit: Promise<void>;
  stop(): Promise<void>;
}

type Hello = ToSpeaker & { readonly type: 'hello' };

/** What there is once a control node has said its `bgp:`. */
interface Configured {
  readonly part: SpeakerPart;
  readonly kept: KeptRoutes;
  readonly untold: Untold;
  /** As it was last said. */
  file: BgpFile;
  /** Neighbours are called, and known. */
  started: boolean;
}

function checked(bgp: unknown): BgpFile {
  const text = new ConfigText('bgp', JSON.stringify(bgp ?? {}));
  const file = check(bgpSchema, text);
  const problems = [...bgpProblems(file, []), ...passwordProblems(file, firstLine, [])];
  if (problems.length > 0) text.refuse(problems);
  return file;
}

/** What cannot be changed while there are sessions. */
const identity = ({ as, router_id, cluster_id, listen }: BgpFile) => ({
  ...{ as, router_id, cluster_id, listen },
});

class SpeakerProcess implements ControlHome {
  readonly #log: Logger;
  readonly #methods: Methods;
  readonly #connections = new Set<ControlConnection>();
  #control: ControlConnection | undefined;
  #configured: Configured | undefined;
  #keepMs = 0;
  #closing = false;
  #keepTimer: NodeJS.Timeout | undefined;
  readonly #quit: () => void;

  constructor(log: Logger, quit: () => void) {
    this.#log = log;
    this.#quit = quit;
    this.#methods = speakerMethods(() => this.#there().part, {
      otherMeaning: () => {
        const { part, untold } = this.#there();
        for (const change of bestOf(part.speaker.rib)) untold.changed(change);
        this.#control?.pump();
      },
    });
  }

  #there(): Configured {
    if (this.#configured === undefined) throw new VRouterError('CLOSED', 'it is not configured');
    return this.#configured;
  }

  accept(socket: Socket): void {
    if (this.#connections.size >= MAX_LINKS) {
      socket.destroy();
      return;
    }
    const connection = new ControlConnection(socket, this);
    this.#connections.add(connection);
  }

  // --- ControlHome -----------------------------------------------------------------------------------

  async hello(connection: ControlConnection, hello: Hello): Promise<void> {
    if (hello.version !== LINK_VERSION) {
      const message = `version ${hello.version} is not spoken here, ${LINK_VERSION} is`;
      throw new VRouterError('BAD_VERSION', message);
    }
    if (this.#control !== undefined) {
      throw new VRouterError('BUSY', 'a control node is connected already');
    }
    const file = checked(hello.bgp);
    // From here on others are refused, though it takes a while until sockets are open.
    this.#control = connection;
    const resumed = this.#configured !== undefined;
    const here = await this.#configure(file);
    if (connection.closed) return; // `closed` has said so already
    clearTimeout(this.#keepTimer);
    this.#keepMs = hello.keepSeconds * 1000;
    here.kept.begin();
    here.untold.begin(bestOf(here.part.speaker.rib));
    const { pid } = process;
    const { ports, restarts } = here.part;
    const kept = here.kept.old;
    connection.open(here.untold);
    connection.send(
      messageFrame({ type: 'welcome', version: LINK_VERSION, pid, resumed, restarts, kept, ports }),
    );
    connection.pump();
    this.#log.info({ control: hello.name, pid: hello.pid, kept }, 'control node attached');
  }

  async #configure(file: BgpFile): Promise<Configured> {
    const known = this.#configured;
    if (known !== undefined) {
      if (!isDeepStrictEqual(identity(known.file), identity(file))) {
        const message = 'as, router_id, cluster_id or listen are others than it has sessions with';
        throw new VRouterError('OTHER_SPEAKER', message);
      }
      known.part.neighbours.reload(known.file, file);
      known.file = file;
      return known;
    }
    const untold: Untold = new Untold({
      families: FEDERATED,
      sender: (name) => this.#there().part.sender(name),
      onUnsendable: ({ key }) => this.#log.warn({ key }, 'too long a route to be told'),
    });
    const part = await startSpeakerPart(
      file,
      (changes) => {
        // Without a control node nothing waits: the next one is told all.
        if (this.#control === undefined) return;
        for (const change of changes) untold.changed(change);
        this.#control.pumpSoon();
      },
      this.#events,
    );
    const kept = new KeptRoutes(part.speaker.rib);
    try {
      if (!part.restarts) part.neighbours.start();
    } catch (error) {
      part.close();
      throw error;
    }
    this.#configured = { part, untold, kept, file, started: !part.restarts };
    return this.#configured;
  }

  take(connection: ControlConnection, message: Exclude<ToSpeaker, Hello>): void {
    const { kept } = this.#there();
    if (message.type === 'want') kept.want(message.targets);
    else if (message.type === 'end-of-rib') this.#saidAll();
    else if (message.type === 'quit') this.#quit();
    else this.#call(connection, message);
  }

  takeRoutes(said: Parameters<KeptRoutes['take']>[0]): void {
    this.#there().kept.take(said);
  }

  /** Of one who could not be served, for it is another speaker that it wants. */
  mayQuit(): void {
    if (this.#control !== undefined) {
      throw new VRouterError('BUSY', 'a control node is connected already');
    }
    this.#quit();
  }

  #call(connection: ControlConnection, { id, method, params }: ToSpeaker & { type: 'call' }): void {
    try {
      if (!Object.hasOwn(this.#methods, method)) {
        throw new VRouterError('UNKNOWN_METHOD', `unknown method "${method}"`);
      }
      const result = (this.#methods[method] as Method)(params);
      connection.send(messageFrame({ type: 'result', id, result: result ?? null }));
    } catch (error) {
      const { code, message } = error as { readonly code?: unknown; readonly message?: unknown };
      const known = typeof code === 'string' && code.length <= 64;
      if (!known) this.#log.error({ err: error, method }, 'method failed');
      const told = { code: known ? code : 'INTERNAL', message: String(message).slice(0, 1 << 20) };
      connection.send(messageFrame({ type: 'result', id, result: null, error: told }));
    }
  }

  failed(connection: ControlConnection, error: unknown): void {
    this.#log.warn({ err: error }, 'control node refused');
    if (this.#control === connection) this.closed(connection);
  }

  closed(connection: ControlConnection): void {
    this.#connections.delete(connection);
    if (this.#control !== connection) return;
    this.#control = undefined;
    if (this.#configured === undefined || this.#closing) return;
    this.#log.info({ keptMs: this.#keepMs }, 'control node is gone');
    clearTimeout(this.#keepTimer);
    this.#keepTimer = setTimeout(() => {
      const kept = this.#configured?.kept;
      if (kept !== undefined) this.#swept(kept.expire(), 'no control node has come back');
    }, this.#keepMs);
  }

  #saidAll(): void {
    const here = this.#there();
    this.#swept(here.kept.end(), 'not said again');
    if (here.started) return;
    here.started = true;
    try {
      here.part.neighbours.start();
    } catch (error) {
      this.#events.onError(error, 'neighbours cannot be called');
    }
  }

  #swept(routes: number, why: string): void {
    if (routes > 0) this.#log.info({ routes, why }, 'routes withdrawn');
  }

  // --- what happens to sessions ----------------------------------------------------------------------

  readonly #events: BgpEvents = {
    onSession: (neighbour, state, why) => {
      const reason = why === undefined ? {} : { why: why.slice(0, 4096) };
      this.#log.info({ neighbour, ...reason }, `bgp session ${state}`);
      this.#control?.send(messageFrame({ type: 'session', neighbour, state, ...reason }));
    },
    onError: (error, what) => {
      this.#log.warn({ err: error }, `bgp: ${what}`);
      const message = String(error instanceof Error ? error.message : error).slice(0, 4096);
      this.#control?.send(messageFrame({ type: 'trouble', what, message }));
    },
  };

  close(): void {
    this.#closing = true;
    clearTimeout(this.#keepTimer);
    for (const connection of this.#connections) connection.destroy();
    this.#configured?.part.close();
  }
}

export async function startSpeaker(options: SpeakerOptions): Promise<RunningSpeaker> {
  const log = pino(
    { name: 'speaker', level: options.logLevel ?? 'info' },
    pino.destination({ fd: 2, sync: true }),
  );
  let ended = () => {};
  const quit = new Promise<void>((resolve) => {
    ended = resolve;
  });
  const speaker = new SpeakerProcess(log, () => ended());
  const server = await listen(options.socket, (socket) => speaker.accept(socket));
  log.info({ socket: options.socket }, 'ready');
  return {
    socket: options.socket,
    quit,
    async stop() {
      log.info('stopping');
      const closed = new Promise((resolve) => server.close(resolve));
      speaker.close();
      await closed;
    },
  };
}

/** Only for the user who runs the process, and removed when it ends. */
async function listen(path: string, accept: (socket: Socket) => void): Promise<Server> {
  mkdirSync(dirname(path), { recursive: true });
  await clearStale(path);
  const server = createServer(accept);
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error) =>
      reject(new VRouterError('PORT_FAILED', `${path}: ${error.message}`)),
    );
    server.listen(path, () => {
      server.removeAllListeners('error');
      resolve();
    });
  });
  chmodSync(path, 0o600);
  return server;
}

/** Until a signal, or until a control node says so. */
export async function runSpeaker(options: SpeakerOptions): Promise<void> {
  const running = await startSpeaker(options);
  await Promise.race([
    running.quit,
    new Promise<void>((resolve) => {
      process.once('SIGTERM', () => resolve());
      process.once('SIGINT', () => resolve());
    }),
  ]);
  await running.stop();
}
