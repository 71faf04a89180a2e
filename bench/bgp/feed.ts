/**
 * A BGP speaker that only talks, for benchmarks: bytes of messages made beforehand, written as fast as the receiver
 * takes them. It is the same for every receiver and shares no code with ours.
 */
import { connect, type Socket } from 'node:net';

const MARKER = Buffer.alloc(16, 0xff);
export const VPNV4 = [0, 1, 0, 128] as const;

export function message(type: number, body: Buffer): Buffer {
  const head = Buffer.alloc(3);
  head.writeUInt16BE(19 + body.length);
  head[2] = type;
  return Buffer.concat([MARKER, head, body]);
}

export const KEEPALIVE = message(4, Buffer.alloc(0));

/** VPNv4, AS numbers of four bytes, and nothing else. */
export function open(as: number, id: readonly number[]): Buffer {
  const as4 = Buffer.alloc(4);
  as4.writeUInt32BE(as);
  const capabilities = [1, 4, ...VPNV4, 2, 0, 65, 4, ...as4];
  // No hold time: a receiver that is busy for long is not to be taken for dead.
  const head = [4, as >> 8, as & 0xff, 0, 0, ...id];
  return message(
    1,
    Buffer.from([...head, capabilities.length + 2, 2, capabilities.length, ...capabilities]),
  );
}

export interface Announced {
  /** Low number of 65000:n, the RD and the route target. */
  readonly vrf: number;
  readonly prefixes: readonly number[];
  readonly nextHop: number;
  readonly asPath: readonly number[];
  readonly med: number;
  readonly label: number;
  readonly internal: boolean;
}

const u32 = (value: number) => [
  value >>> 24,
  (value >>> 16) & 0xff,
  (value >>> 8) & 0xff,
  value & 0xff,
];
const rd = (vrf: number) => [0, 0, 0xfd, 0xe8, ...u32(vrf)];
/** A /24. */
const nlri = (vrf: number, label: number, prefix: number) => [
  ...[112, (label >> 12) & 0xff, (label >> 4) & 0xff, ((label << 4) & 0xf0) | 1],
  ...rd(vrf),
  ...u32(prefix).slice(1),
];

export function announcement(of: Announced): Buffer {
  const routes = of.prefixes.flatMap((prefix) => nlri(of.vrf, of.label, prefix));
  const reach = [
    ...VPNV4.slice(0, 2),
    128,
    12,
    ...new Array<number>(8).fill(0),
    ...u32(of.nextHop),
    0,
    ...routes,
  ];
  const path = of.asPath.length === 0 ? [] : [2, of.asPath.length, ...of.asPath.flatMap(u32)];
  const attributes = [
    ...[0x40, 1, 1, 0, 0x40, 2, path.length, ...path],
    ...[0x80, 4, 4, ...u32(of.med)],
    ...(of.internal ? [0x40, 5, 4, ...u32(100)] : []),
    ...[0xc0, 16, 8, 0, 2, 0xfd, 0xe8, ...u32(of.vrf)],
    ...[0x90, 14, reach.length >> 8, reach.length & 0xff, ...reach],
  ];
  return message(
    2,
    Buffer.from([0, 0, attributes.length >> 8, attributes.length & 0xff, ...attributes]),
  );
}

export function withdrawal(vrf: number, prefix: number): Buffer {
  const unreach = [...VPNV4.slice(0, 2), 128, ...nlri(vrf, 0x80000, prefix)];
  return message(
    2,
    Buffer.from([0, 0, 0, unreach.length + 4, 0x90, 15, 0, unreach.length, ...unreach]),
  );
}

/** Cuts what comes in into messages. */
export function reader(told: (type: number, body: Buffer) => void): (bytes: Buffer) => void {
  let held: Buffer = Buffer.alloc(0);
  return (bytes) => {
    held = held.length === 0 ? bytes : Buffer.concat([held, bytes]);
    let at = 0;
    while (held.length - at >= 19) {
      const length = held.readUInt16BE(at + 16);
      if (held.length - at < length) break;
      told(held[at + 18] as number, held.subarray(at + 19, at + length));
      at += length;
    }
    held = held.subarray(at);
  };
}

export interface Talker {
  readonly socket: Socket;
  /** The receiver has ended it. */
  readonly closed: () => boolean;
  /** Resolves when the kernel has it all. */
  say(bytes: Buffer): Promise<void>;
  close(): void;
}

export interface Call {
  readonly port: number;
  readonly from: string;
  readonly as: number;
  readonly id: readonly number[];
  readonly update?: (body: Buffer) => void;
}

/** Calls until it is let in: a receiver refuses for some seconds after it has started. */
export async function talk(call: Call, patienceMs = 30_000): Promise<Talker> {
  const until = Date.now() + patienceMs;
  for (;;) {
    try {
      return await talkOnce(call);
    } catch (error) {
      if (Date.now() > until) throw error;
      await new Promise((resolve) => setTimeout(resolve, 300));
    }
  }
}

function talkOnce({ port, from, as, id, update }: Call): Promise<Talker> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: '127.0.0.1', localAddress: from });
    socket.setNoDelay(true);
    let closed = false;
    const talker: Talker = {
      socket,
      closed: () => closed,
      say: (bytes) =>
        new Promise((done, failed) => {
          socket.write(bytes, (error) => (error ? failed(error) : done()));
        }),
      close: () => void socket.destroy(),
    };
    const fail = (why: string) => {
      closed = true;
      talker.close();
      reject(new Error(`${from}: ${why}`));
    };
    socket.on('error', (error) => fail(error.message));
    socket.on('close', () => fail('the receiver closed it'));
    socket.on('connect', () => socket.write(open(as, id)));
    socket.on(
      'data',
      reader((type, body) => {
        if (type === 1) socket.write(KEEPALIVE);
        else if (type === 4) resolve(talker);
        else if (type === 3) fail(`notification ${body[0]}/${body[1]}`);
        else if (type === 2) update?.(body);
      }),
    );
  });
}

/**
 * As an Internet table looks: ten routes an update, each with attributes of its own; a thousand VRFs, 250 next hops.
 */
export function* table(routes: number, internal: boolean): Generator<Buffer> {
  const each = 10;
  for (let at = 0; at < routes; at += each) {
    const group = at / each;
    const vrf = 1 + (group % 1000);
    const first = Math.floor(group / 1000) * each;
    yield announcement({
      ...{ vrf, internal, label: 1000 + vrf, med: group % 7 },
      prefixes: Array.from(
        { length: Math.min(each, routes - at) },
        (_, n) => (10 << 16) + first + n,
      ),
      nextHop: ((10 << 24) | (250 << 16) | (1 + (group % 250))) >>> 0,
      asPath: [65001, 64000 + (group % 900), 3000 + (group >> 3)],
    });
  }
}
