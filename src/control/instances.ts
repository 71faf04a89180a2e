/**
 * Routing instances, their route targets, and the policy links between them: who takes in whose routes.
 * Invariant: `importersOf` is the inverse of all instances' `imports`, and `imports` are an instance's own and
 * the exports of those it is linked to. What a change reaches is told to `changed`, after it.
 * Links are not passed on: a to b and b to c is not a to c.
 */
import { canonicalRouteTarget, type RouteTarget } from '../addr/route-target.ts';
import { ParseError, VRouterError } from '../errors.ts';
import { byText } from '../rib/best-path.ts';
import { getOrCreate } from '../rib/map-entry.ts';

export interface InstanceSpec {
  readonly name: string;
  /** Both absent: one automatic target, imported and exported. */
  readonly import?: readonly string[];
  readonly export?: readonly string[];
}

export interface InstanceView {
  readonly name: string;
  readonly import: readonly string[];
  readonly export: readonly string[];
  readonly connected: readonly string[];
}

export interface Instance {
  readonly name: string;
  /** Of its own network, for routes that do not say one. */
  readonly originVn: string;
  /** By configuration; else only named by a peer. */
  created: boolean;
  /** Its target is the next number that was free. */
  automatic: boolean;
  ownImports: ReadonlySet<RouteTarget>;
  exports: ReadonlySet<RouteTarget>;
  readonly links: Set<string>;
  imports: ReadonlySet<RouteTarget>;
}

export interface InstanceChanges {
  /** It was created or deleted. */
  created(instance: Instance): void;
  /** What it exports has changed. */
  exports(instance: Instance): void;
  /** It takes in other targets than before; `targets` are those that are new or gone. */
  imports(instance: Instance, targets: ReadonlySet<RouteTarget>): void;
}

/** Four names of up to 255. */
const MAX_INSTANCE_NAME_BYTES = 1024;
const FIRST_AUTOMATIC_TARGET = 8_000_001;
export const NO_TARGETS: ReadonlySet<RouteTarget> = new Set();

export function checkInstanceName(name: string): string {
  if (name.length === 0 || Buffer.byteLength(name) > MAX_INSTANCE_NAME_BYTES) {
    throw new ParseError(`instance: must have 1 to ${MAX_INSTANCE_NAME_BYTES} bytes`);
  }
  if (/[\p{Cc}\p{Cs}\ufffe\uffff]/u.test(name)) {
    throw new ParseError('instance: holds a control character');
  }
  return name;
}

/** `domain:project:vn:vn` is the default instance of the network `domain:project:vn`. */
function originVnOf(name: string): string {
  const parts = name.split(':');
  return parts.length === 4 && parts[2] === parts[3] ? parts.slice(0, 3).join(':') : name;
}

export class Instances {
  readonly #all = new Map<string, Instance>();
  readonly #importers = new Map<RouteTarget, Set<Instance>>();
  readonly #autonomousSystem: number;
  readonly #changed: InstanceChanges;
  #nextTarget = FIRST_AUTOMATIC_TARGET;

  constructor(autonomousSystem: number, changed: InstanceChanges) {
    this.#autonomousSystem = autonomousSystem;
    this.#changed = changed;
  }

