#include "state/legs.h"

#include <gtest/gtest.h>

#include <map>
#include <random>

#include "state/router.h"

namespace vrouter {
namespace {

constexpr uint32_t kFlows = 100000;

LegSet set_of(uint32_t count, uint32_t up) {
  LegSet set;
  set.count = count;
  set.up = up;
  return set;
}

TEST(Legs, SpreadEvenlyOverThoseThatAreUp) {
  for (const uint32_t count : {2u, 3u}) {
    for (uint32_t up = 1; up < 1u << count; ++up) {
      std::mt19937_64 random(1);
      std::map<uint32_t, uint32_t> seen;
      for (uint32_t i = 0; i < kFlows; ++i) ++seen[set_of(count, up).pick(random())];
      ASSERT_EQ(seen.size(), static_cast<size_t>(std::popcount(up)));
      for (const auto& [leg, flows] : seen) {
        EXPECT_NE(up >> leg & 1, 0u);
        EXPECT_NEAR(flows, double{kFlows} / std::popcount(up), kFlows * 0.01);
      }
    }
  }
}

TEST(Legs, OnlyFlowsOfTheOneThatWentDownMove) {
  std::mt19937_64 random(2);
  for (uint32_t i = 0; i < kFlows; ++i) {
    const uint64_t hash = random();
    const uint32_t before = set_of(3, 7).pick(hash);
    for (uint32_t gone = 0; gone < 3; ++gone) {
      const uint32_t after = set_of(3, 7 & ~(1u << gone)).pick(hash);
      if (before != gone) {
        ASSERT_EQ(after, before);
      }
      ASSERT_NE(after, gone);
    }
  }
}

TEST(Legs, NoneWhereNoneIsUp) {
  EXPECT_EQ(set_of(3, 0).pick(0x123456789abcdef0), LegSet::kNone);
  EXPECT_EQ(set_of(1, 0).pick(~uint64_t{0}), LegSet::kNone);
  EXPECT_EQ(set_of(3, 4).pick(~uint64_t{0}), 2u);
}

class LegTunnels : public testing::Test {
 protected:
  void SetUp() override {
    for (uint32_t id = 0; id < 3; ++id) add_vif(id, 1500);
    RouteSpec route;
    route.vrf = 1;
    ASSERT_TRUE(Prefix::parse("10.0.0.0/8", route.prefix));
    route.next_hop = 5;
    r.exchange(VrfId{1}, route.prefix, route);
  }

  void add_vif(uint32_t id, uint32_t mtu) {
    VifSpec s;
    s.vif = id;
    s.type = static_cast<uint8_t>(VifType::Physical);
    s.port = ~0u;
    s.mtu = mtu;
    r.exchange(VifId{id}, s);
  }

  static NextHopObject tunnel(uint32_t id, uint32_t legs, uint8_t down, uint8_t mac = 1) {
    NextHopObject o;
    o.kind = NextHopKind::Tunnel;
    o.tunnel.next_hop = id;
    o.tunnel.encap = static_cast<uint8_t>(Encap::MplsOverUdp);
    o.tunnel.source = Address::from_v4(0x0a0a0a01);
    o.tunnel.destination = Address::from_v4(0x0a0a0a02);
    o.tunnel.destination_mac = {{2, 0, 0, 0, 0, mac}};
    o.tunnel.legs_down = down;
    for (uint32_t i = 1; i < legs; ++i) {
      o.tunnel.more_legs.push_back({i, {{2, 0, 0, 0, static_cast<uint8_t>(i), mac}}, {}});
    }
    return o;
  }

  const NextHop& hop(uint32_t id = 5) { return *r.next_hop(NextHopId{id}); }

  Router r;
};

TEST_F(LegTunnels, OneThatIsUpHasNoSet) {
  r.exchange(NextHopId{5}, tunnel(5, 1, 0));
  EXPECT_EQ(hop().legs, nullptr);
  EXPECT_EQ(hop().vif.value, 0u);
  r.exchange(NextHopId{5}, tunnel(5, 1, 1));
  ASSERT_NE(hop().legs, nullptr);
  EXPECT_FALSE(hop().vif.valid());
  EXPECT_EQ(hop().legs->up, 0u);
}

TEST_F(LegTunnels, EachHasItsVifAndMac) {
  r.exchange(NextHopId{5}, tunnel(5, 3, 2));
  const LegSet& set = *hop().legs;
  ASSERT_EQ(set.count, 3u);
  EXPECT_EQ(set.up, 5u);
  for (uint32_t i = 0; i < 3; ++i) {
    EXPECT_EQ(set.legs[i].vif.value, i);
    EXPECT_EQ(r.rewrite(set.legs[i].rewrite).bytes[4], i);
    EXPECT_EQ(r.vif_references(VifId{i}), 1u);
  }
}

TEST_F(LegTunnels, TheSmallestMtuIsTheTunnels) {
  r.exchange(NextHopId{4}, tunnel(4, 1, 0));
  r.exchange(NextHopId{5}, tunnel(5, 3, 0));
  r.exchange(NextHopId{6}, tunnel(6, 2, 0));
  EXPECT_EQ(hop().mtu, 1468u);
  add_vif(2, 1400);
  EXPECT_EQ(hop().mtu, 1368u);
  EXPECT_EQ(hop().legs->legs[0].mtu, 1368u);
  EXPECT_EQ(hop(6).mtu, 1468u) << "it does not use that vif";
  add_vif(0, 1300);
  for (const uint32_t id : {4u, 5u, 6u}) EXPECT_EQ(hop(id).mtu, 1268u);
  // Places among a vif's senders move when one goes.
  r.exchange(NextHopId{4}, std::nullopt);
  r.exchange(NextHopId{5}, tunnel(5, 1, 0));
  add_vif(1, 1200);
  add_vif(0, 9000);
  EXPECT_EQ(hop().mtu, 8968u);
  EXPECT_EQ(hop(6).mtu, 1168u);
  r.exchange(NextHopId{5}, std::nullopt);
  r.exchange(NextHopId{6}, std::nullopt);
  for (uint32_t id = 0; id < 3; ++id) {
    EXPECT_TRUE(r.vif(VifId{id})->senders.empty());
    EXPECT_EQ(r.vif_references(VifId{id}), 0u);
  }
  EXPECT_EQ(r.rewrite_count(), 1u) << "only the bare one";
}

TEST_F(LegTunnels, NoFlowDecidesAgainForThem) {
  r.exchange(NextHopId{5}, tunnel(5, 2, 0));
  r.generation = 9;
  const uint32_t before = r.generation_for(1, false);
  r.exchange(NextHopId{5}, tunnel(5, 2, 1));
  r.exchange(NextHopId{5}, tunnel(5, 3, 0, 7));
  EXPECT_EQ(r.generation_for(1, false), before);
  NextHopObject elsewhere = tunnel(5, 3, 0, 7);
  elsewhere.tunnel.destination = Address::from_v4(0x0a0a0a03);
  r.exchange(NextHopId{5}, elsewhere);
  EXPECT_EQ(r.generation_for(1, false), 9u) << "another far end is another matter";
}

}  // namespace
}  // namespace vrouter
