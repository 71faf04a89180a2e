// Programs by name: what each refusal is called, at which op and for which field; and that one bad
// op among good ones leaves nothing behind.
#include <gtest/gtest.h>

#include "program/program.h"

namespace vrouter {
namespace {

using Ops = std::vector<Op>;

Prefix prefix(const char* text) {
  Prefix p;
  EXPECT_TRUE(Prefix::parse(text, p));
  return p;
}

VifSpec vif(uint32_t id, uint32_t port = ~0u) {
  VifSpec s;
  s.vif = id;
  s.type = static_cast<uint8_t>(VifType::Virtual);
  s.port = port;
  s.vrf = 1;
  s.mtu = 1500;
  return s;
}
TunnelSpec tunnel(uint32_t id, Encap encap = Encap::MplsOverUdp) {
  TunnelSpec s;
  s.next_hop = id;
  s.vrf = 1;
  s.vif = 1;
  s.encap = static_cast<uint8_t>(encap);
  s.source = Address::from_v4(0x0a000001);
  s.destination = Address::from_v4(0x0a000002);
  return s;
}
EcmpSpec ecmp(uint32_t id, std::initializer_list<uint32_t> next_hops) {
  EcmpSpec s{id, 1, 0, 0, {}};
  uint16_t member = 1;
  for (uint32_t next_hop : next_hops) s.members.push_back({member++, next_hop, kNoLabel, 1});
  return s;
}
RouteSpec route(uint32_t vrf, const char* to, uint32_t next_hop, uint32_t label = kNoLabel) {
  return {vrf, prefix(to), next_hop, label, 0, 0, {}};
}
FloatingIpSpec floating_ip(uint32_t id, uint32_t vif, uint32_t address) {
  return {id, vif, 1, Address::from_v4(address), Address::from_v4(0x0a000009), 0, 0, {}};
}

bool ports_below_4(void*, PortId port) { return port.value < 4; }

class Apply : public testing::Test {
 protected:
  // VRF 1, vif 1 in it, tunnel 5, policy 1.
  Apply() { commit({VrfSpec{1, "one", 0}, vif(1), tunnel(5), PolicySpec{1, "p", {}}}); }

  ApplyResult run(const Ops& ops) { return apply(ops, router, ports_below_4, nullptr); }

  void commit(const Ops& ops) {
    const Status s = run(ops).status;
    ASSERT_TRUE(s.ok()) << status_code(s.code) << " op " << s.op_index << " " << s.field;
  }

  std::vector<uint8_t> tables() {
    std::vector<uint8_t> out;
    for (uint32_t t = 0; t < static_cast<uint32_t>(DumpTable::kCount); ++t) {
      std::string cursor;
      EXPECT_TRUE(dump(router, static_cast<DumpTable>(t), VrfId{}, cursor, ~size_t{0}, out).ok());
      EXPECT_EQ(cursor, "");
    }
    return out;
  }

  void refuse(const Ops& ops, StatusCode code, uint32_t op_index, const char* field) {
    const std::vector<uint8_t> before = tables();
    const uint32_t generation = router.generation;
    const ApplyResult result = run(ops);
    EXPECT_EQ(status_code(result.status.code), std::string(status_code(code)));
    EXPECT_EQ(result.status.op_index, op_index);
    EXPECT_STREQ(result.status.field, field);
    EXPECT_EQ(result.generation, generation);
    EXPECT_EQ(router.generation, generation);
    EXPECT_TRUE(result.flushed_vrfs.empty());
    EXPECT_EQ(tables(), before);
  }

