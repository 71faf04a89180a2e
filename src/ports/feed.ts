/**
 * Frames seen elsewhere (a live capture) as input of a data plane's memory port. Slow path: a copy into
 * JavaScript and one back.
 */
import type { Dataplane } from '../dataplane/api.ts';
import type { CapPort } from './cap-port.ts';

export interface FeedCounts {
  taken: number;
  /** The memory port was full. */
  lost: number;
}

/** From now on; returns counts that go on growing. */
export function feed(
  from: Pick<CapPort, 'onFrames'>,
  dataplane: Pick<Dataplane, 'inject'>,
  port: number,
): FeedCounts {
  const counts: FeedCounts = { taken: 0, lost: 0 };
  from.onFrames((batch) => {
    const frames = batch.map(({ frame }) => frame);
    const taken = dataplane.inject(port, frames);
    counts.taken += taken;
    counts.lost += frames.length - taken;
  });
  return counts;
}
