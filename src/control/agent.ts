/**
 * One agent, as a peer of the tables: its stanzas become subscriptions and paths, changes become messages. Pure:
 * what is sent goes to a link, which may come and go while the agent is waited for (graceful restart).
 *
 * A fault that is thrown ends its session, and is thrown for what the ancestor ends it for; an item that is no
 * path is refused, told of, and the session stays.
 * End of rib is sent when everything it has subscribed to so far has been told, again after further
 * subscriptions. An instance that is not configured has nothing to tell, so it is not waited for.
 */
import { ParseError, VRouterError } from '../errors.ts';
import { type Item, primaryInstanceId } from '../xmpp/families.ts';
import { xmppFault } from '../xmpp/faults.ts';
import { MAX_PUBLISHED, MAX_SUBSCRIPTIONS } from '../xmpp/limits.ts';
import { type Joined, PublishPairs } from '../xmpp/pairs.ts';
import {
  CONTROL_END_OF_RIB_BODIES,
  eventBodies,
  MASTER_INSTANCE,
  type RefusedItem,
  type Stanza,
  type Subscription,
  writeMessage,
} from '../xmpp/stanza.ts';
import { ConfigAgent } from './config-agent.ts';
import type { ConfigTables } from './config-tables.ts';
import { type Entry, isBroadcast, type TableChange } from './entry.ts';
import { checkInstanceName, type Instance } from './instances.ts';
import { broadcastItem, itemId, itemOf, keyOfItem, saidOfItem } from './items.ts';
import { Kept, ownText } from './kept.ts';
import type { Peer, PeerSink, RouteTables } from './tables.ts';

/** A session with the agent. */
export interface AgentLink {
  /** The agent's, without port. */
  readonly address: string;
  send(head: string, body: Uint8Array): void;
  blocked(): boolean;
  close(error: VRouterError): void;
}

export interface AgentOptions {
  readonly name: string;
  /** Ours, as messages come from. */
  readonly control: string;
  /** Without: what it asks for of the configuration is passed over. */
  readonly config?: ConfigTables;
  /** `instance`: or the channel it was said on. */
  readonly onRefused?: (instance: string, refused: RefusedItem) => void;
}

interface Subscribed {
  readonly instanceId: number;
  readonly noRoutes: boolean;
  /** Of the session before, and not said again yet. */
  stale: boolean;
}

export interface AgentCounters {
  readonly subscribes: number;
  readonly publishes: number;
  readonly withdrawals: number;
  readonly refused: number;
  readonly ignored: number;
  readonly messages: number;
}

/** Messages of a change, made once for all who are sent it: without heads, and without broadcasts. */
const bodies = new WeakMap<TableChange, readonly Uint8Array[]>();

const names = new Kept<string>();

export class Agent implements PeerSink {
  readonly name: string;
  readonly address: string;
  readonly counters = {
    subscribes: 0,
    publishes: 0,
    withdrawals: 0,
    refused: 0,
    ignored: 0,
    messages: 0,
  };
  readonly peer: Peer;
  readonly config: ConfigAgent | undefined;
  readonly #tables: RouteTables;
  readonly #options: AgentOptions;
  readonly #head: string;
  readonly #subscribed = new Map<string, Subscribed>();
  /** Told of whom to send broadcasts to, and under which name. */
  readonly #broadcasts = new Map<string, string>();
  /** Subscribed to, and not told of all of it yet. */
  readonly #incomplete = new Set<string>();
  #pairs = new PublishPairs();
  #link: AgentLink | undefined;
  #owesEndOfRib = false;
  #told = 0;

  constructor(tables: RouteTables, options: AgentOptions, link: AgentLink) {
    this.name = ownText(options.name);
    this.address = link.address;
    this.#tables = tables;
    this.#options = options;
    this.#link = link;
    this.#head = writeMessage({ from: options.control, to: `${this.name}/bgp-peer` }, '');
    this.peer = tables.attach({ name: this.name, address: link.address, waits: true }, this);
    const { config, control } = options;
    this.config =
      config && new ConfigAgent(config, { name: this.name, control, link: () => this.#link });
  }

  /** Not while it is waited for. */
  get link(): AgentLink | undefined {
    return this.#link;
  }

  subscriptions(): {
    readonly instance: string;
    readonly instanceId: number;
    readonly stale: boolean;
  }[] {
    return [...this.#subscribed].map(([instance, { instanceId, stale }]) => ({
      instance,
      instanceId,
      stale,
    }));
  }

