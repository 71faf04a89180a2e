// The header that TAP (IFF_VNET_HDR) and AF_PACKET (PACKET_VNET_HDR) put in front of a frame:
// struct virtio_net_hdr of virtio 1.3 §5.1.6, to and from Packet::offload. In host byte order, as
// the kernel gives it to user space; its own header for it is not C++.
//
// Hostile: what a header says comes from a tenant. Offsets are checked against the frame here;
// whether they point at the transport header the packet really has, parse checks (path/parse.cc).
#pragma once
#include <cstdint>

#include "packet/packet.h"

namespace vrouter {

struct VirtioHeader {
  uint8_t flags;
  uint8_t gso_type;
  uint16_t header_length;
  uint16_t gso_size;
  uint16_t checksum_start;
  uint16_t checksum_offset;
  // From here on only with the longer lengths.
  uint16_t num_buffers;
  uint32_t hash;
  uint16_t hash_report;
  uint16_t padding;
  uint16_t outer_transport;  // UDP tunnels
  uint16_t inner_network;
};
inline constexpr uint32_t kVirtioHeader = 10;        // up to checksum_offset
inline constexpr uint32_t kVirtioTunnelHeader = 24;  // all of it
static_assert(sizeof(VirtioHeader) == kVirtioTunnelHeader);

// What a frame that was read leaves undone, into packet.offload. `length`: of the header, one of
// the two above. False: the header contradicts the frame, which must not be used.
bool take_virtio_header(const VirtioHeader& header, uint32_t length, Packet& packet);

// The header to write in front of a frame. False: it cannot be said with this length of header.
bool give_virtio_header(const Packet& packet, uint32_t length, VirtioHeader& header);

}  // namespace vrouter
