#include "port/virtio_header.h"

#include "base/bytes.h"

namespace vrouter {

namespace {

constexpr uint8_t kNeedsChecksum = 0x1;
constexpr uint8_t kGsoNone = 0;
constexpr uint8_t kGsoTcpV4 = 1;
constexpr uint8_t kGsoTcpV6 = 4;
constexpr uint8_t kGsoUdp = 5;  // UDP_L4: datagrams, not the fragments of GSO_UDP (3)
constexpr uint8_t kGsoTunnel4 = 0x20;
constexpr uint8_t kGsoTunnel6 = 0x40;
constexpr uint8_t kGsoEcn = 0x80;

constexpr uint32_t kEthernet = 14;
constexpr uint32_t kTcpDataOffsetAt = 12;
constexpr uint32_t kUdpHeader = 8;

}  // namespace

bool take_virtio_header(const VirtioHeader& header, uint32_t length, Packet& packet) {
  const uint8_t tunnel = header.gso_type & (kGsoTunnel4 | kGsoTunnel6);
  const uint8_t kind = header.gso_type & ~(kGsoTunnel4 | kGsoTunnel6 | kGsoEcn);
  if ((header.flags & kNeedsChecksum) == 0) return header.gso_type == kGsoNone;
  const uint32_t start = header.checksum_start;
  if (start < kEthernet || start >= packet.length ||
      packet.length - start < uint32_t{header.checksum_offset} + 2) {
    return false;
  }
  Offload& offload = packet.offload;
  offload.checksum = true;
  offload.transport = packet.offset + start;
  offload.field = header.checksum_offset;
  if (header.gso_type == kGsoNone) return true;
  switch (kind) {
    case kGsoTcpV4:
      offload.segmentation = Segmentation::TcpV4;
      break;
    case kGsoTcpV6:
      offload.segmentation = Segmentation::TcpV6;
      break;
    case kGsoUdp:
      offload.segmentation = Segmentation::Udp;
      break;
    default:
      return false;
  }
  if (header.gso_size == 0) return false;
  offload.segment = header.gso_size;
  offload.ecn = (header.gso_type & kGsoEcn) != 0;
  if (tunnel == 0) return true;
  if (length < kVirtioTunnelHeader || tunnel == (kGsoTunnel4 | kGsoTunnel6)) return false;
  if (header.outer_transport < kEthernet || header.inner_network <= header.outer_transport ||
      header.inner_network >= header.checksum_start) {
    return false;
  }
  offload.outer_transport = packet.offset + header.outer_transport;
  offload.inner_network = packet.offset + header.inner_network;
  return true;
}

bool give_virtio_header(const Packet& packet, uint32_t length, VirtioHeader& header) {
  const Offload& offload = packet.offload;
  header = {};
  if (!offload.checksum) return offload.segmentation == Segmentation::None;
  const uint32_t start = offload.transport - packet.offset;
  if (start > UINT16_MAX) return false;
  header.flags = kNeedsChecksum;
  header.checksum_start = static_cast<uint16_t>(start);
  header.checksum_offset = offload.field;
  if (offload.segmentation == Segmentation::None) return true;
  const bool udp = offload.segmentation == Segmentation::Udp;
  header.gso_type = udp                                           ? kGsoUdp
                    : offload.segmentation == Segmentation::TcpV4 ? kGsoTcpV4
                                                                  : kGsoTcpV6;
  if (offload.ecn) header.gso_type |= kGsoEcn;
  header.gso_size = offload.segment;
  const uint32_t transport =
      udp ? kUdpHeader : uint32_t{packet.data()[start + kTcpDataOffsetAt]} >> 4 << 2;
  header.header_length = static_cast<uint16_t>(start + transport);
  if (offload.outer_transport == 0) return true;
  if (length < kVirtioTunnelHeader || offload.inner_network == 0) return false;
  const uint32_t outer = offload.outer_transport - packet.offset;
  header.outer_transport = static_cast<uint16_t>(outer);
  header.inner_network = static_cast<uint16_t>(offload.inner_network - packet.offset);
  header.gso_type |= packet.data()[kEthernet] >> 4 == 4 ? kGsoTunnel4 : kGsoTunnel6;
  return true;
}

}  // namespace vrouter
