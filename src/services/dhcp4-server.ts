/**
 * A DHCP server for one client (RFC 2131 §4.3): the tenant behind a vif, whose address is known before it
 * asks. Pure: what was asked, and what the tenant is to have, give the answer.
 *
 * Invariants
 *  * There is one address to be had on a vif, its own; who asks for another is told no, since nobody else
 *    gives addresses there. A client whose MAC is not the tenant's, and a relay, get no answer.
 *  * There is no state: a lease is the vif's intent, and lasts as long as that.
 */
import { formatIp, parseIp } from '../addr/ip.ts';
import { formatPrefix, maskBytes } from '../addr/prefix.ts';
import {
  BOOT_REPLY,
  BOOT_REQUEST,
  DEFAULT_MESSAGE_SIZE,
  type Dhcp4Message,
  MESSAGE_TYPE,
} from './dhcp4-message.ts';
import {
  type ClasslessRoute,
  DHCP4_OPTIONS,
  type Dhcp4Options,
  type OptionName,
} from './dhcp4-options.ts';

const NO_ADDRESS = '0.0.0.0';
const ALL = '255.255.255.255';

export interface Dhcp4Lease {
  readonly mac: string;
  readonly address: string;
  readonly prefixLength: number;
  /** Also the server's identifier: what the tenant can reach of us. */
  readonly gateway: string;
  readonly leaseSeconds: number;
  readonly mtu: number;
  readonly dnsServers: readonly string[];
  readonly ntpServers?: readonly string[];
  readonly hostname?: string;
  readonly domain?: string;
  /** Besides the default route. */
  readonly routes?: readonly ClasslessRoute[];
}

export type IgnoreReason = 'not_a_request' | 'relayed' | 'other_client' | 'other_server';
export type Dhcp4Answer =
  | {
      readonly kind: 'offer' | 'ack' | 'nak';
      readonly message: Dhcp4Message;
      readonly to: string;
      /** For the frame: a client without an address cannot be asked for its MAC. */
      readonly toMac: string;
      readonly mostBytes: number;
    }
  | { readonly kind: 'noted'; readonly what: 'decline' | 'release' }
  | { readonly kind: 'ignored'; readonly why: IgnoreReason };

const ignored = (why: IgnoreReason): Dhcp4Answer => ({ kind: 'ignored', why });

export function answerDhcp4(request: Dhcp4Message, lease: Dhcp4Lease): Dhcp4Answer {
  const { options, ciaddr } = request;
  if (request.op !== BOOT_REQUEST) return ignored('not_a_request');
  if (request.giaddr !== NO_ADDRESS) return ignored('relayed');
  if (request.chaddr !== lease.mac) return ignored('other_client');
  const named = options.serverId;
  if (named !== undefined && named !== lease.gateway) return ignored('other_server');
  switch (options.messageType) {
    case MESSAGE_TYPE.discover:
      return reply('offer', request, lease);
    case MESSAGE_TYPE.request: {
      // Selecting and INIT-REBOOT name it as an option, renewing and rebinding have it already.
      const wanted = options.requestedAddress ?? ciaddr;
      return reply(wanted === lease.address ? 'ack' : 'nak', request, lease);
    }
    case MESSAGE_TYPE.inform:
      return reply('ack', request, lease);
    case MESSAGE_TYPE.decline:
      return { kind: 'noted', what: 'decline' };
    case MESSAGE_TYPE.release:
      return { kind: 'noted', what: 'release' };
    default:
      return ignored('not_a_request');
  }
}

