import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { openDescriptor, openNetlink, socketPair } from '../../../src/dataplane/descriptor.ts';

const NETLINK_ROUTE = 0;
const RTM_GETLINK = 18;
const NLM_F_DUMP = 0x301;

/** nlmsghdr and an ifinfomsg of zeros. */
function linkDump(): Uint8Array {
  const bytes = new Uint8Array(32);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, bytes.length, true);
  view.setUint16(4, RTM_GETLINK, true);
  view.setUint16(6, NLM_F_DUMP, true);
  return bytes;
}

describe('Descriptor', () => {
  it('keeps message bounds across a socket pair and calls its listener', async () => {
    const [a, b] = socketPair().map(openDescriptor) as [
      ReturnType<typeof openDescriptor>,
      ReturnType<typeof openDescriptor>,
    ];
    const heard: string[] = [];
    const into = new Uint8Array(64);
    b.onReadable(() => {
      const n = b.read(into);
      heard.push(Buffer.from(into.subarray(0, n)).toString());
    });
    a.write(Buffer.from('one'));
    a.write(Buffer.from('two'));
    await sleep(50);
    expect(heard).toEqual(['one', 'two']);
    expect(b.read(into)).toBe(-1);
    a.close();
    expect(b.read(into)).toBe(0);
    b.close();
    b.close();
    expect(() => b.read(into)).toThrow(expect.objectContaining({ code: 'CLOSED' }));
  });

  it('may be closed by its own listener', async () => {
    const [a, b] = socketPair();
    const left = openDescriptor(a);
    const right = openDescriptor(b);
    let calls = 0;
    right.onReadable(() => {
      calls++;
      right.close();
    });
    left.write(Buffer.from('x'));
    await sleep(30);
    expect(calls).toBe(1);
    left.close();
  });

  it('reads what the kernel says of its links', async () => {
    const netlink = openNetlink(NETLINK_ROUTE, 0);
    netlink.write(linkDump());
    const into = new Uint8Array(1 << 16);
    let length = -1;
    for (let i = 0; i < 100 && length < 0; i++) {
      length = netlink.read(into);
      await sleep(1);
    }
    expect(length).toBeGreaterThan(16);
    expect(Buffer.from(into.subarray(0, length)).includes('lo\0')).toBe(true);
    netlink.close();
  });

  it('refuses what is no descriptor', () => {
    expect(() => openDescriptor(999_999)).toThrow(expect.objectContaining({ code: 'PORT_FAILED' }));
    expect(() => openDescriptor(-1)).toThrow(expect.objectContaining({ code: 'BAD_ARGUMENT' }));
  });
});
