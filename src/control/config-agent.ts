/**
 * An agent's end of the configuration channel: its subscriptions become a reader's roots, the reader's messages stanzas of
 * its session. Beside agent.ts, which has its routes.
 *
 * An agent may ask for its own virtual router, and for virtual machines that no other one has. What else it asks for is
 * refused and told of; its session stays.
 */
import { MAX_OBJECT_NAME_BYTES, type ObjectKey } from '../ifmap/graph.ts';
import { parseConfigNode, writeConfigIq } from '../xmpp/config-message.ts';
import { xmppFault } from '../xmpp/faults.ts';
import { MAX_CONFIG_SUBSCRIPTIONS } from '../xmpp/limits.ts';
import type { Content, RefusedItem } from '../xmpp/stanza.ts';
import type { AgentLink } from './agent.ts';
import type { ConfigReader, ConfigSink } from './config-reader.ts';
import type { ConfigTables } from './config-tables.ts';

/** The names of virtual routers are those of agents under this one. */
export const VIRTUAL_ROUTERS = 'default-global-system-config:';

export class ConfigAgent implements ConfigSink {
  readonly reader: ConfigReader;
  readonly #tables: ConfigTables;
  readonly #head: string;
  readonly #own: string;
  readonly #link: () => AgentLink | undefined;

  constructor(
    tables: ConfigTables,
    { name, control, link }: { name: string; control: string; link: () => AgentLink | undefined },
  ) {
    this.#tables = tables;
    this.#own = `${VIRTUAL_ROUTERS}${name}`;
    this.#head = writeConfigIq({ from: control, to: `${this.#own}/config` }, '');
    this.#link = link;
    this.reader = tables.attach(name, this);
  }

  /** Undefined: taken. */
  take(content: Content): RefusedItem | undefined {
    if (content.type !== 'subscribe' && content.type !== 'unsubscribe') {
      return { name: content.type, reason: 'nothing an agent says of the configuration' };
    }
    const root = parseConfigNode(content.node);
    if (root === undefined || (root.type === 'virtual-router' && root.name !== this.#own)) {
      const reason = `neither virtual-router:${this.#own} nor a virtual machine`;
      return { name: content.node.slice(0, MAX_OBJECT_NAME_BYTES), reason };
    }
    if (content.type === 'subscribe') this.#subscribe(root);
    else this.#tables.unsubscribe(this.reader, root);
    return undefined;
  }

  #subscribe(root: ObjectKey): void {
    if (this.reader.roots.size >= MAX_CONFIG_SUBSCRIPTIONS) {
      throw xmppFault('XMPP_TOO_MANY_SUBSCRIPTIONS', `more than ${MAX_CONFIG_SUBSCRIPTIONS}`);
    }
    this.#tables.subscribe(this.reader, root);
  }

  /** Its session is lost: whoever is back subscribes again. */
  await(): void {
    this.#tables.leave(this.reader);
  }

  leave(): void {
    this.#tables.detach(this.reader);
  }

  resume(): void {
    this.#tables.resume(this.reader);
  }

  blocked(): boolean {
    return this.#link()?.blocked() ?? true;
  }

  send(body: Uint8Array): void {
    this.#link()?.send(this.#head, body);
  }
}
