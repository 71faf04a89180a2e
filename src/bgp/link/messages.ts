/**
 * Messages of the link between a control node and its BGP speaker that are not routes: one JSON object a frame, one row
 * each. A field that is not in its row, or not what its row says, refuses the message by name.
 *
 *   control -> speaker   hello                 first, once: who it is and its `bgp:`, which config/ checks
 *                        want, end-of-rib      targets that somebody wants; "all that I have has been said"
 *                        call                  a method of `vrouter control bgp`
 *                        quit                  end
 *   speaker -> control   welcome               answers hello; `resumed`: it had been configured before
 *                        sender                of a neighbour, before its first path
 *                        end-of-rib            "all best paths have been told"
 *                        result                answers a call
 *                        session, trouble      what the control node logs and counts
 *                        error                 last: why the connection ends
 */
import { ParseError } from '../../errors.ts';
import { FRAME, frameOf } from './frame.ts';

export const LINK_VERSION = 1;
const MAX_TEXT = 4096;
const MAX_TARGETS = 1 << 17;
const MAX_SECONDS = 1 << 24;

type Check<T> = (value: unknown, at: string) => T;
type Row = Readonly<Record<string, Check<unknown>>>;

function wrong(at: string, what: string): never {
  throw new ParseError(`${at}: must be ${what}`);
}

const text =
  (most = MAX_TEXT): Check<string> =>
  (value, at) =>
    typeof value === 'string' && value.length <= most
      ? value
      : wrong(at, `a text of at most ${most} characters`);

const whole =
  (most: number = Number.MAX_SAFE_INTEGER): Check<number> =>
  (value, at) =>
    Number.isInteger(value) && (value as number) >= 0 && (value as number) <= most
      ? (value as number)
      : wrong(at, `a whole number from 0 to ${most}`);

const truth: Check<boolean> = (value, at) =>
  typeof value === 'boolean' ? value : wrong(at, 'true or false');

const anything: Check<unknown> = (value) => value;

const maybe =
  <T>(check: Check<T>): Check<T | undefined> =>
  (value, at) =>
    value === undefined ? undefined : check(value, at);

const listOf =
  <T>(check: Check<T>, most: number): Check<readonly T[]> =>
  (value, at) => {
    if (!Array.isArray(value) || value.length > most) wrong(at, `a list of at most ${most}`);
    return (value as unknown[]).map((each, i) => check(each, `${at}[${i}]`));
  };

const oneOf =
  <const T extends string>(words: readonly T[]): Check<T> =>
  (value, at) =>
    words.includes(value as T) ? (value as T) : wrong(at, `one of ${words.join(', ')}`);

const failure: Check<{ readonly code: string; readonly message: string }> = (value, at) => {
  const { code, message } = (value ?? {}) as Record<string, unknown>;
  return { code: text(64)(code, `${at}.code`), message: text(1 << 20)(message, `${at}.message`) };
};

const TO_SPEAKER = {
  hello: {
    version: whole(0xffff),
    name: text(128),
    pid: whole(),
    /** How long what it has said stays when it is gone. */
    keepSeconds: whole(MAX_SECONDS),
    bgp: anything,
  },
  want: { targets: listOf(text(64), MAX_TARGETS) },
  'end-of-rib': {},
  call: { id: whole(), method: text(64), params: anything },
  quit: {},
} as const satisfies Record<string, Row>;

const TO_CONTROL = {
  welcome: {
    version: whole(0xffff),
    pid: whole(),
    resumed: truth,
    /** Neighbours keep our routes while we are away: they are called after the first end-of-rib. */
    restarts: truth,
    /** Routes of the control node that was here before. */
    kept: whole(),
    ports: listOf(whole(0xffff), 64),
  },
  sender: {
    name: text(1024),
    external: truth,
    id: text(64),
    encapsulation: maybe(listOf(oneOf(['gre', 'udp', 'vxlan']), 3)),
  },
  'end-of-rib': {},
  result: { id: whole(), result: anything, error: maybe(failure) },
  session: { neighbour: text(1024), state: oneOf(['up', 'down']), why: maybe(text()) },
  trouble: { what: text(), message: text() },
  error: { code: text(64), message: text(1 << 20) },
} as const satisfies Record<string, Row>;

type Messages<Rows extends Record<string, Row>> = {
  [K in keyof Rows]: { readonly type: K } & {
    readonly [F in keyof Rows[K]]: Rows[K][F] extends Check<infer T> ? T : never;
  };
}[keyof Rows];

export type ToSpeaker = Messages<typeof TO_SPEAKER>;
export type ToControl = Messages<typeof TO_CONTROL>;

/** Absent and undefined are one. */
type Sparse<T> = T extends unknown
  ? { [K in keyof T as undefined extends T[K] ? never : K]: T[K] } & {
      [K in keyof T as undefined extends T[K] ? K : never]?: T[K];
    }
  : never;

export function messageFrame(message: Sparse<ToSpeaker> | Sparse<ToControl>): Uint8Array {
  return frameOf(FRAME.message, Buffer.from(JSON.stringify(message)));
}

const decoder = new TextDecoder('utf-8', { fatal: true });

function read(body: Uint8Array, rows: Readonly<Record<string, Row>>): unknown {
  let value: unknown;
  try {
    value = JSON.parse(decoder.decode(body));
  } catch {
    throw new ParseError('message: not JSON');
  }
  if (typeof value !== 'object' || value === null) throw new ParseError('message: not an object');
  const fields = value as Readonly<Record<string, unknown>>;
  const { type } = fields;
  if (typeof type !== 'string' || !Object.hasOwn(rows, type)) {
    const named = JSON.stringify(type)?.slice(0, 64);
    throw new ParseError(`type: no message is called ${named}`);
  }
  const row = rows[type] as Row;
  const alien = Object.keys(fields).find((key) => key !== 'type' && !Object.hasOwn(row, key));
  if (alien !== undefined) throw new ParseError(`${type}.${alien.slice(0, 64)}: is not known`);
  const checked = Object.entries(row).map(([key, check]) => {
    return [key, check(fields[key], `${type}.${key}`)] as const;
  });
  return { type, ...Object.fromEntries(checked.filter(([, each]) => each !== undefined)) };
}

export const readToSpeaker = (body: Uint8Array): ToSpeaker => read(body, TO_SPEAKER) as ToSpeaker;
export const readToControl = (body: Uint8Array): ToControl => read(body, TO_CONTROL) as ToControl;
