// ARP for IPv4 over Ethernet: RFC 826; RFC 5227 for probes and announcements.
// check() once; the accessors cannot fail after.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "base/address.h"
#include "base/bytes.h"
#include "wire/ethernet.h"

namespace vrouter::arp {

inline constexpr uint32_t kHardwareTypeAt = 0;
inline constexpr uint32_t kProtocolTypeAt = 2;
inline constexpr uint32_t kHardwareLengthAt = 4;
inline constexpr uint32_t kProtocolLengthAt = 5;
inline constexpr uint32_t kOperationAt = 6;
inline constexpr uint32_t kSenderMacAt = 8;
inline constexpr uint32_t kSenderIpAt = 14;
inline constexpr uint32_t kTargetMacAt = 18;
inline constexpr uint32_t kTargetIpAt = 24;
inline constexpr uint32_t kHeaderLength = 28;

inline constexpr uint16_t kHardwareEthernet = 1;
inline constexpr uint16_t kRequest = 1;
inline constexpr uint16_t kReply = 2;

// Long enough, and IPv4 over Ethernet. The operation is the reader's business.
inline bool check(const uint8_t* p, size_t n) {
  return n >= kHeaderLength && load_be16(p + kHardwareTypeAt) == kHardwareEthernet &&
         load_be16(p + kProtocolTypeAt) == ethernet::kTypeIpv4 && p[kHardwareLengthAt] == 6 &&
         p[kProtocolLengthAt] == 4;
}

inline uint16_t operation(const uint8_t* p) { return load_be16(p + kOperationAt); }
inline Mac sender_mac(const uint8_t* p) { return ethernet::load_mac(p + kSenderMacAt); }
inline Mac target_mac(const uint8_t* p) { return ethernet::load_mac(p + kTargetMacAt); }
inline const uint8_t* sender_ip(const uint8_t* p) { return p + kSenderIpAt; }  // 4 bytes
inline const uint8_t* target_ip(const uint8_t* p) { return p + kTargetIpAt; }

inline void set_operation(uint8_t* p, uint16_t operation) {
  store_be16(p + kOperationAt, operation);
}
inline void set_sender(uint8_t* p, const Mac& mac, const uint8_t* ip) {
  ethernet::store_mac(p + kSenderMacAt, mac);
  std::memmove(p + kSenderIpAt, ip, 4);  // `ip` may point into this very message
}
inline void set_target(uint8_t* p, const Mac& mac, const uint8_t* ip) {
  ethernet::store_mac(p + kTargetMacAt, mac);
  std::memmove(p + kTargetIpAt, ip, 4);
}
// A whole message.
inline void write(uint8_t* p, uint16_t operation, const Mac& sender_mac, const uint8_t* sender_ip,
                  const Mac& target_mac, const uint8_t* target_ip) {
  store_be16(p + kHardwareTypeAt, kHardwareEthernet);
  store_be16(p + kProtocolTypeAt, ethernet::kTypeIpv4);
  p[kHardwareLengthAt] = 6;
  p[kProtocolLengthAt] = 4;
  set_operation(p, operation);
  set_sender(p, sender_mac, sender_ip);
  set_target(p, target_mac, target_ip);
}
// The request in `p` becomes the answer "`mac` has the address asked for".
inline void turn_into_reply(uint8_t* p, const Mac& mac) {
  uint8_t asked[4];
  std::memcpy(asked, target_ip(p), 4);
  set_target(p, sender_mac(p), sender_ip(p));
  set_sender(p, mac, asked);
  set_operation(p, kReply);
}

}  // namespace vrouter::arp
