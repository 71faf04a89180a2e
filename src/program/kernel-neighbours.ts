/**
 * Far ends' MACs as the kernel's neighbours have them, over the uplinks' links, along the kernel's routes: what
 * an agent asks for where its intent names no MAC.
 *
 * Invariants
 *  * The agent asks for a far end when it resolves a way to it; what is not known is asked of the kernel, and
 *    when it is known, or different, the agent is told. A far end whose neighbour is lost keeps its last
 *    MAC: it may be right.
 *  * With several uplinks a way is up while its link is live, a route to the far end goes by it, and the
 *    neighbour there has not failed; a neighbour that the kernel merely forgot leaves it as it was.
 *  * Nothing of the kernel's is changed; neighbours are only used (NTF_USE).
 */
import type { Logger } from 'pino';
import type { Agent } from '../agent/agent.ts';
import { nextHopsOf, RTNH_F_DEAD, RTNH_F_LINKDOWN } from '../kernel/rtnetlink.ts';
import type { KernelTables } from '../kernel/tables.ts';

/** Neighbours that did not answer are asked again. */
const ASK_MS = 1000;
/** So that the kernel does not forget who is only used by us. */
const REFRESH_MS = 30_000;
/** Nodes a fabric may have, with room. */
const MAX_FAR_ENDS = 65_536;
const UNUSABLE = RTNH_F_DEAD | RTNH_F_LINKDOWN;

interface Way {
  /** '': not known yet. */
  mac: string;
  up: boolean;
  /** Neighbour on the way, the far end itself or a gateway; undefined: no route goes there now. */
  to: string | undefined;
}

/** links: of each uplink, in the agent's order. */
export function followNeighbours(
  tables: KernelTables,
  links: readonly number[],
  agent: Agent,
  said: Logger,
): { stop(): void } {
  const several = links.length > 1;
  /** Far ends that were asked for. */
  const fars = new Map<string, Way[]>();

  function lookBy(way: Way, link: number, far: string): void {
    const live = tables.link(link)?.live === true;
    if (way.to === undefined || (several && !live)) {
      way.up = !several && way.up;
      return;
    }
    const neighbour = tables.neighbour(link, way.to);
    if (neighbour?.valid !== true) {
      tables.solicit(link, way.to);
      way.up = way.up && (!several || neighbour?.failed !== true);
      return;
    }
    if (way.mac !== neighbour.mac) {
      const gateway = way.to === far ? undefined : way.to;
      said.info({ far, mac: neighbour.mac, gateway, link }, 'far end');
    }
    way.mac = neighbour.mac;
    way.up = true;
  }

  /** Looks now; what the kernel does not know it is asked to find. */
  function look(far: string, ways: Way[]): 'same' | 'different' | 'found' {
    const before = ways.map(({ mac, up }) => `${mac} ${up}`).join();
    const known = ways.some(({ mac }) => mac !== '');
    const route = tables.route(far);
    const hops = route === undefined ? [] : nextHopsOf(route);
    for (const [i, link] of links.entries()) {
      const way = ways[i] as Way;
      const hop = hops.find((h) => h.index === link && (!several || (h.flags & UNUSABLE) === 0));
      way.to = hop === undefined ? undefined : hop.to === '' ? far : hop.to;
      lookBy(way, link, far);
    }
    if (!known && ways.some(({ mac }) => mac !== '')) return 'found';
    return ways.map(({ mac, up }) => `${mac} ${up}`).join() === before ? 'same' : 'different';
  }

  const lookAt = (some: Iterable<[string, Way[]]>) => {
    // Every one of them, not only up to the first that changed.
    const seen = [...some].map(([far, ways]) => look(far, ways));
    if (seen.includes('found')) agent.neighboursChanged();
    else if (seen.includes('different')) agent.waysChanged();
  };
  const guarded = (work: () => void) => () => {
    try {
      work();
    } catch (error) {
      said.error({ err: error }, 'neighbours');
    }
  };
  tables.onChange(guarded(() => lookAt(fars)));
  const waiting = () =>
    [...fars].filter(
      ([, ways]) =>
        ways.every(({ mac }) => mac === '') || ways.some(({ to, up }) => to !== undefined && !up),
    );
  const asking = setInterval(
    guarded(() => lookAt(waiting())),
    ASK_MS,
  );
  const refreshing = setInterval(
    guarded(() => {
      for (const ways of fars.values()) {
        for (const [i, link] of links.entries()) {
          const to = ways[i]?.to;
          if (to !== undefined) tables.solicit(link, to);
        }
      }
    }),
    REFRESH_MS,
  );
  agent.setNeighbourSource((far) => {
    let ways = fars.get(far);
    if (ways === undefined) {
      if (fars.size >= MAX_FAR_ENDS) return [];
      const asked: Way[] = links.map(() => ({ mac: '', up: false, to: undefined }));
      ways = asked;
      fars.set(far, asked);
      guarded(() => look(far, asked))();
    }
    return ways;
  });
  return {
    stop() {
      clearInterval(asking);
      clearInterval(refreshing);
    },
  };
}
