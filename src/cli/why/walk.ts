/**
 * `vrouter why`: both directions of a conversation, walked from node to node by `explain`, packet by packet
 * as they would be, until one does not get on; then why (diagnose.ts). What arrives is checked against what
 * is seen: flows of this conversation, and drops of it that the nodes remember.
 *
 * Invariants
 *  * Nothing is sent and nothing is changed; a node is asked what it would do.
 *  * A verdict is only "works" when every path there and back was walked to its end on nodes that were
 *    asked. What cannot be known from here is said to be unknown, never guessed.
 *  * Bounded: MAX_HOPS nodes a direction, MAX_TRIES source ports to find the paths of an ECMP set.
 */
import { canonicalIp } from '../../addr/ip.ts';
import { MAC_GATEWAY } from '../../addr/mac.ts';
import { buildFrame } from '../frame.ts';
import { type FrameHeaders, headersOf, innermostHeaders } from '../frame-headers.ts';
import { frameLine, frameOfHex } from '../frame-text.ts';
import { RpcError } from '../protocol.ts';
import type { ExplainView, PacketEndView, VifView } from '../views.ts';
import { CAUSES, type CauseCode, UNKNOWNS, type UnknownCode } from './causes.ts';
import { diagnose, type Finding } from './diagnose.ts';
import type { Arrival, Asked, NodeView } from './nodes.ts';

export interface Question {
  readonly source: string;
  readonly destination: string;
  readonly protocol: string;
  /** The receiver's; of ICMP nothing. */
  readonly port: number;
  /** Undefined: as many as it takes to see every path. */
  readonly sourcePort: number | undefined;
  /** Bytes of the IP packet; 0: as few as there can be. */
  readonly size: number;
}

export interface HopView {
  readonly direction: Direction;
  readonly node: string;
  readonly from: string;
  /** Where it leaves; '' when it does not. */
  readonly to: string;
  /** What leaves, as one line. */
  readonly packet: string;
  readonly lines: ExplainView['lines'];
}

export type Direction = 'there' | 'back';

export interface WhyView {
  readonly source: { readonly node: string; readonly vif: string; readonly address: string } | null;
  readonly destination: string;
  readonly protocol: string;
  readonly port: number;
  readonly verdict: 'works' | 'broken' | 'unknown';
  readonly cause: (Finding & { readonly direction: Direction; readonly help: string }) | null;
  readonly unknown: { readonly code: UnknownCode; readonly detail: string } | null;
  /** Of the path that is broken, or of the first. */
  readonly hops: readonly HopView[];
  readonly paths: { readonly walked: number; readonly broken: number };
  readonly notes: readonly string[];
}

const MAX_HOPS = 16;
const MAX_TRIES = 64;
const FIRST_SOURCE_PORT = 49_152;
/** Drops and silences older than this say nothing about now. */
const RECENT_MS = 30_000;
/** An answer may be under way for so long. */
const ANSWER_MS = 1_000;
const SMALL_TTL = 64;
const PROTOCOLS: Readonly<Record<string, number>> = {
  icmp: 1,
  tcp: 6,
  udp: 17,
  icmp6: 58,
  sctp: 132,
};

interface Place {
  readonly node: NodeView;
  readonly vif: VifView;
}

type WalkEnd =
  | { readonly kind: 'delivered'; readonly place: Place; readonly frame: Uint8Array }
  | { readonly kind: 'answered' }
  | { readonly kind: 'broken'; readonly finding: Finding }
  | { readonly kind: 'unknown'; readonly code: UnknownCode; readonly detail: string };

interface Walk {
  readonly hops: readonly HopView[];
  readonly end: WalkEnd;
}

interface Broken {
  readonly hops: readonly HopView[];
  readonly finding: Finding;
  readonly direction: Direction;
}

const hex = (frame: Uint8Array) => Buffer.from(frame).toString('hex');
const found = (code: CauseCode, node: NodeView, detail: string, room = ''): Finding => ({
  code,
  node: node.name,
  room,
  detail,
});

