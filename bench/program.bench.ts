/**
 * The way of a Program out of JavaScript: encoding, decoding, and a commit into the real tables. Replacing
 * routes is what a control plane does all day, so the Program is 1,000 of them.
 */
import type { Op } from '../src/dataplane/api.ts';
import { openDataplane } from '../src/dataplane/dataplane.ts';
import { decodeProgram, encodeProgram } from '../src/dataplane/program.ts';
import { measure } from './harness.ts';

const ROUTES = 1000;

const routes = (nextHop: number): Op[] =>
  Array.from({ length: ROUTES }, (_, i) => ({
    op: 'route_set',
    vrf: 1,
    prefix: `10.${32 + (i >> 8)}.${i & 255}.1/32`,
    nextHop,
    label: 16 + i,
  }));

const ops = routes(0);
const bytes = encodeProgram(ops);
measure('encode a Program of routes', 'ops', ROUTES, () => encodeProgram(ops));
measure('decode a Program of routes', 'ops', ROUTES, () => decodeProgram(bytes));

const dataplane = openDataplane({ flowEntries: 1024 });
dataplane.commit([
  { op: 'vrf_set', vrf: 1, name: 'bench' },
  { op: 'nh_discard_set', nextHop: 1 },
]);
const programs = [encodeProgram(routes(0)), encodeProgram(routes(1))];
let turn = 0;
measure('commit a Program of routes', 'ops', ROUTES, () =>
  dataplane.commitBytes(programs[turn++ & 1]!),
);
measure('dump the routes of a VRF', 'ops', ROUTES, () => dataplane.dump('routes', 1));
dataplane.close();
