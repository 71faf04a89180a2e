/**
 * A DNS proxy on tenants' gateways: what is asked of the gateway's address is asked of the resolvers, and
 * names of tenants are answered here, to tenants of the same network.
 *
 * Invariants
 *  * At most MAX_PENDING questions are under way, MAX_PENDING_PER_TENANT of one tenant: a tenant whose names
 *    nobody answers does not take the others' room. What is more is not answered; who asked asks again.
 *  * An answer goes out of the vif the question came in on; the id of one that has gone meanwhile rests for
 *    longer than a question is under way (agent/ids.ts).
 */
import { MAC_GATEWAY } from '../addr/mac.ts';
import {
  DNS_CLASS_IN,
  DNS_TYPE,
  type DnsMessage,
  type DnsRecord,
  decodeDns,
  ownAnswer,
  RCODE,
  reverseName,
  truncated,
} from './dns-message.ts';
import type { Upstream } from './dns-upstream.ts';
import { buildDatagram, type Datagram, type Packet, PROTOCOL, parseDatagram } from './frame.ts';
import type { Send, Service, Tenant } from './service.ts';

const PORT = 53;
export const MAX_PENDING = 1024;
export const MAX_PENDING_PER_TENANT = 64;
/** Names of tenants are gathered again after so long, and known no longer to who was told. */
const NAMES_MS = 1000;
const OWN_TTL_SECONDS = 30;
const UDP_IP_HEADERS = { 4: 28, 6: 48 } as const;

export interface DnsOptions {
  readonly send: Send;
  readonly upstream: Upstream;
  readonly tenants: () => readonly Tenant[];
  /** Milliseconds, of any clock that does not go back. */
  readonly now: () => number;
  /** Undefined: no names of tenants. */
  readonly domain: string | undefined;
}

export class DnsService implements Service {
  readonly counters = {
    forwarded: 0,
    answered: 0,
    local: 0,
    failed: 0,
    refused: 0,
    overflow: 0,
    unsent: 0,
  };
  readonly #options: DnsOptions;
  readonly #domain: string | undefined;
  readonly #pending = new Map<number, number>();
  #allPending = 0;
  #names = new Map<string, Tenant>();
  #namesAt = Number.NEGATIVE_INFINITY;

  constructor(options: DnsOptions) {
    this.#options = options;
    this.#domain = options.domain?.toLowerCase();
  }

  take(packet: Packet, tenant: Tenant): boolean {
    if (packet.protocol !== PROTOCOL.udp) return false;
    const asked = parseDatagram(packet);
    if (asked.destinationPort !== PORT) return false;
    const message = decodeDns(asked.data);
    if (message.isResponse) return true; // nothing was asked of a tenant
    if (message.opcode !== 0 || message.question === undefined) {
      this.counters.refused++;
      const rcode = message.opcode === 0 ? RCODE.formErr : RCODE.notImp;
      this.#reply(asked, tenant, ownAnswer(message, rcode));
      return true;
    }
    const own = this.#own(message, tenant);
    if (own === undefined) this.#forward(asked, message, tenant);
    else {
      this.counters.local++;
      this.#reply(asked, tenant, ownAnswer(message, RCODE.ok, own, OWN_TTL_SECONDS));
    }
    return true;
  }

  close(): void {
    this.#options.upstream.close();
  }

  /** Records, also none of that type; undefined: not a name of ours. */
  #own({ question }: DnsMessage, { vrf }: Tenant): DnsRecord[] | undefined {
    if (this.#domain === undefined || question?.class !== DNS_CLASS_IN) return undefined;
    const named = this.#known().get(`${vrf} ${question.name}`);
    if (named === undefined) return undefined;
    const { ipv4, ipv6, hostname } = named;
    if (question.name.endsWith('.arpa')) {
      if (question.type !== DNS_TYPE.ptr) return [];
      return [{ type: 'name', name: `${hostname?.toLowerCase()}.${this.#domain}` }];
    }
    const address =
      question.type === DNS_TYPE.a ? ipv4 : question.type === DNS_TYPE.aaaa ? ipv6 : undefined;
    return address === undefined ? [] : [{ type: 'address', address }];
  }

  /** Names of tenants, forward and back, by network. The first of two of one name has it. */
  #known(): ReadonlyMap<string, Tenant> {
    const now = this.#options.now();
    if (now - this.#namesAt < NAMES_MS) return this.#names;
    this.#namesAt = now;
    this.#names = new Map();
    for (const tenant of this.#options.tenants()) {
      const { vrf, hostname, ipv4, ipv6 } = tenant;
      if (hostname === undefined) continue;
      const names = [`${hostname.toLowerCase()}.${this.#domain}`];
      for (const address of [ipv4, ipv6])
        if (address !== undefined) names.push(reverseName(address));
      for (const name of names) {
        const key = `${vrf} ${name}`;
        if (!this.#names.has(key)) this.#names.set(key, tenant);
      }
    }
    return this.#names;
  }

  #forward(asked: Datagram, message: DnsMessage, tenant: Tenant): void {
    const ofTenant = this.#pending.get(tenant.vif) ?? 0;
    if (this.#allPending >= MAX_PENDING || ofTenant >= MAX_PENDING_PER_TENANT) {
      this.counters.overflow++;
      return;
    }
    this.counters.forwarded++;
    this.#allPending++;
    this.#pending.set(tenant.vif, ofTenant + 1);
    // The frame is in a buffer that the next one comes into.
    const data = Uint8Array.from(asked.data);
    const kept: DnsMessage = {
      ...message,
      questionBytes: Uint8Array.from(message.questionBytes),
    };
    const question = { ...asked, data };
    void this.#options.upstream
      .ask(data, kept)
      .catch(() => undefined)
      .then((answer) => {
        this.#allPending--;
        const left = (this.#pending.get(tenant.vif) ?? 1) - 1;
        if (left === 0) this.#pending.delete(tenant.vif);
        else this.#pending.set(tenant.vif, left);
        this.counters[answer === undefined ? 'failed' : 'answered']++;
        this.#reply(question, tenant, answer ?? ownAnswer(kept, RCODE.servFail));
      });
  }

  #reply(asked: Datagram, tenant: Tenant, answer: Uint8Array): void {
    const most = tenant.mtu - UDP_IP_HEADERS[asked.family];
    const data = answer.length <= most ? answer : truncated(answer, decodeDns(answer));
    const frame = buildDatagram(
      {
        sourceMac: MAC_GATEWAY,
        destinationMac: tenant.mac,
        source: asked.destination,
        destination: asked.source,
        sourcePort: PORT,
        destinationPort: asked.sourcePort,
      },
      data,
    );
    if (!this.#options.send(tenant.vif, frame)) this.counters.unsent++;
  }
}
