import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Client, findSocket } from '../../../src/cli/client.ts';
import { flowMatches, flowMatchText, parseFlowMatch } from '../../../src/cli/flow-match.ts';
import { buildFrame } from '../../../src/cli/frame.ts';
import { frameLine, frameOfHex } from '../../../src/cli/frame-text.ts';
import type { Io } from '../../../src/cli/io.ts';
import { run } from '../../../src/cli/main.ts';
import { decodeAnswer, decodeRequest } from '../../../src/cli/protocol.ts';
import { VERSION } from '../../../src/cli/version.ts';
import { LineFramer } from '../../../src/codec/line-framer.ts';
import { SCHEMA_NAMES } from '../../../src/config/json-schema.ts';
import { ParseError } from '../../../src/errors.ts';
import { FORWARDER_FLAGS } from '../../../src/program/forwarder-main.ts';

async function vrouter(...argv: string[]) {
  let out = '';
  let err = '';
  const io: Io = {
    out: (text) => {
      out += text;
    },
    err: (text) => {
      err += text;
    },
    env: {},
    fail: () => {},
  };
  const status = await run(argv, io);
  return { status, out, err };
}

let work: string;
beforeAll(() => {
  work = mkdtempSync(join(tmpdir(), 'vrouter-cli-'));
});
afterAll(() => rmSync(work, { recursive: true, force: true }));

describe('vrouter', () => {
  const commands = [
    'replay',
    'explain',
    'node',
    'control',
    'vif',
    'nh',
    'rt',
    'mpls',
    'vxlan',
    'flow',
    'dropstats',
    'vrfstats',
    'services',
    'status',
    'capture',
    'schema',
  ];

  it('forwarder takes each option that an agent starts one with', async () => {
    const { out } = await vrouter('forwarder', '--help');
    for (const [flag, key] of Object.entries(FORWARDER_FLAGS)) {
      const takes = key === 'kernelTier' ? ' {2,}' : ' <';
      expect(out).toMatch(new RegExp(`^ {2}--${flag}${takes}`, 'm'));
    }
  });

  it.each(commands)('%s --help says what it is, its options and an example', async (command) => {
    const { status, out } = await vrouter(command, '--help');
    expect(status).toBe(0);
    expect(out).toContain(`Usage: vrouter ${command} `);
    expect(out).toMatch(/\nExamples?:\n {2}vrouter /);
    // Every option has its words.
    for (const line of out.split('\n').filter((text) => /^ {2}-/.test(text))) {
      expect(line, command).toMatch(/^ {2}\S.*? {2,}\S|^ {2}-\S+ <\S+>$|^ {2}--\S+ <\S+>$/);
    }
  });

  it('lists every command in its help', async () => {
    const { status, out } = await vrouter('--help');
    expect(status).toBe(0);
    for (const command of [...commands, 'demo', 'help']) {
      expect(out).toMatch(new RegExp(`^ {2}${command}\\b`, 'm'));
    }
    expect((await vrouter()).out).toBe(out);
    expect((await vrouter('help', 'flow')).out).toBe((await vrouter('flow', '--help')).out);
  });

  it('has the version of the package', async () => {
    const file = new URL('../../../package.json', import.meta.url);
    expect(VERSION).toBe(JSON.parse(readFileSync(file, 'utf8')).version);
    expect((await vrouter('--version')).out).toBe(`${VERSION}\n`);
  });

  it('refuses an unknown command with the nearest one', async () => {
    const { status, err } = await vrouter('repaly');
    expect(status).toBe(1);
    expect(err).toContain("unknown command 'repaly'");
    expect(err).toContain('Did you mean replay?');
  });

  it.each([
    [['nh', '--lst'], "unknown option '--lst'", 'Did you mean --list?'],
    [['flow', '--mach', 'x'], "unknown option '--mach'", 'Did you mean --match?'],
    [
      ['rt', '--dump', '2', '--family', 'inet5'],
      'inet5',
      'Allowed choices are inet, inet6, bridge',
    ],
    [['vif', '--get', 'eight'], 'eight', 'A whole number from 0'],
    [['vif', '--list', 'more'], 'too many arguments', ''],
    [['replay', '--state', 'x'], '--in', 'not specified'],
  ])('refuses %s by name', async (argv, what, hint) => {
    const { status, err } = await vrouter(...argv);
    expect(status).toBe(1);
    expect(err).toContain(what);
    expect(err).toContain(hint);
  });

  it('wants exactly one thing to be asked', async () => {
    const sock = ['--sock', join(work, 'none')];
    expect((await vrouter('vif', ...sock)).err).toContain('one of these is needed: --list, --get');
    expect((await vrouter('vif', '--list', '--get', '0', ...sock)).err).toContain(
      'exclude each other',
    );
    expect((await vrouter('flow', '-l', '--show-evicted', ...sock)).err).toContain(
      '--show-evicted',
    );
  });

  it('prints schemas, and refuses to guess which', async () => {
    for (const name of SCHEMA_NAMES) {
      const { out } = await vrouter('schema', name);
      expect(JSON.parse(out)).toMatchObject({ type: 'object', additionalProperties: false });
    }
    const { err } = await vrouter('schema', 'stat');
    expect(err).toBe('vrouter: schema: unknown file "stat" (did you mean "state"?)\n');
  });
});

