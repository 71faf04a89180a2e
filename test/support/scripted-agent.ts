/**
 * An agent of Contrail's kind written from its messages: a plain socket and strings, none of our codec. What it
 * hears is cut into messages at their closing tags, as the ancestor's reader does.
 */
import { connect, type Socket } from 'node:net';

export const CONTROL = 'network-control@contrailsystems.com';
const PUBSUB = "xmlns='http://jabber.org/protocol/pubsub'";

export interface Publish {
  readonly address: string;
  readonly label: number;
  readonly hop?: string;
  readonly more?: string;
  readonly encaps?: readonly string[];
}

export class ScriptedAgent {
  readonly name: string;
  readonly socket: Socket;
  readonly messages: string[] = [];
  /** Of the configuration. */
  readonly configs: string[] = [];
  header = '';
  keepalives = 0;
  closed = false;
  paused = false;
  #text = '';
  #ids = 0;
  #seen = 0;

  private constructor(name: string, socket: Socket) {
    this.name = name;
    this.socket = socket;
    socket.setEncoding('utf8');
    socket.on('data', (text) => this.#take(String(text)));
    socket.on('close', () => {
      this.closed = true;
    });
    socket.on('error', () => {});
  }

  static async connect(
    name: string,
    port: number,
    { open = true, localAddress = '127.0.0.1' } = {},
  ): Promise<ScriptedAgent> {
    const socket = connect({ host: '127.0.0.1', port, localAddress });
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve);
      socket.once('error', reject);
    });
    const agent = new ScriptedAgent(name, socket);
    if (!open) return agent;
    agent.open();
    await agent.until(() => agent.header !== '', 'a header');
    return agent;
  }

  open(): void {
    this.socket.write(
      `<?xml version='1.0'?><stream:stream from='${this.name}' to='${CONTROL}' version='1.0' xml:lang='en' xmlns='' xmlns:stream='http://etherx.jabber.org/streams' >`,
    );
  }

  #take(text: string): void {
    this.#text += text;
    for (;;) {
      if (this.header === '') {
        const end = this.#text.indexOf('>', this.#text.indexOf('<stream:stream'));
        if (!this.#text.includes('<stream:stream') || end < 0) return;
        this.header = this.#text.slice(0, end + 1);
        this.#text = this.#text.slice(end + 1);
      }
      const ends = [/<\/message\s*>/, /<\/iq\s*>/].map((tag) => tag.exec(this.#text));
      const [message, iq] = ends.map((found) => found?.index ?? Number.POSITIVE_INFINITY);
      const isIq = (iq as number) < (message as number);
      const found = isIq ? ends[1] : ends[0];
      const end = found?.index ?? -1;
      const between = end < 0 ? this.#text : this.#text.slice(0, end);
      this.keepalives += between.split('\u0200').length - 1;
      if (found === null || found === undefined) return;
      const past = end + found[0].length;
      const stanza = this.#text.slice(this.#text.indexOf(isIq ? '<iq' : '<message'), past);
      (isIq ? this.configs : this.messages).push(stanza);
      this.#text = this.#text.slice(past);
    }
  }

  /** Text after the last whole message. */
  get rest(): string {
    return this.#text;
  }

  send(text: string): void {
    this.socket.write(text);
  }

  iq(content: string, channel = 'bgp-peer'): void {
    this.send(
      `<iq type='set' from='${this.name}' to='${CONTROL}/${channel}' id='x${++this.#ids}'><pubsub ${PUBSUB}>${content}</pubsub></iq>`,
    );
  }

  subscribe(instance: string, id = 1, options = ''): void {
    this.iq(
      `<subscribe node='${instance}'><options><instance-id>${id}</instance-id>${options}</options></subscribe>`,
    );
  }

  /** On the configuration channel, as the ancestor's agent does: no id, no options. */
  configure(node: string, what = 'subscribe', attributes = ''): void {
    this.send(
      `<iq type="set" from="${this.name}" to="${CONTROL}/config"><pubsub ${PUBSUB}>\n\t<${what} node="${node}"${attributes} /></pubsub></iq>`,
    );
  }

  /** Configuration messages from here on, up to the one for which `isLast`; what is not asked for stays. */
  async configured(isLast: (message: string) => boolean = () => true): Promise<string[]> {
    await this.until(() => this.configs.some(isLast), 'configuration');
    return this.configs.splice(0, this.configs.findIndex(isLast) + 1);
  }

  unsubscribe(instance: string): void {
    this.iq(`<unsubscribe node='${instance}'/>`);
  }

  /** `1/1/instance/address`, with the item in it. */
  announce(node: string, entry: string): void {
    this.iq(`<publish node='${node}'><item><entry>${entry}</entry></item></publish>`);
  }

  collect(instance: string, node: string, add = true): void {
    this.iq(
      `<collection node='${instance}'><${add ? 'associate' : 'dissociate'} node='${node}'/></collection>`,
    );
  }

  inet(
    instance: string,
    { address, label, hop = '192.0.2.11', more = '', encaps = ['udp'] }: Publish,
    add = true,
  ): void {
    const six = address.includes(':');
    const af = six ? 2 : 1;
    const node = `${af}/1/${instance}/${address}`;
    const tunnels = encaps.map((e) => `<tunnel-encapsulation>${e}</tunnel-encapsulation>`).join('');
    this.announce(
      node,
      `<nlri><af>${af}</af><safi>1</safi><address>${address}</address></nlri>` +
        `<next-hops><next-hop><af>1</af><address>${hop}</address><mac/><label>${label}</label>` +
        `<tunnel-encapsulation-list>${tunnels}</tunnel-encapsulation-list></next-hop></next-hops>${more}`,
    );
    this.collect(instance, node, add);
  }

  evpn(
    instance: string,
    {
      mac,
      address,
      label,
      hop = '192.0.2.11',
      tag = 0,
      encaps = 'udp',
    }: { mac: string; address: string; label: number; hop?: string; tag?: number; encaps?: string },
    add = true,
  ): void {
    const name =
      mac === 'ff:ff:ff:ff:ff:ff'
        ? `${mac},${address},255.255.255.255,0.0.0.0`
        : `${mac},${address}`;
    const node = `25/242/${name}`;
    this.announce(
      node,
      `<nlri><af>25</af><safi>242</safi><ethernet-tag>${tag}</ethernet-tag><mac>${mac}</mac><address>${address}</address><group/><source/><flags>0</flags></nlri>` +
        `<next-hops><next-hop><af>1</af><address>${hop}</address><mac/><label>${label}</label><l3-label>0</l3-label>` +
        `<tunnel-encapsulation-list><tunnel-encapsulation>${encaps}</tunnel-encapsulation></tunnel-encapsulation-list></next-hop></next-hops>`,
    );
    this.collect(instance, node, add);
  }

  endOfRib(): void {
    this.iq("<publish node='0/0/EndOfRib'/>");
    this.collect('0/0/EndOfRib', '0/0/EndOfRib');
  }

  async until(done: () => boolean, what: string, ms = 3000): Promise<void> {
    const end = Date.now() + ms;
    while (!done()) {
      if (Date.now() > end) {
        throw new Error(
          `${this.name}: no ${what} in ${ms} ms; heard:\n${this.messages.slice(-5).join('\n')}\n${this.#text}`,
        );
      }
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
  }

  /** The next message that has not been asked for yet and has all of these in it; end-of-rib ones are passed over. */
  async next(...parts: string[]): Promise<string> {
    let found: string | undefined;
    await this.until(
      () => {
        while (this.#seen < this.messages.length) {
          const message = this.messages[this.#seen] as string;
          if (isEndOfRib(message)) {
            this.#seen++;
            continue;
          }
          if (!parts.every((part) => message.includes(part))) {
            throw new Error(`${this.name}: ${JSON.stringify(parts)} wanted, got\n${message}`);
          }
          this.#seen++;
          found = message;
          return true;
        }
        return false;
      },
      `message with ${JSON.stringify(parts)}`,
    );
    return found as string;
  }

  endsOfRib(): number {
    return this.messages.filter(isEndOfRib).length;
  }

  /** Nothing has come that was not asked for. */
  async silent(ms = 60): Promise<void> {
    await new Promise((resolve) => setTimeout(resolve, ms));
    const unseen = this.messages.slice(this.#seen).filter((message) => !isEndOfRib(message));
    if (unseen.length > 0) throw new Error(`${this.name}: not silent:\n${unseen.join('\n')}`);
  }

  async gone(): Promise<void> {
    await this.until(() => this.closed, 'end of the connection');
  }

  destroy(): void {
    this.socket.destroy();
  }
}

function isEndOfRib(message: string): boolean {
  return message.includes('EndOfRib') || !message.includes('<items');
}

/** Addresses of an event's next hops, in their order. */
export function hopsIn(message: string): string[] {
  return [
    ...message.matchAll(/<next-hop>.*?<address>(.*?)<\/address>.*?<label>(.*?)<\/label>/gs),
  ].map(([, address, label]) => `${address}:${label}`);
}
