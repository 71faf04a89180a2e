/**
 * OPEN (RFC 4271 §4.2 and 6.2, RFC 5492, RFC 9072). Read: capabilities from however many parameters they are
 * in, either form of lengths. Written: all in one parameter, in the long form only where the short one is
 * too small. Whether the AS is the right one is for the session to say.
 */
import { formatIp, type IpText, parseIp } from '../../addr/ip.ts';
import { AS_TRANS, MAX_AS16 } from './as-path.ts';
import { NetReader, type NetWriter, written } from './bytes.ts';
import { type Capability, readCapability, writeCapability } from './capabilities.ts';
import { isMalformed } from './finding.ts';
import { NOTIFICATIONS, NotificationError } from './notification.ts';

export interface Open {
  /** Of four bytes where the peer has them. */
  readonly as: number;
  /** Seconds; 0: never. */
  readonly holdTime: number;
  readonly id: IpText;
  /** With `as4` among them: it says the AS again. */
  readonly capabilities: readonly Capability[];
}

const VERSION = 4;
const CAPABILITIES = 2;
const EXTENDED = 255;
const SUBCODE = { version: 1, as: 2, id: 3, parameter: 4, holdTime: 6 } as const;

function refuse(subcode: number, message: string, data?: Uint8Array): never {
  throw new NotificationError(NOTIFICATIONS.open.code, subcode, message, data);
}

export function readOpen(reader: NetReader): Open {
  try {
    return readFields(reader);
  } catch (error) {
    if (isMalformed(error)) refuse(0, error.message);
    throw error;
  }
}

function readFields(reader: NetReader): Open {
  const version = reader.u8('version');
  if (version !== VERSION) refuse(SUBCODE.version, `${version}`, Uint8Array.of(0, VERSION));
  const as16 = reader.u16('AS');
  const holdTime = reader.u16('hold time');
  const idBytes = reader.take(4, 'identifier');
  const capabilities = readParameters(reader);
  const as4 = capabilities.find(({ kind }) => kind === 'as4');
  const as = as4?.kind === 'as4' ? as4.as : as16;
  if (as === 0 || as16 === 0) refuse(SUBCODE.as, 'AS 0');
  if (holdTime === 1 || holdTime === 2) refuse(SUBCODE.holdTime, `${holdTime} s`);
  const id = formatIp(4, idBytes);
  // RFC 6286: any number but zero.
  if (idBytes.every((byte) => byte === 0)) refuse(SUBCODE.id, id);
  return { as, holdTime, id, capabilities };
}

function readParameters(reader: NetReader): Capability[] {
  const short = reader.u8('parameters length');
  const field = reader.rest('parameters');
  // RFC 9072 §2: this type where the first parameter would be; the length before it is to be ignored.
  const long = short > 0 && field[0] === EXTENDED;
  const all = new NetReader(long ? field.subarray(1) : field);
  const length = long ? all.u16('extended length') : short;
  const parameters = all.part(length, 'parameters');
  if (all.left > 0) refuse(0, `${all.left} bytes after the parameters`);
  const capabilities: Capability[] = [];
  while (parameters.left > 0) {
    const type = parameters.u8('parameter type');
    const size = long ? parameters.u16('parameter length') : parameters.u8('parameter length');
    const value = parameters.part(size, `parameter ${type}`);
    if (type !== CAPABILITIES) refuse(SUBCODE.parameter, `type ${type}`);
    while (value.left > 0) capabilities.push(readCapability(value));
  }
  return capabilities;
}

export function writeOpen(writer: NetWriter, { as, holdTime, id, capabilities }: Open): void {
  const value = written((inner) => {
    for (const capability of capabilities) writeCapability(inner, capability);
  });
  const address = parseIp(id);
  if (address.family !== 4) throw new RangeError(`${id} is not a BGP identifier`);
  writer.u8(VERSION);
  writer.u16(as > MAX_AS16 ? AS_TRANS : as);
  writer.u16(holdTime);
  writer.put(address.bytes);
  // A parameter's own head has two bytes, and its length must fit too.
  const long = value.length + 2 > 0xff;
  if (value.length === 0) {
    writer.u8(0);
    return;
  }
  if (long) {
    writer.u8(EXTENDED);
    writer.u8(EXTENDED);
    writer.u16(value.length + 3);
    writer.u8(CAPABILITIES);
    writer.u16(value.length);
  } else {
    writer.u8(value.length + 2);
    writer.u8(CAPABILITIES);
    writer.u8(value.length);
  }
  writer.put(value);
}