  Router router;
};

TEST_F(Apply, GenerationCountsCommits) {
  const uint32_t before = router.generation;
  EXPECT_EQ(run({}).generation, before + 1);
  EXPECT_EQ(run({VrfSpec{2, "", 0}}).generation, before + 2);
}

TEST_F(Apply, FlushesAreReportedInOrder) {
  const ApplyResult result = run({FlowFlush{1}, VrfSpec{2, "", 0}, FlowFlush{~0u}});
  EXPECT_EQ(result.flushed_vrfs, (std::vector<uint32_t>{1, ~0u}));
}

TEST_F(Apply, ReferencesMayStandBeforeWhatTheyReferTo) {
  commit({route(2, "10.0.0.0/8", 7), ecmp(7, {8, 9}), VrfSpec{2, "", 0}, tunnel(8), tunnel(9)});
  commit({NextHopDelete{8}, NextHopDelete{9}, NextHopDelete{7}, VrfDelete{2},
          RouteDelete{2, prefix("10.0.0.0/8")}});
}

TEST_F(Apply, ValuesAreCheckedBeforeAnythingHappens) {
  refuse({VrfSpec{2, "", 0}, LabelSpec{3, 5}}, StatusCode::BadValue, 1, "label");
  // Even when an op before it would fail in the tables.
  refuse({VrfDelete{9}, LabelSpec{3, 5}}, StatusCode::BadValue, 1, "label");
}

TEST_F(Apply, DanglingReferences) {
  const StatusCode kNextHop = StatusCode::DanglingNextHop, kVif = StatusCode::DanglingVif,
                   kVrf = StatusCode::DanglingVrf;
  const Op ok = VrfSpec{2, "", 0};
  refuse({ok, route(1, "10.0.0.0/8", 77)}, kNextHop, 1, "next_hop");
  refuse({ok, route(9, "10.0.0.0/8", 5)}, kVrf, 1, "vrf");
  refuse({ok, MacSpec{1, kGatewayMac, 77, kNoLabel, 0}}, kNextHop, 1, "next_hop");
  refuse({ok, MacSpec{9, kGatewayMac, 5, kNoLabel, 0}}, kVrf, 1, "vrf");
  refuse({ok, LabelSpec{16, 77}}, kNextHop, 1, "next_hop");
  refuse({ok, VniSpec{16, 77}}, kNextHop, 1, "next_hop");
  refuse({ok, ecmp(7, {5, 77})}, kNextHop, 1, "next_hop");
  refuse({ok, ReplicateSpec{7, 1, 0, 0, {{77, kNoLabel}}}}, kNextHop, 1, "next_hop");
  refuse({ok, InterfaceSpec{7, 1, 9, 0, {}, {}}}, kVif, 1, "vif");
  refuse({ok, InterfaceSpec{7, 9, 1, 0, {}, {}}}, kVrf, 1, "vrf");
  refuse({ok, ReceiveSpec{7, 1, 9, 0}}, kVif, 1, "vif");
  refuse({ok, L2ReceiveSpec{7, 9}}, kVrf, 1, "vrf");
  refuse({ok, VrfTranslateSpec{7, 9, 0}}, kVrf, 1, "vrf");
  refuse({ok, floating_ip(0, 9, 1)}, kVif, 1, "vif");
  refuse({ok, SourceNatSpec{0, 1, 9, {}, Address::from_v4(1), 1, 2}}, kVrf, 1, "to_vrf");
  VifSpec s = vif(2);
  s.next_hop = 77;
  refuse({ok, s}, kNextHop, 1, "next_hop");
  s = vif(2);
  s.vrf = 9;
  refuse({ok, s}, kVrf, 1, "vrf");
  s = vif(2);
  s.ingress_groups = {{1}, {2}};
  refuse({ok, s}, StatusCode::DanglingPolicy, 1, "ingress_groups");
  refuse({ok, vif(2, 4)}, StatusCode::DanglingPort, 1, "port");
}

TEST_F(Apply, WhatALaterOpReplacesIsNotHeldAgainstAnEarlierOne) {
  commit({route(1, "10.0.0.0/8", 77), route(1, "10.0.0.0/8", 5)});
  commit({LabelSpec{20, 77}, LabelDelete{20}});
  commit({ecmp(7, {77}), tunnel(7)});
  commit({vif(3, 4), vif(3, 3)});
  commit({floating_ip(1, 9, 1), floating_ip(1, 1, 1)});
  commit({MacSpec{1, kGatewayMac, 77, kNoLabel, 0}, MacSpec{1, kGatewayMac, 5, kNoLabel, 0}});
  commit({VniSpec{7, 77}, VniSpec{7, 5}});
  commit({SourceNatSpec{0, 1, 9, {}, Address::from_v4(1), 1, 2},
          SourceNatSpec{0, 1, 1, {}, Address::from_v4(1), 1, 2}});
  TunnelSpec elsewhere = tunnel(7);
  elsewhere.vif = 9;
  for (const Op& op : Ops{InterfaceSpec{7, 1, 9, 0, {}, {}}, elsewhere, ReceiveSpec{7, 1, 9, 0},
                          L2ReceiveSpec{7, 9}, VrfTranslateSpec{7, 9, 0}, ecmp(7, {77}),
                          ReplicateSpec{7, 1, 0, 0, {{77, kNoLabel}}}}) {
    commit({op, DiscardSpec{7}});
  }
}

TEST_F(Apply, WhatIsInUseStays) {
  commit({route(1, "10.0.0.0/8", 5)});
  refuse({NextHopDelete{5}}, StatusCode::InUse, 0, "next_hop");
  refuse({FlowFlush{1}, VifDelete{1}}, StatusCode::InUse, 1, "vif");
  refuse({VrfDelete{1}}, StatusCode::InUse, 0, "vrf");
  VifSpec s = vif(1);
  s.network_policies = {{1}};
  commit({s});
  refuse({PolicyDelete{1}}, StatusCode::InUse, 0, "policy");
}

TEST_F(Apply, AVrfWithRoutesOrMacsStays) {
  commit({VrfSpec{2, "", 0}, route(2, "10.0.0.0/8", 0), VrfSpec{3, "", 0},
          MacSpec{3, kGatewayMac, 0, kNoLabel, 0}});
  refuse({VrfDelete{2}}, StatusCode::InUse, 0, "vrf");
  refuse({VrfDelete{3}}, StatusCode::InUse, 0, "vrf");
  commit({VrfDelete{2}, RouteDelete{2, prefix("10.0.0.0/8")}, MacDelete{3, kGatewayMac},
          VrfDelete{3}});
}

TEST_F(Apply, AVifWithFloatingIpsStays) {
  commit({vif(2), floating_ip(1, 2, 1)});
  refuse({VifDelete{2}}, StatusCode::InUse, 0, "vif");
  commit({VifDelete{2}, FloatingIpDelete{1}});
}

TEST_F(Apply, DeletedAndMadeAgainIsNotDeleted) {
  commit({route(1, "10.0.0.0/8", 5)});
  const uint32_t scope = router.next_hop(NextHopId{5})->scope;
  commit({NextHopDelete{5}, tunnel(5, Encap::Vxlan)});
  EXPECT_NE(router.next_hop(NextHopId{5})->scope, scope);
  EXPECT_EQ(router.next_hop_references(NextHopId{5}), 1u);
}

TEST_F(Apply, AFailedDeleteLeavesScopesAlone) {
  commit({route(1, "10.0.0.0/8", 5)});
  const uint32_t scope = router.next_hop(NextHopId{5})->scope;
  refuse({NextHopDelete{5}, tunnel(5), NextHopDelete{5}}, StatusCode::InUse, 0, "next_hop");
  EXPECT_EQ(router.next_hop(NextHopId{5})->scope, scope);
}

TEST_F(Apply, AbsentEntriesCannotBeDeleted) {
  const Op ok = VrfSpec{2, "", 0};
  for (const Op& op :
       Ops{VrfDelete{9}, VifDelete{9}, NextHopDelete{9}, RouteDelete{1, prefix("::/0")},
           MacDelete{1, kGatewayMac}, LabelDelete{99}, VniDelete{99}, FloatingIpDelete{9},
           SourceNatDelete{9}, PolicyDelete{9}}) {
    refuse({ok, op}, StatusCode::NotFound, 1, "");
  }
  refuse({ok, VrfDelete{2}, VrfDelete{2}}, StatusCode::NotFound, 2, "");
}

TEST_F(Apply, ADiscardForNextHopZeroSaysWhatIs) {
  commit({DiscardSpec{0}});
  EXPECT_EQ(router.next_hop(kDiscard)->kind, NextHopKind::Discard);
  refuse({tunnel(0)}, StatusCode::BadValue, 0, "next_hop");
  refuse({NextHopDelete{0}}, StatusCode::BadValue, 0, "next_hop");
}

TEST_F(Apply, OnePortOneVif) {
  commit({vif(2, 0), vif(3, 1)});
  refuse({vif(4, 1)}, StatusCode::Conflict, 0, "port");
  refuse({vif(5, 2), vif(6, 2)}, StatusCode::Conflict, 0, "port");
  commit({vif(2, 1), vif(3, 0)});
  EXPECT_EQ(router.vif_of_port(PortId{0}), VifId{3});
  EXPECT_EQ(router.vif_of_port(PortId{1}), VifId{2});
}

TEST_F(Apply, OneFloatingAddressPerVifAndVrf) {
  commit({vif(2), floating_ip(1, 1, 100)});
  refuse({floating_ip(2, 1, 101), floating_ip(3, 1, 100)}, StatusCode::Conflict, 1, "address");
  commit({floating_ip(2, 2, 100)});  // a service on another vif
  commit({FloatingIpDelete{1}, floating_ip(3, 1, 100)});
}

TEST_F(Apply, FloatingIpsOfAVifAreLimited) {
  Ops ops;
  for (uint32_t i = 0; i < kMaxFloatingIpsPerVif; ++i) ops.push_back(floating_ip(i, 1, 100 + i));
  commit(ops);
  refuse({floating_ip(1000, 1, 1)}, StatusCode::TableFull, 0, "floating_ip");
}

TEST_F(Apply, MacsAreLimited) {
  MacSpec s{1, {}, 0, kNoLabel, 0};
  for (uint32_t i = 0; i < kMaxMacs; ++i) {
    s.mac = Mac{{2, 0, 0, static_cast<uint8_t>(i >> 16), static_cast<uint8_t>(i >> 8),
                 static_cast<uint8_t>(i)}};
    router.exchange(VrfId{1}, s.mac, s);
  }
  const uint32_t generation = router.generation;
  s.flags = kMacDhcpFlood;
  EXPECT_TRUE(run({s}).status.ok());  // replaces
  s.mac = kBroadcastMac;
  const Status status = run({MacSpec(s)}).status;
  EXPECT_EQ(status.code, StatusCode::TableFull);
  EXPECT_STREQ(status.field, "mac");
  EXPECT_EQ(router.mac_count(), kMaxMacs);
  EXPECT_EQ(router.generation, generation + 1);
}

TEST_F(Apply, CompositesMayNestSoDeep) {
  commit({ecmp(10, {5}), ecmp(11, {10}), ecmp(12, {11}), ecmp(13, {12})});
  refuse({ecmp(14, {5, 13})}, StatusCode::LoopingNextHop, 0, "next_hop");
  // From below: the innermost member becomes a composite itself.
  commit({tunnel(20), ecmp(10, {20})});
  refuse({VrfSpec{2, "", 0}, ecmp(20, {5})}, StatusCode::LoopingNextHop, 1, "next_hop");
  commit({ecmp(20, {5}), tunnel(13)});
}

TEST_F(Apply, CompositesMayNotGoInCircles) {
  refuse({ecmp(10, {10})}, StatusCode::LoopingNextHop, 0, "next_hop");
  refuse({ecmp(10, {11}), ecmp(11, {10})}, StatusCode::LoopingNextHop, 0, "next_hop");
  commit({ecmp(10, {5}), ReplicateSpec{11, 1, 0, 0, {{10, kNoLabel}}}});
  refuse({ecmp(10, {5, 11})}, StatusCode::LoopingNextHop, 0, "next_hop");
}

TEST_F(Apply, ManyCompositesWithTheSameMembersAreQuicklyLookedAt) {
  // Four levels of full composites: looked at naively, 256^4 ways down.
  Ops ops;
  std::vector<uint32_t> below = {5};
  for (uint32_t level = 0; level < kMaxNextHopDepth; ++level) {
    std::vector<uint32_t> here;
    for (uint32_t i = 0; i < 100; ++i) {
      EcmpSpec s{1000 + level * 100 + i, 1, 0, 0, {}};
      for (uint32_t m = 0; m < below.size(); ++m) {
        s.members.push_back({static_cast<uint16_t>(m), below[m], kNoLabel, 1});
      }
      here.push_back(s.next_hop);
      ops.push_back(std::move(s));
    }
    below = here;
  }
  commit(ops);
  refuse({ecmp(2000, {below[0], below[99]})}, StatusCode::LoopingNextHop, 0, "next_hop");
}

TEST_F(Apply, MplsTakesTwentyBits) {
  commit({tunnel(6, Encap::Vxlan), route(1, "10.0.0.0/8", 6, kMaxVni)});
  refuse({route(1, "11.0.0.0/8", 5, kMaxLabel + 1)}, StatusCode::BadValue, 0, "label");
  refuse({EcmpSpec{7, 1, 0, 0, {{1, 5, kMaxLabel + 1, 1}}}}, StatusCode::BadValue, 0, "label");
}

TEST_F(Apply, TooManyOpsAreRefused) {
  refuse(Ops(kMaxProgramOps + 1, VrfSpec{2, "", 0}), StatusCode::TooManyOps, kNoOp, "count");
}

TEST_F(Apply, AnyPortWillDoWhenNobodyKnows) {
  EXPECT_TRUE(apply({vif(2, 100)}, router, nullptr, nullptr).status.ok());
}

TEST_F(Apply, TheWorstPlaceToFailIsTheLastOp) {
  commit({VrfSpec{2, "two", 5}, vif(2, 0), route(1, "10.0.0.0/8", 5), route(1, "fd00::/16", 5),
          MacSpec{1, kGatewayMac, 5, 20, 0}, LabelSpec{16, 5}, VniSpec{100, 5},
          floating_ip(1, 2, 9), SourceNatSpec{1, 1, 2, {}, Address::from_v4(9), 1, 2},
          ecmp(9, {5})});
  RouterSpec changed;
  changed.icmp_errors_per_second = 5;
  VifSpec other = vif(2, 3);
  other.mtu = 9000;
  refuse({changed, VrfSpec{2, "renamed", 0}, other, tunnel(5, Encap::Vxlan),
          route(1, "10.0.0.0/8", 9), RouteDelete{1, prefix("fd00::/16")}, MacDelete{1, kGatewayMac},
          LabelDelete{16}, VniSpec{100, 9}, FloatingIpDelete{1}, SourceNatDelete{1}, ecmp(9, {}),
          PolicyDelete{1}, VifDelete{1}, NextHopDelete{5}, LabelDelete{17}},
         StatusCode::NotFound, 15, "");
  EXPECT_EQ(router.vif_of_port(PortId{0}), VifId{2});
  EXPECT_FALSE(router.vif_of_port(PortId{3}).valid());
}

}  // namespace
}  // namespace vrouter
