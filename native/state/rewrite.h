// Rewrite: an outer header rendered once, at programming time, plus the few fix-ups each packet
// needs. MPLSoGRE, MPLSoUDP and VXLAN, over IPv4 and IPv6, differ only in the bytes and offsets here;
// path/encapsulate.cc has one function for all of them.
// Written by build_*() on the control side; read by workers. Immutable once interned.
// Sources: RFC 7510 (MPLSoUDP, port 6635), RFC 4023 (MPLSoGRE), RFC 7348 (VXLAN), RFC 6935 (zero
// UDP checksum over IPv6 tunnels).
#pragma once
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "base/address.h"
#include "state/objects.h"

namespace vrouter {

inline constexpr uint16_t kEntropyLow = 49152;  // outer source ports: 49152..65535

struct alignas(64) Rewrite {
  static constexpr uint8_t kNone = 0xff;  // an offset that does not exist in this shape
  // family 0: no outer IP header (bare, Ethernet); then of all offsets only inner_ether_type_at may
  // exist, and l3 == length.

  uint8_t bytes[96];          // Ethernet, IP, UDP or GRE, label or VXLAN header [, inner Ethernet]
  uint8_t length;             // bytes to push in front of the packet
  uint8_t l3;                 // offset of the outer IP header (14); length where there is none
  uint8_t total_length_at;    // outer IPv4 total length / IPv6 payload length
  uint8_t checksum_at;        // outer IPv4 header checksum, or kNone
  uint8_t identification_at;  // outer IPv4 identification, or kNone
  uint8_t source_port_at;     // outer UDP source port, or kNone
  uint8_t udp_length_at;      // or kNone
  uint8_t label_at;           // 4-byte MPLS entry or 3-byte VNI field (top of a 4-byte word)
  uint8_t label_shift;        // 12 for MPLS, 8 for VXLAN: word = label << shift | label_low
  uint8_t inner_ether_type_at;  // ethertype of an inner Ethernet header, or kNone
  uint8_t ttl_in_label;         // 1: the label word's low byte takes the inner TTL
  uint8_t family;               // 4 or 6, of the outer header; 0 when there is none
  uint16_t l3_adjust;           // added to the inner length for the outer IP length field
  uint16_t udp_adjust;          // added to the inner length for the UDP length field
  uint32_t label_low;           // constant low bits of the label word (S bit for MPLS)
  uint32_t checksum_base;       // one's complement sum of the IPv4 header with both fix-ups zero
  uint8_t spare[8];  // zero; keeps the struct free of padding, as it is compared as bytes

  bool operator==(const Rewrite& o) const { return std::memcmp(this, &o, sizeof *this) == 0; }
};
static_assert(sizeof(Rewrite) == 128, "two cache lines");
static_assert(std::has_unique_object_representations_v<Rewrite>, "compared as bytes");

// What the packet carries when it meets the rewrite. It only matters to a VXLAN tunnel with an
// l3_vxlan_mac: a routed packet gets an inner Ethernet header, a bridged frame brings its own.
enum class Payload : uint8_t { Routed, Bridged };

// Pushes nothing: frames that go as they are. Index 0 of Router's rewrites.
Rewrite build_bare();
// Ethernet only: an Interface next hop. The ethertype is fixed up per packet (inner_ether_type_at=12).
Rewrite build_interface(const InterfaceSpec& spec);
// Any tunnel kind; dispatches on spec.encap and the destination's family.
Rewrite build_tunnel(const TunnelSpec& spec, Payload payload = Payload::Routed);
// Bytes a tunnel adds to an inner IP packet on the wire's IP layer (outer IP and everything behind
// it up to the inner IP packet; Ethernet of the wire not counted).
uint32_t tunnel_overhead(const Rewrite& rewrite);

}  // namespace vrouter
