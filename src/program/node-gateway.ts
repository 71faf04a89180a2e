/**
 * `bgp:` of a node file: the node's own tables (control/gateway.ts), which its agent has as its route source from the
 * beginning, and BGP, which is joined to them when the node forwards: neighbours are told of what works.
 *
 * Invariant: the agent's ends of RIB come once every neighbour has said all it has of what was agreed on, or after
 * LEARN_MS: one that is away must not keep a node that resumed from changing anything.
 */
import type { Logger } from 'pino';
import { canonicalIp } from '../addr/ip.ts';
import type { NeighbourStatus } from '../bgp/session/status.ts';
import type { ConfigText } from '../config/document.ts';
import { ENCAP_NAMES, type NodeFile, type VrfFile } from '../config/node.ts';
import { BGP_KEYS } from '../config/references.ts';
import { Gateway } from '../control/gateway.ts';
import { VRouterError } from '../errors.ts';
import type { RouteSource } from '../rib/route.ts';
import { type ServedBgp, type ServedHere, serveBgpHere } from './control-bgp.ts';
import { bgpMethods } from './control-bgp-methods.ts';
import type { Methods } from './rpc-server.ts';

/** A session, a retry, and a table. */
export const LEARN_MS = 30_000;
const LOOK_MS = 100;

export class NodeGateway {
  readonly #file: NodeFile;
  readonly #log: Logger;
  readonly #gateway: Gateway;
  #bgp: ServedHere | undefined;
  #looking: NodeJS.Timeout | undefined;
  #onSession: (state: 'up' | 'down') => void = () => {};

  constructor(file: NodeFile, log: Logger) {
    this.#file = file;
    this.#log = log;
    const { ipv4, ipv6, encaps } = file.underlay;
    this.#gateway = new Gateway({
      name: file.name,
      addresses: [ipv4, ipv6].flatMap((each) => (each === undefined ? [] : [canonicalIp(each)])),
      encaps: encaps ?? ENCAP_NAMES,
      maximumPaths: file.bgp?.maximum_paths,
      schedule: setImmediate,
    });
  }

  get source(): RouteSource {
    return this.#gateway.source;
  }

  addVrf({ name, import: taken, export: given, maximum_paths }: VrfFile): void {
    this.#gateway.addVrf({ name, import: taken, export: given, maximumPaths: maximum_paths });
  }

  removeVrf(name: string): void {
    this.#gateway.removeVrf(name);
  }

  /** forwardingKept: packets go on while this process is away. */
  async start(text: ConfigText, forwardingKept: boolean): Promise<void> {
    const { bgp } = this.#file;
    if (bgp === undefined) throw new VRouterError('BAD_VALUE', 'there is no bgp in this file');
    const log = this.#log;
    this.#bgp = await serveBgpHere(this.#gateway.tables, bgp, text, {
      ...{ forwardingKept, naming: {}, settleSeconds: 0 }, // its agent is here
      events: {
        onSession: (neighbour, state, why) => {
          this.#onSession(state);
          log.info({ neighbour, ...(why !== undefined && { why }) }, `bgp session ${state}`);
        },
        onError: (error, what) => log.warn({ err: error }, `bgp: ${what}`),
      },
    });
    log.info({ bgp: this.#bgp.ports }, 'bgp listens');
    const end = Date.now() + LEARN_MS;
    this.#looking = setInterval(() => {
      const waiting = this.neighbours().filter(({ enabled }) => enabled);
      if (!waiting.every(hasSaidAll) && Date.now() < end) return;
      clearInterval(this.#looking);
      this.#gateway.learned();
    }, LOOK_MS);
    this.#looking.unref();
  }

  /** Undefined: not yet. */
  get bgp(): ServedBgp | undefined {
    return this.#bgp;
  }

  onSession(listener: (state: 'up' | 'down') => void): void {
    this.#onSession = listener;
  }

  neighbours(): readonly NeighbourStatus[] {
    return this.#bgp?.speaker.status().neighbours ?? [];
  }

  methods(): Methods {
    return bgpMethods(this.#bgp);
  }

  /** goesOn: a forwarder is left forwarding, and neighbours that can keep our routes. */
  stop(goesOn: boolean): void {
    clearInterval(this.#looking);
    this.#bgp?.close(goesOn);
  }
}

function hasSaidAll({ state, families }: NeighbourStatus): boolean {
  return state === 'established' && families.every(({ agreed, ended }) => !agreed || ended);
}

/** What a VRF says of BGP is of no use to a node that has none. */
export function refuseBgpOf(vrf: VrfFile): void {
  const key = BGP_KEYS.find((each) => vrf[each] !== undefined);
  if (key === undefined) return;
  throw new VRouterError('BAD_VALUE', `vrf ${vrf.name}: ${key}: the node file has no bgp`);
}
