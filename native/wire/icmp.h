// ICMP for both families and neighbour discovery: RFC 792, RFC 1191 (next-hop MTU), RFC 1812 §4.3
// (what must not be answered), RFC 4443 (ICMPv6), RFC 4861 (neighbour discovery).
//   icmp::   the header both share, and the types of IPv4     icmp6::  the types of IPv6
//   ndp::    neighbour solicitation and advertisement, with their options
// check() once; the accessors cannot fail after.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "base/address.h"
#include "base/bytes.h"
#include "wire/ethernet.h"

namespace vrouter::icmp {

inline constexpr uint32_t kTypeAt = 0;
inline constexpr uint32_t kCodeAt = 1;
inline constexpr uint32_t kChecksumAt = 2;
inline constexpr uint32_t kRestAt = 4;        // meaning depends on the type
inline constexpr uint32_t kIdentifierAt = 4;  // echo
inline constexpr uint32_t kSequenceAt = 6;    // echo
inline constexpr uint32_t kMtuAt = 6;         // fragmentation needed
inline constexpr uint32_t kHeaderLength = 8;  // an error quotes the packet it is about behind it

inline constexpr uint8_t kEchoReply = 0;
inline constexpr uint8_t kUnreachable = 3;
inline constexpr uint8_t kSourceQuench = 4;
inline constexpr uint8_t kRedirect = 5;
inline constexpr uint8_t kEcho = 8;
inline constexpr uint8_t kTimeExceeded = 11;
inline constexpr uint8_t kParameterProblem = 12;

inline constexpr uint8_t kCodeNetUnreachable = 0;
inline constexpr uint8_t kCodeHostUnreachable = 1;
inline constexpr uint8_t kCodePortUnreachable = 3;
inline constexpr uint8_t kCodeFragmentationNeeded = 4;
inline constexpr uint8_t kCodeProhibited = 13;
inline constexpr uint8_t kCodeTtlExceeded = 0;
inline constexpr uint8_t kCodeReassemblyTimeExceeded = 1;

inline bool check(const uint8_t*, size_t n) { return n >= kHeaderLength; }

inline uint8_t type(const uint8_t* p) { return p[kTypeAt]; }
inline uint8_t code(const uint8_t* p) { return p[kCodeAt]; }
inline uint16_t checksum(const uint8_t* p) { return load_be16(p + kChecksumAt); }
inline uint32_t rest(const uint8_t* p) { return load_be32(p + kRestAt); }
inline uint16_t identifier(const uint8_t* p) { return load_be16(p + kIdentifierAt); }
inline uint16_t sequence(const uint8_t* p) { return load_be16(p + kSequenceAt); }
inline uint16_t mtu(const uint8_t* p) { return load_be16(p + kMtuAt); }

inline void set_type(uint8_t* p, uint8_t type) { p[kTypeAt] = type; }
inline void set_code(uint8_t* p, uint8_t code) { p[kCodeAt] = code; }
inline void set_checksum(uint8_t* p, uint16_t checksum) { store_be16(p + kChecksumAt, checksum); }
inline void set_rest(uint8_t* p, uint32_t rest) { store_be32(p + kRestAt, rest); }
inline void set_identifier(uint8_t* p, uint16_t id) { store_be16(p + kIdentifierAt, id); }

// Carries the packet it is about; never to be answered by another error.
inline bool is_error(uint8_t type) {
  return type == kUnreachable || type == kSourceQuench || type == kRedirect ||
         type == kTimeExceeded || type == kParameterProblem;
}
inline bool is_echo(uint8_t type) { return type == kEcho || type == kEchoReply; }

}  // namespace vrouter::icmp

