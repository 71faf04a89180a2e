/**
 * Packets for tests, layer by layer, from the RFCs: 768, 791, 792, 826, 4443, 4861, 8200, 9293, 3032 (MPLS labels), 2784 (GRE),
 * 7348 (VXLAN), IEEE 802.3. Independent of the product's own encoders on purpose: it shares no code with them, not even
 * the address parser, so an error there cannot hide here.
 *
 *   packet(ether({ dst, src }), ipv4({ src, dst }), udp({ sport: 1, dport: 2 }), raw('hello'))
 *
 * Lengths, checksums, next-protocol numbers and ethertypes are computed unless they are given; giving one makes a broken
 * packet. `scapy(...)` of the same layers is the line that builds the packet in Scapy.
 */

type Bytes = Uint8Array;

/** What a layer may need to know of the layers around it. */
interface Around {
  /** The network layer it stands in, for pseudo headers. */
  readonly ip?: { readonly src: Bytes; readonly dst: Bytes };
  /** The layer behind it. */
  readonly next: Layer | undefined;
}

export interface Layer {
  /** IP protocol number by which an IP header names this layer. */
  readonly protocol?: number;
  readonly etherType?: number;
  /** Set on IP layers. */
  readonly addresses?: { readonly src: Bytes; readonly dst: Bytes };
  render(body: Bytes, around: Around): Bytes;
  readonly scapy: string;
}

// --- bytes ----------------------------------------------------------------------------------------

