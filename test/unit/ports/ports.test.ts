/**
 * The adapters around the optional packages, without a wire: how they load, what they say when they cannot,
 * and that no frame is lost or shared. On real wires: test/scenario/raw-packets.test.ts.
 */
import { EventEmitter } from 'node:events';
import { setImmediate as turn } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { VRouterError } from '../../../src/errors.ts';
import { CapPort, type CapturedFrame } from '../../../src/ports/cap-port.ts';
import { loadOptional } from '../../../src/ports/optional.ts';
import { RAW_PROTOCOL, RawPort } from '../../../src/ports/raw-port.ts';

/** The package's surface, with a buffer that is written over by each frame as the real one is. */
class FakeCap extends EventEmitter {
  static last: FakeCap;
  static link = 'ETHERNET';
  static refuse: Error | undefined;
  buffer: Buffer = Buffer.alloc(0);
  closed = false;
  sent: Buffer[] = [];

  constructor() {
    super();
    FakeCap.last = this;
  }

  open(_device: string, _filter: string, _ring: number, buffer: Buffer): string {
    if (FakeCap.refuse !== undefined) throw FakeCap.refuse;
    this.buffer = buffer;
    return FakeCap.link;
  }

  close(): void {
    this.closed = true;
  }

  send(frame: Buffer, bytes: number): void {
    this.sent.push(Buffer.from(frame.subarray(0, bytes)));
  }

  arrive(byte: number, length: number, truncated = false): void {
    this.buffer.fill(byte, 0, length);
    this.emit('packet', length, truncated);
  }
}

const fakeCap = async () => ({ default: { Cap: FakeCap } });
const broken = (message: string) => async () => {
  throw new Error(message);
};

describe('optional packages', () => {
  const wanted = { name: 'some-package', needs: 'headers (Debian: libsome-dev)' };

  it('are taken in both forms a module can have', async () => {
    expect(await loadOptional(wanted, async () => ({ default: { a: 1 } }))).toEqual({ a: 1 });
    expect(await loadOptional(wanted, async () => ({ a: 2 }))).toEqual({ a: 2 });
  });

  it('are named with what they need when they cannot be loaded', async () => {
    const failing = loadOptional(wanted, broken('Cannot find module\nRequire stack: …'));
    await expect(failing).rejects.toMatchObject({
      code: 'NO_PACKAGE',
      message:
        'the optional package "some-package" cannot be loaded (Cannot find module); it needs headers ' +
        '(Debian: libsome-dev), then `npm rebuild some-package`',
    });
  });

  it('cap and raw-socket name themselves and their Debian packages', async () => {
    const missing = broken('not built');
    await expect(CapPort.open({ interface: 'eth0' }, missing)).rejects.toThrow(
      /"cap" .*libpcap-dev/,
    );
    await expect(CapPort.available(missing)).rejects.toMatchObject({ code: 'NO_PACKAGE' });
    await expect(RawPort.open({ protocol: 1 }, missing)).rejects.toThrow(/"raw-socket" .*python3/);
  });
});

describe('CapPort', () => {
  const open = async () => {
    const port = await CapPort.open({ interface: 'eth0' }, fakeCap);
    return { port, cap: FakeCap.last };
  };

  it('hands over copies, in batches, also what came before there was a listener', async () => {
    const { port, cap } = await open();
    cap.arrive(1, 60);
    cap.arrive(2, 61);
    await turn();
    const batches: CapturedFrame[][] = [];
    port.onFrames((frames) => batches.push([...frames]));
    await turn();
    cap.arrive(3, 62);
    cap.arrive(4, 63);
    await turn();
    expect(batches.map((batch) => batch.map(({ frame }) => [frame[0], frame.length]))).toEqual([
      [
        [1, 60],
        [2, 61],
      ],
      [
        [3, 62],
        [4, 63],
      ],
    ]);
    const times = batches.flat().map(({ timeNs }) => timeNs);
    expect(times).toEqual(times.toSorted((a, b) => (a < b ? -1 : 1)));
    port.close();
  });

  it('counts frames that were cut', async () => {
    const { port, cap } = await open();
    cap.arrive(1, 60);
    cap.arrive(1, 65_535, true);
    expect(port.truncated).toBe(1);
    port.close();
  });

  it('hands over what it has when it is closed, and nothing after', async () => {
    const { port, cap } = await open();
    let seen = 0;
    port.onFrames((frames) => {
      seen += frames.length;
    });
    cap.arrive(1, 60);
    port.close();
    expect(seen).toBe(1);
    cap.arrive(2, 60);
    await turn();
    expect(seen).toBe(1);
    expect(cap.closed).toBe(true);
    expect(() => port.send(new Uint8Array(60))).toThrow(VRouterError);
  });

  it('sends the bytes of a view, not of what it is a view of', async () => {
    const { port, cap } = await open();
    port.send(Uint8Array.of(9, 1, 2, 3, 9).subarray(1, 4));
    expect(cap.sent).toEqual([Buffer.from([1, 2, 3])]);
    port.close();
  });

  it('refuses what is not Ethernet, and passes on why an interface cannot be opened', async () => {
    FakeCap.link = 'RAW';
    await expect(open()).rejects.toThrow('eth0: link type RAW, not Ethernet');
    expect(FakeCap.last.closed).toBe(true);
    FakeCap.link = 'ETHERNET';
    FakeCap.refuse = new Error('No such device exists');
    await expect(open()).rejects.toMatchObject({
      code: 'PORT_FAILED',
      message: 'eth0: No such device exists',
    });
    FakeCap.refuse = undefined;
  });
});

