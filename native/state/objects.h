// The objects a control side can program, as plain structs generated from objects.def.
// Written by program/decode.cc, kept by the tables of Router as "what was asked for"; the forms that
// packets meet (NextHop, Rewrite, …) are rendered from them at programming time.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "base/address.h"

namespace vrouter {

using U8 = uint8_t;
using U16 = uint16_t;
using U32 = uint32_t;
using U64 = uint64_t;
using MacField = Mac;
using AddressField = Address;
using PrefixField = Prefix;
using NameField = std::string;

#define STRUCT(Name) struct Name {
#define OP(code, Name, wire) struct Name {
#define FIELD(Type, name) Type name{};
#define LIST(Element, name) std::vector<Element> name{};
#define END(Name)                               \
  bool operator==(const Name&) const = default; \
  }                                             \
  ;
#include "state/objects.def"
#undef STRUCT
#undef OP
#undef FIELD
#undef LIST
#undef END

enum class VifType : uint8_t {
  Host = 0,
  Agent = 1,
  Physical = 2,
  Virtual = 3
};  // ancestor's numbers

// Bits of VifSpec::flags; values and letters are the ancestor's (`vif --list`).
enum VifFlag : uint32_t {
  kVifPolicy = 0x1,              // P: every IP packet goes through the flow table
  kVifL3 = 0x40,                 // L3
  kVifL2 = 0x80,                 // L2 (neither L3 nor L2 set: both)
  kVifDhcpTrap = 0x100,          // D: DHCP goes to the agent
  kVifNoProxy = 0x1000,          // Mnp: do not answer ARP / ND by proxy
  kVifUnknownFlood = 0x10000,    // Uuf: unknown unicast is flooded
  kVifDropNewFlows = 0x40000,    // Df
  kVifProxy = 0x100000,          // Proxy: always answer ARP / ND with the router's MAC
  kVifService = 0x20000000,      // ours: the node's services are behind it: past tenants' policy
  kVifGatewayTrap = 0x40000000,  // ours: what is for the gateway's own addresses goes to the agent
  kVifKnownFlags =
      0x1 | 0x40 | 0x80 | 0x100 | 0x1000 | 0x10000 | 0x40000 | 0x100000 | 0x20000000 | 0x40000000,
};

// Bits of a next hop's flags that control may set; values are the ancestor's.
enum NextHopFlag : uint32_t {
  kNhPolicy = 0x2,         // Policy: flow lookup before output
  kNhBridge = 0x10000000,  // ours: frames, not packets (the ancestor's family AF_BRIDGE)
  kNhUnicastFlood = 0x10000,
  kNhValidateSource = 0x8000000,  // multicast: refuse sources outside the tree
  kNhKnownFlags = 0x2 | 0x10000000 | 0x10000 | 0x8000000,
};

enum class Encap : uint8_t { None = 0, MplsOverGre = 1, MplsOverUdp = 2, Vxlan = 3 };
enum class ReplicateKind : uint8_t { Root = 0, Encap = 1, Fabric = 2, Evpn = 3, Tor = 4 };

// Hash fields of an ECMP choice; bits are the ancestor's ecmp_config_hash.
enum HashField : uint8_t {
  kHashProtocol = 0x1,
  kHashSource = 0x2,
  kHashSourcePort = 0x4,
  kHashDestination = 0x8,
  kHashDestinationPort = 0x10,
  kHashAll = 0x1f,
};

enum RouteFlag : uint8_t {
  kRouteLabelValid = 0x1,  // L (derived from label on display)
  kRouteProxy = 0x2,       // P: answer ARP / ND for it
  kRouteTrap = 0x4,        // T
  kRouteFlood = 0x8,       // F: flood ARP / ND for it
  kRouteKnownFlags = 0xf,
};

enum MacFlag : uint8_t { kMacDhcpFlood = 0x4, kMacKnownFlags = 0x4 };

enum class NatDirection : uint8_t { Both = 0, Ingress = 1, Egress = 2 };

enum RouterFlag : uint32_t {
  kRouterUncondRst =
      0x1,  // any RST closes its flow (the ancestor's --vr_uncond_close_flow_on_tcp_rst)
  kRouterNoMssClamp = 0x2,  // leave the MSS of SYNs alone
  kRouterKnownFlags = 0x3,
};

}  // namespace vrouter