// --- one direction -----------------------------------------------------------------------------

/** The packet itself, or the first of those it became. */
function mainEnd({ ends }: ExplainView): PacketEndView | undefined {
  const own = ends.filter((end) => !end.generated && end.drop !== 'Cloned Original');
  return own.find((end) => !end.copy) ?? own.find((end) => end.verdict !== 'drop') ?? own[0];
}

/** Of where it leaves by; undefined: nothing is wrong with it. */
function badPort(node: NodeView, out: VifView, frame: Uint8Array): Finding | undefined {
  if (out.transport === null) return found('receiver_gone', node, `${out.name} has no port`);
  if (out.portUp === false) {
    return found(
      out.type === 'Physical' ? 'uplink_down' : 'receiver_down',
      node,
      `${out.name} is down`,
    );
  }
  const payload = frame.length - 14;
  if (out.portMtu !== undefined && payload > out.portMtu) {
    const detail = `${payload} bytes with the tunnel's headers, ${out.name} takes ${out.portMtu}`;
    return found('too_big', node, detail);
  }
  return undefined;
}

async function walk(
  asked: Asked,
  start: Place,
  first: Uint8Array,
  direction: Direction,
): Promise<Walk> {
  const hops: HopView[] = [];
  let place = start;
  let frame = first;
  for (let n = 0; n < MAX_HOPS; n++) {
    const { node, vif } = place;
    const arrival: Arrival = { vif: vif.id, packet: hex(frame) };
    let explained: ExplainView;
    try {
      explained = await node.explain(arrival);
    } catch (error) {
      if (!(error instanceof RpcError) || error.code !== 'CLOSED') throw error;
      const finding = found('forwarder_away', node, error.message);
      return { hops, end: { kind: 'broken', finding } };
    }
    node.remember(arrival);
    const end = mainEnd(explained);
    const out = end === undefined ? undefined : node.vif(end.vif);
    const leaving = end === undefined ? new Uint8Array() : frameOfHex(end.packet);
    const gone = end === undefined || end.verdict === 'drop';
    hops.push({
      direction,
      node: node.name,
      from: vif.name,
      to: out?.name ?? '',
      packet: gone ? '' : frameLine(leaving),
      lines: explained.lines,
    });
    if (end === undefined) {
      return { hops, end: { kind: 'unknown', code: 'held', detail: UNKNOWNS.held } };
    }
    const headers = innermostHeaders(frame);
    if (end.verdict === 'drop') {
      const { source = '', destination = '' } = headers ?? {};
      const dropped = { node, vif: vif.id, source, destination, explained, end };
      return { hops, end: { kind: 'broken', finding: await diagnose(asked, dropped) } };
    }
    if (end.verdict !== 'transmit' || out === undefined) return { hops, end: { kind: 'answered' } };
    const bad = badPort(node, out, leaving);
    if (bad !== undefined) return { hops, end: { kind: 'broken', finding: bad } };
    if (out.type === 'Virtual') {
      return { hops, end: { kind: 'delivered', place: { node, vif: out }, frame: leaving } };
    }
    if (out.type !== 'Physical') return { hops, end: { kind: 'answered' } };
    const next = nextPlace(asked, node, leaving);
    if ('code' in next) return { hops, end: { kind: 'unknown', ...next } };
    place = next;
    frame = leaving;
  }
  const code = 'too_many_hops';
  return { hops, end: { kind: 'unknown', code, detail: UNKNOWNS[code] } };
}

function nextPlace(
  asked: Asked,
  from: NodeView,
  frame: Uint8Array,
): Place | { readonly code: UnknownCode; readonly detail: string } {
  const outer = headersOf(frame);
  const far = asked.nodes.find((node) => outer !== undefined && node.isAt(outer.destination));
  const vif = far?.vifs.find(({ type }) => type === 'Physical');
  if (far !== undefined && vif !== undefined) return { node: far, vif };
  const to = outer?.destination ?? 'an unknown place';
  return {
    code: 'far_end_not_asked',
    detail: `${from.name} sends it to ${to}, which was not asked`,
  };
}

