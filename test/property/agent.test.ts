/**
 * Agents over random histories: whatever the order of intents, routes and flushes, the tables that
 * result say the same (ids apart), they are what the data plane holds, and nothing is left when
 * everything is taken away.
 */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { FloatingIpIntent, VifIntent, VrfIntent } from '../../src/agent/intents.ts';
import type { Route } from '../../src/rib/route.ts';
import { RecordingDataplane } from '../support/recording-dataplane.ts';
import { hop, route } from '../support/routes.ts';
import { Cluster, type Node, pod } from '../unit/agent/cluster.ts';

const NODES = ['cent222', 'cent333'] as const;
const VRFS = ['red', 'blue', 'green'] as const;
const VIPS = ['10.96.0.1', '10.96.0.2'] as const;

/** What should be in the end, by node. */
interface Wish {
  readonly vrfs: readonly VrfIntent[];
  readonly vifs: readonly VifIntent[];
}

const vrfWish = fc.tuple(
  ...VRFS.map((name, i) =>
    fc.constantFrom<VrfIntent | undefined>(undefined, { name }, { name, vni: 100 + i }),
  ),
);
const floatingIp: fc.Arbitrary<FloatingIpIntent> = fc
  .record({
    address: fc.constantFrom(...VIPS),
    vrf: fc.constantFrom(...VRFS),
    service: fc.boolean(),
    sharedLabel: fc.boolean(),
    leak: fc.boolean(),
  })
  .map(({ address, vrf, service, sharedLabel, leak }) => ({
    address,
    vrf,
    ...(service && { ports: [{ protocol: 'tcp' as const, port: 80, toPort: 8080 }] }),
    ...(sharedLabel && { sharedLabel }),
    ...(leak && { leakTo: ['green'] }),
  }));
const vifWish = (last: number) =>
  fc.option(
    fc
      .record({
        vrf: fc.constantFrom(...VRFS),
        v6: fc.boolean(),
        policy: fc.boolean(),
        floatingIps: fc.uniqueArray(floatingIp, {
          maxLength: 2,
          selector: (f) => `${f.vrf} ${f.address}`,
        }),
      })
      .map(({ v6, ...more }) => ({
        ...pod(`vif${last}`, last, more),
        ...(v6 && { ipv6: `fd00::${last}` }),
      })),
    { nil: undefined },
  );

const wish = fc
  .tuple(vrfWish, ...[210, 211, 212, 213].map(vifWish))
  .map(([vrfs, ...vifs]): Wish => {
    const present = vrfs.filter((v) => v !== undefined);
    const has = (name: string) => present.some((v) => v.name === name);
    return {
      vrfs: present,
      vifs: vifs
        .filter((v) => v !== undefined)
        .filter((v) => has(v.vrf))
        .map((v) => ({ ...v, floatingIps: (v.floatingIps ?? []).filter((f) => has(f.vrf)) })),
    };
  });

const foreign: fc.Arbitrary<Route[]> = fc.uniqueArray(
  fc
    .record({
      vrf: fc.constantFrom(...VRFS),
      prefix: fc.constantFrom(
        '10.96.0.1/32',
        '10.96.0.2/32',
        '0.0.0.0/0',
        '10.47.255.210/32',
        'fd00::/8',
      ),
      labels: fc.uniqueArray(fc.integer({ min: 500, max: 503 }), { minLength: 1, maxLength: 3 }),
      balanced: fc.boolean(),
    })
    .map(({ vrf, prefix, labels, balanced }) =>
      route(
        vrf,
        prefix,
        labels.map((label) => hop('10.169.25.19', label, { encaps: ['gre'] })),
        balanced ? { loadBalance: ['source'] } : {},
      ),
    ),
  { maxLength: 4, selector: (r) => `${r.instance} ${r.prefix}` },
);

type Change = () => void;

/** Detours and an order chosen by `random`, ending at the wishes. */
function play(
  cluster: Cluster,
  nodes: readonly Node[],
  wishes: readonly Wish[],
  detours: readonly Wish[],
  routes: readonly Route[],
  random: () => number,
): void {
  const outside = cluster.exchange.attach('outside');
  const lists: Change[][] = [];
  nodes.forEach((node, i) => {
    lists.push([
      () => reach(node, detours[i] as Wish, random),
      () => reach(node, wishes[i] as Wish, random),
    ]);
  });
  lists.push(shuffled(routes, random).map((r) => () => outside.publish(r)));
  lists.push([() => cluster.exchange.connect('red', 'blue')]);
  while (lists.some((list) => list.length > 0)) {
    const open = lists.filter((list) => list.length > 0);
    (open[Math.floor(random() * open.length)] as Change[]).shift()?.();
    if (random() < 0.3) cluster.exchange.flush();
    for (const { agent } of nodes) if (random() < 0.3) agent.flush();
  }
  cluster.settle();
}

