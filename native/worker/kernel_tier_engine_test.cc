// A whole engine with a kernel tier beside one without: flows get busy, are carried, and all that is counted is the
// same.
#include <gtest/gtest.h>

#include "tier/kernel_tier.h"
#include "worker/tier_twin.h"

namespace vrouter::tier_twin {
namespace {

// Two engines; the first has a kernel tier of its own, and opens lanes when its flows get busy.
class TierEngine : public testing::Test {
 protected:
  void SetUp() override {
    if (const std::string why = devices_.make(); !why.empty()) GTEST_SKIP() << why;
    first_ = std::make_unique<Side>(true);
    if (first_->engine.tier() == nullptr) GTEST_SKIP() << first_->engine.no_tier();
    for (const auto& [port, device] : {std::pair{0, devices_.fabric()}, {1, devices_.tenant()}}) {
      const std::string why = first_->engine.join_tier(first_->ids[port], device);
      if (why.find("no TCX") != std::string::npos) GTEST_SKIP() << why;
      ASSERT_EQ(why, "");
    }
    ASSERT_EQ(programs_.load(tier(), first_->ids[1]), "");
    for (Side* side : both()) {
      for (const auto& [ends, far] : flows_) side->open(ends, far);
    }
  }
  void TearDown() override {
    first_.reset();
    devices_.leave();
  }
  const KernelTier& tier() { return *first_->engine.tier(); }
  std::vector<Side*> both() { return {first_.get(), &second_}; }
  // Until each flow has been offered; both engines have the same frames.
  void get_busy() {
    for (uint32_t i = 0; i < 260; ++i) {
      for (Side* side : both()) {
        for (const auto& [ends, far] : flows_) {
          side->send(1, tenant_frame(ip_packet(ends)));
          side->send(0, fabric_frame(ip_packet(reversed(ends)), far));
        }
      }
    }
    ASSERT_EQ(tier().open_lanes(), 2 * flows_.size());
  }
  // The first by its programs, the second as ever.
  void carry(uint32_t payload, uint32_t ack) {
    for (const auto& [ends, far] : flows_) {
      const Bytes out = tenant_frame(ip_packet(ends, payload, 0x10, ack));
      const Bytes in = fabric_frame(ip_packet(reversed(ends), payload + 7, 0x10, ack + 1), far);
      ASSERT_TRUE(programs_.by_veth(out));
      ASSERT_TRUE(programs_.from_fabric(in));
      EXPECT_EQ(second_.send(1, out).size(), 1u);
      EXPECT_EQ(second_.send(0, in).size(), 1u);
    }
  }
  void compare() {
    const Counters& a = first_->engine.counters();
    const Counters& b = second_.engine.counters();
    EXPECT_TRUE(std::equal(std::begin(a.drops), std::end(a.drops), b.drops));
    EXPECT_EQ(a.received, b.received);
    EXPECT_EQ(a.forwarded, b.forwarded);
    EXPECT_EQ(a.dropped, b.dropped);
    const auto same = [](const auto& x, const auto& y, const char* what) {
      ASSERT_EQ(x.size(), y.size());
      for (size_t i = 0; i < x.size(); ++i) {
        EXPECT_EQ(std::memcmp(&x[i], &y[i], sizeof x[i]), 0) << what << ' ' << i;
      }
    };
    same(a.vifs, b.vifs, "vif");
    same(a.vrfs, b.vrfs, "vrf");
    EXPECT_NE(b.vrfs[1].udp_mpls_tunnels, 0u);
    EXPECT_NE(b.vrfs[1].encaps, 0u);
    EXPECT_NE(b.vrfs[1].ecmp_composites, 0u);
    for (const auto& [ends, far] : flows_) {
      for (const Ends& way : {ends, reversed(ends)}) {
        const FlowHalf x = first_->engine.flows().half(first_->flow(way));
        const FlowHalf y = second_.engine.flows().half(second_.flow(way));
        EXPECT_EQ(x.packets(), y.packets());
        EXPECT_EQ(x.bytes(), y.bytes());
        EXPECT_EQ(x.flow.tcp, y.flow.tcp);
        EXPECT_EQ(x.flow.tcp_ack, y.flow.tcp_ack);
        EXPECT_EQ(x.flow.last_seen, y.flow.last_seen);
      }
    }
  }

  const std::vector<std::pair<Ends, uint32_t>> flows_ = {{to_client(Plain, kTcp), kFarNode},
                                                         {to_client(Plain, kUdp), kFarNode},
                                                         {to_client(Other, kTcp), kFarNode + 1},
                                                         {to_client(OfSet, kUdp), kFarNode}};
  Devices devices_;
  std::unique_ptr<Side> first_;
  Side second_;
  Programs programs_;
};

TEST_F(TierEngine, CountsAsTheExpressRoomDoes) {
  get_busy();
  for (uint32_t round = 0; round < 5; ++round) {
    for (Side* side : both()) side->now_ns += kCollectNs / 3;
    carry(round * 100, 6000 + round);
    if (round == 3) {
      for (Side* side : both()) side->engine.step(side->now_ns);
    }
  }
  first_->engine.step(first_->now_ns);
  first_->engine.hold([] {});  // collects
  compare();
  EXPECT_EQ(tier().packets(), 5u * 2 * flows_.size());
}

// A flow that is erased, or a capture that wants to see all packets, or a port that goes: no lane stays.
TEST_F(TierEngine, NothingIsCarriedPastWhatEndsIt) {
  get_busy();
  carry(10, 7000);
  first_->engine.hold([&] { first_->engine.flush_flows(2); });
  EXPECT_EQ(tier().open_lanes(), 2 * flows_.size());
  first_->engine.hold([&] { first_->engine.flush_flows(1); });
  EXPECT_EQ(tier().open_lanes(), 0u);
  EXPECT_FALSE(programs_.by_veth(tenant_frame(ip_packet(flows_[0].first))));
}

TEST_F(TierEngine, CapturesSeeAllPackets) {
  get_busy();
  ASSERT_TRUE(first_->engine.start_capture(1, CaptureSpec{}).ok());
  EXPECT_EQ(tier().open_lanes(), 0u);
  EXPECT_FALSE(programs_.by_veth(tenant_frame(ip_packet(flows_[0].first))));
  EXPECT_TRUE(first_->engine.stop_capture(1));
  first_->now_ns += kCollectNs;
  first_->engine.step(first_->now_ns);
  for (uint32_t i = 0; i < 300; ++i) {
    first_->send(1, tenant_frame(ip_packet(flows_[0].first)));
  }
  EXPECT_EQ(tier().open_lanes(), 1u);
  EXPECT_TRUE(programs_.by_veth(tenant_frame(ip_packet(flows_[0].first))));
}

TEST_F(TierEngine, APortThatGoesTakesItsLanesAlong) {
  get_busy();
  first_->commit([&](Router& r) {
    VifSpec vif = first_->vif(1);
    vif.port = ~0u;
    r.exchange(VifId{1}, vif);
  });
  EXPECT_EQ(tier().open_lanes(), 0u);
  EXPECT_EQ(tier().joined().size(), 2u);
  ASSERT_TRUE(first_->engine.remove_port(first_->ids[1]).ok());
  EXPECT_EQ(tier().joined().size(), 1u);
}

}  // namespace
}  // namespace vrouter::tier_twin
