// The next hop's rewrite is pushed and its few variable fields are filled in: one function for
// MPLSoUDP, MPLSoGRE and VXLAN over IPv4 and IPv6, and for plain Ethernet. The shapes are data
// (state/rewrite.h).
#include "offload/checksum.h"
#include "path/push.h"
#include "path/rooms.h"
#include "state/legs.h"
#include "wire/ethernet.h"

namespace vrouter {
namespace {

// Packets that never met the flow table still spread over the fabric's paths.
void ensure_hash(Context& context, PacketMeta& meta, const uint8_t* frame) {
  if (meta.hash != 0) return;
  if (meta.family == Family::None) {
    std::memcpy(meta.key.source, frame, 12);  // both MACs
  }
  meta.hash = choice_hash(meta.key, kHashAll, context.seed);
}

bool leave_by(Packet& packet, VifId vif_id, const Vif& vif) {
  packet.meta.out_vif = vif_id;
  packet.meta.out_port = PortId{vif.spec.port};
  if (!packet.meta.out_port.valid()) {
    packet.drop(DropReason::NowhereToGo);
    return false;
  }
  return true;
}

// Where the next hop has no vif of its own: by a leg of the tunnel, or nowhere.
[[gnu::noinline]] const NextHop* pick_leg(Context& context, Packet& packet, const NextHop& out) {
  if (out.legs == nullptr) {
    packet.drop(DropReason::InvalidIf);
    return nullptr;
  }
  ensure_hash(context, packet.meta, packet.data());
  const uint32_t at = out.legs->pick(packet.meta.hash);
  if (at == LegSet::kNone) {
    packet.drop(DropReason::InvalidUnderlayEcmp);
    return nullptr;
  }
  if (context.trace != nullptr) {
    context.trace->note("encapsulate", "leg %u of %u, by its hash (up: mask %u)", at,
                        out.legs->count, out.legs->up);
  }
  const NextHop* leg = &out.legs->legs[at];
  if (context.router.vif(leg->vif) != nullptr) return leg;
  packet.drop(DropReason::InvalidIf);
  return nullptr;
}

// A SYN's MSS must fit the tunnel whichever way the data goes (the ancestor clamps both ways).
void clamp(Context& context, Packet& packet, const NextHop& out) {
  if ((context.router.spec().flags & kRouterNoMssClamp) != 0) return;
  uint32_t mtu = out.kind == NextHopKind::Tunnel ? out.mtu : 0;
  if (mtu == 0 && packet.meta.from_fabric && packet.meta.flow.valid()) {
    const Flow& back = reverse_of(context, packet.meta.flow).flow;
    const NextHop* way_back = context.router.next_hop(NextHopId{back.next_hop()});
    if (way_back != nullptr && way_back->kind == NextHopKind::Tunnel) mtu = way_back->mtu;
  }
  if (mtu != 0) clamp_mss(packet, mtu);
}

void to_host(Context& context, Packet& packet, const NextHop& out) {
  const Vif* vif = context.router.vif(out.vif);
  if (vif == nullptr) return packet.drop(DropReason::InvalidIf);
  if (!leave_by(packet, out.vif, *vif)) return;
  if (packet.meta.l2_length < ethernet::kHeaderLength) {  // out of a tunnel: it has no frame
    packet.pull(packet.meta.l2_length);
    packet.meta.l3 = ethernet::kHeaderLength;
    if (packet.headroom() < ethernet::kHeaderLength) return packet.drop(DropReason::RewriteFail);
    ethernet::write(packet.push(ethernet::kHeaderLength), vif->spec.mac, kGatewayMac,
                    packet.meta.ether_type);
  }
  packet.meta.verdict = Verdict::Transmit;
}

// What is in a tunnel of the tenant's already has two outer headers behind us, which nothing can describe.
bool nested(const Packet& packet, const NextHop& out) {
  return packet.offload.outer_transport != 0 && out.kind == NextHopKind::Tunnel;
}

// Fragments have their checksums whole, and so has what is nested.
bool can_carry(Packet& packet, const NextHop& out) {
  return (packet.meta.split_to == 0 && !nested(packet, out)) || complete_checksum(packet);
}

void encapsulate_one(Context& context, Packet& packet) {
  PacketMeta& meta = packet.meta;
  const NextHop* out = context.router.next_hop(meta.next_hop);
  if (out == nullptr) return packet.drop(DropReason::InvalidNh);
  switch (out->kind) {
    case NextHopKind::Receive:
      return to_host(context, packet, *out);
    case NextHopKind::Discard:
      return packet.drop(DropReason::Discards);
    case NextHopKind::Interface:
    case NextHopKind::Tunnel:
      break;
    default:
      return packet.drop(DropReason::InvalidNh);
  }
  const Vif* vif = context.router.vif(out->vif);
  if (vif == nullptr) [[unlikely]] {
    out = pick_leg(context, packet, *out);
    if (out == nullptr) return;
    vif = context.router.vif(out->vif);
  }
  if (!leave_by(packet, out->vif, *vif)) return;
  if (meta.family != Family::None && meta.protocol == 6 && !meta.fragment) {
    clamp(context, packet, *out);
  }
  if (packet.offload.checksum) {
    if (packet.offload.segmentation != Segmentation::None && nested(packet, *out)) {
      return send_segments(context, packet);
    }
    if (!can_carry(packet, *out)) return packet.drop(DropReason::InvalidPacket);
  }
  if (meta.split_to != 0) return send_fragments(context, packet, meta.split_to);
  ensure_hash(context, meta, packet.data());
  // None was given; or one too long for MPLS, from when the tunnel was VXLAN.
  const bool no_label =
      out->encap == Encap::Vxlan ? meta.label == kNoLabel : meta.label >= kNoLabel;
  if (out->kind == NextHopKind::Tunnel && no_label) {
    return packet.drop(out->encap == Encap::Vxlan ? DropReason::InvalidVnid
                                                  : DropReason::InvalidLabel);
  }
  const uint32_t inner_network = packet.offset + meta.l3;
  if (!meta.l2) packet.pull(meta.l2_length);
  const Rewrite& rewrite = context.router.rewrite(meta.l2 ? out->rewrite_l2 : out->rewrite);
  if (packet.headroom() < rewrite.length) return packet.drop(DropReason::RewriteFail);
  if (rewrite.length != 0) push_rewrite(context, packet, rewrite, inner_network);
  meta.verdict = Verdict::Transmit;
  if (context.trace != nullptr) {
    context.trace->note("encapsulate", "next hop %u: %u bytes pushed, label %d, out of vif0/%u",
                        meta.next_hop.value, rewrite.length,
                        meta.label == kNoLabel ? -1 : static_cast<int>(meta.label),
                        meta.out_vif.value);
  }
}

}  // namespace

void encapsulate(Context& context, Burst& burst) {
  for (uint32_t i = 0; i < burst.count; ++i) {
    if (burst.packets[i]->alive()) encapsulate_one(context, *burst.packets[i]);
  }
}

}  // namespace vrouter
