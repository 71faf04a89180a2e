// The decision about a new flow, made once from its first packet, and again when something it
// depends on has changed: where it goes, what it is translated to, whether policy lets it pass, and
// where its replies will come in and go out. Reads tables, changes nothing; store_decision() writes
// the pair.
//
// Order: source (reverse path) → destination (route, floating IP of the sender, source NAT) →
// ECMP member → floating IP of the receiver → policy of both vifs → the way back.
//
// VRFs: each half's destination is looked up in the VRF of the other half. They differ when a
// floating IP or a source NAT carries the flow from one network into another.
#include <cstring>

#include "base/bytes.h"
#include "base/checksum.h"
#include "path/rooms.h"

namespace vrouter {
FlowKey reversed(const FlowKey& key, uint32_t scope) {
  FlowKey r = key;
  std::memcpy(r.source, key.destination, 16);
  std::memcpy(r.destination, key.source, 16);
  if (has_ports(key.protocol)) {  // ICMP: the identifier stands in the same place both ways
    r.source_port = key.destination_port;
    r.destination_port = key.source_port;
  }
  r.scope = scope;
  return r;
}

namespace {

constexpr uint32_t kPortTries = 512;  // how many ports of a range one new flow may probe

Decision refuse(Decision d, DropReason reason) {
  d.refuse = true;
  d.packet_drop = reason;
  return d;
}

// A flow whose packets are dropped: no translation, both halves keyed as the packet came.
Decision deny(Decision d, const FlowKey& key, FlowDrop why, DropReason packet_drop) {
  d.action = FlowAction::Drop;
  d.drop = why;
  d.packet_drop = packet_drop;
  d.nat = 0;
  d.translated = key;
  d.reverse_scope = key.scope;
  d.forward.next_hop = kDiscard;
  d.reverse.next_hop = kDiscard;
  return d;
}

void set_address(uint8_t* to, const Address& from) { std::memcpy(to, from.bytes.data(), 16); }

bool same_address(const Address& a, Family family, const uint8_t* b) {
  return a.family == family && std::memcmp(a.bytes.data(), b, a.size()) == 0;
}

// The sender's floating IP for this destination: one whose network has a longer (or the only)
// match.
const FloatingIp* egress_floating_ip(Context& context, const Vif& vif, const FlowKey& key,
                                     const ResolveOptions& options, Resolved& best) {
  const FloatingIp* chosen = nullptr;
  for (const uint32_t id : vif.floating_ips) {
    const FloatingIp* fip = context.router.floating_ip(id);
    if (fip == nullptr || fip->spec.port_map != 0 ||
        fip->spec.direction == static_cast<uint8_t>(NatDirection::Ingress) ||
        fip->spec.vrf == vif.spec.vrf || !same_address(fip->spec.fixed, key.family, key.source)) {
      continue;
    }
    Resolved r =
        resolve_address(context, VrfId{fip->spec.vrf}, key.family, key.destination, key, options);
    if (!r.found) continue;
    if (!best.found || r.route_length > best.route_length) {
      best = r;
      best.crossed = true;
      chosen = fip;
    }
  }
  return chosen;
}

const FloatingIp* ingress_floating_ip(Context& context, const Vif& vif, const FlowKey& key) {
  for (const uint32_t id : vif.floating_ips) {
    const FloatingIp* fip = context.router.floating_ip(id);
    if (fip != nullptr && same_address(fip->spec.address, key.family, key.destination)) return fip;
  }
  return nullptr;
}

const PortMap* find_port_map(const FloatingIp& fip, const FlowKey& key) {
  if (!has_ports(key.protocol)) return nullptr;
  for (const PortMap& map : fip.spec.ports) {
    if (map.protocol == key.protocol && map.port == key.destination_port) return &map;
  }
  return nullptr;
}

SourceNat* find_source_nat(Context& context, VrfId from, VrfId to, const FlowKey& key) {
  const Vrf* vrf = context.router.vrf(from);
  if (vrf == nullptr) return nullptr;
  for (const uint32_t id : vrf->source_nats) {
    SourceNat* rule = context.router.source_nat(id);
    if (rule != nullptr && rule->spec.to_vrf == to.value &&
        rule->spec.address.family == key.family &&
        rule->spec.source.contains(Address::from_bytes(key.family, key.source))) {
      return rule;
    }
  }
  return nullptr;
}

// A port of the rule's range whose reply key is not taken; false: none found in kPortTries.
bool take_port(Context& context, SourceNat& rule, FlowKey& translated, uint32_t reverse_scope) {
  const uint32_t range = uint32_t{rule.spec.port_high} - rule.spec.port_low + 1;
  const uint32_t tries = range < kPortTries ? range : kPortTries;
  uint32_t next = rule.next_port % range;
  for (uint32_t i = 0; i < tries; ++i, next = (next + 1) % range) {
    translated.source_port = static_cast<uint16_t>(rule.spec.port_low + next);
    const FlowKey reply = reversed(translated, reverse_scope);
    if (!context.flows.find(reply, context.flows.hash(reply)).valid()) {
      if (context.trace == nullptr) rule.next_port = (next + 1) % range;
      return true;
    }
  }
  return false;
}

// Where replies to a source-NATed flow come in: by what the NAT address's route names.
uint32_t source_nat_scope(Context& context, VrfId vrf, const FlowKey& translated,
                          uint32_t otherwise) {
  const Route* route = context.router.route(vrf, translated.family, translated.source);
  const NextHop* next_hop = route != nullptr ? context.router.next_hop(route->next_hop) : nullptr;
  if (next_hop == nullptr || next_hop->kind == NextHopKind::Tunnel ||
      next_hop->kind == NextHopKind::Discard) {
    return otherwise;
  }
  return next_hop->scope;
}

// A flow decided again stays with the ECMP member it has.
void stay(ResolveOptions& options, const FlowHalf& half) {
  options.pinned = half.cold.member();
  const NextHopId next_hop{half.flow.next_hop()};
  if (half.cold.member() == kNoMember && next_hop != kDiscard) {
    options.kept = next_hop;
    options.kept_label = half.flow.label();
  }
}

void note_floating_ip(Context& context, const FloatingIp& fip, const char* whose) {
  if (context.trace == nullptr) return;
  context.trace->note("decide", "%s floating IP %u: %s for %s%s", whose, fip.spec.floating_ip,
                      fip.spec.address.text().c_str(), fip.spec.fixed.text().c_str(),
                      fip.spec.port_map != 0 ? ", by port map" : "");
}

void note_policy(Context& context, const Vif& vif, bool towards, FlowDrop verdict) {
  if (context.trace == nullptr) return;
  context.trace->note("policy", "vif0/%u, %s its tenant: %s", vif.spec.vif,
                      towards ? "towards" : "from",
                      verdict == FlowDrop::Unknown ? "passes" : flow_drop_name(verdict));
}

bool is_service(const Vif* vif) { return vif != nullptr && (vif->spec.flags & kVifService) != 0; }

Resolved resolve_l2(Context& context, const Arrival& arrival, const FlowKey& key) {
  Mac mac;
  std::memcpy(mac.bytes.data(), arrival.mac, 6);
  Resolved out;
  out.vrf = arrival.vrf;
  const MacEntry* entry = context.router.mac(arrival.vrf, mac);
  if (entry == nullptr) {
    out.drop = DropReason::L2NoRoute;
    return out;
  }
  out = resolve_next_hop(context, entry->next_hop, entry->label, 0, key, {});
  out.vrf = arrival.vrf;
  return out;
}

// Fills `memory`, unless it is of this source already.
void look_up_source(Context& context, const FlowKey& key, const Arrival& arrival,
                    SourceMemory& memory) {
  if (memory.vif.valid() && memory.vif == arrival.vif && memory.vrf == arrival.vrf &&
      std::memcmp(memory.source4, key.source, 4) == 0) {
    return;
  }
  memory.route = context.router.route(arrival.vrf, key.family, key.source);
  memory.back = reverse_next_hop_by(context, memory.route, key.family, key.source, arrival.vif,
                                    arrival.outer_source, &memory.has_route);
  memory.vif = arrival.vif;
  memory.vrf = arrival.vrf;
  std::memcpy(memory.source4, key.source, 4);
}

}  // namespace

uint32_t vif_scope(Context& context, const Vif& vif, uint32_t otherwise) {
  const NextHop* own = context.router.next_hop(NextHopId{vif.spec.next_hop});
  return own != nullptr && own->kind != NextHopKind::Discard ? own->scope : otherwise;
}

void scope_to_receiver(Context& context, PacketMeta& meta, const NextHop& out) {
  const Vif* receiver = context.router.vif(out.vif);
  if (meta.from_fabric && receiver != nullptr) {
    meta.key.scope = vif_scope(context, *receiver, out.scope);
  }
}

Decision decide(Context& context, const FlowKey& key, const Arrival& arrival,
                const FlowHalf* existing, SourceMemory* memory) {
  Router& router = context.router;
  Decision d;
  d.translated = key;
  d.vrf = d.reverse_vrf = arrival.vrf;
  d.l2 = arrival.l2;
  d.reverse_scope = key.scope;
  const bool from_vif = arrival.vif.valid();
  const Vif* in_vif = from_vif ? router.vif(arrival.vif) : nullptr;
  if (from_vif && in_vif == nullptr) return refuse(d, DropReason::InvalidIf);
  const bool tenant = from_vif && in_vif->spec.type == static_cast<uint8_t>(VifType::Virtual);

  // Source. Frames bridged inside a network and plain packets of the fabric have no route back.
  // Its route is asked for once: the way back often begins with the same.
  const Route* source_route = nullptr;
  VrfId source_vrf;  // where that was looked up
  if (arrival.known_source && !arrival.l2 && (tenant || !from_vif)) {
    SourceMemory found;
    if (memory == nullptr || !from_vif || key.family != Family::V4) memory = &found;
    look_up_source(context, key, arrival, *memory);
    source_vrf = arrival.vrf;
    source_route = memory->route;
    const NextHopId back = memory->back;
    const bool has_route = memory->has_route;
    if (context.trace != nullptr) {
      context.trace->note("decide", "source: %s",
                          back != kDiscard ? "its route leads back there"
                          : has_route      ? "its route leads elsewhere"
                                           : "no route");
    }
    if (back == kDiscard) return refuse(d, DropReason::InvalidSource);
    d.forward_rpf = back.value;
  } else if (existing != nullptr && !arrival.known_source) {
    d.forward_rpf = existing->flow.rpf_next_hop();
  }

  // Destination.
  ResolveOptions options;
  if (existing != nullptr) stay(options, *existing);
  const FloatingIp* sender_fip = nullptr;
  if (arrival.l2) {
    d.forward = resolve_l2(context, arrival, key);
  } else if (!from_vif) {
    const NextHop* entry = router.next_hop(arrival.entry);
    options.local_only = entry != nullptr && entry->kind == NextHopKind::Ecmp;
    d.forward = resolve_next_hop(context, arrival.entry, kNoLabel, 0, key, options);
    d.forward.crossed = d.forward.crossed && d.forward.vrf != arrival.vrf;
  } else {
    d.forward = resolve_address(context, arrival.vrf, key.family, key.destination, key, options);
    if (tenant) sender_fip = egress_floating_ip(context, *in_vif, key, options, d.forward);
  }
  if (d.forward.next_hop == kDiscard) {
    return deny(d, key, FlowDrop::NoDstRt, d.forward.drop);
  }
  if (d.forward.crossed && d.forward.vrf.valid()) d.reverse_vrf = d.forward.vrf;
  const NextHop& out = *router.next_hop(d.forward.next_hop);
  if (!from_vif && out.kind == NextHopKind::Tunnel &&
      source_matches(context, d.forward.next_hop, VifId{}, arrival.outer_source)) {
    return refuse(d, DropReason::PktLoop);
  }
  const Vif* out_vif = out.kind == NextHopKind::Interface ? router.vif(out.vif) : nullptr;
  if (out.kind == NextHopKind::Interface && out_vif == nullptr) {
    return deny(d, key, FlowDrop::IntfErr, DropReason::InvalidIf);
  }

  // Sender's side of NAT.
  if (sender_fip != nullptr) {
    note_floating_ip(context, *sender_fip, "sender's");
    d.nat |= kNatSource;
    set_address(d.translated.source, sender_fip->spec.address);
    d.reverse_vrf = VrfId{sender_fip->spec.vrf};
  }
  SourceNat* rule = nullptr;
  if (sender_fip == nullptr && from_vif && d.forward.crossed) {
    rule = find_source_nat(context, arrival.vrf, d.reverse_vrf, key);
    if (rule != nullptr) {
      if (!has_ports(key.protocol) && !is_icmp(key.protocol)) {
        return refuse(d, DropReason::FlowInvalidProtocol);
      }
      d.nat |= kNatSource | kNatSourcePort;
      set_address(d.translated.source, rule->spec.address);
      d.source_nat = rule->spec.source_nat;
    }
  }

  // Receiver's side: its floating IP.
  if (out_vif != nullptr && !arrival.l2) {
    const FloatingIp* fip = ingress_floating_ip(context, *out_vif, key);
    if (fip != nullptr) {
      if (fip->spec.direction == static_cast<uint8_t>(NatDirection::Egress)) {
        return deny(d, key, FlowDrop::NoDstRt, DropReason::Discards);
      }
      if (fip->spec.port_map != 0) {
        const PortMap* map = find_port_map(*fip, key);
        if (map == nullptr) {
          return deny(d, key, FlowDrop::NoFipPortMap, DropReason::FlowActionDrop);
        }
        if (map->to_port != key.destination_port) d.nat |= kNatDestinationPort;
        d.translated.destination_port = map->to_port;
      }
      d.nat |= kNatDestination;
      set_address(d.translated.destination, fip->spec.fixed);
      note_floating_ip(context, *fip, "receiver's");
      if (!from_vif) {
        // Replies are routed in the floating IP's network, if it knows the way.
        if (router.route(VrfId{fip->spec.vrf}, key.family, key.source) != nullptr) {
          d.vrf = VrfId{fip->spec.vrf};
        }
        d.reverse_vrf = VrfId{out_vif->spec.vrf};
      } else if (arrival.vif == out.vif) {
        // A tenant that reaches itself through its own service must not see itself as the client.
        d.nat |= kNatSource;
        set_address(d.translated.source, fip->spec.address);
      }
    }
  }

  // Where the other half comes in.
  if (out_vif != nullptr) {
    d.reverse_scope = vif_scope(context, *out_vif, out.scope);
  } else if (out.kind == NextHopKind::Receive) {
    const Vif* host = router.vif(out.vif);
    d.reverse_scope = host != nullptr ? vif_scope(context, *host, out.scope) : out.scope;
  }
  if (rule != nullptr) {
    if (out_vif == nullptr) {
      d.reverse_scope = source_nat_scope(context, d.reverse_vrf, d.translated, d.reverse_scope);
    }
    if (existing != nullptr && (existing->nat() & kNatSourcePort) != 0) {
      d.translated.source_port = context.flows[existing->reverse()].destination_port;
      if (is_icmp(key.protocol)) {
        d.translated.source_port = context.flows[existing->reverse()].source_port;
      }
    } else if (!take_port(context, *rule, d.translated, d.reverse_scope)) {
      return refuse(d, DropReason::PortExhausted);
    }
  }

  // Policy, each vif from its own side. What the node itself serves, and asks, goes past it.
  const bool service = is_service(in_vif) || is_service(out_vif);
  if (tenant && !service) {
    const FlowDrop verdict = judge(context, *in_vif, key, false);
    note_policy(context, *in_vif, false, verdict);
    if (verdict != FlowDrop::Unknown) return deny(d, key, verdict, DropReason::FlowActionDrop);
  }
  if (out_vif != nullptr && !service &&
      out_vif->spec.type == static_cast<uint8_t>(VifType::Virtual)) {
    const FlowDrop verdict = judge(context, *out_vif, d.translated, true);
    note_policy(context, *out_vif, true, verdict);
    if (verdict != FlowDrop::Unknown) return deny(d, key, verdict, DropReason::FlowActionDrop);
  }

  // The way back, to where the initiator is.
  if (!arrival.l2) {
    FlowKey back = reversed(key, d.reverse_scope);
    ResolveOptions way_back;
    if (from_vif) way_back.prefer_vif = arrival.vif;
    if (!from_vif && arrival.known_source) way_back.prefer_tunnel = &arrival.outer_source;
    if (existing != nullptr) stay(way_back, context.flows.half(existing->reverse()));
    const VrfId back_vrf = from_vif ? arrival.vrf : d.vrf;
    if (back_vrf != source_vrf) source_route = router.route(back_vrf, key.family, key.source);
    d.reverse =
        resolve_route(context, back_vrf, source_route, key.family, key.source, back, way_back);
    if (d.reverse.next_hop == kDiscard && tenant) {
      return deny(d, key, FlowDrop::NoSrcRt, DropReason::InvalidSource);
    }
  }
  if (out.kind == NextHopKind::Tunnel || out_vif != nullptr) {
    d.reverse_rpf = d.forward.next_hop.value;
  }
  d.action = d.nat != 0 ? FlowAction::Nat : FlowAction::Forward;
  return d;
}

namespace {

uint8_t mirrored_nat(uint8_t nat) {
  uint8_t out = 0;
  if (nat & kNatSource) out |= kNatDestination;
  if (nat & kNatSourcePort) out |= kNatDestinationPort;
  if (nat & kNatDestination) out |= kNatSource;
  if (nat & kNatDestinationPort) out |= kNatSourcePort;
  return out;
}

// What the sum of both addresses changes by. Of IPv4, at once: a word's complement is its negative,
// in one's complement, also when the word is of 32 bits.
uint16_t address_delta(const FlowKey& from, const FlowKey& to) {
  if (from.family != Family::V4) {
    return delta_add(checksum_delta(from.source, to.source, 16),
                     checksum_delta(from.destination, to.destination, 16));
  }
  const uint64_t sum = uint64_t{~load_be32(from.source)} + load_be32(to.source) +
                       uint64_t{~load_be32(from.destination)} + load_be32(to.destination);
  return delta_add(checksum_fold(static_cast<uint32_t>(sum)), static_cast<uint16_t>(sum >> 32));
}

// Translated values and checksum deltas of both halves. Packets keyed `key` leave as `translated`;
// their replies are turned back, so what the sums of those change by is the negative.
void store_translation(Flow& forward, Flow& reverse, const FlowKey& key,
                       const FlowKey& translated) {
  const uint16_t addresses = address_delta(key, translated);
  const uint16_t ports =
      delta_add(checksum_delta16(key.source_port, translated.source_port),
                checksum_delta16(key.destination_port, translated.destination_port));
  // ICMP for IPv4 has no pseudo header; SCTP's CRC is made anew.
  const bool pseudo = key.protocol == 6 || key.protocol == 17 || key.protocol == 58;
  const uint16_t l4 = pseudo ? delta_add(addresses, ports) : ports;

  if (key.family == Family::V4) {  // of an IPv6 flow they hold a part of its source
    store_shared4(forward.nat_source4, translated.source);
    store_shared4(forward.nat_destination4, translated.destination);
    store_shared4(reverse.nat_source4, key.destination);
    store_shared4(reverse.nat_destination4, key.source);
  }
  forward.nat_source_port = translated.source_port;
  forward.nat_destination_port = translated.destination_port;
  if (key.family == Family::V4) forward.l3_delta = addresses;
  forward.l4_delta = l4;

  const bool turned = has_ports(key.protocol);
  reverse.nat_source_port = turned ? key.destination_port : key.source_port;
  reverse.nat_destination_port = turned ? key.source_port : key.destination_port;
  if (key.family == Family::V4) reverse.l3_delta = checksum_delta16(addresses, 0);
  reverse.l4_delta = checksum_delta16(l4, 0);
}

}  // namespace

VifId reverse_entrance(Context& context, const Arrival& arrival, const Decision& d) {
  if (d.action == FlowAction::Drop) return arrival.vif;
  const NextHop* out = context.router.next_hop(d.forward.next_hop);
  return out != nullptr && out->kind == NextHopKind::Interface ? out->vif : VifId{};
}

void store_decision(Context& context, const FlowKey& key, const Arrival& arrival, const Decision& d,
                    const FlowHalf& forward, const FlowHalf& reverse) {
  const bool translated = d.vrf != d.reverse_vrf;
  const auto place = [&](const FlowHalf& half, VrfId vrf, VifId vif, const Resolved& path,
                         uint32_t rpf, uint8_t nat) {
    Flow& flow = half.flow;
    FlowCold& cold = half.cold;
    store_first(flow.generation, kDeciding);  // until all of it is stored
    flow.action = d.action;
    flow.set_path(path.next_hop.value, rpf, path.label, path.member != kNoMember);
    flow.vrf = static_cast<uint16_t>(vrf.value);
    cold.set(path.member, d.action == FlowAction::Drop ? static_cast<uint8_t>(d.drop) : nat);
    cold.vif = vif.valid() ? static_cast<uint16_t>(vif.value) : uint16_t{0xffff};
    flow.flags =
        static_cast<uint8_t>((flow.flags & ~(kFlowTranslated | kFlowFromFabric | kFlowL2)) |
                             (translated ? kFlowTranslated : 0) |
                             (vif.valid() ? 0 : kFlowFromFabric) | (d.l2 ? kFlowL2 : 0));
  };
  place(forward, d.vrf, arrival.vif, d.forward, d.forward_rpf, d.nat);
  place(reverse, d.reverse_vrf, reverse_entrance(context, arrival, d), d.reverse, d.reverse_rpf,
        mirrored_nat(d.nat));
  if (d.nat != 0) store_translation(forward.flow, reverse.flow, key, d.translated);
  store_release(forward.flow.generation, context.router.generation);
  store_release(reverse.flow.generation, context.router.generation);
}

}  // namespace vrouter
