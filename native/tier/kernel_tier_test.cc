// What the kernel tier promises of its lanes: which flows get one, what closes it, when its slot is another's, and
// that what was carried is counted as if the rooms had carried it.
#include "tier/kernel_tier.h"

#include <gtest/gtest.h>

#include "path/rooms.h"
#include "worker/tier_twin.h"

namespace vrouter::tier_twin {
namespace {

constexpr uint32_t kOut = 0;  // lanes of the flow that is offered first
constexpr uint32_t kIn = 1;

class TierLanes : public testing::Test {
 protected:
  void SetUp() override {
    if (const std::string why = twin_.make(); !why.empty()) GTEST_SKIP() << why;
    twin_.open(ends_, kFarNode);
  }

  // Its two lanes, as they are after SetUp().
  void offer() {
    twin_.offer(ends_);
    ASSERT_EQ(tier().open_lanes(), 2u);
    ASSERT_TRUE(open(kOut) && open(kIn));
  }
  KernelTier& tier() { return *twin_.tier; }
  bool open(uint32_t index) { return state(index) == kLaneOpen; }
  uint32_t state(uint32_t index) { return twin_.programs.at(index).state; }
  // Which lanes below n are open.
  std::vector<uint32_t> which(uint32_t n) {
    std::vector<uint32_t> all;
    for (uint32_t i = 0; i < n; ++i) {
      if (open(i)) all.push_back(i);
    }
    return all;
  }
  void carry(uint32_t times = 1, uint32_t ack = 5000) {
    for (uint32_t i = 0; i < times; ++i) {
      ASSERT_TRUE(twin_.programs.by_veth(tenant_frame(ip_packet(ends_, 10, 0x10, ack))));
      ASSERT_TRUE(twin_.programs.from_fabric(
          fabric_frame(ip_packet(reversed(ends_), 20, 0x10, ack + 1), kFarNode)));
    }
  }
  void collect_at(uint64_t now_ns) {
    twin_.context().now_ns = now_ns;
    tier().collect(twin_.context());
  }
  void commit(const std::function<void(Router&)>& f) {
    twin_.first.commit(f);
    tier().revise(twin_.context());
  }

