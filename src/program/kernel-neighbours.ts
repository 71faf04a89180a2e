/**
 * Far ends' MACs as the kernel's neighbours have them, over one link, along the kernel's routes: what an agent
 * asks for where its intent names no MAC.
 *
 * Invariants
 *  * The agent asks for a far end when it resolves a way to it; what is not known is asked of the kernel, and
 *    when it is known, or different, the agent asks again. A far end whose neighbour is lost keeps its last
 *    MAC: it may be right.
 *  * Nothing of the kernel's is changed; neighbours are only used (NTF_USE).
 */
import type { Logger } from 'pino';
import type { Agent } from '../agent/agent.ts';
import { nextHopsOf } from '../kernel/rtnetlink.ts';
import type { KernelTables } from '../kernel/tables.ts';

/** Neighbours that did not answer are asked again. */
const ASK_MS = 1000;
/** So that the kernel does not forget who is only used by us. */
const REFRESH_MS = 30_000;
/** Nodes a fabric may have, with room. */
const MAX_FAR_ENDS = 65_536;

export function followNeighbours(
  tables: KernelTables,
  link: number,
  agent: Agent,
  said: Logger,
): { stop(): void } {
  /** Far ends that were asked for; '': not known yet. */
  const macs = new Map<string, string>();
  const nextHop = (far: string) => {
    const route = tables.route(far);
    const way =
      route === undefined ? undefined : nextHopsOf(route).find(({ index }) => index === link);
    return way === undefined ? undefined : way.to === '' ? far : way.to;
  };
  /** Looks now; what the kernel does not know it is asked to find. Whether it is different from before. */
  function look(far: string): boolean {
    const to = nextHop(far);
    if (to === undefined) return false;
    const neighbour = tables.neighbour(link, to);
    if (neighbour?.valid !== true) {
      tables.solicit(link, to);
      return false;
    }
    if (macs.get(far) === neighbour.mac) return false;
    macs.set(far, neighbour.mac);
    said.info({ far, mac: neighbour.mac, gateway: to === far ? undefined : to }, 'far end');
    return true;
  }
  const lookAt = (fars: Iterable<string>) => {
    // Every one of them, not only up to the first that changed.
    if ([...fars].filter(look).length > 0) agent.neighboursChanged();
  };
  const guarded = (work: () => void) => () => {
    try {
      work();
    } catch (error) {
      said.error({ err: error }, 'neighbours');
    }
  };
  tables.onChange(guarded(() => lookAt(macs.keys())));
  const unknown = () => [...macs].filter(([, mac]) => mac === '').map(([far]) => far);
  const asking = setInterval(
    guarded(() => lookAt(unknown())),
    ASK_MS,
  );
  const refreshing = setInterval(
    guarded(() => {
      for (const far of macs.keys()) {
        const to = nextHop(far);
        if (to !== undefined) tables.solicit(link, to);
      }
    }),
    REFRESH_MS,
  );
  agent.setNeighbourSource((far) => {
    if (!macs.has(far)) {
      if (macs.size >= MAX_FAR_ENDS) return undefined;
      macs.set(far, '');
      guarded(() => look(far))();
    }
    return macs.get(far) || undefined;
  });
  return {
    stop() {
      clearInterval(asking);
      clearInterval(refreshing);
    },
  };
}
