/**
 * Packets that our own encoder did not make, from a stranger's kernel: GRE with MPLS made by hand and ICMP,
 * injected by `raw-socket`, into a running `vrouter node` on a namespace fabric; `cap` observes what comes
 * of them, on the fabric and on the tenant's TAP.
 *
 *   stranger 10.169.25.1 --- veth --- node 10.169.25.20 --- TAP --- pod 10.47.255.236
 */
import { existsSync, writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it, type TestContext } from 'vitest';
import { stringify } from 'yaml';
import { Client } from '../../src/cli/client.ts';
import type { DropView, LabelView, StatusView } from '../../src/cli/views.ts';
import { checksum } from '../../src/codec/checksum.ts';
import type { NodeFile } from '../../src/config/node.ts';
import { CapPort } from '../../src/ports/cap-port.ts';
import { RAW_PROTOCOL, RawPort } from '../../src/ports/raw-port.ts';
import { haveCommand, Lab, type Service } from '../../src/program/lab.ts';
import { connectVeth, type NetworkNamespace } from '../../src/program/netns.ts';
import {
  decodeFrame,
  decodeIpv4,
  encodeIpv4,
  type Ipv4Packet,
  ipv4Number,
  ipv4Text,
} from '../../src/sim/wire.ts';

const MAIN = resolve(import.meta.dirname, '../../dist/cli/main.js');
const PEER = resolve(import.meta.dirname, '../support/wire-peer.mjs');

const NODE = { ipv4: '10.169.25.20', mac: '52:54:00:00:02:22' };
const STRANGER = { ipv4: '10.169.25.1', mac: '52:54:00:00:00:01' };
const POD = { ipv4: '10.47.255.236', mac: '02:ed:00:00:02:36' };
const GATEWAY = '10.47.255.254';
/** An address behind the stranger, and the label it wants it with. */
const FAR = { ipv4: '10.47.255.200', label: 77 };
const PODS = 'k8s-default-pod-network';
const SOON_MS = 10_000;
/** Long enough for what must not come. */
const NEVER_MS = 300;

// --- packets, by hand --------------------------------------------------------------------------

const ECHO_REPLY = 0;
const ECHO_REQUEST = 8;

function icmpEcho(type: number, id: number, sequence: number, data: string): Buffer {
  const bytes = Buffer.alloc(8 + data.length);
  bytes[0] = type;
  bytes.writeUInt16BE(id, 4);
  bytes.writeUInt16BE(sequence, 6);
  bytes.write(data, 8, 'latin1');
  bytes.writeUInt16BE(checksum(bytes), 2);
  return bytes;
}

/** RFC 2784 and 2890: flags, protocol type, then what the flags announce. */
function mplsOverGre(label: number, inner: Buffer, flags = 0, options = Buffer.alloc(0)): Buffer {
  const header = Buffer.alloc(4);
  header.writeUInt16BE(flags, 0);
  header.writeUInt16BE(0x8847, 2);
  const entry = Buffer.alloc(4);
  entry.writeUInt32BE(((label << 12) | 0x100 | 64) >>> 0);
  return Buffer.concat([header, options, entry, inner]);
}

/** An echo request from behind the stranger to the pod. */
function innerEcho(sequence: number, data: string, ttl = 64): Buffer {
  return encodeIpv4({
    source: ipv4Number(FAR.ipv4),
    destination: ipv4Number(POD.ipv4),
    protocol: RAW_PROTOCOL.icmp,
    ttl,
    payload: icmpEcho(ECHO_REQUEST, 0x1234, sequence, data),
  });
}

// --- the lab -----------------------------------------------------------------------------------

let missing: string[];
let lab: Lab;
let stranger: NetworkNamespace;
let pod: NetworkNamespace;
let client: Client;
let onFabric: Service;
let onTap: Service;
let label: number;

async function whatIsMissing(): Promise<string[]> {
  const list: string[] = [];
  if (process.getuid?.() !== 0) list.push('root');
  for (const command of ['ip', 'nsenter', 'setpriv']) {
    if (!haveCommand(command)) list.push(`the command ${command}`);
  }
  for (const load of [() => CapPort.available(), () => RawPort.available()]) {
    await load().catch((error: Error) => list.push(error.message));
  }
  return list;
}

