// Tables one by one, without Programs: what program/property_test.cc covers in the large, here in
// the small and by name.
#include "state/router.h"

#include <gtest/gtest.h>

namespace vrouter {
namespace {

VifSpec vif(uint32_t id, uint32_t port = ~0u, uint32_t mtu = 1500) {
  VifSpec s;
  s.vif = id;
  s.type = static_cast<uint8_t>(VifType::Virtual);
  s.port = port;
  s.mtu = mtu;
  return s;
}

NextHopObject receive(uint32_t id, uint32_t vrf = 0) {
  NextHopObject o;
  o.kind = NextHopKind::Receive;
  o.receive = {id, vrf, ~0u, 0};
  return o;
}

NextHopObject interface(uint32_t id, uint32_t vif, uint8_t last_byte = 1) {
  NextHopObject o;
  o.kind = NextHopKind::Interface;
  o.interface = {id, 0, vif, 0, Mac{{2, 0, 0, 0, 0, last_byte}}, kGatewayMac};
  return o;
}

NextHopObject tunnel(uint32_t id, uint32_t vif, Encap encap = Encap::MplsOverUdp) {
  NextHopObject o;
  o.kind = NextHopKind::Tunnel;
  o.tunnel.next_hop = id;
  o.tunnel.vif = vif;
  o.tunnel.encap = static_cast<uint8_t>(encap);
  o.tunnel.source = Address::from_v4(0x0a0a0a01);
  o.tunnel.destination = Address::from_v4(0x0a0a0a02);
  return o;
}

NextHopObject translate(uint32_t id, uint32_t vrf) {
  NextHopObject o;
  o.kind = NextHopKind::VrfTranslate;
  o.vrf_translate = {id, vrf, 0};
  return o;
}

Prefix prefix(const char* text) {
  Prefix p;
  EXPECT_TRUE(Prefix::parse(text, p));
  return p;
}

RouteSpec route(uint32_t vrf, const char* to, uint32_t next_hop) {
  return {vrf, prefix(to), next_hop, kNoLabel, 0, 0, {}};
}

void add_route(Router& r, const RouteSpec& s) { r.exchange(VrfId{s.vrf}, s.prefix, s); }

TEST(Router, NextHopZeroIsDiscardForGood) {
  Router r;
  ASSERT_NE(r.next_hop(kDiscard), nullptr);
  EXPECT_EQ(r.next_hop(kDiscard)->kind, NextHopKind::Discard);
  r.exchange(kDiscard, receive(0));
  EXPECT_EQ(r.next_hop(kDiscard)->kind, NextHopKind::Discard);
  r.exchange(kDiscard, std::nullopt);
  EXPECT_EQ(r.next_hop(kDiscard)->kind, NextHopKind::Discard);
  EXPECT_EQ(r.next_hop(NextHopId{1}), nullptr);
}

TEST(Router, ExchangeReturnsWhatStoodThere) {
  Router r;
  EXPECT_EQ(r.exchange(NextHopId{5}, receive(5)), std::nullopt);
  EXPECT_EQ(r.exchange(NextHopId{5}, tunnel(5, 1)), receive(5));
  EXPECT_EQ(r.exchange(NextHopId{5}, std::nullopt), tunnel(5, 1));
  EXPECT_EQ(r.exchange(NextHopId{5}, std::nullopt), std::nullopt);

  const RouteSpec first = route(1, "10.0.0.0/8", 5), second = route(1, "10.0.0.0/8", 6);
  EXPECT_EQ(r.exchange(VrfId{1}, first.prefix, first), std::nullopt);
  EXPECT_EQ(r.exchange(VrfId{1}, first.prefix, second), first);
  EXPECT_EQ(r.exchange(VrfId{1}, first.prefix, std::nullopt), second);
  EXPECT_EQ(r.route_count(), 0u);

  const MacSpec mac{1, kBroadcastMac, 5, 77, kMacDhcpFlood};
  EXPECT_EQ(r.exchange(VrfId{1}, mac.mac, mac), std::nullopt);
  EXPECT_EQ(r.exchange(VrfId{1}, mac.mac, std::nullopt), mac);

  EXPECT_EQ(r.exchange_label(16, LabelSpec{16, 5}), std::nullopt);
  EXPECT_EQ(r.exchange_label(16, LabelSpec{16, 6}), (LabelSpec{16, 5}));
  EXPECT_EQ(r.label(16), NextHopId{6});
  EXPECT_EQ(r.exchange_vni(kMaxVni, VniSpec{kMaxVni, 7}), std::nullopt);
  EXPECT_EQ(r.vni(kMaxVni), NextHopId{7});
  EXPECT_EQ(r.vnis(), std::vector<uint32_t>{kMaxVni});
  EXPECT_EQ(r.exchange_vni(kMaxVni, std::nullopt), (VniSpec{kMaxVni, 7}));
  EXPECT_FALSE(r.vni(kMaxVni).valid());
}

TEST(Router, PointersStayWhileOthersComeAndGo) {
  Router r;
  r.exchange(VifId{3}, vif(3));
  r.exchange(VrfId{2}, VrfSpec{2, "two", 0});
  r.exchange(NextHopId{9}, receive(9));
  const Vif* v = r.vif(VifId{3});
  const Vrf* f = r.vrf(VrfId{2});
  const NextHop* n = r.next_hop(NextHopId{9});
  for (uint32_t id = 10; id < 4000; ++id) {
    r.exchange(VifId{id}, vif(id));
    r.exchange(VrfId{id}, VrfSpec{id, "", 0});
    r.exchange(NextHopId{id}, receive(id));
  }
  r.exchange(NextHopId{kMaxNextHops - 1}, receive(kMaxNextHops - 1));
  r.exchange(NextHopId{9}, tunnel(9, 3));
  EXPECT_EQ(r.vif(VifId{3}), v);
  EXPECT_EQ(r.vrf(VrfId{2}), f);
  EXPECT_EQ(r.next_hop(NextHopId{9}), n);
  EXPECT_EQ(n->kind, NextHopKind::Tunnel);
}

TEST(Router, ReferencesMayComeBeforeTheirObject) {
  Router r;
  add_route(r, route(1, "10.0.0.0/8", 5));
  add_route(r, route(1, "11.0.0.0/8", 5));
  EXPECT_EQ(r.next_hop_references(NextHopId{5}), 2u);
  EXPECT_EQ(r.next_hop(NextHopId{5}), nullptr);
  r.exchange(NextHopId{5}, receive(5, 4));
  EXPECT_EQ(r.next_hop(NextHopId{5})->references, 2u);
  EXPECT_EQ(r.vrf_references(VrfId{4}), 1u);
  EXPECT_EQ(r.vrf_references(VrfId{1}), 2u);
  add_route(r, route(1, "11.0.0.0/8", 6));
  EXPECT_EQ(r.next_hop_references(NextHopId{5}), 1u);
  r.exchange(NextHopId{5}, std::nullopt);
  EXPECT_EQ(r.next_hop_references(NextHopId{5}), 1u);
  EXPECT_EQ(r.vrf_references(VrfId{4}), 0u);
}

TEST(Router, ScopeOutlivesReplacementButNotDeletion) {
  Router r;
  r.exchange(NextHopId{5}, receive(5));
  const uint32_t scope = r.next_hop(NextHopId{5})->scope;
  EXPECT_EQ(scope_next_hop(scope), NextHopId{5});
  r.exchange(NextHopId{5}, tunnel(5, 1));
  EXPECT_EQ(r.next_hop(NextHopId{5})->scope, scope);
  r.exchange(NextHopId{5}, std::nullopt);
  r.exchange(NextHopId{5}, tunnel(5, 1));
  EXPECT_NE(r.next_hop(NextHopId{5})->scope, scope);
  EXPECT_EQ(scope_next_hop(r.next_hop(NextHopId{5})->scope), NextHopId{5});
}

TEST(Router, MtuFollowsTheVif) {
  Router r;
  r.exchange(NextHopId{5}, tunnel(5, 1));
  r.exchange(NextHopId{6}, interface(6, 1));
  r.exchange(NextHopId{7}, tunnel(7, 1, Encap::Vxlan));
  EXPECT_EQ(r.next_hop(NextHopId{5})->mtu, 0u);
  r.exchange(VifId{1}, vif(1, ~0u, 1500));
  EXPECT_EQ(r.next_hop(NextHopId{5})->mtu, 1500u - 32);
  EXPECT_EQ(r.next_hop(NextHopId{6})->mtu, 1500u);
  EXPECT_EQ(r.next_hop(NextHopId{7})->mtu, 1500u - 36);
  r.exchange(NextHopId{5}, std::nullopt);
  r.exchange(VifId{1}, vif(1, ~0u, 9000));
  EXPECT_EQ(r.next_hop(NextHopId{6})->mtu, 9000u);
  EXPECT_EQ(r.next_hop(NextHopId{7})->mtu, 9000u - 36);
  r.exchange(VifId{2}, vif(2, ~0u, 1400));
  r.exchange(NextHopId{7}, tunnel(7, 2, Encap::Vxlan));
  EXPECT_EQ(r.next_hop(NextHopId{7})->mtu, 1400u - 36);
  r.exchange(VifId{1}, vif(1, ~0u, 2000));
  EXPECT_EQ(r.next_hop(NextHopId{7})->mtu, 1400u - 36);
  EXPECT_EQ(r.vif(VifId{1})->senders, std::vector<uint32_t>{6});
}

TEST(Router, RewritesAreSharedAndGivenBack) {
  Router r;
  const uint32_t none = r.rewrite_count();
  r.exchange(NextHopId{5}, tunnel(5, 1));
  r.exchange(NextHopId{6}, tunnel(6, 2));
  EXPECT_EQ(r.rewrite_count(), none + 1);
  EXPECT_EQ(r.next_hop(NextHopId{5})->rewrite, r.next_hop(NextHopId{6})->rewrite);
  EXPECT_EQ(r.next_hop(NextHopId{5})->rewrite, r.next_hop(NextHopId{5})->rewrite_l2);
  const uint32_t index = r.next_hop(NextHopId{5})->rewrite;
  r.exchange(NextHopId{5}, std::nullopt);
  EXPECT_EQ(r.rewrite_count(), none + 1);
  r.exchange(NextHopId{6}, std::nullopt);
  EXPECT_EQ(r.rewrite_count(), none);
  r.exchange(NextHopId{7}, interface(7, 1));
  EXPECT_EQ(r.next_hop(NextHopId{7})->rewrite, index);
  EXPECT_EQ(r.next_hop(NextHopId{7})->rewrite_l2, 0u);
  EXPECT_EQ(r.rewrite(0).length, 0);
}

TEST(Router, RoutedAndBridgedVxlanDiffer) {
  Router r;
  NextHopObject o = tunnel(5, 1, Encap::Vxlan);
  o.tunnel.l3_vxlan_mac = Mac{{2, 3, 3, 3, 3, 3}};
  r.exchange(NextHopId{5}, o);
  const NextHop& n = *r.next_hop(NextHopId{5});
  EXPECT_EQ(r.rewrite(n.rewrite).length, r.rewrite(n.rewrite_l2).length + 14);
}

TEST(Router, TunnelsKnowTheirFarEnd) {
  Router r;
  r.exchange(NextHopId{5}, tunnel(5, 1));
  const uint8_t bytes[4] = {10, 10, 10, 2};
  EXPECT_EQ(std::memcmp(&r.next_hop(NextHopId{5})->destination4, bytes, 4), 0);
}

TEST(Router, EcmpIsRendered) {
  Router r;
  NextHopObject o;
  o.kind = NextHopKind::Ecmp;
  o.ecmp = {9, 0, 0, 0, {{1, 5, kNoLabel, 10}, {2, 6, 30, 10}, {3, 7, 31, 0}}};
  r.exchange(NextHopId{9}, o);
  const NextHop* n = r.next_hop(NextHopId{9});
  EXPECT_EQ(n->hash_fields, kHashAll);
  ASSERT_NE(n->ecmp, nullptr);
  EXPECT_TRUE(n->ecmp->equal_weights);  // draining members do not count
  EXPECT_TRUE(r.in_composite(NextHopId{6}));
  o.ecmp.members[1].weight = 20;
  o.ecmp.hash_fields = kHashSource;
  r.exchange(NextHopId{9}, o);
  EXPECT_FALSE(n->ecmp->equal_weights);
  EXPECT_EQ(n->hash_fields, kHashSource);
  r.exchange(NextHopId{9}, receive(9));
  EXPECT_EQ(n->ecmp, nullptr);
  EXPECT_FALSE(r.in_composite(NextHopId{6}));
}

TEST(Router, PortsFindTheirVif) {
  Router r;
  EXPECT_FALSE(r.vif_of_port(PortId{0}).valid());
  EXPECT_FALSE(r.vif_of_port(PortId{}).valid());
  r.exchange(VifId{1}, vif(1, 0));
  r.exchange(VifId{2}, vif(2, 1));
  // They swap; for a moment port 1 has two.
  r.exchange(VifId{1}, vif(1, 1));
  EXPECT_EQ(r.port_bindings(PortId{1}), 2u);
  r.exchange(VifId{2}, vif(2, 0));
  EXPECT_EQ(r.vif_of_port(PortId{1}), VifId{1});
  EXPECT_EQ(r.vif_of_port(PortId{0}), VifId{2});
  // One comes and goes again: the other is found.
  r.exchange(VifId{2}, vif(2, 1));
  EXPECT_EQ(r.vif_of_port(PortId{1}), VifId{2});
  r.exchange(VifId{2}, std::nullopt);
  EXPECT_EQ(r.vif_of_port(PortId{1}), VifId{1});
  EXPECT_EQ(r.port_bindings(PortId{1}), 1u);
}

TEST(Router, QuotasAndStatsSurviveReplacement) {
  Router r;
  r.exchange(VifId{1}, vif(1));
  r.vif(VifId{1})->flows = 7;
  r.exchange(VifId{1}, std::nullopt);
  r.exchange(VifId{1}, vif(1));
  EXPECT_EQ(r.vif(VifId{1})->flows, 7u);
  const MacSpec mac{1, kGatewayMac, 5, kNoLabel, 0};
  r.exchange(VrfId{1}, mac.mac, mac);
  r.mac(VrfId{1}, mac.mac)->packets = 9;
  MacSpec other = mac;
  other.next_hop = 6;
  r.exchange(VrfId{1}, mac.mac, other);
  EXPECT_EQ(r.mac(VrfId{1}, mac.mac)->packets, 9u);
}

TEST(Router, RouteSlotsAreUsedAgain) {
  Router r;
  for (int round = 0; round < 3; ++round) {
    for (uint32_t i = 0; i < 100; ++i) {
      const Prefix p{Address::from_v4(0x0a000000 + i), 32};
      r.exchange(VrfId{1}, p, RouteSpec{1, p, i, kNoLabel, 0, 0, {}});
    }
    EXPECT_EQ(r.route_count(), 100u);
    const Address to = Address::from_v4(0x0a000007);
    EXPECT_EQ(r.route(VrfId{1}, Family::V4, to.bytes.data())->next_hop, NextHopId{7});
    EXPECT_EQ(r.route(VrfId{2}, Family::V4, to.bytes.data()), nullptr);
    EXPECT_NE(r.route_by_id(99), nullptr);
    for (uint32_t i = 0; i < 100; ++i) {
      r.exchange(VrfId{1}, Prefix{Address::from_v4(0x0a000000 + i), 32}, std::nullopt);
    }
    EXPECT_EQ(r.route(VrfId{1}, Family::V4, to.bytes.data()), nullptr);
  }
}

TEST(Router, LimitsCoverWhatIsInUse) {
  Router r;
  r.exchange(VrfId{7}, VrfSpec{7, "", 0});
  r.exchange(VrfId{100}, VrfSpec{100, "", 0});
  EXPECT_EQ(r.vrf_limit(), 101u);
  r.exchange(VrfId{100}, std::nullopt);
  EXPECT_EQ(r.vrf_limit(), 8u);
  r.exchange(VifId{300}, vif(300));
  EXPECT_GT(r.vif_limit(), 300u);
}

class Touch : public testing::Test {
 protected:
  Touch() {
    r.exchange(NextHopId{1}, receive(1));
    r.exchange(NextHopId{2}, receive(2));
    add_route(r, route(1, "10.0.0.0/8", 1));
    add_route(r, route(2, "10.0.0.0/8", 2));
    r.generation = 10;
  }
  // Which of VRF 1, VRF 2 and "crossing" flows must decide again.
  std::string touched() {
    std::string out;
    if (r.generation_for(1, false) == r.generation) out += '1';
    if (r.generation_for(2, false) == r.generation) out += '2';
    if (r.generation_for(2, true) == r.generation) out += 'x';
    return out;
  }
  Router r;
};

TEST_F(Touch, NothingIsTouchedByItself) { EXPECT_EQ(touched(), ""); }

TEST_F(Touch, ARouteTouchesItsVrf) {
  add_route(r, route(1, "10.1.0.0/16", 1));
  EXPECT_EQ(touched(), "1x");
}

TEST_F(Touch, TheSameAgainTouchesNothing) {
  add_route(r, route(1, "10.0.0.0/8", 1));
  r.exchange(NextHopId{1}, receive(1));
  r.exchange(RouterSpec{});
  EXPECT_EQ(touched(), "");
}

TEST_F(Touch, AMacTouchesItsVrf) {
  r.exchange(VrfId{2}, kGatewayMac, MacSpec{2, kGatewayMac, 1, kNoLabel, 0});
  EXPECT_EQ(touched(), "2x");
}

TEST_F(Touch, ARouteInATranslationTargetTouchesAll) {
  r.exchange(NextHopId{3}, translate(3, 1));
  add_route(r, route(1, "10.1.0.0/16", 1));
  EXPECT_EQ(touched(), "12x");
  ++r.generation;
  r.exchange(NextHopId{3}, std::nullopt);
  EXPECT_EQ(touched(), "");
  add_route(r, route(1, "10.2.0.0/16", 1));
  EXPECT_EQ(touched(), "1x");
}

TEST_F(Touch, ANextHopInUseTouchesAll) {
  r.exchange(NextHopId{1}, tunnel(1, 1));
  EXPECT_EQ(touched(), "12x");
  ++r.generation;
  r.exchange(NextHopId{9}, tunnel(9, 1));  // new, nothing leads there
  EXPECT_EQ(touched(), "");
  r.exchange(NextHopId{9}, std::nullopt);
  EXPECT_EQ(touched(), "");
}

TEST_F(Touch, LabelsTouchAllWhenTheyChange) {
  r.exchange_label(16, LabelSpec{16, 1});
  EXPECT_EQ(touched(), "");
  r.exchange_label(16, LabelSpec{16, 2});
  EXPECT_EQ(touched(), "12x");
}

TEST_F(Touch, VifsTouchAllWhenTheyChange) {
  r.exchange(VifId{1}, vif(1));
  EXPECT_EQ(touched(), "");
  r.exchange(VifId{1}, vif(1, ~0u, 1400));
  EXPECT_EQ(touched(), "12x");
  ++r.generation;
  r.exchange(VifId{1}, std::nullopt);
  EXPECT_EQ(touched(), "12x");
}

TEST_F(Touch, NatTouchesAll) {
  r.exchange_floating_ip(
      0, FloatingIpSpec{0, 1, 1, Address::from_v4(1), Address::from_v4(2), 0, 0, {}});
  EXPECT_EQ(touched(), "12x");
  ++r.generation;
  r.exchange_source_nat(0, SourceNatSpec{0, 1, 2, {}, Address::from_v4(1), 1, 2});
  EXPECT_EQ(touched(), "12x");
}

TEST_F(Touch, APolicyTouchesAllIfAnyVifNamesIt) {
  r.exchange(PolicyId{1}, PolicySpec{1, "one", {}});
  EXPECT_EQ(touched(), "");
  VifSpec s = vif(1);
  s.network_policies = {{1}};
  r.exchange(VifId{1}, s);
  r.exchange(PolicyId{1}, PolicySpec{1, "one", {{0, 6, {}, 0, 65535, {}, 0, 65535}}});
  EXPECT_EQ(touched(), "12x");
}

TEST_F(Touch, UndoingPutsGenerationsAndScopesBack) {
  add_route(r, route(1, "10.5.0.0/16", 1));
  const uint32_t scope = r.next_hop(NextHopId{2})->scope;
  const uint32_t one = r.generation_for(1, false), two = r.generation_for(2, false),
                 any = r.generation_for(2, true);
  r.begin_program();
  EXPECT_EQ(r.generation, 11u);
  r.exchange(VrfId{2}, prefix("10.0.0.0/8"), std::nullopt);
  r.exchange(NextHopId{2}, std::nullopt);
  r.exchange(NextHopId{3}, receive(3));
  EXPECT_EQ(touched(), "2x");
  r.begin_undo();
  r.exchange(NextHopId{3}, std::nullopt);
  r.exchange(NextHopId{2}, receive(2));
  add_route(r, route(2, "10.0.0.0/8", 2));
  r.end_program();
  EXPECT_EQ(r.generation, 10u);
  EXPECT_EQ(r.next_hop(NextHopId{2})->scope, scope);
  EXPECT_EQ(r.generation_for(1, false), one);
  EXPECT_EQ(r.generation_for(2, false), two);
  EXPECT_EQ(r.generation_for(2, true), any);
  EXPECT_EQ(r.generation_for(kMaxVrfs, false), 0u);
}

TEST_F(Touch, UndoingPutsMacStatsBack) {
  const MacSpec a{1, kGatewayMac, 1, kNoLabel, 0}, b{1, kBroadcastMac, 1, kNoLabel, 0};
  for (const MacSpec& s : {a, b}) r.exchange(VrfId{1}, s.mac, s);
  r.mac(VrfId{1}, a.mac)->packets = 5;
  r.mac(VrfId{1}, b.mac)->packets = 6;
  r.begin_program();
  r.exchange(VrfId{1}, a.mac, std::nullopt);
  r.exchange(VrfId{1}, b.mac, std::nullopt);
  r.begin_undo();
  r.exchange(VrfId{1}, b.mac, b);
  r.exchange(VrfId{1}, a.mac, a);
  r.end_program();
  EXPECT_EQ(r.mac(VrfId{1}, a.mac)->packets, 5u);
  EXPECT_EQ(r.mac(VrfId{1}, b.mac)->packets, 6u);
}

}  // namespace
}  // namespace vrouter
