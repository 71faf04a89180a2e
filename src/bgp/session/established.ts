/** What there is of a session while it is up, and what follows from what was agreed on. */
import type { Agreed } from '../wire/agree.ts';
import type { FamilyName, FamilyText } from '../wire/family-names.ts';
import type { Finding } from '../wire/finding.ts';
import type { Open } from '../wire/open.ts';
import type { Connection } from './connection.ts';
import type { Sender } from './sender.ts';

export interface Established {
  readonly id: number;
  readonly connection: Connection;
  readonly peer: Open;
  readonly agreed: Agreed;
  readonly sender: Sender;
  /** RFC 7606: not listened to any more. */
  readonly disabled: Set<FamilyName>;
}

/** RFC 7606 §2: families of which an update could not be read. */
export function disabledBy(findings: readonly Finding[]): readonly FamilyText[] {
  return findings.flatMap(({ consequence, family }) =>
    consequence === 'afi-safi-disable' && family !== undefined ? [family] : [],
  );
}

/** For so long the routes of a peer that restarts may be kept. */
export function keptMs({ gracefulRestart, longLivedRestart }: Agreed): number {
  const long = (longLivedRestart?.families ?? []).map(({ seconds }) => seconds);
  return ((gracefulRestart?.seconds ?? 0) + Math.max(0, ...long)) * 1000;
}
