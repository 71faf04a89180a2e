/** Network policies and security groups by name -> policy_set, and who refers to them. */
import { canonicalPrefix } from '../addr/prefix.ts';
import { layout } from '../dataplane/layout.ts';
import { ParseError, VRouterError } from '../errors.ts';
import { checkName } from '../rib/check.ts';
import type { Books } from './books.ts';
import { checkCount } from './bounds.ts';
import type { PolicyId } from './ids.ts';
import type { PolicyIntent, PolicyRuleIntent } from './intents.ts';
import type { SetOp } from './tables.ts';

const PROTOCOLS = { any: 0, icmp: 1, tcp: 6, udp: 17, icmp6: 58, sctp: 132 } as const;

export type PolicyRule = Extract<SetOp, { op: 'policy_set' }>['rules'][number];

export function protocolNumber(protocol: NonNullable<PolicyRuleIntent['protocol']>): number {
  if (typeof protocol === 'number') return protocol;
  return PROTOCOLS[protocol];
}

function portRange(
  range: readonly [number, number] | undefined,
  what: string,
): readonly [number, number] {
  const [low, high] = range ?? [0, 65535];
  const sound =
    [low, high].every((p) => Number.isInteger(p) && p >= 0 && p <= 65535) && low <= high;
  if (!sound) throw new ParseError(`${what}: ${low} to ${high} is not a range of ports`);
  return [low, high];
}

function compileRule(rule: PolicyRuleIntent, what: string): PolicyRule {
  const prefix = (text: string | undefined, field: string) => {
    if (text === undefined) return '';
    try {
      return canonicalPrefix(text);
    } catch (error) {
      throw error instanceof ParseError
        ? new ParseError(`${what}.${field}: ${error.message}`)
        : error;
    }
  };
  const protocol = protocolNumber(rule.protocol ?? 'any');
  if (!Number.isInteger(protocol) || protocol < 0 || protocol > 255) {
    throw new ParseError(`${what}.protocol: ${String(rule.protocol)} is not a protocol`);
  }
  const [source, destination] = [
    prefix(rule.source, 'source'),
    prefix(rule.destination, 'destination'),
  ];
  if (source !== '' && destination !== '' && source.includes(':') !== destination.includes(':')) {
    throw new ParseError(`${what}: source and destination are of different families`);
  }
  const [sourcePortLow, sourcePortHigh] = portRange(rule.sourcePorts, `${what}.sourcePorts`);
  const [destinationPortLow, destinationPortHigh] = portRange(
    rule.destinationPorts,
    `${what}.destinationPorts`,
  );
  return {
    action: rule.action === 'pass' ? 1 : 0,
    protocol,
    source,
    sourcePortLow,
    sourcePortHigh,
    destination,
    destinationPortLow,
    destinationPortHigh,
  };
}

interface Policy {
  readonly id: PolicyId;
  readonly users: Set<string>;
}

export class Policies {
  readonly #books: Books;
  readonly #policies = new Map<string, Policy>();

  constructor(books: Books) {
    this.#books = books;
  }

  /** New, or new rules under a known name; the id stays. */
  set(intent: PolicyIntent): void {
    const owner = `policy '${intent.name}'`;
    checkName(intent.name, 'policy');
    checkCount(intent.rules, layout.limits.maxPolicyRules, `${owner}: rules`);
    const rules = intent.rules.map((rule, i) => compileRule(rule, `${owner}: rules[${i}]`));
    let policy = this.#policies.get(intent.name);
    if (policy === undefined) {
      policy = { id: this.#books.policyIds.allocate(intent.name), users: new Set() };
      this.#policies.set(intent.name, policy);
    }
    this.#books.tables.put(
      { op: 'policy_set', policy: policy.id, name: intent.name, rules },
      owner,
    );
  }

  remove(name: string): void {
    const policy = this.#known(name, 'removePolicy');
    if (policy.users.size > 0) {
      throw new VRouterError(
        'IN_USE',
        `policy '${name}' is used by ${[...policy.users].join(', ')}`,
      );
    }
    this.#policies.delete(name);
    this.#books.tables.drop(`policy ${policy.id}`);
    this.#books.policyIds.release(policy.id);
  }

  /** Ids of the policies named; refused if one is unknown. Changes nothing. */
  ids(names: readonly string[] | undefined, user: string): { policy: PolicyId }[] {
    return (names ?? []).map((name) => ({ policy: this.#known(name, user).id }));
  }

  /** The user now refers to these policies and no others. */
  use(names: readonly string[], user: string): void {
    const wanted = new Set(names);
    for (const [name, policy] of this.#policies) {
      if (wanted.has(name)) policy.users.add(user);
      else policy.users.delete(user);
    }
  }

  id(name: string): PolicyId | undefined {
    return this.#policies.get(name)?.id;
  }

  #known(name: string, user: string): Policy {
    const policy = this.#policies.get(name);
    if (policy === undefined)
      throw new VRouterError('DANGLING_POLICY', `${user}: no policy '${name}'`);
    return policy;
  }
}
