#include "port/memory_port.h"

#include <gtest/gtest.h>

#include <deque>
#include <random>
#include <thread>

namespace vrouter {
namespace {

using Bytes = std::vector<uint8_t>;

Bytes numbered(uint32_t number, uint32_t length) {
  Bytes b(length);
  for (uint32_t i = 0; i < length; ++i) b[i] = static_cast<uint8_t>(number + i);
  return b;
}

TEST(FrameRing, EmptyGivesNothing) {
  FrameRing ring(4096);
  uint32_t length;
  EXPECT_EQ(ring.front(&length), nullptr);
  ring.pop();
  EXPECT_EQ(ring.front(&length), nullptr);
}

TEST(FrameRing, RefusesEmptyAndImpossibleFrames) {
  FrameRing ring(4096);
  const Bytes big(8192);
  EXPECT_FALSE(ring.push(big.data(), 0));
  EXPECT_TRUE(ring.push(big.data(), ring.max_frame()));
  FrameRing other(4096);
  EXPECT_FALSE(other.push(big.data(), other.max_frame() + 1));
  EXPECT_FALSE(other.push(big.data(), ~0u));
}

// Against a plain queue, through many turns of the ring and frames of all lengths.
TEST(FrameRing, IsAQueue) {
  FrameRing ring(4096);
  std::deque<Bytes> twin;
  std::mt19937 random(7);
  uint32_t refused = 0;
  for (uint32_t i = 0; i < 50000; ++i) {
    if (random() % 2 == 0) {
      // Mostly small; now and then the largest there is: it fits an empty ring wherever it stands.
      const uint32_t length = random() % 20 == 0 ? ring.max_frame() : 1 + random() % 400;
      const Bytes b = numbered(i, length);
      if (ring.push(b.data(), length)) {
        twin.push_back(b);
      } else {
        ++refused;
        EXPECT_FALSE(twin.empty()) << "an empty ring takes every frame up to max_frame()";
      }
    } else {
      uint32_t length = 0;
      const uint8_t* frame = ring.front(&length);
      ASSERT_EQ(frame == nullptr, twin.empty());
      if (frame == nullptr) continue;
      ASSERT_EQ(Bytes(frame, frame + length), twin.front());
      ring.pop();
      twin.pop_front();
    }
  }
  EXPECT_GT(refused, 100u);
}

TEST(MemoryPort, InjectIsBoundedAndGoesOnAfterwards) {
  MemoryPort port(1500, 4096);
  const Bytes frame = numbered(1, 100);
  uint32_t fitted = 0;
  while (port.inject(frame.data(), 100)) ++fitted;
  EXPECT_EQ(fitted, 4096u / 112);
  PacketPool pool(64, 2048);
  Packet* out[kBurst];
  const uint32_t got = port.rx_burst(pool, out, kBurst);
  EXPECT_EQ(got, fitted);
  for (uint32_t i = 0; i < got; ++i) pool.free(out[i]);
  EXPECT_TRUE(port.inject(frame.data(), 100));
}

TEST(MemoryPort, AFullWireIsNoErrorOfTheFrame) {
  MemoryPort port(1500, 4096);
  PacketPool pool(1, 2048);
  Packet* packet = pool.allocate();
  packet->append(1000);
  std::memset(packet->data(), 1, 1000);
  uint32_t sent = 0;
  while (port.tx_burst(&packet, 1) == 1) ++sent;
  EXPECT_EQ(sent, 4u);
  EXPECT_EQ(port.tx_errors, 0u);
  Bytes frame;
  EXPECT_TRUE(port.collect(frame));
  EXPECT_EQ(frame.size(), 1000u);
  EXPECT_EQ(port.tx_burst(&packet, 1), 1u);
  pool.free(packet);
}

TEST(MemoryPort, VlanTagsDoNotCountAgainstTheMtu) {
  MemoryPort port(1500);
  PacketPool pool(1, 4096);
  Packet* packet = pool.allocate();
  packet->append(1518);
  std::memset(packet->data(), 0, 1518);
  packet->data()[12] = 0x81;
  EXPECT_EQ(port.tx_burst(&packet, 1), 1u);
  packet->append(4);
  packet->data()[12] = 0x88;
  packet->data()[13] = 0xa8;
  packet->data()[16] = 0x81;
  EXPECT_EQ(port.tx_burst(&packet, 1), 1u);
  packet->append(1);
  EXPECT_EQ(port.tx_burst(&packet, 1), 0u);
  EXPECT_EQ(port.tx_errors, 1u);
  pool.free(packet);
}

// The control thread injects and collects while the worker receives and sends; run under TSan too.
TEST(MemoryPort, ControlAndWorkerAtTheSameTime) {
  constexpr uint32_t kFrames = 50000;
  MemoryPort port(1500, 8192);
  std::thread worker([&] {
    PacketPool pool(kBurst, 2048);
    for (uint32_t done = 0; done < kFrames;) {
      Packet* out[kBurst];
      const uint32_t got = port.rx_burst(pool, out, kBurst);
      if (got == 0) std::this_thread::yield();
      for (uint32_t sent = 0; sent < got;) {
        const uint32_t went = port.tx_burst(out + sent, got - sent);
        if (went == 0) std::this_thread::yield();
        sent += went;
      }
      for (uint32_t i = 0; i < got; ++i) pool.free(out[i]);
      done += got;
    }
  });
  uint32_t injected = 0;
  uint32_t collected = 0;
  Bytes frame;
  while (collected < kFrames) {
    const Bytes next = numbered(injected, 14 + injected % 200);
    bool moved = false;
    if (injected < kFrames && port.inject(next.data(), static_cast<uint32_t>(next.size()))) {
      ++injected;
      moved = true;
    }
    if (port.collect(frame)) {
      if (frame != numbered(collected, 14 + collected % 200)) {
        ADD_FAILURE() << "frame " << collected;
        break;
      }
      ++collected;
      moved = true;
    }
    if (!moved) std::this_thread::yield();
  }
  // A failed comparison must not leave the worker waiting for ever.
  while (collected < kFrames) {
    const Bytes next = numbered(0, 14);
    if (injected < kFrames && port.inject(next.data(), 14)) ++injected;
    if (port.collect(frame)) ++collected;
  }
  worker.join();
}

}  // namespace
}  // namespace vrouter