function shuffled<T>(list: readonly T[], random: () => number): T[] {
  return list
    .map((value) => ({ value, at: random() }))
    .sort((a, b) => a.at - b.at)
    .map(({ value }) => value);
}

/** Brings a node from whatever it has to a wish, through the calls a user would make. */
function reach({ agent }: Node, wish: Wish, random: () => number): void {
  const vifs = new Map(wish.vifs.map((v) => [v.name, v]));
  const vrfs = new Map(wish.vrfs.map((v) => [v.name, v]));
  const maybeFlush = () => {
    if (random() < 0.2) agent.flush();
  };
  const wasVni = (name: string) =>
    agent
      .desired()
      .some((op) => op.op === 'vni_set' && op.vni === 100 + VRFS.indexOf(name as never));
  // VRFs cannot change in place: those that differ go, with all that uses them.
  const changing = VRFS.filter((name) => {
    const wanted = vrfs.get(name);
    return (
      agent.vrfId(name) !== undefined &&
      (wanted === undefined || wasVni(name) !== (wanted.vni !== undefined))
    );
  });
  for (const name of shuffled(agent.vifs(), random)) {
    const now = agent.vif(name) as VifIntent;
    const uses = [now.vrf, ...(now.floatingIps ?? []).map((f) => f.vrf)];
    if (!vifs.has(name) || uses.some((v) => changing.includes(v as never)) || random() < 0.3)
      agent.removeVif(name);
    maybeFlush();
  }
  for (const name of changing) agent.removeVrf(name);
  for (const v of shuffled(wish.vrfs, random)) {
    if (agent.vrfId(v.name) === undefined) agent.addVrf(v);
    maybeFlush();
  }
  for (const v of shuffled(wish.vifs, random)) {
    if (agent.vif(v.name) !== undefined) {
      agent.updateVif(v);
    } else if (random() < 0.5) {
      agent.addVif(v);
    } else {
      agent.addVif({ ...v, floatingIps: [] });
      maybeFlush();
      for (const f of shuffled(v.floatingIps ?? [], random)) agent.addFloatingIp(v.name, f);
    }
    maybeFlush();
  }
}

/** Tables with ids replaced by what they stand for; labels by where they lead. */
function meaning(nodes: readonly Node[]): string[] {
  const byAddress = new Map(nodes.map((node, i) => [`10.169.25.2${i}`, node]));
  const lead = (node: Node, label: number, depth: number): string => {
    const target = node.rows('labels', 'label_set').find((l) => l.label === label);
    return target === undefined ? `${label}` : nextHop(node, target.nextHop, depth + 1);
  };
  const labelled = (far: string, label: number, depth: number): string => {
    const node = byAddress.get(far);
    if (node === undefined) return `${label}`;
    return depth > 0 ? '[…]' : `[${lead(node, label, depth)}]`;
  };
  const vrfName = (node: Node, id: number) =>
    node.rows('vrfs', 'vrf_set').find((v) => v.vrf === id)?.name ?? `no VRF ${id}`;
  const vifName = (node: Node, id: number) =>
    node.rows('vifs', 'vif_set').find((v) => v.vif === id)?.name ?? 'none';
  const target = (node: Node, id: number, label: number, depth: number): string => {
    const to = node.nextHop(id);
    const suffix = to?.op === 'nh_tunnel_set' ? ` ${labelled(to.destination, label, depth)}` : '';
    return nextHop(node, id, depth) + suffix;
  };
  const nextHop = (node: Node, id: number, depth: number): string => {
    const row = node.nextHop(id);
    if (row === undefined) return `nothing ${id}`;
    switch (row.op) {
      case 'nh_interface_set':
        return `interface ${vifName(node, row.vif)} ${vrfName(node, row.vrf)} ${row.flags} ${row.destinationMac}`;
      case 'nh_tunnel_set':
        return `tunnel ${row.encap} ${row.destination} ${row.destinationMac}`;
      case 'nh_ecmp_set': {
        const members = row.members.map(
          (m) => `${target(node, m.nextHop, m.label, depth)} x${m.weight}`,
        );
        expect(new Set(row.members.map((m) => m.member)).size).toBe(members.length);
        return `ecmp ${vrfName(node, row.vrf)} ${row.flags} ${row.hashFields} {${members.sort().join('; ')}}`;
      }
      case 'nh_replicate_set':
        return `replicate ${row.kind} {${row.replicas
          .map((r) => target(node, r.nextHop, r.label, depth))
          .sort()
          .join('; ')}}`;
      default:
        return `${row.op} ${'vrf' in row ? vrfName(node, row.vrf) : ''} ${'flags' in row ? row.flags : ''}`;
    }
  };
  return nodes.flatMap((node, i) => {
    const lines: string[] = [];
    for (const r of node.rows('routes', 'route_set')) {
      lines.push(
        `${vrfName(node, r.vrf)} ${r.prefix} ${r.flags} ${r.mac} -> ${target(node, r.nextHop, r.label, 0)}`,
      );
    }
    for (const m of node.rows('macs', 'mac_set')) {
      lines.push(`${vrfName(node, m.vrf)} ${m.mac} -> ${target(node, m.nextHop, m.label, 0)}`);
    }
    for (const l of node.rows('labels', 'label_set'))
      lines.push(`label -> ${nextHop(node, l.nextHop, 0)}`);
    for (const v of node.rows('vnis', 'vni_set'))
      lines.push(`vni ${v.vni} -> ${nextHop(node, v.nextHop, 0)}`);
    for (const v of node.rows('vifs', 'vif_set')) {
      lines.push(
        `vif ${v.name} ${vrfName(node, v.vrf)} ${v.flags} ${v.ipv4} ${v.ipv6} -> ${v.nextHop === 0 ? '' : nextHop(node, v.nextHop, 0)}`,
      );
    }
    for (const f of node.rows('floating_ips', 'floating_ip_set')) {
      lines.push(
        `fip ${vifName(node, f.vif)} ${vrfName(node, f.vrf)} ${f.address} ${f.fixed} ${f.portMap}`,
      );
    }
    lines.push(`${node.dataplane.dump('next_hops').length} next hops`);
    return lines.sort().map((line) => `${i}: ${line}`);
  });
}

