// The two flow rooms. look_up_flows() finds the flows of a whole burst (hash and prefetch,
// prefetch, find, act: separate loops, so that the memory accesses of many packets overlap);
// open_flows() decides the first packets. Writes the flow table, the quotas, FlowCreated events.
//
// While explaining (context.trace) nothing is written to the table: a flow that is hit is copied to
// the trace's scratch pair, one that would be made is built there and found there by later frames of
// the same trace.
#include <cstring>

#include "path/rooms.h"
#include "wire/tcp.h"

namespace vrouter {
namespace {

constexpr FlowId kScratchForward{kMaxFlows + 1};
constexpr FlowId kScratchReverse{kMaxFlows + 2};

Arrival arrival_of(const Packet& packet) {
  const PacketMeta& meta = packet.meta;
  Arrival a;
  if (!meta.from_fabric) a.vif = meta.vif;
  a.entry = meta.entry;
  a.vrf = meta.vrf;
  a.outer_source = meta.outer_source;
  a.l2 = meta.l2;
  if (meta.l2) std::memcpy(a.mac, packet.data(), 6);
  return a;
}

// The initiator's arrival as far as its entry remembers it, for a decision that a packet of the
// other direction makes due. The tunnel's far end is not among it.
Arrival remembered_arrival(Context& context, const FlowHalf& half) {
  const Flow& forward = half.flow;
  Arrival a;
  a.known_source = false;
  if ((forward.flags & kFlowFromFabric) == 0) {
    a.vif = VifId{half.cold.vif};
    const Vif* vif = context.router.vif(a.vif);
    a.vrf = vif != nullptr ? VrfId{vif->spec.vrf} : VrfId{forward.vrf};
  } else {
    a.entry = scope_next_hop(forward.scope);
    const NextHop* entry = context.router.next_hop(a.entry);
    a.vrf = entry != nullptr ? entry->vrf : VrfId{forward.vrf};
  }
  return a;
}

bool stale(Context& context, const Flow& flow) {
  const bool any = (flow.flags & kFlowTranslated) != 0;
  return flow.generation < context.router.generation_for(flow.vrf, any);
}

// Packets of `flow` come from where its decision said they would.
bool arrives_right(Context& context, const Packet& packet, FlowId id, const FlowHalf& half) {
  const uint32_t rpf = half.flow.rpf_next_hop();
  if (rpf == kDiscard.value || !packet.meta.from_fabric) return true;
  if (source_matches(context, NextHopId{rpf}, VifId{}, packet.meta.outer_source)) {
    return true;
  }
  // The source may have moved to another member of its route, or another node: follow it.
  bool has_route = false;
  const FlowKey key = half.key();
  const uint8_t* source = key.source;
  const NextHopId now = reverse_next_hop(context, VrfId{reverse_of(context, id).flow.vrf}, key.family,
                                         source, VifId{}, packet.meta.outer_source, &has_route);
  if (now == kDiscard) return false;
  half.flow.set_rpf_next_hop(now.value);
  return true;
}

bool over_quota(Context& context, const FlowHalf& half) {
  const auto used_up = [&](const char* whose, uint32_t id, uint32_t used, uint32_t quota) {
    if (quota == 0 || used < quota) return false;
    if (context.trace != nullptr) {
      context.trace->note("open_flow", "quota of %s%u used up: %u of %u flows", whose, id, used,
                          quota);
    }
    return true;
  };
  const uint32_t by = half.cold.vif;
  const Vif* vif = by != 0xffff ? context.router.vif(VifId{by}) : nullptr;
  if (vif != nullptr && used_up("vif0/", by, context.quota.vifs[by], vif->spec.flow_quota)) {
    return true;
  }
  const uint32_t in = half.flow.vrf;
  const Vrf* vrf = context.router.vrf(VrfId{in});
  return vrf != nullptr && used_up("VRF ", in, context.quota.vrfs[in], vrf->spec.flow_quota);
}

const char* action_text(const FlowHalf& half) {
  return half.flow.action == FlowAction::Drop  ? flow_drop_name(half.drop())
         : half.flow.action == FlowAction::Nat ? "NAT"
                                               : "forward";
}

// Uses a flow for a packet: state, counters, path.
void follow(Context& context, Packet& packet, FlowId id) {
  const FlowHalf half = half_at(context, id);
  Flow& flow = half.flow;
  PacketMeta& meta = packet.meta;
  meta.flow = id;
  if (!arrives_right(context, packet, id, half)) {
    packet.drop(DropReason::InvalidSource);
    return;
  }
  count_packet(half, meta.l3_length);
  if (!meta.icmp_error) {
    flow.last_seen = now_ms(context);
    if ((flow.flags & (kFlowInitiator | kFlowReplied)) == 0) {
      flow.flags |= kFlowReplied;
      reverse_of(context, id).flow.flags |= kFlowReplied;
    }
    if (meta.protocol == 6 && !meta.fragment) {
      const uint8_t* tcp = packet.data() + meta.l4;
      const uint32_t header = tcp::header_length(tcp);
      const uint32_t transport = meta.l3_length - (uint32_t{meta.l4} - meta.l3);
      track_tcp(half, reverse_of(context, id), meta.tcp_flags, tcp::sequence(tcp), tcp::ack(tcp),
                transport > header ? transport - header : 0,
                (context.router.spec().flags & kRouterUncondRst) != 0);
    }
  }
  if (context.trace != nullptr) {
    context.trace->note("flows", "%s half, %s, next hop %u, label %d",
                        flow.flags & kFlowInitiator ? "forward" : "reverse", action_text(half),
                        flow.next_hop(),
                        flow.label() == kNoLabel ? -1 : static_cast<int>(flow.label()));
  }
  if (flow.action == FlowAction::Drop) {
    if (half.drop() == FlowDrop::NoDstRt) send_unreachable(context, packet);
    packet.drop(DropReason::FlowActionDrop);
    return;
  }
  if ((flow.flags & kFlowL2) == 0) {
    meta.next_hop = NextHopId{flow.next_hop()};
    meta.label = flow.label();
    if (meta.next_hop == kDiscard) packet.drop(DropReason::Discards);
  }
}

// Decides a pair again. Returns false if it had to go; the packet is then as if never seen before,
// or dropped.
bool decide_again(Context& context, Packet& packet, FlowId id) {
  const FlowHalf half = half_at(context, id);
  const bool initiator = (half.flow.flags & kFlowInitiator) != 0;
  const FlowHalf other = reverse_of(context, id);
  const FlowHalf& forward = initiator ? half : other;
  const FlowHalf& reverse = initiator ? other : half;
  Arrival arrival = initiator && !packet.meta.icmp_error ? arrival_of(packet)
                                                         : remembered_arrival(context, forward);
  if ((forward.flow.flags & kFlowL2) != 0 && !initiator) {
    // A bridged flow's destination MAC is in the initiator's packets only; they decide.
    return true;
  }
  const FlowKey key = forward.key();
  const Decision d = decide(context, key, arrival, &forward);
  const bool same_binding =
      d.action == FlowAction::Drop || reverse.matches(reversed(d.translated, d.reverse_scope));
  if (d.refuse || !same_binding) {
    if (context.trace == nullptr) {
      context.flows.erase(id);
    }
    packet.meta.flow = FlowId{};
    if (d.refuse) {
      packet.drop(d.packet_drop);
    } else if (!initiator) {
      packet.drop(DropReason::FlowNatNoRflow);
    }
    return false;
  }
  const bool counted = context.trace == nullptr;  // a scratch pair is in nobody's quota
  if (counted) {
    context.quota.leave(forward);
    context.quota.leave(reverse);
  }
  store_decision(context, key, arrival, d, forward, reverse);
  if (counted) {
    context.quota.enter(forward);
    context.quota.enter(reverse);
  }
  forward.flow.flags |= kFlowModified;
  reverse.flow.flags |= kFlowModified;
  return true;
}

// A dead connection's addresses and ports used again.
bool reopened(const Packet& packet, const Flow& flow) {
  return packet.meta.protocol == 6 && (flow.tcp & kTcpDead) != 0 &&
         (packet.meta.tcp_flags & (tcp::kSyn | tcp::kAck)) == tcp::kSyn;
}

// Found in the table, or while explaining, in the pair that an earlier frame would have made.
FlowId find_flow(Context& context, const FlowKey& key, uint64_t hash) {
  const FlowId id = context.flows.find(key, hash);
  Trace* trace = context.trace;
  if (id.valid() || trace == nullptr || !trace->pretended) return id;
  if (trace->forward.half().matches(key)) return kScratchForward;
  return trace->reverse.half().matches(key) ? kScratchReverse : FlowId{};
}

void hit(Context& context, Packet& packet, FlowId id) {
  if (id == kScratchForward || id == kScratchReverse) {
    context.trace->note("flows", "found, as the packet before it would have made it");
  } else if (context.trace != nullptr) {
    context.trace->pretended = false;
    const FlowId back = context.flows.reverse(id);
    context.trace->forward.copy(context.flows.half(id));
    context.trace->reverse.copy(context.flows.half(back));
    context.trace->note("flows", "found %u<=>%u", id.value, back.value);
    id = kScratchForward;
  }
  packet.meta.flow = id;
  if (reopened(packet, flow_at(context, id))) {
    if (context.trace == nullptr) context.flows.erase(id);
    packet.meta.flow = FlowId{};
    return;
  }
  if (stale(context, flow_at(context, id)) && !decide_again(context, packet, id)) return;
  follow(context, packet, id);
}

void open(Context& context, Packet& packet) {
  PacketMeta& meta = packet.meta;
  if (meta.icmp_error) {
    packet.drop(DropReason::IcmpError);
    return;
  }
  const Vif* vif = context.router.vif(meta.vif);
  if (vif != nullptr && (vif->spec.flags & kVifDropNewFlows) != 0) {
    packet.drop(DropReason::NewFlowDrops);
    return;
  }
  const Arrival arrival = arrival_of(packet);
  const Decision d = decide(context, meta.key, arrival, nullptr);
  if (context.trace != nullptr) {
    context.trace->note("open_flow", "no flow; %s%s",
                        d.refuse                       ? "refused: "
                        : d.action == FlowAction::Drop ? "a flow that drops: "
                        : d.action == FlowAction::Nat  ? "a flow with NAT would be made"
                                                       : "a flow would be made",
                        d.refuse                       ? drop_name(d.packet_drop)
                        : d.action == FlowAction::Drop ? flow_drop_name(d.drop)
                                                       : "");
  }
  if (d.refuse) {
    packet.drop(d.packet_drop);
    return;
  }
  const FlowKey reply = reversed(d.translated, d.reverse_scope);
  FlowEntry scratch[2];
  const FlowHalf scratch_forward = scratch[0].half();
  const FlowHalf scratch_reverse = scratch[1].half();
  store_decision(context, meta.key, arrival, d, scratch_forward, scratch_reverse);
  if (over_quota(context, scratch_forward) || over_quota(context, scratch_reverse)) {
    packet.drop(DropReason::FlowUnusable);
    return;
  }
  if (context.trace != nullptr) {
    scratch_forward.set_key(meta.key);
    scratch_reverse.set_key(reply);
    scratch_forward.flow.flags |= kFlowInitiator | kFlowInUse;
    scratch_reverse.flow.flags |= kFlowInUse;
    context.trace->forward = scratch[0];
    context.trace->reverse = scratch[1];
    context.trace->pretended = true;
    follow(context, packet, kScratchForward);
    return;
  }
  FlowTable::Pair pair = context.flows.insert(meta.key, reply, now_ms(context));
  if (pair.result == FlowInsert::Exists && pair.reverse.valid() &&
      reopened(packet, context.flows[pair.reverse])) {
    // Translated, it is what a dead connection to another address was: that one makes room.
    context.flows.erase(pair.reverse);
    pair = context.flows.insert(meta.key, reply, now_ms(context));
  }
  if (pair.result != FlowInsert::Ok) {
    packet.drop(pair.result == FlowInsert::Full ? DropReason::FlowTableFull
                                                : DropReason::FlowUnusable);
    return;
  }
  const FlowHalf forward = context.flows.half(pair.forward);
  const FlowHalf reverse = context.flows.half(pair.reverse);
  store_decision(context, meta.key, arrival, d, forward, reverse);
  context.quota.enter(forward);
  context.quota.enter(reverse);
  context.events.push(
      flow_event(EventKind::FlowCreated, context.now_ns, pair.forward, forward, reverse));
  follow(context, packet, pair.forward);
}

}  // namespace

FlowHalf scratch_half(Context& context, FlowId id) {
  if (id == kScratchForward) return context.trace->forward.half();
  if (id == kScratchReverse) return context.trace->reverse.half();
  return context.flows.half(id);
}

FlowHalf reverse_of(Context& context, FlowId id) {
  if (context.trace != nullptr) {
    if (id == kScratchForward) return context.trace->reverse.half();
    if (id == kScratchReverse) return context.trace->forward.half();
  }
  return context.flows.half(context.flows.reverse(id));
}

void flow_for_packet(Context& context, Packet& packet) {
  PacketMeta& meta = packet.meta;
  meta.hash = context.flows.hash(meta.key);
  const FlowId id = find_flow(context, meta.key, meta.hash);
  if (id.valid()) hit(context, packet, id);
  if (packet.alive() && !meta.flow.valid()) open(context, packet);
}

void look_up_flows(Context& context, Burst& burst) {
  const auto wants = [](const Packet& p) { return p.alive() && p.meta.wants_flow; };
  for (uint32_t i = 0; i < burst.count; ++i) {
    Packet& packet = *burst.packets[i];
    if (!wants(packet)) continue;
    packet.meta.hash = context.flows.hash(packet.meta.key);
    context.flows.prefetch_bucket(packet.meta.hash);
  }
  for (uint32_t i = 0; i < burst.count; ++i) {
    if (wants(*burst.packets[i])) context.flows.prefetch_candidate(burst.packets[i]->meta.hash);
  }
  for (uint32_t i = 0; i < burst.count; ++i) {
    Packet& packet = *burst.packets[i];
    if (!wants(packet)) continue;
    const FlowId id = find_flow(context, packet.meta.key, packet.meta.hash);
    if (id.valid()) hit(context, packet, id);
  }
}

void open_flows(Context& context, Burst& burst) {
  for (uint32_t i = 0; i < burst.count; ++i) {
    Packet& packet = *burst.packets[i];
    if (!packet.alive() || !packet.meta.wants_flow || packet.meta.flow.valid()) continue;
    // An earlier packet of this burst may have made it.
    flow_for_packet(context, packet);
  }
}

}  // namespace vrouter