  /** Made if nobody has named it before. */
  named(name: string): Instance {
    return getOrCreate(this.#all, name, () => ({
      name: checkInstanceName(name),
      originVn: originVnOf(name),
      created: false,
      automatic: false,
      ownImports: NO_TARGETS,
      exports: NO_TARGETS,
      links: new Set(),
      imports: NO_TARGETS,
    }));
  }

  find(name: string): Instance | undefined {
    return this.#all.get(name);
  }

  /** An instance that was only named, and has nothing any more. */
  forget(instance: Instance): void {
    if (!instance.created) this.#all.delete(instance.name);
  }

  importersOf(target: RouteTarget): Iterable<Instance> {
    return this.#importers.get(target) ?? [];
  }

  /** That any instance takes in. */
  imported(): Iterable<RouteTarget> {
    return this.#importers.keys();
  }

  all(): Iterable<Instance> {
    return this.#all.values();
  }

  create(spec: InstanceSpec): void {
    if (this.#all.get(spec.name)?.created === true) {
      throw new VRouterError('CONFLICT', `instance '${spec.name}' exists already`);
    }
    const instance = this.named(spec.name);
    instance.created = true;
    this.#changed.created(instance);
    this.#setTargets(instance, spec);
  }

  update(spec: InstanceSpec): void {
    this.#setTargets(this.#created(spec.name), spec);
  }

  delete(name: string): Instance {
    const instance = this.#created(name);
    for (const other of [...instance.links]) this.disconnect(name, other);
    instance.created = false;
    instance.automatic = false;
    this.#setExports(instance, NO_TARGETS);
    instance.ownImports = NO_TARGETS;
    this.#refreshImports(instance);
    this.#changed.created(instance);
    return instance;
  }

  /** Policy between two networks: each imports what the other exports. */
  connect(a: string, b: string): void {
    const [first, second] = [this.#created(a), this.#created(b)];
    if (first === second) throw new VRouterError('CONFLICT', `instance '${a}' cannot meet itself`);
    first.links.add(b);
    second.links.add(a);
    this.#refreshImports(first);
    this.#refreshImports(second);
  }

  disconnect(a: string, b: string): void {
    const [first, second] = [this.#created(a), this.#created(b)];
    if (!first.links.delete(b)) {
      throw new VRouterError('NOT_FOUND', `instances '${a}' and '${b}' are not connected`);
    }
    second.links.delete(a);
    this.#refreshImports(first);
    this.#refreshImports(second);
  }

  view(): InstanceView[] {
    return [...this.#all.values()]
      .filter((i) => i.created)
      .sort((a, b) => byText(a.name, b.name))
      .map((i) => ({
        name: i.name,
        import: [...i.ownImports].sort(byText),
        export: [...i.exports].sort(byText),
        connected: [...i.links].sort(byText),
      }));
  }

  #created(name: string): Instance {
    const instance = this.#all.get(name);
    if (instance?.created !== true) throw new VRouterError('NOT_FOUND', `no instance '${name}'`);
    return instance;
  }

  #setTargets(instance: Instance, spec: InstanceSpec): void {
    let imports = new Set(spec.import?.map(canonicalRouteTarget));
    let exports = new Set(spec.export?.map(canonicalRouteTarget));
    instance.automatic = spec.import === undefined && spec.export === undefined;
    if (instance.automatic) {
      const automatic = canonicalRouteTarget(`${this.#autonomousSystem}:${this.#nextTarget++}`);
      imports = new Set([automatic]);
      exports = new Set([automatic]);
    }
    this.#setExports(instance, exports);
    instance.ownImports = imports;
    this.#refreshImports(instance);
  }

  #setExports(instance: Instance, exports: ReadonlySet<RouteTarget>): void {
    instance.exports = exports;
    for (const other of instance.links) this.#refreshImports(this.named(other));
    this.#changed.exports(instance);
  }

  #refreshImports(instance: Instance): void {
    const imports = new Set(instance.ownImports);
    for (const link of instance.links) {
      for (const target of this.named(link).exports) imports.add(target);
    }
    const changed = new Set<RouteTarget>();
    for (const target of imports) {
      if (instance.imports.has(target)) continue;
      changed.add(target);
      getOrCreate(this.#importers, target, () => new Set<Instance>()).add(instance);
    }
    for (const target of instance.imports) {
      if (imports.has(target)) continue;
      changed.add(target);
      const importers = this.#importers.get(target);
      importers?.delete(instance);
      if (importers?.size === 0) this.#importers.delete(target);
    }
    instance.imports = imports;
    if (changed.size > 0) this.#changed.imports(instance, changed);
  }
}
