// The express room's way of routes against the rooms it stands for, as express_test.cc does for
// flows: two engines with the same tables get the same random frames, one of them with the express
// room closed. What leaves, what is counted and every flow must be the same.
//
// Two tenants without policy, one with; far networks behind one tunnel, sets of several, sets with
// a member that is gone, a set in a set, another VRF, nothing; labels with policy and without; both
// families. Frames are what these send, then bent.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <string>

#include "base/bytes.h"
#include "base/checksum.h"
#include "port/memory_port.h"
#include "worker/engine.h"

namespace vrouter {
namespace {

using Bytes = std::vector<uint8_t>;

constexpr uint32_t kNode = 0xc0000201;  // 192.0.2.1; the far nodes follow
constexpr Mac kNodeMac{{2, 0, 0, 0, 1, 1}};
constexpr Mac kFarMac{{2, 0, 0, 0, 1, 2}};
constexpr uint32_t kPorts = 4;   // fabric, tenants 1 (no policy), 2 (policy), 3 (no policy, traps)
constexpr uint32_t kFar = 16;    // networks behind far nodes
constexpr uint32_t kLabel = 40;  // + 1…3: the tenants; 44, 45: the network, without, with policy
constexpr uint32_t kTagMagic = 0x7a7b7c7d;
constexpr uint32_t kFirstWay = 20;

// 10.n.0.m and 2001:db8:n::m. n: 0 tenants, else 1 + the number of a far network.
Address address_of(bool v4, uint32_t n, uint32_t m) {
  if (v4) return Address::from_v4(0x0a000000 | n << 16 | m);
  Address a;
  a.family = Family::V6;
  const uint8_t start[] = {0x20, 0x01, 0x0d, 0xb8, 0, static_cast<uint8_t>(n)};
  std::copy(std::begin(start), std::end(start), a.bytes.begin());
  a.bytes[15] = static_cast<uint8_t>(m);
  return a;
}
Mac tenant_mac(uint32_t tenant) { return Mac{{2, 0, 0, 0, 2, static_cast<uint8_t>(tenant)}}; }

struct Side {
  Side(bool express, Encap encap) : engine(options()) {
    for (uint32_t i = 0; i < kPorts; ++i) {
      auto port = std::make_unique<MemoryPort>(9000);
      ports[i] = port.get();
      ids[i] = engine.add_port(std::move(port));
    }
    engine.context().express = express;
    engine.hold([&] { program(encap); });
  }

  static EngineOptions options() {
    EngineOptions o;
    o.flow_entries = 4096;
    o.buffers = 512;
    return o;
  }

  void vif(uint32_t id, bool bound) {
    VifSpec vif;
    vif.vif = id;
    vif.name = "vif";
    vif.type = static_cast<uint8_t>(id == 0 || id > 3 ? VifType::Physical : VifType::Virtual);
    vif.port = bound ? ids[id].value : ~0u;
    vif.mac = id == 0 ? kNodeMac : Mac{{2, 0, 0, 0, 3, 3}};
    vif.vrf = id == 0 || id > 3 ? 0 : 1;
    vif.flags = kVifL3;
    if (id == 2) vif.flags |= kVifPolicy;
    if (id == 3) vif.flags |= kVifDhcpTrap | kVifGatewayTrap;
    vif.mtu = 1500;
    if (id != 0 && id <= 3) {
      vif.next_hop = 10 + id;
      vif.gateway4 = address_of(true, 0, 254);
      vif.gateway6 = address_of(false, 0, 254);
    }
    engine.router().exchange(VifId{id}, vif);
  }