// --- frames ------------------------------------------------------------------------------------

/** The MAC of who is behind an interface, as its next hop writes it into frames. */
async function tenantMac({ node, vif }: Place): Promise<string> {
  const data = (await node.nextHop(vif.nextHop))?.data ?? '';
  return data.length >= 12
    ? (data.slice(0, 12).match(/../g) as string[]).join(':')
    : '02:00:00:00:00:01';
}

function headerBytes(protocol: string, six: boolean): number {
  const transport = protocol === 'tcp' ? 20 : protocol === 'sctp' ? 12 : 8;
  return (six ? 40 : 20) + transport;
}

async function requestFrame(question: Question, from: Place, port: number): Promise<Uint8Array> {
  const { source, destination, protocol, size } = question;
  const rest = Math.max(0, size - headerBytes(protocol, source.includes(':')));
  return buildFrame({
    sourceMac: await tenantMac(from),
    destinationMac: from.vif.mac === '' ? MAC_GATEWAY : from.vif.mac,
    source,
    destination,
    protocol,
    sourcePort: port,
    destinationPort: question.port,
    flags: 'S',
    ttl: SMALL_TTL,
    payload: new Uint8Array(rest),
  });
}

async function replyFrame(protocol: string, at: Place, arrived: FrameHeaders): Promise<Uint8Array> {
  const echo = protocol.startsWith('icmp');
  return buildFrame({
    sourceMac: await tenantMac(at),
    destinationMac: at.vif.mac === '' ? MAC_GATEWAY : at.vif.mac,
    source: arrived.destination,
    destination: arrived.source,
    protocol,
    sourcePort: echo ? arrived.sourcePort : arrived.destinationPort,
    destinationPort: echo ? arrived.destinationPort : arrived.sourcePort,
    flags: 'SA',
    ttl: SMALL_TTL,
    payload: new Uint8Array(0),
    reply: true,
  });
}

// --- both directions ---------------------------------------------------------------------------

interface PathResult {
  readonly hops: readonly HopView[];
  readonly broken?: Broken;
  readonly unknown?: { readonly code: UnknownCode; readonly detail: string };
  readonly receiver?: Place;
}

async function walkPath(
  asked: Asked,
  question: Question,
  from: Place,
  port: number,
): Promise<PathResult> {
  for (const node of asked.nodes) node.forget();
  const there = await walk(asked, from, await requestFrame(question, from, port), 'there');
  const { hops } = there;
  if (there.end.kind === 'broken')
    return { hops, broken: { hops, finding: there.end.finding, direction: 'there' } };
  if (there.end.kind === 'unknown') return { hops, unknown: there.end };
  if (there.end.kind === 'answered') return { hops };
  const { place: receiver, frame } = there.end;
  const arrived = headersOf(frame);
  if (arrived === undefined) return { hops, receiver };
  const reply = await replyFrame(question.protocol, receiver, arrived);
  const back = await walk(asked, receiver, reply, 'back');
  const all = [...hops, ...back.hops];
  const broken = (finding: Finding): PathResult => ({
    hops: all,
    broken: { hops: all, finding, direction: 'back' },
    receiver,
  });
  if (back.end.kind === 'broken') return broken(back.end.finding);
  if (back.end.kind === 'unknown') return { hops: all, unknown: back.end, receiver };
  if (back.end.kind === 'answered' || back.end.place.vif !== from.vif) {
    const to = back.end.kind === 'answered' ? 'the router itself' : back.end.place.vif.name;
    return broken(found('reply_lost', receiver.node, `the reply ends at ${to}`));
  }
  const came = headersOf(back.end.frame);
  const echo = question.protocol.startsWith('icmp');
  const right =
    came !== undefined &&
    came.source === question.destination &&
    came.destination === question.source &&
    (echo || (came.sourcePort === question.port && came.destinationPort === port));
  if (!right) {
    const is =
      came === undefined
        ? ''
        : `${came.source}:${came.sourcePort} > ${came.destination}:${came.destinationPort}`;
    return broken(found('reply_changed', from.node, `the reply comes as ${is}`));
  }
  return { hops: all, receiver };
}

