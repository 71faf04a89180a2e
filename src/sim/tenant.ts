/**
 * A simulated tenant: one interface, ARP for its gateway, and a TCP endpoint small enough to read: enough to
 * open, answer, keep and end connections, and to reset what it does not know, as a kernel would.
 *
 * Invariants: a tenant sees frames only through its vif, checks every checksum, and never looks at the
 * router's tables. It keeps no time and draws no random numbers. It retransmits nothing: on a wire that
 * loses nothing every segment counts, and one that is missing stays missing for all to see.
 */
import {
  type ArpMessage,
  decodeArp,
  decodeFrame,
  decodeIpv4,
  decodeSegment,
  ETHERTYPE,
  encodeArp,
  encodeFrame,
  encodeIpv4,
  encodeSegment,
  type Ipv4Packet,
  ipv4Number,
  ipv4Text,
  macBytes,
  PROTOCOL,
  type Segment,
  TCP,
} from './wire.ts';

export interface TenantOptions {
  readonly name: string;
  readonly mac: string;
  readonly ipv4: string;
  readonly gateway: string;
  /** TCP ports it serves. */
  readonly listen?: readonly number[];
}

export type ConnectionState = 'syn-sent' | 'open' | 'closing' | 'closed' | 'reset';

/** An answer says who gave it, and on which of his ports. */
export interface Answer {
  readonly backend: string;
  readonly port: number;
}

/** A connection this tenant opened. */
export interface Connection {
  readonly localPort: number;
  readonly remoteIp: string;
  readonly remotePort: number;
  readonly state: ConnectionState;
  readonly requests: number;
  /** In order of arrival. */
  readonly answers: readonly Answer[];
}

interface ClientSide extends Connection {
  state: ConnectionState;
  requests: number;
  readonly answers: Answer[];
  readonly remote: number;
  sequence: number;
  expected: number;
  received: string;
}

interface ServerSide {
  sequence: number;
  expected: number;
  received: string;
  /** Both sides have said FIN; the last ACK is on its way. */
  closing: boolean;
}

const BROADCAST = Buffer.alloc(6, 0xff);
const NO_DATA = Buffer.alloc(0);
/** A host on Ethernet: 1500 less the headers of IPv4 and TCP. */
const MSS = 1460;
const ANSWER = /^HTTP\/1\.1 200 OK\r\nX-Backend: (\S+)\r\nX-Port: (\d+)\r\n\r\n/;

export class Tenant {
  readonly name: string;
  readonly ipv4: string;
  readonly mac: string;
  /** Segments that named no connection of ours and were answered with a reset. */
  resets = 0;
  /** Frames that a kernel would have dropped: bad checksums, others' addresses. */
  bad = 0;
  /** Requests answered, as a server. */
  served = 0;
  /** TCP segments received. */
  segments = 0;
  /** The segment size the last opening peer asked for, as it arrived here. */
  peerMss: number | undefined;
  /** Who spoke to us: `address:port` of all segments that belong to connections we opened. */
  readonly heard = new Set<string>();
  /** Addresses that opened connections to us. */
  readonly callers = new Set<string>();

  readonly #mac: Buffer;
  readonly #ip: number;
  readonly #gateway: number;
  readonly #listen: ReadonlySet<number>;
  /** By remote address and port and our port; those we opened, and those we serve. */
  readonly #clients = new Map<string, ClientSide>();
  readonly #servers = new Map<string, ServerSide>();
  #gatewayMac: Buffer | undefined;
  #waiting: Ipv4Packet[] = [];
  #out: Buffer[] = [];

  constructor(options: TenantOptions) {
    this.name = options.name;
    this.ipv4 = options.ipv4;
    this.mac = options.mac;
    this.#mac = macBytes(options.mac);
    this.#ip = ipv4Number(options.ipv4);
    this.#gateway = ipv4Number(options.gateway);
    this.#listen = new Set(options.listen ?? []);
  }

  /** Frames to put on the wire. */
  take(): Buffer[] {
    const out = this.#out;
    if (out.length > 0) this.#out = [];
    return out;
  }

  get gatewayMac(): string | undefined {
    return this.#gatewayMac?.toString('hex').replace(/..(?!$)/g, '$&:');
  }

  connect(remoteIp: string, remotePort: number, localPort: number): Connection {
    const remote = ipv4Number(remoteIp);
    const connection: ClientSide = {
      localPort,
      remoteIp,
      remotePort,
      remote,
      state: 'syn-sent',
      requests: 0,
      answers: [],
      sequence: (localPort * 65_537) >>> 0,
      expected: 0,
      received: '',
    };
    this.#clients.set(key(remote, remotePort, localPort), connection);
    this.#send(connection, TCP.syn, '', MSS);
    connection.sequence = (connection.sequence + 1) >>> 0;
    return connection;
  }

