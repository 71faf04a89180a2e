import { describe, expect, test } from 'vitest';
import { Ids, MemberIds } from '../../../src/agent/ids.ts';

describe('ids', () => {
  const make = (limit = 100, rest = 2, hints = new Map<string, number>()) =>
    new Ids<number>({ what: 'labels', first: 16, limit, rest }, hints);

  test('lowest first, and not used again at once', () => {
    const ids = make();
    expect([ids.allocate(), ids.allocate(), ids.allocate()]).toEqual([16, 17, 18]);
    ids.release(16);
    expect(ids.allocate()).toBe(19);
    ids.release(18);
    ids.release(17);
    expect(ids.allocate()).toBe(16); // rested while two others were given back
  });

  test('when nothing else is left, the one that rested longest', () => {
    const ids = make(19);
    for (let i = 0; i < 3; i++) ids.allocate();
    expect(() => ids.allocate()).toThrow('no labels are left');
    ids.release(17);
    ids.release(16);
    expect(ids.allocate()).toBe(17);
    expect(ids.allocate()).toBe(16);
  });

  test('what is not taken cannot be given back', () => {
    const ids = make();
    ids.allocate();
    ids.release(16);
    expect(() => ids.release(16)).toThrow(RangeError);
  });

  test('a known name gets its id again; others keep clear of it', () => {
    const ids = make(
      100,
      2,
      new Map([
        ['web', 18],
        ['gone', 5],
      ]),
    );
    expect(ids.allocate('new')).toBe(16);
    expect(ids.allocate('web')).toBe(18);
    expect(ids.allocate('gone')).toBe(17); // 5 is outside of the range
    expect(ids.allocate()).toBe(19);
  });

  test('never two owners, against a plain set', () => {
    const ids = make(60, 5);
    const taken = new Set<number>();
    let seed = 7;
    const random = (n: number) => {
      seed = (seed * 1103515245 + 12345) % 2147483648;
      return seed % n;
    };
    for (let i = 0; i < 5000; i++) {
      if (taken.size < 40 && random(2) === 0) {
        const id = ids.allocate();
        expect(taken.has(id)).toBe(false);
        expect(id).toBeGreaterThanOrEqual(16);
        expect(id).toBeLessThan(60);
        taken.add(id);
      } else if (taken.size > 0) {
        const id = [...taken][random(taken.size)] as number;
        taken.delete(id);
        ids.release(id);
      }
    }
    expect(ids.taken).toBe(taken.size);
  });
});

describe('member ids', () => {
  const assign = (members: MemberIds, ...identities: string[]) =>
    members.assign(identities.map((identity) => ({ identity })));

  test('stay while the member is present, whatever comes, goes, or changes places', () => {
    const members = new MemberIds();
    expect(assign(members, 'a', 'b')).toEqual([0, 1]);
    expect(assign(members, 'c', 'b', 'a')).toEqual([2, 1, 0]);
    expect(assign(members, 'c', 'a')).toEqual([2, 0]);
    expect(assign(members, 'a', 'b', 'c')).toEqual([0, 3, 2]); // b came back as someone new
  });

  test("the source's choice comes first", () => {
    const members = new MemberIds();
    assign(members, 'a', 'b');
    expect(
      members.assign([{ identity: 'a' }, { identity: 'x', given: 0 }, { identity: 'b' }]),
    ).toEqual([2, 0, 1]);
  });

  test('of a known set go on', () => {
    const members = new MemberIds(new Map([['a', 7]]));
    expect(assign(members, 'a', 'b')).toEqual([7, 8]);
  });
});
