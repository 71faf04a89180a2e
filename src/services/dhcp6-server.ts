/**
 * A DHCPv6 server for one client (RFC 8415 §18.3), as dhcp4-server.ts is one: the tenant behind a vif, one
 * address, no state. Pure.
 * Invariant: the first IA_NA gets the address, every other IA is told that there is nothing for it; an
 * address that the client names and that is not its own comes back with lifetimes of 0.
 */
import { MAC_GATEWAY, parseMac } from '../addr/mac.ts';
import { type Dhcp6Message, type Ia, MESSAGE6, OPTION6, STATUS6 } from './dhcp6-message.ts';

/** DUID-LL (RFC 8415 §11.4) of the gateway's MAC: the same on every node, as the gateway is. */
export const SERVER_DUID = Uint8Array.of(0, 3, 0, 1, ...parseMac(MAC_GATEWAY));
/** Nobody else answers: a client need not wait for more (RFC 8415 §18.2.1). */
const PREFERENCE = 255;

export interface Dhcp6Lease {
  readonly address: string;
  readonly leaseSeconds: number;
  readonly dnsServers: readonly string[];
  readonly domain?: string;
}

export type Dhcp6Ignored =
  | 'not_a_request'
  | 'no_client_id'
  | 'other_server'
  | 'no_server_id'
  | 'nothing_to_confirm';
export type Dhcp6Answer =
  | { readonly kind: 'advertise' | 'reply'; readonly message: Dhcp6Message }
  | { readonly kind: 'ignored'; readonly why: Dhcp6Ignored };

/** Whether a message names a server: §16. */
const NAMES_SERVER = new Map<number, 'must' | 'must not' | 'may'>([
  [MESSAGE6.solicit, 'must not'],
  [MESSAGE6.confirm, 'must not'],
  [MESSAGE6.rebind, 'must not'],
  [MESSAGE6.request, 'must'],
  [MESSAGE6.renew, 'must'],
  [MESSAGE6.release, 'must'],
  [MESSAGE6.decline, 'must'],
  [MESSAGE6.informationRequest, 'may'],
]);

const ignored = (why: Dhcp6Ignored): Dhcp6Answer => ({ kind: 'ignored', why });

export function answerDhcp6(request: Dhcp6Message, lease: Dhcp6Lease): Dhcp6Answer {
  const { type, clientId, serverId } = request;
  const rule = NAMES_SERVER.get(type);
  if (rule === undefined) return ignored('not_a_request');
  if (clientId === undefined && type !== MESSAGE6.informationRequest)
    return ignored('no_client_id');
  if (serverId === undefined && rule === 'must') return ignored('no_server_id');
  if (
    serverId !== undefined &&
    (rule === 'must not' || !Buffer.from(serverId).equals(SERVER_DUID))
  ) {
    return ignored('other_server');
  }
  switch (type) {
    case MESSAGE6.solicit: {
      const rapid = request.rapidCommit === true;
      return answer(rapid ? 'reply' : 'advertise', request, {
        ...configuration(request, lease),
        ias: grant(request.ias, lease),
        ...(rapid ? { rapidCommit: true } : { preference: PREFERENCE }),
      });
    }
    case MESSAGE6.request:
    case MESSAGE6.renew:
    case MESSAGE6.rebind:
      return answer('reply', request, {
        ...configuration(request, lease),
        ias: grant(request.ias, lease),
      });
    case MESSAGE6.confirm: {
      const named = request.ias.flatMap(({ addresses }) => addresses);
      if (named.length === 0) return ignored('nothing_to_confirm');
      const right = named.every(({ address }) => address === lease.address);
      return answer('reply', request, { status: right ? STATUS6.success : STATUS6.notOnLink });
    }
    case MESSAGE6.informationRequest:
      return request.ias.length > 0
        ? ignored('not_a_request')
        : answer('reply', request, configuration(request, lease));
    default: // release, decline: nothing is kept of it
      return answer('reply', request, { status: STATUS6.success });
  }
}

function answer(
  kind: 'advertise' | 'reply',
  { transaction, clientId }: Dhcp6Message,
  more: Partial<Dhcp6Message>,
): Dhcp6Answer {
  const message: Dhcp6Message = {
    type: MESSAGE6[kind],
    transaction,
    ...(clientId === undefined ? {} : { clientId }),
    serverId: SERVER_DUID,
    ias: [],
    ...more,
  };
  return { kind, message };
}

/** What was asked for; a client that asks for nothing is told all. */
function configuration({ requested }: Dhcp6Message, lease: Dhcp6Lease): Partial<Dhcp6Message> {
  const wants = (code: number) => requested === undefined || requested.includes(code);
  return {
    ...(wants(OPTION6.dnsServers) ? { dnsServers: lease.dnsServers } : {}),
    ...(wants(OPTION6.domains) && lease.domain !== undefined ? { domain: lease.domain } : {}),
  };
}

function grant(ias: readonly Ia[], lease: Dhcp6Lease): Ia[] {
  const first = ias.find(({ kind }) => kind === 'na');
  return ias.map((ia) => {
    const none = { kind: ia.kind, id: ia.id, t1: 0, t2: 0, addresses: [] };
    if (ia.kind === 'pd') return { ...none, status: STATUS6.noPrefixAvail };
    if (ia !== first) return { ...none, status: STATUS6.noAddrsAvail };
    const { address, leaseSeconds: valid } = lease;
    const others = ia.addresses.filter((named) => named.address !== address);
    return {
      kind: 'na',
      id: ia.id,
      t1: Math.floor(valid / 2),
      t2: Math.floor((valid * 4) / 5),
      addresses: [
        { address, preferred: valid, valid },
        ...others.map((named) => ({ address: named.address, preferred: 0, valid: 0 })),
      ],
    };
  });
}
