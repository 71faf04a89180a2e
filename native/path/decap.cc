// Tunnels that end here: MPLSoUDP (6635, and the older 51234), MPLSoGRE, VXLAN. The outer headers
// are taken off, the label or VNI is looked up, and what was inside is parsed as if it had just
// come in. A packet that is for the router but is no tunnel of ours goes to the host, or is
// answered (echo).
#include "path/rooms.h"
#include "wire/ethernet.h"
#include "wire/gre.h"
#include "wire/ipv4.h"
#include "wire/ipv6.h"
#include "wire/mpls.h"
#include "wire/udp.h"
#include "wire/vxlan.h"

namespace vrouter {
namespace {

struct Tunnel {
  Encap encap = Encap::None;
  uint32_t header = 0;  // bytes from the transport header to the label or VXLAN header
};

Tunnel tunnel_of(const Packet& packet) {
  const PacketMeta& meta = packet.meta;
  if (meta.fragment) return {};
  const uint8_t* p = packet.data() + meta.l4;
  const size_t n = packet.length - meta.l4;
  if (meta.protocol == ip::kUdp) {
    const uint16_t port = meta.key.destination_port;
    if (port == udp::kPortMpls || port == udp::kPortMplsOld) {
      return {Encap::MplsOverUdp, udp::kHeaderLength};
    }
    if (port == udp::kPortVxlan) return {Encap::Vxlan, udp::kHeaderLength};
  }
  if (meta.protocol == ip::kGre && gre::check(p, n) && gre::protocol(p) == ethernet::kTypeMpls) {
    return {Encap::MplsOverGre, gre::header_length(p)};
  }
  return {};
}

bool is_own_mac(Context& context, const Packet& packet, const uint8_t* mac) {
  const Mac inner = ethernet::load_mac(mac);
  if (inner == kGatewayMac) return true;
  const Vif* vif = context.router.vif(packet.meta.vif);
  return vif != nullptr && inner == vif->spec.mac;
}

// The inner packet of an L3 VNI: an Ethernet frame to the router (RFC 9135), or bare IP as the
// ancestor sends it.
void parse_routed_vxlan(Context& context, Packet& packet) {
  const bool frame =
      packet.length > ethernet::kHeaderLength && is_own_mac(context, packet, packet.data());
  if (frame) {
    parse_frame(context, packet);
    if (packet.alive() && packet.meta.family == Family::None) {
      packet.drop(DropReason::InvalidProtocol);
    }
  } else {
    parse_ip(context, packet, 0);
  }
}

void enter(Context& context, Packet& packet, NextHopId entry_id, Encap encap) {
  PacketMeta& meta = packet.meta;
  const NextHop* entry = context.router.next_hop(entry_id);
  if (entry == nullptr) return packet.drop(DropReason::InvalidNh);
  meta.entry = entry_id;
  meta.vrf = entry->vrf;
  meta.wants_flow = false;
  bool framed = false;  // an Ethernet frame is inside and is bridged
  switch (entry->kind) {
    case NextHopKind::Interface:
      framed = entry->bridge();
      break;
    case NextHopKind::VrfTranslate:
      framed = entry->bridge();
      break;
    case NextHopKind::Replicate:
      framed = true;
      break;
    case NextHopKind::Ecmp:
    case NextHopKind::Receive:
      break;
    case NextHopKind::Discard:
      return packet.drop(DropReason::Discards);
    default:
      return packet.drop(DropReason::InvalidNh);
  }
  if (framed) {
    meta.l2 = true;
    parse_frame(context, packet);
  } else if (encap == Encap::Vxlan) {
    parse_routed_vxlan(context, packet);
  } else {
    parse_ip(context, packet, 0);
  }
  if (!packet.alive()) return;
  uint32_t scope = entry->scope;
  bool policy = entry->policy();
  if (entry->kind == NextHopKind::Interface) {
    const Vif* vif = context.router.vif(entry->vif);
    const NextHop* own =
        vif != nullptr ? context.router.next_hop(NextHopId{vif->spec.next_hop}) : nullptr;
    if (own != nullptr && own->kind != NextHopKind::Discard) {
      scope = own->scope;
      policy = policy || own->policy();
    }
  }
  meta.key.scope = scope;
  const bool group = meta.l2 && packet.length >= 6 && ethernet::is_group(packet.data());
  if (framed && entry->kind == NextHopKind::VrfTranslate && !group &&
      is_own_mac(context, packet, packet.data())) {
    // To the router: leave the bridge and route in the same network.
    if (meta.family == Family::None) return packet.drop(DropReason::InvalidProtocol);
    meta.l2 = false;
  }
  meta.wants_flow = policy && meta.family != Family::None && !group &&
                    !Address::from_bytes(meta.key.family, meta.key.destination).is_multicast();
}

void decap_one(Context& context, Packet& packet) {
  PacketMeta& meta = packet.meta;
  const uint8_t* p = packet.data() + meta.l3;
  const uint8_t* destination =
      meta.family == Family::V4 ? ipv4::destination(p) : ipv6::destination(p);
  const Route* route = context.router.route(meta.vrf, meta.family, destination);
  const NextHop* own = route != nullptr ? context.router.next_hop(route->next_hop) : nullptr;
  if (own == nullptr || own->kind != NextHopKind::Receive) return;  // not for us: routed below
  const Tunnel tunnel = tunnel_of(packet);
  if (tunnel.encap == Encap::None) {
    if (!meta.wants_flow && answer_echo(context, packet)) return;
    return;  // to the host, by the Receive next hop
  }
  const uint32_t at = meta.l4 + tunnel.header;
  const bool mpls = tunnel.encap != Encap::Vxlan;
  const uint32_t header = mpls ? mpls::kEntryLength : vxlan::kHeaderLength;
  if (packet.length < at + header) return packet.drop(DropReason::Pull);
  const uint8_t* h = packet.data() + at;
  meta.outer_source = Address::from_bytes(
      meta.family, meta.family == Family::V4 ? ipv4::source(p) : ipv6::source(p));
  meta.in_encap = static_cast<uint8_t>(tunnel.encap);
  meta.from_fabric = true;
  NextHopId entry;
  if (mpls) {
    meta.in_label = mpls::label(h);
    if (!mpls::bottom(h) || mpls::ttl(h) <= 1) return packet.drop(DropReason::InvalidLabel);
    entry = context.router.label(meta.in_label);
    if (!entry.valid()) return packet.drop(DropReason::InvalidLabel);
  } else {
    if (!vxlan::check(h, packet.length - at)) return packet.drop(DropReason::InvalidVnid);
    meta.in_label = vxlan::vni(h);
    entry = context.router.vni(meta.in_label);
    if (!entry.valid()) return packet.drop(DropReason::InvalidVnid);
  }
  if (context.trace != nullptr) {
    context.trace->note("decap", "%s %u from %s -> next hop %u", mpls ? "label" : "VNI",
                        meta.in_label, meta.outer_source.text().c_str(), entry.value);
  }
  // The outer checksum left undone (a far kernel's VXLAN over a veth) goes with its header.
  if (packet.offload.checksum && packet.offload.transport == packet.offset + meta.l4) {
    if (packet.offload.segmentation != Segmentation::None) {
      return packet.drop(DropReason::InvalidPacket);
    }
    packet.offload = Offload{};
  }
  packet.pull(at + header);
  packet.offload.outer_transport = packet.offload.inner_network = 0;
  enter(context, packet, entry, tunnel.encap);
}

}  // namespace

void decap(Context& context, Burst& burst) {
  for (uint32_t i = 0; i < burst.count; ++i) {
    Packet& packet = *burst.packets[i];
    if (!packet.alive() || packet.meta.l2 || packet.meta.from_fabric) continue;
    const Vif* vif = context.router.vif(packet.meta.vif);
    if (vif->spec.type == static_cast<uint8_t>(VifType::Physical)) decap_one(context, packet);
  }
}

}  // namespace vrouter