export function concat(...parts: readonly Bytes[]): Bytes {
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

function be16(value: number): Bytes {
  return Uint8Array.of((value >> 8) & 0xff, value & 0xff);
}

function be32(value: number): Bytes {
  return Uint8Array.of(value >>> 24, (value >>> 16) & 0xff, (value >>> 8) & 0xff, value & 0xff);
}

export function macBytes(text: string): Bytes {
  const parts = text.split(':').map((part) => Number.parseInt(part, 16));
  if (parts.length !== 6 || parts.some(Number.isNaN)) throw new Error(`${text} is no MAC`);
  return Uint8Array.from(parts);
}

export function ipBytes(text: string): Bytes {
  if (!text.includes(':')) return Uint8Array.from(text.split('.').map(Number));
  const [head = '', tail] = text.split('::');
  const groups = (part: string) => (part === '' ? [] : part.split(':'));
  const before = groups(head);
  const after = tail === undefined ? [] : groups(tail);
  const middle = new Array<string>(8 - before.length - after.length).fill('0');
  return concat(...[...before, ...middle, ...after].map((g) => be16(Number.parseInt(g, 16))));
}

/** RFC 1071. */
export function checksum(...parts: readonly Bytes[]): number {
  const bytes = concat(...parts);
  let sum = 0;
  for (let i = 0; i < bytes.length; i++) sum += i % 2 === 0 ? bytes[i]! * 256 : bytes[i]!;
  while (sum > 0xffff) sum = (sum % 65536) + Math.floor(sum / 65536);
  return 0xffff - sum;
}

function pseudo(ip: Around['ip'], protocol: number, length: number): Bytes {
  if (ip === undefined) throw new Error('a checksum needs an IP layer around it');
  if (ip.src.length === 4) return concat(ip.src, ip.dst, Uint8Array.of(0, protocol), be16(length));
  return concat(ip.src, ip.dst, be32(length), Uint8Array.of(0, 0, 0, protocol));
}

function at(bytes: Bytes, offset: number, value: Bytes): Bytes {
  const out = bytes.slice();
  out.set(value, offset);
  return out;
}

// --- composing ------------------------------------------------------------------------------------

function render(layers: readonly Layer[], index: number, ip: Around['ip']): Bytes {
  const layer = layers[index];
  if (layer === undefined) return new Uint8Array(0);
  const body = render(layers, index + 1, layer.addresses ?? ip);
  return layer.render(body, { ...(ip && { ip }), next: layers[index + 1] });
}

export function packet(...layers: readonly Layer[]): Bytes {
  return render(layers, 0, undefined);
}

export function scapy(...layers: readonly Layer[]): string {
  return layers.map((layer) => layer.scapy).join('/');
}

function call(name: string, fields: Readonly<Record<string, string | number | undefined>>): string {
  const given = Object.entries(fields).filter(([, value]) => value !== undefined);
  const shown = given.map(([k, v]) => `${k}=${typeof v === 'string' ? `'${v}'` : v}`);
  return `${name}(${shown.join(', ')})`;
}

// --- layers ---------------------------------------------------------------------------------------

export function raw(content: string | Bytes): Layer {
  const bytes = typeof content === 'string' ? new TextEncoder().encode(content) : content;
  return {
    render: (body) => concat(bytes, body),
    scapy: `Raw(bytes.fromhex('${Buffer.from(bytes).toString('hex')}'))`,
  };
}

/** `count` bytes that differ from one another, so that a shifted copy shows. */
export function filler(count: number): Layer {
  return raw(Uint8Array.from({ length: count }, (_, i) => (i * 7 + (i >> 8)) & 0xff));
}

export interface Ether {
  readonly dst: string;
  readonly src: string;
  readonly type?: number;
}

export function ether({ dst, src, type }: Ether): Layer {
  return {
    render: (body, { next }) =>
      concat(macBytes(dst), macBytes(src), be16(type ?? next?.etherType ?? 0xffff), body),
    scapy: call('Ether', { dst, src, type }),
  };
}

export interface Ipv4 {
  readonly src: string;
  readonly dst: string;
  readonly ttl?: number;
  readonly id?: number;
  readonly df?: boolean;
  readonly mf?: boolean;
  /** In bytes, a multiple of 8. */
  readonly offset?: number;
  readonly tos?: number;
  readonly protocol?: number;
  /** Raw options, a multiple of 4 bytes. */
  readonly options?: Bytes;
  readonly checksum?: number;
  readonly length?: number;
}

export function ipv4(fields: Ipv4): Layer {
  const { src, dst, ttl = 64, id = 1, df = false, mf = false, offset = 0, tos = 0 } = fields;
  const options = fields.options ?? new Uint8Array(0);
  const addresses = { src: ipBytes(src), dst: ipBytes(dst) };
  return {
    protocol: 4,
    etherType: 0x0800,
    addresses,
    render(body, { next }) {
      const protocol = fields.protocol ?? next?.protocol ?? 255;
      const headerLength = 20 + options.length;
      const header = concat(
        Uint8Array.of(0x40 | (headerLength / 4), tos),
        be16(fields.length ?? headerLength + body.length),
        be16(id),
        be16((df ? 0x4000 : 0) | (mf ? 0x2000 : 0) | (offset >> 3)),
        Uint8Array.of(ttl, protocol, 0, 0),
        addresses.src,
        addresses.dst,
        options,
      );
      return concat(at(header, 10, be16(fields.checksum ?? checksum(header))), body);
    },
    scapy: call('IP', {
      src,
      dst,
      ttl,
      id,
      flags: df ? 'DF' : mf ? 'MF' : undefined,
      frag: offset === 0 ? undefined : offset >> 3,
      tos: tos === 0 ? undefined : tos,
      proto: fields.protocol,
    }),
  };
}

export interface Ipv6 {
  readonly src: string;
  readonly dst: string;
  readonly hopLimit?: number;
  readonly trafficClass?: number;
  readonly flowLabel?: number;
  readonly nextHeader?: number;
  readonly length?: number;
}

export function ipv6(fields: Ipv6): Layer {
  const { src, dst, hopLimit = 64, trafficClass = 0, flowLabel = 0 } = fields;
  const addresses = { src: ipBytes(src), dst: ipBytes(dst) };
  return {
    protocol: 41,
    etherType: 0x86dd,
    addresses,
    render: (body, { next }) =>
      concat(
        be32(((6 << 28) | (trafficClass << 20) | flowLabel) >>> 0),
        be16(fields.length ?? body.length),
        Uint8Array.of(fields.nextHeader ?? next?.protocol ?? 59, hopLimit),
        addresses.src,
        addresses.dst,
        body,
      ),
    scapy: call('IPv6', {
      src,
      dst,
      hlim: hopLimit,
      tc: trafficClass === 0 ? undefined : trafficClass,
      fl: flowLabel === 0 ? undefined : flowLabel,
    }),
  };
}

/** Fragment header of IPv6 (RFC 8200 §4.5); `offset` in bytes, a multiple of 8. */
export function ipv6Fragment(fields: {
  readonly id: number;
  readonly offset: number;
  readonly more: boolean;
  readonly nextHeader?: number;
}): Layer {
  const { id, offset, more, nextHeader } = fields;
  return {
    protocol: 44,
    render: (body, { next }) =>
      concat(
        Uint8Array.of(nextHeader ?? next?.protocol ?? 59, 0),
        be16(offset | (more ? 1 : 0)),
        be32(id),
        body,
      ),
    scapy: call('IPv6ExtHdrFragment', { id, offset: offset >> 3, m: more ? 1 : 0, nh: nextHeader }),
  };
}

/** Hop-by-hop options header of 8 bytes: padding only. */
export function hopByHop(): Layer {
  return {
    protocol: 0,
    render: (body, { next }) =>
      concat(Uint8Array.of(next?.protocol ?? 59, 0, 1, 4, 0, 0, 0, 0), body),
    scapy: 'IPv6ExtHdrHopByHop()',
  };
}

export interface Udp {
  readonly sport: number;
  readonly dport: number;
  /** 0: none, as IPv4 allows. */
  readonly checksum?: number;
}

export function udp({ sport, dport, checksum: given }: Udp): Layer {
  return {
    protocol: 17,
    render(body, { ip }) {
      const length = be16(8 + body.length);
      const zero = concat(be16(sport), be16(dport), length, be16(0));
      if (given !== undefined) return concat(at(zero, 6, be16(given)), body);
      const sum = checksum(pseudo(ip, 17, 8 + body.length), zero, body);
      return concat(at(zero, 6, be16(sum === 0 ? 0xffff : sum)), body);
    },
    scapy: call('UDP', { sport, dport, chksum: given }),
  };
}

export interface Tcp {
  readonly sport: number;
  readonly dport: number;
  /** Letters of F S R P A U. */
  readonly flags: string;
  readonly seq?: number;
  readonly ack?: number;
  readonly window?: number;
  readonly mss?: number;
}

export function tcp({ sport, dport, flags, seq = 0, ack = 0, window = 8192, mss }: Tcp): Layer {
  const bits = [...flags].reduce((sum, letter) => sum | (1 << 'FSRPAU'.indexOf(letter)), 0);
  const options = mss === undefined ? new Uint8Array(0) : concat(Uint8Array.of(2, 4), be16(mss));
  return {
    protocol: 6,
    render(body, { ip }) {
      const header = concat(
        be16(sport),
        be16(dport),
        be32(seq),
        be32(ack),
        Uint8Array.of((5 + options.length / 4) << 4, bits),
        be16(window),
        be32(0),
        options,
      );
      const sum = checksum(pseudo(ip, 6, header.length + body.length), header, body);
      return concat(at(header, 16, be16(sum)), body);
    },
    scapy:
      call('TCP', { sport, dport, flags, seq, ack, window }).slice(0, -1) +
      (mss === undefined ? ')' : `, options=[('MSS', ${mss})])`),
  };
}

/** CRC32c, bit by bit (RFC 9260 appendix A), in the byte order SCTP sends it. */
function crc32c(bytes: Bytes): Bytes {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc = (crc ^ byte) >>> 0;
    for (let bit = 0; bit < 8; bit++) {
      crc = (crc & 1) === 1 ? ((crc >>> 1) ^ 0x82f63b78) >>> 0 : crc >>> 1;
    }
  }
  return be32(~crc >>> 0).reverse();
}