  /** One request on an open connection; the answer names the server. Nothing on one that is not open. */
  request(connection: Connection): void {
    const c = this.#own(connection);
    if (c.state !== 'open') return;
    const text = `GET / HTTP/1.1\r\nHost: ${c.remoteIp}\r\n\r\n`;
    this.#send(c, TCP.psh | TCP.ack, text);
    c.sequence = (c.sequence + text.length) >>> 0;
    c.requests += 1;
  }

  close(connection: Connection): void {
    const c = this.#own(connection);
    if (c.state !== 'open') return;
    this.#send(c, TCP.fin | TCP.ack, '');
    c.sequence = (c.sequence + 1) >>> 0;
    c.state = 'closing';
  }

  /** A frame from the wire. */
  deliver(bytes: Buffer): void {
    const frame = decodeFrame(bytes);
    if (frame === undefined) {
      this.bad += 1;
      return;
    }
    if (!frame.destination.equals(this.#mac) && !frame.destination.equals(BROADCAST)) {
      this.bad += 1;
      return;
    }
    if (frame.etherType === ETHERTYPE.arp) {
      const arp = decodeArp(frame.payload);
      if (arp !== undefined) this.#arp(arp);
    } else if (frame.etherType === ETHERTYPE.ipv4) {
      this.#packetIn(frame.payload);
    }
  }

  #packetIn(payload: Buffer): void {
    const packet = decodeIpv4(payload);
    if (packet === undefined || packet.destination !== this.#ip) {
      this.bad += 1;
      return;
    }
    if (packet.protocol !== PROTOCOL.tcp) return;
    const segment = decodeSegment(packet);
    if (segment === undefined) this.bad += 1;
    else this.#segment(packet, segment);
  }

