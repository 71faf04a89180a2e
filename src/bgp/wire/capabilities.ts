/**
 * Capabilities (RFC 5492): one row each, and what a value that does not fit leads to. Those that decide how
 * all that follows is read refuse the OPEN; any other is kept as if it were unknown, and so not agreed on.
 */
import { bytesOf, type Hex, hexOf, NetReader, type NetWriter, written } from './bytes.ts';
import { type FamilyText, familyNumbers, familyText } from './family-names.ts';
import { isMalformed, Malformed } from './finding.ts';
import { NOTIFICATIONS, NotificationError } from './notification.ts';

export type AddPathMode = 'receive' | 'send' | 'both';

interface Kinds {
  multiprotocol: { readonly family: FamilyText };
  'route-refresh': object;
  /** Its number before there was an RFC. */
  'route-refresh-old': object;
  'extended-next-hop': { readonly families: readonly ExtendedNextHop[] };
  'extended-message': object;
  'graceful-restart': {
    readonly restarting: boolean;
    /** RFC 8538: it survives a NOTIFICATION too. */
    readonly notification: boolean;
    readonly seconds: number;
    readonly families: readonly { readonly family: FamilyText; readonly forwarding: boolean }[];
  };
  as4: { readonly as: number };
  'add-path': {
    readonly families: readonly { readonly family: FamilyText; readonly mode: AddPathMode }[];
  };
  'enhanced-refresh': object;
  'long-lived-restart': {
    readonly families: readonly {
      readonly family: FamilyText;
      readonly forwarding: boolean;
      readonly seconds: number;
    }[];
  };
  fqdn: { readonly host: string; readonly domain: string };
  unknown: { readonly code: number; readonly value: Hex };
}
type Kind = keyof Kinds;

export interface ExtendedNextHop {
  readonly family: FamilyText;
  /** AFI of the next hop. */
  readonly afi: number;
}

export type Capability = { [K in Kind]: { readonly kind: K } & Kinds[K] }[Kind];

interface KindRow<T> {
  readonly code: number;
  readonly malformed: 'refuse' | 'keep';
  read(reader: NetReader): T;
  write(writer: NetWriter, value: T): void;
}

function readFamily(reader: NetReader): FamilyText {
  return familyText(reader.u16('AFI'), reader.u8('SAFI'));
}

function writeFamily(writer: NetWriter, family: FamilyText): void {
  const [afi, safi] = familyNumbers(family);
  writer.u16(afi);
  writer.u8(safi);
}

function several<T>(reader: NetReader, read: (reader: NetReader) => T): T[] {
  const members: T[] = [];
  while (reader.left > 0) members.push(read(reader));
  return members;
}

function flag(code: number): KindRow<object> {
  return { code, malformed: 'keep', read: () => ({}), write: () => undefined };
}

const RESTARTING = 0x8000;
const NOTIFICATION = 0x4000;
const MAX_RESTART = 0x0fff;
const FORWARDING = 0x80;
const MODES: readonly (AddPathMode | undefined)[] = [undefined, 'receive', 'send', 'both'];

