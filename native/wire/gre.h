// GRE: RFC 2784; RFC 2890 (key and sequence number); RFC 4023 for MPLS over it.
// check() once; the accessors cannot fail after.
#pragma once
#include <cstddef>
#include <cstdint>

#include "base/bytes.h"

namespace vrouter::gre {

inline constexpr uint32_t kFlagsAt = 0;         // C, R, K, S, reserved, version (3)
inline constexpr uint32_t kProtocolAt = 2;      // an ethertype
inline constexpr uint32_t kHeaderLength = 4;    // without checksum, key, sequence number
inline constexpr uint32_t kOptionalLength = 4;  // of each of the three

inline constexpr uint16_t kChecksumPresent = 0x8000;
inline constexpr uint16_t kKeyPresent = 0x2000;
inline constexpr uint16_t kSequencePresent = 0x1000;
inline constexpr uint16_t kVersionMask = 0x0007;
// RFC 1701's routing, strict source route and recursion bits: RFC 2784 §2.1 says discard.
inline constexpr uint16_t kMustBeZero = 0x4c00;

inline uint16_t flags(const uint8_t* p) { return load_be16(p + kFlagsAt); }
inline uint16_t protocol(const uint8_t* p) { return load_be16(p + kProtocolAt); }

inline uint32_t header_length(const uint8_t* p) {
  const uint16_t f = flags(p);
  const uint32_t optional = ((f & kChecksumPresent) != 0 ? 1u : 0u) +
                            ((f & kKeyPresent) != 0 ? 1u : 0u) +
                            ((f & kSequencePresent) != 0 ? 1u : 0u);
  return kHeaderLength + optional * kOptionalLength;
}

// Version 0 only. A checksum is stepped over, not verified: the tunnel's payload has its own.
inline bool check(const uint8_t* p, size_t n) {
  return n >= kHeaderLength && (flags(p) & (kVersionMask | kMustBeZero)) == 0 &&
         header_length(p) <= n;
}

inline bool has_key(const uint8_t* p) { return (flags(p) & kKeyPresent) != 0; }
// Precondition: has_key().
inline uint32_t key(const uint8_t* p) {
  return load_be32(p + kHeaderLength + ((flags(p) & kChecksumPresent) != 0 ? kOptionalLength : 0));
}

inline void write(uint8_t* p, uint16_t protocol) {
  store_be16(p + kFlagsAt, 0);
  store_be16(p + kProtocolAt, protocol);
}

}  // namespace vrouter::gre
