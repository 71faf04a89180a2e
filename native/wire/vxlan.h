// VXLAN: RFC 7348.
// check() once; the accessors cannot fail after.
#pragma once
#include <cstddef>
#include <cstdint>

#include "base/bytes.h"

namespace vrouter::vxlan {

inline constexpr uint32_t kFlagsAt = 0;
inline constexpr uint32_t kVniAt = 4;  // 24 bits; the last byte is reserved
inline constexpr uint32_t kHeaderLength = 8;

inline constexpr uint8_t kFlagVni = 0x08;  // I: must be set; the other bits are ignored on receipt

inline bool check(const uint8_t* p, size_t n) {
  return n >= kHeaderLength && (p[kFlagsAt] & kFlagVni) != 0;
}

inline uint32_t vni(const uint8_t* p) { return load_be24(p + kVniAt); }

inline void write(uint8_t* p, uint32_t vni) {
  store_be32(p + kFlagsAt, uint32_t{kFlagVni} << 24);
  store_be32(p + kVniAt, vni << 8);
}

}  // namespace vrouter::vxlan
