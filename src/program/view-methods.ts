/**
 * The methods behind the CLI's views, for any process with a data plane. Parameters are checked here; the
 * answers are made by views.ts.
 */
import { z } from 'zod';
import { parsePrefix } from '../addr/prefix.ts';
import { flowMatches, parseFlowMatch } from '../cli/flow-match.ts';
import { frameOfHex } from '../cli/frame-text.ts';
import { PAGE, type Page } from '../cli/protocol.ts';
import { choice, mapping, prefixOrAddress, reference, whole } from '../config/fields.ts';
import { checkParams } from '../config/load.ts';
import type { Dataplane } from '../dataplane/api.ts';
import { VRouterError } from '../errors.ts';
import type { Methods } from './rpc-server.ts';
import * as views from './views.ts';

const ALL_VRFS = 0xffffffff;
/** Jumbo, with room: longer than any frame a port takes. */
const MAX_FRAME_BYTES = 16_384;

const index = whole(0, 0xffffffff);
const page = { after: index.optional(), limit: whole(1, PAGE).optional() };
const family = choice(['inet', 'inet6', 'bridge']).optional();
const arriving = mapping({ vif: reference, packet: z.string().max(2 * MAX_FRAME_BYTES) });
const schemas = {
  none: mapping({}),
  page: mapping(page),
  id: mapping({ id: index }),
  flows: mapping({ ...page, match: z.string().max(512).optional() }),
  flush: mapping({ vrf: whole(0, 65535).optional() }),
  dump: mapping({ ...page, vrf: whole(0, 65535), family }),
  route: mapping({ vrf: whole(0, 65535), prefix: prefixOrAddress, family }),
  log: mapping({
    after: whole(0, Number.MAX_SAFE_INTEGER).optional(),
    vif: reference.optional(),
    reason: z.string().max(64).optional(),
  }),
  explain: mapping({
    ...arriving.shape,
    before: z.array(arriving).max(16).optional(),
  }),
};

function pageOf<T>(
  items: readonly T[],
  params: { after?: number | undefined; limit?: number | undefined },
): Page<T> {
  const from = params.after ?? 0;
  const to = from + (params.limit ?? PAGE);
  return { items: items.slice(from, to), next: to < items.length ? to : null };
}

export function viewMethods(dataplane: Dataplane): Methods {
  const flows = (match: string | undefined) => {
    const filter = parseFlowMatch(match ?? '*');
    return dataplane
      .flows()
      .filter((flow) => flowMatches(filter, flow))
      .sort((a, b) => a.index - b.index)
      .map(views.flowView);
  };
  const one = <T>(found: T | undefined, what: string): T => {
    if (found === undefined) throw new VRouterError('NOT_FOUND', `there is no ${what}`);
    return found;
  };
  return {
    'vif.list': (params) =>
      pageOf(views.vifs(dataplane), checkParams(schemas.page, 'vif.list', params)),
    'vif.get': (params) => views.vif(dataplane, checkParams(schemas.id, 'vif.get', params).id),
    'nh.list': (params) =>
      pageOf(views.nextHops(dataplane), checkParams(schemas.page, 'nh.list', params)),
    'nh.get': (params) =>
      views.nextHopTree(dataplane, checkParams(schemas.id, 'nh.get', params).id),
    'rt.dump': (params) => {
      const asked = checkParams(schemas.dump, 'rt.dump', params);
      if (asked.family === 'bridge') return pageOf(views.macs(dataplane, asked.vrf), asked);
      return pageOf(views.routes(dataplane, asked.vrf, asked.family === 'inet6' ? 6 : 4), asked);
    },
    'rt.get': (params) => {
      const asked = checkParams(schemas.route, 'rt.get', params);
      const text = asked.prefix.includes('/')
        ? asked.prefix
        : `${asked.prefix}/${asked.prefix.includes(':') ? 128 : 32}`;
      return views.route(dataplane, asked.vrf, parsePrefix(text), text);
    },
    'flow.list': (params) => {
      const asked = checkParams(schemas.flows, 'flow.list', params);
      return pageOf(flows(asked.match), asked);
    },
    'flow.get': (params) =>
      views.flowDetail(dataplane, checkParams(schemas.id, 'flow.get', params).id),
    'flow.table': (params) => {
      checkParams(schemas.none, 'flow.table', params);
      return views.flowTable(dataplane.info());
    },
    'flow.stats': (params) => {
      checkParams(schemas.none, 'flow.stats', params);
      return views.flowStatistics(dataplane);
    },
    'flow.delete': (params) => {
      const { id } = checkParams(schemas.id, 'flow.delete', params);
      return { deleted: one(dataplane.deleteFlow(id) || undefined, `flow ${id}`) };
    },
    'flow.flush': (params) => {
      const { vrf } = checkParams(schemas.flush, 'flow.flush', params);
      return { generation: dataplane.commit([{ op: 'flow_flush', vrf: vrf ?? ALL_VRFS }]) };
    },
    'mpls.dump': (params) =>
      pageOf(views.labels(dataplane), checkParams(schemas.page, 'mpls.dump', params)),
    'mpls.get': (params) => {
      const { id } = checkParams(schemas.id, 'mpls.get', params);
      return one(
        views.labels(dataplane).find((row) => row.label === id),
        `label ${id}`,
      );
    },
    'vxlan.dump': (params) =>
      pageOf(views.vnis(dataplane), checkParams(schemas.page, 'vxlan.dump', params)),
    'vxlan.get': (params) => {
      const { id } = checkParams(schemas.id, 'vxlan.get', params);
      return one(
        views.vnis(dataplane).find((row) => row.vni === id),
        `VNI ${id}`,
      );
    },
    'dropstats.get': (params) => {
      checkParams(schemas.none, 'dropstats.get', params);
      return views.drops(dataplane);
    },
    'dropstats.log': (params) => {
      const asked = checkParams(schemas.log, 'dropstats.log', params);
      return views.dropLog(dataplane, asked);
    },
    'dropstats.clear': (params) => {
      checkParams(schemas.none, 'dropstats.clear', params);
      dataplane.clearCounters();
      return { cleared: true };
    },
    info: (params) => {
      checkParams(schemas.none, 'info', params);
      return views.info(dataplane);
    },
    'vrfstats.dump': (params) => {
      checkParams(schemas.none, 'vrfstats.dump', params);
      return views.vrfStats(dataplane);
    },
    'vrfstats.get': (params) => {
      const { id } = checkParams(schemas.id, 'vrfstats.get', params);
      return one(
        views.vrfStats(dataplane).find((row) => row.vrf === id),
        `VRF ${id}`,
      );
    },
    explain: (params) => {
      const asked = checkParams(schemas.explain, 'explain', params);
      const given = ({ vif, packet }: z.infer<typeof arriving>) => ({
        vif: views.vifId(dataplane, vif),
        frame: frameOfHex(packet),
      });
      const { frame, vif } = given(asked);
      return views.explainView(dataplane.explain(frame, vif, (asked.before ?? []).map(given)));
    },
  };
}
