/**
 * Access control lists of a configuration as policies of the node file. Pure.
 *
 * Invariant: it fails closed. A rule that passes, and that a policy cannot say, is left out; one that denies, and that
 * a policy cannot say, denies all that it might mean; a list that would be too long denies everything. Each of these is
 * named in the notes.
 *
 * A policy matches by prefixes. A virtual network stands for its subnets, where these are in the graph; a security group
 * for those who are in it, in the instance of who uses the list, as far as routes tell (group-members.ts).
 */
import type { PolicyFile } from '../config/node.ts';
import { ParseError } from '../errors.ts';
import { protocolNumber } from '../ifmap/fields.ts';
import type { ConfigGraph, ConfigNode } from '../ifmap/graph.ts';
import { MAX_ACL_RULES, type PropertiesOf } from '../ifmap/objects.ts';
import type { Note } from './desired.ts';
import { prefixOf, subnetsOf } from './networks.ts';

export type AccessList = ConfigNode<'access-control-list'>;
type PolicyRule = PolicyFile['rules'][number];
type Entries = NonNullable<PropertiesOf<'access-control-list'>['entries']>;
type Rule = NonNullable<Entries['rules']>[number];
type Match = NonNullable<Rule['match']>;
type RuleEnd = NonNullable<Match['source']>;
type Ports = NonNullable<Match['sourcePort']>;

/** No prefixes: any address. */
interface Said {
  readonly prefixes: readonly string[] | undefined;
}
/** Or why it cannot be said. */
type End = Said | { readonly lacks: string };

const ANY: Said = { prefixes: undefined };
const ALL_PORTS = [0, 65535] as const;
/** Protocols whose "ports" are types and codes. */
const ICMP = [1, 58];
const ALL_OF_FAMILY = { IPv4: '0.0.0.0/0', IPv6: '::/0' } as const;

/** What lists are read by. members: of a group, by its id, where whoever uses the list is; undefined: nobody tells. */
export interface Known {
  readonly graph: ConfigGraph;
  readonly members?: ((group: number) => readonly string[]) | undefined;
}

function groupId(text: string): number | undefined {
  return /^\d{1,10}$/.test(text) && Number(text) <= 0xffffffff ? Number(text) : undefined;
}

/** The groups that a list is about, by their ids. */
export function groupsOf(list: AccessList): number[] {
  const ends = (list.properties.entries?.rules ?? []).flatMap(({ match = {} }) => [
    match.source,
    match.destination,
  ]);
  const ids = ends.map((end) => groupId(end?.securityGroup ?? '')).filter((id) => id !== undefined);
  return [...new Set(ids)];
}

const isV6 = (prefix: string) => prefix.includes(':');

/** One row a way in which an end can be said; those that are not said are undefined. */
const ENDS: readonly ((known: Known, end: RuleEnd) => End | undefined)[] = [
  ({ members }, { securityGroup }) => {
    if (securityGroup === undefined || securityGroup === '') return undefined;
    if (securityGroup === '-1' || securityGroup === 'any') return ANY;
    const id = groupId(securityGroup);
    if (id === undefined || members === undefined)
      return { lacks: `security group ${securityGroup}: its members are not known here` };
    return { prefixes: members(id) };
  },
  ({ graph }, { virtualNetwork }) => {
    if (virtualNetwork === undefined || virtualNetwork === '') return undefined;
    if (virtualNetwork === 'any') return ANY;
    const network = graph.node('virtual-network', virtualNetwork);
    const subnets = network === undefined ? [] : subnetsOf(graph, network);
    if (subnets.length > 0) return { prefixes: [...new Set(subnets.map(({ prefix }) => prefix))] };
    return { lacks: `virtual network ${virtualNetwork}: its subnets are not known here` };
  },
  (_, { networkPolicy }) =>
    networkPolicy === undefined || networkPolicy === ''
      ? undefined
      : { lacks: `network policy ${networkPolicy}` },
  (_, { subnet, subnets = [] }) => {
    const said = [...(subnet?.prefix === undefined ? [] : [subnet]), ...subnets];
    if (said.length === 0) return undefined;
    const prefixes = said.map(({ prefix, length }) => prefixOf(prefix, length));
    if (prefixes.includes(undefined)) return { lacks: 'a subnet that is none' };
    return { prefixes: prefixes as string[] };
  },
];

function endOf(known: Known, end: RuleEnd | undefined): End {
  const said = ENDS.map((row) => row(known, end ?? {})).filter((one) => one !== undefined);
  const lacking = said.find((one) => 'lacks' in one);
  if (lacking !== undefined) return lacking;
  const narrow = said.filter((one) => one !== ANY);
  if (narrow.length > 1) return { lacks: 'addresses by network and by subnet at once' };
  return narrow[0] ?? ANY;
}

/** Undefined: any. */
function portsOf(ports: Ports | undefined): readonly [number, number] | { readonly lacks: string } {
  const { start = -1, end = start } = ports ?? {};
  if (start < 0) return ALL_PORTS;
  const to = end < 0 ? 65535 : end;
  return start <= to ? [start, to] : { lacks: `ports ${start} to ${to}` };
}

const isAllPorts = ([low, high]: readonly [number, number]) => low === 0 && high === 65535;

