/**
 * Routes as a control plane hands them over: ops as objects, encoded, checked and applied in Programs as large as they
 * may be, into one VRF, and into 1,000 VRFs in turn. `set`: into tables that are empty but for other routes, which is what
 * a new full table costs, once. `changed`: each route gets another next hop, all of them being there, by `benchmark`.
 */
import type { Op } from '../src/dataplane/api.ts';
import { openDataplane } from '../src/dataplane/dataplane.ts';
import { measure, report } from './harness.ts';

const ROUTES = 200_000;
const OPS_A_PROGRAM = 4_000;

/** Ops about each route, in VRF 1 … vrfs in turn; the prefixes of a VRF are /32s and neighbours, as pods are. */
function programs(vrfs: number, op: (vrf: number, prefix: string, i: number) => Op): Op[][] {
  const all: Op[][] = [];
  for (let i = 0; i < ROUTES; i++) {
    if (i % OPS_A_PROGRAM === 0) all.push([]);
    const n = Math.floor(i / vrfs);
    const prefix = `10.${n >> 16}.${(n >> 8) & 255}.${n & 255}/32`;
    all.at(-1)!.push(op(1 + (i % vrfs), prefix, i));
  }
  return all;
}

const routes = (vrfs: number, nextHop: number): Op[][] =>
  programs(vrfs, (vrf, prefix, i) => {
    return { op: 'route_set', vrf, prefix, nextHop, label: 16 + (i & 0xffff) };
  });

for (const [vrfs, called] of [
  [1, 'one VRF'],
  [1000, '1,000 VRFs'],
] as const) {
  const dataplane = openDataplane({ flowEntries: 1024 });
  const networks = Array.from(
    { length: vrfs },
    (_, i): Op => ({
      op: 'vrf_set',
      vrf: 1 + i,
      name: `bench-${i}`,
    }),
  );
  dataplane.commit([...networks, { op: 'nh_discard_set', nextHop: 1 }]);

  // What has run before is compiled: as many routes as in the measured pass, and gone again.
  const first = routes(vrfs, 1);
  for (const ops of first) dataplane.commit(ops);
  for (const ops of programs(vrfs, (vrf, prefix) => ({ op: 'route_delete', vrf, prefix }))) {
    dataplane.commit(ops);
  }

  const start = performance.now();
  for (const ops of first) dataplane.commit(ops);
  report({
    name: `routes set, ${called}`,
    value: ROUTES / ((performance.now() - start) / 1000),
    unit: 'routes/s',
  });

  const turns = [...routes(vrfs, 0), ...first];
  let turn = 0;
  measure(`routes changed, ${called}`, 'routes', OPS_A_PROGRAM, () =>
    dataplane.commit(turns[turn++ % turns.length]!),
  );
  dataplane.close();
}
