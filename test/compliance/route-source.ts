/**
 * What every RouteSource must do, run by each implementation. A fixture puts routes behind the source
 * (`offer`, `retract`), lets everything under way arrive (`settle`), and for sources that pass on what
 * is published says what came out at the other end (`published`).
 */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import {
  keyOf,
  type Route,
  type RouteKey,
  type RouteSource,
  type RouteUpdate,
} from '../../src/rib/route.ts';
import { hop, route } from '../support/routes.ts';

export interface RouteSourceFixture {
  readonly source: RouteSource;
  offer(route: Route): void;
  retract(key: RouteKey): void;
  settle(): Promise<void>;
  published(): Route[];
  /** What of a route this source's protocol carries; absent: all. */
  carried?(route: Route): Route;
  close(): Promise<void>;
}

export function routeSourceCompliance(name: string, make: () => Promise<RouteSourceFixture>): void {
  describe(`RouteSource: ${name}`, () => {
    const one = route('pods', '10.0.0.1/32', [hop('10.169.25.20', 17)]);
    const two = route('pods', 'fd00::2/128', [hop('10.169.25.21', 18), hop('10.169.25.21', 19)]);
    const elsewhere = route('other', '10.9.0.1/32', [hop('10.169.25.21', 20)]);
    let fixture: RouteSourceFixture;
    let updates: RouteUpdate[];
    let insideCall: boolean;
    let heardInsideCall: boolean;

    beforeEach(async () => {
      fixture = await make();
      updates = [];
      insideCall = false;
      heardInsideCall = false;
      fixture.source.onUpdates((heard) => {
        heardInsideCall ||= insideCall;
        updates.push(...heard);
      });
    });
    afterEach(() => fixture.close());

    const call = (f: (source: RouteSource) => void) => {
      insideCall = true;
      f(fixture.source);
      insideCall = false;
    };
    const take = () => updates.splice(0);
    const summary = (all: RouteUpdate[]) =>
      all.map((u) => {
        if (u.type === 'announce') return `+${u.route.instance} ${u.route.prefix}`;
        return u.type === 'withdraw'
          ? `-${u.key.instance} ${u.key.prefix}`
          : `${u.type} ${u.instance}`;
      });

    test('has a name', () => expect(fixture.source.name).not.toBe(''));

    test('says nothing before it is asked', async () => {
      fixture.offer(one);
      await fixture.settle();
      expect(take()).toEqual([]);
    });

    test('subscribing brings what there is, then end-of-rib, and no other instance', async () => {
      for (const r of [one, two, elsewhere]) fixture.offer(r);
      await fixture.settle();
      call((s) => s.subscribe('pods', 1));
      await fixture.settle();
      const heard = summary(take());
      expect(heard.at(-1)).toBe('end-of-rib pods');
      expect(heard.slice(0, -1).sort()).toEqual(['+pods 10.0.0.1/32', '+pods fd00::2/128']);
    });

    test('an instance without routes still has an end-of-rib', async () => {
      call((s) => s.subscribe('empty', 7));
      await fixture.settle();
      expect(summary(take())).toEqual(['end-of-rib empty']);
    });

    test('routes arrive whole', async () => {
      const full = route(
        'pods',
        '10.0.0.3/32',
        [hop('10.169.25.21', 21, { weight: 3, encaps: ['gre', 'udp'] })],
        {
          localPreference: 200,
          sequence: 4,
          loadBalance: ['source', 'destination'],
          securityGroups: [8_000_001],
        },
      );
      call((s) => s.subscribe('pods', 1));
      fixture.offer(full);
      await fixture.settle();
      const announce = take().find((u) => u.type === 'announce');
      expect(announce).toMatchObject({
        type: 'announce',
        route: fixture.carried?.(full) ?? full,
      });
    });

    test('changes and withdrawals follow, in order', async () => {
      call((s) => s.subscribe('pods', 1));
      await fixture.settle();
      take();
      fixture.offer(one);
      await fixture.settle();
      fixture.offer({ ...one, hops: [hop('10.169.25.21', 40)] });
      await fixture.settle();
      fixture.retract(keyOf(one));
      await fixture.settle();
      const heard = take();
      expect(summary(heard)).toEqual([
        '+pods 10.0.0.1/32',
        '+pods 10.0.0.1/32',
        '-pods 10.0.0.1/32',
      ]);
      expect(heard[1]).toMatchObject({ route: { hops: [{ label: 40 }] } });
    });

    test('nothing follows an unsubscribe; subscribing again starts afresh', async () => {
      fixture.offer(one);
      call((s) => s.subscribe('pods', 1));
      await fixture.settle();
      take();
      call((s) => s.unsubscribe('pods'));
      fixture.offer({ ...one, hops: [hop('10.169.25.21', 41)] });
      await fixture.settle();
      expect(take()).toEqual([]);
      call((s) => s.subscribe('pods', 1));
      await fixture.settle();
      expect(summary(take())).toEqual(['+pods 10.0.0.1/32', 'end-of-rib pods']);
    });

    test('subscribing twice is refused by name', async () => {
      call((s) => s.subscribe('pods', 1));
      expect(() => fixture.source.subscribe('pods', 1)).toThrow("'pods'");
      await fixture.settle();
      expect(summary(take())).toEqual(['end-of-rib pods']);
    });

    test('what is published comes out at the other end, and goes when withdrawn', async () => {
      const mine = route('pods', '10.0.0.9/32', [hop('10.169.25.20', 30)]);
      call((s) => s.publish(mine));
      await fixture.settle();
      expect(fixture.published()).toMatchObject([mine]);
      call((s) => s.publish({ ...mine, hops: [hop('10.169.25.20', 31)] }));
      await fixture.settle();
      expect(fixture.published()).toMatchObject([{ hops: [{ label: 31 }] }]);
      call((s) => s.withdraw(keyOf(mine)));
      await fixture.settle();
      expect(fixture.published()).toEqual([]);
    });

    test('a route that is not sound is refused at the call, by field', () => {
      expect(() => fixture.source.publish({ ...one, hops: [hop('10.169.25', 1)] })).toThrow(
        'hops[0].address',
      );
      expect(() => fixture.source.withdraw({ ...keyOf(one), prefix: '10.0.0.1/8' })).toThrow(
        'prefix',
      );
    });

    test('is never heard inside a call', async () => {
      fixture.offer(one);
      call((s) => s.subscribe('pods', 1));
      call((s) => s.publish(two));
      call((s) => s.withdraw(keyOf(two)));
      call((s) => s.unsubscribe('pods'));
      await fixture.settle();
      expect(heardInsideCall).toBe(false);
    });

    test('is silent once closed, and refuses calls', async () => {
      call((s) => s.subscribe('pods', 1));
      await fixture.settle();
      take();
      call((s) => s.close());
      fixture.offer(one);
      await fixture.settle();
      expect(take()).toEqual([]);
      expect(() => fixture.source.publish(one)).toThrow('closed');
      expect(() => fixture.source.close()).not.toThrow();
    });
  });
}
