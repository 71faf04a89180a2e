// The kernel tier's programs where they belong: attached, and met by packets of real devices. A pod in a namespace of
// its own sends and receives by a veth pair, the fabric is another pair.
#include <gtest/gtest.h>

#include <memory>

#include "worker/tier_twin.h"

namespace vrouter::tier_twin {
namespace {

// A raw socket on a device of the namespace it is made in.
class Raw {
 public:
  explicit Raw(const std::string& device) {
    fd_ = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    sockaddr_ll address{};
    address.sll_family = AF_PACKET;
    address.sll_protocol = htons(0x0003);
    address.sll_ifindex = static_cast<int>(if_nametoindex(device.c_str()));
    const int on = 1;
    setsockopt(fd_, SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof on);
    EXPECT_EQ(bind(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  }
  ~Raw() { ::close(fd_); }
  Raw(const Raw&) = delete;
  Raw& operator=(const Raw&) = delete;
  int fd() const { return fd_; }
  void send(const Bytes& frame) {
    EXPECT_EQ(::send(fd_, frame.data(), frame.size(), 0), static_cast<ssize_t>(frame.size()));
  }
  // The next frame of the test's flows; empty: none within `ms`.
  Bytes receive(int ms) {
    pollfd waiting{fd_, POLLIN, 0};
    while (poll(&waiting, 1, ms) > 0) {
      Bytes frame(4096);
      const ssize_t got = recv(fd_, frame.data(), frame.size(), 0);
      frame.resize(got > 0 ? static_cast<size_t>(got) : 0);
      if (frame.size() > 14 && load_be16(&frame[12]) == 0x0800) return frame;
    }
    return {};
  }

 private:
  int fd_ = -1;
};

constexpr int kArrives = 2000;  // milliseconds
constexpr int kDoesNot = 50;

class TierWire : public testing::Test {
 protected:
  void SetUp() override {
    if (const std::string why = here_.enter(); !why.empty()) GTEST_SKIP() << why;
    if (!there_.ok()) GTEST_SKIP() << "no second network namespace";
    if (const std::string why = here_.make_veth("fab0", "fab1"); !why.empty()) GTEST_SKIP() << why;
    const std::string up =
        "for i in $(seq 300); do ip link show dev ten1 | grep -q 'state UP' && exit 0; sleep 0.01; "
        "done; exit 1";
    ASSERT_TRUE(
        here_.run("ip link add name ten0 type veth peer name ten1 && ip link set ten1 netns " +
                  there_.path() + " && ip link set ten0 up"));
    ASSERT_TRUE(there_.run("ip link set ten1 up; " + up));
    std::string why;
    tier_ = KernelTier::open(&why);
    if (tier_ == nullptr) GTEST_SKIP() << why;
    port_ = std::make_unique<Raw>("ten0");
    fabric_ = std::make_unique<Raw>("fab1");
    ASSERT_EQ(in_namespace(there_.path(), [&] { pod_ = std::make_unique<Raw>("ten1"); }), "");
    side_ = std::make_unique<Side>();
    why = tier_->join(side_->ids[0], {TierWay::Fabric, "fab0", "", -1, true});
    if (why.find("no TCX") != std::string::npos) GTEST_SKIP() << why;
    ASSERT_EQ(why, "");
    ASSERT_EQ(tier_->join(side_->ids[1], {TierWay::Tenant, "ten0", "", port_->fd(), true}), "");
    for (const uint8_t protocol : {kTcp, kUdp}) {
      const Ends ends = to_client(Plain, protocol);
      side_->open(ends, kFarNode);
      tier_->offer(side_->engine.context(), side_->outwards(ends));
      tier_->offer(side_->engine.context(), side_->inwards(ends));
    }
    ASSERT_EQ(tier_->open_lanes(), 4u);
  }
  void TearDown() override {
    tier_.reset();
    here_.leave();
  }

  ScratchNamespace here_;
  Elsewhere there_;
  std::unique_ptr<Side> side_;
  std::unique_ptr<KernelTier> tier_;
  std::unique_ptr<Raw> port_;  // what the router's port would see
  std::unique_ptr<Raw> fabric_;
  std::unique_ptr<Raw> pod_;
};

TEST_F(TierWire, CarriedPacketsPassTheSocketBy) {
  for (const uint8_t protocol : {kTcp, kUdp}) {
    const Ends ends = to_client(Plain, protocol);
    const Bytes out = tenant_frame(ip_packet(ends, 100));
    pod_->send(out);
    const Bytes sent = fabric_->receive(kArrives);
    const Sent express = side_->send(1, out);
    ASSERT_EQ(express.size(), 1u);
    EXPECT_EQ(normalised(sent, true), normalised(express[0].second, true));
    EXPECT_TRUE(port_->receive(kDoesNot).empty());

    const Bytes in = fabric_frame(ip_packet(reversed(ends), 100), kFarNode);
    fabric_->send(in);
    const Bytes delivered = pod_->receive(kArrives);
    const Sent answer = side_->send(0, in);
    ASSERT_EQ(answer.size(), 1u);
    EXPECT_EQ(delivered, answer[0].second);
  }
}

TEST_F(TierWire, OthersGoWhereTheyWentBefore) {
  const Bytes unknown = tenant_frame(ip_packet(to_client(Plain, kUdp, 3000)));
  pod_->send(unknown);
  EXPECT_EQ(port_->receive(kArrives), unknown);
  const Bytes end = tenant_frame(ip_packet(to_client(Plain, kTcp), 0, 0x11));
  pod_->send(end);
  EXPECT_EQ(port_->receive(kArrives), end);
  const Bytes behind = tenant_frame(ip_packet(to_client(Plain, kTcp), 30));
  pod_->send(behind);
  EXPECT_EQ(port_->receive(kArrives), behind) << "its lane is closing";
  EXPECT_TRUE(fabric_->receive(kDoesNot).empty());
}

// With the tier, or with its port, all that was attached goes.
TEST_F(TierWire, WhatHasLeftIsNotCarried) {
  const Bytes out = tenant_frame(ip_packet(to_client(Plain, kUdp)));
  tier_->leave(side_->engine.context(), side_->ids[1]);
  pod_->send(out);
  EXPECT_EQ(port_->receive(kArrives), out);
  ASSERT_EQ(tier_->join(side_->ids[1], {TierWay::Tenant, "ten0", "", port_->fd(), true}), "");
  const Ends ends = to_client(Plain, kUdp);
  tier_->offer(side_->engine.context(), side_->outwards(ends));
  pod_->send(out);
  EXPECT_FALSE(fabric_->receive(kArrives).empty());
  EXPECT_TRUE(port_->receive(kDoesNot).empty());
  tier_.reset();
  pod_->send(out);
  EXPECT_EQ(port_->receive(kArrives), out);
  EXPECT_TRUE(fabric_->receive(kDoesNot).empty());
}

}  // namespace
}  // namespace vrouter::tier_twin