/** SCTP common header (RFC 9260); without `crc` a constant stands where the checksum belongs. */
export function sctp(fields: {
  readonly sport: number;
  readonly dport: number;
  readonly crc?: boolean;
}): Layer {
  const { sport, dport, crc = false } = fields;
  return {
    protocol: 132,
    render(body) {
      const whole = concat(be16(sport), be16(dport), be32(1), be32(0), body);
      return at(whole, 8, crc ? crc32c(whole) : be32(0x5c7b5c7b));
    },
    scapy: call('SCTP', { sport, dport, tag: 1, chksum: crc ? undefined : 0x5c7b5c7b }),
  };
}

export interface Icmp {
  readonly type: number;
  readonly code?: number;
  /** The 4 bytes behind the checksum, as one number. */
  readonly rest?: number;
}

export function icmp({ type, code = 0, rest = 0 }: Icmp): Layer {
  return {
    protocol: 1,
    render(body) {
      const header = concat(Uint8Array.of(type, code, 0, 0), be32(rest));
      return concat(at(header, 2, be16(checksum(header, body))), body);
    },
    scapy: call('ICMP', { type, code, unused: rest === 0 ? undefined : rest }),
  };
}

export function icmpEcho(id: number, seq: number, reply = false): Layer {
  return icmp({ type: reply ? 0 : 8, rest: id * 65536 + seq });
}

