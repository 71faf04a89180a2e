// Frames and super-packets for the tests of this folder, made byte by byte: the twin of what cuts and merges them.
#pragma once
#include <algorithm>
#include <cstring>
#include <random>
#include <vector>

#include "base/bytes.h"
#include "packet/packet.h"

namespace vrouter::offload_twin {

using Bytes = std::vector<uint8_t>;

inline uint16_t naive_sum(const Bytes& pseudo, const uint8_t* p, size_t n) {
  Bytes all = pseudo;
  all.insert(all.end(), p, p + n);
  if (all.size() % 2 != 0) all.push_back(0);
  uint32_t sum = 0;
  for (size_t i = 0; i < all.size(); i += 2) {
    sum += static_cast<uint32_t>(all[i] << 8 | all[i + 1]);
    if (sum > 0xffff) sum = (sum & 0xffff) + 1;
  }
  return static_cast<uint16_t>(sum);
}

inline Bytes pseudo(const uint8_t* l3, uint8_t protocol, uint32_t length) {
  Bytes out;
  const bool v4 = l3[0] >> 4 == 4;
  out.insert(out.end(), l3 + (v4 ? 12 : 8), l3 + (v4 ? 20 : 40));
  for (const int shift : {24, 16, 8, 0}) out.push_back(static_cast<uint8_t>(length >> shift));
  out.insert(out.end(), {0, 0, 0, protocol});
  return out;
}

enum class Outer { None, Tagged, Udp4, Udp6, Gre4, Vxlan4, Vxlan6 };
struct Shape {
  Outer outer;
  bool v6;
  bool udp;
  uint32_t options;  // bytes of TCP options
};

inline void ip_header(Bytes& out, bool v6, uint8_t protocol, uint8_t tail) {
  if (v6) {
    out.insert(out.end(), {0x60, 0, 0, 0, 0, 0, protocol, 64});
    for (const uint8_t end : {tail, static_cast<uint8_t>(tail + 1)}) {
      out.insert(out.end(), {0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7, end});
    }
  } else {
    out.insert(out.end(), {0x45, 0x10, 0, 0, 0x12, 0xfe, 0, 0, 64, protocol, 0, 0});
    out.insert(out.end(), {10, 1, 2, tail, 10, 3, 4, static_cast<uint8_t>(tail + 1)});
  }
}

// A frame of this shape with `payload`, lengths and checksums of the headers zero: see seal().
struct Built {
  Bytes frame;
  uint32_t outer_l3 = 0, outer_l4 = 0, inner_l3 = 0, l4 = 0, payload = 0;
};
inline Built build(const Shape& shape, const Bytes& payload, uint32_t sequence, uint8_t flags) {
  Built b;
  Bytes& f = b.frame;
  f = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2};
  const bool tunnel = shape.outer != Outer::None && shape.outer != Outer::Tagged;
  const bool outer6 = shape.outer == Outer::Udp6 || shape.outer == Outer::Vxlan6;
  if (shape.outer == Outer::Tagged) f.insert(f.end(), {0x81, 0, 0, 5});
  const bool first6 = tunnel ? outer6 : shape.v6;
  f.insert(f.end(),
           {static_cast<uint8_t>(first6 ? 0x86 : 8), static_cast<uint8_t>(first6 ? 0xdd : 0)});
  b.outer_l3 = static_cast<uint32_t>(f.size());
  if (tunnel) {
    const bool gre = shape.outer == Outer::Gre4;
    ip_header(f, outer6, gre ? 47 : 17, 50);
    b.outer_l4 = static_cast<uint32_t>(f.size());
    const bool vxlan = shape.outer == Outer::Vxlan4 || shape.outer == Outer::Vxlan6;
    if (gre) {
      f.insert(f.end(), {0, 0, 0x88, 0x47});
    } else {
      f.insert(f.end(), {0xc3, 0x50, static_cast<uint8_t>(vxlan ? 0x12 : 0x19),
                         static_cast<uint8_t>(vxlan ? 0xb5 : 0xeb), 0, 0, 0, 0});
    }
    if (vxlan) {
      f.insert(f.end(), {8, 0, 0, 0, 0, 0, 42, 0, 6, 5, 4, 3, 2, 1, 1, 2, 3, 4, 5, 6});
      f.insert(f.end(), {static_cast<uint8_t>(shape.v6 ? 0x86 : 8),
                         static_cast<uint8_t>(shape.v6 ? 0xdd : 0)});
    } else {
      f.insert(f.end(), {0, 1, 1, 64});
    }
  }
  b.inner_l3 = static_cast<uint32_t>(f.size());
  ip_header(f, shape.v6, shape.udp ? 17 : 6, 9);
  b.l4 = static_cast<uint32_t>(f.size());
  if (shape.udp) {
    f.insert(f.end(), {0x11, 0x22, 0x33, 0x44, 0, 0, 0, 0});
  } else {
    f.insert(f.end(), {0x11, 0x22, 0x33, 0x44});
    for (const int s : {24, 16, 8, 0}) f.push_back(static_cast<uint8_t>(sequence >> s));
    f.insert(f.end(), {9, 8, 7, 6, static_cast<uint8_t>((20 + shape.options) / 4 << 4), flags});
    f.insert(f.end(), {0x20, 0, 0, 0, 0, 0});
    for (uint32_t i = 0; i < shape.options; ++i) f.push_back(static_cast<uint8_t>(1 + i % 1));
  }
  b.payload = static_cast<uint32_t>(f.size());
  f.insert(f.end(), payload.begin(), payload.end());
  return b;
}

