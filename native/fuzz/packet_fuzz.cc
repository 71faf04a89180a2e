// Fuzz target: frames into the whole core. A router with everything in it (both families, NAT of
// each kind, ECMP, policy, bridging, all tunnels, agent and host vifs), frames on every vif: raw
// bytes, and well-formed templates of every protocol with bytes changed, so that all rooms are
// reached.
//
// Checked after every input, by abort():
//  * accounting: received = forwarded + replied + punted + dropped + consumed + held
//  * no buffer is lost
//  * every IPv4 packet that leaves has a right header checksum and length
// Input: byte 0 vif, byte 1 template (0 = raw bytes), byte 2 bit 0 = repair checksums, bits 1 to 3 =
// explain it too (1), let captures look on (2); then raw
// bytes or (position u8, value u8) changes.
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <vector>

#include "base/checksum.h"
#include "path/pipeline.h"
#include "port/memory_port.h"
#include "program/program.h"
#include "wire/ethernet.h"
#include "wire/ipv4.h"
#include "wire/ipv6.h"
#include "wire/print.h"
#include "worker/engine.h"

namespace vrouter {
namespace {

using Bytes = std::vector<uint8_t>;

constexpr uint32_t kPorts = 6;  // physical, tenants a b c, agent, host
constexpr uint32_t kAgentPort = 4;
const Mac kTenant[] = {{}, {{2, 0, 0, 0, 0, 1}}, {{2, 0, 0, 0, 0, 2}}, {{2, 0, 0, 0, 0, 3}}};
const Mac kFabricMac{{2, 0, 0, 0, 0xfa, 1}};

Address ip(const char* text) {
  Address a;
  if (!Address::parse(text, a)) std::abort();
  return a;
}
Prefix net(const char* text) {
  Prefix p;
  if (!Prefix::parse(text, p)) std::abort();
  return p;
}

std::vector<Op> configuration() {
  std::vector<Op> ops;
  RouterSpec router;
  router.ipv4 = ip("192.0.2.1");
  router.ipv6 = ip("2001:db8:f::1");
  router.icmp_errors_per_second = 1'000'000;
  ops.push_back(router);
  for (uint32_t vrf = 0; vrf < 3; ++vrf) {
    VrfSpec spec;
    spec.vrf = vrf;
    spec.name = "vrf";
    ops.push_back(spec);
  }
  const auto vif = [&](uint32_t id, VifType type, uint32_t vrf, uint32_t flags, uint32_t next_hop) {
    VifSpec spec;
    spec.vif = id;
    spec.name = "vif";
    spec.type = static_cast<uint8_t>(type);
    spec.port = id;
    spec.mac = type == VifType::Physical ? kFabricMac : kGatewayMac;
    spec.vrf = vrf;
    spec.flags = flags;
    spec.mtu = type == VifType::Physical ? 1500 : 1400;
    spec.next_hop = next_hop;
    if (type == VifType::Virtual) {
      spec.gateway4 = ip("10.0.0.254");
      spec.gateway6 = ip("fd00::fe");
      spec.network_policies.push_back({1});
      if (id == 2) spec.ingress_groups.push_back({1});
    }
    return spec;
  };
  ops.push_back(vif(0, VifType::Physical, 0, 0, 9));
  ops.push_back(vif(1, VifType::Virtual, 1, kVifPolicy, 1));
  ops.push_back(vif(2, VifType::Virtual, 1, kVifPolicy | kVifDhcpTrap, 2));
  ops.push_back(vif(3, VifType::Virtual, 2, kVifPolicy | kVifL2 | kVifL3 | kVifUnknownFlood, 3));
  ops.push_back(vif(4, VifType::Agent, 0, 0, 0));
  ops.push_back(vif(5, VifType::Host, 0, 0, 9));
  const auto interface = [&](uint32_t id, uint32_t vrf, uint32_t on, uint32_t flags) {
    InterfaceSpec spec;
    spec.next_hop = id;
    spec.vrf = vrf;
    spec.vif = on;
    spec.flags = flags;
    spec.destination_mac = on < 4 ? kTenant[on] : kFabricMac;
    spec.source_mac = kGatewayMac;
    return spec;
  };
  ops.push_back(interface(1, 1, 1, kNhPolicy));
  ops.push_back(interface(2, 1, 2, kNhPolicy));
  ops.push_back(interface(3, 2, 3, kNhPolicy));
  ops.push_back(interface(4, 2, 3, kNhPolicy | kNhBridge));
  ReceiveSpec receive;
  receive.next_hop = 9;
  receive.vif = 5;
  receive.vrf = 0;
  ops.push_back(receive);
  const auto tunnel = [&](uint32_t id, Encap encap, const char* from, const char* to) {
    TunnelSpec spec;
    spec.next_hop = id;
    spec.vif = 0;
    spec.vrf = 0;
    spec.encap = static_cast<uint8_t>(encap);
    spec.source = ip(from);
    spec.destination = ip(to);
    spec.destination_mac = {{2, 0, 0, 0, 0xfa, 2}};
    spec.source_mac = kFabricMac;
    if (id == 14) spec.l3_vxlan_mac = {{2, 0, 0, 0, 0xfa, 2}};
    return spec;
  };
  ops.push_back(tunnel(10, Encap::MplsOverUdp, "192.0.2.1", "192.0.2.2"));
  ops.push_back(tunnel(11, Encap::MplsOverGre, "192.0.2.1", "192.0.2.2"));
  ops.push_back(tunnel(12, Encap::Vxlan, "192.0.2.1", "192.0.2.2"));
  ops.push_back(tunnel(13, Encap::MplsOverUdp, "2001:db8:f::1", "2001:db8:f::2"));
  ops.push_back(tunnel(14, Encap::Vxlan, "2001:db8:f::1", "2001:db8:f::2"));
  EcmpSpec ecmp;
  ecmp.next_hop = 20;
  ecmp.vrf = 1;
  ecmp.flags = kNhPolicy;
  ecmp.members = {{1, 2, kNoLabel, 1}, {2, 10, 17, 3}, {3, 11, 18, 1}, {4, 13, 19, 1}};
  ops.push_back(ecmp);
  const auto translate = [&](uint32_t id, uint32_t vrf, uint32_t flags) {
    VrfTranslateSpec spec;
    spec.next_hop = id;
    spec.vrf = vrf;
    spec.flags = flags;
    return spec;
  };
  ops.push_back(translate(21, 1, kNhPolicy));
  ops.push_back(translate(22, 2, kNhPolicy | kNhBridge));
  ops.push_back(translate(23, 2, kNhPolicy));
  ReplicateSpec leaves;
  leaves.next_hop = 30;
  leaves.vrf = 2;
  leaves.kind = static_cast<uint8_t>(ReplicateKind::Encap);
  leaves.replicas = {{4, kNoLabel}};
  ops.push_back(leaves);
  leaves.next_hop = 31;
  leaves.kind = static_cast<uint8_t>(ReplicateKind::Evpn);
  leaves.replicas = {{12, 5}, {14, 5}, {10, 24}};
  ops.push_back(leaves);
  leaves.next_hop = 32;
  leaves.kind = static_cast<uint8_t>(ReplicateKind::Root);
  leaves.replicas = {{30, kNoLabel}, {31, kNoLabel}};
  ops.push_back(leaves);
  const auto route = [&](uint32_t vrf, const char* prefix, uint32_t next_hop, uint32_t label,
                         uint8_t flags) {
    RouteSpec spec;
    spec.vrf = vrf;
    spec.prefix = net(prefix);
    spec.next_hop = next_hop;
    spec.label = label;
    spec.flags = flags;
    ops.push_back(spec);
  };
  route(0, "192.0.2.1/32", 9, kNoLabel, 0);
  route(0, "2001:db8:f::1/128", 9, kNoLabel, 0);
  route(0, "198.51.100.0/24", 10, 40, 0);
  route(1, "10.0.0.1/32", 1, kNoLabel, kRouteProxy);
  route(1, "10.0.0.2/32", 2, kNoLabel, kRouteProxy);
  route(1, "10.0.0.10/32", 20, kNoLabel, 0);
  route(1, "10.1.0.0/16", 10, 33, 0);
  route(1, "10.2.0.0/16", 11, 34, kRouteFlood);
  route(1, "10.3.0.0/16", 12, 5, kRouteTrap);
  route(1, "10.4.0.0/16", 0, kNoLabel, 0);
  route(1, "0.0.0.0/0", 23, kNoLabel, 0);
  route(1, "fd00::1/128", 1, kNoLabel, kRouteProxy);
  route(1, "fd00::2/128", 2, kNoLabel, 0);
  route(1, "fd00::10/128", 20, kNoLabel, 0);
  route(1, "fd01::/64", 13, 35, 0);
  route(2, "10.0.0.3/32", 3, kNoLabel, 0);
  route(2, "10.9.0.0/16", 14, 6, 0);
  route(2, "203.0.113.7/32", 23, kNoLabel, 0);
  route(2, "fd00::3/128", 3, kNoLabel, 0);
  const auto label = [&](uint32_t value, uint32_t next_hop) {
    LabelSpec spec;
    spec.label = value;
    spec.next_hop = next_hop;
    ops.push_back(spec);
  };
  label(16, 1);
  label(17, 2);
  label(18, 20);
  label(19, 21);
  label(24, 32);
  VniSpec vni;
  vni.vni = 5;
  vni.next_hop = 22;
  ops.push_back(vni);
  vni.vni = 6;
  vni.next_hop = 23;
  ops.push_back(vni);
  MacSpec mac;
  mac.vrf = 2;
  mac.mac = kTenant[3];
  mac.next_hop = 4;
  mac.label = kNoLabel;
  ops.push_back(mac);
  mac.mac = {{2, 0, 0, 0, 0, 9}};
  mac.next_hop = 12;
  mac.label = 5;
  ops.push_back(mac);
  mac.mac = kBroadcastMac;
  mac.next_hop = 32;
  mac.label = kNoLabel;
  ops.push_back(mac);
  FloatingIpSpec fip;
  fip.floating_ip = 1;
  fip.vif = 2;
  fip.vrf = 1;
  fip.address = ip("10.0.0.10");
  fip.fixed = ip("10.0.0.2");
  fip.port_map = 1;
  fip.ports = {{6, 8888, 80}, {17, 53, 5353}};
  ops.push_back(fip);
  fip.floating_ip = 2;
  fip.address = ip("fd00::10");
  fip.fixed = ip("fd00::2");
  fip.port_map = 0;
  fip.ports.clear();
  ops.push_back(fip);
  fip.floating_ip = 3;
  fip.vif = 1;
  fip.vrf = 2;
  fip.address = ip("203.0.113.1");
  fip.fixed = ip("10.0.0.1");
  ops.push_back(fip);
  SourceNatSpec nat;
  nat.source_nat = 1;
  nat.vrf = 1;
  nat.to_vrf = 2;
  nat.source = {};
  nat.address = ip("203.0.113.7");
  nat.port_low = 1024;
  nat.port_high = 1040;
  ops.push_back(nat);
  PolicySpec policy;
  policy.policy = 1;
  policy.name = "policy";
  PolicyRule deny;
  deny.protocol = 6;
  deny.destination_port_low = 22;
  deny.destination_port_high = 22;
  deny.source_port_high = 65535;
  PolicyRule pass;
  pass.action = 1;
  pass.source_port_high = pass.destination_port_high = 65535;
  policy.rules = {deny, pass};
  ops.push_back(policy);
  return ops;
}

// --- templates: written out by hand, independent of the router's own encoders
// ------------------------

void put16(Bytes& b, uint32_t v) {
  b.push_back(static_cast<uint8_t>(v >> 8));
  b.push_back(static_cast<uint8_t>(v));
}
Bytes operator+(Bytes a, const Bytes& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}
Bytes frame(const Mac& to, const Mac& from, uint16_t type, const Bytes& payload) {
  Bytes b(to.bytes.begin(), to.bytes.end());
  b.insert(b.end(), from.bytes.begin(), from.bytes.end());
  put16(b, type);
  return b + payload;
}
Bytes v4(const char* from, const char* to, uint8_t protocol, const Bytes& payload,
         uint16_t fragment = 0, uint8_t ttl = 64) {
  Bytes b = {0x45, 0};
  put16(b, static_cast<uint32_t>(20 + payload.size()));
  put16(b, 7);
  put16(b, fragment);
  b.push_back(ttl);
  b.push_back(protocol);
  put16(b, 0);
  const Address s = ip(from), d = ip(to);
  b.insert(b.end(), s.bytes.begin(), s.bytes.begin() + 4);
  b.insert(b.end(), d.bytes.begin(), d.bytes.begin() + 4);
  return b + payload;
}
Bytes v6(const char* from, const char* to, uint8_t protocol, const Bytes& payload,
         uint8_t hops = 64) {
  Bytes b = {0x60, 0, 0, 0};
  put16(b, static_cast<uint32_t>(payload.size()));
  b.push_back(protocol);
  b.push_back(hops);
  const Address s = ip(from), d = ip(to);
  b.insert(b.end(), s.bytes.begin(), s.bytes.end());
  b.insert(b.end(), d.bytes.begin(), d.bytes.end());
  return b + payload;
}
Bytes tcp(uint16_t from, uint16_t to, uint8_t flags) {
  Bytes b;
  put16(b, from);
  put16(b, to);
  b = b + Bytes{0, 0, 0, 1, 0, 0, 0, 2, 0x60, flags, 0x20, 0, 0, 0, 0, 0, 2, 4, 5, 0xb4};
  return b + Bytes(10, 'x');
}
Bytes udp(uint16_t from, uint16_t to, const Bytes& payload) {
  Bytes b;
  put16(b, from);
  put16(b, to);
  put16(b, static_cast<uint32_t>(8 + payload.size()));
  put16(b, 0);
  return b + payload;
}
Bytes label_entry(uint32_t label) {
  const uint32_t word = label << 12 | 0x100 | 64;
  return {static_cast<uint8_t>(word >> 24), static_cast<uint8_t>(word >> 16),
          static_cast<uint8_t>(word >> 8), static_cast<uint8_t>(word)};
}
Bytes fabric(const Bytes& packet, uint16_t type = 0x0800) {
  return frame(kFabricMac, {{2, 0, 0, 0, 0xfa, 2}}, type, packet);
}
Bytes tenant(uint32_t n, const Bytes& packet, uint16_t type = 0x0800) {
  return frame(kGatewayMac, kTenant[n], type, packet);
}
Bytes mpls_udp(uint32_t label, const Bytes& inner) {
  return fabric(v4("192.0.2.2", "192.0.2.1", 17, udp(50000, 6635, label_entry(label) + inner)));
}
Bytes vxlan(uint8_t vni, const Bytes& inner) {
  return fabric(
      v4("192.0.2.2", "192.0.2.1", 17, udp(50000, 4789, Bytes{8, 0, 0, 0, 0, 0, vni, 0} + inner)));
}

std::vector<Bytes> templates() {
  const Bytes big(1450, 'y');
  const Bytes echo = {8, 0, 0, 0, 0, 9, 0, 1, 'p', 'i', 'n', 'g'};
  const Bytes arp = {0,  1, 8, 0, 6, 4, 0, 1, 2, 0, 0,  0, 0, 1,
                     10, 0, 0, 1, 0, 0, 0, 0, 0, 0, 10, 0, 0, 254};
  const Bytes syn = tcp(40000, 8888, 2);
  Bytes solicit = {135, 0, 0, 0, 0, 0, 0, 0};
  const Address gateway6 = ip("fd00::fe");
  solicit.insert(solicit.end(), gateway6.bytes.begin(), gateway6.bytes.end());
  solicit = solicit + Bytes{1, 1, 2, 0, 0, 0, 0, 1};
  const Bytes quoted4 = v4("10.0.0.2", "10.0.0.1", 6, tcp(80, 40000, 0x12));
  const Bytes unreachable = Bytes{3, 4, 0, 0, 0, 0, 5, 0} + quoted4;
  const Bytes hop_by_hop = Bytes{17, 0, 1, 4, 0, 0, 0, 0} + udp(1000, 53, Bytes(8, 'q'));
  const Bytes fragment6 = Bytes{17, 0, 0, 1, 0, 0, 0, 5} + udp(1000, 53, Bytes(24, 'q'));
  return {
      tenant(1, v4("10.0.0.1", "10.0.0.2", 6, syn)),
      tenant(1, v4("10.0.0.1", "10.0.0.10", 6, syn)),
      tenant(2, v4("10.0.0.2", "10.0.0.1", 6, tcp(8888, 40000, 0x12))),
      tenant(1, v4("10.0.0.1", "10.0.0.10", 6, tcp(40000, 9999, 2))),
      tenant(1, v4("10.0.0.1", "10.0.0.10", 17, udp(4000, 53, Bytes(20, 'd')))),
      tenant(1, v4("10.0.0.1", "10.1.2.3", 17, udp(4000, 5000, big))),
      tenant(1, v4("10.0.0.1", "10.1.2.3", 17, udp(4000, 5000, big), 0x4000)),
      tenant(1, v4("10.0.0.1", "10.2.2.3", 1, echo)),
      tenant(1, v4("10.0.0.1", "10.3.2.3", 132, Bytes(30, 's'))),
      tenant(1, v4("10.0.0.1", "10.0.0.254", 1, echo)),
      tenant(1, v4("10.0.0.1", "8.8.8.8", 17, udp(4000, 53, Bytes(9, 'z')))),
      tenant(2, v4("10.0.0.2", "8.8.8.8", 17, udp(4000, 53, Bytes(9, 'z')))),
      tenant(1, v4("10.0.0.1", "10.1.2.3", 6, syn, 0, 1)),
      tenant(1, v4("10.0.0.1", "10.4.2.3", 6, syn)),
      tenant(1, v4("10.0.0.1", "10.0.0.2", 17, udp(7, 7, Bytes(24, 'f')), 0x2000)),
      tenant(1, v4("10.0.0.1", "10.0.0.2", 17, Bytes(16, 'g'), 0x0004)),
      tenant(1, v4("10.0.0.1", "10.0.0.2", 1, unreachable)),
      tenant(1, v6("fd00::1", "fd00::2", 6, syn), 0x86dd),
      tenant(1, v6("fd00::1", "fd00::10", 17, udp(9, 9, Bytes(9, 'v'))), 0x86dd),
      tenant(1, v6("fd00::1", "fd01::9", 17, udp(9, 9, big)), 0x86dd),
      tenant(1, v6("fd00::1", "fd00::2", 0, hop_by_hop), 0x86dd),
      tenant(1, v6("fd00::1", "fd00::2", 44, fragment6), 0x86dd),
      tenant(1, v6("fd00::1", "ff02::1:ff00:fe", 58, solicit, 255), 0x86dd),
      tenant(1, v6("fd00::1", "fd00::fe", 58, Bytes{128, 0, 0, 0, 0, 1, 0, 1}), 0x86dd),
      frame(kBroadcastMac, kTenant[1], 0x0806, arp),
      frame(kBroadcastMac, kTenant[3], 0x0806, arp),
      frame(kTenant[1], kTenant[3], 0x0800, v4("10.0.0.3", "10.0.0.9", 6, syn)),
      frame({{2, 0, 0, 0, 0, 9}}, kTenant[3], 0x0800, v4("10.0.0.3", "10.0.0.9", 6, syn)),
      frame({{0x33, 0x33, 0, 0, 0, 5}}, kTenant[3], 0x86dd, v6("fd00::3", "ff02::5", 17, big)),
      frame({{2, 0, 0, 0, 0, 9}}, kTenant[3], 0x0800, v4("10.0.0.3", "10.0.0.9", 17, big)),
      mpls_udp(16, v4("10.1.2.3", "10.0.0.1", 17, udp(5000, 4000, Bytes(5, 'r')))),
      mpls_udp(17, v4("10.1.2.3", "10.0.0.10", 6, syn)),
      mpls_udp(18, v4("10.1.2.3", "10.0.0.10", 6, syn)),
      mpls_udp(19, v4("10.1.2.3", "10.0.0.2", 6, syn)),
      mpls_udp(24, frame(kBroadcastMac, {{2, 0, 0, 0, 0, 9}}, 0x0806, arp)),
      mpls_udp(99, v4("10.1.2.3", "10.0.0.2", 6, syn)),
      vxlan(5, frame(kTenant[3], {{2, 0, 0, 0, 0, 9}}, 0x0800, v4("10.0.0.9", "10.0.0.3", 6, syn))),
      vxlan(6, frame(kFabricMac, {{2, 0, 0, 0, 0, 9}}, 0x0800, v4("10.9.0.9", "10.0.0.3", 6, syn))),
      vxlan(6, v4("10.9.0.9", "10.0.0.3", 6, syn)),
      fabric(v4("192.0.2.2", "192.0.2.1", 47,
                Bytes{0, 0, 0x88, 0x47} + label_entry(16) +
                    v4("10.2.0.1", "10.0.0.1", 6, tcp(1, 2, 0x10)))),
      fabric(v6("2001:db8:f::2", "2001:db8:f::1", 17,
                udp(50000, 6635, label_entry(16) + v6("fd01::9", "fd00::1", 17, udp(9, 9, {})))),
             0x86dd),
      fabric(v4("192.0.2.2", "192.0.2.1", 1, echo)),
      fabric(v4("192.0.2.2", "198.51.100.9", 17, udp(1, 2, {}))),
      frame(kGatewayMac, kGatewayMac, 0x0800,
            Bytes{0, 1, 0, 1, 0, 1} + Bytes(24, 0) + tenant(1, v4("10.0.0.1", "10.0.0.2", 6, syn))),
  };
}

void repair(Bytes& b,
            size_t at) {  // header checksum of an IPv4 header at `at`, and of one tunnelled
  if (b.size() < at + 20 || b[at] >> 4 != 4) return;
  const size_t header = (b[at] & 15u) * 4;
  if (header < 20 || b.size() < at + header) return;
  b[at + 10] = b[at + 11] = 0;
  const uint16_t sum = checksum(b.data() + at, header);
  b[at + 10] = static_cast<uint8_t>(sum >> 8);
  b[at + 11] = static_cast<uint8_t>(sum);
  if (b[at + 9] == 17 && b.size() > at + header + 12) {
    const uint32_t port = b[at + header + 2] * 256u + b[at + header + 3];
    if (port == 6635) repair(b, at + header + 12);
    if (port == 4789 && b.size() > at + header + 16 + 14) {
      repair(b, at + header + 16 + 14);
      repair(b, at + header + 16);
    }
  }
  if (b[at + 9] == 47) repair(b, at + header + 8);
}

EngineOptions options() {
  EngineOptions o;
  o.flow_entries = 4096;
  o.buffers = 2048;
  o.buffer_bytes = 2048;
  o.seed = 9;
  return o;
}

struct World {
  Engine engine{options()};
  MemoryPort* ports[kPorts] = {};
  std::vector<Bytes> shapes = templates();
  uint64_t now = 1;