const needed = ({ skip }: TestContext) => {
  skip(missing.length > 0, `needs ${missing.join('; ')}`);
};

async function listen(namespace: NetworkNamespace, link: string): Promise<Service> {
  const service = lab.start('capture', [process.execPath, PEER, 'capture', link], { namespace });
  const ready = async () => (service.out().includes('ready') ? true : undefined);
  await Promise.race([lab.until('the capture is ready', ready, SOON_MS), lab.broken]);
  return service;
}

async function inject(protocol: number, ...payloads: readonly Buffer[]): Promise<void> {
  const hex = payloads.map((payload) => payload.toString('hex'));
  const argv = [process.execPath, PEER, 'inject', `${protocol}`, NODE.ipv4, ...hex];
  const { out, err } = await lab.run(argv, { namespace: stranger });
  expect({ out, err }).toEqual({ out: `sent ${payloads.length}\n`, err: '' });
}

interface Seen {
  readonly source: string; // MAC
  readonly destination: string;
  readonly packet: Ipv4Packet;
}

/** IPv4 packets a capture has seen whole and sound, in order. */
function seen(capture: Service): Seen[] {
  const frames = capture.out().split('\n').slice(1, -1);
  return frames.flatMap((line) => {
    const frame = decodeFrame(Buffer.from(line, 'hex'));
    const packet = frame?.etherType === 0x0800 ? decodeIpv4(frame.payload) : undefined;
    if (frame === undefined || packet === undefined) return [];
    const mac = (bytes: Buffer) => bytes.toString('hex').replace(/(..)(?!$)/g, '$1:');
    return [{ source: mac(frame.source), destination: mac(frame.destination), packet }];
  });
}

const text = (payload: Buffer, at = 8) => payload.toString('latin1', at);

/** The packet that carries this text, once it is there. */
function arrival(
  capture: Service,
  mark: string,
  wanted: (packet: Ipv4Packet) => boolean,
): Promise<Seen> {
  return lab.until(
    `a packet with ${mark}`,
    async () =>
      seen(capture).find(({ packet }) => wanted(packet) && text(packet.payload).includes(mark)),
    SOON_MS,
  );
}

const fromNode = (packet: Ipv4Packet) => ipv4Text(packet.source) === NODE.ipv4;
const toPod = (packet: Ipv4Packet) => ipv4Text(packet.destination) === POD.ipv4;
const marked = (capture: Service, mark: string, wanted: (packet: Ipv4Packet) => boolean) =>
  seen(capture).filter(({ packet }) => wanted(packet) && text(packet.payload).includes(mark));

async function drops(): Promise<Map<string, number>> {
  const rows = await client.call<DropView[]>('dropstats.get');
  return new Map(rows.map(({ name, packets }) => [name, Number(packets)]));
}

/** Drops by name that were counted while `act` was done and its packets arrived. */
async function droppedBy(
  act: () => Promise<void>,
  packets: number,
): Promise<Record<string, number>> {
  const before = { drops: await drops(), received: await received() };
  await act();
  await lab.until(
    `${packets} packets received`,
    async () => ((await received()) >= before.received + packets ? true : undefined),
    SOON_MS,
  );
  const after = await drops();
  const grown = [...after].map(([name, n]) => [name, n - (before.drops.get(name) ?? 0)] as const);
  return Object.fromEntries(grown.filter(([, n]) => n > 0));
}

async function received(): Promise<number> {
  return Number((await client.call<StatusView>('status')).totals.received);
}

