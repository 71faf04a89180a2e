/**
 * Who has which routes, said as plainly as can be: no index, no batch, every question answered from all that is
 * published. The twin of src/control/tables.ts.
 */
export interface ModelPath {
  readonly agent: string;
  readonly instance: string;
  readonly prefix: string;
  readonly localPreference?: number | undefined;
  readonly sequence?: number | undefined;
  readonly med?: number | undefined;
}

export interface ModelInstance {
  readonly import: readonly string[];
  readonly export: readonly string[];
  readonly links: readonly string[];
}

const FROM_PREFERENCE: Readonly<Record<number, number>> = { 100: 200, 200: 100 };

/** Higher is better. */
export function modelRank(path: ModelPath): [number, number, number] {
  const preference = path.localPreference ?? 100;
  const med = path.med || (FROM_PREFERENCE[preference] ?? 0xffffffff - preference);
  return [preference, path.sequence ?? 0, -med];
}

function better(a: ModelPath, b: ModelPath): boolean {
  const [ra, rb] = [modelRank(a), modelRank(b)];
  const at = ra.findIndex((value, i) => value !== rb[i]);
  return at >= 0 && (ra[at] as number) > (rb[at] as number);
}

/** The paths that an instance uses for a prefix. */
export function modelBest<P extends ModelPath>(
  paths: readonly P[],
  instances: ReadonlyMap<string, ModelInstance>,
  instance: string,
  prefix: string,
): P[] {
  const all = paths.filter((path) => path.prefix === prefix);
  const imports = (name: string, target: string): boolean => {
    const of = instances.get(name);
    if (of === undefined) return false;
    return (
      of.import.includes(target) ||
      of.links.some((link) => instances.get(link)?.export.includes(target) === true)
    );
  };
  const arrives = (path: P, name: string): boolean =>
    path.instance === name ||
    (instances.get(path.instance)?.export.some((target) => imports(name, target)) === true &&
      // Beaten at home, it stays there.
      !all.some((other) => better(other, path) && arrives(other, path.instance)));
  const there = all.filter((path) => arrives(path, instance));
  return there.filter((path) => !there.some((other) => better(other, path)));
}
