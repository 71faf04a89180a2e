/** Router advertisements and DHCPv6: bytes of scapy's, themselves again, and the rules of RFC 4861 and 8415. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { VRouterError } from '../../../src/errors.ts';
import {
  type Dhcp6Message,
  decodeDhcp6,
  encodeDhcp6,
  type Ia,
  MESSAGE6,
} from '../../../src/services/dhcp6-message.ts';
import { answerDhcp6, SERVER_DUID } from '../../../src/services/dhcp6-server.ts';
import { decodeName, encodeName } from '../../../src/services/domain-name.ts';
import { buildFrame, parseFrame } from '../../../src/services/frame.ts';
import { RouterService } from '../../../src/services/router-service.ts';
import type { Tenant } from '../../../src/services/service.ts';

function refusal(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    if (error instanceof VRouterError && error.code === 'BAD_PACKET') return error.message;
    throw error;
  }
  return 'taken';
}

const MAC = '02:00:00:00:00:0a';
/** IPv6()/ICMPv6ND_RA()/SrcLLAddr/MTU/PrefixInfo/RDNSS/DNSSL of scapy 2.5, with the fields below. */
const SCAPY_RA =
  '33330000000100005e00010086dd6000000000703afffe8000000000000002005efffe000100ff02000000000000000000' +
  '00000000018600629040c007080000000000000000010100005e000100050100000000059603044040ffffffffffffffff' +
  '00000000fd0000010000000000000000000000001903000000000708fd0000000000000000000000000000531f03000000' +
  '00070804706f6473076578616d706c65000000';

function tenant(vif: number, more: Partial<Tenant> = {}): Tenant {
  return {
    vif,
    name: `pod-${vif}`,
    mac: MAC,
    vrf: 'pods',
    ipv4: undefined,
    ipv6: 'fd00:1::ff:fe00:a',
    gateway4: undefined,
    gateway6: 'fd00::1',
    mtu: 1500,
    hostname: undefined,
    ...more,
  };
}

describe('the router of an IPv6 link', () => {
  function router(tenants: readonly Tenant[] = []) {
    const sent: [number, Uint8Array][] = [];
    let tick = () => {};
    const service = new RouterService(
      {
        lifetimeSeconds: 1800,
        managed: true,
        mtu: 1430,
        subnets: ['10.0.0.0/8', 'fd00:1::/64'],
        dnsServers: ['fd00::53'],
        domain: 'pods.example',
      },
      {
        send: (vif, frame) => sent.push([vif, frame]) > 0,
        tenants: () => tenants,
        every: (_, run) => {
          tick = run;
          return () => {};
        },
      },
    );
    return { service, sent, tick: () => tick() };
  }
  const solicitation = (more: Uint8Array = new Uint8Array(), source = 'fe80::9', hopLimit = 255) =>
    parseFrame(
      buildFrame(
        {
          sourceMac: MAC,
          destinationMac: '33:33:00:00:00:02',
          source,
          destination: 'ff02::2',
          hopLimit,
        },
        58,
        Uint8Array.of(133, 0, 0, 0, 0, 0, 0, 0, ...more),
        2,
      ),
    );

  it('advertises byte by byte as scapy does', () => {
    const frame = router().service.frame(tenant(3), 'ff02::1', '');
    expect(Buffer.from(frame ?? []).toString('hex')).toBe(SCAPY_RA);
  });

  it('answers who asks, and all when nobody in particular asks', () => {
    const { service, sent } = router();
    expect(service.take(solicitation(), tenant(3))).toBe(true);
    expect(service.take(solicitation(undefined, '::'), tenant(4))).toBe(true);
    const heard = sent.map(([vif, frame]) => ({ vif, ...parseFrame(frame) }));
    expect(heard).toMatchObject([
      {
        vif: 3,
        destination: 'fe80::9',
        destinationMac: MAC,
        source: 'fe80::200:5eff:fe00:100',
        hopLimit: 255,
      },
      { vif: 4, destination: 'ff02::1', destinationMac: '33:33:00:00:00:01' },
    ]);
    expect(service.take(solicitation(), tenant(5, { gateway6: undefined }))).toBe(true);
    expect(service.counters).toMatchObject({ solicited: 2, unserved: 1 });
    const other = { ...solicitation(), payload: Uint8Array.of(128, 0, 0, 0) };
    expect(service.take(other, tenant(3))).toBe(false);
  });

  it.each([
    ['from afar', () => solicitation(undefined, 'fe80::9', 254), 'hop limit'],
    ['an option of no length', () => solicitation(Uint8Array.of(1, 0, 0, 0, 0, 0, 0, 0)), 'option'],
    ['an option that is cut', () => solicitation(Uint8Array.of(1, 2, 0, 0, 0, 0, 0, 0)), 'option'],
    [
      'of a MAC but nobody',
      () => solicitation(Uint8Array.of(1, 1, 0, 0, 0, 0, 0, 0), '::'),
      'nobody',
    ],
  ])('does not answer what is %s', (_, packet, why) => {
    const { service, sent } = router();
    expect(refusal(() => service.take(packet(), tenant(3)))).toContain(why);
    expect(sent).toEqual([]);
  });

  it('lets only a tenant whose address it is make one of its MAC', () => {
    const { service } = router();
    const lengths = [tenant(3), tenant(3, { ipv6: 'fd00:1::5' })].map(
      (one) => service.frame(one, 'ff02::1', '')?.length,
    );
    expect(lengths[0]! - lengths[1]!).toBe(32);
  });

  it('advertises to each tenant in turn, three times in a lifetime', () => {
    const tenants = Array.from({ length: 100 }, (_, i) => tenant(i + 3));
    const { sent, tick } = router(tenants);
    for (let second = 0; second < 600; second++) tick();
    const counts = new Map<number, number>();
    for (const [vif] of sent) counts.set(vif, (counts.get(vif) ?? 0) + 1);
    expect(sent.length).toBeGreaterThanOrEqual(99);
    expect(sent.length).toBeLessThanOrEqual(100);
    expect(Math.max(...counts.values())).toBe(1);
  });
});

