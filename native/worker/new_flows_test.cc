// Flows opened many together against flows opened one by one: two engines with the same tables get
// the same bursts, one of them deciding each new flow when those before it are stored, which is how
// a new flow is defined. Every entry, event and counter must be the same, and so must what leaves.
//
// And what a new flow is made of against its naive twin: checksum deltas of each half summed apart,
// policy by Prefix::contains, the ECMP member by asking every member whether it may be taken. And
// that none of it allocates.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <random>

#include "base/bytes.h"
#include "base/checksum.h"
#include "path/rooms.h"
#include "port/memory_port.h"
#include "worker/engine.h"

#if defined(__SANITIZE_ADDRESS__)
extern "C" int __sanitizer_install_malloc_and_free_hooks(void (*allocated)(const volatile void*,
                                                                           size_t),
                                                         void (*freed)(const volatile void*));
#endif

namespace vrouter {
namespace {

using Bytes = std::vector<uint8_t>;

constexpr uint32_t kNode = 0xc0000201;
constexpr uint32_t kFarNode = 0xc0000210;  // and on
constexpr uint32_t kPod = 0x0a000001;
constexpr uint32_t kNeighbour = 0x0a000002;
constexpr uint32_t kOutside = 0x0a010000;    // reached by floating IP
constexpr uint32_t kBehindNat = 0x0a020000;  // reached by source NAT
constexpr uint32_t kNowhere = 0x0a090000;
constexpr uint32_t kPublic = 0x0a6e0001;
constexpr uint32_t kNatAddress = 0x0a6e0099;
constexpr uint16_t kNatLow = 30000, kNatHigh = 30199;  // taken up before the end
constexpr Mac kNodeMac{{2, 0, 0, 0, 1, 1}};
constexpr Mac kFarMac{{2, 0, 0, 0, 1, 2}};
constexpr Mac kPodMac[2] = {{{2, 0, 0, 0, 2, 1}}, {{2, 0, 0, 0, 2, 2}}};
constexpr uint32_t kPorts = 3;  // fabric, pod, neighbour

struct Side {
  explicit Side(uint32_t quota = 0) : engine(options()) {
    for (uint32_t i = 0; i < kPorts; ++i) {
      auto port = std::make_unique<MemoryPort>(9000);
      ports[i] = port.get();
      ids[i] = engine.add_port(std::move(port));
    }
    engine.hold([&] { program(quota); });
  }

  static EngineOptions options() {
    EngineOptions o;
    o.flow_entries = 4096;
    o.buffers = 512;
    return o;
  }