  World() {
    for (MemoryPort*& port : ports) {
      auto made = std::make_unique<MemoryPort>(1500);
      port = made.get();
      engine.add_port(std::move(made));
    }
    engine.hold([&] {
      std::vector<uint8_t> bytes(8);
      uint32_t count = 0;
      for (const Op& op : configuration()) {
        encode(op, bytes);
        ++count;
      }
      store_le32(bytes.data(), kProgramMagic);
      store_le32(bytes.data() + 4, count);
      std::vector<Op> ops;
      Status status = decode(bytes, ops);
      if (status.ok()) {
        status =
            apply(
                ops, engine.router(), [](void*, PortId p) { return p.value < kPorts; }, nullptr)
                .status;
      }
      if (!status.ok()) {
        std::fprintf(stderr, "configuration: op %u: %s %s\n", status.op_index,
                     status_code(status.code), status.field);
        std::abort();
      }
    });
  }
};

// What the run reached, told at its end: a fuzzer that only ever sees one drop reason tests
// nothing.
World* the_world = nullptr;
void tell() {
  if (the_world == nullptr) return;
  const Counters& c = the_world->engine.counters();
  std::fprintf(
      stderr,
      "received %llu forwarded %llu replied %llu punted %llu dropped %llu consumed %llu "
      "generated %llu flows made %llu\n",
      static_cast<unsigned long long>(c.received), static_cast<unsigned long long>(c.forwarded),
      static_cast<unsigned long long>(c.replied), static_cast<unsigned long long>(c.punted),
      static_cast<unsigned long long>(c.dropped), static_cast<unsigned long long>(c.consumed),
      static_cast<unsigned long long>(c.generated),
      static_cast<unsigned long long>(the_world->engine.flows().created()));
  for (uint32_t i = 0; i < kDropReasons; ++i) {
    if (c.drops[i] == 0) continue;
    std::fprintf(stderr, "  %-28s %llu\n", drop_name(static_cast<DropReason>(i)),
                 static_cast<unsigned long long>(c.drops[i]));
  }
}

// The agent vif's frames claim IPv4 but carry the agent's header; the host's go out as they are:
// callers leave those out.
void check_out(const Bytes& out, const Bytes& in) {
  if (out.size() < 34 || out[12] != 8 || out[13] != 0) return;
  const uint8_t* p = out.data() + 14;
  if (!ipv4::check(p, out.size() - 14) || !ipv4::checksum_ok(p)) {
    std::fprintf(stderr, "in:\n%sout with a wrong IPv4 header:\n%s",
                 print_frame(in.data(), in.size()).c_str(),
                 print_frame(out.data(), out.size()).c_str());
    std::abort();
  }
}

}  // namespace
}  // namespace vrouter

