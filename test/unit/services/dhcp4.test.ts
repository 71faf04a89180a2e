/** The DHCP codec against scapy's bytes and against itself; the server's answers, state by state of RFC 2131. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { VRouterError } from '../../../src/errors.ts';
import {
  type Dhcp4Message,
  decodeDhcp4,
  encodeDhcp4,
  MESSAGE_TYPE,
} from '../../../src/services/dhcp4-message.ts';
import type { Dhcp4Options } from '../../../src/services/dhcp4-options.ts';
import { answerDhcp4, type Dhcp4Lease } from '../../../src/services/dhcp4-server.ts';
import { parseDatagram, parseFrame } from '../../../src/services/frame.ts';

const MAC = '02:00:00:00:00:0a';
/** Ether/IP/UDP/BOOTP(chaddr, flags=0x8000, xid=0x11223344)/DHCP(options) of scapy 2.5. */
const head = (ip: string, udp: string) =>
  `ffffffffffff02000000000a0800${ip}00000000ffffffff${udp}` +
  `0101060011223344000080000000000000000000000000000000000002000000000a${'00'.repeat(202)}63825363`;
const SCAPY_DISCOVER =
  `${head('4500012900010000401179c4', '004400430115d229')}` +
  '3501013d070102000000000a37070103060c0f1a790c05706f642d61ff';
const SCAPY_REQUEST =
  `${head('4500012700010000401179c6', '00440043011380a2')}` +
  '35010336040a0100fe32040a010001390205dc3c057363617079ff';
const ofFrame = (hex: string) =>
  decodeDhcp4(parseDatagram(parseFrame(Buffer.from(hex, 'hex'))).data);

function refusal(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    if (error instanceof VRouterError && error.code === 'BAD_PACKET') return error.message;
    throw error;
  }
  return 'taken';
}

const NONE = '0.0.0.0';
function request(options: Dhcp4Options, more: Partial<Dhcp4Message> = {}): Dhcp4Message {
  const zero = { hops: 0, secs: 0, ciaddr: NONE, yiaddr: NONE, siaddr: NONE, giaddr: NONE };
  return { op: 1, xid: 7, broadcast: false, chaddr: MAC, ...zero, options, ...more };
}

