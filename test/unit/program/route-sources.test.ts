import { describe, expect, it } from 'vitest';
import { JoinedRouteSource } from '../../../src/program/route-sources.ts';
import type { Route, RouteSource, RouteUpdate } from '../../../src/rib/route.ts';
import { StaticRouteSource } from '../../../src/rib/static-source.ts';

function route(prefix: string, address: string): Route {
  return {
    instance: 'red',
    family: 'inet',
    prefix,
    hops: [{ address, label: 20, encaps: ['udp'] }],
  };
}

/** A source whose stream can be lost and come back, as that of an exchange. */
class Stream implements RouteSource {
  readonly name = 'stream';
  listener: (updates: readonly RouteUpdate[]) => void = () => {};
  onUpdates(listener: (updates: readonly RouteUpdate[]) => void): void {
    this.listener = listener;
  }
  subscribe(): void {}
  unsubscribe(): void {}
  publish(): void {}
  withdraw(): void {}
  close(): void {}
}

function setUp() {
  const first = new StaticRouteSource({ routes: [route('10.0.0.0/8', '192.0.2.1')] });
  const second = new Stream();
  const joined = new JoinedRouteSource('node', [first, second]);
  const seen: string[] = [];
  joined.onUpdates((updates) => {
    for (const update of updates) {
      if (update.type === 'announce')
        seen.push(`+ ${update.route.prefix} ${update.route.hops[0]?.address}`);
      else if (update.type === 'withdraw') seen.push(`- ${update.key.prefix}`);
      else seen.push(update.type);
    }
  });
  joined.subscribe('red', 1);
  first.flush();
  const take = () => seen.splice(0);
  const say = (...updates: RouteUpdate[]) => {
    second.listener(updates);
    return take();
  };
  return { first, joined, take, say };
}

const announce = (prefix: string, address = '192.0.2.2'): RouteUpdate => ({
  type: 'announce',
  route: route(prefix, address),
});
const withdraw = (prefix: string): RouteUpdate => ({
  type: 'withdraw',
  key: { instance: 'red', family: 'inet', prefix },
});
const END: RouteUpdate = { type: 'end-of-rib', instance: 'red' };
const STALE: RouteUpdate = { type: 'stale', instance: 'red' };

describe('JoinedRouteSource', () => {
  it('ends the table when both have ended, saying again what holds', () => {
    const { take, say } = setUp();
    expect(take()).toEqual(['+ 10.0.0.0/8 192.0.2.1']);
    expect(say(announce('10.1.0.0/16'), END)).toEqual([
      '+ 10.1.0.0/16 192.0.2.2',
      '+ 10.0.0.0/8 192.0.2.1',
      '+ 10.1.0.0/16 192.0.2.2',
      'end-of-rib',
    ]);
  });

  it('lets the earlier source win, and falls back to the later', () => {
    const { first, take, say } = setUp();
    take();
    expect(say(announce('10.0.0.0/8'))).toEqual([]);
    first.replace([]);
    first.flush();
    expect(take()).toEqual(['+ 10.0.0.0/8 192.0.2.2']);
    expect(say(withdraw('10.0.0.0/8'))).toEqual(['- 10.0.0.0/8']);
    expect(say(withdraw('10.0.0.0/8'))).toEqual([]);
  });

  it('after a loss keeps static routes and forgets what did not come back', () => {
    const { take, say } = setUp();
    say(announce('10.1.0.0/16'), announce('10.2.0.0/16'), END);
    take();
    expect(say(STALE)).toEqual(['stale']);
    const after = say(announce('10.2.0.0/16'), END);
    expect(after.at(-1)).toBe('end-of-rib');
    expect(new Set(after)).toEqual(
      new Set(['+ 10.2.0.0/16 192.0.2.2', '+ 10.0.0.0/8 192.0.2.1', 'end-of-rib']),
    );
  });

  it('publishes to all', () => {
    const { first, joined } = setUp();
    joined.publish(route('10.9.0.0/16', '192.0.2.9'));
    expect(first.published().map((r) => r.prefix)).toEqual(['10.9.0.0/16']);
    joined.withdraw({ instance: 'red', family: 'inet', prefix: '10.9.0.0/16' });
    expect(first.published()).toEqual([]);
  });
});
