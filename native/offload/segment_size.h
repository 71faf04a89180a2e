// How large the frames are that a super-packet stands for.
#pragma once
#include <cstdint>

#include "packet/packet.h"

namespace vrouter {

// Bytes of the transport header that offload.transport points at. Precondition: it is in the frame
// whole; parse and the ports see to it.
inline uint32_t transport_header_length(const Packet& packet) {
  if (packet.offload.segmentation == Segmentation::Udp) return 8;
  return uint32_t{packet.base[packet.offload.transport + 12]} >> 4 << 2;
}

// Bytes in front of the payload that is cut: headers every segment repeats.
inline uint32_t repeated_bytes(const Packet& packet) {
  return packet.offload.transport - packet.offset + transport_header_length(packet);
}

// Bytes of the longest frame on the wire: of a plain frame its own length, of a super-packet that
// of its full segments.
inline uint32_t wire_length(const Packet& packet) {
  if (packet.offload.segmentation == Segmentation::None) return packet.length;
  const uint32_t segment = repeated_bytes(packet) + packet.offload.segment;
  return segment < packet.length ? segment : packet.length;
}

}  // namespace vrouter