describe('a DHCP message', () => {
  it('is read as scapy writes it', () => {
    expect(ofFrame(SCAPY_DISCOVER)).toMatchObject({
      op: 1,
      xid: 0x11223344,
      broadcast: true,
      chaddr: MAC,
      options: { messageType: 1, hostname: 'pod-a' },
    });
    const { clientId, parameters } = ofFrame(SCAPY_DISCOVER).options;
    expect([...(clientId ?? [])]).toEqual([1, 2, 0, 0, 0, 0, 10]);
    expect([...(parameters ?? [])]).toEqual([1, 3, 6, 12, 15, 26, 121]);
    expect(ofFrame(SCAPY_REQUEST).options).toEqual({
      messageType: 3,
      serverId: '10.1.0.254',
      requestedAddress: '10.1.0.1',
      maxMessageSize: 1500,
      vendorClass: 'scapy',
    });
  });

  it('has the bytes of RFC 3442 for classless routes', () => {
    const routes = [
      { prefix: '0.0.0.0/0', gateway: '10.0.0.1' },
      { prefix: '10.17.0.0/16', gateway: '10.0.0.2' },
      { prefix: '10.229.0.128/25', gateway: '10.0.0.3' },
      { prefix: '10.198.122.47/32', gateway: '0.0.0.0' },
    ];
    const bytes = encodeDhcp4(request({ messageType: 5, classlessRoutes: routes }));
    const option = Buffer.from(bytes).subarray(243, 243 + 2 + 5 + 7 + 9 + 9);
    expect(option.toString('hex')).toBe(
      '791e000a000001100a110a000002190ae500800a000003200ac67a2f00000000',
    );
    expect(decodeDhcp4(bytes).options.classlessRoutes).toEqual(routes);
  });

  it('with options in file and sname, and an option in two parts', () => {
    const bytes = Buffer.from(encodeDhcp4(request({ messageType: 1, overload: 3 })));
    Buffer.from([12, 3, ...Buffer.from('pod'), 255]).copy(bytes, 108);
    Buffer.from([12, 2, ...Buffer.from('-b'), 50, 4, 10, 1, 0, 9, 255]).copy(bytes, 44);
    expect(decodeDhcp4(bytes).options).toMatchObject({
      hostname: 'pod-b',
      requestedAddress: '10.1.0.9',
    });
  });

  it('comes back as it was', () => {
    const ip = fc.ipV4();
    const u32 = fc.nat(0xffffffff);
    const some = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: undefined });
    const text = fc
      .array(fc.integer({ min: 33, max: 126 }), { minLength: 1, maxLength: 300 })
      .map((codes) => String.fromCharCode(...codes));
    const ips = fc.array(ip, { minLength: 1, maxLength: 80 });
    const message = fc.record({
      op: fc.constantFrom(1, 2),
      hops: fc.nat(255),
      xid: u32,
      secs: fc.nat(0xffff),
      broadcast: fc.boolean(),
      ciaddr: ip,
      yiaddr: ip,
      siaddr: ip,
      giaddr: ip,
      chaddr: fc.constant(MAC),
      options: fc
        .record({
          messageType: fc.integer({ min: 0, max: 255 }),
          subnetMask: some(ip),
          routers: some(ips),
          hostname: some(text),
          mtu: some(fc.nat(0xffff)),
          leaseSeconds: some(u32),
          clientId: some(
            fc.uint8Array({ minLength: 1, maxLength: 600 }).map((b) => Uint8Array.from(b)),
          ),
        })
        .map((given) =>
          Object.fromEntries(Object.entries(given).filter(([, v]) => v !== undefined)),
        ),
    });
    fc.assert(
      fc.property(message, (m) => {
        const bytes = encodeDhcp4(m as Dhcp4Message, 65_000);
        expect(bytes.length).toBeGreaterThanOrEqual(300);
        const back = decodeDhcp4(bytes);
        const plain = (options: Dhcp4Options) =>
          options.clientId === undefined
            ? options
            : { ...options, clientId: [...options.clientId] };
        expect({ ...back, options: plain(back.options) }).toEqual({
          ...m,
          options: plain(m.options as Dhcp4Options),
        });
      }),
    );
  });

  it('of damaged or random bytes is read or refused, nothing else', () => {
    const good = Buffer.from(SCAPY_REQUEST, 'hex').subarray(42);
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat(good.length - 1), fc.nat(255)), { minLength: 1, maxLength: 8 }),
        fc.nat(good.length),
        (changes, length) => {
          const bytes = Uint8Array.from(good);
          for (const [at, value] of changes) bytes[at] = value;
          refusal(() => decodeDhcp4(bytes.subarray(0, length)));
        },
      ),
      { numRuns: 5000 },
    );
  });

  it.each([
    ['short', (b: Buffer) => b.subarray(0, 239), '239 bytes'],
    ['no cookie', (b: Buffer) => b.fill(0, 236, 240), 'BOOTP'],
    ['another hardware', (b: Buffer) => b.fill(6, 1, 2), 'hardware type'],
    ['an op that is none', (b: Buffer) => b.fill(3, 0, 1), 'op 3'],
    ['an option that is cut', (b: Buffer) => b.subarray(0, 244), 'cut off'],
    ['an address of three bytes', (b: Buffer) => b.fill(3, 244, 245).fill(0, 248, 249), 'serverId'],
    ['no message type', (b: Buffer) => b.fill(0, 240, 243), 'no message type'],
  ])('is refused whole: %s', (_, damage, why) => {
    const good = Buffer.from(SCAPY_REQUEST, 'hex').subarray(42);
    expect(refusal(() => decodeDhcp4(damage(Buffer.from(good))))).toContain(why);
  });

  it('is no longer than its reader takes: what comes last is left out', () => {
    const options = { messageType: 2, leaseSeconds: 60, domain: 'd'.repeat(200), mtu: 1450 };
    const bytes = encodeDhcp4(request(options), 300);
    expect(bytes.length).toBe(300);
    expect(decodeDhcp4(bytes).options).toEqual({ messageType: 2, leaseSeconds: 60, mtu: 1450 });
  });
});

