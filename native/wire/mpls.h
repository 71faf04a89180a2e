// MPLS label stack entry: RFC 3032; RFC 5462 (traffic class); RFC 7510 and RFC 4023 for it over UDP
// and GRE.
// check() once; the accessors cannot fail after.
#pragma once
#include <cstddef>
#include <cstdint>

#include "base/bytes.h"

namespace vrouter::mpls {

inline constexpr uint32_t kEntryLength = 4;  // label (20), traffic class (3), bottom (1), TTL (8)
inline constexpr uint32_t kLabelShift = 12;
inline constexpr uint32_t kTrafficClassShift = 9;
inline constexpr uint32_t kBottomBit = 0x100;
inline constexpr uint32_t kFirstUnreserved = 16;  // 0..15 have meanings of their own
inline constexpr uint32_t kExplicitNullV4 = 0;
inline constexpr uint32_t kExplicitNullV6 = 2;

struct Entry {
  uint32_t label = 0;
  uint8_t traffic_class = 0;
  bool bottom = true;
  uint8_t ttl = 64;
  bool operator==(const Entry&) const = default;
};

inline bool check(const uint8_t*, size_t n) { return n >= kEntryLength; }

inline uint32_t label(const uint8_t* p) { return load_be32(p) >> kLabelShift; }
inline uint8_t traffic_class(const uint8_t* p) { return (p[2] >> 1) & 7; }
inline bool bottom(const uint8_t* p) { return (p[2] & 1) != 0; }
inline uint8_t ttl(const uint8_t* p) { return p[3]; }

inline void set_ttl(uint8_t* p, uint8_t ttl) { p[3] = ttl; }

inline Entry decode(const uint8_t* p) { return {label(p), traffic_class(p), bottom(p), ttl(p)}; }
inline void encode(uint8_t* p, const Entry& entry) {
  store_be32(p, entry.label << kLabelShift | (entry.traffic_class & 7u) << kTrafficClassShift |
                    (entry.bottom ? kBottomBit : 0) | entry.ttl);
}

}  // namespace vrouter::mpls
