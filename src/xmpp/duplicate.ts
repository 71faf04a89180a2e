/**
 * A control node keeps one session an agent name. What becomes of a second one that says it is the same
 * agent: a table, as the ancestor has it.
 */

export interface NamesMeet {
  /** Does the new connection come from the address of the old one? */
  readonly sameAddress: boolean;
  /** Graceful restart helper: routes of a lost agent are kept for a while. */
  readonly helper: boolean;
  /** `ready`, or lost and waited for (restart time, long-lived or not). */
  readonly old: 'ready' | 'awaited';
}

export interface Verdict {
  /** `restart`: closed, and awaited; its routes are kept as stale. */
  readonly old: 'keep' | 'close' | 'restart';
  /** `resume`: takes the old session's place, and its routes. */
  readonly new: 'close' | 'resume';
}

/**
 * Somebody else's address is not believed. From the same address the old connection is one the agent has
 * given up, though we have not heard of it: the new one is dropped once, too, and its next try finds the
 * name free.
 */
export function judgeDuplicate({ sameAddress, helper, old }: NamesMeet): Verdict {
  if (!sameAddress) return { old: 'keep', new: 'close' };
  if (old === 'awaited') return { old: 'keep', new: 'resume' };
  return { old: helper ? 'restart' : 'close', new: 'close' };
}