export function icmp6({ type, code = 0, rest = 0 }: Icmp): Layer {
  return {
    protocol: 58,
    render(body, { ip }) {
      const header = concat(Uint8Array.of(type, code, 0, 0), be32(rest));
      const sum = checksum(pseudo(ip, 58, header.length + body.length), header, body);
      return concat(at(header, 2, be16(sum)), body);
    },
    scapy: call('ICMPv6Unknown', { type, code }),
  };
}

export function icmp6Echo(id: number, seq: number, reply = false): Layer {
  return icmp6({ type: reply ? 129 : 128, rest: id * 65536 + seq });
}

/** Neighbour solicitation or advertisement with its link-layer address option (RFC 4861 §4.3, 4.4). */
export function neighbour(fields: {
  readonly kind: 'solicitation' | 'advertisement';
  readonly target: string;
  readonly mac: string;
  /** Of an advertisement: Router, Solicited, Override, the top three bits. */
  readonly flags?: number;
}): Layer {
  const { kind, target, mac, flags = 0 } = fields;
  const solicitation = kind === 'solicitation';
  const header = icmp6({ type: solicitation ? 135 : 136, rest: (flags << 29) >>> 0 });
  const content = concat(ipBytes(target), Uint8Array.of(solicitation ? 1 : 2, 1), macBytes(mac));
  return {
    protocol: 58,
    render: (body, around) => header.render(concat(content, body), around),
    scapy: solicitation
      ? `ICMPv6ND_NS(tgt='${target}')/ICMPv6NDOptSrcLLAddr(lladdr='${mac}')`
      : `ICMPv6ND_NA(tgt='${target}', R=${(flags >> 2) & 1}, S=${(flags >> 1) & 1}, O=${flags & 1})/ICMPv6NDOptDstLLAddr(lladdr='${mac}')`,
  };
}

export interface Arp {
  readonly op: 'request' | 'reply';
  readonly senderMac: string;
  readonly senderIp: string;
  readonly targetMac?: string;
  readonly targetIp: string;
}

export function arp(fields: Arp): Layer {
  const { op, senderMac, senderIp, targetMac = '00:00:00:00:00:00', targetIp } = fields;
  return {
    etherType: 0x0806,
    render: (body) =>
      concat(
        be16(1),
        be16(0x0800),
        Uint8Array.of(6, 4),
        be16(op === 'request' ? 1 : 2),
        macBytes(senderMac),
        ipBytes(senderIp),
        macBytes(targetMac),
        ipBytes(targetIp),
        body,
      ),
    scapy: call('ARP', {
      op: op === 'request' ? 1 : 2,
      hwsrc: senderMac,
      psrc: senderIp,
      hwdst: targetMac,
      pdst: targetIp,
    }),
  };
}

export function mpls({
  label,
  ttl,
  exp = 0,
  bottom = true,
}: {
  readonly label: number;
  readonly ttl: number;
  readonly exp?: number;
  readonly bottom?: boolean;
}): Layer {
  return {
    protocol: 137,
    etherType: 0x8847,
    render: (body) => concat(be32(label * 4096 + exp * 512 + (bottom ? 256 : 0) + ttl), body),
    scapy: call('MPLS', { label, cos: exp, s: bottom ? 1 : 0, ttl }),
  };
}

/** GRE without options (RFC 2784), protocol by what follows. */
export function gre(type?: number): Layer {
  return {
    protocol: 47,
    render: (body, { next }) => concat(be16(0), be16(type ?? next?.etherType ?? 0), body),
    scapy: call('GRE', { proto: type ?? 0x8847 }),
  };
}

export function vxlan({
  vni,
  flags = 0x08,
}: {
  readonly vni: number;
  readonly flags?: number;
}): Layer {
  return {
    render: (body) => concat(Uint8Array.of(flags, 0, 0, 0), be32(vni * 256), body),
    scapy: call('VXLAN', { vni, flags }),
  };
}
