/** `vrouter explain --state`: one packet through a declared state, room by room; nothing is kept. */
import type { ExplainView } from '../cli/views.ts';
import { openState } from './replay.ts';
import { explainView, vifId } from './views.ts';

export function explainState(options: {
  readonly state: string;
  readonly vif: string;
  /** Given the vif's own MAC: what a tenant's first hop is. */
  readonly frame: (routerMac: string) => Uint8Array;
  readonly seed: bigint;
}): ExplainView {
  const { dataplane, vifs } = openState(options.state, options.seed);
  try {
    const id = vifId(dataplane, options.vif);
    const mac = vifs.find((vif) => vif.id === id)?.mac ?? '';
    return explainView(dataplane.explain(options.frame(mac), id));
  } finally {
    dataplane.close();
  }
}
