/** A node's control nodes as its file lists them: sockets, certificates, times. The rest is xmpp/control-nodes.ts's. */
import { canonicalIp, isIpv4 } from '../addr/ip.ts';
import {
  type ControlNodesFile,
  controlNodeName,
  type NodeFile,
  XMPP_PORT,
} from '../config/node.ts';
import { ControlNodes, type ControlNodesOptions } from '../xmpp/control-nodes.ts';
import type { Attempt } from '../xmpp/transport/byte-stream.ts';
import { connectStream } from '../xmpp/transport/sockets.ts';
import { tlsMaterial } from './control-listener.ts';

export function controlNodesOf(
  file: NodeFile,
  control: ControlNodesFile,
  events: Pick<ControlNodesOptions, 'leaveRoutes' | 'onSession' | 'onFailed' | 'onRefused'>,
): ControlNodes {
  const { hold_seconds, sub_cluster, end_of_rib_seconds, settle_seconds, configuration } = control;
  const tls = control.tls && tlsMaterial(control.tls);
  const { ipv4, ipv6 } = file.underlay;
  const ownAddresses = [ipv4, ipv6].filter((address) => address !== undefined).map(canonicalIp);
  return new ControlNodes({
    ...events,
    name: file.name,
    ownAddresses,
    nodes: control.xmpp.map((node) => {
      const localAddress = control.source ?? (isIpv4(node.address) ? ipv4 : ipv6);
      const where = {
        host: node.address,
        port: node.port ?? XMPP_PORT,
        ...(localAddress !== undefined && { localAddress }),
        ...(tls !== undefined && { tls }),
      };
      return {
        name: controlNodeName(node),
        connect: (attempt: Attempt) => connectStream(where, attempt),
      };
    }),
    session: {
      tls: tls === undefined ? 'off' : 'required',
      ...(hold_seconds !== undefined && { holdMs: hold_seconds * 1000 }),
      ...(sub_cluster !== undefined && { subCluster: sub_cluster }),
    },
    ...(end_of_rib_seconds !== undefined && { endOfRibMs: end_of_rib_seconds * 1000 }),
    ...(settle_seconds !== undefined && { settleMs: settle_seconds * 1000 }),
    ...(configuration !== undefined && { configuration: configTimes(configuration) }),
  });
}

function configTimes(file: NonNullable<ControlNodesFile['configuration']>) {
  const { quiet_seconds, silent_seconds, longest_seconds } = file;
  return {
    ...(quiet_seconds !== undefined && { quietMs: quiet_seconds * 1000 }),
    ...(silent_seconds !== undefined && { silentMs: silent_seconds * 1000 }),
    ...(longest_seconds !== undefined && { longestMs: longest_seconds * 1000 }),
  };
}
