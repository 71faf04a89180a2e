// Ethernet II and its VLAN tags: IEEE 802.3, IEEE 802.1Q; RFC 894 and RFC 2464 for IP over it.
// check() once; the accessors cannot fail after.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "base/address.h"
#include "base/bytes.h"

namespace vrouter::ethernet {

inline constexpr uint32_t kDestinationAt = 0;
inline constexpr uint32_t kSourceAt = 6;
inline constexpr uint32_t kEtherTypeAt = 12;
inline constexpr uint32_t kHeaderLength = 14;
inline constexpr uint32_t kTagLength = 4;  // tag control (2), ethertype of what follows (2)
inline constexpr uint32_t kMaxTags = 2;    // 802.1ad: a service tag and a customer tag

inline constexpr uint16_t kTypeIpv4 = 0x0800;
inline constexpr uint16_t kTypeArp = 0x0806;
inline constexpr uint16_t kTypeBridged = 0x6558;  // transparent Ethernet bridging (GRE)
inline constexpr uint16_t kTypeVlan = 0x8100;
inline constexpr uint16_t kTypeIpv6 = 0x86dd;
inline constexpr uint16_t kTypeMpls = 0x8847;
inline constexpr uint16_t kTypeServiceVlan = 0x88a8;
inline constexpr uint16_t kMinType = 0x0600;  // smaller values are 802.3 lengths

inline bool check(const uint8_t*, size_t n) { return n >= kHeaderLength; }

inline Mac load_mac(const uint8_t* p) {
  Mac mac;
  std::memcpy(mac.bytes.data(), p, mac.bytes.size());
  return mac;
}
inline void store_mac(uint8_t* p, const Mac& mac) {
  std::memcpy(p, mac.bytes.data(), mac.bytes.size());
}

inline Mac destination(const uint8_t* p) { return load_mac(p + kDestinationAt); }
inline Mac source(const uint8_t* p) { return load_mac(p + kSourceAt); }
inline uint16_t ether_type(const uint8_t* p) { return load_be16(p + kEtherTypeAt); }
inline bool is_group(const uint8_t* p) { return (p[kDestinationAt] & 1) != 0; }

inline void set_destination(uint8_t* p, const Mac& mac) { store_mac(p + kDestinationAt, mac); }
inline void set_source(uint8_t* p, const Mac& mac) { store_mac(p + kSourceAt, mac); }
inline void set_ether_type(uint8_t* p, uint16_t type) { store_be16(p + kEtherTypeAt, type); }
inline void write(uint8_t* p, const Mac& to, const Mac& from, uint16_t type) {
  set_destination(p, to);
  set_source(p, from);
  set_ether_type(p, type);
}

inline bool is_tag(uint16_t type) { return type == kTypeVlan || type == kTypeServiceVlan; }

// What stands behind the tags.
struct Payload {
  uint32_t offset = 0;      // from the start of the frame
  uint16_t ether_type = 0;  // of the payload; still a tag's if there are more than kMaxTags
  uint16_t vlan = 0;        // VLAN id of the outermost tag; 0 without one (or priority only)
  uint8_t tags = 0;
};

// False: the frame ends inside its header or a tag.
inline bool find_payload(const uint8_t* p, size_t n, Payload& out) {
  if (!check(p, n)) return false;
  out = {kHeaderLength, ether_type(p), 0, 0};
  while (is_tag(out.ether_type) && out.tags < kMaxTags) {
    if (n - out.offset < kTagLength) return false;
    if (out.tags == 0) out.vlan = load_be16(p + out.offset) & 0x0fff;
    out.ether_type = load_be16(p + out.offset + 2);
    out.offset += kTagLength;
    ++out.tags;
  }
  return true;
}

}  // namespace vrouter::ethernet
