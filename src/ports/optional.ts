/**
 * Loading of packages that need not be there: `cap` and `raw-socket` are compiled at install time and are
 * left out where that is not possible. Nothing is loaded before it is needed, and what cannot be loaded is
 * an error that names the package and what it needs.
 */
import { VRouterError } from '../errors.ts';

export interface OptionalPackage {
  readonly name: string;
  /** What its compilation needs, with the Debian packages. */
  readonly needs: string;
}

/** Both forms a CommonJS module can come in. */
type Imported<T> = T & { readonly default?: T };

export async function loadOptional<T>(
  wanted: OptionalPackage,
  load: (name: string) => Promise<unknown> = (name) => import(name),
): Promise<T> {
  try {
    const module = (await load(wanted.name)) as Imported<T>;
    return module.default ?? module;
  } catch (error) {
    const why = error instanceof Error ? error.message.split('\n')[0] : String(error);
    throw new VRouterError(
      'NO_PACKAGE',
      `the optional package "${wanted.name}" cannot be loaded (${why}); it needs ${wanted.needs}, ` +
        `then \`npm rebuild ${wanted.name}\``,
    );
  }
}