describe('flow --match', () => {
  const flow = {
    source: '10.0.0.1',
    sourcePort: 1000,
    destination: '10.0.0.2',
    destinationPort: 80,
    protocol: 6,
    vrf: 2,
  };
  const matches = (text: string) => flowMatches(parseFlowMatch(text), flow);

  it('matches either end, both in either order, VRF and protocol', () => {
    for (const text of [
      '10.0.0.1',
      '10.0.0.2:80',
      '10.0.0.1:*',
      '*:80',
      '10.0.0.2:80,10.0.0.1:1000',
      '10.0.0.1,10.0.0.2',
      '10.0.0.1 & vrf 2 & proto tcp',
      'proto tcp',
      'vrf 2',
    ]) {
      expect(matches(text), text).toBe(true);
    }
    for (const text of [
      '10.0.0.3',
      '10.0.0.1:80',
      '10.0.0.1,10.0.0.1',
      '10.0.0.1 & vrf 3',
      'proto udp',
      '*:1000,*:1000',
    ]) {
      expect(matches(text), text).toBe(false);
    }
  });

  it('takes IPv6 in brackets or bare', () => {
    expect(parseFlowMatch('[fd00::1]:80').ends).toEqual([{ address: 'fd00::1', port: 80 }]);
    expect(parseFlowMatch('FD00::0:1').ends).toEqual([{ address: 'fd00::1', port: null }]);
  });

  it('refuses the rest', () => {
    for (const text of [
      '10.0.0',
      'vrf x',
      'vrf 70000',
      'proto gre',
      '10.0.0.1:70000',
      '1.1.1.1,2.2.2.2,3.3.3.3',
      '1.1.1.1 & 2.2.2.2',
      'vrf 1 2',
      'x'.repeat(600),
      '[fd00::1',
    ]) {
      expect(() => parseFlowMatch(text), text).toThrow(ParseError);
    }
  });

  it('titles the listing as the ancestor does: not for VRF 0 alone', () => {
    expect(flowMatchText(parseFlowMatch('10.0.0.1:80 & proto tcp'))).toBe(
      '[10.0.0.1]:80, Protocol TCP',
    );
    expect(flowMatchText(parseFlowMatch('10.0.0.1 & vrf 2'))).toBe('[10.0.0.1]:*, VRF 2');
    expect(flowMatchText({ ends: [], vrf: 0, protocol: null })).toBeUndefined();
  });
});

