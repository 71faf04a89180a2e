/**
 * A simulated tenant: one interface, ARP for its gateway, and a TCP endpoint small enough to read: enough to
 * open, answer, keep and end connections, and to reset what it does not know, as a kernel would.
 *
 * Invariants: a tenant sees frames only through its vif, checks every checksum, and never looks at the
 * router's tables. Time is what `deliver` and `poll` are told; nothing here sleeps or draws random numbers.
 * The simulated wire loses nothing, so segments are retransmitted only when asked (`retransmit`).
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

/** A connection this tenant opened. */
export interface Connection {
  readonly localPort: number;
  readonly remoteIp: string;
  readonly remotePort: number;
  state: ConnectionState;
  /** Names in the answers so far, in order: who served it. */
  readonly servedBy: string[];
  requests: number;
  answers: number;
}

interface ClientSide extends Connection {
  sequence: number;
  expected: number;
  received: string;
}

interface ServerSide {
  sequence: number;
  expected: number;
  received: string;
}

const BROADCAST = Buffer.alloc(6, 0xff);

export class Tenant {
  readonly name: string;
  readonly ipv4: string;
  readonly mac: string;
  /** Segments that named no connection of ours and were reset. */
  resets = 0;
  /** Frames that a kernel would have dropped: bad checksums, wrong addresses. */
  bad = 0;
  /** Requests answered, as a server. */
  served = 0;