  const Ends ends_ = to_client(Plain, kTcp);
  Twin twin_;
};

// ---------------------------------------------------------------------------------- what closes

struct Change {
  const char* name;
  std::function<void(Router&)> make;
  bool out;  // that lane stays open
  bool in;
};

TEST_F(TierLanes, AChangeClosesWhatItConcerns) {
  const Side& side = twin_.first;
  const auto tunnel = [&](const std::function<void(TunnelSpec&)>& f) {
    return [f](Router& r) {
      NextHopObject changed = Side::tunnel(Plain);
      f(changed.tunnel);
      r.exchange(NextHopId{kTunnel}, changed);
    };
  };
  const auto vif = [&](uint32_t id, const std::function<void(VifSpec&)>& f) {
    return [f, id, &side](Router& r) {
      VifSpec changed = side.vif(id);
      f(changed);
      r.exchange(VifId{id}, changed);
    };
  };
  const std::vector<Change> changes = {
      {"nothing", [](Router&) {}, true, true},
      {"a route of another VRF", [](Router& r) { Side::route(r, 2, kClient, kTunnel + 1, 99); },
       true, true},
      {"another label, made",
       [](Router& r) {
         r.exchange_label(77, LabelSpec{77, 12});
       },
       true, true},
      {"another far end's MAC",
       [](Router& r) {
         NextHopObject other = Side::tunnel(Gre);
         other.tunnel.destination_mac = kFarPodMac;
         r.exchange(NextHopId{kTunnel + Gre}, other);
       },
       true, true},
      {"the route's label",
       [](Router& r) { Side::route(r, 1, kClient + Plain, kTunnel + Plain, 99); }, false, false},
      {"the route's next hop",
       [](Router& r) { Side::route(r, 1, kClient + Plain, kTunnel + Other, kClientLabel); }, false,
       false},
      {"the far end's MAC", tunnel([](TunnelSpec& t) { t.destination_mac = kFarPodMac; }), false,
       true},
      {"our MAC in front", tunnel([](TunnelSpec& t) { t.source_mac = kFarPodMac; }), false, true},
      {"the far end", tunnel([](TunnelSpec& t) { t.destination = Address::from_v4(kFarNode + 9); }),
       false, false},
      {"the tunnel's source", tunnel([](TunnelSpec& t) { t.source = Address::from_v4(kNode + 7); }),
       false, false},
      {"the encapsulation",
       tunnel([](TunnelSpec& t) { t.encap = static_cast<uint8_t>(Encap::MplsOverGre); }), false,
       false},
      {"a second leg", tunnel([](TunnelSpec& t) {
         t.more_legs = {{3, kFarMac, kNodeMac}};
       }),
       false, true},
      {"the tunnel's vif", tunnel([](TunnelSpec& t) { t.vif = 3; }), false, true},
      {"the pod's MAC",
       [](Router& r) {
         NextHopObject to = *r.next_hop_object(NextHopId{11});
         to.interface.destination_mac = kFarPodMac;
         r.exchange(NextHopId{11}, to);
       },
       false, false},
      {"the pod's label leads elsewhere",
       [](Router& r) {
         r.exchange_label(kLabel, LabelSpec{kLabel, 12});
       },
       false, false},
      {"the pod's label goes", [](Router& r) { r.exchange_label(kLabel, std::nullopt); }, false,
       false},
      {"our address goes, or is somebody else's",
       [](Router& r) { Side::route(r, 0, kNode, kTunnel + Gre, kNoLabel); }, true, false},
      {"the pod's vif goes", [](Router& r) { r.exchange(VifId{1}, std::nullopt); }, false, false},
      {"the fabric's vif goes", [](Router& r) { r.exchange(VifId{0}, std::nullopt); }, false,
       false},
      {"the fabric's MTU", vif(0, [](VifSpec& v) { v.mtu = 1400; }), false, false},
      {"the vif's MAC", vif(1, [](VifSpec& v) { v.mac = kFarPodMac; }), false, false},
      {"a policy that denies",
       [&side](Router& r) {
         PolicySpec deny;
         deny.policy = 1;
         r.exchange(PolicyId{1}, deny);
         VifSpec changed = side.vif(1);
         changed.network_policies = {{1}};
         r.exchange(VifId{1}, changed);
       },
       false, false},
  };
  for (const Change& change : changes) {
    Twin twin;
    ASSERT_EQ(twin.make(), "");
    twin.open(ends_, kFarNode);
    twin.offer(ends_);
    ASSERT_EQ(twin.tier->open_lanes(), 2u);
    twin.tier->revise(twin.context());
    ASSERT_EQ(twin.tier->open_lanes(), 2u) << change.name;
    for (Side* one : {&twin.first, &twin.second}) one->commit(change.make);
    twin.tier->revise(twin.context());
    EXPECT_EQ(twin.programs.at(kOut).state == kLaneOpen, change.out) << change.name;
    EXPECT_EQ(twin.programs.at(kIn).state == kLaneOpen, change.in) << change.name;
    EXPECT_EQ(twin.tier->open_lanes(), uint32_t{change.out} + uint32_t{change.in}) << change.name;
    const Bytes frames[] = {fabric_frame(ip_packet(reversed(ends_)), kFarNode),
                            tenant_frame(ip_packet(ends_))};
    for (const uint32_t port : {0u, 1u}) {
      const std::optional<Bytes> sent =
          port == 0 ? twin.programs.from_fabric(frames[port]) : twin.programs.by_veth(frames[port]);
      EXPECT_EQ(sent.has_value(), port == 0 ? change.in : change.out) << change.name;
      if (!sent) continue;
      const Sent express = twin.second.send(port, frames[port]);
      ASSERT_EQ(express.size(), 1u) << change.name;
      EXPECT_EQ(normalised(*sent, port == 1), normalised(express[0].second, port == 1));
    }
  }
}

TEST_F(TierLanes, MeetingAPacketInTheRoomsClosesBothHalves) {
  offer();
  const FlowHalf out = twin_.context().flows.half(twin_.first.flow(ends_));
  const FlowHalf in = twin_.context().flows.half(twin_.first.flow(reversed(ends_)));
  const uint64_t before[] = {out.packets(), out.bytes(), in.packets(), in.bytes()};
  carry(7, 9000);
  twin_.context().now_ns += 5'000'000'000;
  tier().met(twin_.context(), twin_.first.flow(reversed(ends_)));
  EXPECT_EQ(tier().open_lanes(), 0u);
  EXPECT_EQ(state(kOut), uint32_t{kLaneClosing});
  EXPECT_EQ(state(kIn), uint32_t{kLaneClosing});
  EXPECT_EQ(out.packets() - before[0], 7u);
  EXPECT_EQ(out.bytes() - before[1], 7u * 50);
  EXPECT_EQ(in.packets() - before[2], 7u);
  EXPECT_EQ(in.bytes() - before[3], 7u * 60);
  for (const FlowHalf& half : {out, in}) EXPECT_EQ(half.flow.last_seen, now_ms(twin_.context()));
  EXPECT_EQ(out.flow.tcp_ack, 9000u);
  EXPECT_EQ(in.flow.tcp_ack, 9001u);
  EXPECT_EQ(tier().packets(), 14u);
  EXPECT_EQ(tier().bytes(), 7u * 110);
  EXPECT_FALSE(twin_.programs.by_veth(tenant_frame(ip_packet(ends_))));
  tier().met(twin_.context(), twin_.first.flow(ends_));
  EXPECT_EQ(tier().open_lanes(), 0u);
}

// The rooms say so themselves; and what only the express room has seen closes nothing.
TEST_F(TierLanes, AFinishInTheRoomsCloses) {
  offer();
  EXPECT_EQ(twin_.first.send(1, tenant_frame(ip_packet(ends_))).size(), 1u);
  EXPECT_EQ(tier().open_lanes(), 2u);
  twin_.first.send(1, tenant_frame(ip_packet(ends_, 0, 0x11)));
  EXPECT_EQ(tier().open_lanes(), 0u);
  twin_.offer(ends_);
  EXPECT_EQ(tier().open_lanes(), 1u)
      << "of a half that has ended there is nothing to carry but answers";
}

TEST_F(TierLanes, WhatAProgramHasEndedIsClosedByTheNextCollection) {
  offer();
  EXPECT_FALSE(twin_.programs.by_veth(tenant_frame(ip_packet(ends_, 0, 0x14))));
  EXPECT_EQ(tier().open_lanes(), 2u);
  collect_at(kStart + kCollectNs);
  EXPECT_EQ(tier().open_lanes(), 0u);
}

// --------------------------------------------------------------------------------------- slots

TEST_F(TierLanes, ASlotRestsBeforeItIsAnothers) {
  offer();
  tier().met(twin_.context(), twin_.first.flow(ends_));
  twin_.offer(ends_);
  EXPECT_EQ(which(6), (std::vector<uint32_t>{2, 3}));
  const uint64_t closing = kStart + kClosingNs;
  collect_at(closing);
  EXPECT_EQ(state(kOut), uint32_t{kLaneClosing});
  collect_at(closing + 1);
  EXPECT_EQ(state(kOut), uint32_t{kLaneClosed});
  EXPECT_EQ(state(kIn), uint32_t{kLaneClosed});
  const uint64_t resting = closing + 1 + kRestNs;
  collect_at(resting);
  tier().met(twin_.context(), twin_.first.flow(ends_));
  twin_.offer(ends_);
  EXPECT_EQ(which(6), (std::vector<uint32_t>{4, 5}));
  collect_at(resting + 1);
  tier().met(twin_.context(), twin_.first.flow(ends_));
  twin_.offer(ends_);
  EXPECT_EQ(which(6), (std::vector<uint32_t>{kOut, kIn}));
  EXPECT_EQ(twin_.programs.at(kOut).packets, 0u);
  EXPECT_EQ(twin_.programs.at(kOut).reverse, kIn);
  EXPECT_EQ(twin_.programs.at(kIn).reverse, kOut);
  carry();
}

// What was between two programs when its lane closed still goes, and is counted where it came in and left; also when
// the flow has another lane meanwhile. Later there is nobody whose it was.
TEST_F(TierLanes, WhatIsOnItsWayStillGoes) {
  offer();
  const Bytes frame = tenant_frame(ip_packet(ends_));
  const auto& vifs = twin_.context().counters.vifs;
  const uint64_t rx = vifs[1].rx_packets;
  const uint64_t tx = vifs[0].tx_packets;
  tier().met(twin_.context(), twin_.first.flow(ends_));
  EXPECT_FALSE(twin_.programs.by_tap(frame));
  EXPECT_EQ(twin_.programs.companion(frame).result, kRedirected);
  EXPECT_EQ(twin_.programs.at(kOut).packets, 1u);
  twin_.offer(ends_);
  EXPECT_TRUE(twin_.programs.by_tap(frame));
  EXPECT_EQ(twin_.programs.at(2).packets, 1u);
  collect_at(kStart + kClosingNs + 1);
  EXPECT_EQ(vifs[1].rx_packets, rx + 2);
  EXPECT_EQ(vifs[0].tx_packets, tx + 2);
  EXPECT_EQ(state(kOut), uint32_t{kLaneClosed});
  EXPECT_TRUE(twin_.programs.by_tap(frame)) << "its key is the new lane's";
  tier().met(twin_.context(), twin_.first.flow(ends_));
  collect_at(kStart + 2 * kClosingNs + 2);
  EXPECT_FALSE(twin_.programs.by_tap(frame));
  EXPECT_EQ(twin_.programs.companion(frame).result, kDropped);
}

TEST_F(TierLanes, IdleLanesMakeRoom) {
  offer();
  collect_at(kStart + kIdleNs);
  EXPECT_EQ(tier().open_lanes(), 2u);
  ASSERT_TRUE(twin_.programs.by_veth(tenant_frame(ip_packet(ends_))));
  collect_at(kStart + kIdleNs + 1);
  EXPECT_TRUE(open(kOut));
  EXPECT_FALSE(open(kIn));
  collect_at(kStart + 2 * kIdleNs + 2);
  EXPECT_FALSE(open(kOut));
  EXPECT_EQ(tier().open_lanes(), 0u);
}

// Workers' clocks are not one: what another did a moment later has no age, and not all of it.
TEST_F(TierLanes, AnotherWorkersClockMayBeAhead) {
  twin_.context().now_ns = kStart + 1000;
  offer();
  collect_at(kStart + 900);
  EXPECT_EQ(tier().open_lanes(), 2u);
  twin_.context().now_ns = kStart + 2000;
  tier().met(twin_.context(), twin_.first.flow(ends_));
  collect_at(kStart + 1900);
  EXPECT_EQ(state(kOut), uint32_t{kLaneClosing});
}

TEST_F(TierLanes, PauseClosesAllAndTakesNone) {
  offer();
  carry();
  tier().pause(true, twin_.context());
  EXPECT_EQ(tier().open_lanes(), 0u);
  EXPECT_EQ(tier().packets(), 2u);
  twin_.offer(ends_);
  EXPECT_EQ(tier().open_lanes(), 0u);
  tier().pause(true, twin_.context());
  tier().pause(false, twin_.context());
  twin_.offer(ends_);
  EXPECT_EQ(tier().open_lanes(), 2u);
}

TEST_F(TierLanes, APortThatLeavesTakesBothHalvesAlong) {
  for (const uint32_t port : {0u, 1u}) {
    Twin twin;
    ASSERT_EQ(twin.make(), "");
    twin.open(ends_, kFarNode);
    twin.offer(ends_);
    ASSERT_EQ(twin.tier->open_lanes(), 2u);
    twin.tier->leave(twin.context(), twin.first.ids[2]);
    EXPECT_EQ(twin.tier->open_lanes(), 2u) << "has not joined";
    twin.tier->leave(twin.context(), twin.first.ids[port]);
    EXPECT_EQ(twin.tier->open_lanes(), 0u) << port;
    EXPECT_EQ(twin.tier->joined().size(), 1u);
  }
}

TEST_F(TierLanes, OfferedAgainItHasItsLane) {
  offer();
  twin_.offer(ends_);
  EXPECT_EQ(tier().open_lanes(), 2u);
  EXPECT_EQ(which(6), (std::vector<uint32_t>{kOut, kIn}));
}

TEST(TierLimits, LanesAreBounded) {
  Twin twin(32768);
  if (const std::string why = twin.make(); !why.empty()) GTEST_SKIP() << why;
  const auto ends = [](uint32_t i) {
    return to_client(Plain, kUdp, static_cast<uint16_t>(2000 + i));
  };
  for (uint32_t i = 0; i <= kMaxLanes; ++i) {
    twin.first.send(1, tenant_frame(ip_packet(ends(i))));
    twin.tier->offer(twin.context(), twin.first.outwards(ends(i)));
  }
  EXPECT_EQ(twin.tier->open_lanes(), kMaxLanes);
  EXPECT_TRUE(twin.programs.by_veth(tenant_frame(ip_packet(ends(kMaxLanes - 1)))));
  EXPECT_FALSE(twin.programs.by_veth(tenant_frame(ip_packet(ends(kMaxLanes)))));
  twin.tier->met(twin.context(), twin.first.flow(ends(17)));
  const auto last = twin.first.outwards(ends(kMaxLanes));
  for (const uint64_t after : {kClosingNs + 1, kRestNs + 1}) {
    twin.tier->offer(twin.context(), last);
    EXPECT_EQ(twin.tier->open_lanes(), kMaxLanes - 1);
    twin.context().now_ns += after;
    twin.tier->collect(twin.context());
  }
  twin.tier->offer(twin.context(), last);
  EXPECT_EQ(twin.tier->open_lanes(), kMaxLanes);
  EXPECT_TRUE(twin.programs.by_veth(tenant_frame(ip_packet(ends(kMaxLanes)))));
}

}  // namespace
}  // namespace vrouter::tier_twin
