#include "port/generator_port.h"

#include <gtest/gtest.h>

namespace vrouter {
namespace {

using Bytes = std::vector<uint8_t>;

std::vector<Bytes> take(GeneratorPort& port, PacketPool& pool, uint32_t max) {
  std::vector<Packet*> out(max);
  const uint32_t got = port.rx_burst(pool, out.data(), max);
  std::vector<Bytes> frames;
  for (uint32_t i = 0; i < got; ++i) {
    frames.emplace_back(out[i]->data(), out[i]->data() + out[i]->length);
    pool.free(out[i]);
  }
  return frames;
}

TEST(GeneratorPort, CyclesThroughItsFramesInOrder) {
  const std::vector<Bytes> frames = {Bytes(60, 1), Bytes(61, 2), Bytes(62, 3)};
  GeneratorPort port(frames);
  PacketPool pool(16, 2048);
  EXPECT_EQ(take(port, pool, 2), (std::vector<Bytes>{frames[0], frames[1]}));
  EXPECT_EQ(take(port, pool, 3), (std::vector<Bytes>{frames[2], frames[0], frames[1]}));
  EXPECT_EQ(port.sent(), 5u);
}

TEST(GeneratorPort, StopsAtItsLimitUntilAllowedMore) {
  GeneratorPort port({Bytes(60, 1)}, 5);
  PacketPool pool(16, 2048);
  EXPECT_EQ(take(port, pool, 4).size(), 4u);
  EXPECT_EQ(take(port, pool, 4).size(), 1u);
  EXPECT_EQ(take(port, pool, 4).size(), 0u);
  port.allow(2);
  EXPECT_EQ(take(port, pool, 4).size(), 2u);
}

TEST(GeneratorPort, CountsWhatFindsNoBuffer) {
  GeneratorPort port({Bytes(60, 1), Bytes(300, 2)});
  PacketPool small(8, 100);
  EXPECT_EQ(take(port, small, 4).size(), 2u);
  EXPECT_EQ(port.rx_discards, 2u);
}

TEST(GeneratorPort, WithoutFramesOffersNothing) {
  GeneratorPort port({Bytes{}});
  PacketPool pool(4, 100);
  EXPECT_TRUE(take(port, pool, 4).empty());
}

TEST(SinkPort, CountsAllAndKeepsTheLast) {
  SinkPort sink(3);
  PacketPool pool(8, 4096);
  std::vector<Packet*> packets;
  for (uint32_t i = 0; i < 5; ++i) {
    Packet* packet = pool.allocate();
    packet->append(60 + i);
    std::memset(packet->data(), static_cast<int>(i), packet->length);
    packets.push_back(packet);
  }
  EXPECT_EQ(sink.tx_burst(packets.data(), 5), 5u);
  EXPECT_EQ(sink.packets(), 5u);
  EXPECT_EQ(sink.bytes(), 60u + 61 + 62 + 63 + 64);
  EXPECT_EQ(sink.last(), (std::vector<Bytes>{Bytes(62, 2), Bytes(63, 3), Bytes(64, 4)}));
  sink.keep(10);
  EXPECT_TRUE(sink.last().empty());
  sink.tx_burst(packets.data(), 1);
  EXPECT_EQ(sink.last(), (std::vector<Bytes>{Bytes(60, 0)}));
  for (Packet* packet : packets) pool.free(packet);
}

}  // namespace
}  // namespace vrouter
