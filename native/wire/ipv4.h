// IPv4: RFC 791; RFC 1122 for what a host must check, RFC 2474 / RFC 3168 for the DS and ECN bits,
// RFC 6864 for the identification.
// check() once; the accessors cannot fail after.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "base/bytes.h"
#include "base/checksum.h"
#include "wire/ip.h"

namespace vrouter::ipv4 {

inline constexpr uint32_t kVersionAt = 0;  // version (4 bits), header length in words (4 bits)
inline constexpr uint32_t kTosAt = 1;      // DSCP (6), ECN (2)
inline constexpr uint32_t kTotalLengthAt = 2;
inline constexpr uint32_t kIdentificationAt = 4;
inline constexpr uint32_t kFragmentAt = 6;  // 0, DF, MF, offset in 8-byte units (13)
inline constexpr uint32_t kTtlAt = 8;
inline constexpr uint32_t kProtocolAt = 9;
inline constexpr uint32_t kChecksumAt = 10;
inline constexpr uint32_t kSourceAt = 12;
inline constexpr uint32_t kDestinationAt = 16;
inline constexpr uint32_t kHeaderLength = 20;  // without options
inline constexpr uint32_t kMaxHeaderLength = 60;
inline constexpr uint32_t kMinMtu = 68;

inline constexpr uint16_t kDontFragment = 0x4000;
inline constexpr uint16_t kMoreFragments = 0x2000;
inline constexpr uint16_t kOffsetMask = 0x1fff;

inline uint32_t header_length(const uint8_t* p) { return (p[kVersionAt] & 0x0fu) * 4; }
inline uint16_t total_length(const uint8_t* p) { return load_be16(p + kTotalLengthAt); }

// The header is all there. For packets quoted by ICMP errors, which end early.
inline bool check_header(const uint8_t* p, size_t n) {
  return n >= kHeaderLength && ip::version(p) == 4 && header_length(p) >= kHeaderLength &&
         header_length(p) <= n && total_length(p) >= header_length(p);
}
// The whole packet is there; n may be more (Ethernet padding). Not the checksum.
inline bool check(const uint8_t* p, size_t n) { return check_header(p, n) && total_length(p) <= n; }

inline uint32_t options_length(const uint8_t* p) { return header_length(p) - kHeaderLength; }
inline uint8_t tos(const uint8_t* p) { return p[kTosAt]; }
inline uint8_t dscp(const uint8_t* p) { return p[kTosAt] >> 2; }
inline uint8_t ecn(const uint8_t* p) { return p[kTosAt] & 3; }
inline uint16_t identification(const uint8_t* p) { return load_be16(p + kIdentificationAt); }
inline uint16_t fragment_word(const uint8_t* p) { return load_be16(p + kFragmentAt); }
inline bool dont_fragment(const uint8_t* p) { return (fragment_word(p) & kDontFragment) != 0; }
inline bool more_fragments(const uint8_t* p) { return (fragment_word(p) & kMoreFragments) != 0; }
inline uint32_t fragment_offset(const uint8_t* p) {  // bytes
  return (fragment_word(p) & kOffsetMask) * 8u;
}
inline bool is_fragment(const uint8_t* p) {
  return (fragment_word(p) & (kMoreFragments | kOffsetMask)) != 0;
}
inline uint8_t ttl(const uint8_t* p) { return p[kTtlAt]; }
inline uint8_t protocol(const uint8_t* p) { return p[kProtocolAt]; }
inline uint16_t checksum(const uint8_t* p) { return load_be16(p + kChecksumAt); }
inline const uint8_t* source(const uint8_t* p) { return p + kSourceAt; }  // 4 bytes
inline const uint8_t* destination(const uint8_t* p) { return p + kDestinationAt; }

inline bool checksum_ok(const uint8_t* p) {
  return checksum_fold(checksum_add(0, p, header_length(p))) == 0xffff;
}

// Setters leave the checksum alone; write_checksum() or checksum_apply() puts it right.
inline void set_tos(uint8_t* p, uint8_t tos) { p[kTosAt] = tos; }
inline void set_total_length(uint8_t* p, uint16_t length) {
  store_be16(p + kTotalLengthAt, length);
}
inline void set_identification(uint8_t* p, uint16_t id) { store_be16(p + kIdentificationAt, id); }
inline void set_fragment_word(uint8_t* p, uint16_t word) { store_be16(p + kFragmentAt, word); }
inline void set_ttl(uint8_t* p, uint8_t ttl) { p[kTtlAt] = ttl; }
inline void set_protocol(uint8_t* p, uint8_t protocol) { p[kProtocolAt] = protocol; }
inline void set_checksum(uint8_t* p, uint16_t checksum) { store_be16(p + kChecksumAt, checksum); }
inline void set_source(uint8_t* p, const uint8_t* address) {
  std::memmove(p + kSourceAt, address, 4);
}
inline void set_destination(uint8_t* p, const uint8_t* address) {
  std::memmove(p + kDestinationAt, address, 4);
}
inline void write_checksum(uint8_t* p) {
  set_checksum(p, 0);
  set_checksum(p, vrouter::checksum(p, header_length(p)));
}
// One hop less; the checksum follows. Precondition: ttl > 0.
inline void decrement_ttl(uint8_t* p) {
  const uint16_t old = load_be16(p + kTtlAt);
  --p[kTtlAt];
  set_checksum(p, checksum_apply(checksum(p), checksum_delta16(old, load_be16(p + kTtlAt))));
}
// A header without options, checksum included. fragment_word: kDontFragment or 0.
inline void write(uint8_t* p, uint8_t tos, uint16_t total_length, uint16_t id,
                  uint16_t fragment_word, uint8_t ttl, uint8_t protocol, const uint8_t* source,
                  const uint8_t* destination) {
  p[kVersionAt] = 0x45;
  set_tos(p, tos);
  set_total_length(p, total_length);
  set_identification(p, id);
  set_fragment_word(p, fragment_word);
  set_ttl(p, ttl);
  set_protocol(p, protocol);
  set_source(p, source);
  set_destination(p, destination);
  write_checksum(p);
}

}  // namespace vrouter::ipv4
