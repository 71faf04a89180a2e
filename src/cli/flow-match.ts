/**
 * The filter of `flow --match`: "ip:port,ip:port & vrf N & proto tcp". Direction does not matter: one end
 * given matches the source or the destination, two match in either order. `*`, or nothing, is any.
 */
import { canonicalIp, isIp } from '../addr/ip.ts';
import { decimal, quoted } from '../addr/text.ts';
import { ParseError } from '../errors.ts';

export interface FlowEnd {
  readonly address: string | null;
  readonly port: number | null;
}

export interface FlowMatch {
  /** None, one or two. */
  readonly ends: readonly FlowEnd[];
  readonly vrf: number | null;
  readonly protocol: number | null;
}

const PROTOCOLS = { tcp: 6, udp: 17, icmp: 1, icmp6: 58, sctp: 132 } as const;

function refuse(text: string, why: string): never {
  throw new ParseError(
    `${quoted(text)}: ${why}; a match is "ip:port,ip:port & vrf N & proto tcp|udp|icmp|icmp6|sctp"`,
  );
}

function parseEnd(text: string): FlowEnd {
  const bracketed = /^\[([^\]]*)\](?::(.*))?$/.exec(text);
  const plain = /^([^:]*)(?::(.*))?$/.exec(text);
  // A bare IPv6 address has too many colons to be taken for address:port.
  const [address, port] = isIp(text)
    ? [text, undefined]
    : [(bracketed ?? plain)?.[1], (bracketed ?? plain)?.[2]];
  if (address === undefined)
    refuse(text, 'not an address and a port; IPv6 is written [address]:port');
  if (address !== '*' && address !== '' && !isIp(address)) refuse(text, 'not an IP address');
  let number: number | null = null;
  if (port !== undefined && port !== '*' && port !== '') {
    number = decimal(port, 65535) ?? refuse(text, 'a port is 0 to 65535 or *');
  }
  return { address: address === '*' || address === '' ? null : canonicalIp(address), port: number };
}

export function parseFlowMatch(text: string): FlowMatch {
  if (text.length > 512) refuse(text, 'too long');
  let ends: FlowEnd[] | undefined;
  let vrf: number | null = null;
  let protocol: number | null = null;
  for (const part of text.split('&').map((piece) => piece.trim())) {
    const [word = '', value = '', extra] = part.split(/\s+/);
    if (word === 'vrf') {
      vrf = decimal(value, 65535) ?? refuse(part, 'a VRF is 0 to 65535');
    } else if (word === 'proto') {
      if (!Object.hasOwn(PROTOCOLS, value)) refuse(part, 'unknown protocol');
      protocol = PROTOCOLS[value as keyof typeof PROTOCOLS];
    } else {
      if (ends !== undefined) refuse(part, 'addresses are given twice');
      const list = part.split(',').map((piece) => piece.trim());
      if (list.length > 2) refuse(part, 'a flow has two ends');
      ends = list.map(parseEnd);
      continue;
    }
    if (extra !== undefined) refuse(part, 'something follows the value');
  }
  return { ends: ends ?? [], vrf, protocol };
}

interface Matchable {
  readonly source: string;
  readonly sourcePort: number;
  readonly destination: string;
  readonly destinationPort: number;
  readonly protocol: number;
  readonly vrf: number;
}

function isEnd(end: FlowEnd, address: string, port: number): boolean {
  return (end.address ?? address) === address && (end.port ?? port) === port;
}

export function flowMatches(match: FlowMatch, flow: Matchable): boolean {
  if (match.vrf !== null && match.vrf !== flow.vrf) return false;
  if (match.protocol !== null && match.protocol !== flow.protocol) return false;
  const [first, second] = match.ends;
  const atSource = (end: FlowEnd) => isEnd(end, flow.source, flow.sourcePort);
  const atDestination = (end: FlowEnd) => isEnd(end, flow.destination, flow.destinationPort);
  if (first === undefined) return true;
  if (second === undefined) return atSource(first) || atDestination(first);
  return (atSource(first) && atDestination(second)) || (atSource(second) && atDestination(first));
}

/** As the listing's title has it; undefined where the ancestor prints none (nothing, or VRF 0 alone). */
export function flowMatchText(match: FlowMatch): string | undefined {
  const parts = match.ends.map((end) => `[${end.address ?? '*'}]:${end.port ?? '*'}`);
  const names = Object.entries(PROTOCOLS).find(([, number]) => number === match.protocol);
  if (names !== undefined) parts.push(`Protocol ${names[0].toUpperCase()}`);
  if (match.vrf !== null && match.vrf > 0) parts.push(`VRF ${match.vrf}`);
  return parts.length === 0 ? undefined : parts.join(', ');
}
