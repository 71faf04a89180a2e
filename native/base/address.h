// Addresses, prefixes and MACs as values. Text exists only at the edge (parse, print).
// Byte order: every `bytes` array is network order; Ipv4 as an integer is host order.
#pragma once
#include <array>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace vrouter {

enum class Family : uint8_t { None = 0, V4 = 4, V6 = 6 };

struct Mac {
  std::array<uint8_t, 6> bytes{};
  // Two loads each; memcmp() would be a call.
  bool operator==(const Mac& other) const { return word() == other.word(); }
  uint64_t word() const {  // in no order but equality's
    uint32_t front;
    uint16_t back;
    std::memcpy(&front, bytes.data(), 4);
    std::memcpy(&back, bytes.data() + 4, 2);
    return front | uint64_t{back} << 32;
  }
  bool is_zero() const { return *this == Mac{}; }
  bool is_group() const { return (bytes[0] & 1) != 0; }  // multicast and broadcast
  bool is_broadcast() const { return *this == Mac{{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}}; }
  std::string text() const;  // 02:e7:03:ea:67:f1
  static bool parse(std::string_view text, Mac& out);
};

// 00:00:5e:00:01:00, the gateway's MAC on every vif (the ancestor's choice; VRRP range).
inline constexpr Mac kGatewayMac{{0x00, 0x00, 0x5e, 0x00, 0x01, 0x00}};
inline constexpr Mac kBroadcastMac{{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}};

// An IPv4 or IPv6 address, or none. IPv4 sits in bytes[0..3], the rest is zero.
struct Address {
  Family family = Family::None;
  std::array<uint8_t, 16> bytes{};

  bool operator==(const Address&) const = default;
  bool is_set() const { return family != Family::None; }
  uint32_t size() const { return family == Family::V4 ? 4 : family == Family::V6 ? 16 : 0; }
  uint32_t v4() const {  // host order
    return uint32_t{bytes[0]} << 24 | uint32_t{bytes[1]} << 16 | uint32_t{bytes[2]} << 8 | bytes[3];
  }
  bool is_multicast() const {
    return family == Family::V4 ? (bytes[0] & 0xf0) == 0xe0
                                : family == Family::V6 && bytes[0] == 0xff;
  }
  static Address from_v4(uint32_t host_order) {
    Address a;
    a.family = Family::V4;
    a.bytes[0] = static_cast<uint8_t>(host_order >> 24);
    a.bytes[1] = static_cast<uint8_t>(host_order >> 16);
    a.bytes[2] = static_cast<uint8_t>(host_order >> 8);
    a.bytes[3] = static_cast<uint8_t>(host_order);
    return a;
  }
  static Address from_bytes(Family family, const uint8_t* network_order) {
    Address a;
    a.family = family;
    std::memcpy(a.bytes.data(), network_order, family == Family::V4 ? 4 : 16);
    return a;
  }
  std::string text() const;  // 10.0.0.1, RFC 5952 form for IPv6, "-" for none
  static bool parse(std::string_view text, Address& out);
};

// address/length; bits beyond length are zero once canonical() holds.
struct Prefix {
  Address address;
  uint8_t length = 0;

  bool operator==(const Prefix&) const = default;
  uint8_t max_length() const { return address.family == Family::V4 ? 32 : 128; }
  bool canonical() const;                 // family set, length in range, host bits zero
  bool contains(const Address& a) const;  // family None contains everything (a rule's "any")
  std::string text() const;
  static bool parse(std::string_view text, Prefix& out);
};

}  // namespace vrouter
