/**
 * What changed in the route tables, for `rt --monitor`: the last MAX_CHANGES of what the agent committed, in
 * their order. A reader asks for what came after a number; what is no longer here is counted, not passed over.
 * Written by the agent's commits, read by the CLI.
 */
import { z } from 'zod';
import type { RouteChangesView, RouteChangeView } from '../cli/views.ts';
import { mapping, whole } from '../config/fields.ts';
import { checkParams } from '../config/load.ts';
import type { Op } from '../dataplane/api.ts';
import type { StartPart } from './node-part.ts';
import { NO_LABEL } from './state-ops.ts';

const MAX_CHANGES = 8192;
const PROXY = 0x2;
const TRAP = 0x4;
const FLOOD = 0x8;

const schema = mapping({ after: whole(0, Number.MAX_SAFE_INTEGER).or(z.literal(-1)).optional() });

function changeOf(op: Op): Omit<RouteChangeView, 'number'> | undefined {
  if (op.op !== 'route_set' && op.op !== 'route_delete') return undefined;
  const [address, length] = op.prefix.split('/') as [string, string];
  const at = {
    family: address.includes(':') ? ('AF_INET6' as const) : ('AF_INET' as const),
    vrf_id: op.vrf,
    prefix: Number(length),
    address,
  };
  if (op.op === 'route_delete') return { operation: 'delete', ...at };
  const flags = op.flags ?? 0;
  const label = op.label ?? NO_LABEL;
  return {
    operation: 'add',
    ...at,
    nh_id: op.nextHop,
    flags: {
      label_valid: label !== NO_LABEL,
      arp_proxy: (flags & PROXY) !== 0,
      arp_trap: (flags & TRAP) !== 0,
      arp_flood: (flags & FLOOD) !== 0,
      macip_learnt: false,
    },
    ...(label === NO_LABEL ? {} : { label }),
    ...(op.mac === undefined || op.mac === '' ? {} : { mac_address: op.mac }),
  };
}

export const startRouteMonitor: StartPart = ({ agent }) => {
  const changes: RouteChangeView[] = [];
  let last = 0;
  agent.onCommit(({ ops }) => {
    for (const op of ops) {
      const change = changeOf(op);
      if (change === undefined) continue;
      last += 1;
      changes.push({ number: last, ...change });
    }
    if (changes.length > MAX_CHANGES) changes.splice(0, changes.length - MAX_CHANGES);
  });
  return {
    methods: {
      'rt.changes': (params): RouteChangesView => {
        const { after = -1 } = checkParams(schema, 'rt.changes', params);
        if (after < 0) return { changes: [], last, lost: 0 };
        const oldest = changes[0]?.number ?? last + 1;
        return {
          changes: changes.filter(({ number }) => number > after),
          last,
          lost: Math.max(0, oldest - 1 - after),
        };
      },
    },
  };
};
