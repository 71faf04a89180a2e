// What the express room is made of: a packet as far as it has been recognised, and what is found
// out once a burst and not once a packet: where its packets come in, where a label leads, the way
// out by a next hop. Within a burst no table changes, so what was found stays true to its end.
// Written by express.cc and express_*.h, one after the other; nobody else reads it.
#pragma once
#include <bit>
#include <cstddef>

#include "base/hash.h"
#include "path/rooms.h"
#include "wire/ethernet.h"
#include "wire/ipv4.h"
#include "wire/ipv6.h"
#include "wire/tcp.h"

namespace vrouter {

// What a packet looks like from outside.
enum class Look : uint8_t {
  Unknown,  // for the rooms, and of whatever flow
  Apart,    // for the rooms, and of no flow that a plain packet could be of
  Special,  // of a known flow, for the rooms: it opens or ends the connection, or leaves something
            // undone
  Plain,    // may be carried
};

// What names its way out.
enum class By : uint8_t { Flow, Route, Mac };

// A packet as far as it has been recognised. l3: of the packet that has the flow, is routed, or is
// in the frame that is bridged; from data().
struct Parcel {
  Look look;
  Family family;
  By by;
  uint8_t syn;  // by MAC: bytes of the IP header in front of a SYN
  uint16_t l3;
  uint16_t l3_length;
  uint16_t outer_source6;  // where that stands, from data(); 0: none
  uint32_t end;            // of what may belong to it; behind that is the wire's padding
  uint32_t label;          // it came with, or VNI; from the fabric
  uint32_t scope;
  uint32_t outer_source;  // as it stands in the header; 0: none, as of a tenant's packet
  uint32_t slot;          // of its flow, perhaps
  VrfId vrf;
  uint64_t hash;
  NextHopId entry;  // by route: what its label leads to, where that is a way out
  union {
    const Lpm* routes;     // … else where it is looked up
    const MacTable* macs;  // by MAC: where its destination is looked up
  };
  union {
    const Route* route;  // what was found; nullptr: nothing
    uint64_t mac_hash;
  };