  void program(Encap encap) {
    Router& r = engine.router();
    RouterSpec spec;
    spec.ipv4 = Address::from_v4(kNode);
    spec.icmp_errors_per_second = 1000;
    r.exchange(spec);
    for (uint32_t id = 0; id < 3; ++id) {
      VrfSpec vrf;
      vrf.vrf = id;
      vrf.name = "vrf";
      r.exchange(VrfId{id}, vrf);
    }
    for (uint32_t id = 0; id < kPorts; ++id) vif(id, true);
    vif(kPorts, false);
    NextHopObject here;
    here.kind = NextHopKind::Receive;
    here.receive.next_hop = 5;
    r.exchange(NextHopId{5}, here);
    for (uint32_t i = 1; i <= 3; ++i) {
      NextHopObject to;
      to.kind = NextHopKind::Interface;
      to.interface.next_hop = 10 + i;
      to.interface.vrf = 1;
      to.interface.vif = i;
      to.interface.flags = i == 2 ? uint32_t{kNhPolicy} : 0;
      to.interface.destination_mac = tenant_mac(i);
      to.interface.source_mac = kGatewayMac;
      r.exchange(NextHopId{10 + i}, to);
      r.exchange_label(kLabel + i, LabelSpec{kLabel + i, 10 + i});
      for (const bool v4 : {true, false}) route(1, address_of(v4, 0, i), v4 ? 32 : 128, 10 + i);
    }
    for (uint32_t i = 0; i < 2; ++i) {
      NextHopObject network;
      network.kind = NextHopKind::VrfTranslate;
      network.vrf_translate.next_hop = 14 + i;
      network.vrf_translate.vrf = 1;
      network.vrf_translate.flags = i == 0 ? 0 : uint32_t{kNhPolicy};
      r.exchange(NextHopId{14 + i}, network);
      r.exchange_label(kLabel + 4 + i, LabelSpec{kLabel + 4 + i, 14 + i});
    }
    for (uint32_t i = 0; i < 4; ++i) {  // the last by a vif that has no port
      NextHopObject tunnel;
      tunnel.kind = NextHopKind::Tunnel;
      tunnel.tunnel.next_hop = kFirstWay + i;
      tunnel.tunnel.vif = i == 3 ? kPorts : 0;
      tunnel.tunnel.encap = static_cast<uint8_t>(encap);
      tunnel.tunnel.source = Address::from_v4(kNode);
      tunnel.tunnel.destination = Address::from_v4(kNode + 1 + i);
      tunnel.tunnel.destination_mac = kFarMac;
      tunnel.tunnel.source_mac = kNodeMac;
      r.exchange(NextHopId{kFirstWay + i}, tunnel);
    }
    set(24, 0, {{0, 20, 50, 1}, {1, 21, kNoLabel, 1}, {2, 22, 52, 1}});
    set(25, 0, {{0, 20, 50, 1}, {1, 21, 51, 4}, {2, 22, 52, 9}, {9, 20, 53, 0}});
    set(26, kHashDestination | kHashProtocol, {{4, 20, 50, 1}, {3, 21, 51, 1}, {7, 22, 52, 1}});
    set(27, 0, {{0, 20, 50, 1}, {1, 23, 51, 1}});                              // half of it is gone
    set(28, 0, {{0, 24, 50, 1}, {1, 22, 51, 1}});                              // a set in a set
    set(29, 0, {{0, 11, kNoLabel, 1}, {1, 12, kNoLabel, 1}, {2, 20, 54, 1}});  // tenants too
    NextHopObject other;
    other.kind = NextHopKind::VrfTranslate;
    other.vrf_translate.next_hop = 30;
    other.vrf_translate.vrf = 2;
    r.exchange(NextHopId{30}, other);
    set(31, 0, {{0, 23, 50, 1}});  // all of it is gone
    route(0, Address::from_v4(kNode), 32, 5);
    for (const bool v4 : {true, false}) {
      route(1, address_of(v4, 0, 254), v4 ? 32 : 128, 11);  // the gateway's, but for the trap
      route(2, address_of(v4, 1 + 10, 0), 16, 21, 60);
      for (uint32_t far = 0; far < kFar; ++far) lead(far, kFirstWay + far % 12, v4);
    }
    ++r.generation;
  }

  void set(uint32_t id, uint8_t fields, std::vector<EcmpMember> members) {
    NextHopObject set;
    set.kind = NextHopKind::Ecmp;
    set.ecmp.next_hop = id;
    set.ecmp.hash_fields = fields;
    set.ecmp.members = std::move(members);
    engine.router().exchange(NextHopId{id}, set);
  }

  // A far network's way; 32 and up: none.
  void lead(uint32_t far, uint32_t way, bool v4) {
    const Prefix prefix{address_of(v4, 1 + far, 0), static_cast<uint8_t>(v4 ? 16 : 48)};
    if (way >= 32) {
      engine.router().exchange(VrfId{1}, prefix, std::nullopt);
      return;
    }
    route(1, prefix.address, prefix.length, way, way < 24 || way == 24 ? 100 + far : kNoLabel,
          far == 13 ? kHashSource : 0);
  }

  void route(uint32_t vrf, Address address, uint32_t length, uint32_t next_hop,
             uint32_t label = kNoLabel, uint8_t fields = 0) {
    RouteSpec spec;
    spec.vrf = vrf;
    spec.prefix = {address, static_cast<uint8_t>(length)};
    spec.next_hop = next_hop;
    spec.label = label;
    spec.hash_fields = fields;
    engine.router().exchange(VrfId{vrf}, spec.prefix, spec);
  }