  #own(connection: Connection): ClientSide {
    const remote = ipv4Number(connection.remoteIp);
    const found = this.#clients.get(key(remote, connection.remotePort, connection.localPort));
    if (found !== connection) throw new Error(`${this.name}: not a connection of this tenant`);
    return found;
  }

  #arp(arp: ArpMessage): void {
    if (arp.operation === 1 && arp.targetIp === this.#ip) {
      const reply = {
        operation: 2,
        senderMac: this.#mac,
        senderIp: this.#ip,
        targetMac: arp.senderMac,
        targetIp: arp.senderIp,
      } as const;
      this.#frame(arp.senderMac, ETHERTYPE.arp, encodeArp(reply));
    } else if (arp.operation === 2 && arp.senderIp === this.#gateway) {
      this.#gatewayMac = Buffer.from(arp.senderMac);
      const waiting = this.#waiting;
      this.#waiting = [];
      for (const packet of waiting) this.#packetOut(packet);
    }
  }

  #segment(packet: Ipv4Packet, segment: Segment): void {
    this.segments += 1;
    const k = key(packet.source, segment.sourcePort, segment.destinationPort);
    const server = this.#servers.get(k);
    if (server !== undefined) {
      this.#serverSegment(k, server, packet, segment);
      return;
    }
    if (!this.#listen.has(segment.destinationPort)) {
      this.heard.add(`${ipv4Text(packet.source)}:${segment.sourcePort}`);
    }
    const client = this.#clients.get(k);
    if (client !== undefined) this.#clientSegment(client, segment);
    else if ((segment.flags & TCP.rst) === 0) this.#stranger(k, packet, segment);
  }

  #stranger(k: string, packet: Ipv4Packet, segment: Segment): void {
    const opening = (segment.flags & (TCP.syn | TCP.ack)) === TCP.syn;
    if (opening && this.#listen.has(segment.destinationPort)) {
      const server: ServerSide = {
        sequence: (segment.sequence ^ 0x5a5a5a5a) >>> 0,
        expected: (segment.sequence + 1) >>> 0,
        received: '',
        closing: false,
      };
      this.#servers.set(k, server);
      this.callers.add(ipv4Text(packet.source));
      this.peerMss = segment.mss;
      this.#answer(packet, segment, server, TCP.syn | TCP.ack, '', MSS);
      server.sequence = (server.sequence + 1) >>> 0;
      return;
    }
    // What a kernel does with a segment of no connection (RFC 9293 §3.10.7.1).
    this.resets += 1;
    const hasAck = (segment.flags & TCP.ack) !== 0;
    const length = segment.data.length + (opening ? 1 : 0);
    const none = {
      sequence: hasAck ? segment.acknowledgement : 0,
      expected: (segment.sequence + length) >>> 0,
    };
    this.#answer(packet, segment, none, hasAck ? TCP.rst : TCP.rst | TCP.ack, '');
  }

  #clientSegment(c: ClientSide, segment: Segment): void {
    const opening = c.state === 'syn-sent';
    if ((segment.flags & TCP.rst) !== 0) {
      // RFC 5961 §3.2: exactly what was expected, or anyone could end it.
      const exact = opening
        ? segment.acknowledgement === c.sequence
        : segment.sequence === c.expected;
      if (exact) c.state = 'reset';
      return;
    }
    if (opening) {
      if ((segment.flags & (TCP.syn | TCP.ack)) !== (TCP.syn | TCP.ack)) return;
      if (segment.acknowledgement !== c.sequence) return;
      c.expected = (segment.sequence + 1) >>> 0;
      c.state = 'open';
      this.#send(c, TCP.ack, '');
      return;
    }
    if (segment.sequence !== c.expected) return; // a repeat, or out of order
    c.expected = (c.expected + segment.data.length) >>> 0;
    if (segment.data.length > 0) readAnswers(c, segment.data);
    if ((segment.flags & TCP.fin) !== 0) {
      c.expected = (c.expected + 1) >>> 0;
      c.state = 'closed';
      this.#send(c, TCP.ack, '');
    } else if (segment.data.length > 0) {
      this.#send(c, TCP.ack, '');
    }
  }

  #serverSegment(k: string, s: ServerSide, packet: Ipv4Packet, segment: Segment): void {
    if ((segment.flags & TCP.rst) !== 0) {
      if (segment.sequence === s.expected) this.#servers.delete(k);
      return;
    }
    if (segment.sequence !== s.expected) return;
    if (s.closing) {
      if (segment.acknowledgement === s.sequence) this.#servers.delete(k);
      return;
    }
    s.expected = (s.expected + segment.data.length) >>> 0;
    s.received += segment.data.toString('latin1');
    for (let end = s.received.indexOf('\r\n\r\n'); end >= 0; end = s.received.indexOf('\r\n\r\n')) {
      s.received = s.received.slice(end + 4);
      const port = segment.destinationPort;
      const text = `HTTP/1.1 200 OK\r\nX-Backend: ${this.name}\r\nX-Port: ${port}\r\n\r\n`;
      this.#answer(packet, segment, s, TCP.psh | TCP.ack, text);
      s.sequence = (s.sequence + text.length) >>> 0;
      this.served += 1;
    }
    if ((segment.flags & TCP.fin) !== 0) {
      s.expected = (s.expected + 1) >>> 0;
      this.#answer(packet, segment, s, TCP.fin | TCP.ack, '');
      s.sequence = (s.sequence + 1) >>> 0;
      s.closing = true;
    }
  }

  #send(c: ClientSide, flags: number, text: string, mss?: number): void {
    this.#tcp(c.remote, {
      sourcePort: c.localPort,
      destinationPort: c.remotePort,
      sequence: c.sequence,
      acknowledgement: (flags & TCP.ack) !== 0 ? c.expected : 0,
      flags,
      mss,
      data: text === '' ? NO_DATA : Buffer.from(text, 'latin1'),
    });
  }

  #answer(
    to: Ipv4Packet,
    s: Segment,
    state: { readonly sequence: number; readonly expected: number },
    flags: number,
    text: string,
    mss?: number,
  ): void {
    this.#tcp(to.source, {
      sourcePort: s.destinationPort,
      destinationPort: s.sourcePort,
      sequence: state.sequence,
      acknowledgement: (flags & TCP.ack) !== 0 ? state.expected : 0,
      flags,
      mss,
      data: text === '' ? NO_DATA : Buffer.from(text, 'latin1'),
    });
  }

  #tcp(destination: number, segment: Segment): void {
    this.#packetOut({
      source: this.#ip,
      destination,
      protocol: PROTOCOL.tcp,
      ttl: 64,
      payload: encodeSegment(this.#ip, destination, segment),
    });
  }

  /** All destinations are beyond the gateway: pods have /32s. */
  #packetOut(packet: Ipv4Packet): void {
    if (this.#gatewayMac !== undefined) {
      this.#frame(this.#gatewayMac, ETHERTYPE.ipv4, encodeIpv4(packet));
      return;
    }
    if (this.#waiting.length === 0) {
      const request = {
        operation: 1,
        senderMac: this.#mac,
        senderIp: this.#ip,
        targetMac: Buffer.alloc(6),
        targetIp: this.#gateway,
      } as const;
      this.#frame(BROADCAST, ETHERTYPE.arp, encodeArp(request));
    }
    this.#waiting.push(packet);
  }

  #frame(destination: Buffer, etherType: number, payload: Buffer): void {
    this.#out.push(encodeFrame({ destination, source: this.#mac, etherType, payload }));
  }
}

function readAnswers(c: ClientSide, data: Buffer): void {
  c.received += data.toString('latin1');
  for (let found = ANSWER.exec(c.received); found !== null; found = ANSWER.exec(c.received)) {
    c.received = c.received.slice(found[0].length);
    c.answers.push({ backend: found[1] as string, port: Number(found[2]) });
  }
}

function key(remoteIp: number, remotePort: number, localPort: number): string {
  return `${remoteIp}:${remotePort}:${localPort}`;
}