namespace vrouter::icmp6 {

// The header is icmp::'s; the checksum covers the pseudo header.
inline constexpr uint32_t kHeaderLength = icmp::kHeaderLength;
inline constexpr uint32_t kMtuAt = 4;      // packet too big, 32 bits
inline constexpr uint32_t kPointerAt = 4;  // parameter problem

inline constexpr uint8_t kUnreachable = 1;
inline constexpr uint8_t kPacketTooBig = 2;
inline constexpr uint8_t kTimeExceeded = 3;
inline constexpr uint8_t kParameterProblem = 4;
inline constexpr uint8_t kEcho = 128;
inline constexpr uint8_t kEchoReply = 129;
inline constexpr uint8_t kMulticastQuery = 130;
inline constexpr uint8_t kMulticastReport = 131;
inline constexpr uint8_t kMulticastDone = 132;
inline constexpr uint8_t kRouterSolicitation = 133;
inline constexpr uint8_t kRouterAdvertisement = 134;
inline constexpr uint8_t kNeighbourSolicitation = 135;
inline constexpr uint8_t kNeighbourAdvertisement = 136;
inline constexpr uint8_t kRedirect = 137;
inline constexpr uint8_t kMulticastReport2 = 143;

inline constexpr uint8_t kCodeNoRoute = 0;
inline constexpr uint8_t kCodeProhibited = 1;
inline constexpr uint8_t kCodeAddressUnreachable = 3;
inline constexpr uint8_t kCodePortUnreachable = 4;
inline constexpr uint8_t kCodeHopLimitExceeded = 0;
inline constexpr uint8_t kCodeReassemblyTimeExceeded = 1;

inline bool check(const uint8_t* p, size_t n) { return icmp::check(p, n); }
inline uint32_t mtu(const uint8_t* p) { return load_be32(p + kMtuAt); }
inline uint32_t pointer(const uint8_t* p) { return load_be32(p + kPointerAt); }

inline bool is_error(uint8_t type) { return type < 128; }  // RFC 4443 §2.1
inline bool is_echo(uint8_t type) { return type == kEcho || type == kEchoReply; }
inline bool is_neighbour_discovery(uint8_t type) {
  return type >= kRouterSolicitation && type <= kRedirect;
}

}  // namespace vrouter::icmp6

namespace vrouter::ndp {

// Neighbour solicitation and advertisement have one shape; offsets from the ICMPv6 header.
inline constexpr uint32_t kFlagsAt = 4;  // advertisement only; reserved in a solicitation
inline constexpr uint32_t kTargetAt = 8;
inline constexpr uint32_t kOptionsAt = 24;
inline constexpr uint32_t kHeaderLength = 24;
inline constexpr uint8_t kHopLimit = 255;  // of every valid message

inline constexpr uint32_t kFlagRouter = 0x80000000;
inline constexpr uint32_t kFlagSolicited = 0x40000000;
inline constexpr uint32_t kFlagOverride = 0x20000000;

inline constexpr uint8_t kOptionSourceLinkLayer = 1;
inline constexpr uint8_t kOptionTargetLinkLayer = 2;
inline constexpr uint32_t kLinkLayerLength = 8;  // type (1), length in 8-byte units (1), MAC (6)

// n: bytes of the ICMPv6 message. Long enough, and every option has a length that fits; RFC 4861
// §7.1 wants the rest checked by whoever knows the IP header (hop limit 255, source, checksum).
inline bool check(const uint8_t* p, size_t n) {
  if (n < kHeaderLength) return false;
  size_t at = kOptionsAt;
  while (at < n) {
    if (n - at < 2) return false;
    const size_t length = p[at + 1] * 8u;
    if (length == 0 || length > n - at) return false;
    at += length;
  }
  return true;
}

inline const uint8_t* target(const uint8_t* p) { return p + kTargetAt; }  // 16 bytes
inline uint32_t flags(const uint8_t* p) { return load_be32(p + kFlagsAt); }

// Offset of the MAC inside the first option of this type, or 0. Precondition: check(p, n).
inline uint32_t link_layer_at(const uint8_t* p, size_t n, uint8_t option) {
  size_t at = kOptionsAt;
  while (at < n) {
    const size_t length = p[at + 1] * 8u;
    if (p[at] == option && length == kLinkLayerLength) return static_cast<uint32_t>(at + 2);
    at += length;
  }
  return 0;
}

inline void write_link_layer(uint8_t* option, uint8_t type, const Mac& mac) {
  option[0] = type;
  option[1] = 1;
  ethernet::store_mac(option + 2, mac);
}

// An advertisement of `target` at `mac`, kHeaderLength + kLinkLayerLength bytes; checksum zero.
inline constexpr uint32_t kAdvertisementLength = kHeaderLength + kLinkLayerLength;
inline void write_advertisement(uint8_t* p, uint32_t flags, const uint8_t* target, const Mac& mac) {
  std::memmove(p + kTargetAt, target, 16);  // `target` may be that of a solicitation at `p`
  icmp::set_type(p, icmp6::kNeighbourAdvertisement);
  icmp::set_code(p, 0);
  icmp::set_checksum(p, 0);
  store_be32(p + kFlagsAt, flags);
  write_link_layer(p + kOptionsAt, kOptionTargetLinkLayer, mac);
}

}  // namespace vrouter::ndp
