/**
 * Families whose routes could not be read (RFC 7606 §2, AFI/SAFI disable): what was said of them is withdrawn, and what
 * comes is not listened to, until the session starts anew. The others go on.
 */
import type { BgpPath } from '../rib/contract.ts';
import type { Routes } from '../wire/family.ts';
import type { FamilyName, FamilyText } from '../wire/family-names.ts';
import type { Finding } from '../wire/finding.ts';
import type { Update } from '../wire/update.ts';

export function disabledBy(findings: readonly Finding[]): readonly FamilyText[] {
  return findings.flatMap(({ consequence, family }) =>
    consequence === 'afi-safi-disable' && family !== undefined ? [family] : [],
  );
}

/** Undefined: nothing is left. */
export function withoutFamilies(
  update: Update,
  disabled: ReadonlySet<FamilyName>,
): Update | undefined {
  if (disabled.size === 0) return update;
  const { endOfRib, ...rest } = update;
  const kept = <R extends Routes>(routes: readonly R[]) =>
    routes.filter(({ family }) => !disabled.has(family));
  const withdrawn = kept(rest.withdrawn);
  const announced = kept(rest.announced);
  const ends = endOfRib !== undefined && !disabled.has(endOfRib);
  if (!ends && withdrawn.length + announced.length === 0) return undefined;
  return { ...rest, withdrawn, announced, ...(ends ? { endOfRib } : {}) };
}

/** Of all that a peer has said of a family. */
export function withdrawalOf(family: FamilyName, paths: Iterable<BgpPath>): Update {
  const nlri = [...paths].map((path) => path.nlri);
  return { withdrawn: [{ family, nlri } as Routes], announced: [], attributes: {} };
}
