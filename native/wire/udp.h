// UDP: RFC 768; RFC 8200 §8.1 and RFC 6935 for the checksum over IPv6.
// check() once; the accessors cannot fail after.
#pragma once
#include <cstddef>
#include <cstdint>

#include "base/bytes.h"

namespace vrouter::udp {

inline constexpr uint32_t kSourcePortAt = 0;
inline constexpr uint32_t kDestinationPortAt = 2;
inline constexpr uint32_t kLengthAt = 4;    // header and payload
inline constexpr uint32_t kChecksumAt = 6;  // 0: none
inline constexpr uint32_t kHeaderLength = 8;

inline constexpr uint16_t kPortDns = 53;
inline constexpr uint16_t kPortDhcpServer = 67;
inline constexpr uint16_t kPortDhcpClient = 68;
inline constexpr uint16_t kPortDhcpv6Client = 546;
inline constexpr uint16_t kPortDhcpv6Server = 547;
inline constexpr uint16_t kPortVxlan = 4789;     // RFC 7348
inline constexpr uint16_t kPortMpls = 6635;      // RFC 7510
inline constexpr uint16_t kPortMplsOld = 51234;  // older Contrail

inline uint16_t length(const uint8_t* p) { return load_be16(p + kLengthAt); }

// The datagram is all there; n may be more. A first fragment has only check_quoted().
inline bool check(const uint8_t* p, size_t n) {
  return n >= kHeaderLength && length(p) >= kHeaderLength && length(p) <= n;
}
// The header is there: enough for a first fragment or a datagram quoted by an ICMP error.
inline bool check_quoted(const uint8_t*, size_t n) { return n >= kHeaderLength; }

inline uint16_t source_port(const uint8_t* p) { return load_be16(p + kSourcePortAt); }
inline uint16_t destination_port(const uint8_t* p) { return load_be16(p + kDestinationPortAt); }
inline uint16_t checksum(const uint8_t* p) { return load_be16(p + kChecksumAt); }

inline void set_source_port(uint8_t* p, uint16_t port) { store_be16(p + kSourcePortAt, port); }
inline void set_destination_port(uint8_t* p, uint16_t port) {
  store_be16(p + kDestinationPortAt, port);
}
inline void set_length(uint8_t* p, uint16_t length) { store_be16(p + kLengthAt, length); }
inline void set_checksum(uint8_t* p, uint16_t checksum) { store_be16(p + kChecksumAt, checksum); }
inline void write(uint8_t* p, uint16_t source_port, uint16_t destination_port, uint16_t length,
                  uint16_t checksum) {
  set_source_port(p, source_port);
  set_destination_port(p, destination_port);
  set_length(p, length);
  set_checksum(p, checksum);
}

}  // namespace vrouter::udp