  readonly #mac: Buffer;
  readonly #ip: number;
  readonly #gateway: number;
  readonly #listen: ReadonlySet<number>;
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
    this.#out = [];
    return out;
  }

  connect(remoteIp: string, remotePort: number, localPort: number): Connection {
    const connection: ClientSide = {
      localPort,
      remoteIp,
      remotePort,
      state: 'syn-sent',
      servedBy: [],
      requests: 0,
      answers: 0,
      sequence: (localPort * 65_537) >>> 0,
      expected: 0,
      received: '',
    };
    this.#clients.set(key(ipv4Number(remoteIp), remotePort, localPort), connection);
    this.#send(connection, TCP.syn, '');
    connection.sequence = (connection.sequence + 1) >>> 0;
    return connection;
  }

  /** One request on an open connection; the answer names the server. */
  request(connection: Connection): void {
    const c = this.#own(connection);
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
    if (frame === undefined) return;
    if (!frame.destination.equals(this.#mac) && ((frame.destination[0] ?? 0) & 1) === 0) {
      this.bad += 1;
      return;
    }
    if (frame.etherType === ETHERTYPE.arp) {
      const arp = decodeArp(frame.payload);
      if (arp !== undefined) this.#arp(arp);
    } else if (frame.etherType === ETHERTYPE.ipv4) {
      const packet = decodeIpv4(frame.payload);
      const segment = packet === undefined ? undefined : decodeSegment(packet);
      if (packet === undefined || packet.destination !== this.#ip) this.bad += 1;
      else if (segment !== undefined) this.#segment(packet, segment);
      else if (packet.protocol === PROTOCOL.tcp) this.bad += 1;
    }
  }

  #own(connection: Connection): ClientSide {
    const found = this.#clients.get(
      key(ipv4Number(connection.remoteIp), connection.remotePort, connection.localPort),
    );
    if (found === undefined) throw new Error(`${this.name}: not a connection of this tenant`);
    return found;
  }

  #arp(arp: ArpMessage): void {
    if (arp.operation === 1 && arp.targetIp === this.#ip) {
      this.#frame(
        Buffer.from(arp.senderMac),
        ETHERTYPE.arp,
        encodeArp({
          operation: 2,
          senderMac: this.#mac,
          senderIp: this.#ip,
          targetMac: arp.senderMac,
          targetIp: arp.senderIp,
        }),
      );
    } else if (arp.operation === 2 && arp.senderIp === this.#gateway) {
      this.#gatewayMac = Buffer.from(arp.senderMac);
      const waiting = this.#waiting;
      this.#waiting = [];
      for (const packet of waiting) this.#packet(packet);
    }
  }

  #segment(packet: Ipv4Packet, segment: Segment): void {
    const k = key(packet.source, segment.sourcePort, segment.destinationPort);
    const client = this.#clients.get(k);
    if (client !== undefined) return this.#clientSegment(client, segment);
    const server = this.#servers.get(k);
    if (server !== undefined) return this.#serverSegment(k, server, packet, segment);
    if ((segment.flags & TCP.rst) !== 0) return;
    const opening = (segment.flags & (TCP.syn | TCP.ack)) === TCP.syn;
    if (opening && this.#listen.has(segment.destinationPort)) {
      const made: ServerSide = {
        sequence: (segment.sequence ^ 0x5a5a5a5a) >>> 0,
        expected: (segment.sequence + 1) >>> 0,
        received: '',
      };
      this.#servers.set(k, made);
      this.#answer(packet, segment, made, TCP.syn | TCP.ack, '');
      made.sequence = (made.sequence + 1) >>> 0;
      return;
    }
    // What a kernel does with a segment of no connection (RFC 9293 §3.10.7.1).
    this.resets += 1;
    const hasAck = (segment.flags & TCP.ack) !== 0;
    const state: ServerSide = {
      sequence: hasAck ? segment.acknowledgement : 0,
      expected: (segment.sequence + segment.data.length + 1) >>> 0,
      received: '',
    };
    this.#answer(packet, segment, state, hasAck ? TCP.rst : TCP.rst | TCP.ack, '');
  }

  #clientSegment(c: ClientSide, segment: Segment): void {
    if ((segment.flags & TCP.rst) !== 0) {
      c.state = 'reset';
      return;
    }
    if (c.state === 'syn-sent') {
      if ((segment.flags & (TCP.syn | TCP.ack)) !== (TCP.syn | TCP.ack)) return;
      if (segment.acknowledgement !== c.sequence) return;
      c.expected = (segment.sequence + 1) >>> 0;
      c.state = 'open';
      this.#send(c, TCP.ack, '');
      return;
    }
    if (segment.sequence !== c.expected) return; // a repeat
    c.expected = (c.expected + segment.data.length) >>> 0;
    c.received += segment.data.toString('latin1');
    for (;;) {
      const answer = /^HTTP\/1\.1 200 OK\r\nX-Backend: (\S+)\r\n\r\n/.exec(c.received);
      if (answer === null) break;
      c.received = c.received.slice(answer[0].length);
      c.servedBy.push(answer[1] ?? '');
      c.answers += 1;
    }
    if ((segment.flags & TCP.fin) !== 0) {
      c.expected = (c.expected + 1) >>> 0;
      this.#send(c, TCP.ack, '');
      c.state = 'closed';
    } else if (segment.data.length > 0) {
      this.#send(c, TCP.ack, '');
    }
  }

  #serverSegment(k: string, s: ServerSide, packet: Ipv4Packet, segment: Segment): void {
    if ((segment.flags & TCP.rst) !== 0) {
      this.#servers.delete(k);
      return;
    }
    if (segment.sequence !== s.expected) return;
    s.expected = (s.expected + segment.data.length) >>> 0;
    s.received += segment.data.toString('latin1');
    while (s.received.includes('\r\n\r\n')) {
      s.received = s.received.slice(s.received.indexOf('\r\n\r\n') + 4);
      const text = `HTTP/1.1 200 OK\r\nX-Backend: ${this.name}\r\n\r\n`;
      this.#answer(packet, segment, s, TCP.psh | TCP.ack, text);
      s.sequence = (s.sequence + text.length) >>> 0;
      this.served += 1;
    }
    if ((segment.flags & TCP.fin) !== 0) {
      s.expected = (s.expected + 1) >>> 0;
      this.#answer(packet, segment, s, TCP.fin | TCP.ack, '');
      this.#servers.delete(k);
    }
  }

  #send(c: ClientSide, flags: number, text: string): void {
    this.#tcp(ipv4Number(c.remoteIp), {
      sourcePort: c.localPort,
      destinationPort: c.remotePort,
      sequence: c.sequence,
      acknowledgement: (flags & TCP.ack) !== 0 ? c.expected : 0,
      flags,
      data: Buffer.from(text, 'latin1'),
    });
  }

  #answer(to: Ipv4Packet, s: Segment, state: ServerSide, flags: number, text: string): void {
    this.#tcp(to.source, {
      sourcePort: s.destinationPort,
      destinationPort: s.sourcePort,
      sequence: state.sequence,
      acknowledgement: (flags & TCP.ack) !== 0 ? state.expected : 0,
      flags,
      data: Buffer.from(text, 'latin1'),
    });
  }

  #tcp(destination: number, segment: Segment): void {
    this.#packet({
      source: this.#ip,
      destination,
      protocol: PROTOCOL.tcp,
      ttl: 64,
      payload: encodeSegment(this.#ip, destination, segment),
    });
  }

  #packet(packet: Ipv4Packet): void {
    if (this.#gatewayMac === undefined) {
      if (this.#waiting.length === 0) {
        this.#frame(
          BROADCAST,
          ETHERTYPE.arp,
          encodeArp({
            operation: 1,
            senderMac: this.#mac,
            senderIp: this.#ip,
            targetMac: Buffer.alloc(6),
            targetIp: this.#gateway,
          }),
        );
      }
      this.#waiting.push(packet);
      return;
    }
    this.#frame(this.#gatewayMac, ETHERTYPE.ipv4, encodeIpv4(packet));
  }

  #frame(destination: Buffer, etherType: number, payload: Buffer): void {
    this.#out.push(encodeFrame({ destination, source: this.#mac, etherType, payload }));
  }
}

function key(remoteIp: number, remotePort: number, localPort: number): string {
  return `${ipv4Text(remoteIp)}:${remotePort}:${localPort}`;
}