/** DHCP6_Solicit / DHCP6_Renew of scapy 2.5, client DUID-LL of MAC, IA_NA 7. */
const SCAPY_SOLICIT =
  '011234560001000a0003000102000000000a00080002000000060004001700180003000c000000070000000000000000';
const SCAPY_RENEW =
  '050000010001000a0003000102000000000a0002000a0003000100005e000100000300280000000700000000000000000' +
  '0050018fd0000000000000000000000000000090000000100000002';

describe('a DHCPv6 message', () => {
  it('is read as scapy writes it', () => {
    const solicit = decodeDhcp6(Buffer.from(SCAPY_SOLICIT, 'hex'));
    expect(solicit).toMatchObject({
      type: 1,
      transaction: 0x123456,
      requested: [23, 24],
      ias: [{ kind: 'na', id: 7, addresses: [] }],
    });
    expect(Buffer.from(solicit.clientId!).toString('hex')).toBe('0003000102000000000a');
    const renew = decodeDhcp6(Buffer.from(SCAPY_RENEW, 'hex'));
    expect(Buffer.from(renew.serverId!)).toEqual(Buffer.from(SERVER_DUID));
    expect(renew.ias).toEqual([
      {
        kind: 'na',
        id: 7,
        t1: 0,
        t2: 0,
        addresses: [{ address: 'fd00::9', preferred: 1, valid: 2 }],
      },
    ]);
    expect(Buffer.from(encodeDhcp6(renew)).toString('hex')).toBe(SCAPY_RENEW);
  });

  it('comes back as it was', () => {
    const u32 = fc.nat(0xffffffff);
    const address = fc.record({
      address: fc.nat(0xffff).map((n) => (n === 0 ? 'fd00::' : `fd00::${n.toString(16)}`)),
      preferred: u32,
      valid: u32,
    });
    const ia = fc.record({
      kind: fc.constantFrom('na' as const, 'pd' as const),
      id: u32,
      t1: u32,
      t2: u32,
      addresses: fc.array(address, { maxLength: 4 }),
    });
    const message = fc.record({
      type: fc.integer({ min: 1, max: 11 }),
      transaction: fc.nat(0xffffff),
      clientId: fc.uint8Array({ minLength: 3, maxLength: 130 }),
      ias: fc.array(ia, { maxLength: 16 }),
      requested: fc.array(fc.nat(0xffff), { maxLength: 8 }),
    });
    fc.assert(
      fc.property(message, (m) => {
        const back = decodeDhcp6(encodeDhcp6(m));
        expect({ ...back, clientId: [...back.clientId!] }).toEqual({
          ...m,
          clientId: [...m.clientId],
        });
      }),
    );
  });

  it('of damaged bytes is read or refused, nothing else', () => {
    const good = Buffer.from(SCAPY_RENEW, 'hex');
    const change = fc.tuple(fc.nat(good.length - 1), fc.nat(255));
    fc.assert(
      fc.property(fc.array(change, { maxLength: 6 }), fc.nat(good.length), (changes, length) => {
        const bytes = Uint8Array.from(good);
        for (const [at, value] of changes) bytes[at] = value;
        refusal(() => decodeDhcp6(bytes.subarray(0, length)));
      }),
      { numRuns: 5000 },
    );
  });

  it.each([
    ['an option that is cut', '010000010001000a0003', 'cut off'],
    ['a short IA', '01000001000300080000000000000000', 'option 3'],
    ['two clients', `01000001${'0001000300010a'.repeat(2)}`, 'twice'],
    ['a DUID of two bytes', '01000001000100020001', 'option 1'],
    ['17 IAs', `01000001${'0003000c000000010000000000000000'.repeat(17)}`, '17 IAs'],
    ['nothing', '0100', '2 bytes'],
  ])('is refused whole: %s', (_, hex, why) => {
    expect(refusal(() => decodeDhcp6(Buffer.from(hex, 'hex')))).toContain(why);
  });
});

