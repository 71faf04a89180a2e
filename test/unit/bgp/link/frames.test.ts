import { describe, expect, test } from 'vitest';
import { MAX_FRAME_BYTES } from '../../../../src/bgp/limits.ts';
import { FrameReader, frameOf } from '../../../../src/bgp/link/frame.ts';
import { messageFrame, readToControl, readToSpeaker } from '../../../../src/bgp/link/messages.ts';
import { ParseError } from '../../../../src/errors.ts';

const bodyOf = (frame: Uint8Array) => frame.subarray(5);
const json = (value: unknown) => Buffer.from(JSON.stringify(value));

describe('frames', () => {
  const frames = [
    frameOf(0, Buffer.from('one')),
    frameOf(1, Buffer.alloc(0)),
    frameOf(2, Buffer.from('three')),
  ];

  test.each([1, 2, 3, 5, 8, 1000])('come whole, %i bytes at a time', (step) => {
    const all = Buffer.concat(frames);
    const reader = new FrameReader();
    const got: [number, string][] = [];
    for (let at = 0; at < all.length; at += step) {
      for (const { kind, body } of reader.push(all.subarray(at, at + step)))
        got.push([kind, Buffer.from(body).toString()]);
    }
    expect(got).toEqual([
      [0, 'one'],
      [1, ''],
      [2, 'three'],
    ]);
  });

  test('a length of nothing, and one that is too long, are refused by their head alone', () => {
    const head = (length: number) => {
      const bytes = Buffer.alloc(4);
      bytes.writeUInt32BE(length);
      return bytes;
    };
    expect(() => new FrameReader().push(head(0))).toThrow('frame: 0 bytes');
    expect(() => new FrameReader().push(head(MAX_FRAME_BYTES + 1))).toThrow(ParseError);
    expect(new FrameReader().push(head(MAX_FRAME_BYTES))).toEqual([]);
    expect(() => frameOf(0, new Uint8Array(MAX_FRAME_BYTES))).toThrow(RangeError);
  });
});

describe('messages', () => {
  test('are read as they were written, and what is undefined is not there', () => {
    const hello = {
      type: 'hello',
      version: 1,
      name: 'east',
      pid: 7,
      keepSeconds: 120,
      bgp: { as: 1 },
    } as const;
    expect(readToSpeaker(bodyOf(messageFrame(hello)))).toEqual(hello);
    const sender = { type: 'sender', name: 'a', external: true, id: '192.0.2.1' } as const;
    expect(readToControl(bodyOf(messageFrame({ ...sender, encapsulation: undefined })))).toEqual(
      sender,
    );
    const result = {
      type: 'result',
      id: 3,
      result: null,
      error: { code: 'BUSY', message: 'x' },
    } as const;
    expect(readToControl(bodyOf(messageFrame(result)))).toEqual(result);
  });

  const bad: readonly (readonly [unknown, string])[] = [
    ['{', 'message: not JSON'],
    [Buffer.from([0xff, 0xfe]), 'message: not JSON'],
    [null, 'message: not an object'],
    [[], 'type: no message is called undefined'],
    [{ type: 'welcome' }, 'type: no message is called "welcome"'],
    [{ type: 'constructor' }, 'type: no message is called "constructor"'],
    [{ type: 'x'.repeat(1000) }, /^type: no message is called "x{63}$/.source],
    [{ type: 'quit', now: true }, 'quit.now: is not known'],
    [{ type: 'hello', version: 1 }, 'hello.name: must be a text of at most 128 characters'],
    [{ type: 'want', targets: '1:1' }, 'want.targets: must be a list of at most 131072'],
    [
      { type: 'want', targets: ['1:1', 2] },
      'want.targets[1]: must be a text of at most 64 characters',
    ],
    [{ type: 'want', targets: Array(131073).fill('') }, 'want.targets: must be a list'],
    [{ type: 'call', id: -1, method: 'm' }, 'call.id: must be a whole number'],
    [{ type: 'call', id: 1.5, method: 'm' }, 'call.id: must be a whole number'],
    [{ type: 'call', id: 1, method: 'm'.repeat(65) }, 'call.method: must be a text'],
  ];

  test.each(bad)('to a speaker: %j is refused by name', (value, why) => {
    const body =
      typeof value === 'string' ? Buffer.from(value) : Buffer.isBuffer(value) ? value : json(value);
    const read = () => readToSpeaker(body);
    expect(read).toThrow(ParseError);
    expect(read).toThrow(why.startsWith('^') ? new RegExp(why) : why);
  });

  test.each([
    [{ type: 'hello' }, 'no message is called "hello"'],
    [{ type: 'session', neighbour: 'a', state: 'dead' }, 'session.state: must be one of up, down'],
    [{ type: 'sender', name: 'a', external: 1, id: '' }, 'sender.external: must be true or false'],
    [
      { type: 'sender', name: 'a', external: true, id: '', encapsulation: ['ipip'] },
      'sender.encapsulation[0]: must be one of gre, udp, vxlan',
    ],
    [{ type: 'result', id: 1, error: { code: 7 } }, 'result.error.code: must be a text'],
  ])('to a control node: %j is refused by name', (value, why) => {
    expect(() => readToControl(json(value))).toThrow(why);
  });
});
