/**
 * Frames of the fabric that are control's and no tenant's: XMPP sessions of nodes with control nodes, BGP sessions of
 * control nodes with each other, and the ARP that hosts need to find each other. Decodes with sim/wire.ts, as the audit of tunnels does.
 */
import { BGP_PORT } from '../config/bgp.ts';
import { XMPP_PORT } from '../config/node.ts';
import {
  decodeFrame,
  decodeIpv4,
  decodeSegment,
  ETHERTYPE,
  ipv4Text,
  PROTOCOL,
} from '../sim/wire.ts';

/** What crossed the fabric between a node and a control node. */
export interface SessionSeen {
  readonly node: string; // address
  readonly control: string;
  /** Bytes of the stream, those sent again counted again. */
  toControl: number;
  toNode: number;
  /** Routes were published, and told. */
  publishes: number;
  events: number;
}

const PUBLISH = '<publish ';
const EVENT = '<event ';

const countOf = (text: string, piece: string) => text.split(piece).length - 1;

export class ControlAudit {
  /** Frames. */
  xmpp = 0;
  bgp = 0;
  arp = 0;
  /** Who spoke BGP to whom, `address address`, the smaller first. */
  readonly bgpPairs = new Set<string>();
  /** XMPP and BGP frames with a wrong length or checksum. */
  malformed = 0;
  readonly #sessions = new Map<string, SessionSeen>();

  get sessions(): SessionSeen[] {
    return [...this.#sessions.values()].sort((a, b) => (keyOf(a) < keyOf(b) ? -1 : 1));
  }

  /** Whether it is control's; what is not is a tenant's, or should not be there. */
  takes(bytes: Buffer): boolean {
    const frame = decodeFrame(bytes);
    if (frame?.etherType === ETHERTYPE.arp) {
      this.arp += 1;
      return true;
    }
    const packet = frame?.etherType === ETHERTYPE.ipv4 ? decodeIpv4(frame.payload) : undefined;
    if (packet?.protocol !== PROTOCOL.tcp || packet.payload.length < 4) return false;
    const [from, to] = [packet.payload.readUInt16BE(0), packet.payload.readUInt16BE(2)];
    if (from === BGP_PORT || to === BGP_PORT) {
      this.bgp += 1;
      this.bgpPairs.add([packet.source, packet.destination].map(ipv4Text).sort().join(' '));
      if (decodeSegment(packet) === undefined) this.malformed += 1;
      return true;
    }
    if (from !== XMPP_PORT && to !== XMPP_PORT) return false;
    this.xmpp += 1;
    const segment = decodeSegment(packet);
    if (segment === undefined) {
      this.malformed += 1;
      return true;
    }
    const text = segment.data.toString('latin1');
    const [source, destination] = [ipv4Text(packet.source), ipv4Text(packet.destination)];
    if (to === XMPP_PORT) {
      const session = this.#session(source, destination);
      session.toControl += text.length;
      session.publishes += countOf(text, PUBLISH);
    } else {
      const session = this.#session(destination, source);
      session.toNode += text.length;
      session.events += countOf(text, EVENT);
    }
    return true;
  }

  #session(node: string, control: string): SessionSeen {
    const seen = { node, control, toControl: 0, toNode: 0, publishes: 0, events: 0 };
    const found = this.#sessions.get(keyOf(seen)) ?? seen;
    this.#sessions.set(keyOf(seen), found);
    return found;
  }
}

const keyOf = ({ node, control }: Pick<SessionSeen, 'node' | 'control'>) => `${node} ${control}`;
