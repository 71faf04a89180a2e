// What an entry costs, and that what was packed to make it so is what was put in.
#include <gtest/gtest.h>

#include <random>

#include "base/limits.h"
#include "state/flow.h"

namespace vrouter {
namespace {

FlowKey key_of(uint32_t number, Family family) {
  FlowKey key{};
  std::memcpy(key.source, &number, 4);
  key.destination[0] = 10;
  key.destination[family == Family::V4 ? 3 : 15] = 1;
  key.source_port = static_cast<uint16_t>(number >> 16);
  key.destination_port = 80;
  key.protocol = 6;
  key.family = family;
  key.scope = 9;
  return key;
}

FlowKey back_of(const FlowKey& key) {
  FlowKey back = key;
  std::memcpy(back.source, key.destination, 16);
  std::memcpy(back.destination, key.source, 16);
  std::swap(back.source_port, back.destination_port);
  back.scope = 10;
  return back;
}

// Four million pairs in the table that is made for them: at most 192 bytes each, 256 in any case.
TEST(FlowEntry, FourMillionPairsFitTheirMemory) {
  constexpr uint32_t kPairs = 4'000'000;
  FlowTable table(2 * kPairs, 1);
  ASSERT_EQ(table.capacity(), 1u << 23);
  const FlowKey four = key_of(1, Family::V4);
  ASSERT_EQ(table.insert(four, back_of(four), 0).result, FlowInsert::Ok);
  EXPECT_LE(table.bytes() / kPairs, 192u);
  const FlowKey six = key_of(1, Family::V6);
  ASSERT_EQ(table.insert(six, back_of(six), 0).result, FlowInsert::Ok);
  EXPECT_LE(table.bytes() / kPairs, 258u) << "with the addresses of IPv6 flows";
}

// Which bytes of the process that are: the IPv6 addresses of IPv4 flows are memory that nobody
// touches.
TEST(FlowEntry, AnIpv4FlowTouchesNoIpv6Address) {
  FlowTable table(1024, 1);
  for (uint32_t i = 0; i < 400; ++i) {
    const FlowKey key = key_of(i, Family::V4);
    const FlowTable::Pair pair = table.insert(key, back_of(key), 0);
    if (pair.result == FlowInsert::Ok && i % 3 == 0) table.erase(pair.forward);
  }
  EXPECT_EQ(table.bytes(), 1024u * 91);
  const FlowKey key = key_of(1, Family::V6);
  const FlowTable::Pair pair = table.insert(key, back_of(key), 0);
  EXPECT_EQ(table.bytes(), 1024u * 123);
  table.erase(pair.forward);
  EXPECT_EQ(table.bytes(), 1024u * 123) << "what has been touched stays";
}

// Beside plain sums, at every way from one carry to the next.
TEST(FlowEntry, CountsEveryPacketAndByte) {
  std::mt19937 random(3);
  for (const uint32_t largest : {1u, 1500u, 65535u}) {
    FlowEntry entry;
    const FlowHalf half = entry.half();
    uint64_t packets = 0;
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < 3000; ++i) {
      const uint16_t length = static_cast<uint16_t>(i < 600 ? largest : random() % (largest + 1));
      count_packet(half, length);
      packets += 1;
      bytes += length;
      ASSERT_EQ(half.packets(), packets);
      ASSERT_EQ(half.bytes(), bytes);
      ASSERT_EQ(half.cold.packets() % 256, 0u) << "only every 256th goes to the cold part";
    }
  }
}

TEST(FlowEntry, TotalsHoldWhatTheySay) {
  FlowEntry entry;
  const FlowHalf half = entry.half();
  half.cold.set(0xabcd, 0x5a);
  half.cold.link(FlowId{kMaxFlows - 1}, 0xff);
  half.cold.count((uint64_t{1} << 47) + 3, (uint64_t{1} << 55) + 5);
  half.cold.tcp_sequence = ~0u;
  for (uint32_t i = 0; i < 512; ++i) count_packet(half, 65535);
  EXPECT_EQ(half.packets(), (uint64_t{1} << 47) + 3 + 512);
  EXPECT_EQ(half.bytes(), (uint64_t{1} << 55) + 5 + 512 * uint64_t{65535});
  // Nor does a total that wraps spill into what stands beside it.
  half.cold.count(uint64_t{1} << 47, uint64_t{1} << 55);
  EXPECT_EQ(half.packets(), 3u + 512);
  EXPECT_EQ(half.bytes(), 5 + 512 * uint64_t{65535});
  EXPECT_EQ(half.cold.member(), 0xabcd);
  EXPECT_EQ(half.cold.detail(), 0x5a);
  EXPECT_EQ(half.reverse(), FlowId{kMaxFlows - 1});
  EXPECT_EQ(half.cold.generation_id(), 0xff);
}

TEST(FlowEntry, APathIsWhatWasPutIn) {
  Flow flow{};
  for (const uint32_t next_hop : {0u, 1u, kMaxNextHops - 1}) {
    for (const uint32_t rpf : {0u, 5u, kMaxNextHops - 1}) {
      for (const uint32_t label : {0u, 16u, kNoLabel, kMaxVni}) {
        for (const bool member : {false, true}) {
          flow.set_path(next_hop, rpf, label, member);
          EXPECT_EQ(flow.next_hop(), next_hop);
          EXPECT_EQ(flow.rpf_next_hop(), rpf);
          EXPECT_EQ(flow.label(), label);
          EXPECT_EQ(flow.has_member(), member);
          flow.set_rpf_next_hop(kMaxNextHops - 1 - rpf);
          EXPECT_EQ(flow.rpf_next_hop(), kMaxNextHops - 1 - rpf);
          EXPECT_EQ(flow.next_hop(), next_hop);
          EXPECT_EQ(flow.label(), label);
          EXPECT_EQ(flow.has_member(), member);
        }
      }
    }
  }
}

// One byte for two: which of them it is the action says.
TEST(FlowEntry, TheDetailIsOfTheAction) {
  FlowEntry entry;
  const FlowHalf half = entry.half();
  half.cold.set(0, kNatSource | kNatSourcePort);
  half.flow.action = FlowAction::Nat;
  EXPECT_EQ(half.nat(), kNatSource | kNatSourcePort);
  EXPECT_EQ(half.drop(), FlowDrop::Unknown);
  half.cold.set(0, static_cast<uint8_t>(FlowDrop::NoDstRt));
  half.flow.action = FlowAction::Drop;
  EXPECT_EQ(half.nat(), 0);
  EXPECT_EQ(half.drop(), FlowDrop::NoDstRt);
}

}  // namespace
}  // namespace vrouter
