/**
 * A control node of Contrail's kind written from its messages: a plain socket and strings, none of our codec. What it
 * hears is cut into stanzas at their closing tags, as the ancestor's reader does.
 */
import { createServer, type Server, type Socket } from 'node:net';
import { configIqs } from './config-text.ts';

const CONTROL = 'network-control@contrailsystems.com';
const PUBSUB = 'xmlns="http://jabber.org/protocol/pubsub"';

export class ScriptedControl {
  readonly port: number;
  readonly stanzas: string[] = [];
  header = '';
  keepalives = 0;
  connections = 0;
  #socket: Socket | undefined;
  #agent = '';
  #text = '';
  readonly #server: Server;

  private constructor(server: Server, port: number) {
    this.#server = server;
    this.port = port;
    server.on('connection', (socket) => this.#accept(socket));
  }

  static async listen(): Promise<ScriptedControl> {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const address = server.address();
    return new ScriptedControl(server, typeof address === 'object' ? (address?.port ?? 0) : 0);
  }

  #accept(socket: Socket): void {
    this.connections++;
    this.#socket = socket;
    this.#text = '';
    this.header = '';
    socket.setEncoding('utf8');
    socket.on('error', () => {});
    socket.on('data', (text) => this.#take(String(text)));
  }

  #take(text: string): void {
    this.#text += text;
    if (this.header === '') {
      const end = this.#text.indexOf('>', this.#text.indexOf('<stream:stream'));
      if (!this.#text.includes('<stream:stream') || end < 0) return;
      this.header = this.#text.slice(0, end + 1);
      this.#text = this.#text.slice(end + 1);
      this.#agent = /from='([^']*)'/.exec(this.header)?.[1] ?? '';
      this.send(
        `<?xml version='1.0'?><stream:stream from='${CONTROL}' to='${this.#agent}' id='++123' version='1.0' xml:lang='en' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' >`,
      );
    }
    for (;;) {
      const match = /<(iq|message)[\s\S]*?<\/\1\s*>/.exec(this.#text);
      const between = match === null ? this.#text : this.#text.slice(0, match.index);
      this.keepalives += between.split('\u0200').length - 1;
      if (match === null) return;
      this.stanzas.push(match[0]);
      this.#text = this.#text.slice(match.index + match[0].length);
    }
  }

  send(text: string): void {
    this.#socket?.write(text);
  }

  #event(content: string): void {
    this.send(
      `<message from="${CONTROL}" to="${this.#agent}/bgp-peer">\n\t<event ${PUBSUB}>\n\t\t${content}\n\t</event>\n</message>\n`,
    );
  }

  /** `hops` as address:label, in the order in which they are to be told. */
  inet(instance: string, prefix: string, hops: readonly string[], six = false): void {
    const list = hops
      .map((text) => {
        const [address, label] = text.split(':');
        return `<next-hop><af>1</af><address>${address}</address><mac /><label>${label}</label><vni>0</vni><tunnel-encapsulation-list><tunnel-encapsulation>udp</tunnel-encapsulation><tunnel-encapsulation>gre</tunnel-encapsulation></tunnel-encapsulation-list><virtual-network>default-domain:k8s-default:vn-svc</virtual-network><tag-list><tag>65537</tag></tag-list><local-sequence-number>0</local-sequence-number></next-hop>`;
      })
      .join('\n');
    const af = six ? 2 : 1;
    this.#event(
      `<items node="${af}/1/${instance}"><item id="${prefix}"><entry><nlri><af>${af}</af><safi>1</safi><address>${prefix}</address></nlri><next-hops>${list}</next-hops><version>1</version><virtual-network>default-domain:k8s-default:vn-svc</virtual-network><mobility seqno="3" sticky="false" /><sequence-number>3</sequence-number><security-group-list><security-group>8000001</security-group></security-group-list><local-preference>200</local-preference><med>100</med><sub-protocol /></entry></item></items>`,
    );
  }

  /** A MAC and its address; of ff:ff:ff:ff:ff:ff an olist. */
  evpn(instance: string, mac: string, address: string, hops: readonly string[]): void {
    const broadcast = mac === 'ff:ff:ff:ff:ff:ff';
    const list = hops
      .map((text) => {
        const [at, label] = text.split(':');
        return `<next-hop><af>1</af><address>${at}</address><label>${label}</label><tunnel-encapsulation-list><tunnel-encapsulation>udp</tunnel-encapsulation></tunnel-encapsulation-list></next-hop>`;
      })
      .join('');
    const name = broadcast ? 'olist' : 'next-hops';
    this.#event(
      `<items node="25/242/${instance}"><item id="${mac},${address}"><entry><nlri><af>25</af><safi>242</safi><ethernet-tag>0</ethernet-tag><mac>${mac}</mac><address>${address}</address><group /><source /><flags>0</flags></nlri><${name}>${list}</${name}><local-preference>100</local-preference></entry></item></items>`,
    );
  }

  /** Texts of support/config-text.ts, as the ancestor cuts them. */
  config(updates: readonly string[], deletes: readonly string[] = []): void {
    for (const iq of configIqs(updates, deletes)) this.send(iq);
  }

  retract(node: string, id: string): void {
    this.#event(`<items node="${node}"><retract id="${id}" /></items>`);
  }

  /** An event without items, which is what the ancestor's agent understands. */
  endOfRib(): void {
    this.#event('');
  }

  kill(): void {
    this.#socket?.destroy();
  }

  async until(done: () => boolean, what: string, ms = 5000): Promise<void> {
    const end = Date.now() + ms;
    while (!done()) {
      if (Date.now() > end) throw new Error(`no ${what}; heard:\n${this.stanzas.join('\n')}`);
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
  }

  async close(): Promise<void> {
    this.kill();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}