function reply(
  kind: 'offer' | 'ack' | 'nak',
  request: Dhcp4Message,
  lease: Dhcp4Lease,
): Dhcp4Answer {
  const { options, ciaddr, chaddr } = request;
  const informed = options.messageType === MESSAGE_TYPE.inform;
  const message: Dhcp4Message = {
    op: BOOT_REPLY,
    hops: 0,
    xid: request.xid,
    secs: 0,
    // A client that does not hear yet must be able to tell that this is for it (RFC 2131 §4.3.2).
    broadcast: request.broadcast,
    ciaddr: kind === 'ack' ? ciaddr : NO_ADDRESS,
    yiaddr: kind === 'nak' || informed ? NO_ADDRESS : lease.address,
    siaddr: NO_ADDRESS,
    giaddr: NO_ADDRESS,
    chaddr,
    options: replyOptions(kind, request, lease),
  };
  // RFC 2131 §4.1; a client that is told no may have an address that is not its own.
  const to =
    kind === 'nak' ? ALL : ciaddr !== NO_ADDRESS ? ciaddr : request.broadcast ? ALL : lease.address;
  const size = options.maxMessageSize;
  return {
    kind,
    message,
    to,
    toMac: to === ALL ? 'ff:ff:ff:ff:ff:ff' : chaddr,
    mostBytes:
      size === undefined ? DEFAULT_MESSAGE_SIZE : Math.max(size - 28, DEFAULT_MESSAGE_SIZE),
  };
}

/** What must be said first, then what was asked for in the order asked, or all. */
function replyOptions(
  kind: 'offer' | 'ack' | 'nak',
  request: Dhcp4Message,
  lease: Dhcp4Lease,
): Dhcp4Options {
  const { clientId, parameters, messageType } = request.options;
  const must: Dhcp4Options = {
    messageType: MESSAGE_TYPE[kind],
    serverId: lease.gateway,
    ...(clientId === undefined ? {} : { clientId }), // RFC 6842
  };
  if (kind === 'nak') return { ...must, message: `${lease.address} is to be had here` };
  const times: Dhcp4Options =
    messageType === MESSAGE_TYPE.inform
      ? {}
      : {
          leaseSeconds: lease.leaseSeconds,
          renewalSeconds: Math.floor(lease.leaseSeconds / 2),
          rebindingSeconds: Math.floor((lease.leaseSeconds * 7) / 8),
        };
  const told = tellable(lease);
  const names = Object.keys(told) as OptionName[];
  const asked =
    parameters === undefined
      ? names
      : [...new Set(parameters)].flatMap((code) =>
          names.filter((name) => DHCP4_OPTIONS[name][0] === code),
        );
  return { ...must, ...times, ...Object.fromEntries(asked.map((name) => [name, told[name]])) };
}

function tellable(lease: Dhcp4Lease): Dhcp4Options {
  const { prefixLength, gateway, address } = lease;
  const mask = maskBytes(new Uint8Array(4).fill(255), prefixLength);
  const last = parseIp(address).bytes.map((byte, i) => byte | (~(mask[i] as number) & 0xff));
  const list = (addresses: readonly string[] | undefined) =>
    addresses !== undefined && addresses.length > 0;
  return {
    subnetMask: formatIp(4, mask),
    ...(prefixLength < 31 ? { broadcast: formatIp(4, last) } : {}),
    routers: [gateway],
    ...(list(lease.dnsServers) ? { dnsServers: lease.dnsServers } : {}),
    ...(lease.hostname === undefined ? {} : { hostname: lease.hostname }),
    ...(lease.domain === undefined ? {} : { domain: lease.domain }),
    mtu: lease.mtu,
    ...(list(lease.ntpServers) ? { ntpServers: lease.ntpServers as readonly string[] } : {}),
    ...classless(lease),
  };
}

/**
 * RFC 3442: who takes these does not look at `routers`, so the default route is among them; and first, where
 * the gateway is not in the subnet (a /32), that it is on the link.
 */
function classless({ address, prefixLength, gateway, routes = [] }: Dhcp4Lease): Dhcp4Options {
  const network = (text: string) => formatIp(4, maskBytes(parseIp(text).bytes, prefixLength));
  const outside = network(address) !== network(gateway);
  if (!outside && routes.length === 0) return {};
  const onLink = {
    prefix: formatPrefix({ family: 4, bytes: parseIp(gateway).bytes, length: 32 }),
    gateway: NO_ADDRESS,
  };
  return {
    classlessRoutes: [...(outside ? [onLink] : []), ...routes, { prefix: '0.0.0.0/0', gateway }],
  };
}
