/**
 * `capture.start`, `capture.read`, `capture.stop`: captures and live traces of a running vRouter, for whoever
 * polls. A client that stops asking is taken for gone: its capture ends after SILENCE_MS, here and, were we
 * gone too, in the core.
 *
 * Invariants
 *  * A capture belongs to one client, by an id that nobody else guesses by counting.
 *  * A forwarder that is away, or another one, is no end: the capture is asked for again, and what was lost
 *    meanwhile is not known, only that `number` begins anew.
 */
import { randomInt } from 'node:crypto';
import { z } from 'zod';
import { parseFlowMatch } from '../cli/flow-match.ts';
import { type CaptureView, count } from '../cli/views.ts';
import { choice, mapping, reference, whole } from '../config/fields.ts';
import { checkParams } from '../config/load.ts';
import type { CaptureReading, CaptureSpec, Dataplane } from '../dataplane/api.ts';
import { VRouterError } from '../errors.ts';
import type { Methods } from './rpc-server.ts';
import { vifId } from './views.ts';

/** The core's kCaptureSilenceNs. */
const SILENCE_MS = 10_000;
const READ_BYTES = 4 << 20;
/** A whole ring; as base64 it is well within an answer. */
const MAX_READ_BYTES = 16 << 20;
const MAX_SNAP = 262_144;
/** 4096 instructions of 8 bytes, in base64. */
const MAX_FILTER_TEXT = 43_692;

const id = whole(0, 0xffffffff);
const schemas = {
  start: mapping({
    vif: reference.optional(),
    direction: choice(['in', 'out', 'both']).optional(),
    trace: z.boolean().optional(),
    match: z.string().max(512).optional(),
    filter: z.base64().max(MAX_FILTER_TEXT).optional(),
    snap: whole(1, MAX_SNAP).optional(),
    sample: whole(1, 0xffffffff).optional(),
  }),
  read: mapping({ id, bytes: whole(1, MAX_READ_BYTES).optional() }),
  stop: mapping({ id }),
};

interface Running {
  readonly spec: CaptureSpec;
  readonly silence: NodeJS.Timeout;
  epochNs: bigint;
  /** Of forwarders before this one. */
  matched: bigint;
  lost: bigint;
  last: { matched: bigint; lost: bigint };
}

function specOf(dataplane: Dataplane, asked: z.infer<typeof schemas.start>): CaptureSpec {
  const match = parseFlowMatch(asked.match ?? '*');
  if (match.vrf !== null) {
    throw new VRouterError(
      'BAD_ARGUMENT',
      'match: a packet that comes in has no VRF yet; say which vif instead',
    );
  }
  const { direction = 'both', trace = false } = asked;
  return {
    ...(asked.vif === undefined ? {} : { vif: vifId(dataplane, asked.vif) }),
    in: trace || direction !== 'out',
    out: !trace && direction !== 'in',
    trace,
    ...(asked.snap === undefined ? {} : { snap: asked.snap }),
    ...(asked.sample === undefined ? {} : { sample: asked.sample }),
    ...(asked.filter === undefined
      ? {}
      : { filter: Uint8Array.from(Buffer.from(asked.filter, 'base64')) }),
    ends: match.ends.map(({ address, port }) => ({
      ...(address === null ? {} : { address }),
      ...(port === null ? {} : { port }),
    })),
    ...(match.protocol === null ? {} : { protocol: match.protocol }),
  };
}

function viewOf(reading: CaptureReading, running: Running): CaptureView {
  return {
    packets: reading.packets.map(({ timeNs, way, frame, ...rest }) => ({
      ...rest,
      timeNs: (running.epochNs + timeNs).toString(),
      direction: way,
      packet: Buffer.from(frame.buffer, frame.byteOffset, frame.byteLength).toString('base64'),
    })),
    matched: count(running.matched + reading.matched),
    lost: count(running.lost + reading.lost),
    ended: reading.ended,
  };
}

const codeOf = (error: unknown) => (error instanceof VRouterError ? error.code : undefined);

export function captureMethods(dataplane: Dataplane): Methods {
  const all = new Map<number, Running>();

  const stop = (key: number): boolean => {
    const running = all.get(key);
    if (running === undefined) return false;
    clearTimeout(running.silence);
    all.delete(key);
    try {
      dataplane.stopCapture(key);
    } catch (error) {
      // The forwarder is away; it ends what nobody reads by itself.
      if (codeOf(error) !== 'CLOSED') throw error;
    }
    return true;
  };

  /** Nothing, where the forwarder is away or does not know of it (yet). */
  const read = (key: number, bytes: number, running: Running): CaptureReading => {
    const { last } = running;
    try {
      const reading = dataplane.readCapture(key, bytes);
      running.last = { matched: reading.matched, lost: reading.lost };
      return reading;
    } catch (error) {
      const code = codeOf(error);
      if (code !== 'CLOSED' && code !== 'NOT_FOUND') throw error;
      running.matched += last.matched;
      running.lost += last.lost;
      running.last = { matched: 0n, lost: 0n };
      if (code === 'NOT_FOUND') running.epochNs = dataplane.startCapture(key, running.spec);
      return { packets: [], matched: 0n, lost: 0n, ended: false };
    }
  };

  return {
    'capture.start': (params) => {
      const asked = checkParams(schemas.start, 'capture.start', params);
      const spec = specOf(dataplane, asked);
      const key = randomInt(1, 2 ** 32);
      const epochNs = dataplane.startCapture(key, spec);
      const silence = setTimeout(() => stop(key), SILENCE_MS).unref();
      const last = { matched: 0n, lost: 0n };
      all.set(key, { spec, silence, epochNs, matched: 0n, lost: 0n, last });
      return { id: key };
    },
    'capture.read': (params) => {
      const asked = checkParams(schemas.read, 'capture.read', params);
      const running = all.get(asked.id);
      if (running === undefined) {
        const why = `there is no capture ${asked.id}: stopped, or not read for ${SILENCE_MS / 1000} s`;
        throw new VRouterError('NOT_FOUND', why);
      }
      running.silence.refresh();
      const view = viewOf(read(asked.id, asked.bytes ?? READ_BYTES, running), running);
      if (view.ended) stop(asked.id);
      return view;
    },
    'capture.stop': (params) => {
      const asked = checkParams(schemas.stop, 'capture.stop', params);
      return { stopped: stop(asked.id) };
    },
  };
}