  /** Its session is lost; what it has said counts on. */
  await(): void {
    this.#link = undefined;
    this.#pairs = new PublishPairs();
    for (const [instance, subscribed] of this.#subscribed) {
      subscribed.stale = true;
      this.#tables.unsubscribe(this.peer, instance);
    }
    this.#incomplete.clear();
    this.#broadcasts.clear();
    this.#owesEndOfRib = false;
    this.config?.await();
    this.#tables.markStale(this.peer);
  }

  resume(link: AgentLink): void {
    this.#link = link;
  }

  /** What it has not said again is gone. */
  sweep(): void {
    for (const [instance, { stale }] of [...this.#subscribed]) {
      if (stale) this.#subscribed.delete(instance);
    }
    for (const { instance } of this.#tables.publishedIn(this.peer)) {
      const which = this.#subscribed.has(instance) ? 'stale' : 'all';
      this.#tables.withdrawAll(this.peer, instance, which);
    }
  }

  leave(): void {
    this.#link = undefined;
    this.config?.leave();
    this.#tables.detach(this.peer);
  }

  /** It takes more. */
  drained(): void {
    this.#tables.resume(this.peer);
    this.config?.resume();
  }

  // --- what it says ----------------------------------------------------------------------------------

  /** True for an end of rib. */
  take({ head, content }: Stanza): boolean {
    if (head.channel === 'config' && this.config !== undefined) {
      const refused = this.config.take(content);
      if (refused !== undefined) this.#refuse('config', refused);
      return false;
    }
    if (head.channel !== 'bgp-peer') {
      this.counters.ignored++;
      return false;
    }
    switch (content.type) {
      case 'subscribe':
        this.#subscribe(content);
        return false;
      case 'unsubscribe':
        this.#unsubscribe(content.node);
        return false;
      case 'publish':
        this.#pairs.publish(content);
        return false;
      case 'collection':
        return this.#pairs
          .collection(content)
          .map((joined) => this.#joined(joined))
          .includes(true);
      case 'end-of-rib':
        return true;
      default:
        this.counters.ignored++;
        return false;
    }
  }

  #subscribe({ node: given, instanceId = 0, noRibout }: Subscription): void {
    this.counters.subscribes++;
    const node = names.get(given, (own) => own);
    if (this.#subscribed.get(node)?.stale === false) throw xmppFault('XMPP_SUBSCRIBED_TWICE', node);
    if (this.#subscribed.size >= MAX_SUBSCRIPTIONS && !this.#subscribed.has(node)) {
      throw xmppFault('XMPP_TOO_MANY_SUBSCRIPTIONS', `more than ${MAX_SUBSCRIPTIONS}`);
    }
    checkNode(node);
    this.#subscribed.set(node, { instanceId, noRoutes: noRibout, stale: false });
    if (noRibout) return;
    this.#incomplete.add(node);
    this.#tables.subscribe(this.peer, node, instanceId);
  }

  #unsubscribe(node: string): void {
    if (!this.#subscribed.delete(node))
      throw xmppFault('XMPP_NOT_SUBSCRIBED', `unsubscribe ${node}`);
    this.#incomplete.delete(node);
    this.#broadcasts.delete(node);
    this.#tables.unsubscribe(this.peer, node);
    this.#tables.withdrawAll(this.peer, node);
  }

  #joined(joined: Joined): boolean {
    if (joined.type === 'end-of-rib') return true;
    const { instance } = joined;
    const subscribed = this.#subscribed.get(instance);
    if (subscribed === undefined) throw xmppFault('XMPP_NOT_SUBSCRIBED', `a route of ${instance}`);
    if (joined.type === 'refused') {
      this.#refuse(instance, joined.refused);
      return false;
    }
    const { node, item } = joined;
    const master = instance === MASTER_INSTANCE;
    const primary = master ? primaryInstanceId(node) : undefined;
    const rd = `${this.address}:${primary ?? subscribed.instanceId}`;
    const apart = primary !== undefined;
    try {
      if (joined.type === 'add') {
        if (this.peer.paths >= MAX_PUBLISHED) {
          throw xmppFault('XMPP_TOO_MANY_ROUTES', `more than ${MAX_PUBLISHED}`);
        }
        this.#tables.publish(this.peer, instance, saidOfItem(item, { rd, master, apart }));
        this.counters.publishes++;
      } else {
        this.#tables.withdraw(this.peer, instance, { ...keyOfItem(item), rd, apart });
        this.counters.withdrawals++;
      }
    } catch (error) {
      if (!(error instanceof ParseError)) throw error;
      this.#refuse(instance, { name: node, reason: error.message });
    }
    return false;
  }

  #refuse(instance: string, refused: RefusedItem): void {
    this.counters.refused++;
    this.#options.onRefused?.(instance, refused);
  }

