// IPv6 and its extension headers: RFC 8200; RFC 4302 (authentication header), RFC 7112 (a first
// fragment holds the whole header chain), RFC 6946 (atomic fragments).
// check() once; the accessors cannot fail after. walk() finds the upper-layer header.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "base/bytes.h"
#include "wire/ip.h"

namespace vrouter::ipv6 {

inline constexpr uint32_t kVersionAt = 0;  // version (4), traffic class (8), flow label (20)
inline constexpr uint32_t kPayloadLengthAt = 4;
inline constexpr uint32_t kNextHeaderAt = 6;
inline constexpr uint32_t kHopLimitAt = 7;
inline constexpr uint32_t kSourceAt = 8;
inline constexpr uint32_t kDestinationAt = 24;
inline constexpr uint32_t kHeaderLength = 40;
inline constexpr uint32_t kMinMtu = 1280;

// Fragment header, from its own start.
inline constexpr uint32_t kFragmentNextHeaderAt = 0;
inline constexpr uint32_t kFragmentOffsetAt = 2;  // offset in 8-byte units (13), 0 (2), M (1)
inline constexpr uint32_t kFragmentIdentificationAt = 4;
inline constexpr uint32_t kFragmentLength = 8;

// Chains longer than this are refused: each header costs time, and none needs so many.
inline constexpr uint32_t kMaxExtensions = 8;

inline uint16_t payload_length(const uint8_t* p) { return load_be16(p + kPayloadLengthAt); }
inline uint32_t total_length(const uint8_t* p) { return kHeaderLength + payload_length(p); }

// The header is all there. For packets quoted by ICMP errors, which end early.
inline bool check_header(const uint8_t* p, size_t n) {
  return n >= kHeaderLength && ip::version(p) == 6;
}
// The whole packet is there; n may be more (Ethernet padding).
inline bool check(const uint8_t* p, size_t n) { return check_header(p, n) && total_length(p) <= n; }

inline uint8_t traffic_class(const uint8_t* p) {
  return static_cast<uint8_t>(load_be16(p + kVersionAt) >> 4);
}
inline uint32_t flow_label(const uint8_t* p) { return load_be32(p + kVersionAt) & 0xfffff; }
inline uint8_t next_header(const uint8_t* p) { return p[kNextHeaderAt]; }
inline uint8_t hop_limit(const uint8_t* p) { return p[kHopLimitAt]; }
inline const uint8_t* source(const uint8_t* p) { return p + kSourceAt; }  // 16 bytes
inline const uint8_t* destination(const uint8_t* p) { return p + kDestinationAt; }

inline void set_version_class_label(uint8_t* p, uint8_t traffic_class, uint32_t flow_label) {
  store_be32(p + kVersionAt, 6u << 28 | uint32_t{traffic_class} << 20 | (flow_label & 0xfffff));
}
inline void set_payload_length(uint8_t* p, uint16_t length) {
  store_be16(p + kPayloadLengthAt, length);
}
inline void set_next_header(uint8_t* p, uint8_t protocol) { p[kNextHeaderAt] = protocol; }
inline void set_hop_limit(uint8_t* p, uint8_t hops) { p[kHopLimitAt] = hops; }
inline void set_source(uint8_t* p, const uint8_t* address) {
  std::memmove(p + kSourceAt, address, 16);
}
inline void set_destination(uint8_t* p, const uint8_t* address) {
  std::memmove(p + kDestinationAt, address, 16);
}
inline void write(uint8_t* p, uint8_t traffic_class, uint32_t flow_label, uint16_t payload_length,
                  uint8_t next_header, uint8_t hop_limit, const uint8_t* source,
                  const uint8_t* destination) {
  set_version_class_label(p, traffic_class, flow_label);
  set_payload_length(p, payload_length);
  set_next_header(p, next_header);
  set_hop_limit(p, hop_limit);
  set_source(p, source);
  set_destination(p, destination);
}
// A fragment header at `p`; offset in bytes, a multiple of 8.
inline void write_fragment(uint8_t* p, uint8_t next_header, uint32_t offset, bool more,
                           uint32_t identification) {
  p[kFragmentNextHeaderAt] = next_header;
  p[1] = 0;
  store_be16(p + kFragmentOffsetAt, static_cast<uint16_t>((offset & 0xfff8) | (more ? 1 : 0)));
  store_be32(p + kFragmentIdentificationAt, identification);
}

// What walk() found. Offsets count from the IPv6 header.
struct Upper {
  uint8_t protocol = 0;          // kNoNextHeader: nothing follows
  uint8_t extensions = 0;        // headers stepped over
  bool fragment = false;         // there is a fragment header (maybe an atomic one: whole packet)
  bool more = false;             // its M flag
  uint32_t offset = 0;           // of the upper-layer header; in a later fragment, of its data
  uint32_t fragment_offset = 0;  // bytes
  uint32_t identification = 0;
  uint32_t fragment_header = 0;             // where the fragment header stands; 0: none
  uint32_t unfragmentable = kHeaderLength;  // end of the part every fragment repeats (no fragment
                                            // header: where one would be put in)
  uint32_t next_header_at = kNextHeaderAt;  // byte that names what stands at `offset`

  bool later_fragment() const { return fragment_offset != 0; }
};

// Steps over hop-by-hop options, routing, destination options, fragment and authentication headers.
// n: bytes of this packet in view (after check(): total_length). Precondition: check_header().
// A later fragment ends the walk at its data: `protocol` is then what its fragment header names.
// False: a header runs over the end, hop-by-hop options not in first place, two fragment headers,
// or too many headers. Whether the payload of a fragment has a sane length is for the caller to
// say.
inline bool walk(const uint8_t* p, size_t n, Upper& out) {
  out = Upper{};
  out.protocol = next_header(p);
  out.offset = kHeaderLength;
  for (;;) {
    const uint32_t at = out.offset;
    uint32_t length = 0;
    switch (out.protocol) {
      case ip::kHopByHop:
        if (at != kHeaderLength) return false;
        [[fallthrough]];
      case ip::kRouting:
      case ip::kDestinationOptions:
        if (n - at < 8) return false;
        length = (p[at + 1] + 1u) * 8;
        break;
      case ip::kAuthentication:
        if (n - at < 8) return false;
        length = (p[at + 1] + 2u) * 4;
        if (length % 8 != 0) return false;  // RFC 4302 §2.2: a multiple of 8 in IPv6
        break;
      case ip::kFragment:
        if (n - at < kFragmentLength || out.fragment) return false;
        length = kFragmentLength;
        break;
      default:
        return true;
    }
    if (length > n - at || ++out.extensions > kMaxExtensions) return false;
    const bool is_fragment = out.protocol == ip::kFragment;
    // RFC 8200 §4.5: hop-by-hop and all up to a routing header stay in front of a fragment header.
    if (!out.fragment && (out.protocol == ip::kHopByHop || out.protocol == ip::kRouting)) {
      out.unfragmentable = at + length;
    }
    out.protocol = p[at];
    out.next_header_at = at;
    out.offset = at + length;
    if (is_fragment) {
      const uint16_t word = load_be16(p + at + kFragmentOffsetAt);
      out.fragment = true;
      out.more = (word & 1) != 0;
      out.fragment_offset = word & 0xfff8u;
      out.identification = load_be32(p + at + kFragmentIdentificationAt);
      out.fragment_header = at;
      out.unfragmentable = at;
      if (out.later_fragment()) return true;  // what follows is data, not headers
    }
  }
}

}  // namespace vrouter::ipv6
