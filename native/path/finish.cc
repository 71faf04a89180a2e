// The end of every packet: counted by its verdict, then handed to its port or freed. Nothing else
// in the pipeline counts packets or frees them.
#include "path/rooms.h"
#include "wire/print.h"

namespace vrouter {
namespace {

VrfCounters* vrf_counters(Context& context, VrfId vrf) {
  return vrf.value < context.counters.vrfs.size() ? &context.counters.vrfs[vrf.value] : nullptr;
}

VifCounters* vif_counters(Context& context, VifId vif) {
  return vif.value < context.counters.vifs.size() ? &context.counters.vifs[vif.value] : nullptr;
}

// `vrfstats`: which kinds of next hop the network's packets met. nullptr: nobody counts it.
uint64_t* next_hop_counter(Context& context, const PacketMeta& meta, VrfCounters& c) {
  const NextHop* out = context.router.next_hop(meta.next_hop);
  if (out == nullptr) return nullptr;
  switch (out->kind) {
    case NextHopKind::Discard:
      return &c.discards;
    case NextHopKind::Receive:
      return &c.receives;
    case NextHopKind::L2Receive:
      return &c.l2_receives;
    case NextHopKind::Interface:
      return meta.l2 ? &c.l2_encaps : &c.encaps;
    case NextHopKind::Tunnel:
      return out->encap == Encap::MplsOverUdp   ? &c.udp_mpls_tunnels
             : out->encap == Encap::MplsOverGre ? &c.gre_mpls_tunnels
                                                : &c.vxlan_tunnels;
    case NextHopKind::Replicate:
      return &c.l2_mcast_composites;
    default:
      return nullptr;
  }
}

// Where a packet was counted: the next one is often of the same network and next hop, or of one of
// few.
struct Tally {
  VrfId vrf;
  NextHopId next_hop;
  bool l2 = false;
  VrfCounters* counters = nullptr;
  uint64_t* counter = nullptr;
};

void find_next_hop_counter(Context& context, const PacketMeta& meta, Tally& tally) {
  if (meta.vrf != tally.vrf || meta.next_hop != tally.next_hop || meta.l2 != tally.l2) {
    VrfCounters* c = vrf_counters(context, meta.vrf);
    tally = {meta.vrf, meta.next_hop, meta.l2, c,
             c != nullptr ? next_hop_counter(context, meta, *c) : nullptr};
  }
}

void count_next_hop(Context& context, const PacketMeta& meta, Tally& tally) {
  find_next_hop_counter(context, meta, tally);
  if (tally.counters == nullptr) return;
  if (meta.flow.valid() && flow_at(context, meta.flow).has_member()) {
    ++tally.counters->ecmp_composites;
  }
  if (tally.counter != nullptr) ++*tally.counter;
}

void count_sent(Context& context, const Packet& packet) {
  VifCounters* out = vif_counters(context, packet.meta.out_vif);
  if (out == nullptr) return;
  ++out->tx_packets;
  out->tx_bytes += packet.length;
}

void count_dropped(Context& context, const Packet& packet) {
  const PacketMeta& meta = packet.meta;
  ++context.counters.drops[static_cast<uint32_t>(meta.drop)];
  if (meta.drop == DropReason::ClonedOriginal) {  // it left as several
    Tally tally;
    count_next_hop(context, meta, tally);
    if (!meta.generated && !meta.copy) ++context.counters.consumed;
    return;
  }
  if (context.drop_log != nullptr && context.trace == nullptr) {
    context.drop_log->add(packet, meta.drop, meta.room, context.now_ns);
  }
  if (VifCounters* in = vif_counters(context, meta.vif)) ++in->drops;
  if (meta.drop == DropReason::Discards) {
    if (VrfCounters* c = vrf_counters(context, meta.vrf)) ++c->discards;
  }
  if (!meta.generated && !meta.copy) ++context.counters.dropped;
}

// While explaining: how it ended, and what it was then.
void note_end(Context& context, const Packet& packet) {
  const PacketMeta& meta = packet.meta;
  const bool dropped = meta.verdict == Verdict::Drop;
  const bool by_flow = dropped && meta.drop == DropReason::FlowActionDrop && meta.flow.valid();
  context.trace->ends.push_back(TraceEnd{
      .verdict = meta.verdict,
      .drop = meta.drop,
      .flow_drop = by_flow ? half_at(context, meta.flow).drop() : FlowDrop::Unknown,
      .room = meta.room,
      .out_vif = dropped ? VifId{} : meta.out_vif,
      .vrf = meta.vrf,
      .generated = meta.generated,
      .copy = meta.copy,
      .frame = {packet.data(), packet.data() + packet.length},
  });
  if (dropped && meta.drop != DropReason::ClonedOriginal) {
    context.trace->note("finish", "dropped: %s (%s)", drop_name(meta.drop), drop_why(meta.drop));
  } else if (!dropped) {
    context.trace->note("finish", "out of vif0/%u, %u bytes\n%s", meta.out_vif.value, packet.length,
                        print_frame(packet.data(), packet.length).c_str());
  }
}

}  // namespace

void finish(Context& context, Burst& burst) {
  Tally tally;
  for (uint32_t i = 0; i < burst.count; ++i) {
    Packet* packet = burst.packets[i];
    const PacketMeta& meta = packet->meta;
    const bool input = !meta.generated && !meta.copy;
    switch (meta.verdict) {
      case Verdict::Hold:
        continue;  // the fragment table's now
      case Verdict::Transmit:
        count_next_hop(context, meta, tally);
        ++(input ? context.counters.forwarded : context.counters.generated);
        break;
      case Verdict::Reply:
        ++context.counters.replied;
        break;
      case Verdict::Punt:
        ++context.counters.punted;
        break;
      case Verdict::Continue:  // no room took it: a hole in the pipeline, counted as such
        packet->drop(DropReason::Misc);
        [[fallthrough]];
      case Verdict::Drop:
        if (context.trace != nullptr) note_end(context, *packet);
        count_dropped(context, *packet);
        context.pool.free(packet);
        continue;
    }
    count_sent(context, *packet);
    if (context.trace != nullptr) {
      note_end(context, *packet);
      context.pool.free(packet);
      continue;
    }
    context.transmit(context.sink, packet);
  }
  burst.count = 0;
}

// They came in by a port and leave by one, each with its next hop: counted by runs that have
// network, next hop and vif in common.
void finish_carried(Context& context, Burst& burst) {
  constexpr uint32_t kTallies = 8;
  Tally tallies[kTallies];
  context.counters.forwarded += burst.count;
  for (uint32_t at = 0; at < burst.count;) {
    const PacketMeta& first = burst.packets[at]->meta;
    uint64_t bytes = 0;
    uint64_t composites = 0;
    const uint32_t from = at;
    for (; at < burst.count; ++at) {
      const Packet& packet = *burst.packets[at];
      const PacketMeta& meta = packet.meta;
      if (meta.next_hop != first.next_hop || meta.vrf != first.vrf ||
          meta.out_vif != first.out_vif || meta.l2 != first.l2) {
        break;
      }
      bytes += packet.length;
      composites += meta.flow.valid() && context.flows[meta.flow].has_member() ? 1 : 0;
    }
    const uint32_t count = at - from;
    Tally& tally = tallies[first.next_hop.value % kTallies];
    find_next_hop_counter(context, first, tally);
    if (tally.counters != nullptr) {
      tally.counters->ecmp_composites += composites;
      if (tally.counter != nullptr) *tally.counter += count;
    }
    if (VifCounters* out = vif_counters(context, first.out_vif)) {
      out->tx_packets += count;
      out->tx_bytes += bytes;
    }
  }
  if (context.transmit_all != nullptr) {
    context.transmit_all(context.sink, burst.packets, burst.count);
  } else {
    for (uint32_t i = 0; i < burst.count; ++i) context.transmit(context.sink, burst.packets[i]);
  }
  burst.count = 0;
}

}  // namespace vrouter
