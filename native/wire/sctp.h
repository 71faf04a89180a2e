// SCTP common header: RFC 9260 §3.1. Its CRC32c covers no pseudo header, so addresses may change
// under it, ports may not.
// check() once; the accessors cannot fail after.
#pragma once
#include <cstddef>
#include <cstdint>

#include "base/bytes.h"

namespace vrouter::sctp {

inline constexpr uint32_t kSourcePortAt = 0;
inline constexpr uint32_t kDestinationPortAt = 2;
inline constexpr uint32_t kVerificationTagAt = 4;
inline constexpr uint32_t kChecksumAt = 8;
inline constexpr uint32_t kHeaderLength = 12;
inline constexpr uint32_t kQuotedLength = 8;  // what an ICMP error must quote (RFC 792)

inline bool check(const uint8_t*, size_t n) { return n >= kHeaderLength; }
inline bool check_quoted(const uint8_t*, size_t n) { return n >= kQuotedLength; }

inline uint16_t source_port(const uint8_t* p) { return load_be16(p + kSourcePortAt); }
inline uint16_t destination_port(const uint8_t* p) { return load_be16(p + kDestinationPortAt); }
inline uint32_t verification_tag(const uint8_t* p) { return load_be32(p + kVerificationTagAt); }
inline uint32_t checksum(const uint8_t* p) { return load_be32(p + kChecksumAt); }

}  // namespace vrouter::sctp