const ROWS: { readonly [K in Exclude<Kind, 'unknown'>]: KindRow<Kinds[K]> } = {
  // RFC 4760 §8
  multiprotocol: {
    code: 1,
    malformed: 'refuse',
    read(reader) {
      const afi = reader.u16('AFI');
      reader.u8('reserved');
      return { family: familyText(afi, reader.u8('SAFI')) };
    },
    write(writer, { family }) {
      const [afi, safi] = familyNumbers(family);
      writer.u16(afi);
      writer.u8(0);
      writer.u8(safi);
    },
  },
  'route-refresh': flag(2), // RFC 2918
  'route-refresh-old': flag(128),
  // RFC 8950 §4
  'extended-next-hop': {
    code: 5,
    malformed: 'keep',
    read: (reader) => ({
      families: several(reader, (at) => ({
        family: familyText(at.u16('AFI'), at.u16('SAFI')),
        afi: at.u16('next hop AFI'),
      })),
    }),
    write(writer, { families }) {
      for (const { family, afi } of families) {
        for (const number of familyNumbers(family)) writer.u16(number);
        writer.u16(afi);
      }
    },
  },
  'extended-message': flag(6), // RFC 8654
  // RFC 4724 §3
  'graceful-restart': {
    code: 64,
    malformed: 'keep',
    read(reader) {
      const head = reader.u16('restart flags and time');
      return {
        restarting: (head & RESTARTING) !== 0,
        notification: (head & NOTIFICATION) !== 0,
        seconds: head & MAX_RESTART,
        families: several(reader, (at) => ({
          family: readFamily(at),
          forwarding: (at.u8('flags') & FORWARDING) !== 0,
        })),
      };
    },
    write(writer, { restarting, notification, seconds, families }) {
      const flags = (restarting ? RESTARTING : 0) | (notification ? NOTIFICATION : 0);
      writer.u16(flags | Math.min(seconds, MAX_RESTART));
      for (const { family, forwarding } of families) {
        writeFamily(writer, family);
        writer.u8(forwarding ? FORWARDING : 0);
      }
    },
  },
  // RFC 6793 §3
  as4: {
    code: 65,
    malformed: 'refuse',
    read: (reader) => ({ as: reader.u32('AS') }),
    write: (writer, { as }) => writer.u32(as),
  },
  // RFC 7911 §4
  'add-path': {
    code: 69,
    malformed: 'keep',
    read: (reader) => ({
      families: several(reader, (at) => ({
        family: readFamily(at),
        mode: MODES[at.u8('mode')],
      })).flatMap(({ family, mode }) => (mode === undefined ? [] : [{ family, mode }])),
    }),
    write(writer, { families }) {
      for (const { family, mode } of families) {
        writeFamily(writer, family);
        writer.u8(MODES.indexOf(mode));
      }
    },
  },
  'enhanced-refresh': flag(70), // RFC 7313
  // RFC 9494 §3
  'long-lived-restart': {
    code: 71,
    malformed: 'keep',
    read: (reader) => ({
      families: several(reader, (at) => ({
        family: readFamily(at),
        forwarding: (at.u8('flags') & FORWARDING) !== 0,
        seconds: at.u24('stale time'),
      })),
    }),
    write(writer, { families }) {
      for (const { family, forwarding, seconds } of families) {
        writeFamily(writer, family);
        writer.u8(forwarding ? FORWARDING : 0);
        writer.u24(seconds);
      }
    },
  },
  // draft-walton-bgp-hostname-capability
  fqdn: {
    code: 73,
    malformed: 'keep',
    read: (reader) => ({ host: readName(reader, 'host'), domain: readName(reader, 'domain') }),
    write(writer, { host, domain }) {
      writeName(writer, host);
      writeName(writer, domain);
    },
  },
};

/** Bytes as they are: who prints a name is the one who escapes it. */
function readName(reader: NetReader, what: string): string {
  return Buffer.from(reader.take(reader.u8(`${what} length`), what)).toString('latin1');
}

const MAX_NAME = 64;

function writeName(writer: NetWriter, name: string): void {
  const bytes = Buffer.from(name, 'latin1').subarray(0, MAX_NAME);
  writer.u8(bytes.length);
  writer.put(bytes);
}

type KnownKind = keyof typeof ROWS;
const BY_CODE = new Map<number, KnownKind>(
  (Object.keys(ROWS) as KnownKind[]).map((kind): [number, KnownKind] => [ROWS[kind].code, kind]),
);
const rowOf = (kind: KnownKind): KindRow<unknown> => ROWS[kind] as unknown as KindRow<unknown>;

export function readCapability(reader: NetReader): Capability {
  const code = reader.u8('capability code');
  const value = reader.take(reader.u8('capability length'), `capability ${code}`);
  const kind = BY_CODE.get(code);
  if (kind !== undefined) {
    try {
      const inner = new NetReader(value);
      const read = { kind, ...(rowOf(kind).read(inner) as object) } as Capability;
      if (inner.left > 0) throw new Malformed(`${inner.left} bytes too many`);
      return read;
    } catch (error) {
      if (!isMalformed(error)) throw error;
      if (rowOf(kind).malformed === 'refuse') {
        const why = `capability ${code}: ${error.message}`;
        throw new NotificationError(NOTIFICATIONS.open.code, 0, why);
      }
    }
  }
  return { kind: 'unknown', code, value: hexOf(value) };
}

export function writeCapability(writer: NetWriter, capability: Capability): void {
  const known = capability.kind !== 'unknown';
  const value = known
    ? written((inner) => rowOf(capability.kind as KnownKind).write(inner, capability))
    : bytesOf(capability.value);
  if (value.length > 0xff) throw new RangeError(`capability ${capability.kind} is too long`);
  writer.u8(known ? rowOf(capability.kind as KnownKind).code : capability.code);
  writer.u8(value.length);
  writer.put(value);
}
