// The express room's way of MACs against the rooms: two engines with the same tables get the same
// random frames, one of them with the express room closed. What leaves, what is counted, of vifs,
// VRFs and MACs, must be the same.
//
// Three tenants of one network, one of them behind a receiver with policy; hosts behind two far
// nodes; a fabric that brings frames by VNI. Frames are bent: unknown MACs, the router's own, group
// addresses, ARP, tags, fragments, options, wrong lengths, DHCP, SYN, too large, padded, any bit
// changed.
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

constexpr uint32_t kNode = 0xc0000201;     // 192.0.2.1
constexpr uint32_t kFarNode = 0xc0000202;  // and the next
constexpr Mac kNodeMac{{2, 0, 0, 0, 1, 1}};
constexpr Mac kFarMac{{2, 0, 0, 0, 1, 2}};
constexpr uint32_t kTenants = 3;
constexpr uint32_t kPorts = 1 + kTenants;  // fabric, then tenants; the last one's has policy
constexpr uint32_t kHosts = 8;             // known MACs behind the far nodes
constexpr uint32_t kVni = 77;
constexpr uint32_t kTagMagic = 0x7a7b7c7d;

Mac tenant_mac(uint32_t i) { return Mac{{2, 0, 0, 0, 2, static_cast<uint8_t>(i)}}; }
Mac host_mac(uint32_t i) { return Mac{{2, 0, 0, 0, 3, static_cast<uint8_t>(i)}}; }

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
    o.buffers = 1024;
    return o;
  }

  void mac(const Mac& address, uint32_t next_hop, uint32_t label) {
    MacSpec spec;
    spec.vrf = 1;
    spec.mac = address;
    spec.next_hop = next_hop;
    spec.label = label;
    engine.router().exchange(VrfId{1}, address, spec);
  }

  void program(Encap encap) {
    Router& r = engine.router();
    RouterSpec spec;
    spec.ipv4 = Address::from_v4(kNode);
    spec.icmp_errors_per_second = 1000;
    r.exchange(spec);
    for (uint32_t id = 0; id < 2; ++id) {
      VrfSpec vrf;
      vrf.vrf = id;
      vrf.name = id == 0 ? "fabric" : "red";
      r.exchange(VrfId{id}, vrf);
    }
    for (uint32_t id = 0; id < kPorts; ++id) {
      VifSpec vif;
      vif.vif = id;
      vif.name = "vif";
      vif.type = static_cast<uint8_t>(id == 0 ? VifType::Physical : VifType::Virtual);
      vif.port = ids[id].value;
      vif.mac = id == 0 ? kNodeMac : kGatewayMac;
      vif.vrf = id == 0 ? 0 : 1;
      vif.flags = kVifL3 | kVifL2;
      if (id == 1) vif.flags |= kVifUnknownFlood | kVifDhcpTrap;
      if (id == 2) vif.flags = kVifL2;
      if (id == kTenants) vif.flags |= kVifPolicy;
      vif.mtu = 1500;
      if (id != 0) {
        vif.next_hop = 10 + id;
        vif.ipv4 = Address::from_v4(0x0a000000 + id);
        vif.gateway4 = Address::from_v4(0x0a0000fe);
      }
      r.exchange(VifId{id}, vif);
    }
    NextHopObject here;
    here.kind = NextHopKind::Receive;
    here.receive.next_hop = 5;
    here.receive.vif = 0;
    r.exchange(NextHopId{5}, here);
    RouteSpec own;
    own.vrf = 0;
    own.prefix = {Address::from_v4(kNode), 32};
    own.next_hop = 5;
    own.label = kNoLabel;
    r.exchange(VrfId{0}, own.prefix, own);
    NextHopObject router;
    router.kind = NextHopKind::L2Receive;
    router.l2_receive.next_hop = 6;
    r.exchange(NextHopId{6}, router);
    NextHopObject flood;
    flood.kind = NextHopKind::Replicate;
    flood.replicate.next_hop = 40;
    flood.replicate.vrf = 1;
    for (uint32_t i = 1; i <= kTenants; ++i) {
      NextHopObject to;
      to.kind = NextHopKind::Interface;
      to.interface.next_hop = 10 + i;
      to.interface.vrf = 1;
      to.interface.vif = i;
      if (i == kTenants) to.interface.flags = kNhPolicy;
      to.interface.destination_mac = tenant_mac(i);
      to.interface.source_mac = kGatewayMac;
      r.exchange(NextHopId{10 + i}, to);
      mac(tenant_mac(i), 10 + i, kNoLabel);
      flood.replicate.replicas.push_back({10 + i, kNoLabel});
    }
    for (uint32_t i = 0; i < 2; ++i) {
      NextHopObject tunnel;
      tunnel.kind = NextHopKind::Tunnel;
      tunnel.tunnel.next_hop = 20 + i;
      tunnel.tunnel.vif = 0;
      tunnel.tunnel.encap = static_cast<uint8_t>(encap);
      tunnel.tunnel.source = Address::from_v4(kNode);
      tunnel.tunnel.destination = Address::from_v4(kFarNode + i);
      tunnel.tunnel.destination_mac = kFarMac;
      tunnel.tunnel.source_mac = kNodeMac;
      if (i == 1) tunnel.tunnel.l3_vxlan_mac = kFarMac;
      r.exchange(NextHopId{20 + i}, tunnel);
    }
    r.exchange(NextHopId{40}, flood);
    mac(kBroadcastMac, 40, kNoLabel);
    for (uint32_t i = 0; i < kHosts; ++i) mac(host_mac(i), 20 + i % 2, 50 + i);
    mac(host_mac(kHosts), 20, kNoLabel);  // no label
    mac(host_mac(kHosts + 1), 6, kNoLabel);
    mac(host_mac(kHosts + 2), 0, kNoLabel);
    NextHopObject network;
    network.kind = NextHopKind::VrfTranslate;
    network.vrf_translate.next_hop = 30;
    network.vrf_translate.vrf = 1;
    network.vrf_translate.flags = kNhBridge;
    r.exchange(NextHopId{30}, network);
    r.exchange_vni(kVni, VniSpec{kVni, 30});
    NextHopObject guarded = network;
    guarded.vrf_translate.next_hop = 31;
    guarded.vrf_translate.flags = kNhBridge | kNhPolicy;
    r.exchange(NextHopId{31}, guarded);
    r.exchange_vni(kVni + 1, VniSpec{kVni + 1, 31});
    ++r.generation;
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
Bytes ip_packet(Random& random, uint32_t from, uint32_t to, uint16_t port, uint8_t protocol,
                uint32_t tag, uint32_t number, bool v6) {
  const uint32_t options = !v6 && random.one_in(40) ? 8 : 0;
  const uint32_t l4 = (v6 ? 40 : 20) + options;
  const uint32_t transport = protocol == 6 ? 20 : 8;
  const uint32_t fill = random.one_in(20) ? 1380 + random.below(140) : random.below(60);
  Bytes p(l4 + transport + fill + 12);
  const uint32_t length = static_cast<uint32_t>(p.size()) - l4;
  store_be32(&p[p.size() - 12], kTagMagic);
  store_be32(&p[p.size() - 8], tag);
  store_be32(&p[p.size() - 4], number);
  uint8_t* t = &p[l4];
  store_be16(t, port);
  store_be16(t + 2, 443);
  if (protocol == 6) {
    t[12] = 0x50;
    t[13] = 0x10;
    if (fill >= 4 && random.one_in(6)) {  // a SYN with its MSS
      t[12] = 0x60;
      t[13] = 0x02;
      store_be32(t + 20, 0x02040000 + (random.one_in(2) ? 8960 : 536));
    }
  } else {
    store_be16(t + 4, static_cast<uint16_t>(length + (random.one_in(50) ? 5 : 0)));
  }
  if (v6) {
    p[0] = 0x60;
    store_be16(&p[4], static_cast<uint16_t>(length));
    p[6] = protocol;
    p[7] = random.one_in(20) ? 1 : 64;
    store_be32(&p[8], 0xfd000000);
    store_be32(&p[20], from);
    store_be32(&p[24], 0xfd000000);
    store_be32(&p[36], to);
    return p;
  }
  p[0] = static_cast<uint8_t>(0x40 | l4 / 4);
  store_be16(&p[2], static_cast<uint16_t>(p.size()));
  if (random.one_in(3)) store_be16(&p[6], 0x4000);
  if (random.one_in(60)) store_be16(&p[6], random.one_in(2) ? 0x2000 : 0x2001);
  p[8] = random.one_in(20) ? 1 : 64;
  p[9] = protocol;
  store_be32(&p[12], from);
  store_be32(&p[16], to);
  if (options != 0) std::fill_n(&p[20], options, uint8_t{1});
  store_be16(&p[10], checksum(p.data(), l4));
  return p;
}

Bytes with_ethernet(const Mac& to, const Mac& from, uint16_t type, const Bytes& packet) {
  Bytes f(to.bytes.begin(), to.bytes.end());
  f.insert(f.end(), from.bytes.begin(), from.bytes.end());
  f.insert(f.end(), {static_cast<uint8_t>(type >> 8), static_cast<uint8_t>(type)});
  f.insert(f.end(), packet.begin(), packet.end());
  return f;
}

Bytes with_vxlan(Random& random, const Bytes& inner) {
  Bytes p(36);
  const uint32_t beyond = random.one_in(30) ? 1 + random.below(12) : 0;
  const uint32_t length = static_cast<uint32_t>(p.size() + inner.size()) - beyond;
  p[0] = 0x45;
  store_be16(&p[2], static_cast<uint16_t>(length));
  p[8] = 64;
  p[9] = 17;
  store_be32(&p[12], kFarNode + random.below(3));
  store_be32(&p[16], random.one_in(60) ? kNode + 7 : kNode);
  store_be16(&p[10], checksum(p.data(), 20));
  store_be16(&p[20], 50000);
  store_be16(&p[22], 4789);
  store_be16(&p[24], static_cast<uint16_t>(length - 20));
  p[28] = random.one_in(50) ? 0 : 8;
  store_be32(&p[32], (kVni + (random.one_in(10) ? 1 + random.below(2) : 0)) << 8);
  p.insert(p.end(), inner.begin(), inner.end());
  return with_ethernet(kNodeMac, kFarMac, 0x0800, p);
}

// One frame and the port it comes in by. bent: a bit may be wrong.
std::pair<uint32_t, Bytes> frame(Random& random, uint32_t number, bool bent) {
  const uint32_t port = random.below(kPorts);
  const uint8_t protocol = random.one_in(3) ? 17 : 6;
  const uint16_t source_port = static_cast<uint16_t>(2000 + random.below(3));
  const bool v6 = random.one_in(4);
  const bool local = random.one_in(port == 0 ? 2 : 3);
  const uint32_t to = local ? 1 + random.below(kTenants) : random.below(kHosts + 4);
  Mac destination = local ? tenant_mac(to) : host_mac(to);
  if (random.one_in(25)) destination = kGatewayMac;
  if (random.one_in(25)) destination = random.one_in(2) ? kBroadcastMac : kNodeMac;
  const uint32_t from = 0x0a000000 + port + (port == 0 ? 99 : 0);
  const uint32_t tag = port << 24 | (local ? 1u << 20 : 0) | to << 8 |
                       uint32_t{source_port - 2000u} << 2 | (protocol == 6 ? 1 : 0) | (v6 ? 2 : 0);
  // Other ports and what is no IP are other conversations, whatever is inside.
  const bool dhcp = random.one_in(40);
  uint16_t type = v6 ? 0x86dd : 0x0800;
  if (random.one_in(50)) type = random.one_in(2) ? 0x0806 : 0x8100;
  const uint32_t apart = (dhcp ? 1u << 30 : 0) | (type == 0x0806 || type == 0x8100 ? 1u << 31 : 0);
  Bytes packet = ip_packet(random, from, 0x0a000000 + (local ? to : 100 + to),
                           dhcp ? (v6 ? 546 : 68) : source_port, protocol, tag | apart, number, v6);
  Bytes f = with_ethernet(destination, port == 0 ? host_mac(1) : tenant_mac(port), type, packet);
  if (random.one_in(15)) f.resize(f.size() + 1 + random.below(20));  // padding
  if (port == 0) f = with_vxlan(random, f);
  if (random.one_in(15)) f.resize(f.size() + 1 + random.below(20));
  if (random.one_in(100)) f.resize(1 + random.below(static_cast<uint32_t>(f.size())));
  if (bent && random.one_in(30)) {
    f[random.below(static_cast<uint32_t>(f.size()))] ^= 1u << random.below(8);
  }
  return {port, f};
}

// --------------------------------------------------------------------------------------- comparing

// Of an IPv4 header that the router made: its number is the node's, not the conversation's.
void forget_identification(Bytes& f, size_t ip) {
  if (f.size() < ip + 20 || f[ip] != 0x45) return;
  store_be16(&f[ip + 4], 0);
  store_be16(&f[ip + 10], 0);
}

// Frames by conversation, each in the order it left; one by one, frame for frame.
std::map<std::string, std::vector<Bytes>> collect(MemoryPort& port, bool exact) {
  std::map<std::string, std::vector<Bytes>> out;
  Bytes f;
  while (port.collect(f)) {
    std::string whose;
    if (!exact) {
      for (size_t at = f.size() < 60 ? 0 : f.size() - 60; at + 12 <= f.size(); ++at) {
        if (load_be32(&f[at]) == kTagMagic) whose.assign(f.begin() + at + 4, f.begin() + at + 8);
      }
      // What is split leaves ahead of its burst, what is flooded behind the copies of others.
      const auto split = [&](size_t ip) {
        return f.size() >= ip + 20 && (f[ip] >> 4) == 4 && (load_be16(&f[ip + 6]) & 0x3fff) != 0;
      };
      const bool piece = split(14) || split(64);  // as it is, or in VXLAN
      if (piece || (f[0] & 1) != 0) whose.clear();
      forget_identification(f, 14);
      if (f.size() > 70) {
        for (const size_t inner : {size_t{46}, size_t{56}, size_t{64}}) {
          if (whose.empty()) forget_identification(f, inner);
        }
      }
    }
    out[whose].push_back(f);
  }
  if (!exact) std::sort(out[""].begin(), out[""].end());
  return out;
}

void expect_equal(Side& a, Side& b, bool exact) {
  for (uint32_t i = 0; i < kPorts; ++i) {
    ASSERT_EQ(collect(*a.ports[i], exact), collect(*b.ports[i], exact)) << "port " << i;
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
  ASSERT_EQ(a.engine.flows().used(), b.engine.flows().used());
  a.engine.router().macs(VrfId{1})->each([&](const MacEntry& entry) {
    EXPECT_EQ(entry.packets, b.engine.router().mac(VrfId{1}, entry.mac)->packets)
        << entry.mac.text();
  });
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
    if (random.one_in(50)) {  // a host moves
      const uint32_t host = random.below(kHosts), tunnel = 20 + random.below(2);
      for (Side* side : {&with, &without}) {
        side->engine.hold([&] {
          ++side->engine.router().generation;
          side->mac(host_mac(host), tunnel, 60 + host);
        });
      }
    }
    now += 1'000'000 + random.below(100) * 1'000'000;
    with.engine.step(now);
    without.engine.step(now);
    expect_equal(with, without, most_at_once == 1);
    if (testing::Test::HasFailure()) FAIL() << "seed " << seed << ", breath " << breath;
  }
  // Or nothing has been compared.
  ASSERT_GT(with.engine.counters().forwarded, number / 3);
}

TEST(ExpressBridge, OneByOneTheSameBytes) {
  run(Encap::Vxlan, 1, 1, 5000);
  run(Encap::MplsOverUdp, 2, 1, 2500);
  run(Encap::MplsOverGre, 3, 1, 2500);
}

TEST(ExpressBridge, InBurstsTheSameFramesInTheSameOrderOfEachConversation) {
  for (uint32_t seed = 10; seed < 16; ++seed) run(Encap::Vxlan, seed, 120, 150);
}

}  // namespace
}  // namespace vrouter
