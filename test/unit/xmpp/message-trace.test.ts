import { describe, expect, test } from 'vitest';
import { MAX_TRACED_BYTES, MAX_TRACED_MESSAGE } from '../../../src/xmpp/limits.ts';
import { MessageTrace } from '../../../src/xmpp/transport/message-trace.ts';

describe('MessageTrace', () => {
  test('joins what was sent in parts, text and bytes', () => {
    const trace = new MessageTrace(() => 5);
    trace.add('out', ['<a>', new TextEncoder().encode('ȀÄ</a>')]);
    expect(trace.after(0)).toEqual([{ number: 1, at: 5, way: 'out', text: '<a>ȀÄ</a>' }]);
  });

  test('holds so much, and tells by numbers what went', () => {
    const trace = new MessageTrace(() => 0);
    const text = 'x'.repeat(MAX_TRACED_MESSAGE);
    const fit = MAX_TRACED_BYTES / MAX_TRACED_MESSAGE;
    for (let i = 0; i < fit + 3; i++) trace.add('in', [text]);
    expect(trace.after(0).map(({ number }) => number)).toEqual(
      Array.from({ length: fit }, (_, i) => i + 4),
    );
    expect(trace.after(fit + 2)).toHaveLength(1);
  });

  test('cuts a long message and says by how much', () => {
    const trace = new MessageTrace(() => 0);
    trace.add('in', ['y'.repeat(MAX_TRACED_MESSAGE + 7)]);
    expect(trace.after(0)[0]?.text).toMatch(/y\.\.\. and 7 more$/);
  });
});
