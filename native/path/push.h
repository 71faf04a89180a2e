// A next hop's rewrite in front of a packet: the rendered bytes copied, the few fields that differ
// from packet to packet filled in. For the rooms that send (encapsulate.cc, express.cc). The shapes
// are data (state/rewrite.h).
#pragma once
#include "base/checksum.h"
#include "path/rooms.h"

namespace vrouter {

// `length` bytes, at least 8, by a few copies of fixed size that may overlap.
inline void copy_header(uint8_t* to, const uint8_t* from, uint32_t length) {
  if (length >= 32) {
    std::memcpy(to, from, 32);
    if (length > 64) std::memcpy(to + 32, from + 32, 32);
    std::memcpy(to + length - 32, from + length - 32, 32);
  } else if (length <= 16) {
    std::memcpy(to, from, 8);
    std::memcpy(to + length - 8, from + length - 8, 8);
  } else {
    std::memcpy(to, from, 16);
    std::memcpy(to + length - 16, from + length - 16, 16);
  }
}
static_assert(sizeof(Rewrite::bytes) <= 96, "three copies of 32 bytes");

// A super-packet near 64 KiB may not fit the outer length fields: they wrap here, and are right
// again in its segments, for it is cut before it leaves (worker/transmit.h). inner_network: where
// the inner IP header is, from base.
inline void push_rewrite(Context& context, Packet& packet, const Rewrite& rewrite,
                         uint32_t inner_network) {
  const PacketMeta& meta = packet.meta;
  const uint32_t inner = packet.length;
  uint8_t* h = packet.push(rewrite.length);
  copy_header(h, rewrite.bytes, rewrite.length);
  if (rewrite.inner_ether_type_at != Rewrite::kNone) {
    store_be16(h + rewrite.inner_ether_type_at, meta.ether_type);
  }
  if (rewrite.family == 0) return;
  const uint16_t total = static_cast<uint16_t>(inner + rewrite.l3_adjust);
  store_be16(h + rewrite.total_length_at, total);
  if (rewrite.identification_at != Rewrite::kNone) {
    const uint16_t id = ++context.ip_identification;
    store_be16(h + rewrite.identification_at, id);
    store_be16(h + rewrite.checksum_at, checksum_finish(rewrite.checksum_base + total + id));
  }
  if (rewrite.source_port_at != Rewrite::kNone) {
    store_be16(h + rewrite.source_port_at, entropy_port(meta.hash));
    store_be16(h + rewrite.udp_length_at, static_cast<uint16_t>(inner + rewrite.udp_adjust));
  }
  Offload& offload = packet.offload;
  if (offload.checksum) {
    offload.outer_transport = packet.offset + rewrite.l3 + (rewrite.family == 4 ? 20 : 40);
    offload.inner_network = inner_network;
  }
  uint32_t word = meta.label << rewrite.label_shift | rewrite.label_low;
  if (rewrite.ttl_in_label != 0) word |= meta.l2 ? 64u : meta.ttl;
  store_be32(h + rewrite.label_at, word);
}

}  // namespace vrouter
