// For tests: three connections that the kernel tier carries in one of two equal routers, and the question what becomes
// of a frame: what the tier's programs carry must be what the express room of the other router sends.
#pragma once
#include <gtest/gtest.h>

#include <optional>
#include <vector>

#include "worker/tier_twin.h"

namespace vrouter::tier_twin {

constexpr uint32_t kInner = 46;  // where the packet inside is, in a frame of the fabric
constexpr uint32_t kOuter = 14;

class TwinPrograms : public testing::Test {
 protected:
  void SetUp() override {
    if (const std::string why = twin_.make(); !why.empty()) GTEST_SKIP() << why;
    const std::pair<uint32_t, uint8_t> wanted[] = {{Plain, kTcp}, {Plain, kUdp}, {Other, kTcp}};
    for (const auto& [client, protocol] : wanted) {
      const Ends ends = to_client(client, protocol);
      twin_.open(ends, kFarNode + client);
      twin_.offer(ends);
      known_.push_back({ends, client});
    }
    ASSERT_EQ(twin_.tier->open_lanes(), 2 * known_.size());
    for (const auto& [ends, client] : known_) {
      keep_.push_back(twin_.second.flow(ends));
      keep_.push_back(twin_.second.flow(reversed(ends)));
    }
    for (const FlowId id : keep_) {
      ASSERT_TRUE(id.valid());
      saved_.emplace_back().copy(twin_.second.engine.flows().half(id));
    }
  }

  // Whether the programs carry it: all ways of the first port, or that of the fabric. What leaves is as
  // the express room sends it; which is asked only then, for it may end flows.
  bool carried(uint32_t port, const Bytes& frame) {
    std::optional<Bytes> out =
        port == 0 ? twin_.programs.from_fabric(frame) : twin_.programs.by_veth(frame);
    if (port != 0) {
      const std::optional<Bytes> other = twin_.programs.by_tap(frame);
      EXPECT_EQ(other.has_value(), out.has_value());
      if (other && out) {
        EXPECT_EQ(normalised(*other, true), normalised(*out, true));
      }
    }
    if (!out) return false;
    const uint32_t met = twin_.meetings.count;
    const Sent sent = twin_.second.send(port, frame);
    EXPECT_EQ(twin_.meetings.count, met) << "the express room left it to the others";
    EXPECT_EQ(sent.size(), 1u);
    if (sent.size() != 1) return true;
    EXPECT_EQ(sent[0].first, port == 0 ? 1u : 0u);
    EXPECT_EQ(normalised(*out, port != 0), normalised(sent[0].second, port != 0));
    return true;
  }
  // What the express room does with a frame that is not carried, so that a row says what it means to.
  bool express(uint32_t port, const Bytes& frame) {
    const uint32_t met = twin_.meetings.count;
    const uint64_t flows = twin_.second.engine.flows().created();
    const Sent sent = twin_.second.send(port, frame);
    return sent.size() == 1 && sent[0].first == 1 - port && twin_.meetings.count == met &&
           twin_.second.engine.flows().created() == flows;
  }
  void reopen() {
    for (uint32_t i = 0; i < 2 * known_.size(); ++i) twin_.programs.at(i).state = kLaneOpen;
    for (size_t i = 0; i < keep_.size(); ++i) {
      twin_.second.engine.flows()[keep_[i]] = saved_[i].flow;
    }
  }
  uint32_t state(uint32_t index) { return twin_.programs.at(index).state; }

  static Bytes out_frame(const Ends& ends, uint32_t payload = 10) {
    return tenant_frame(ip_packet(ends, payload));
  }
  static Bytes in_frame(const Ends& ends, uint32_t client, uint32_t payload = 10) {
    return fabric_frame(ip_packet(reversed(ends), payload), kFarNode + client);
  }

  struct Known {
    Ends ends;
    uint32_t client;
  };
  Twin twin_;
  std::vector<Known> known_;
  std::vector<FlowId> keep_;
  std::vector<FlowEntry> saved_;
};

}  // namespace vrouter::tier_twin
