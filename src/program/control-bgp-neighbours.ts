/**
 * The neighbours, ranges and policies that a running control node has: those of its file, and what has been added,
 * changed or taken away since, over its socket. What is changed is not written to the file.
 *
 * Invariants
 *  * The speaker has what stands here, made of it: a policy that is changed reaches all who use it, and nobody's
 *    session is touched by it.
 *  * A change is taken whole or not at all: it is checked as a file is before anything is done.
 */

import type { Policy } from '../bgp/rib/policy.ts';
import type { BgpSpeaker } from '../bgp/session/speaker.ts';
import {
  type BgpFile,
  type NeighbourFile,
  neighbourName,
  neighbourProblems,
  passwordProblem,
  type RangeFile,
} from '../config/bgp.ts';
import { neighbourOf, rangeOf } from '../config/bgp-neighbours.ts';
import { type PolicyFile, policyOf, policyProblems } from '../config/bgp-policies.ts';
import type { ConfigText, Path, Problem } from '../config/document.ts';
import { VRouterError } from '../errors.ts';

/** All that may be added to what the file has. */
const MAX_NEIGHBOURS = 4096;
const MAX_POLICIES = 1024;

export interface PolicyUse {
  readonly policy: PolicyFile;
  /** Neighbours and ranges, by name. */
  readonly importOf: readonly string[];
  readonly exportOf: readonly string[];
}

export class BgpNeighbours {
  readonly #speaker: BgpSpeaker;
  readonly #as: number;
  /** The first line of a file, as it is now. */
  readonly #readPassword: (file: string) => string;
  readonly #neighbours = new Map<string, NeighbourFile>();
  readonly #ranges = new Map<string, RangeFile>();
  readonly #policies = new Map<string, PolicyFile>();
  #made = new Map<string, Policy>();
  #started = false;

  constructor(speaker: BgpSpeaker, as: number, readPassword: (file: string) => string) {
    this.#speaker = speaker;
    this.#as = as;
    this.#readPassword = readPassword;
  }

  /** A file that has been checked. Nobody is called, and nobody who calls is known, before `start`. */
  load({ neighbors = [], ranges = [], policies = [] }: BgpFile): void {
    for (const policy of policies) this.#policies.set(policy.name, policy);
    this.#remake();
    for (const range of ranges) this.#ranges.set(range.name, range);
    for (const neighbour of neighbors) this.#neighbours.set(neighbourName(neighbour), neighbour);
  }

