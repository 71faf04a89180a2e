/**
 * What is not well about a node, in words: for `vrouter status`, `/readyz` and the metrics. One table; a row
 * says nothing while its matter is in order. Reads what it is given.
 */
import type { VifView } from '../cli/views.ts';
import type { DataplaneInfo } from '../dataplane/api.ts';

export interface Symptoms {
  readonly info: DataplaneInfo;
  readonly vifs: readonly VifView[];
  readonly exchange: 'none' | 'connecting' | 'connected' | 'lost';
  /** Control nodes that are tried and have no session, and whether all of them are so. */
  readonly control?: { readonly away: readonly string[]; readonly headless: boolean };
  readonly bgp?: readonly { readonly name: string; readonly state: string }[];
  /** Ports that have none yet, and what of it is not as it says. */
  readonly configuration?: {
    readonly waiting: readonly { readonly port: string; readonly reason: string }[];
    readonly notes: readonly { readonly object: string; readonly what: string }[];
  };
  readonly unresolved: readonly {
    readonly key: { readonly instance: string; readonly prefix: string };
    readonly reasons: readonly string[];
  }[];
  /** What the data plane said of the last change, if it refused it. */
  readonly refused: string | undefined;
}

/** Fewer free buffers than this share: frames are about to be discarded. */
const FEW_BUFFERS = 0.05;
/** A table this full evicts flows that are still wanted. */
const MANY_FLOWS = 0.95;
/** Named one by one; of more, only how many. */
const NAMED = 5;

function listed(names: readonly string[]): string {
  const more = names.length > NAMED ? ` and ${names.length - NAMED} more` : '';
  return `${names.slice(0, NAMED).join(', ')}${more}`;
}

type Row = (symptoms: Symptoms) => string | undefined;

/** House::House, worker.cc */
const NOT_ASKED_FOR = 'not asked for';

const ROWS: readonly Row[] = [
  ({ exchange }) =>
    exchange === 'none' || exchange === 'connected'
      ? undefined
      : `the session with the route exchange is ${exchange}`,
  ({ control }) => {
    if (control === undefined || control.away.length === 0) return undefined;
    const away = `no session with control node ${listed(control.away)}`;
    return control.headless ? `${away}: headless, routes are as they were` : away;
  },
  ({ bgp = [] }) => {
    const up = ['established', 'disabled'];
    const away = bgp.filter(({ state }) => !up.includes(state)).map(({ name }) => name);
    return away.length === 0 ? undefined : `no BGP session with ${listed(away)}`;
  },
  ({ configuration }) => {
    const waiting = configuration?.waiting ?? [];
    if (waiting.length === 0) return undefined;
    const said = waiting.map(({ port, reason }) => `${port} (${reason})`);
    return `ports that wait for their configuration: ${listed(said)}`;
  },
  ({ configuration }) => {
    const [first] = configuration?.notes ?? [];
    if (first === undefined) return undefined;
    const all = configuration?.notes.length;
    return `${all} matters of the configuration are not as it says, such as ${first.object}: ${first.what}`;
  },
  ({ refused }) =>
    refused === undefined ? undefined : `the data plane refused the last change: ${refused}`,
  ({ vifs }) => {
    const down = vifs.filter((vif) => vif.portUp === false).map(({ name }) => name);
    return down.length === 0 ? undefined : `interfaces that are down: ${listed(down)}`;
  },
  ({ vifs }) => {
    const bare = vifs.filter((vif) => vif.transport === null).map(({ name }) => name);
    return bare.length === 0 ? undefined : `interfaces without a port: ${listed(bare)}`;
  },
  ({ unresolved }) => {
    const [first] = unresolved;
    if (first === undefined) return undefined;
    const which = `${first.key.prefix} in ${first.key.instance}: ${first.reasons.join('; ')}`;
    return `${unresolved.length} routes with hops that cannot be used, such as ${which}`;
  },
  ({ info: { kernelTier } }) => {
    if (!kernelTier.on)
      return kernelTier.reason === NOT_ASKED_FOR
        ? undefined
        : `no kernel tier, flows go through the process: ${kernelTier.reason}`;
    const outside = kernelTier.devices.filter(({ way }) => way.startsWith('none: '));
    if (outside.length === 0) return undefined;
    const said = outside.map(({ device, way }) => `${device} (${way.slice('none: '.length)})`);
    return `devices whose flows the kernel tier cannot take: ${listed(said)}`;
  },
  ({ info }) =>
    info.buffersFree >= info.buffers * FEW_BUFFERS
      ? undefined
      : `${info.buffersFree} of ${info.buffers} packet buffers are free`,
  ({ info }) =>
    info.flowsUsed < info.flowEntries * MANY_FLOWS
      ? undefined
      : `${info.flowsUsed} of ${info.flowEntries} flow entries are in use`,
];

export function problems(symptoms: Symptoms): string[] {
  return ROWS.map((row) => row(symptoms)).filter((said) => said !== undefined);
}
