// What IPv4 and IPv6 share: protocol numbers (IANA) and the version nibble.
#pragma once
#include <cstdint>

namespace vrouter::ip {

inline constexpr uint8_t kHopByHop = 0;
inline constexpr uint8_t kIcmp = 1;
inline constexpr uint8_t kIgmp = 2;
inline constexpr uint8_t kIpv4 = 4;  // IP in IP
inline constexpr uint8_t kTcp = 6;
inline constexpr uint8_t kUdp = 17;
inline constexpr uint8_t kIpv6 = 41;
inline constexpr uint8_t kRouting = 43;
inline constexpr uint8_t kFragment = 44;
inline constexpr uint8_t kGre = 47;
inline constexpr uint8_t kEsp = 50;
inline constexpr uint8_t kAuthentication = 51;
inline constexpr uint8_t kIcmpv6 = 58;
inline constexpr uint8_t kNoNextHeader = 59;
inline constexpr uint8_t kDestinationOptions = 60;
inline constexpr uint8_t kSctp = 132;
inline constexpr uint8_t kUdpLite = 136;

// Precondition: one byte.
inline uint8_t version(const uint8_t* p) { return p[0] >> 4; }

}  // namespace vrouter::ip
