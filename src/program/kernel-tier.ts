/** What a node says of its kernel tier when it starts: one line, where it was asked for. */
import type { Logger } from 'pino';
import type { NodeFile } from '../config/node.ts';
import type { Dataplane } from '../dataplane/api.ts';

/** After ports and vifs are made: a node without it forwards all the same, so it goes on. */
export function tellKernelTier(
  file: Pick<NodeFile, 'dataplane'>,
  dataplane: Pick<Dataplane, 'info'>,
  log: Pick<Logger, 'info' | 'warn'>,
): void {
  if (file.dataplane?.kernel_tier !== true) return;
  const { on, reason, devices } = dataplane.info().kernelTier;
  if (on) log.info({ devices: devices.length }, 'kernel tier on');
  else log.warn({ reason }, 'kernel tier asked for, but off');
}