/** Source ports that take the ways an ECMP set offers; the first node tells them apart. */
async function portsOf(asked: Asked, question: Question, from: Place): Promise<number[]> {
  if (question.sourcePort !== undefined) return [question.sourcePort];
  const ways = new Map<string, number>();
  for (let i = 0; i < MAX_TRIES; i++) {
    for (const node of asked.nodes) node.forget();
    const port = FIRST_SOURCE_PORT + i;
    const packet = hex(await requestFrame(question, from, port));
    const explained = await from.node.explain({ vif: from.vif.id, packet });
    const chosen = explained.lines.filter(({ room }) => room === 'choose_path');
    const way = chosen.map(({ text }) => text).join('\n');
    if (!ways.has(way)) ways.set(way, port);
    if (way === '') break; // one way, whatever the ports
  }
  return [...ways.values()];
}

// --- what is seen ------------------------------------------------------------------------------

function matchText(question: Question): string {
  const end = (address: string, port?: number) =>
    `${address.includes(':') ? `[${address}]` : address}:${port ?? '*'}`;
  const echo = question.protocol.startsWith('icmp');
  return `${end(question.source, question.sourcePort)},${end(question.destination, echo ? undefined : question.port)} & proto ${question.protocol}`;
}

/** The last flow of the conversation that its sender began, and what came back. */
async function lastFlow(question: Question, node: NodeView) {
  const flows = await node.flows(matchText(question));
  const byIndex = new Map(flows.map((flow) => [flow.index, flow]));
  const [last] = flows
    .filter((flow) => flow.initiator && flow.source === question.source && flow.idleMs < RECENT_MS)
    .sort((a, b) => a.idleMs - b.idleMs);
  if (last === undefined) return undefined;
  const reverse = byIndex.get(last.reverse);
  // Letters of `flow -l`: Sr, Er and Fr are of the other direction. A reset before a SYN of one's own.
  const answered = (reverse?.tcp ?? '').replace(/[SEF]r/g, '');
  const reset = answered.includes('R') && !answered.includes('S');
  return { ...last, replies: Number(reverse?.packets ?? 0), reset };
}

/** What became of the conversation the last time it was really tried: as the flows say. */
async function seenFlows(
  question: Question,
  from: Place,
  receiver: Place,
): Promise<Finding | undefined> {
  const sent = await lastFlow(question, from.node);
  if (sent === undefined) return undefined;
  const ends = `${sent.source}:${sent.sourcePort} > ${sent.destination}:${sent.destinationPort}`;
  if (sent.reset)
    return found('refused', receiver.node, `${ends} was reset before it was answered`);
  const came = receiver.node === from.node ? sent : await lastFlow(question, receiver.node);
  if (came === undefined || Number(came.packets) === 0 || came.idleMs < ANSWER_MS) return undefined;
  if (sent.replies > 0 || came.replies > 0) return undefined;
  const detail = `${ends}: ${came.packets} packets went to ${receiver.vif.name}, none came back`;
  return found('no_answer', receiver.node, detail);
}

/** Drops of this conversation that a node remembers: over, perhaps, but worth a note. */
async function noteDrops(asked: Asked, question: Question, notes: string[]): Promise<void> {
  const since = Date.now() - RECENT_MS;
  for (const node of asked.nodes) {
    for (const drop of (await node.drops()).toReversed()) {
      if (Date.parse(drop.time) < since) break;
      const headers = innermostHeaders(frameOfHex(drop.packet));
      if (headers === undefined || headers.protocol !== PROTOCOLS[question.protocol]) continue;
      const ends = [headers.source, headers.destination];
      if (!ends.includes(question.source) || !ends.includes(question.destination)) continue;
      notes.push(`${node.name} dropped one at ${drop.time}: ${drop.reason} in ${drop.room}`);
      break;
    }
  }
}

