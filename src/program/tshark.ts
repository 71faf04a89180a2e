/**
 * A second opinion on a capture: tshark (Wireshark) takes every frame apart, all checksums checked, and
 * what it says of them is counted. It knows nothing of us.
 */
import { type Ended, LabError, type RunOptions } from './lab.ts';

export interface WireOpinion {
  readonly frames: number;
  /** UDP to 6635 with one MPLS label and IPv4 inside, by its own dissectors. */
  readonly mplsOverUdp: number;
  readonly sourcePorts: ReadonlySet<number>;
  /** TCP of port 5269, outside tunnels. What is in them it is not asked: its XMPP wants other streams than Contrail's. */
  readonly xmpp: number;
  /** Frames it calls malformed, or with a wrong checksum in any layer: `frame 7: …`. */
  readonly malformed: readonly string[];
  /** Protocols of the other frames, with counts. */
  readonly others: ReadonlyMap<string, number>;
}

const FIELDS = [
  'frame.number',
  'frame.protocols',
  'udp.srcport',
  'udp.dstport',
  '_ws.malformed',
  'ip.checksum.status',
  'udp.checksum.status',
  'tcp.checksum.status',
  'icmp.checksum.status',
  'tcp.checksum',
  'tcp.checksum_calculated',
  'icmpv6.checksum.status',
  'tcp.srcport',
  'tcp.dstport',
] as const;
const STATUSES = FIELDS.filter((name) => name.endsWith('.status'));
const column = (name: (typeof FIELDS)[number]) => FIELDS.indexOf(name);
/** Of a checksum.status field; the others are good, unverified, not present. */
const BAD = '0';
/**
 * Both are zero in ones' complement, and every receiver takes them alike (RFC 1071). Linux writes the first
 * where it completes a TCP checksum in software; tshark wants the second and calls the first bad.
 */
const BOTH_ZERO = '0xffff 0x0000';
const TUNNELLED = /^eth:ethertype:ip:udp:mpls:ip(:|$)/;
const MPLS_PORT = '6635';
const PLAIN_TCP = /^eth:ethertype:ip:tcp(:|$)/;
const XMPP_PORT = '5269';

const CHECK = ['ip', 'udp', 'tcp'].flatMap((layer) => ['-o', `${layer}.check_checksum:TRUE`]);

const ports = (fields: readonly string[]) => [
  fields[column('tcp.srcport')] ?? '',
  fields[column('tcp.dstport')] ?? '',
];

type Run = (argv: readonly string[], options?: RunOptions) => Promise<Ended>;

/**
 * `http`: TCP ports to be read as HTTP, for tshark guesses by port what it is not told. None: streams are not put
 * together, for a segment sent again, cut elsewhere, would be called malformed; nor is what is in a segment read, for
 * one of a page that begins with a line's end is no HTTP.
 */
export async function askTshark(
  run: Run,
  file: string,
  http: readonly number[],
): Promise<WireOpinion> {
  const { status, out, err } = await run([
    ...['tshark', '-n', '-r', file, ...CHECK],
    ...(http.length === 0
      ? ['-o', 'tcp.desegment_tcp_streams:FALSE', '--disable-protocol', 'http']
      : []),
    ...http.flatMap((port) => ['-d', `tcp.port==${port},http`]),
    ...['-T', 'fields', '-E', 'separator=/t', '-E', 'occurrence=a', '-E', 'aggregator=,'],
    ...FIELDS.flatMap((field) => ['-e', field]),
  ]);
  if (status !== 0) throw new LabError(`tshark ${file}: exit status ${status}: ${err.trim()}`);
  return opinionOf(out);
}

/** Of its output: a line a frame, fields in the order of FIELDS. */
export function opinionOf(text: string): WireOpinion {
  const sourcePorts = new Set<number>();
  const malformed: string[] = [];
  const others = new Map<string, number>();
  let frames = 0;
  let mplsOverUdp = 0;
  let xmpp = 0;
  for (const line of text.split('\n')) {
    if (line === '') continue;
    frames += 1;
    const fields = line.split('\t');
    const [number, protocols = '', from = '', to = '', bad = ''] = fields;
    const [tcp, calculated] = [
      fields[column('tcp.checksum')],
      fields[column('tcp.checksum_calculated')],
    ];
    const wrong = STATUSES.filter((name) => {
      const isBad = (fields[column(name)] ?? '').split(',').includes(BAD);
      const isZero = name === 'tcp.checksum.status' && `${tcp} ${calculated}` === BOTH_ZERO;
      return isBad && !isZero;
    }).map((name) => name.replace('.status', ''));
    if (bad !== '') wrong.unshift('malformed');
    if (wrong.length > 0) malformed.push(`frame ${number}: ${wrong.join(', ')}`);
    if (TUNNELLED.test(protocols) && to.split(',')[0] === MPLS_PORT) {
      mplsOverUdp += 1;
      sourcePorts.add(Number(from.split(',')[0]));
    } else if (PLAIN_TCP.test(protocols) && ports(fields).includes(XMPP_PORT)) {
      xmpp += 1;
    } else {
      others.set(protocols, (others.get(protocols) ?? 0) + 1);
    }
  }
  return { frames, mplsOverUdp, sourcePorts, xmpp, malformed, others };
}
