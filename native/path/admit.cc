// The vif a packet came in on: is it up, what is its VRF, is the frame for the router (routed) or
// for another host (bridged), is it for a service of the router itself (ARP, ND, DHCP, echo), and
// must it pass the flow table. One function per type of vif.
#include "path/rooms.h"
#include "wire/ethernet.h"
#include "wire/icmp.h"
#include "wire/ipv4.h"
#include "wire/ipv6.h"
#include "wire/udp.h"

namespace vrouter {
namespace {

bool l3_enabled(const VifSpec& spec) {
  return (spec.flags & (kVifL2 | kVifL3)) == 0 || (spec.flags & kVifL3) != 0;
}
bool l2_enabled(const VifSpec& spec) {
  return (spec.flags & (kVifL2 | kVifL3)) == 0 || (spec.flags & kVifL2) != 0;
}

bool is_dhcp(const Packet& packet) {
  const PacketMeta& meta = packet.meta;
  if (meta.protocol != ip::kUdp || meta.fragment) return false;
  return meta.family == Family::V4 ? meta.key.source_port == udp::kPortDhcpClient
                                   : meta.key.source_port == udp::kPortDhcpv6Client;
}

uint8_t ndp_type(const Packet& packet) {
  const PacketMeta& meta = packet.meta;
  if (meta.family != Family::V6 || meta.protocol != ip::kIcmpv6 || meta.fragment) return 0;
  const uint8_t type = icmp::type(packet.data() + meta.l4);
  return icmp6::is_neighbour_discovery(type) ? type : 0;
}

bool for_gateway(const Packet& packet, const Vif& vif) {
  const PacketMeta& meta = packet.meta;
  const uint8_t* l3 = packet.data() + meta.l3;
  return is_gateway(vif, meta.family,
                    meta.family == Family::V4 ? ipv4::destination(l3) : ipv6::destination(l3));
}

uint32_t scope_of(Context& context, const Vif& vif) {
  const NextHop* own = context.router.next_hop(NextHopId{vif.spec.next_hop});
  return own != nullptr ? own->scope : 0;
}

bool multicast_destination(const Packet& packet) {
  const PacketMeta& meta = packet.meta;
  const uint8_t* p = packet.data() + meta.l3;
  if (meta.family == Family::V4) {
    return (ipv4::destination(p)[0] & 0xf0) == 0xe0 || load_be32(ipv4::destination(p)) == ~0u;
  }
  return ipv6::destination(p)[0] == 0xff;
}

// A MAC that the network's table gives to the router itself.
bool received_here(Context& context, VrfId vrf, const Mac& mac) {
  const MacEntry* entry = context.router.mac(vrf, mac);
  const NextHop* next_hop = entry != nullptr ? context.router.next_hop(entry->next_hop) : nullptr;
  return next_hop != nullptr && next_hop->kind == NextHopKind::L2Receive;
}

void admit_tenant(Context& context, Packet& packet, const Vif& vif) {
  PacketMeta& meta = packet.meta;
  const VifSpec& spec = vif.spec;
  const Mac destination = ethernet::destination(packet.data());
  if (meta.ether_type == ethernet::kTypeArp) return answer_arp(context, packet);
  const uint8_t ndp = ndp_type(packet);
  if (ndp == icmp6::kNeighbourSolicitation) return answer_neighbour_solicitation(context, packet);
  if (ndp == icmp6::kRouterSolicitation) return punt(context, packet, TrapReason::L3Protocols);
  if (meta.family != Family::None && (spec.flags & kVifDhcpTrap) != 0 && is_dhcp(packet)) {
    return punt(context, packet, TrapReason::L3Protocols);
  }
  const bool to_router = destination == spec.mac || destination == kGatewayMac ||
                         received_here(context, VrfId{spec.vrf}, destination);
  if (to_router) {
    if (meta.family == Family::None || !l3_enabled(spec)) {
      return packet.drop(meta.family == Family::None ? DropReason::InvalidProtocol
                                                     : DropReason::IfDrop);
    }
    if (answer_echo(context, packet)) return;
    if ((spec.flags & kVifGatewayTrap) != 0 && !meta.fragment && for_gateway(packet, vif)) {
      return punt(context, packet, TrapReason::L3Protocols);
    }
    meta.wants_flow = (spec.flags & kVifPolicy) != 0 && !multicast_destination(packet);
  } else {
    if (!l2_enabled(spec)) return packet.drop(DropReason::IfDrop);
    meta.l2 = true;
    // Neighbour discovery is the link's own business, never a connection (RFC 4861); a frame for a
    // MAC nobody knows is flooded or dropped, and no flow could say where to.
    meta.wants_flow = (spec.flags & kVifPolicy) != 0 && meta.family != Family::None &&
                      !destination.is_group() && ndp == 0 &&
                      context.router.mac(VrfId{spec.vrf}, destination) != nullptr;
  }
}

// Between the neighbours on the link, or to all of them: neither routed nor in a tunnel.
bool stays_on_link(const Packet& packet, uint8_t ndp) {
  if (packet.meta.family == Family::None || ndp != 0 || multicast_destination(packet)) return true;
  if (packet.meta.family != Family::V6) return false;
  const uint8_t* to = ipv6::destination(packet.data() + packet.meta.l3);
  return to[0] == 0xfe && (to[1] & 0xc0) == 0x80;  // link-local
}

// The fabric side. Packets to the router's own addresses go on to decap; what is for nobody but the
// neighbours on the link is the host's, where it has a vif; everything else is plain routing in the
// fabric's VRF.
void admit_fabric(Context& context, Packet& packet, const Vif& vif) {
  PacketMeta& meta = packet.meta;
  if (meta.ether_type == ethernet::kTypeArp) return answer_arp(context, packet);
  const uint8_t ndp = ndp_type(packet);
  if (ndp == icmp6::kNeighbourSolicitation) return answer_neighbour_solicitation(context, packet);
  const Mac destination = ethernet::destination(packet.data());
  if ((destination.is_group() || stays_on_link(packet, ndp)) && give_to_host(context, packet)) {
    return;
  }
  if (meta.family == Family::None) return packet.drop(DropReason::InvalidProtocol);
  if (destination != vif.spec.mac && !destination.is_group()) {
    return packet.drop(DropReason::InvalidIf);
  }
  if (multicast_destination(packet)) return packet.drop(DropReason::NowhereToGo);
  meta.wants_flow = (vif.spec.flags & kVifPolicy) != 0;
}

// The host's stack behind vhost0: its frames go out on the first physical vif as they are.
void admit_host(Context& context, Packet& packet) {
  for (uint32_t i = 0; i < context.router.vif_limit(); ++i) {
    const Vif* vif = context.router.vif(VifId{i});
    if (vif == nullptr || vif->spec.type != static_cast<uint8_t>(VifType::Physical)) continue;
    packet.meta.out_vif = VifId{i};
    packet.meta.out_port = PortId{vif->spec.port};
    packet.meta.verdict = Verdict::Transmit;
    return;
  }
  packet.drop(DropReason::NowhereToGo);
}

}  // namespace

bool give_to_host(Context& context, Packet& packet) {
  const Vif* from = context.router.vif(packet.meta.vif);
  if (from->spec.type != static_cast<uint8_t>(VifType::Physical)) return false;
  const Mac destination = ethernet::destination(packet.data());
  if (destination != from->spec.mac && !destination.is_group()) return false;
  // The host's vif is the one that has what comes for the underlay's address.
  const RouterSpec& spec = context.router.spec();
  const Address& own = spec.ipv4.is_set() ? spec.ipv4 : spec.ipv6;
  if (!own.is_set()) return false;
  const Route* route = context.router.route(VrfId{from->spec.vrf}, own.family, own.bytes.data());
  const NextHop* next_hop = route != nullptr ? context.router.next_hop(route->next_hop) : nullptr;
  if (next_hop == nullptr || next_hop->kind != NextHopKind::Receive) return false;
  const Vif* host = context.router.vif(next_hop->vif);
  if (host == nullptr || host->spec.type != static_cast<uint8_t>(VifType::Host)) return false;
  packet.meta.out_vif = next_hop->vif;
  packet.meta.out_port = PortId{host->spec.port};
  if (!packet.meta.out_port.valid()) return false;
  packet.meta.verdict = Verdict::Transmit;
  if (context.trace != nullptr) context.trace->note("admit", "to the host's stack");
  return true;
}

void admit(Context& context, Burst& burst) {
  for (uint32_t i = 0; i < burst.count; ++i) {
    Packet& packet = *burst.packets[i];
    const Vif* vif = context.router.vif(packet.meta.vif);
    if (vif == nullptr) {
      packet.drop(DropReason::InvalidIf);
      continue;
    }
    const VifType type = static_cast<VifType>(vif->spec.type);
    if (type == VifType::Agent) {  // wrapped in the agent's header, whatever is inside
      packet.meta.verdict = Verdict::Continue;
      inject_from_agent(context, packet);
      continue;
    }
    if (!packet.alive()) continue;
    packet.meta.vrf = VrfId{vif->spec.vrf};
    packet.meta.key.scope = scope_of(context, *vif);
    switch (type) {
      case VifType::Virtual:
        admit_tenant(context, packet, *vif);
        break;
      case VifType::Physical:
        admit_fabric(context, packet, *vif);
        break;
      default:
        admit_host(context, packet);
        break;
    }
    if (context.trace != nullptr) {
      context.trace->note("admit", "vif0/%u (%s) VRF %u: %s", packet.meta.vif.value,
                          vif->spec.name.c_str(), vif->spec.vrf,
                          !packet.alive()          ? "answered, taken or dropped here"
                          : packet.meta.l2         ? "bridged"
                          : packet.meta.wants_flow ? "routed, with flow"
                                                   : "routed, without flow");
    }
  }
}

}  // namespace vrouter
