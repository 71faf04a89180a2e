// What the express room puts into an IPv6 header, whichever of its addresses change: those of the
// reverse's key. That flows are the rooms' flows is held in worker/express_test.cc.
#include "path/express_flow.h"

#include <gtest/gtest.h>

#include <random>

namespace vrouter {
namespace {

TEST(ExpressFlow, Ipv6AddressesBecomeThoseOfTheOtherHalf) {
  FlowTable table(1024, 7);
  std::mt19937 random(5);
  for (uint32_t round = 0; round < 400; ++round) {
    const bool new_source = (round & 1) != 0;
    const bool new_destination = (round & 2) != 0;
    FlowKey key{};
    for (uint8_t& byte : key.source) byte = static_cast<uint8_t>(random());
    for (uint8_t& byte : key.destination) byte = static_cast<uint8_t>(random());
    key.source_port = static_cast<uint16_t>(random());
    key.destination_port = 80;
    key.protocol = 6;
    key.family = Family::V6;
    key.scope = 9;
    FlowKey back = key;
    std::memcpy(back.source, key.destination, 16);
    std::memcpy(back.destination, key.source, 16);
    // One byte, anywhere, is enough of a change.
    if (new_source) back.destination[random() % 16] ^= 1;
    if (new_destination) back.source[random() % 16] ^= 1;
    back.source_port = 8080;
    back.destination_port = key.source_port;
    back.scope = 10;
    const FlowTable::Pair pair = table.insert(key, back, 0);
    ASSERT_EQ(pair.result, FlowInsert::Ok);
    for (const bool replies : {false, true}) {
      const FlowId id = replies ? pair.reverse : pair.forward;
      const FlowKey& from = replies ? back : key;
      const FlowKey& to = replies ? key : back;
      Flow& flow = table[id];
      flow.action = FlowAction::Nat;
      flow.nat_source_port = to.destination_port;
      flow.nat_destination_port = to.source_port;
      uint8_t packet[60] = {0x60};
      packet[ipv6::kHopLimitAt] = 9;
      std::memcpy(packet + ipv6::kSourceAt, from.source, 16);
      std::memcpy(packet + ipv6::kDestinationAt, from.destination, 16);
      rewrite_ip(Ip6{}, packet, Offload{}, flow, id, table);
      EXPECT_EQ(std::memcmp(packet + ipv6::kSourceAt, to.destination, 16), 0) << round;
      EXPECT_EQ(std::memcmp(packet + ipv6::kDestinationAt, to.source, 16), 0) << round;
      EXPECT_EQ(load_be16(packet + 40), to.destination_port);
      EXPECT_EQ(load_be16(packet + 42), to.source_port);
      EXPECT_EQ(packet[ipv6::kHopLimitAt], 8);
    }
    table.erase(pair.forward);
  }
}

}  // namespace
}  // namespace vrouter
