/**
 * What is wrong with an UPDATE, and what follows (RFC 7606): a list, not an exception, since most of it leaves
 * the session up. Leaves of the decoder throw `Malformed`; whoever knows the attribute's row turns it into a
 * finding. Invariant: `strongest` decides, however many findings were left out of the bounded list.
 */
import { VRouterError } from '../../errors.ts';
import { hexOf } from './bytes.ts';
import type { FamilyText } from './family-names.ts';
import { NOTIFICATIONS, type Notification } from './notification.ts';

/** From the mildest to the strongest. */
export const CONSEQUENCES = [
  'attribute-discard',
  'treat-as-withdraw',
  'afi-safi-disable',
  'session-reset',
] as const;
export type Consequence = (typeof CONSEQUENCES)[number];

export interface Finding {
  readonly consequence: Consequence;
  readonly message: string;
  /** Code of the attribute at fault. */
  readonly attribute?: number;
  /** Of `afi-safi-disable`: whose routes go and are not listened to any more. */
  readonly family?: FamilyText;
  /** Of `session-reset`: what to send. */
  readonly notification?: Notification;
}

/** A message of one byte NLRIs could have thousands; the first few tell what is wrong. */
export const MAX_FINDINGS = 32;

export class Malformed extends VRouterError {
  /** Where the row's own consequence does not fit. */
  readonly consequence: Consequence | undefined;
  readonly family: FamilyText | undefined;

  constructor(message: string, consequence?: Consequence, family?: FamilyText) {
    super('BGP_MALFORMED', message);
    this.consequence = consequence;
    this.family = family;
  }
}

/** A leaf's complaint about bytes; anything else is a bug and goes on up. */
export function isMalformed(error: unknown): error is VRouterError {
  return (
    error instanceof Malformed || (error instanceof VRouterError && error.code === 'TRUNCATED')
  );
}

export class Findings {
  readonly list: Finding[] = [];
  /** Those left out of the list too. */
  count = 0;
  strongest: Consequence | undefined;
  /** Of the first `session-reset`. */
  notification: Notification | undefined;

  readonly #seen = new Set<Consequence>();

  /** Also where the finding itself was left out of the list. */
  has(consequence: Consequence): boolean {
    return this.#seen.has(consequence);
  }

  add(finding: Finding): void {
    const { strongest } = this;
    this.count++;
    this.#seen.add(finding.consequence);
    const rank = CONSEQUENCES.indexOf(finding.consequence);
    if (strongest === undefined || rank > CONSEQUENCES.indexOf(strongest)) {
      this.strongest = finding.consequence;
    }
    this.notification ??= finding.notification;
    if (this.list.length < MAX_FINDINGS) this.list.push(finding);
  }

  reset(subcode: number, message: string, data = new Uint8Array(0), attribute?: number): void {
    const { code } = NOTIFICATIONS.update;
    this.add({
      consequence: 'session-reset',
      message,
      notification: { code, subcode, data: hexOf(data) },
      ...(attribute === undefined ? {} : { attribute }),
    });
  }
}