function cluster(): { all: Cluster; nodes: Node[] } {
  const all = new Cluster();
  for (const name of VRFS) all.exchange.createInstance({ name });
  return { all, nodes: NODES.map((name) => all.node(name, new RecordingDataplane())) };
}

/** mulberry32, so that a failing history can be run again. */
function generator(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

const scenario = fc.record({
  wishes: fc.tuple(wish, wish),
  detours: fc.tuple(wish, wish),
  routes: foreign,
  seeds: fc.tuple(fc.integer(), fc.integer()),
});

test('the same end by any way: equal tables, equal to what is desired, and nothing to repair', () => {
  fc.assert(
    fc.property(scenario, ({ wishes, detours, routes, seeds }) => {
      const [straight, winding] = [cluster(), cluster()];
      const nothing: Wish = { vrfs: [], vifs: [] };
      play(straight.all, straight.nodes, wishes, [nothing, nothing], routes, generator(seeds[0]));
      play(winding.all, winding.nodes, wishes, detours, routes, generator(seeds[1]));
      expect(meaning(winding.nodes)).toEqual(meaning(straight.nodes));
      for (const { agent } of [...straight.nodes, ...winding.nodes]) {
        expect(agent.audit()).toEqual([]);
      }
    }),
    { numRuns: 150 },
  );
});

test('everything taken away leaves what was there at the start', () => {
  fc.assert(
    fc.property(scenario, ({ wishes, detours, routes, seeds }) => {
      const { all, nodes } = cluster();
      all.settle();
      const start = nodes.map(({ agent }) => agent.counts());
      play(all, nodes, wishes, detours, routes, generator(seeds[0]));
      const random = generator(seeds[1]);
      for (const node of nodes) reach(node, { vrfs: [], vifs: [] }, random);
      all.settle();
      expect(nodes.map(({ agent }) => agent.counts())).toEqual(start);
      for (const node of nodes) {
        expect(node.rows('vifs', 'vif_set')).toHaveLength(1);
        expect(node.rows('vrfs', 'vrf_set')).toHaveLength(1);
        expect(node.rows('routes', 'route_set')).toHaveLength(1);
        expect(node.dataplane.dump('next_hops')).toHaveLength(1);
        for (const table of ['macs', 'labels', 'vnis', 'floating_ips'] as const) {
          expect(node.dataplane.dump(table)).toEqual([]);
        }
        expect(node.agent.published()).toEqual([]);
      }
    }),
    { numRuns: 100 },
  );
});