describe('frames', () => {
  const fields = {
    sourceMac: '02:00:00:00:00:01',
    destinationMac: '02:00:00:00:00:02',
    source: '10.0.0.1',
    destination: '10.0.0.2',
    protocol: 'tcp',
    sourcePort: 1000,
    destinationPort: 80,
    flags: 'SA',
    ttl: 9,
    payload: Uint8Array.of(1, 2, 3),
  };
  /** RFC 1071 over everything, checksum included, gives all ones; a second writing of it, to be sure. */
  function sums(bytes: Uint8Array, extra: number): number {
    let sum = extra;
    for (let i = 0; i < bytes.length; i++) sum += (bytes[i] as number) * (i % 2 === 0 ? 256 : 1);
    while (sum > 0xffff) sum = (sum % 0x10000) + Math.floor(sum / 0x10000);
    return sum;
  }

  it.each(['tcp', 'udp'])('builds %s over IPv4 with right checksums', (protocol) => {
    const frame = buildFrame({ ...fields, protocol });
    expect(sums(frame.subarray(14, 34), 0)).toBe(0xffff);
    const body = frame.subarray(34);
    const addresses = sums(frame.subarray(26, 34), 0);
    expect(sums(body, addresses + (protocol === 'tcp' ? 6 : 17) + body.length)).toBe(0xffff);
    expect(frame[22]).toBe(9);
  });

  it.each([
    ['udp', 17],
    ['icmp6', 58],
  ] as const)('builds %s over IPv6 with right checksums', (protocol, number) => {
    const frame = buildFrame({ ...fields, protocol, source: 'fd00::1', destination: 'fd00::2' });
    const body = frame.subarray(54);
    expect(sums(body, sums(frame.subarray(22, 54), 0) + number + body.length)).toBe(0xffff);
    expect(Buffer.from(frame).readUInt16BE(18)).toBe(body.length);
  });

  it('says in a line what a frame is', () => {
    expect(frameLine(buildFrame(fields))).toBe('10.0.0.1:1000 > 10.0.0.2:80 tcp SA len 3');
    const inner = buildFrame({ ...fields, protocol: 'udp' }).subarray(14);
    const labelled = (stack: string) =>
      frameLine(
        buildFrame({
          ...fields,
          protocol: 'udp',
          sourcePort: 50_000,
          destinationPort: 6635,
          payload: Buffer.concat([frameOfHex(stack), inner]),
        }),
      );
    expect(labelled('00026140')).toBe(
      '10.0.0.1:50000 > 10.0.0.2:6635 udp mpls 38 { 10.0.0.1:1000 > 10.0.0.2:80 udp len 3 }',
    );
    expect(labelled('00026040 00011140')).toContain('udp mpls 38 mpls 17 { ');
  });

  it('prints anything at all without complaint', () => {
    let state = 1;
    const random = () => {
      state = (Math.imul(state, 1103515245) + 12345) >>> 0;
      return state >>> 8;
    };
    for (let i = 0; i < 5000; i++) {
      const frame = buildFrame({
        ...fields,
        protocol: i % 2 ? 'udp' : 'tcp',
        destinationPort: [4789, 6635, 80][i % 3]!,
      });
      for (let k = 0; k < 6; k++) frame[random() % frame.length] = random() & 0xff;
      expect(frameLine(frame.subarray(0, random() % (frame.length + 1)))).not.toBe('');
    }
  });

  it('reads hex in the forms people paste', () => {
    expect([...frameOfHex('0x01 02:03\n04')]).toEqual([1, 2, 3, 4]);
    for (const text of ['', '0', 'xy', '0102 3'])
      expect(() => frameOfHex(text)).toThrow(ParseError);
  });
});

