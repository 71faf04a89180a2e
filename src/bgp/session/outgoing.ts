/**
 * What the RIB has for a peer, as messages. A route that fits into no message of the session is withdrawn instead
 * (RFC 8654 §4: it must not be said), so that the peer does not go on with what it was before.
 */
import { VRouterError } from '../../errors.ts';
import type { Outgoing } from '../rib/contract.ts';
import type { WireOptions } from '../wire/attributes.ts';
import type { Routes } from '../wire/family.ts';
import { refreshMessage, updateMessages } from '../wire/message.ts';
import type { AnnouncedRoutes, Update } from '../wire/update.ts';

export interface Written {
  readonly messages: readonly Uint8Array[];
  /** Routes that were withdrawn since they do not fit. */
  readonly unsendable: number;
}

/** Of two sessions with the same text, updates have the same bytes. */
export function wireText({ as4, external, maxMessage, addPath }: WireOptions): string {
  return [as4, external, maxMessage, ...[...addPath].sort()].join();
}

/** The RIB gives one Update to all peers that are told the same, so it is written once. */
const kept = new WeakMap<Update, { readonly text: string; readonly written: Written }[]>();

/** `text`: wireText of `options`. */
export function writtenOf(outgoing: Outgoing, options: WireOptions, text: string): Written {
  if (outgoing.kind === 'route-refresh') {
    return { messages: [refreshMessage(outgoing.refresh)], unsendable: 0 };
  }
  const { update } = outgoing;
  const known = kept.get(update) ?? [];
  const before = known.find((entry) => entry.text === text);
  if (before !== undefined) return before.written;
  const written = fitting(update, options) ?? oneByOne(update, options);
  known.push({ text, written });
  kept.set(update, known);
  return written;
}

/** Undefined: something does not fit. */
function fitting(update: Update, options: WireOptions): Written | undefined {
  try {
    return { messages: updateMessages(update, options), unsendable: 0 };
  } catch (error) {
    if (error instanceof VRouterError && error.code === 'BGP_TOO_LONG') return undefined;
    throw error;
  }
}

const ONLY_ROUTES = { withdrawn: [], announced: [], attributes: {} } as const;

function oneByOne(update: Update, options: WireOptions): Written {
  const { announced, endOfRib, ...rest } = update;
  const messages = updateMessages({ ...rest, announced: [] }, options);
  let unsendable = 0;
  for (const routes of announced) {
    for (const nlri of routes.nlri) {
      const one = { ...routes, nlri: [nlri] } as AnnouncedRoutes;
      const alone = fitting({ ...update, withdrawn: [], announced: [one] }, options);
      if (alone === undefined) {
        const withdrawn = { family: routes.family, nlri: [nlri] } as Routes;
        messages.push(...updateMessages({ ...ONLY_ROUTES, withdrawn: [withdrawn] }, options));
        unsendable += 1;
      } else messages.push(...alone.messages);
    }
  }
  if (endOfRib !== undefined)
    messages.push(...updateMessages({ ...ONLY_ROUTES, endOfRib }, options));
  return { messages, unsendable };
}