  bool from_fabric() const { return outer_source != 0 || outer_source6 != 0; }
};

// Where packets of a vif come from, as far as all of them have it in common.
struct Entrance {
  VifId id;  // invalid: none known yet
  enum : uint8_t { Other, Tenant, Fabric } kind = Other;
  By by = By::Flow;
  Mac mac;
  VrfId vrf;
  uint32_t scope = 0;
  bool dhcp_trap = false;
  bool gateway_trap = false;
  uint32_t gateway = 0;  // with gateway_trap
  const Vif* vif = nullptr;
  const MacTable* macs = nullptr;  // a tenant's, whose bridged frames need no flow
};

Entrance entrance_of(const Router& router, VifId id);  // express.cc, like the next
// Whose flows packets to this IPv4 address with this label are of; 0: nobody's that this room knows.
uint32_t scope_behind(Context& context, uint32_t label, const uint8_t* destination4);

// The way out by a next hop, as far as all packets that take it have it in common.
struct Exit {
  NextHopId id;
  const Rewrite* rewrite = nullptr;  // nullptr: not by this room
  VifId vif;
  PortId port;
  uint32_t most = 0;   // bytes of a packet that fits
  uint32_t unfit = 0;  // so many labels from kNoLabel on are none for it
  bool tunnel = false;
  bool policy = false;  // a receiver with flows of its own
  uint8_t hash_fields = 0;
  const EcmpSet* ecmp = nullptr;  // not a way out, but the choice of one
};
constexpr uint32_t kExits = 16;  // remembered; by the low bits of their ids

// Whose flows the packets with a label or VNI are of.
enum class Owner : uint8_t {
  None,      // nobody's that this room knows
  Label,     // of what it names
  Receiver,  // of the tenant that their address leads to, if that one has flows
  Nobody,    // they need none
};

// Where a label or VNI leads; an address of the underlay, to us or not; an address behind a VNI.
// The last of each is remembered: within a burst no table changes.
struct Memory {
  Entrance entrance;
  uint32_t label = ~0u;  // with kIsVni for a VNI
  Owner owner = Owner::None;
  bool bridges = false;  // frames that are not for the router itself
  NextHopId entry;       // Owner::Nobody: the way out itself
  uint32_t scope = 0;    // Owner::Label
  VrfId vrf;
  const MacTable* macs = nullptr;  // of frames that are bridged and need no flow
  Family underlay = Family::None;
  bool own = false;
  uint8_t underlay_address[16];
  Family receiver = Family::None;
  bool receiver_known = false;
  uint32_t receiver_scope = 0;
  uint8_t receiver_address[16];
};
constexpr uint32_t kIsVni = 1u << 31;

inline Exit exit_by(const Router& router, NextHopId id) {
  Exit e;
  e.id = id;
  const NextHop* out = router.next_hop(id);
  if (out == nullptr) return e;
  e.ecmp = out->kind == NextHopKind::Ecmp ? out->ecmp : nullptr;
  e.hash_fields = out->hash_fields;
  e.policy = out->policy();
  const bool tunnel = e.tunnel = out->kind == NextHopKind::Tunnel;
  if (!tunnel && out->kind != NextHopKind::Interface) return e;
  const Vif* vif = router.vif(out->vif);
  if (vif == nullptr || !PortId{vif->spec.port}.valid()) return e;
  const Rewrite& rewrite = router.rewrite(out->rewrite);
  if (rewrite.length < 8) return e;  // copy_header()
  e.rewrite = &rewrite;
  e.vif = out->vif;
  e.port = PortId{vif->spec.port};
  e.most = out->mtu != 0 ? out->mtu : ~0u;
  if (tunnel) e.unfit = out->encap == Encap::Vxlan ? 1 : 0u - kNoLabel;
  return e;
}

// The header of a whole IPv4 packet without options, of which n bytes are in view.
inline bool plain_ipv4(const uint8_t* p, size_t n) {
  constexpr uint16_t kSplit = ipv4::kMoreFragments | ipv4::kOffsetMask;
  if (n < ipv4::kHeaderLength || p[ipv4::kVersionAt] != 0x45) return false;
  const uint32_t total = ipv4::total_length(p);
  // One's complement sum in wide words: halves are added with their carry by adding the rotated
  // whole.
  const uint64_t middle = load_native<uint64_t>(p + 8);
  const uint64_t last = load_native<uint32_t>(p + 16);
  uint64_t sum = load_native<uint64_t>(p) + middle;
  sum += sum < middle ? 1 : 0;
  sum += last;
  sum += sum < last ? 1 : 0;
  sum += std::rotl(sum, 32);
  uint32_t half = static_cast<uint32_t>(sum >> 32);
  half += std::rotl(half, 16);
  return total >= ipv4::kHeaderLength && total <= n && (ipv4::fragment_word(p) & kSplit) == 0 &&
         half >> 16 == 0xffff;
}

// What is asked of an IP header, by its family.
struct Ip4 {
  static constexpr Family kFamily = Family::V4;
  static constexpr uint32_t kHeaderLength = ipv4::kHeaderLength;
  static constexpr uint32_t kAddress = 4;
  static constexpr uint32_t kTtlAt = ipv4::kTtlAt;
  static constexpr uint32_t kSourceAt = ipv4::kSourceAt;
  static constexpr uint32_t kDestinationAt = ipv4::kDestinationAt;
  static constexpr uint16_t kEtherType = ethernet::kTypeIpv4;
  static bool plain(const uint8_t* p, size_t n) { return plain_ipv4(p, n); }
  static uint32_t total_length(const uint8_t* p) { return ipv4::total_length(p); }
  static uint8_t protocol(const uint8_t* p) { return ipv4::protocol(p); }
};
struct Ip6 {
  static constexpr Family kFamily = Family::V6;
  static constexpr uint32_t kHeaderLength = ipv6::kHeaderLength;
  static constexpr uint32_t kAddress = 16;
  static constexpr uint32_t kTtlAt = ipv6::kHopLimitAt;
  static constexpr uint32_t kSourceAt = ipv6::kSourceAt;
  static constexpr uint32_t kDestinationAt = ipv6::kDestinationAt;
  static constexpr uint16_t kEtherType = ethernet::kTypeIpv6;
  static bool plain(const uint8_t* p, size_t n) {
    return ipv6::check(p, n) && ipv6::total_length(p) <= UINT16_MAX;
  }
  static uint32_t total_length(const uint8_t* p) { return ipv6::total_length(p); }
  static uint8_t protocol(const uint8_t* p) { return ipv6::next_header(p); }
};

// choice_hash() with all fields, of ports in one word as they stand in the header.
inline uint64_t packet_hash(const uint8_t* p, bool v4, const uint8_t* l4, uint8_t protocol,
                            uint64_t seed) {
  const uint64_t rest =
      load_be16(l4) | uint64_t{load_be16(l4 + 2)} << 16 | uint64_t{protocol} << 32;
  if (v4) {
    return hash_words<48>(seed, uint64_t{load_native<uint32_t>(ipv4::source(p))}, uint64_t{0},
                          uint64_t{load_native<uint32_t>(ipv4::destination(p))}, uint64_t{0}, rest,
                          uint64_t{0});
  }
  const uint8_t* a = ipv6::source(p);
  static_assert(ipv6::kDestinationAt == ipv6::kSourceAt + 16);
  return hash_words<48>(seed, load_native<uint64_t>(a), load_native<uint64_t>(a + 8),
                        load_native<uint64_t>(a + 16), load_native<uint64_t>(a + 24), rest,
                        uint64_t{0});
}

// As clamp() in encapsulate.cc does for packets without a flow.
inline void clamp_syn(const Router& router, uint8_t* l4, uint32_t mtu, uint32_t ip_header) {
  if ((router.spec().flags & kRouterNoMssClamp) != 0) return;
  const uint32_t headers = tcp::kHeaderLength + ip_header;
  if (mtu <= headers) return;
  const uint32_t most = mtu - headers;
  tcp::clamp_mss(l4, static_cast<uint16_t>(most > 65535 ? 65535 : most));
}

}  // namespace vrouter
