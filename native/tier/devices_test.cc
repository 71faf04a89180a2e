// Devices in two namespaces of the test's own: "here", and a tenant's "there".
#include "tier/devices.h"

#include <gtest/gtest.h>

#include <memory>

#include "worker/tier_twin.h"

namespace vrouter {
namespace {

using tier_twin::Elsewhere;

class TierDevices : public testing::Test {
 protected:
  void SetUp() override {
    if (const std::string why = here_.enter(); !why.empty()) GTEST_SKIP() << why;
    there_ = std::make_unique<Elsewhere>();
    if (!there_->ok()) GTEST_SKIP() << "no second network namespace";
    if (!here_.run("ip link add name try0 type veth peer name try1 && ip link del try0")) {
      GTEST_SKIP() << "no veth interfaces here";
    }
  }
  void TearDown() override { here_.leave(); }

  ScratchNamespace here_;
  std::unique_ptr<Elsewhere> there_;
};

TEST_F(TierDevices, ACompanionIsAPairFromHereToThere) {
  // Not silent by default.
  const std::string loud =
      "for i in all default; do echo 0 > /proc/sys/net/ipv6/conf/$i/disable_ipv6; done";
  here_.run(loud);
  there_->run(loud);
  ASSERT_EQ(make_companion("vrt7", there_->path()), "");
  EXPECT_NE(device_index("vrt7"), 0u);
  EXPECT_NE(there_->index("vrt7"), 0u);
  const std::string up = "ip link show dev vrt7 | grep '[<,]UP[,>]' | grep -q 'mtu 65535'";
  EXPECT_TRUE(here_.run(up));
  EXPECT_TRUE(there_->run(up));
  const std::string addresses = "test -z \"$(ip -o address show dev vrt7)\"";
  EXPECT_TRUE(here_.run(addresses));
  EXPECT_TRUE(there_->run(addresses));
  remove_companion("vrt7");
  EXPECT_EQ(device_index("vrt7"), 0u);
  EXPECT_EQ(there_->index("vrt7"), 0u);
  remove_companion("vrt7");
}

TEST_F(TierDevices, OneThatWasLeftBehindIsReplaced) {
  ASSERT_EQ(make_companion("vrt7", there_->path()), "");
  const uint32_t before[] = {device_index("vrt7"), there_->index("vrt7")};
  const Elsewhere other;
  ASSERT_EQ(make_companion("vrt7", other.path()), "");
  EXPECT_NE(device_index("vrt7"), before[0]);
  EXPECT_EQ(there_->index("vrt7"), 0u);
  EXPECT_NE(other.index("vrt7"), 0u);
  ASSERT_EQ(make_companion("vrt7", there_->path()), "");
  EXPECT_EQ(other.index("vrt7"), 0u);
  EXPECT_NE(there_->index("vrt7"), 0u);
}

TEST_F(TierDevices, NothingIsLeftOfOneThatCannotBe) {
  ASSERT_TRUE(there_->run("ip link add name vrt7 type veth peer name vrt8"));
  const std::string taken = make_companion("vrt7", there_->path());
  EXPECT_EQ(taken, "veth vrt7: File exists");
  EXPECT_EQ(device_index("vrt7"), 0u);
  const std::string nowhere = make_companion("vrt9", "nowhere-at-all");
  EXPECT_EQ(nowhere, "nowhere-at-all: No such file or directory");
  EXPECT_EQ(device_index("vrt9"), 0u);
}

TEST_F(TierDevices, ANamespaceThatIsNoneSaysWhy) {
  bool ran = false;
  EXPECT_EQ(in_namespace("nowhere-at-all", [&] { ran = true; }),
            "nowhere-at-all: No such file or directory");
  EXPECT_EQ(in_namespace("/dev/null", [&] { ran = true; }), "/dev/null: Invalid argument");
  EXPECT_FALSE(ran);
  EXPECT_EQ(in_namespace(there_->path(), [&] { ran = true; }), "");
  EXPECT_TRUE(ran);
}

// The caller's namespace stays what it was.
TEST_F(TierDevices, OnlyTheErrandEntersANamespace) {
  ASSERT_TRUE(there_->run("ip link add name vrt8 type veth peer name vrt9"));
  EXPECT_NE(there_->index("vrt8"), 0u);
  EXPECT_EQ(device_index("vrt8"), 0u);
}

TEST_F(TierDevices, OffloadsOfADeviceThatThereIsNotAreNotSet) {
  ASSERT_EQ(make_companion("vrt7", there_->path()), "");
  for (const bool on : {false, true}) {
    EXPECT_TRUE(set_device_segments("vrt7", on));
    EXPECT_TRUE(set_device_merges("vrt7", on));
    EXPECT_FALSE(set_device_segments("vrt9", on));
    EXPECT_FALSE(set_device_merges("vrt9", on));
  }
}

// A tenant's TAP joins by a companion, which leaves with it; what cannot join has left nothing.
TEST_F(TierDevices, ATapJoinsByItsCompanion) {
  using namespace tier_twin;
  std::string why;
  const std::unique_ptr<KernelTier> tier = KernelTier::open(&why);
  if (tier == nullptr) GTEST_SKIP() << why;
  ASSERT_TRUE(there_->run("ip link add name tap7 type veth peer name tap8"));
  ASSERT_TRUE(here_.run("ip link add name fab0 type veth peer name fab1"));
  const auto tap = [&](const char* device, const std::string& netns) {
    return TierDevice{TierWay::TenantTap, device, netns, -1, true};
  };
  Side side;
  Context& context = side.engine.context();
  why = tier->join(side.ids[1], tap("tap7", there_->path()));
  if (why.find("no TCX") != std::string::npos) GTEST_SKIP() << why;
  ASSERT_EQ(why, "");
  ASSERT_EQ(tier->join(side.ids[0], {TierWay::Fabric, "fab0", "", -1, true}), "");
  const std::string pair = "vrt" + std::to_string(side.ids[1].value);
  EXPECT_EQ(tier->joined()[0].companion, pair);
  EXPECT_EQ(tier->joined()[0].index, device_index(pair));
  EXPECT_NE(there_->index(pair), 0u);

  Programs programs;
  ASSERT_EQ(programs.load(*tier, side.ids[1]), "");
  const Ends ends = to_client(Plain, kTcp);
  side.open(ends, kFarNode);
  tier->offer(context, side.outwards(ends));
  tier->offer(context, side.inwards(ends));
  ASSERT_EQ(tier->open_lanes(), 2u);
  EXPECT_EQ(programs.at(0).device, device_index("fab0"));
  EXPECT_EQ(programs.at(1).device, device_index(pair));
  EXPECT_EQ(programs.at(1).merge, tier->joined()[0].spec.merges);

  EXPECT_EQ(tier->join(side.ids[2], tap("tap9", there_->path())), "no device tap9 there");
  EXPECT_EQ(tier->join(side.ids[2], tap("tap7", "nowhere")), "nowhere: No such file or directory");
  EXPECT_EQ(tier->join(side.ids[2], {TierWay::Fabric, "fab9", "", -1, true}), "no device fab9");
  EXPECT_NE(tier->join(side.ids[2], {TierWay::Tenant, "fab1", "", -1, true}), "") << "no socket";
  EXPECT_EQ(tier->joined().size(), 2u);
  ASSERT_EQ(tier->refused().size(), 4u);
  EXPECT_EQ(tier->refused()[1].why, "nowhere: No such file or directory");
  EXPECT_EQ(device_index("vrt" + std::to_string(side.ids[2].value)), 0u);
  tier->leave(context, side.ids[2]);
  EXPECT_EQ(tier->refused().size(), 0u);
  EXPECT_EQ(tier->open_lanes(), 2u);

  tier->leave(context, side.ids[1]);
  EXPECT_EQ(tier->open_lanes(), 0u);
  EXPECT_EQ(tier->joined().size(), 1u);
  EXPECT_EQ(device_index(pair), 0u);
  EXPECT_EQ(there_->index(pair), 0u);
  tier->offer(context, side.outwards(ends));
  EXPECT_EQ(tier->open_lanes(), 0u);
}

}  // namespace
}  // namespace vrouter
