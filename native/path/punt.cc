// The agent vif (pkt0): packets for the control side leave through it behind the ancestor's 30-byte
// header, and packets from there enter with the same header.
// Layout: Ethernet (14) | ifindex u16, vrf u16, cmd u16, five u32 parameters, u8 and 3 pad;
// big-endian.
#include "offload/checksum.h"
#include "path/rooms.h"
#include "wire/ethernet.h"

namespace vrouter {
namespace {

constexpr uint32_t kInterfaceAt = 0;
constexpr uint32_t kVrfAt = 2;
constexpr uint32_t kCommandAt = 4;
constexpr uint32_t kParametersAt = 6;
constexpr uint32_t kAgentHeader = 30;
constexpr uint16_t kAgentEtherType = 0x0800;  // the ancestor's frames claim IPv4; so do ours

VifId agent_vif(Context& context) {
  for (uint32_t i = 0; i < context.router.vif_limit(); ++i) {
    const Vif* vif = context.router.vif(VifId{i});
    if (vif != nullptr && vif->spec.type == static_cast<uint8_t>(VifType::Agent)) return VifId{i};
  }
  return VifId{};
}

}  // namespace

void punt(Context& context, Packet& packet, TrapReason reason) {
  const VifId agent = agent_vif(context);
  const Vif* vif = context.router.vif(agent);
  if (vif == nullptr || !PortId{vif->spec.port}.valid()) return packet.drop(DropReason::TrapNoIf);
  if (context.trace == nullptr && !context.punts.take(packet.meta.vif, context.now_ns)) {
    return packet.drop(DropReason::TrapLimit);
  }
  if (!complete_checksum(packet)) return packet.drop(DropReason::InvalidPacket);
  if (packet.headroom() < kAgentHeader + ethernet::kHeaderLength) {
    return packet.drop(DropReason::Push);
  }
  uint8_t* h = packet.push(kAgentHeader);
  std::memset(h, 0, kAgentHeader);
  store_be16(h + kInterfaceAt, static_cast<uint16_t>(packet.meta.vif.value));
  store_be16(h + kVrfAt, static_cast<uint16_t>(packet.meta.vrf.value));
  store_be16(h + kCommandAt, static_cast<uint16_t>(reason));
  store_be32(h + kParametersAt,
             packet.meta.flow.valid() ? packet.meta.flow.value : packet.meta.in_label);
  ethernet::write(packet.push(ethernet::kHeaderLength), vif->spec.mac, kGatewayMac,
                  kAgentEtherType);
  packet.meta.out_vif = agent;
  packet.meta.out_port = PortId{vif->spec.port};
  packet.meta.verdict = Verdict::Punt;
}

void inject_from_agent(Context& context, Packet& packet) {
  constexpr uint32_t kFront = ethernet::kHeaderLength + kAgentHeader;
  if (packet.length < kFront + ethernet::kHeaderLength) return packet.drop(DropReason::Pull);
  const uint8_t* h = packet.data() + ethernet::kHeaderLength;
  const VifId target{load_be16(h + kInterfaceAt)};
  const uint16_t command = load_be16(h + kCommandAt);
  const Vif* vif = context.router.vif(target);
  if (vif == nullptr) return packet.drop(DropReason::InvalidIf);
  packet.pull(kFront);
  packet.meta.key = FlowKey{};
  if (command == static_cast<uint16_t>(TrapReason::Switch)) {
    packet.meta.out_vif = target;
    packet.meta.out_port = PortId{vif->spec.port};
    if (!packet.meta.out_port.valid()) return packet.drop(DropReason::NowhereToGo);
    packet.meta.verdict = Verdict::Transmit;
    return;
  }
  if (command != static_cast<uint16_t>(TrapReason::Route)) {
    return packet.drop(DropReason::InvalidProtocol);
  }
  // Routed in the network of that vif, as the router's own packet: no flow, no policy.
  packet.meta.no_flow = true;
  packet.meta.vrf = VrfId{vif->spec.vrf};
  parse_frame(context, packet);
  if (packet.alive() && packet.meta.family == Family::None) {
    packet.drop(DropReason::InvalidProtocol);
  }
}

}  // namespace vrouter
