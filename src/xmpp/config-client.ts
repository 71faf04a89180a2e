/**
 * An agent's end of the configuration channel: which control node it asks, what it asks for, and the graph that has come
 * of it. Sessions are told of (up, down), messages given; what is to be sent is a text. No socket, the clock is given.
 *
 * Invariants
 *  * One control node at a time is asked and believed: the first that has a session. When its session is lost, the one
 *    that has had its own for longest; without any, what is known stays.
 *  * A session begins with a snapshot; at its end what was not said again goes, at once. In the form of this house the
 *    end is said, and what is known changes then and not before. The ancestor says none: what it says counts as it comes,
 *    beside what was known, and the end is quietMs after the last message; silentMs after the beginning where none has
 *    come; longestMs in any case. Either way an object that is said again is never gone in between.
 *  * A list that lets packets pass, and cannot be read, is taken for one that lets none.
 *
 * For the time of a snapshot there are two graphs: `#graph` is what counts, `#fresh` has what was said in it.
 */
import { VRouterError } from '../errors.ts';
import {
  type ConfigChange,
  ConfigGraph,
  type ConfigNode,
  type GraphLimits,
  keyText,
  linkText,
  type ObjectKey,
} from '../ifmap/graph.ts';
import { type ConfigMessage, readConfig, writeConfigSubscription } from './config-message.ts';
import type { RefusedItem } from './stanza.ts';
import type { Clock } from './transport/byte-stream.ts';
import type { XmlElement } from './xml.ts';

/** As in the ancestor (contrail-vrouter-agent): end-of-config, inactivity and fallback; stale cleanup. */
export const QUIET_MS = 15_000;
export const SILENT_MS = 100_000;
export const LONGEST_MS = 900_000;

/**
 * Far above what a host has (4352 ports with ten objects each), and below what a control node may have: one that goes on
 * and on costs this much.
 */
export const AGENT_GRAPH: GraphLimits = { objects: 1 << 18, links: 1 << 19 };

/** What the ancestor calls the parent of every virtual-router. */
const PARENT = 'default-global-system-config';

export interface ConfigClientOptions {
  readonly name: string;
  /** The far end, as heads of stanzas name it. */
  readonly control: string;
  readonly clock: Clock;
  readonly send: (control: string, text: string) => void;
  readonly quietMs?: number;
  readonly silentMs?: number;
  readonly longestMs?: number;
  /** Default AGENT_GRAPH. */
  readonly limits?: GraphLimits;
  readonly onRefused?: (control: string, refused: RefusedItem) => void;
}

export interface ConfigStanding {
  /** The control node that is asked; undefined: there is none. */
  readonly control: string | undefined;
  /** `none`: never had one; `headless`: lost it, and all is as it was. */
  readonly state: 'none' | 'learning' | 'settled' | 'headless';
  /** Said by a control node of this house. */
  readonly version: number | undefined;
  readonly messages: number;
  readonly refused: number;
  readonly skipped: number;
  /** Of control nodes that were not asked. */
  readonly ignored: number;
  /** Objects that were not said again. */
  readonly swept: number;
}

interface Session {
  readonly control: string;
  readonly since: number;
  /** Undefined: none has come. */
  lastWord: number | undefined;
  /** In the form of this house: its end is said. */
  typed: boolean;
}

export class ConfigClient {
  readonly #options: ConfigClientOptions;
  #graph: ConfigGraph;
  #fresh: ConfigGraph | undefined;
  /** Those with a session, in the order in which they had it. */
  readonly #ready: string[] = [];
  #session: Session | undefined;
  /** And how many want each. */
  readonly #machines = new Map<string, number>();
  #version: number | undefined;
  #known = false;
  readonly #counts = { messages: 0, refused: 0, skipped: 0, ignored: 0, swept: 0 };
  #listener: () => void = () => {};
  #cancel: () => void = () => {};

  constructor(options: ConfigClientOptions) {
    this.#options = options;
    this.#graph = this.#empty();
  }

  /** Called when the graph may be another one; never during a call of whoever looks. */
  onChange(listener: () => void): void {
    this.#listener = listener;
  }

  get graph(): ConfigGraph {
    return this.#graph;
  }

  standing(): ConfigStanding {
    const control = this.#session?.control;
    const learning = this.#fresh !== undefined ? 'learning' : 'settled';
    const without = this.#known ? 'headless' : 'none';
    return {
      control,
      state: control === undefined ? without : learning,
      version: this.#version,
      ...this.#counts,
    };
  }

  /** Is asked for besides this node itself, as often as it is wanted: by name, which is a UUID. */
  wantMachine(name: string): void {
    const users = this.#machines.get(name) ?? 0;
    this.#machines.set(name, users + 1);
    if (users === 0) this.#sayMachine('subscribe', name);
  }

