// The two flow rooms. look_up_flows() finds the flows of a whole burst (hash and prefetch,
// prefetch, find, act: separate loops, so that the memory accesses of many packets overlap);
// open_flows() decides the first packets, many before it stores the first pair, for the same
// reason. Writes the flow table, the quotas, FlowCreated events.
//
// While explaining (context.trace) nothing is written to the table: a flow that is hit is copied to
// the trace's scratch pair, one that would be made is built there and found there by later frames
// of the same trace.
#include <algorithm>
#include <cstring>
#include <optional>

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
  const NextHopId now =
      reverse_next_hop(context, VrfId{reverse_of(context, id).flow.vrf}, key.family, source,
                       VifId{}, packet.meta.outer_source, &has_route);
  if (now == kDiscard) return false;
  half.flow.set_rpf_next_hop(now.value);
  return true;
}

// One half more, of packets that enter by `vif_id` and are routed in `vrf_id`.
bool over_quota(Context& context, VifId vif_id, VrfId vrf_id) {
  const auto used_up = [&](const char* whose, uint32_t id, uint32_t used, uint32_t quota) {
    if (quota == 0 || used < quota) return false;
    if (context.trace != nullptr) {
      context.trace->note("open_flow", "quota of %s%u used up: %u of %u flows", whose, id, used,
                          quota);
    }
    return true;
  };
  const Vif* vif = vif_id.valid() ? context.router.vif(vif_id) : nullptr;
  if (vif != nullptr &&
      used_up("vif0/", vif_id.value, context.quota.vifs[vif_id.value], vif->spec.flow_quota)) {
    return true;
  }
  const Vrf* vrf = context.router.vrf(vrf_id);
  return vrf != nullptr &&
         used_up("VRF ", vrf_id.value, context.quota.vrfs[vrf_id.value], vrf->spec.flow_quota);
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
  if (context.tier != nullptr && context.trace == nullptr) context.tier->met(context, id);
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

// All that is known of a new pair before anything is written.
struct Opening {
  Opening(Context& context, const Packet& packet, SourceMemory* memory)
      : arrival(arrival_of(packet)), d(decide(context, packet.meta.key, arrival, nullptr, memory)) {
    if (d.refuse) return;
    reply = reversed(d.translated, d.reverse_scope);
    reply_hash = context.flows.hash(reply);
  }

  const Arrival arrival;
  const Decision d;
  FlowKey reply;  // unless refused, as the next
  uint64_t reply_hash = 0;
};

// Whether a new flow may begin with this packet, whatever the tables say.
bool may_open(Context& context, Packet& packet) {
  if (packet.meta.icmp_error) {
    packet.drop(DropReason::IcmpError);
    return false;
  }
  const Vif* vif = context.router.vif(packet.meta.vif);
  if (vif != nullptr && (vif->spec.flags & kVifDropNewFlows) != 0) {
    packet.drop(DropReason::NewFlowDrops);
    return false;
  }
  return true;
}

// While explaining: the pair is built beside the table.
void pretend(Context& context, Packet& packet, const Opening& opening) {
  Trace& trace = *context.trace;
  const FlowHalf forward = trace.forward.half();
  const FlowHalf reverse = trace.reverse.half();
  trace.forward = FlowEntry{};
  trace.reverse = FlowEntry{};
  forward.set_key(packet.meta.key);
  reverse.set_key(opening.reply);
  store_decision(context, packet.meta.key, opening.arrival, opening.d, forward, reverse);
  forward.flow.flags |= kFlowInitiator | kFlowInUse;
  reverse.flow.flags |= kFlowInUse;
  trace.pretended = true;
  follow(context, packet, kScratchForward);
}

void note_opening(Context& context, const Decision& d) {
  if (context.trace == nullptr) return;
  context.trace->note("open_flow", "no flow; %s%s",
                      d.refuse                       ? "refused: "
                      : d.action == FlowAction::Drop ? "a flow that drops: "
                      : d.action == FlowAction::Nat  ? "a flow with NAT would be made"
                                                     : "a flow would be made",
                      d.refuse                       ? drop_name(d.packet_drop)
                      : d.action == FlowAction::Drop ? flow_drop_name(d.drop)
                                                     : "");
}

// Carries out a decision. False: another flow has got the port that it chose (open_flows()), which
// is to be chosen again.
bool carry_out(Context& context, Packet& packet, const Opening& opening) {
  const PacketMeta& meta = packet.meta;
  const Decision& d = opening.d;
  note_opening(context, d);
  if (d.refuse) {
    packet.drop(d.packet_drop);
    return true;
  }
  if (over_quota(context, opening.arrival.vif, d.vrf) ||
      over_quota(context, reverse_entrance(context, opening.arrival, d), d.reverse_vrf)) {
    packet.drop(DropReason::FlowUnusable);
    return true;
  }
  if (context.trace != nullptr) {
    pretend(context, packet, opening);
    return true;
  }
  const auto insert = [&] {
    return context.flows.insert_absent(meta.key, meta.hash, opening.reply, opening.reply_hash,
                                       now_ms(context));
  };
  FlowTable::Pair pair = insert();
  if (pair.result == FlowInsert::Exists) {
    if (d.source_nat != ~0u) return false;
    if (reopened(packet, context.flows[pair.reverse])) {
      // Translated, it is what a dead connection to another address was: that one makes room.
      context.flows.erase(pair.reverse);
      pair = insert();
    }
  }
  if (pair.result != FlowInsert::Ok) {
    packet.drop(pair.result == FlowInsert::Full ? DropReason::FlowTableFull
                                                : DropReason::FlowUnusable);
    return true;
  }
  const FlowHalf forward = context.flows.half(pair.forward);
  const FlowHalf reverse = context.flows.half(pair.reverse);
  store_decision(context, meta.key, opening.arrival, d, forward, reverse);
  context.quota.enter(forward);
  context.quota.enter(reverse);
  if (Event* event = context.events.begin_push()) {
    describe_flow(*event, EventKind::FlowCreated, context.now_ns, pair.forward, forward, reverse);
    context.events.end_push();
  }
  follow(context, packet, pair.forward);
  return true;
}

void open(Context& context, Packet& packet) {
  if (!may_open(context, packet)) return;
  if (carry_out(context, packet, Opening(context, packet, nullptr))) return;
  packet.drop(DropReason::FlowUnusable);
}

// Room by room: first packets whose decisions are under way together.
constexpr uint32_t kAhead = 16;

// Flows that this burst has begun, by a few bits of their hashes: one that is found may be another.
struct Begun {
  uint64_t words[16] = {};

  bool add(uint64_t hash) {  // false: it was there
    uint64_t& word = words[hash >> 6 & 15];
    const uint64_t bit = uint64_t{1} << (hash & 63);
    if ((word & bit) != 0) return false;
    word |= bit;
    return true;
  }
};

// First packets of different flows, in order. Their decisions read the router and write nothing but
// the next port of a source NAT, so they are made before any of the pairs is stored, and the lines
// that those will be written to are on their way meanwhile.
// What an earlier one of them changes for a later: its pair may be the later one's flow (looked up
// again here), and it may hold the port that the later one chose (chosen again).
void open_together(Context& context, Packet* const* packets, uint32_t count) {
  std::optional<Opening> openings[kAhead];
  SourceMemory memory;
  for (uint32_t i = 0; i < count; ++i) {
    if (packets[i]->meta.icmp_error) continue;
    const Opening& opening = openings[i].emplace(context, *packets[i], &memory);
    if (!opening.d.refuse) context.flows.prefetch_bucket(opening.reply_hash);
  }
  for (uint32_t i = 0; i < count; ++i) {
    if (!openings[i] || openings[i]->d.refuse) continue;
    const PacketMeta& meta = packets[i]->meta;
    context.flows.prefetch_free(meta.hash, meta.key.family);
    context.flows.prefetch_free(openings[i]->reply_hash, meta.key.family);
  }
  for (uint32_t i = 0; i < count; ++i) {
    Packet& packet = *packets[i];
    const FlowId id = context.flows.find(packet.meta.key, packet.meta.hash);
    if (id.valid()) hit(context, packet, id);
    if (!packet.alive() || packet.meta.flow.valid() || !may_open(context, packet)) continue;
    if (!carry_out(context, packet, *openings[i])) open(context, packet);
  }
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
  Packet* missed[kBurst];
  uint32_t count = 0;
  for (uint32_t i = 0; i < burst.count; ++i) {
    Packet& packet = *burst.packets[i];
    if (!packet.alive() || !packet.meta.wants_flow || packet.meta.flow.valid()) continue;
    missed[count++] = &packet;
  }
  const bool together = context.in_groups && context.trace == nullptr;
  Begun begun;
  for (uint32_t from = 0; from < count;) {
    uint32_t to = from;
    while (together && to < count && to - from < kAhead && begun.add(missed[to]->meta.hash)) ++to;
    if (to == from) {
      // An earlier packet of this burst may have made it.
      flow_for_packet(context, *missed[to++]);
    } else {
      open_together(context, missed + from, to - from);
    }
    from = to;
  }
}

}  // namespace vrouter