  void program(uint32_t quota) {
    Router& r = engine.router();
    RouterSpec spec;
    spec.ipv4 = Address::from_v4(kNode);
    r.exchange(spec);
    for (uint32_t id = 0; id < 4; ++id) {  // fabric, tenants, public, behind NAT
      VrfSpec vrf;
      vrf.vrf = id;
      vrf.name = "vrf";
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
      vif.flags = id == 0 ? kVifL3 | kVifL2 : kVifL3 | kVifPolicy;
      vif.mtu = 1500;
      if (id != 0) {
        vif.next_hop = 10 + id;
        vif.network_policies = {{1}};
        vif.flow_quota = quota;
      }
      r.exchange(VifId{id}, vif);
    }
    PolicySpec policy;
    policy.policy = 1;
    policy.name = "web";
    PolicyRule rule;
    rule.source_port_high = rule.destination_port_high = 65535;
    rule.action = 0;  // one port is denied, whatever the addresses
    rule.destination_port_low = rule.destination_port_high = 23;
    policy.rules.push_back(rule);
    rule.action = 1;
    rule.destination_port_low = 0;
    rule.destination_port_high = 65535;
    policy.rules.push_back(rule);
    r.exchange(PolicyId{1}, policy);
    NextHopObject any;
    any.kind = NextHopKind::Ecmp;
    any.ecmp.next_hop = 30;
    for (uint32_t i = 0; i < 4; ++i) {
      if (i < 2) {
        NextHopObject to;
        to.kind = NextHopKind::Interface;
        to.interface.next_hop = 11 + i;
        to.interface.vrf = 1;
        to.interface.vif = 1 + i;
        to.interface.flags = kNhPolicy;
        to.interface.destination_mac = kPodMac[i];
        to.interface.source_mac = kGatewayMac;
        r.exchange(NextHopId{11 + i}, to);
      }
      NextHopObject tunnel;
      tunnel.kind = NextHopKind::Tunnel;
      tunnel.tunnel.next_hop = 20 + i;
      tunnel.tunnel.vif = i == 2 ? 77 : 0;  // the third leads nowhere now
      tunnel.tunnel.encap = static_cast<uint8_t>(Encap::MplsOverUdp);
      tunnel.tunnel.source = Address::from_v4(kNode);
      tunnel.tunnel.destination = Address::from_v4(kFarNode + i);
      tunnel.tunnel.destination_mac = kFarMac;
      tunnel.tunnel.source_mac = kNodeMac;
      r.exchange(NextHopId{20 + i}, tunnel);
      any.ecmp.members.push_back({static_cast<uint16_t>(i), 20 + i, 50 + i, 1});
    }
    r.exchange(NextHopId{30}, any);
    NextHopObject across;
    across.kind = NextHopKind::VrfTranslate;
    across.vrf_translate.next_hop = 31;
    across.vrf_translate.vrf = 3;
    r.exchange(NextHopId{31}, across);
    route(1, kPod, 32, 11, kNoLabel);
    route(1, kNeighbour, 32, 12, kNoLabel);
    route(1, kBehindNat, 16, 31, kNoLabel);
    route(2, kOutside, 16, 30, kNoLabel);
    route(3, kBehindNat, 16, 20, 60);
    FloatingIpSpec fip;
    fip.floating_ip = 1;
    fip.vif = 1;
    fip.vrf = 2;
    fip.address = Address::from_v4(kPublic);
    fip.fixed = Address::from_v4(kPod);
    r.exchange_floating_ip(1, fip);
    SourceNatSpec nat;
    nat.source_nat = 1;
    nat.vrf = 1;
    nat.to_vrf = 3;
    nat.address = Address::from_v4(kNatAddress);
    nat.port_low = kNatLow;
    nat.port_high = kNatHigh;
    r.exchange_source_nat(1, nat);
    ++r.generation;
  }

  void route(uint32_t vrf, uint32_t address, uint8_t length, uint32_t next_hop, uint32_t label) {
    RouteSpec spec;
    spec.vrf = vrf;
    spec.prefix = {Address::from_v4(address), length};
    spec.next_hop = next_hop;
    spec.label = label;
    engine.router().exchange(VrfId{vrf}, spec.prefix, spec);
  }

  std::vector<Bytes> sent(uint32_t port) {
    std::vector<Bytes> out;
    Bytes f;
    while (ports[port]->collect(f)) {
      // Identification and checksum of the outer header are the node's, in the order things leave.
      if (port == 0 && f.size() > 34) std::fill_n(f.begin() + 18, 2, 0), std::fill_n(&f[24], 2, 0);
      out.push_back(f);
    }
    std::sort(out.begin(), out.end());
    return out;
  }