  leaveMachine(name: string): void {
    const users = this.#machines.get(name) ?? 0;
    if (users > 1) this.#machines.set(name, users - 1);
    else if (this.#machines.delete(name)) this.#sayMachine('unsubscribe', name);
  }

  // --- sessions --------------------------------------------------------------------------------------

  up(control: string): void {
    this.#ready.push(control);
    if (this.#session !== undefined) return;
    this.#elect();
    this.#listener();
  }

  down(control: string): void {
    const at = this.#ready.indexOf(control);
    if (at >= 0) this.#ready.splice(at, 1);
    if (this.#session?.control !== control) return;
    this.#cancel();
    this.#session = undefined;
    this.#fresh = undefined;
    if (this.#ready.length > 0) this.#elect();
    this.#listener();
  }

  close(): void {
    this.#cancel();
    this.#session = undefined;
    this.#listener = () => {};
  }

  #empty(): ConfigGraph {
    return new ConfigGraph(this.#options.limits ?? AGENT_GRAPH);
  }

  #elect(): void {
    const [control] = this.#ready;
    if (control === undefined) return;
    const since = this.#options.clock.now();
    this.#session = { control, since, lastWord: undefined, typed: false };
    this.#fresh = this.#empty();
    this.#version = undefined;
    this.#known = true;
    this.#say(control, 'subscribe', {
      type: 'virtual-router',
      name: `${PARENT}:${this.#options.name}`,
    });
    for (const name of this.#machines.keys()) this.#sayMachine('subscribe', name);
    this.#arm();
  }

  #say(
    control: string,
    what: 'subscribe' | 'unsubscribe',
    key: ObjectKey<'virtual-router' | 'virtual-machine'>,
  ): void {
    const { name, control: far, send } = this.#options;
    const head = { from: name, to: `${far}/config` };
    // Without a version: all of it is to be said again, for only then can it be seen what has gone.
    send(control, writeConfigSubscription(head, what, key));
  }

  #sayMachine(what: 'subscribe' | 'unsubscribe', name: string): void {
    const control = this.#session?.control;
    if (control !== undefined) this.#say(control, what, { type: 'virtual-machine', name });
  }

  // --- what is said ----------------------------------------------------------------------------------

  take(control: string, config: XmlElement): void {
    const session = this.#session;
    if (session?.control !== control) {
      this.#counts.ignored++;
      return;
    }
    const message = readConfig(config);
    const first = session.lastWord === undefined;
    session.lastWord = this.#options.clock.now();
    this.#counts.messages++;
    this.#counts.skipped += message.skipped;
    if (message.version !== undefined) {
      session.typed = true;
      this.#version = message.version;
    }
    this.#apply(control, message);
    if (message.endOfSnapshot) this.#end();
    else if (first) this.#arm(); // its end is nearer now
    this.#listener();
  }

  #apply(control: string, { changes, refused }: ConfigMessage): void {
    for (const item of refused) {
      this.#refuse(control, item);
      const bare = bareNode(item.name);
      if (bare !== undefined) this.#change(control, { kind: 'node', node: bare });
    }
    for (const change of changes) this.#change(control, change);
  }

  #change(control: string, change: ConfigChange): void {
    const fresh = this.#fresh;
    try {
      fresh?.apply(change);
      if (fresh === undefined || this.#session?.typed !== true) this.#graph.apply(change);
    } catch (error) {
      if (!(error instanceof VRouterError)) throw error;
      this.#refuse(control, { name: nameOf(change), reason: error.message });
    }
  }

  #refuse(control: string, item: RefusedItem): void {
    this.#counts.refused++;
    this.#options.onRefused?.(control, item);
  }

  /** Of the snapshot. */
  #end(): void {
    const fresh = this.#fresh;
    if (fresh === undefined) return;
    this.#cancel();
    for (const { type, name } of this.#graph.nodes()) {
      if (fresh.node(type, name) === undefined) this.#counts.swept++;
    }
    this.#graph = fresh;
    this.#fresh = undefined;
  }

  #due({ since, lastWord, typed }: Session): number {
    const { quietMs = QUIET_MS, silentMs = SILENT_MS, longestMs = LONGEST_MS } = this.#options;
    if (typed) return since + longestMs;
    return Math.min(
      lastWord === undefined ? since + silentMs : lastWord + quietMs,
      since + longestMs,
    );
  }

  /** A timer that goes off early is set again. */
  #arm(): void {
    const session = this.#session;
    this.#cancel();
    if (session === undefined || this.#fresh === undefined) return;
    const { clock } = this.#options;
    this.#cancel = clock.after(Math.max(0, Math.ceil(this.#due(session) - clock.now())), () => {
      if (clock.now() < this.#due(session)) {
        this.#arm();
        return;
      }
      this.#end();
      this.#listener();
    });
  }
}

function nameOf(change: ConfigChange): string {
  if (change.kind === 'link') return linkText(change.link).replaceAll('\0', ' ');
  return keyText(change.remove === true ? change.key : change.node);
}

/** Types of which one that is missing would let packets pass. */
const CLOSING = ['access-control-list', 'security-group'] as const;

/** Without properties, which says: nothing passes by it. */
function bareNode(refused: string): ConfigNode | undefined {
  const type = CLOSING.find((one) => refused.startsWith(`${one} `));
  if (type === undefined) return undefined;
  const name = refused.slice(type.length + 1);
  return name === '' ? undefined : ({ type, name, properties: {} } as ConfigNode);
}