  start(): void {
    this.#started = true;
    for (const range of this.#ranges.values()) this.#speaker.setRange(this.#rangeOf(range));
    for (const neighbour of this.#neighbours.values())
      this.#speaker.setNeighbour(this.#neighbourOf(neighbour));
  }

  /**
   * The file is another now, or the same: what has changed in it since `before` is changed here. What was changed at
   * run time and is in both files as it was stays so. Who is the same is not touched.
   */
  reload(before: BgpFile, after: BgpFile): void {
    if (!this.#started) {
      for (const known of [this.#neighbours, this.#ranges, this.#policies]) known.clear();
      this.load(after);
      return;
    }
    const policies = differences(before.policies, after.policies, ({ name }) => name);
    const ranges = differences(before.ranges, after.ranges, ({ name }) => name);
    const neighbours = differences(before.neighbors, after.neighbors, neighbourName);
    for (const policy of policies.changed) this.#changePolicy(policy);
    for (const name of neighbours.gone) {
      if (this.#neighbours.delete(name)) this.#speaker.removeNeighbour(name);
    }
    for (const name of ranges.gone) {
      if (this.#ranges.delete(name)) this.#speaker.removeRange(name);
    }
    for (const range of ranges.changed) {
      this.#ranges.set(range.name, range);
      this.#speaker.setRange(this.#rangeOf(range));
    }
    for (const neighbour of neighbours.changed) {
      this.#neighbours.set(neighbourName(neighbour), neighbour);
      this.#speaker.setNeighbour(this.#neighbourOf(neighbour));
    }
    for (const { policy, importOf, exportOf } of this.policies()) {
      const used = importOf.length + exportOf.length > 0;
      if (policies.gone.includes(policy.name) && !used) this.#policies.delete(policy.name);
    }
    this.#remake();
  }

  // --- neighbours ------------------------------------------------------------------------------------

  description(name: string): string | undefined {
    const range = name.includes('/')
      ? this.#ranges.get(name.slice(0, name.lastIndexOf('/')))
      : undefined;
    return (this.#neighbours.get(name) ?? range)?.description;
  }

  /** What problems it has is said of `text`. */
  add(file: NeighbourFile, text: ConfigText): void {
    const name = neighbourName(file);
    if (this.#neighbours.has(name) || this.#ranges.has(name)) {
      throw new VRouterError('CONFLICT', `neighbour '${name}' is there already`);
    }
    if (this.#neighbours.size >= MAX_NEIGHBOURS) {
      throw new VRouterError('TABLE_FULL', `more than ${MAX_NEIGHBOURS} neighbours`);
    }
    this.#set(file, text);
  }

  /** Replaces it; its session starts anew where what it says of itself is another now. True: its routes mean something else. */
  update(file: NeighbourFile, text: ConfigText): boolean {
    const before = this.#known(neighbourName(file));
    this.#set(file, text);
    return String(before.encapsulation) !== String(file.encapsulation);
  }

  remove(name: string): void {
    this.#known(name);
    this.#neighbours.delete(name);
    this.#speaker.removeNeighbour(name);
  }

  #set(file: NeighbourFile, text: ConfigText): void {
    refuse(text, [
      ...neighbourProblems(file, this.#as, [...this.#policies.keys()], []),
      ...problemOfPassword(file, this.#readPassword, []),
    ]);
    const name = neighbourName(file);
    const place = ({ address, interface: on = '', local_address = '' }: NeighbourFile) =>
      `${address} ${on} ${local_address}`;
    for (const [other, known] of this.#neighbours) {
      if (other !== name && place(known) === place(file)) {
        throw new VRouterError('CONFLICT', `neighbour '${other}' has address ${file.address}`);
      }
    }
    this.#speaker.setNeighbour(this.#neighbourOf(file));
    this.#neighbours.set(name, file);
  }

  #known(name: string): NeighbourFile {
    const known = this.#neighbours.get(name);
    if (known === undefined) throw new VRouterError('NOT_FOUND', `no neighbour '${name}'`);
    return known;
  }

  // --- policies --------------------------------------------------------------------------------------

  policies(): PolicyUse[] {
    const users = [
      ...[...this.#neighbours].map(([name, file]) => ({ ...file, name })),
      ...this.#ranges.values(),
    ];
    const usedAs = (key: 'import' | 'export', policy: string) =>
      users.filter((user) => user[key] === policy).map((user) => user.name);
    return [...this.#policies.values()].map((policy) => ({
      policy,
      importOf: usedAs('import', policy.name),
      exportOf: usedAs('export', policy.name),
    }));
  }

  setPolicy(policy: PolicyFile, text: ConfigText): void {
    refuse(text, policyProblems(policy, []));
    if (this.#policies.size >= MAX_POLICIES && !this.#policies.has(policy.name)) {
      throw new VRouterError('TABLE_FULL', `more than ${MAX_POLICIES} policies`);
    }
    this.#changePolicy(policy);
  }

  #changePolicy(policy: PolicyFile): void {
    this.#policies.set(policy.name, policy);
    this.#remake();
    const uses = (file: NeighbourFile | RangeFile) =>
      file.import === policy.name || file.export === policy.name;
    for (const range of this.#ranges.values()) {
      if (uses(range)) this.#speaker.setRange(this.#rangeOf(range));
    }
    for (const neighbour of this.#neighbours.values()) {
      if (uses(neighbour)) this.#speaker.setNeighbour(this.#neighbourOf(neighbour));
    }
  }

  removePolicy(name: string): void {
    const use = this.policies().find(({ policy }) => policy.name === name);
    if (use === undefined) throw new VRouterError('NOT_FOUND', `no policy '${name}'`);
    const [user] = [...use.importOf, ...use.exportOf];
    if (user !== undefined) {
      throw new VRouterError('CONFLICT', `policy '${name}' is used by '${user}'`);
    }
    this.#policies.delete(name);
    this.#remake();
  }

  #remake(): void {
    this.#made = new Map([...this.#policies].map(([name, policy]) => [name, policyOf(policy)]));
  }

  // --- as the speaker has them -----------------------------------------------------------------------

  #neighbourOf(file: NeighbourFile) {
    return neighbourOf(file, this.#made, this.#passwordOf(file));
  }

  #rangeOf(file: RangeFile) {
    return rangeOf(file, this.#made, this.#passwordOf(file));
  }

  #passwordOf({ password_file }: NeighbourFile | RangeFile): string | undefined {
    return password_file === undefined ? undefined : this.#readPassword(password_file);
  }
}

function differences<T>(
  before: readonly T[] = [],
  after: readonly T[] = [],
  nameOf: (each: T) => string,
): { readonly changed: readonly T[]; readonly gone: readonly string[] } {
  const known = new Map(before.map((each) => [nameOf(each), JSON.stringify(each)]));
  const left = new Set(after.map(nameOf));
  return {
    changed: after.filter((each) => known.get(nameOf(each)) !== JSON.stringify(each)),
    gone: [...known.keys()].filter((name) => !left.has(name)),
  };
}

function refuse(text: ConfigText, problems: readonly Problem[]): void {
  if (problems.length > 0) text.refuse(problems);
}

/** Of the files that a control file names: each at its place, where it cannot be a password. */
export function passwordProblems(
  { neighbors = [], ranges = [] }: BgpFile,
  read: (file: string) => string,
  path: Path,
): Problem[] {
  const all = [
    ...neighbors.map((file, at) => ({ file, path: [...path, 'neighbors', at] })),
    ...ranges.map((file, at) => ({ file, path: [...path, 'ranges', at] })),
  ];
  return all.flatMap(({ file, path: place }) => problemOfPassword(file, read, place));
}

function problemOfPassword(
  { password_file }: NeighbourFile | RangeFile,
  read: (file: string) => string,
  path: Path,
): Problem[] {
  if (password_file === undefined) return [];
  const message = problemOf(password_file, read);
  return message === undefined ? [] : [{ path: [...path, 'password_file'], message }];
}

function problemOf(file: string, read: (file: string) => string): string | undefined {
  try {
    return passwordProblem(read(file));
  } catch (error) {
    return error instanceof Error ? error.message : 'cannot be read';
  }
}
