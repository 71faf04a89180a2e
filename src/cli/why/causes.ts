/**
 * Everything `vrouter why` can name as the reason why two ends do not reach each other: one row a cause.
 * The code is what scripts compare (docs/why.md lists them); `help` is what to look at next. Which drop
 * of the data plane means which cause is said here too; what a row says of `refine` is looked into further
 * (diagnose.ts), since a drop alone does not tell, say, a missing route from one that was not imported.
 */
export interface Cause {
  readonly what: string;
  readonly help: string;
}

export const CAUSES = {
  sender_down: {
    what: "the sender's interface is down",
    help: 'set it up: ip link set … up, in the namespace that has it',
  },
  no_route: {
    what: 'no route leads there',
    help: 'vrouter rt --dump VRF; is the address published by anyone?',
  },
  not_imported: {
    what: 'another network has it, and its routes are not imported',
    help: 'compare the route targets: what one exports the other must import (control.yaml)',
  },
  unresolved_hop: {
    what: 'a route is there, but its next hop cannot be used',
    help: 'route.unresolved says why; often a missing neighbour or label',
  },
  exchange_away: {
    what: 'the node has no session with its route exchange',
    help: 'is `vrouter control` running, and is exchange.socket its path?',
  },
  discarded: {
    what: 'its route says: discard',
    help: 'vrouter rt --get ADDRESS --vrf VRF, vrouter nh --get ID',
  },
  wrong_source: {
    what: 'the source is not where its route leads (reverse path check)',
    help: "does the sender use an address that is another interface's, or has its route moved?",
  },
  policy: {
    what: 'a network policy does not let it pass',
    help: 'the policies of the interface named here, in the node file or by policy.set',
  },
  security_group: {
    what: 'no security group allows it',
    help: 'the groups of the interface named here, in the node file or by policy.set',
  },
  unmapped_port: {
    what: 'the floating IP has no such port',
    help: 'its `ports` list what it maps',
  },
  untranslatable: {
    what: 'NAT cannot translate this protocol',
    help: 'TCP, UDP, SCTP and ICMP echo can be translated',
  },
  too_big: {
    what: 'the packet is larger than the path, and may not be split',
    help: 'lower the MTU of the sender, or raise that of the underlay',
  },
  ttl: { what: 'its TTL runs out', help: 'a loop, or a sender that starts with too little' },
  quota: {
    what: 'the flow quota is used up',
    help: 'flow_quota of the interface or network; vrouter flow -l shows who has them',
  },
  flow_clash: {
    what: 'another flow has the same addresses and ports once translated',
    help: 'vrouter flow --match',
  },
  flow_table_full: {
    what: 'the flow table is full',
    help: 'dataplane.flow_entries in the node file',
  },
  nat_ports: {
    what: 'the source NAT has no free port',
    help: 'widen the range of ports of the source_nats entry',
  },
  new_flows_barred: { what: 'the interface takes no new flows', help: 'flag drop_new_flows' },
  stale_label: {
    what: 'the far node does not know the label it was sent',
    help: "the route is older than the port behind it; is the far node's session up?",
  },
  stale_vni: {
    what: 'the far node does not know the VNI it was sent',
    help: 'compare `vni` of the network on both nodes',
  },
  wrong_neighbour: {
    what: "the frame goes to a MAC that is not the far node's",
    help: "underlay.neighbours in the node file, or the kernel's neighbour table",
  },
  unknown_mac: {
    what: 'nobody knows the destination MAC, and the network does not flood',
    help: 'vrouter rt --dump VRF --family bridge',
  },
  no_live_path: {
    what: 'the route has several paths and none can be used',
    help: 'vrouter nh --get ID shows the members',
  },
  receiver_gone: {
    what: 'the interface it leads to has no port',
    help: 'vrouter vif --list; was the port removed?',
  },
  receiver_down: {
    what: "the receiver's interface is down",
    help: 'set it up: ip link set … up, in the namespace that has it',
  },
  uplink_down: { what: 'the uplink is down', help: 'ip link; cable, driver, bond' },
  loop: {
    what: 'it would go back to where it came from',
    help: 'two nodes lead to each other: compare vrouter rt --get on both',
  },
  reply_lost: {
    what: 'replies do not come back to the sender',
    help: "vrouter rt --get SENDER on the receiver's node",
  },
  reply_changed: {
    what: 'replies come back with addresses the sender does not expect',
    help: "both directions must pass the same node's NAT",
  },
  refused: {
    what: 'it arrives, and the receiver refuses',
    help: 'nothing listens there; ss -tlnp in the receiver',
  },
  no_answer: {
    what: 'it arrives, and the receiver does not answer',
    help: 'is it running, is there a firewall in it; vrouter capture at its interface',
  },
  forwarder_away: {
    what: 'the forwarder process of the node does not answer',
    help: 'its log; the node starts it again',
  },
  dropped: { what: 'the data plane drops it', help: 'vrouter explain, with the same addresses' },
} as const satisfies Readonly<Record<string, Cause>>;

export type CauseCode = keyof typeof CAUSES;

/** What is not a cause but the end of what can be said from here. */
export const UNKNOWNS = {
  far_end_not_asked: 'the packet leaves for a node that was not asked: name its socket with --sock',
  held: 'it is kept for its first fragment',
  too_many_hops: 'it is still under way after as many nodes as are followed',
} as const;

export type UnknownCode = keyof typeof UNKNOWNS;

/** By the printed name of the drop (native/base/drop_reasons.def). */
export const DROP_CAUSES: Readonly<Record<string, CauseCode>> = {
  'Invalid Source': 'wrong_source',
  Discards: 'no_route',
  'Flow Unusable': 'flow_clash',
  'Flow Table Full': 'flow_table_full',
  'Flow Invalid Protocol': 'untranslatable',
  'NAT Ports Exhausted': 'nat_ports',
  'New Flow Drops': 'new_flows_barred',
  'Invalid Label': 'stale_label',
  'Invalid VNID': 'stale_vni',
  'Invalid IF': 'receiver_gone',
  'Nowhere to go': 'receiver_gone',
  'Fragmentation Needed': 'too_big',
  'TTL Exceeded': 'ttl',
  'No Live Path': 'no_live_path',
  'No L2 Route': 'unknown_mac',
  'Packet Loop': 'loop',
};

/** By the flow's own reason (native/base/flow_drop_reasons.def), when the drop is Flow Action Drop. */
export const FLOW_CAUSES: Readonly<Record<string, CauseCode>> = {
  NoDstRt: 'no_route',
  NoSrcRt: 'wrong_source',
  NoSrcRtRpfNh: 'wrong_source',
  IntfErr: 'receiver_gone',
  NoFipPortMap: 'unmapped_port',
  Policy: 'policy',
  OutPolicy: 'policy',
  SG: 'security_group',
  OutSG: 'security_group',
};