static void watch(vrouter::Engine& engine) {
  for (uint32_t id = 0; id < 2; ++id) {
    vrouter::CaptureSpec spec;
    spec.bytes = 1u << 14;  // enough for what one input brings; the ring is made anew each time
    spec.trace = id == 1;
    spec.ends.count = spec.trace ? 1 : 0;
    spec.ends.ends[0].port = 40000;
    if (!engine.start_capture(id, std::move(spec)).ok()) std::abort();
  }
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace vrouter;
  static World& world = [&]() -> World& {
    the_world = new World;
    std::atexit(tell);
    return *the_world;
  }();
  if (size < 3) return 0;
  const uint32_t shape = data[1] % (world.shapes.size() + 1);
  Bytes frame;
  uint32_t port = data[0] % kPorts;
  if (shape == 0) {
    frame.assign(data + 3, data + size);
  } else {
    frame = world.shapes[shape - 1];
    // Each template has the vif it is for; one in four goes elsewhere.
    if (data[0] % 4 != 0) {
      port = frame[0] == kFabricMac.bytes[0] && frame[4] == 0xfa ? 0u
             : frame[6] == 0                                     ? 4u
                                                                 : uint32_t{frame[11]} % kPorts;
    }
    // Few changes: many would only ever meet the parser.
    const size_t end = 3 + 2 * static_cast<size_t>(data[2] >> 5);
    for (size_t i = 3; i + 1 < size && i < end; i += 2) {
      frame[(data[i] + 31u * (i / 2 - 1)) % frame.size()] = data[i + 1];
    }
  }
  if ((data[2] & 1) != 0) repair(frame, 14);
  if ((data[2] & 14) == 2) {
    Trace trace;
    explain(world.engine.context(), VifId{port}, frame.data(), static_cast<uint32_t>(frame.size()),
            trace);
  }
  if (!frame.empty()) {
    world.ports[port]->inject(frame.data(), static_cast<uint32_t>(frame.size()));
  }
  const bool watched = (data[2] & 14) == 4;
  if (watched) watch(world.engine);
  world.now += 1'000'000 + (data[2] == 0xff ? 5'000'000'000 : 0);
  world.engine.step(world.now);
  for (uint32_t id = 0; watched && id < 2; ++id) {
    Bytes records;
    world.engine.capture(id)->ring.read(records, ~0ull);
    world.engine.stop_capture(id);
  }
  Bytes out;
  for (uint32_t i = 0; i < kPorts; ++i) {
    const bool as_it_is = i == kAgentPort || port >= kAgentPort;
    while (world.ports[i]->collect(out)) {
      if (!as_it_is) check_out(out, frame);
    }
  }
  const Counters& c = world.engine.counters();
  const uint64_t held = world.engine.context().fragments.held();
  if (c.received != c.forwarded + c.replied + c.punted + c.dropped + c.consumed + held) {
    std::fprintf(
        stderr,
        "received %llu, forwarded %llu replied %llu punted %llu dropped %llu consumed "
        "%llu held %llu\n",
        static_cast<unsigned long long>(c.received), static_cast<unsigned long long>(c.forwarded),
        static_cast<unsigned long long>(c.replied), static_cast<unsigned long long>(c.punted),
        static_cast<unsigned long long>(c.dropped), static_cast<unsigned long long>(c.consumed),
        static_cast<unsigned long long>(held));
    std::abort();
  }
  if (world.engine.pool().available() + held != world.engine.pool().total()) {
    std::fprintf(stderr, "a buffer was lost\n");
    std::abort();
  }
  return 0;
}