function protocolOf(text: string | undefined): number | undefined | { readonly lacks: string } {
  try {
    return protocolNumber(text ?? 'any');
  } catch (error) {
    if (!(error instanceof ParseError)) throw error;
    return { lacks: error.message };
  }
}

/** Both ends' prefixes, by family, as far as they go together. */
function pairs(
  sources: readonly string[] | undefined,
  destinations: readonly string[] | undefined,
  ethertype: Match['ethertype'],
): Pick<PolicyRule, 'source' | 'destination'>[] {
  // A family is said by a prefix of its own, at one end.
  const first = sources ?? (ethertype === undefined ? [undefined] : [ALL_OF_FAMILY[ethertype]]);
  const fits = (prefix: string | undefined) =>
    prefix === undefined || ethertype === undefined || isV6(prefix) === (ethertype === 'IPv6');
  return first.filter(fits).flatMap((source) =>
    (destinations ?? [undefined])
      .filter(fits)
      .filter((to) => to === undefined || source === undefined || isV6(to) === isV6(source))
      .map((destination) => ({
        ...(source !== undefined && { source }),
        ...(destination !== undefined && { destination }),
      })),
  );
}

/** What the ancestor's agent does by a rule besides letting a packet pass, and this one does not. */
function detourOf({ assignInstance, applyService = [] }: NonNullable<Rule['action']>) {
  if (assignInstance !== undefined && assignInstance !== '')
    return `passes by way of routing-instance ${assignInstance}`;
  return applyService.length > 0 ? `passes by way of service ${applyService[0]}` : undefined;
}

interface Read {
  readonly rules: readonly PolicyRule[];
  readonly lacks: readonly string[];
}

function mirrored(match: Match): Match {
  const { source, destination, sourcePort, destinationPort, ...rest } = match;
  return {
    ...rest,
    ...(destination !== undefined && { source: destination }),
    ...(source !== undefined && { destination: source }),
    ...(destinationPort !== undefined && { sourcePort: destinationPort }),
    ...(sourcePort !== undefined && { destinationPort: sourcePort }),
  };
}

function readMatch(by: Known, match: Match, passes: boolean): Read {
  const lacks: string[] = [];
  /** What cannot be said is left out: of a rule that denies, which then denies more. */
  const known = <T>(value: T | { readonly lacks: string }, otherwise: T): T => {
    if (typeof value !== 'object' || value === null || !('lacks' in value)) return value;
    lacks.push(value.lacks);
    return otherwise;
  };
  const protocol = known<number | undefined>(protocolOf(match.protocol), undefined);
  const source = known<Said>(endOf(by, match.source), ANY);
  const destination = known<Said>(endOf(by, match.destination), ANY);
  let from = known<readonly [number, number]>(portsOf(match.sourcePort), ALL_PORTS);
  let to = known<readonly [number, number]>(portsOf(match.destinationPort), ALL_PORTS);
  if (protocol !== undefined && ICMP.includes(protocol) && !(isAllPorts(from) && isAllPorts(to))) {
    lacks.push('types of ICMP');
    [from, to] = [ALL_PORTS, ALL_PORTS];
  }
  if (passes && lacks.length > 0) return { rules: [], lacks };
  const rules = pairs(source.prefixes, destination.prefixes, match.ethertype).map((ends) => ({
    action: passes ? ('pass' as const) : ('deny' as const),
    ...(protocol !== undefined && protocol !== 0 && { protocol }),
    ...ends,
    ...(!isAllPorts(from) && { source_ports: [...from] as [number, number] }),
    ...(!isAllPorts(to) && { destination_ports: [...to] as [number, number] }),
  }));
  return { rules, lacks };
}

function readRule(by: Known, { match = {}, action = {}, direction }: Rule): Read {
  const passes = action.simple === 'pass';
  const detour = detourOf(action);
  if (passes && detour !== undefined) return { rules: [], lacks: [detour] };
  const forward = readMatch(by, match, passes);
  if (direction !== '<>') return forward;
  const back = readMatch(by, mirrored(match), passes);
  return { rules: [...forward.rules, ...back.rules], lacks: forward.lacks };
}

/** Named one by one; of more, only how many. */
const NAMED = 8;

/** name: of the policy. */
export function policyOf(by: Known, list: AccessList, name: string, notes: Note[]): PolicyFile {
  const object = `access-control-list ${list.name}`;
  const rules: PolicyRule[] = [];
  let unsaid = 0;
  for (const [i, rule] of (list.properties.entries?.rules ?? []).entries()) {
    const read = readRule(by, rule);
    rules.push(...read.rules);
    if (rules.length > MAX_ACL_RULES) {
      notes.push({ object, what: `more than ${MAX_ACL_RULES} rules here: it denies everything` });
      return { name, rules: [{ action: 'deny' }] };
    }
    if (read.lacks.length === 0 || ++unsaid > NAMED) continue;
    const which = rule.uuid === undefined ? `rule ${i + 1}` : `rule ${i + 1} (${rule.uuid})`;
    const outcome =
      rule.action?.simple === 'pass' ? 'lets nothing pass' : 'denies more than it says';
    notes.push({ object, what: `${which} ${outcome}: ${read.lacks.join('; ')}` });
  }
  if (unsaid > NAMED) notes.push({ object, what: `${unsaid - NAMED} more rules like these` });
  return { name, rules };
}