  // --- what it hears ---------------------------------------------------------------------------------

  blocked(): boolean {
    return this.#link === undefined || this.#link.blocked();
  }

  change(change: TableChange): void {
    for (const body of bodiesOf(change)) this.#send(body);
    this.#told += change.announced.length + change.withdrawn.length;
    if (change.family !== 'evpn') return;
    for (const { entry } of change.announced) {
      if (isBroadcast(entry.prefix)) this.#tellBroadcast(change.instance, entry);
    }
    if (change.withdrawn.some(({ prefix }) => isBroadcast(prefix))) {
      this.#tellBroadcast(change.instance, undefined);
    }
  }

  complete(instance: Instance): void {
    this.#incomplete.delete(instance.name);
    this.#owesEndOfRib = true;
  }

  flushed(): number {
    const told = this.#told;
    this.#told = 0;
    if (this.#owesEndOfRib && this.#incomplete.size === 0) {
      this.#owesEndOfRib = false;
      for (const body of END_OF_RIB) this.#send(body);
    }
    return told;
  }

  #tellBroadcast({ name }: Instance, entry: Entry | undefined): void {
    const own = entry?.paths.find((path) => path.peer === this.name && path.instance === name);
    const item = entry && own && broadcastItem(entry, own);
    const before = this.#broadcasts.get(name);
    const id = item && entry && itemId({ ...entry, paths: own === undefined ? [] : [own] });
    if (id === undefined) this.#broadcasts.delete(name);
    else this.#broadcasts.set(name, id);
    const retracts = before === undefined || before === id ? [] : [before];
    const items = item === undefined || id === undefined ? [] : [{ id, item }];
    for (const body of eventBodies('evpn', name, { items, retracts }))
      this.#send(Buffer.from(body));
  }

  #send(body: Uint8Array): void {
    this.counters.messages++;
    this.#link?.send(this.#head, body);
  }
}

const END_OF_RIB = CONTROL_END_OF_RIB_BODIES.map((body) => Buffer.from(body));

/** What cannot be a name of an instance is no subscription of this exchange. */
function checkNode(node: string): void {
  try {
    checkInstanceName(node);
  } catch (error) {
    if (error instanceof ParseError) throw xmppFault('XMPP_BAD_STANZA', error.message);
    throw error;
  }
}

function bodiesOf(change: TableChange): readonly Uint8Array[] {
  let made = bodies.get(change);
  if (made === undefined) {
    const { family, instance } = change;
    const announced = change.announced.filter(({ entry }) => !isBroadcast(entry.prefix));
    const withdrawn = change.withdrawn.filter(({ prefix }) => !isBroadcast(prefix));
    const items = announced.map(({ entry }) => ({ id: itemId(entry), item: itemOf(entry) }));
    // Under another tag it has another name, and the old one would stay.
    const renamed = announced.flatMap(({ entry, before }) =>
      before !== undefined && itemId(before) !== itemId(entry) ? [itemId(before)] : [],
    );
    const retracts = [...withdrawn.map(itemId), ...renamed];
    made = written(family, instance.name, items, retracts);
    bodies.set(change, made);
  }
  return made;
}

type NamedItem = { readonly id: string; readonly item: Item };

/** What XML cannot hold (a peer of this house may say it) is not sent, and keeps nothing else from being sent. */
function written(
  family: Item['family'],
  instance: string,
  items: readonly NamedItem[],
  retracts: readonly string[],
): Uint8Array[] {
  const write = (some: readonly NamedItem[]) =>
    eventBodies(family, instance, { items: some, retracts }).map((body) => Buffer.from(body));
  try {
    return write(items);
  } catch (error) {
    if (!(error instanceof VRouterError) || error.code !== 'XMPP_CANNOT_SEND') throw error;
    return write(items.filter((item) => canBeSent(family, instance, item)));
  }
}

function canBeSent(family: Item['family'], instance: string, item: NamedItem): boolean {
  try {
    eventBodies(family, instance, { items: [item] });
    return true;
  } catch (error) {
    if (error instanceof VRouterError && error.code === 'XMPP_CANNOT_SEND') return false;
    throw error;
  }
}