describe('the protocol', () => {
  it('frames lines however they are cut, and refuses long ones', () => {
    const lines = new LineFramer(10);
    expect(lines.push(Buffer.from('ab'))).toEqual([]);
    expect(lines.push(Buffer.from('c\nd\n\ne'))).toEqual(['abc', 'd', '']);
    expect(lines.push(Buffer.from('\n'))).toEqual(['e']);
    lines.push(Buffer.from('0123456789'));
    expect(() => lines.push(Buffer.from('x'))).toThrow(/longer than 10 bytes/);
  });

  it('refuses what is no request or no answer', () => {
    for (const line of [
      '',
      '[]',
      '1',
      '{',
      '{"id":-1,"method":"a"}',
      '{"id":1}',
      '{"id":1.5,"method":"a"}',
      '{"id":1,"method":"a","x":1}',
      `{"id":1,"method":"${'a'.repeat(200)}"}`,
    ]) {
      expect(() => decodeRequest(line), line).toThrow(ParseError);
    }
    expect(() => decodeAnswer('{"result":1}')).toThrow(ParseError);
    expect(() => decodeAnswer('{"id":1,"error":{"code":1}}')).toThrow(ParseError);
    expect(decodeAnswer('{"id":null,"error":{"code":"BUSY","message":"m"}}')).toEqual({
      id: null,
      error: { code: 'BUSY', message: 'm' },
    });
  });

  describe('client', () => {
    let server: Server;
    let onLine: (socket: Socket, line: string) => void;
    const path = () => join(work, 'fake.sock');
    beforeAll(async () => {
      server = createServer((socket) => {
        const lines = new LineFramer(1 << 20);
        socket.on('error', () => socket.destroy());
        socket.on('data', (chunk) => {
          for (const line of lines.push(chunk)) onLine(socket, line);
        });
      });
      await new Promise<void>((resolve) => {
        server.listen(path(), resolve);
      });
    });
    afterAll(() => new Promise((resolve) => server.close(resolve)));

    it('tells answers apart by id, collects pages, gives up in time', async () => {
      const held: string[] = [];
      onLine = (socket, line) => {
        const { id, method, params } = JSON.parse(line);
        if (method === 'silent') return;
        if (method === 'page') {
          const { after } = params as { after: number };
          const page = { items: [after, after + 1], next: after < 4 ? after + 2 : null };
          socket.write(`${JSON.stringify({ id, result: page })}\n`);
          return;
        }
        held.unshift(`${JSON.stringify({ id, result: method })}\n`);
        if (held.length === 2) socket.write(held.join(''));
      };
      const client = await Client.connect(path());
      expect(await Promise.all([client.call('one'), client.call('two')])).toEqual(['one', 'two']);
      expect(await client.all('page')).toEqual([0, 1, 2, 3, 4, 5]);
      await expect(client.call('silent', {}, 20)).rejects.toMatchObject({ code: 'TIMEOUT' });
      client.close();
      await expect(client.call('one')).rejects.toMatchObject({ code: 'LOST' });
    });

    it('gives every caller an error when the other side goes or talks nonsense', async () => {
      onLine = (socket) => socket.destroy();
      const one = await Client.connect(path());
      const both = await Promise.allSettled([one.call('a'), one.call('b')]);
      expect(both.map((result) => result.status)).toEqual(['rejected', 'rejected']);
      onLine = (socket) => socket.write('nonsense\n');
      const two = await Client.connect(path());
      await expect(two.call('a')).rejects.toMatchObject({ code: 'BAD_ANSWER' });
    });
  });

  it('finds the one socket there is', () => {
    const directory = mkdtempSync(join(work, 'run-'));
    expect(() => findSocket(undefined, {}, directory)).toThrow(/has no socket/);
    writeFileSync(join(directory, 'a.sock'), '');
    expect(findSocket(undefined, {}, directory)).toBe(join(directory, 'a.sock'));
    writeFileSync(join(directory, 'b.sock'), '');
    expect(() => findSocket(undefined, {}, directory)).toThrow(/several: a\.sock, b\.sock/);
    expect(findSocket(undefined, { VROUTER_SOCK: '/x' }, directory)).toBe('/x');
    expect(findSocket('/y', { VROUTER_SOCK: '/x' }, directory)).toBe('/y');
  });
});