describe('the DHCPv6 server', () => {
  const lease = {
    address: 'fd00::9',
    leaseSeconds: 1000,
    dnsServers: ['fd00::53'],
    domain: 'x.example',
  };
  const clientId = Uint8Array.of(0, 3, 0, 1, 2);
  const ia = (more: Partial<Ia> = {}): Ia => ({
    kind: 'na',
    id: 7,
    t1: 0,
    t2: 0,
    addresses: [],
    ...more,
  });
  const ask = (type: keyof typeof MESSAGE6, more: Partial<Dhcp6Message> = {}) =>
    answerDhcp6({ type: MESSAGE6[type], transaction: 5, clientId, ias: [ia()], ...more }, lease);
  const named = { serverId: SERVER_DUID };
  const own = { address: 'fd00::9', preferred: 1000, valid: 1000 };

  it('offers, and gives at once when that is asked for', () => {
    expect(ask('solicit')).toMatchObject({
      kind: 'advertise',
      message: {
        type: 2,
        transaction: 5,
        preference: 255,
        ias: [{ id: 7, t1: 500, t2: 800, addresses: [own] }],
        dnsServers: ['fd00::53'],
        domain: 'x.example',
      },
    });
    const rapid = ask('solicit', { rapidCommit: true, requested: [23] });
    expect(rapid).toMatchObject({ kind: 'reply', message: { type: 7, rapidCommit: true } });
    expect(rapid).not.toMatchObject({ message: { domain: 'x.example' } });
  });

  const confirmed = (address: string) => ({ ias: [ia({ addresses: [{ ...own, address }] })] });
  const table: readonly [string, ReturnType<typeof ask>, object][] = [
    ['request', ask('request', named), { kind: 'reply', message: { ias: [{ addresses: [own] }] } }],
    ['rebind', ask('rebind'), { kind: 'reply', message: { ias: [{ addresses: [own] }] } }],
    [
      'renew of another address',
      ask('renew', { ...named, ...confirmed('fd00::5') }),
      { message: { ias: [{ addresses: [own, { address: 'fd00::5', preferred: 0, valid: 0 }] }] } },
    ],
    ['confirm', ask('confirm', confirmed('fd00::9')), { message: { status: 0, ias: [] } }],
    ['confirm of another', ask('confirm', confirmed('fd00::5')), { message: { status: 4 } }],
    ['confirm of nothing', ask('confirm'), { kind: 'ignored' }],
    ['release', ask('release', named), { message: { status: 0 } }],
    ['decline', ask('decline', named), { message: { status: 0 } }],
    [
      'information',
      ask('informationRequest', { ias: [] }),
      { message: { ias: [], dnsServers: ['fd00::53'] } },
    ],
    ['information with an IA', ask('informationRequest'), { kind: 'ignored' }],
    [
      'a second IA',
      ask('request', { ...named, ias: [ia(), ia({ id: 8 })] }),
      { message: { ias: [{ id: 7 }, { id: 8, addresses: [], status: 2 }] } },
    ],
    [
      'a prefix',
      ask('solicit', { ias: [ia({ kind: 'pd' }), ia()] }),
      { message: { ias: [{ kind: 'pd', status: 6 }, { addresses: [own] }] } },
    ],
    ['request without a server', ask('request'), { kind: 'ignored', why: 'no_server_id' }],
    [
      'request to another',
      ask('request', { serverId: clientId }),
      { kind: 'ignored', why: 'other_server' },
    ],
    ['solicit to a server', ask('solicit', named), { kind: 'ignored', why: 'other_server' }],
    ['an answer', ask('reply'), { kind: 'ignored', why: 'not_a_request' }],
  ];
  it.each(table)('%s', (_, answer, expected) => expect(answer).toMatchObject(expected));

  it('does not answer a client without an identifier', () => {
    const nobody = { type: MESSAGE6.solicit, transaction: 1, ias: [] };
    expect(answerDhcp6(nobody, lease)).toEqual({ kind: 'ignored', why: 'no_client_id' });
  });
});

describe('a domain name', () => {
  it('comes back as it was, in lower case', () => {
    const label = fc.stringMatching(/^[A-Za-z0-9-]{1,63}$/);
    fc.assert(
      fc.property(fc.array(label, { maxLength: 3 }), (labels) => {
        const bytes = encodeName(labels.join('.'));
        const end = bytes.length;
        expect(decodeName(bytes, 0)).toEqual({ name: labels.join('.').toLowerCase(), end });
      }),
    );
  });

  it('with pointers is read, and always ends', () => {
    const message = Buffer.from('076578616d706c6500036e7331c000', 'hex');
    expect(decodeName(message, 9)).toEqual({ name: 'ns1.example', end: 15 });
    expect(refusal(() => decodeName(Buffer.from('c000', 'hex'), 0))).toContain('does not end');
    expect(refusal(() => decodeName(Buffer.from('0161c000', 'hex'), 2))).toContain('does not end');
    expect(refusal(() => decodeName(Buffer.from('05616263', 'hex'), 0))).toContain('cut off');
    expect(refusal(() => decodeName(Buffer.from('40', 'hex'), 0))).toContain('label');
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), fc.nat(299), (bytes, at) => {
        refusal(() => decodeName(bytes, at));
      }),
      { numRuns: 3000 },
    );
  });
});