// Lengths, identification and checksums, for the frame as it stands.
inline void seal(Built& b, bool udp, uint32_t number, bool outer_checksum = false) {
  Bytes& f = b.frame;
  const auto ip = [&](uint32_t at) {
    const uint32_t length = static_cast<uint32_t>(f.size()) - at;
    if (f[at] >> 4 == 6) return store_be16(&f[at + 4], static_cast<uint16_t>(length - 40));
    store_be16(&f[at + 2], static_cast<uint16_t>(length));
    store_be16(&f[at + 4], static_cast<uint16_t>(0x12fe + number));
    store_be16(&f[at + 10], 0);
    store_be16(&f[at + 10], static_cast<uint16_t>(~naive_sum({}, &f[at], 20)));
  };
  ip(b.inner_l3);
  const uint32_t l4_length = static_cast<uint32_t>(f.size()) - b.l4;
  if (udp) store_be16(&f[b.l4 + 4], static_cast<uint16_t>(l4_length));
  const uint32_t field = b.l4 + (udp ? 6u : 16u);
  store_be16(&f[field], 0);
  const uint16_t sum = static_cast<uint16_t>(
      ~naive_sum(pseudo(&f[b.inner_l3], udp ? 17 : 6, l4_length), &f[b.l4], l4_length));
  // Zero means "none" to UDP alone.
  store_be16(&f[field], udp && sum == 0 ? uint16_t{0xffff} : sum);
  if (b.outer_l4 == 0) return;
  ip(b.outer_l3);
  if (f[b.outer_l3 + (f[b.outer_l3] >> 4 == 4 ? 9u : 6u)] == 17) {
    const uint32_t length = static_cast<uint32_t>(f.size()) - b.outer_l4;
    store_be16(&f[b.outer_l4 + 4], static_cast<uint16_t>(length));
    if (!outer_checksum) return;
    store_be16(&f[b.outer_l4 + 6], 0);
    const uint16_t outer = static_cast<uint16_t>(
        ~naive_sum(pseudo(&f[b.outer_l3], 17, length), &f[b.outer_l4], length));
    store_be16(&f[b.outer_l4 + 6], outer == 0 ? uint16_t{0xffff} : outer);
  }
}

inline Packet* packet_of(PacketPool& pool, const Bytes& frame) {
  Packet* packet = pool.allocate();
  std::memcpy(packet->data(), frame.data(), frame.size());
  packet->append(static_cast<uint32_t>(frame.size()));
  return packet;
}
inline Bytes bytes(const Packet& packet) { return {packet.data(), packet.data() + packet.length}; }

inline Packet* super_of(PacketPool& pool, const Shape& shape, const Built& b, uint16_t segment) {
  Packet* packet = packet_of(pool, b.frame);
  Offload& o = packet->offload;
  o.segmentation = shape.udp  ? Segmentation::Udp
                   : shape.v6 ? Segmentation::TcpV6
                              : Segmentation::TcpV4;
  o.checksum = true;
  o.segment = segment;
  o.field = shape.udp ? 6 : 16;
  o.transport = packet->offset + b.l4;
  if (b.outer_l4 != 0) {
    o.outer_transport = packet->offset + b.outer_l4;
    o.inner_network = packet->offset + b.inner_l3;
  }
  return packet;
}

inline Bytes random_bytes(std::mt19937& random, size_t n) {
  Bytes out(n);
  for (uint8_t& b : out) b = static_cast<uint8_t>(random());
  return out;
}

}  // namespace vrouter::offload_twin