beforeAll(async () => {
  missing = await whatIsMissing();
  if (missing.length > 0) return;
  if (!existsSync(MAIN)) throw new Error('dist/cli/main.js is not built: node scripts/setup.mjs');
  lab = new Lab();
  stranger = await lab.namespace('stranger');
  pod = await lab.namespace('pod');
  const node = await lab.namespace('node');
  await connectVeth(
    { namespace: stranger, name: 'eth0', mac: STRANGER.mac },
    { namespace: node, name: 'eth1', mac: NODE.mac },
  );
  await node.ip('link', 'set', 'eth1', 'up');
  await stranger.ip('link', 'set', 'eth0', 'up');
  await stranger.ip('address', 'add', `${STRANGER.ipv4}/24`, 'dev', 'eth0');
  const file: NodeFile = {
    name: 'cent222',
    socket: lab.path('cent222.sock'),
    dataplane: { flow_entries: 4096, seed: 1 },
    underlay: {
      port: { kind: 'af_packet', interface: 'eth1' },
      mac: NODE.mac,
      ipv4: NODE.ipv4,
      neighbours: { [STRANGER.ipv4]: STRANGER.mac },
    },
    vrfs: [{ name: PODS }],
    routes: [
      {
        instance: PODS,
        prefix: `${FAR.ipv4}/32`,
        hops: [{ address: STRANGER.ipv4, label: FAR.label, encaps: ['gre'] }],
      },
    ],
    vifs: [
      {
        name: 'tap-pod',
        port: { kind: 'tap', name: 'eth0', netns: pod.path },
        vrf: PODS,
        tenant_mac: POD.mac,
        ipv4: POD.ipv4,
        gateway4: GATEWAY,
      },
    ],
  };
  writeFileSync(lab.path('cent222.yaml'), stringify(file));
  const argv = [process.execPath, MAIN, 'node', '--config', lab.path('cent222.yaml')];
  lab.start('cent222', argv, { namespace: node });
  const connect = lab.until('a socket', () => Client.connect(lab.path('cent222.sock')), 30_000);
  client = await Promise.race([connect, lab.broken]);
  await pod.ip('link', 'set', 'eth0', 'address', POD.mac);
  await pod.ip('address', 'add', `${POD.ipv4}/12`, 'dev', 'eth0');
  await pod.ip('route', 'add', 'default', 'via', GATEWAY);
  const page = await client.call<{ items: LabelView[] }>('mpls.dump');
  label = page.items[0]?.label ?? -1;
  onFabric = await listen(stranger, 'eth0');
  onTap = await listen(pod, 'eth0');
}, 60_000);

afterAll(async () => {
  client?.close();
  await lab?.close();
});

describe('ICMP to the underlay address', () => {
  it('is answered by the vRouter, for the kernel has no address there', async (ctx) => {
    needed(ctx);
    await inject(RAW_PROTOCOL.icmp, icmpEcho(ECHO_REQUEST, 0xbeef, 7, 'from a stranger'));
    const { source, destination, packet } = await arrival(onFabric, 'from a stranger', fromNode);
    expect({ source, destination }).toEqual({ source: NODE.mac, destination: STRANGER.mac });
    expect(ipv4Text(packet.destination)).toBe(STRANGER.ipv4);
    expect(packet.payload).toEqual(icmpEcho(ECHO_REPLY, 0xbeef, 7, 'from a stranger'));
  });

  it('is never answered as if it were sound when its checksum is wrong, or it is cut', async (ctx) => {
    needed(ctx);
    const wrong = icmpEcho(ECHO_REQUEST, 1, 1, 'wrong checksum');
    wrong[2] = (wrong[2] ?? 0) ^ 1;
    await inject(RAW_PROTOCOL.icmp, wrong, icmpEcho(ECHO_REQUEST, 1, 2, '').subarray(0, 6));
    await inject(RAW_PROTOCOL.icmp, icmpEcho(ECHO_REQUEST, 1, 3, 'after those'));
    await arrival(onFabric, 'after those', fromNode);
    const sound = seen(onFabric).filter(
      ({ packet }) =>
        fromNode(packet) &&
        packet.protocol === RAW_PROTOCOL.icmp &&
        packet.payload[0] === ECHO_REPLY &&
        checksum(packet.payload) === 0,
    );
    expect(sound.map(({ packet }) => text(packet.payload))).toEqual([
      'from a stranger',
      'after those',
    ]);
  });
});

