/** A BgpRib that only remembers what it is told: for tests of what is above it. */
import type { BgpPath, BgpRib } from '../../src/bgp/rib/contract.ts';
import { nlriKey } from '../../src/bgp/wire/family.ts';

export class RecordingRib {
  readonly said = new Map<string, Omit<BgpPath, 'from' | 'stale'>>();
  readonly calls: string[] = [];
  wanted: string[] = [];
  /** What neighbours have said, by key; for whoever asks. */
  readonly heard = new Map<string, BgpPath[]>();
  readonly rib = {
    originate: (path: Omit<BgpPath, 'from' | 'stale'>) => {
      const key = `${path.family} ${nlriKey(path.family, path.nlri)}`;
      this.calls.push(`+${key}`);
      this.said.set(key, path);
    },
    withdraw: (family: BgpPath['family'], nlri: BgpPath['nlri']) => {
      const key = `${family} ${nlriKey(family, nlri)}`;
      this.calls.push(`-${key}`);
      this.said.delete(key);
    },
    want: (targets: ReadonlySet<string>) => {
      this.wanted = [...targets].sort();
    },
    routes: (family: BgpPath['family']) =>
      [...this.heard].flatMap(([key, paths]) =>
        paths[0]?.family === family ? [{ key, paths, best: 1 }] : [],
      ),
  } as Partial<BgpRib> as BgpRib;

  /** Calls since last time. */
  take(): string[] {
    return this.calls.splice(0);
  }
}