/** raw-socket's surface: what the kernel says is decided by the test. */
class FakeSocket extends EventEmitter {
  static last: FakeSocket;
  closed = false;
  answer: (length: number) => [Error | null, number] = (length) => [null, length];
  sent: { bytes: Buffer; to: string }[] = [];
  readonly options: object;

  constructor(options: object) {
    super();
    this.options = options;
    FakeSocket.last = this;
  }

  send(
    buffer: Buffer,
    offset: number,
    length: number,
    to: string,
    done: (error: Error | null, bytes: number) => void,
  ): void {
    this.sent.push({ bytes: Buffer.from(buffer.subarray(offset, offset + length)), to });
    done(...this.answer(length));
  }

  close(): void {
    this.closed = true;
  }
}

const fakeRaw = async () => ({
  createSocket: (options: object) => new FakeSocket(options),
  AddressFamily: { IPv4: 1, IPv6: 2 },
});

describe('RawPort', () => {
  it('opens the protocol and family that was asked for', async () => {
    await RawPort.open({ protocol: RAW_PROTOCOL.gre }, fakeRaw);
    expect(FakeSocket.last.options).toMatchObject({ protocol: 47, addressFamily: 1 });
    await RawPort.open({ protocol: RAW_PROTOCOL.icmp6, family: 6 }, fakeRaw);
    expect(FakeSocket.last.options).toMatchObject({ protocol: 58, addressFamily: 2 });
    for (const protocol of [0, 256, 1.5, Number.NaN]) {
      await expect(RawPort.open({ protocol }, fakeRaw)).rejects.toMatchObject({
        code: 'BAD_VALUE',
      });
    }
  });

  it('passes on why the kernel refuses a socket', async () => {
    const refusing = async () => ({
      AddressFamily: { IPv4: 1, IPv6: 2 },
      createSocket: () => {
        throw new Error('Operation not permitted');
      },
    });
    await expect(RawPort.open({ protocol: 1 }, refusing)).rejects.toMatchObject({
      code: 'PORT_FAILED',
      message: 'raw socket of IP protocol 1: Operation not permitted',
    });
  });

  it('resolves when all of it went, and else says what happened', async () => {
    const port = await RawPort.open({ protocol: 47 }, fakeRaw);
    const socket = FakeSocket.last;
    await port.send(Uint8Array.of(9, 1, 2, 9).subarray(1, 3), '192.0.2.1');
    expect(socket.sent).toEqual([{ bytes: Buffer.from([1, 2]), to: '192.0.2.1' }]);
    socket.answer = () => [null, 1];
    await expect(port.send(Uint8Array.of(1, 2), '192.0.2.1')).rejects.toThrow(
      'IP protocol 47 to 192.0.2.1: 1 of 2 bytes went',
    );
    socket.answer = () => [new Error('Network is unreachable'), 0];
    await expect(port.send(Uint8Array.of(1), '192.0.2.1')).rejects.toThrow(
      'Network is unreachable',
    );
  });

  it('hands packets over as copies', async () => {
    const port = await RawPort.open({ protocol: 1 }, fakeRaw);
    const seen: [string, number[]][] = [];
    port.onPacket(({ source, packet }) => seen.push([source, [...packet]]));
    const buffer = Buffer.from([0x45, 1]);
    FakeSocket.last.emit('message', buffer, '192.0.2.9');
    buffer.fill(0);
    expect(seen).toEqual([['192.0.2.9', [0x45, 1]]]);
  });

  it('sends nothing after it was closed, or broke, and says which', async () => {
    const port = await RawPort.open({ protocol: 1 }, fakeRaw);
    port.close();
    expect(FakeSocket.last.closed).toBe(true);
    await expect(port.send(Uint8Array.of(1), '192.0.2.1')).rejects.toThrow('the port is closed');
    const other = await RawPort.open({ protocol: 1 }, fakeRaw);
    FakeSocket.last.emit('error', new Error('Network is down'));
    await expect(other.send(Uint8Array.of(1), '192.0.2.1')).rejects.toThrow('Network is down');
    expect(FakeSocket.last.sent).toEqual([]);
  });
});