  Engine engine;
  MemoryPort* ports[kPorts];
  PortId ids[kPorts];
};

Bytes frame_of(uint32_t from, uint32_t source, uint16_t source_port, uint32_t destination,
               uint16_t destination_port, uint8_t protocol, uint8_t flags) {
  Bytes p(40);
  p[0] = 0x45;
  p[3] = 40;
  p[8] = 64;
  p[9] = protocol;
  store_be32(&p[12], source);
  store_be32(&p[16], destination);
  store_be16(&p[10], checksum(p.data(), 20));
  if (protocol == 1) {
    p[20] = 8;
    store_be16(&p[24], source_port);
    store_be16(&p[22], checksum(&p[20], 20));
  } else {
    store_be16(&p[20], source_port);
    store_be16(&p[22], destination_port);
    const uint32_t sum = pseudo_sum_v4(&p[12], &p[16], protocol, 20);
    if (protocol == 6) {
      p[32] = 0x50;
      p[33] = flags;
      store_be16(&p[36], checksum_finish(checksum_add(sum, &p[20], 20)));
    } else {
      store_be16(&p[24], 20);
    }
  }
  Bytes f(kGatewayMac.bytes.begin(), kGatewayMac.bytes.end());
  f.insert(f.end(), kPodMac[from - 1].bytes.begin(), kPodMac[from - 1].bytes.end());
  f.insert(f.end(), {0x08, 0x00});
  f.insert(f.end(), p.begin(), p.end());
  return f;
}

struct Random {
  std::mt19937 engine;
  uint32_t below(uint32_t n) { return engine() % n; }
  bool one_in(uint32_t n) { return below(n) == 0; }
};

// The first packet of some flow, or a second, or a reply.
std::pair<uint32_t, Bytes> any_frame(Random& random) {
  constexpr uint8_t kProtocols[] = {6, 6, 6, 17, 1};
  const uint8_t protocol = kProtocols[random.below(5)];
  const uint8_t flags = random.one_in(12) ? 0x04 : 0x02;
  const uint32_t from = 1 + random.below(2);
  const uint32_t own = from == 1 ? kPod : kNeighbour;
  const uint32_t other = from == 1 ? kNeighbour : kPod;
  const uint32_t to[] = {kOutside + random.below(40), kBehindNat + random.below(10), other,
                         kNowhere};
  const uint16_t a = static_cast<uint16_t>(1000 + random.below(12));
  const uint16_t b = static_cast<uint16_t>(random.one_in(12) ? 23 : 1000 + random.below(4));
  const uint32_t source = random.one_in(30) ? kNowhere : own;
  return {from, frame_of(from, source, a, to[random.below(4)], b, protocol, flags)};
}

std::string hex(const Bytes& f) {
  std::string text;
  for (const uint8_t byte : f) {
    text += "0123456789abcdef"[byte >> 4];
    text += "0123456789abcdef"[byte & 15];
  }
  return text;
}

uint16_t port_of(const FlowKey& key, bool source) {
  return source ? key.source_port : key.destination_port;
}

// As each half would be had it been decided on its own: what its packets' sums change by.
void expect_deltas(const FlowHalf& half, const FlowHalf& other) {
  const Flow& flow = half.flow;
  const FlowKey from = half.key();
  const FlowKey to = reversed(other.key(), 0);
  const uint16_t addresses = delta_add(checksum_delta(from.source, to.source, 4),
                                       checksum_delta(from.destination, to.destination, 4));
  const uint16_t ports = delta_add(checksum_delta16(port_of(from, true), port_of(to, true)),
                                   checksum_delta16(port_of(from, false), port_of(to, false)));
  ASSERT_EQ(flow.l3_delta, addresses);
  ASSERT_EQ(flow.l4_delta, flow.protocol == 1 ? ports : delta_add(addresses, ports));
  ASSERT_EQ(std::memcmp(flow.nat_source4, to.source, 4), 0);
  ASSERT_EQ(std::memcmp(flow.nat_destination4, to.destination, 4), 0);
  ASSERT_EQ(flow.nat_source_port, to.source_port);
  ASSERT_EQ(flow.nat_destination_port, to.destination_port);
}

void expect_equal(Side& together, Side& alone) {
  for (uint32_t i = 0; i < kPorts; ++i) {
    const std::vector<Bytes> some = together.sent(i);
    const std::vector<Bytes> others = alone.sent(i);
    ASSERT_EQ(some.size(), others.size()) << "port " << i;
    for (size_t n = 0; n < some.size(); ++n) {
      ASSERT_EQ(hex(some[n]), hex(others[n])) << "port " << i;
    }
  }
  const Counters& x = together.engine.counters();
  const Counters& y = alone.engine.counters();
  for (uint32_t i = 0; i < kDropReasons; ++i) {
    ASSERT_EQ(x.drops[i], y.drops[i]) << drop_name(static_cast<DropReason>(i));
  }
  ASSERT_EQ(x.forwarded, y.forwarded);
  Event a[256], b[256];
  for (;;) {
    const uint32_t count = together.engine.events().drain(a, 256);
    ASSERT_EQ(count, alone.engine.events().drain(b, 256));
    ASSERT_EQ(std::memcmp(a, b, count * sizeof(Event)), 0);
    if (count == 0) break;
  }
  FlowTable& flows = together.engine.flows();
  ASSERT_EQ(flows.used(), alone.engine.flows().used());
  for (FlowId id{0}; id.value < flows.capacity(); ++id.value) {
    const Flow& flow = flows[id];
    ASSERT_EQ(std::memcmp(&flow, &alone.engine.flows()[id], sizeof(Flow)), 0) << id.value;
    ASSERT_EQ(std::memcmp(&flows.cold(id), &alone.engine.flows().cold(id), sizeof(FlowCold)), 0)
        << id.value;
    if (flow.in_use() && flow.action == FlowAction::Nat) {
      expect_deltas(flows.half(id), flows.half(flows.reverse(id)));
    }
  }
}

void run(uint32_t seed, uint32_t quota) {
  Side together(quota), alone(quota);
  alone.engine.context().in_groups = false;
  Random random{std::mt19937(seed)};
  uint64_t now = 0;
  for (uint32_t breath = 0; breath < 120; ++breath) {
    now += random.one_in(10) ? 40'000'000'000 : 1'000'000;
    for (uint32_t left = 1 + random.below(kBurst); left != 0;) {
      const auto [port, f] = any_frame(random);
      --left;
      ASSERT_TRUE(together.ports[port]->inject(f.data(), static_cast<uint32_t>(f.size())));
      ASSERT_TRUE(alone.ports[port]->inject(f.data(), static_cast<uint32_t>(f.size())));
    }
    together.engine.step(now);
    alone.engine.step(now);
    expect_equal(together, alone);
    if (testing::Test::HasFatalFailure()) FAIL() << "seed " << seed << ", breath " << breath;
  }
  ASSERT_GT(together.engine.flows().created(), 500u);
}

TEST(NewFlows, TogetherAsOneByOne) {
  for (uint32_t seed = 1; seed <= 4; ++seed) run(seed, 0);
}

TEST(NewFlows, TogetherAsOneByOneUpToTheQuota) { run(5, 150); }

// Two first packets of one burst that choose one port of a source NAT: the table knows of neither
// when the second is decided, and still both get one.
TEST(NewFlows, APortIsTakenOnceInABurst) {
  Side side;
  side.engine.hold([&] {
    SourceNatSpec few;
    few.source_nat = 1;
    few.vrf = 1;
    few.to_vrf = 3;
    few.address = Address::from_v4(kNatAddress);
    few.port_low = 30000;
    few.port_high = 30003;
    side.engine.router().exchange_source_nat(1, few);
  });
  // Five of one destination: four ports, and none for the fifth.
  for (uint16_t i = 0; i < 5; ++i) {
    const Bytes f = frame_of(1, kPod, static_cast<uint16_t>(2000 + i), kBehindNat, 80, 17, 0);
    ASSERT_TRUE(side.ports[1]->inject(f.data(), static_cast<uint32_t>(f.size())));
  }
  side.engine.step(1'000'000);
  EXPECT_EQ(side.engine.flows().used(), 8u);
  EXPECT_EQ(side.sent(0).size(), 4u);
  EXPECT_EQ(side.engine.counters().drops[static_cast<uint32_t>(DropReason::PortExhausted)], 1u);
}

// The member is the best of those that may be taken: asked here one by one.
TEST(NewFlows, TheMemberIsTheBestThatMayBeTaken) {
  Side side;
  EcmpSet set;
  for (uint16_t i = 0; i < 4; ++i)
    set.members.push_back({i, uint32_t{20} + i, uint32_t{50} + i, 1});
  uint32_t chosen[4] = {};
  for (uint16_t i = 0; i < 400; ++i) {
    FlowKey key{};
    store_be32(key.source, kPod);
    store_be32(key.destination, kOutside + i % 7);
    key.source_port = i;
    key.protocol = 6;
    key.family = Family::V4;
    const Resolved found =
        resolve_next_hop(side.engine.context(), NextHopId{30}, kNoLabel, 0, key, {});
    const int expected = choose_member(set, choice_hash(key, kHashAll, side.engine.context().seed),
                                       [](int position) { return position != 2; });
    ASSERT_EQ(found.member, expected);
    ++chosen[expected];
  }
  for (const uint32_t i : {0, 1, 3}) EXPECT_GT(chosen[i], 60u);
}

bool naive_match(const PolicyRule& rule, const FlowKey& key) {
  const auto in = [](uint16_t low, uint16_t high, uint16_t port) {
    return low <= port && port <= high;
  };
  if (rule.protocol != 0 && rule.protocol != key.protocol) return false;
  if (!rule.source.contains(Address::from_bytes(key.family, key.source))) return false;
  if (!rule.destination.contains(Address::from_bytes(key.family, key.destination))) return false;
  if (!has_ports(key.protocol)) {
    return rule.source_port_low == 0 && rule.destination_port_low == 0;
  }
  return in(rule.source_port_low, rule.source_port_high, key.source_port) &&
         in(rule.destination_port_low, rule.destination_port_high, key.destination_port);
}

TEST(NewFlows, PolicyAsPrefixesContain) {
  Side side;
  Random random{std::mt19937(7)};
  const auto address = [&](Family family) {
    Address a;
    a.family = family;
    // Few bits are random, so that prefixes of any length do match.
    const uint32_t size = family == Family::V4 ? 4 : 16;
    for (uint32_t i = 0; i < size; ++i) a.bytes[i] = random.one_in(6) ? 1u << random.below(8) : 0;
    return a;
  };
  const auto family = [&] { return random.one_in(3) ? Family::V6 : Family::V4; };
  const auto prefix = [&] {
    Prefix p;
    if (random.one_in(3)) return p;
    p.address = address(family());
    p.length = static_cast<uint8_t>(random.below(p.max_length() + 1u));
    return p;
  };
  const auto low = [&] { return static_cast<uint16_t>(random.one_in(2) ? 0 : random.below(100)); };
  const auto protocol = [&] {
    constexpr uint8_t kSome[] = {0, 1, 6, 17, 47};
    return kSome[random.below(5)];
  };
  uint32_t passed = 0, denied = 0;
  for (uint32_t round = 0; round < 300; ++round) {
    PolicySpec policy;
    policy.policy = 1;
    policy.name = "any";
    for (uint32_t n = random.below(6); n != 0; --n) {
      PolicyRule rule;
      rule.action = static_cast<uint8_t>(random.below(2));
      rule.protocol = protocol();
      rule.source = prefix();
      rule.destination = prefix();
      rule.source_port_low = low();
      rule.source_port_high = static_cast<uint16_t>(rule.source_port_low + random.below(100));
      rule.destination_port_low = low();
      rule.destination_port_high =
          static_cast<uint16_t>(rule.destination_port_low + random.below(100));
      policy.rules.push_back(rule);
    }
    side.engine.hold([&] { side.engine.router().exchange(PolicyId{1}, policy); });
    for (uint32_t n = 0; n < 60; ++n) {
      FlowKey key{};
      key.family = family();
      key.protocol = protocol();
      std::memcpy(key.source, address(key.family).bytes.data(), 16);
      std::memcpy(key.destination, address(key.family).bytes.data(), 16);
      key.source_port = static_cast<uint16_t>(random.below(120));
      key.destination_port = static_cast<uint16_t>(random.below(120));
      bool passes = false;
      for (const PolicyRule& rule : policy.rules) {
        if (!naive_match(rule, key)) continue;
        passes = rule.action != 0;
        break;
      }
      const Vif& vif = *side.engine.router().vif(VifId{1});
      const FlowDrop verdict = judge(side.engine.context(), vif, key, true);
      ASSERT_EQ(verdict, passes ? FlowDrop::Unknown : FlowDrop::Policy);
      ++(passes ? passed : denied);
    }
  }
  EXPECT_GT(passed, 300u);
  EXPECT_GT(denied, 2000u);
}

#if defined(__SANITIZE_ADDRESS__)
// Every malloc, operator new included, of whatever thread.
std::atomic<uint64_t> allocations{0};

TEST(NewFlows, NothingIsAllocated) {
  static const bool hooked = __sanitizer_install_malloc_and_free_hooks(
                                 [](const volatile void*, size_t) { allocations.fetch_add(1); },
                                 [](const volatile void*) {}) != 0;
  ASSERT_TRUE(hooked);
  const uint64_t start = allocations;
  delete new int;
  ASSERT_GT(allocations, start);  // or nothing is counted

  Side side;
  Random random{std::mt19937(9)};
  uint64_t now = 0;
  for (uint32_t breath = 0; breath < 60; ++breath) {
    for (uint32_t i = 0; i < kBurst; ++i) {
      const auto [port, f] = any_frame(random);
      ASSERT_TRUE(side.ports[port]->inject(f.data(), static_cast<uint32_t>(f.size())));
    }
    now += 1'000'000;
    const uint64_t before = allocations;
    side.engine.step(now);
    // The first breath makes what is made once, and is kept.
    const uint64_t made = allocations - before;
    ASSERT_TRUE(breath == 0 || made == 0) << made << ", breath " << breath;
  }
  EXPECT_GT(side.engine.flows().created(), 500u);
}
#endif

}  // namespace
}  // namespace vrouter