// --- the answer --------------------------------------------------------------------------------

/** By address, or by an interface's name, `node:name` where several nodes have it. */
export function findSender(asked: Asked, text: string): Place[] {
  const [nodeName, vifName] = /^[^:]+:[^:]+$/.test(text) ? text.split(':') : [undefined, text];
  let address = text;
  try {
    address = canonicalIp(text);
  } catch {
    // A name.
  }
  return asked.nodes.flatMap((node) =>
    node.vifs
      .filter(({ type }) => type === 'Virtual')
      .filter(
        (vif) =>
          vif.ipv4 === address ||
          vif.ipv6 === address ||
          (vif.name === vifName && (nodeName === undefined || node.name === nodeName)),
      )
      .map((vif) => ({ node, vif })),
  );
}

export async function why(asked: Asked, question: Question, from: Place): Promise<WhyView> {
  const notes: string[] = [];
  const base = {
    source: { node: from.node.name, vif: from.vif.name, address: question.source },
    destination: question.destination,
    protocol: question.protocol,
    port: question.port,
  };
  const answer = (
    rest: Pick<WhyView, 'verdict' | 'hops' | 'paths'> & Partial<Pick<WhyView, 'unknown'>>,
    finding?: Finding,
    direction: Direction = 'there',
  ): WhyView => ({
    ...base,
    unknown: null,
    cause:
      finding === undefined ? null : { ...finding, direction, help: CAUSES[finding.code].help },
    notes,
    ...rest,
  });
  if (from.vif.portUp === false) {
    const down = found('sender_down', from.node, `${from.vif.name} is down`);
    return answer({ verdict: 'broken', hops: [], paths: { walked: 0, broken: 0 } }, down);
  }
  const results: PathResult[] = [];
  try {
    for (const port of await portsOf(asked, question, from))
      results.push(await walkPath(asked, question, from, port));
  } catch (error) {
    if (!(error instanceof RpcError) || error.code !== 'CLOSED') throw error;
    const away = found('forwarder_away', from.node, error.message);
    return answer({ verdict: 'broken', hops: [], paths: { walked: 0, broken: 0 } }, away);
  }
  const broken = results.filter((result) => result.broken !== undefined);
  const paths = { walked: results.length, broken: broken.length };
  const [bad] = broken;
  if (bad?.broken !== undefined) {
    const { finding, direction, hops } = bad.broken;
    if (broken.length < results.length) {
      notes.push(
        `${broken.length} of ${results.length} paths are broken: only some connections are`,
      );
    }
    return answer({ verdict: 'broken', hops, paths }, finding, direction);
  }
  const hops = results[0]?.hops ?? [];
  await noteDrops(asked, question, notes);
  const unknown = results.find((result) => result.unknown !== undefined)?.unknown;
  if (unknown !== undefined) return answer({ verdict: 'unknown', hops, paths, unknown });
  const receiver = results.find((result) => result.receiver !== undefined)?.receiver;
  const seen = receiver === undefined ? undefined : await seenFlows(question, from, receiver);
  if (seen !== undefined) return answer({ verdict: 'broken', hops, paths }, seen, 'back');
  await noteLargest(asked, question, from, notes);
  return answer({ verdict: 'works', hops, paths });
}

/** Whether packets as large as the sender may make them pass too; not part of the verdict. */
async function noteLargest(
  asked: Asked,
  question: Question,
  from: Place,
  notes: string[],
): Promise<void> {
  const { mtu } = from.vif;
  if (question.size !== 0 || mtu === undefined || mtu < 576) return;
  for (const node of asked.nodes) node.forget();
  const large = { ...question, size: mtu };
  const frame = await requestFrame(large, from, question.sourcePort ?? FIRST_SOURCE_PORT);
  const { end } = await walk(asked, from, frame, 'there');
  if (end.kind === 'broken' && end.finding.code === 'too_big')
    notes.push(`packets of ${mtu} bytes do not pass (${end.finding.node}): ${end.finding.detail}`);
}