describe('MPLS over GRE', () => {
  it('is taken apart: the packet inside reaches the tenant, whose answer goes back the same way', async (ctx) => {
    needed(ctx);
    await inject(RAW_PROTOCOL.gre, mplsOverGre(label, innerEcho(1, 'inside GRE')));
    const request = await arrival(onTap, 'inside GRE', toPod);
    expect(request).toMatchObject({ source: '00:00:5e:00:01:00', destination: POD.mac });
    expect(ipv4Text(request.packet.source)).toBe(FAR.ipv4);
    expect(request.packet.ttl).toBeLessThan(64);
    expect(request.packet.payload).toEqual(icmpEcho(ECHO_REQUEST, 0x1234, 1, 'inside GRE'));
    // Answered by the pod's own kernel.
    const reply = await arrival(onFabric, 'inside GRE', fromNode);
    expect(reply.packet.protocol).toBe(RAW_PROTOCOL.gre);
    expect(ipv4Text(reply.packet.destination)).toBe(STRANGER.ipv4);
    const gre = reply.packet.payload;
    expect([gre.readUInt16BE(0), gre.readUInt16BE(2)]).toEqual([0, 0x8847]);
    const entry = gre.readUInt32BE(4);
    expect({ label: entry >>> 12, bottom: (entry >>> 8) & 1 }).toEqual({
      label: FAR.label,
      bottom: 1,
    });
    const inner = decodeIpv4(gre.subarray(8));
    expect(inner).toBeDefined();
    expect(ipv4Text(inner?.source ?? 0)).toBe(POD.ipv4);
    expect(ipv4Text(inner?.destination ?? 0)).toBe(FAR.ipv4);
    expect(inner?.payload).toEqual(icmpEcho(ECHO_REPLY, 0x1234, 1, 'inside GRE'));
  });

  it('may carry a key and a sequence number', async (ctx) => {
    needed(ctx);
    const options = Buffer.from('0000002a00000001', 'hex');
    await inject(RAW_PROTOCOL.gre, mplsOverGre(label, innerEcho(2, 'with a key'), 0x3000, options));
    const { packet } = await arrival(onTap, 'with a key', toPod);
    expect(packet.payload).toEqual(icmpEcho(ECHO_REQUEST, 0x1234, 2, 'with a key'));
  });

  it('is dropped by name when nobody has its label', async (ctx) => {
    needed(ctx);
    const unknown = mplsOverGre(label + 900, innerEcho(3, 'nobody has it'));
    const dropped = await droppedBy(() => inject(RAW_PROTOCOL.gre, unknown), 1);
    expect(dropped).toEqual({ 'Invalid Label': 1 });
    await sleep(NEVER_MS);
    expect(marked(onTap, 'nobody has it', toPod)).toEqual([]);
  });

  it('is dropped by name when what is inside comes from somewhere else than its source does', async (ctx) => {
    needed(ctx);
    const forged = encodeIpv4({
      source: ipv4Number('10.47.255.199'),
      destination: ipv4Number(POD.ipv4),
      protocol: RAW_PROTOCOL.icmp,
      ttl: 64,
      payload: icmpEcho(ECHO_REQUEST, 1, 1, 'forged source'),
    });
    const dropped = await droppedBy(() => inject(RAW_PROTOCOL.gre, mplsOverGre(label, forged)), 1);
    expect(Object.keys(dropped)).toHaveLength(1);
    await sleep(NEVER_MS);
    expect(marked(onTap, 'forged source', toPod)).toEqual([]);
  });

  it('in every length and with every flag does no harm: all accounted for, and the node goes on', async (ctx) => {
    needed(ctx);
    const whole = mplsOverGre(label, innerEcho(4, 'cut somewhere'));
    const hostile: Buffer[] = [];
    for (let length = 1; length < whole.length; length++) hostile.push(whole.subarray(0, length));
    for (let bit = 0; bit < 16; bit++)
      hostile.push(mplsOverGre(label, innerEcho(5, 'flags'), 1 << bit));
    const before = await received();
    await inject(RAW_PROTOCOL.gre, ...hostile);
    const all = async () => ((await received()) >= before + hostile.length ? true : undefined);
    await lab.until('all received', all, SOON_MS);
    expect(marked(onTap, 'cut somewhere', toPod)).toEqual([]);
    const { totals } = await client.call<StatusView>('status');
    const ways = ['forwarded', 'replied', 'punted', 'dropped', 'consumed', 'held'];
    expect(ways.reduce((sum, way) => sum + Number(totals[way]), 0)).toBe(Number(totals.received));
    await inject(RAW_PROTOCOL.icmp, icmpEcho(ECHO_REQUEST, 1, 1, 'still there'));
    await arrival(onFabric, 'still there', fromNode);
  });
});
