// What a run of pipeline_bench is about: its kind of packets, the addresses in it, and who is who.
// Frames, tables and checks are made from this and from nothing of each other.
//
// Every address has a number, and is that number behind a fixed prefix of its family: so a client
// is the same client in IPv4 and in IPv6, and the two families differ in nothing else.
// Immutable; read by everything in this folder.
#pragma once
#include <cstdint>

#include "base/address.h"
#include "state/objects.h"

namespace vrouter::bench {

constexpr uint32_t kThisNode = 0x0aa91914;   // 10.169.25.20; the underlay is IPv4 throughout
constexpr uint32_t kOtherNode = 0x0aa91915;  // 10.169.25.21
constexpr uint32_t kFarNodes = 4;            // kOtherNode and on

constexpr uint32_t kPod = 0x0a2fffec;      // 10.47.255.236, or 2001:db8::a2f:ffec
constexpr uint32_t kService = 0x0a698b99;  // 10.105.139.153
constexpr uint32_t kPublic = 0x0a6e0001;   // 10.110.0.1: the pod's floating IP towards others
constexpr uint16_t kServicePort = 8888;
constexpr uint16_t kPodPort = 80;
constexpr uint32_t kFirstClient = 0x0a280001;  // 10.40.0.1 and on
constexpr uint32_t kClients = 1000;
constexpr uint32_t kLabelIn = 38;
constexpr uint32_t kLabelOut = 25;  // or VNI

constexpr Mac kNodeMac{{0x02, 0, 0, 0, 0x25, 0x20}};
constexpr Mac kOtherNodeMac{{0x02, 0, 0, 0, 0x25, 0x21}};
constexpr Mac kPodMac{{0x02, 0xe7, 0x03, 0xea, 0x67, 0xf1}};

// What goes on in a run. Frames of the measured rounds are the pod's, or what the fabric brings it.
enum class Kind : uint8_t {
  Forward,   // established, policy passed, addresses as they are
  Nat,       // established, the pod's replies as a service: N(SPs)
  Deliver,   // established, the clients' packets to that service: tunnel ends, N(DPd), to the pod
  Bridge,    // by MAC, no flow
  Flowless,  // by route, no flow; every destination is a client of its own, behind one of four
             // nodes
  NewFlows,  // every packet is the first of its connection: policy, floating IP, one of four nodes
};
struct Workload {
  const char* name;
  Kind kind;
  Encap encap;  // of what the pod sends
  Family family = Family::V4;
};
constexpr Workload kWorkloads[] = {
    {"forward", Kind::Forward, Encap::MplsOverUdp},
    {"nat", Kind::Nat, Encap::MplsOverUdp},
    {"nat-gre", Kind::Nat, Encap::MplsOverGre},
    {"nat-vxlan", Kind::Nat, Encap::Vxlan},
    {"deliver", Kind::Deliver, Encap::MplsOverUdp},
    {"bridge", Kind::Bridge, Encap::Vxlan},
    {"flowless", Kind::Flowless, Encap::MplsOverUdp},
    {"new-flows", Kind::NewFlows, Encap::MplsOverUdp},
    {"forward-6", Kind::Forward, Encap::MplsOverUdp, Family::V6},
    {"nat-6", Kind::Nat, Encap::MplsOverUdp, Family::V6},
    {"deliver-6", Kind::Deliver, Encap::MplsOverUdp, Family::V6},
    {"flowless-6", Kind::Flowless, Encap::MplsOverUdp, Family::V6},
    {"new-flows-6", Kind::NewFlows, Encap::MplsOverUdp, Family::V6},
};
constexpr bool has_flows(Kind kind) { return kind != Kind::Bridge && kind != Kind::Flowless; }
constexpr bool established(Kind kind) { return has_flows(kind) && kind != Kind::NewFlows; }
constexpr bool as_service(Kind kind) { return kind == Kind::Nat || kind == Kind::Deliver; }
constexpr bool many_nodes(Kind kind) { return kind == Kind::Flowless || kind == Kind::NewFlows; }

constexpr uint32_t kEthernet = 14;
constexpr uint32_t kTcp = 20;
constexpr uint32_t ip_header(Family family) { return family == Family::V4 ? 20 : 40; }
// Of a frame with no payload. The default frame has ten bytes of it, in either family.
constexpr uint32_t least_frame(Family family) { return kEthernet + ip_header(family) + kTcp; }
constexpr uint32_t default_frame(Family family) { return least_frame(family) + 10; }
static_assert(default_frame(Family::V4) == 64);

constexpr uint8_t kPrefix6[12] = {0x20, 0x01, 0x0d, 0xb8};  // 2001:db8::/96

// The address with this number.
inline Address address_of(Family family, uint32_t number) {
  Address address = Address::from_v4(number);
  if (family == Family::V4) return address;
  Address six;
  six.family = Family::V6;
  std::memcpy(six.bytes.data(), kPrefix6, sizeof kPrefix6);
  std::memcpy(six.bytes.data() + sizeof kPrefix6, address.bytes.data(), 4);
  return six;
}

struct Client {
  uint32_t number;
  uint16_t port;
};
inline Client client_of(Kind kind, uint32_t flow) {
  if (kind == Kind::Flowless) return {kFirstClient + flow, 1024};
  return {kFirstClient + flow % kClients, static_cast<uint16_t>(1024 + flow / kClients)};
}
constexpr uint32_t clients_of(Kind kind, uint32_t flows) {
  return kind == Kind::Flowless ? flows : kClients;
}

// Of the host behind the far node that a bridged frame is for.
inline Mac host_mac(uint32_t flow) {
  return Mac{{0x02, 0x11, static_cast<uint8_t>(flow >> 24), static_cast<uint8_t>(flow >> 16),
              static_cast<uint8_t>(flow >> 8), static_cast<uint8_t>(flow)}};
}

// Says what is wrong and ends the program: a figure of a run that did the wrong thing is no figure.
[[noreturn]] __attribute__((format(printf, 1, 2))) void fail(const char* format, ...);

}  // namespace vrouter::bench