  Engine engine;
  MemoryPort* ports[kPorts];
  PortId ids[kPorts];
};

// ------------------------------------------------------------------------------------------ frames

struct Random {
  std::mt19937 engine;
  uint32_t below(uint32_t n) { return engine() % n; }
  bool one_in(uint32_t n) { return below(n) == 0; }
};

// A packet with its tag at its end: which conversation it is of, and its number in that.
Bytes ip_packet(Random& random, const Address& from, const Address& to, uint8_t protocol,
                uint16_t ports[2], uint32_t tag, uint32_t number) {
  const bool v4 = from.family == Family::V4;
  const uint32_t header = v4 ? 20 : 40;
  const uint32_t more = random.one_in(40) ? 8 : 0;  // options, or an extension header
  const uint32_t l4 = header + more;
  const uint32_t fill = random.one_in(30) ? 1400 + random.below(80) : random.below(60);
  Bytes p(l4 + (protocol == 6 ? 20 : 8) + fill + 12);
  const uint8_t hops = random.one_in(20) ? static_cast<uint8_t>(random.below(3)) : 64;
  if (v4) {
    p[0] = static_cast<uint8_t>(0x40 | l4 / 4);
    store_be16(&p[2], static_cast<uint16_t>(p.size()));
    if (random.one_in(3)) store_be16(&p[6], 0x4000);
    if (random.one_in(60)) store_be16(&p[6], random.one_in(2) ? 0x2000 : 0x2001);
    p[8] = hops;
    p[9] = protocol;
    std::copy_n(from.bytes.begin(), 4, &p[12]);
    std::copy_n(to.bytes.begin(), 4, &p[16]);
    std::fill_n(&p[20], more, uint8_t{1});
    store_be16(&p[10], checksum(p.data(), l4));
  } else {
    p[0] = 0x60;
    store_be16(&p[4], static_cast<uint16_t>(p.size() - 40));
    p[6] = more != 0 ? (random.one_in(2) ? 44 : 60) : protocol;
    p[7] = hops;
    std::copy_n(from.bytes.begin(), 16, &p[8]);
    std::copy_n(to.bytes.begin(), 16, &p[24]);
    if (more != 0) p[40] = protocol;
    if (more != 0 && p[6] == 44) p[43] = static_cast<uint8_t>(random.below(2));
  }
  uint8_t* t = &p[l4];
  store_be16(t, ports[0]);
  store_be16(t + 2, ports[1]);
  if (protocol == 6) {
    constexpr uint8_t kFlags[] = {0x02, 0x12, 0x11, 0x04, 0x14, 0x00, 0x18, 0x29};
    t[12] = 0x50;
    t[13] = random.one_in(6) ? kFlags[random.below(8)] : 0x10;
    if ((t[13] & 2) != 0 && fill >= 4) {  // an MSS, mostly too large
      t[12] = 0x60;
      store_be32(t + 20, 0x02040000 | (1300 + random.below(300)));
    }
  } else {
    store_be16(t + 4, static_cast<uint16_t>(p.size() - l4));
  }
  if (protocol == 1 || protocol == 58) t[0] = v4 ? 8 : 128;
  store_be32(&p[p.size() - 12], kTagMagic);
  store_be32(&p[p.size() - 8], tag);
  store_be32(&p[p.size() - 4], number);
  return p;
}

Bytes with_ethernet(const Mac& to, const Mac& from, bool v4, const Bytes& packet) {
  Bytes f(to.bytes.begin(), to.bytes.end());
  f.insert(f.end(), from.bytes.begin(), from.bytes.end());
  f.push_back(v4 ? 0x08 : 0x86);
  f.push_back(v4 ? 0x00 : 0xdd);
  f.insert(f.end(), packet.begin(), packet.end());
  return f;
}

Bytes with_tunnel(const Bytes& inner, uint32_t label, uint32_t far_node) {
  Bytes p(32);
  const uint32_t length = static_cast<uint32_t>(p.size() + inner.size());
  p[0] = 0x45;
  store_be16(&p[2], static_cast<uint16_t>(length));
  p[8] = 64;
  p[9] = 17;
  store_be32(&p[12], far_node);
  store_be32(&p[16], kNode);
  store_be16(&p[10], checksum(p.data(), 20));
  store_be16(&p[20], 50000);
  store_be16(&p[22], 6635);
  store_be16(&p[24], static_cast<uint16_t>(length - 20));
  store_be32(&p[28], label << 12 | 0x140);
  p.insert(p.end(), inner.begin(), inner.end());
  return with_ethernet(kNodeMac, kFarMac, true, p);
}

// One frame and the port it comes in by. bent: a bit may be wrong, and with it whose frame it is.
std::pair<uint32_t, Bytes> frame(Random& random, uint32_t number, bool bent) {
  const uint32_t port = random.below(kPorts);
  const bool v4 = !random.one_in(3);
  const uint32_t kind = random.below(20);
  const uint8_t protocol = kind == 0 ? (v4 ? 1 : 58) : kind == 1 ? 47 : kind < 8 ? 17 : 6;
  const uint32_t far = random.below(kFar + 1);  // the last has no route
  const uint32_t host = 1 + random.below(3);
  const uint32_t tenant = 1 + random.below(3);
  const uint32_t label = kLabel + (random.one_in(20) ? 9 : 1 + random.below(5));
  const bool near = random.one_in(4);  // tenant to tenant; or tunnel to tunnel
  uint16_t ports[2] = {static_cast<uint16_t>(random.one_in(30) ? (v4 ? 68 : 546) : 2000 + host),
                       static_cast<uint16_t>(80 + random.below(2))};
  const Address far_address = address_of(v4, 1 + far, host);
  Address from, to;
  if (port == 0) {
    from = far_address;
    to = near ? address_of(v4, 1 + (far + 1) % kFar, 1) : address_of(v4, 0, tenant);
  } else {
    from = address_of(v4, 0, port);
    to = near ? address_of(v4, 0, random.one_in(10) ? 254 : tenant) : far_address;
  }
  // All that makes it a conversation of its own.
  const uint32_t tag = far | host << 8 | tenant << 10 | uint32_t{v4} << 12 | uint32_t{near} << 13 |
                       (ports[0] < 1000 ? 1u << 14 : 0) | uint32_t{ports[1]} << 16 | port << 24 |
                       (protocol == 6    ? 0u
                        : protocol == 17 ? 1u
                        : protocol == 47 ? 2u
                                         : 3u)
                           << 26 |
                       (port == 0 ? (label - kLabel) << 28 : 0);
  const Bytes packet = ip_packet(random, from, to, protocol, ports, tag, number);
  Bytes f = port == 0 ? with_tunnel(packet, label, kNode + 1 + far % 3)
                      : with_ethernet(random.one_in(40)  ? tenant_mac(9)
                                      : random.one_in(3) ? Mac{{2, 0, 0, 0, 3, 3}}
                                                         : kGatewayMac,
                                      tenant_mac(port), v4 != random.one_in(80), packet);
  if (random.one_in(15)) f.resize(f.size() + 1 + random.below(20));  // padding
  if (random.one_in(100)) f.resize(1 + random.below(static_cast<uint32_t>(f.size())));
  if (bent && random.one_in(30)) {
    f[random.below(static_cast<uint32_t>(f.size()))] ^= 1u << random.below(8);
  }
  return {port, f};
}

// --------------------------------------------------------------------------------------- comparing

// Frames by conversation, each in the order it left. Not exact: identifications of outer headers
// are the node's, not the conversation's, and pieces and answers come in any order.
std::map<std::string, std::vector<Bytes>> by_conversation(MemoryPort& port, bool exact) {
  std::map<std::string, std::vector<Bytes>> out;
  Bytes f;
  while (port.collect(f)) {
    std::string whose;
    if (f.size() >= 26 && load_be32(&f[f.size() - 12]) == kTagMagic) {
      whose.assign(f.end() - 8, f.end() - 4);
    }
    for (const size_t ip : {size_t{14}, size_t{46}}) {
      // Errors quote what they are about, tag and all.
      if (!exact && f.size() > ip + 40 &&
          ((f[ip] == 0x45 && f[ip + 9] == 1 && f[ip + 20] != 8) ||
           (f[ip] >> 4 == 6 && f[ip + 6] == 58 && f[ip + 40] < 128))) {
        whose.clear();
      }
      if (exact || f.size() < ip + 20 || f[ip] != 0x45) continue;
      if ((load_be16(&f[ip + 6]) & 0x3fff) != 0) whose.clear();
      if (ip != 14 && !whose.empty()) continue;
      store_be16(&f[ip + 4], 0);
      store_be16(&f[ip + 10], 0);
    }
    out[whose].push_back(f);
  }
  std::sort(out[""].begin(), out[""].end());
  return out;
}

std::string hex(const std::vector<Bytes>& frames) {
  std::string text;
  for (const Bytes& f : frames) {
    for (const uint8_t byte : f) {
      text += "0123456789abcdef"[byte >> 4];
      text += "0123456789abcdef"[byte & 15];
    }
    text += ' ';
  }
  return text;
}

void expect_equal(Side& a, Side& b, bool exact) {
  for (uint32_t i = 0; i < kPorts; ++i) {
    const auto from_a = by_conversation(*a.ports[i], exact);
    const auto from_b = by_conversation(*b.ports[i], exact);
    ASSERT_EQ(from_a.size(), from_b.size()) << "conversations, port " << i;
    for (const auto& [whose, frames] : from_a) {
      const auto other = from_b.find(whose);
      ASSERT_NE(other, from_b.end()) << "port " << i;
      ASSERT_EQ(hex(frames), hex(other->second)) << "port " << i;
    }
  }
  const Counters& x = a.engine.counters();
  const Counters& y = b.engine.counters();
  for (uint32_t i = 0; i < kDropReasons; ++i) {
    ASSERT_EQ(x.drops[i], y.drops[i]) << drop_name(static_cast<DropReason>(i));
  }
  ASSERT_EQ(x.received, y.received);
  ASSERT_EQ(x.forwarded, y.forwarded);
  ASSERT_EQ(x.replied, y.replied);
  ASSERT_EQ(x.punted, y.punted);
  ASSERT_EQ(x.dropped, y.dropped);
  ASSERT_EQ(x.consumed, y.consumed);
  ASSERT_EQ(x.generated, y.generated);
  ASSERT_EQ(std::memcmp(x.vifs.data(), y.vifs.data(), kPorts * sizeof(VifCounters)), 0);
  ASSERT_EQ(x.vrfs.size(), y.vrfs.size());
  ASSERT_EQ(std::memcmp(x.vrfs.data(), y.vrfs.data(), x.vrfs.size() * sizeof(VrfCounters)), 0);
  ASSERT_EQ(a.engine.pool().available(), b.engine.pool().available());
}

void expect_equal_flows(Side& a, Side& b) {
  const FlowTable& x = a.engine.flows();
  const FlowTable& y = b.engine.flows();
  ASSERT_EQ(x.used(), y.used());
  for (FlowId id{0}; id.value < x.capacity(); ++id.value) {
    ASSERT_EQ(std::memcmp(&x[id], &y[id], sizeof(Flow)), 0) << "flow " << id.value;
  }
}

void run(Encap encap, uint32_t seed, uint32_t most_at_once, uint32_t breaths) {
  Side with(true, encap), without(false, encap);
  Random random{std::mt19937(seed)};
  uint32_t number = 0;
  uint64_t now = 0;
  for (uint32_t breath = 0; breath < breaths; ++breath) {
    const uint32_t count = 1 + random.below(most_at_once);
    for (uint32_t i = 0; i < count; ++i) {
      const auto [port, f] = frame(random, number++, most_at_once == 1);
      for (Side* side : {&with, &without}) {
        ASSERT_TRUE(side->ports[port]->inject(f.data(), static_cast<uint32_t>(f.size())));
      }
    }
    if (random.one_in(50)) {  // a network moves
      const uint32_t far = random.below(kFar);
      const uint32_t way = kFirstWay + random.below(13);
      const bool v4 = random.one_in(2);
      for (Side* side : {&with, &without}) {
        side->engine.hold([&] {
          ++side->engine.router().generation;
          side->lead(far, way, v4);
        });
      }
    }
    now += 1'000'000 + random.below(100) * 1'000'000;
    with.engine.step(now);
    without.engine.step(now);
    expect_equal(with, without, most_at_once == 1);
    if (breath % 32 == 0) expect_equal_flows(with, without);
    if (testing::Test::HasFatalFailure()) FAIL() << "seed " << seed << ", breath " << breath;
  }
  expect_equal_flows(with, without);
  // Or nothing has been compared.
  ASSERT_GT(with.engine.counters().forwarded, number / 3);
}

TEST(ExpressRoute, OneByOneTheSameBytes) {
  run(Encap::MplsOverUdp, 1, 1, 6000);
  run(Encap::MplsOverGre, 2, 1, 3000);
  run(Encap::Vxlan, 3, 1, 3000);
}

TEST(ExpressRoute, InBurstsTheSameFramesInTheSameOrderOfEachConversation) {
  for (uint32_t seed = 10; seed < 16; ++seed) run(Encap::MplsOverUdp, seed, 120, 150);
}

}  // namespace
}  // namespace vrouter