describe('the DHCP server', () => {
  const lease: Dhcp4Lease = {
    mac: MAC,
    address: '10.1.0.1',
    prefixLength: 24,
    gateway: '10.1.0.254',
    leaseSeconds: 3600,
    mtu: 1450,
    dnsServers: ['10.1.0.254'],
    hostname: 'web-1',
    domain: 'pods.example',
  };
  const { discover, request: ask, inform, release, decline } = MESSAGE_TYPE;
  const selecting = { messageType: ask, serverId: lease.gateway, requestedAddress: lease.address };

  it('offers the one address there is, with all a tenant should know', () => {
    const answer = answerDhcp4(
      request({ messageType: discover, requestedAddress: '10.1.0.77' }),
      lease,
    );
    expect(answer).toMatchObject({
      kind: 'offer',
      to: '10.1.0.1',
      toMac: MAC,
      message: {
        op: 2,
        xid: 7,
        yiaddr: '10.1.0.1',
        chaddr: MAC,
        options: {
          messageType: 2,
          serverId: '10.1.0.254',
          subnetMask: '255.255.255.0',
          broadcast: '10.1.0.255',
          routers: ['10.1.0.254'],
          dnsServers: ['10.1.0.254'],
          mtu: 1450,
          hostname: 'web-1',
          domain: 'pods.example',
          leaseSeconds: 3600,
          renewalSeconds: 1800,
          rebindingSeconds: 3150,
        },
      },
    });
    expect(JSON.stringify(answer)).not.toContain('classlessRoutes');
  });

  it('says what was asked for, in the order asked, and nothing else but what must be said', () => {
    const parameters = Uint8Array.of(15, 1, 99, 15, 3);
    const answer = answerDhcp4(request({ messageType: discover, parameters }), lease);
    if (answer.kind !== 'offer') throw new Error(answer.kind);
    expect(Object.keys(answer.message.options)).toEqual([
      'messageType',
      'serverId',
      'leaseSeconds',
      'renewalSeconds',
      'rebindingSeconds',
      'domain',
      'subnetMask',
      'routers',
    ]);
  });

  it('tells a tenant with a /32 how its gateway is reached', () => {
    const alone = {
      ...lease,
      prefixLength: 32,
      routes: [{ prefix: '10.9.0.0/16', gateway: '10.1.0.254' }],
    };
    const answer = answerDhcp4(request({ messageType: discover }), alone);
    if (answer.kind !== 'offer') throw new Error(answer.kind);
    expect(answer.message.options).toMatchObject({
      subnetMask: '255.255.255.255',
      classlessRoutes: [
        { prefix: '10.1.0.254/32', gateway: '0.0.0.0' },
        { prefix: '10.9.0.0/16', gateway: '10.1.0.254' },
        { prefix: '0.0.0.0/0', gateway: '10.1.0.254' },
      ],
    });
    expect(answer.message.options.broadcast).toBeUndefined();
  });

  const table: readonly [string, Dhcp4Options, Partial<Dhcp4Message>, object][] = [
    ['selecting', selecting, {}, { kind: 'ack', to: '10.1.0.1' }],
    [
      'selecting, broadcast',
      selecting,
      { broadcast: true },
      { kind: 'ack', to: '255.255.255.255' },
    ],
    [
      'selecting another address',
      { ...selecting, requestedAddress: '10.1.0.2' },
      {},
      { kind: 'nak' },
    ],
    [
      'selecting another server',
      { ...selecting, serverId: '10.1.0.9' },
      {},
      { kind: 'ignored', why: 'other_server' },
    ],
    ['INIT-REBOOT', { messageType: ask, requestedAddress: '10.1.0.1' }, {}, { kind: 'ack' }],
    [
      'INIT-REBOOT, moved',
      { messageType: ask, requestedAddress: '10.2.0.1' },
      {},
      { kind: 'nak', to: '255.255.255.255', toMac: 'ff:ff:ff:ff:ff:ff' },
    ],
    ['renewing', { messageType: ask }, { ciaddr: '10.1.0.1' }, { kind: 'ack', to: '10.1.0.1' }],
    ['renewing what is gone', { messageType: ask }, { ciaddr: '10.1.0.2' }, { kind: 'nak' }],
    ['asking for nothing', { messageType: ask }, {}, { kind: 'nak' }],
    [
      'informing',
      { messageType: inform },
      { ciaddr: '10.1.0.1' },
      { kind: 'ack', to: '10.1.0.1', message: { yiaddr: NONE } },
    ],
    [
      'releasing',
      { messageType: release, serverId: lease.gateway },
      { ciaddr: '10.1.0.1' },
      { kind: 'noted', what: 'release' },
    ],
    [
      'declining',
      { messageType: decline, serverId: lease.gateway },
      {},
      { kind: 'noted', what: 'decline' },
    ],
    [
      'another client',
      { messageType: discover },
      { chaddr: '02:00:00:00:00:0b' },
      { kind: 'ignored', why: 'other_client' },
    ],
    [
      'a relay',
      { messageType: discover },
      { giaddr: '10.1.0.7' },
      { kind: 'ignored', why: 'relayed' },
    ],
    ['a server', { messageType: discover }, { op: 2 }, { kind: 'ignored', why: 'not_a_request' }],
    ['an offer', { messageType: 2 }, {}, { kind: 'ignored', why: 'not_a_request' }],
  ];
  it.each(table)('%s', (_, options, more, expected) => {
    expect(answerDhcp4(request(options, more), lease)).toMatchObject(expected);
  });

  it('informs without a lease', () => {
    const answer = answerDhcp4(request({ messageType: inform }, { ciaddr: '10.1.0.1' }), lease);
    if (answer.kind !== 'ack') throw new Error(answer.kind);
    expect(Object.keys(answer.message.options)).not.toContain('leaseSeconds');
  });

  it('a NAK says nothing but no', () => {
    const answer = answerDhcp4(request({ messageType: ask }, { broadcast: true }), lease);
    if (answer.kind !== 'nak') throw new Error(answer.kind);
    expect(Object.keys(answer.message.options)).toEqual(['messageType', 'serverId', 'message']);
    expect(answer.message.yiaddr).toBe(NONE);
  });
});
