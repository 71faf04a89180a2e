// TCP: RFC 9293; RFC 879 / RFC 6691 for the MSS option.
// check() once; the accessors cannot fail after.
#pragma once
#include <cstddef>
#include <cstdint>

#include "base/bytes.h"
#include "base/checksum.h"

namespace vrouter::tcp {

inline constexpr uint32_t kSourcePortAt = 0;
inline constexpr uint32_t kDestinationPortAt = 2;
inline constexpr uint32_t kSequenceAt = 4;
inline constexpr uint32_t kAckAt = 8;
inline constexpr uint32_t kDataOffsetAt = 12;  // data offset in words (4), reserved (4)
inline constexpr uint32_t kFlagsAt = 13;
inline constexpr uint32_t kWindowAt = 14;
inline constexpr uint32_t kChecksumAt = 16;
inline constexpr uint32_t kUrgentAt = 18;
inline constexpr uint32_t kHeaderLength = 20;  // without options
inline constexpr uint32_t kQuotedLength = 8;   // what an ICMP error must quote (RFC 792)

inline constexpr uint8_t kFin = 0x01;
inline constexpr uint8_t kSyn = 0x02;
inline constexpr uint8_t kRst = 0x04;
inline constexpr uint8_t kPsh = 0x08;
inline constexpr uint8_t kAck = 0x10;
inline constexpr uint8_t kUrg = 0x20;
inline constexpr uint8_t kEce = 0x40;
inline constexpr uint8_t kCwr = 0x80;

inline constexpr uint8_t kOptionEnd = 0;
inline constexpr uint8_t kOptionNop = 1;
inline constexpr uint8_t kOptionMss = 2;
inline constexpr uint32_t kOptionMssLength = 4;

inline uint32_t header_length(const uint8_t* p) { return (p[kDataOffsetAt] >> 4) * 4u; }

// n: bytes of the segment in view.
inline bool check(const uint8_t* p, size_t n) {
  return n >= kHeaderLength && header_length(p) >= kHeaderLength && header_length(p) <= n;
}
// Ports and sequence number are there: enough for a segment quoted by an ICMP error.
inline bool check_quoted(const uint8_t*, size_t n) { return n >= kQuotedLength; }

inline uint16_t source_port(const uint8_t* p) { return load_be16(p + kSourcePortAt); }
inline uint16_t destination_port(const uint8_t* p) { return load_be16(p + kDestinationPortAt); }
inline uint32_t sequence(const uint8_t* p) { return load_be32(p + kSequenceAt); }
inline uint32_t ack(const uint8_t* p) { return load_be32(p + kAckAt); }
inline uint8_t flags(const uint8_t* p) { return p[kFlagsAt]; }
inline uint16_t window(const uint8_t* p) { return load_be16(p + kWindowAt); }
inline uint16_t checksum(const uint8_t* p) { return load_be16(p + kChecksumAt); }

inline void set_source_port(uint8_t* p, uint16_t port) { store_be16(p + kSourcePortAt, port); }
inline void set_destination_port(uint8_t* p, uint16_t port) {
  store_be16(p + kDestinationPortAt, port);
}
inline void set_checksum(uint8_t* p, uint16_t checksum) { store_be16(p + kChecksumAt, checksum); }

// Offset of the 16-bit MSS value from the start of the header, or 0. Options that lie about their
// length end the search. Precondition: check().
inline uint32_t mss_at(const uint8_t* p) {
  const uint32_t end = header_length(p);
  uint32_t at = kHeaderLength;
  while (at < end) {
    const uint8_t kind = p[at];
    if (kind == kOptionEnd) return 0;
    if (kind == kOptionNop) {
      ++at;
      continue;
    }
    if (end - at < 2) return 0;
    const uint32_t length = p[at + 1];
    if (length < 2 || length > end - at) return 0;
    if (kind == kOptionMss) return length == kOptionMssLength ? at + 2 : 0;
    at += length;
  }
  return 0;
}

// Lowers the MSS of a SYN to `most`; the checksum follows. True if it did. Precondition: check().
inline bool clamp_mss(uint8_t* p, uint16_t most) {
  if ((flags(p) & kSyn) == 0) return false;
  const uint32_t at = mss_at(p);
  if (at == 0) return false;
  const uint16_t old = load_be16(p + at);
  if (old <= most) return false;
  store_be16(p + at, most);
  // At an odd offset the value's bytes lie in two words, each in the other's place.
  const uint16_t delta =
      at % 2 == 0 ? checksum_delta16(old, most) : checksum_delta16(swap16(old), swap16(most));
  set_checksum(p, checksum_apply(checksum(p), delta));
  return true;
}

}  // namespace vrouter::tcp
