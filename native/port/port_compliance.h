// What every Port must do, whatever is behind it: one suite, run by memory, pcap, TAP and AF_PACKET
// (port_compliance_test.cc). A kind joins by a PortHarness that stands at the other end of its
// wire.
#pragma once
#include <gtest/gtest.h>
#include <poll.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "packet/packet.h"
#include "port/port.h"

namespace vrouter {

using TestFrame = std::vector<uint8_t>;

// The other end of a port's wire.
class PortHarness {
 public:
  virtual ~PortHarness() = default;
  // Makes the port (MTU 1500) with these frames on their way to it. "" or why it cannot be had
  // here.
  virtual std::string open(const std::vector<TestFrame>& offered) = 0;
  virtual Port& port() = 0;
  // All frames the port has sent, once `expected` have come or none comes any more.
  virtual std::vector<TestFrame> sent(size_t expected) = 0;
  virtual const char* kind() const = 0;
};

using PortHarnessFactory = std::function<std::unique_ptr<PortHarness>()>;

struct PortKind {
  const char* name;
  PortHarnessFactory make;
};

class PortCompliance : public ::testing::TestWithParam<PortKind> {
 protected:
  static constexpr uint16_t kTestType = 0x88b5;  // IEEE 802 local experimental

  // Frame `number`: broadcast, so that no interface filters it; the rest follows from the number.
  static TestFrame frame(uint32_t number, uint32_t length = 100) {
    TestFrame f(length);
    for (uint32_t i = 0; i < length; ++i) f[i] = static_cast<uint8_t>(number * 31 + i * 7);
    for (uint32_t i = 0; i < 6; ++i) f[i] = 0xff;
    const uint8_t source[6] = {2, 0, 0, 0, 0, 1};
    for (uint32_t i = 0; i < 6; ++i) f[6 + i] = source[i];
    f[12] = kTestType >> 8;
    f[13] = kTestType & 0xff;
    f[14] = static_cast<uint8_t>(number >> 8);
    f[15] = static_cast<uint8_t>(number);
    return f;
  }

  static std::vector<TestFrame> frames(uint32_t count, uint32_t length = 100) {
    std::vector<TestFrame> all;
    for (uint32_t i = 0; i < count; ++i) all.push_back(frame(i, length));
    return all;
  }

  void open(const std::vector<TestFrame>& offered) {
    harness_ = GetParam().make();
    const std::string why_not = harness_->open(offered);
    if (!why_not.empty()) GTEST_SKIP() << GetParam().name << ": " << why_not;
  }

  Port& port() { return harness_->port(); }

  // Looks until `expected` frames have been handed over or discarded, or none comes for a while.
  std::vector<Packet*> receive(PacketPool& pool, size_t expected, uint32_t burst = kBurst) {
    std::vector<Packet*> got;
    const uint64_t discards = port().rx_discards;
    for (int idle = 0; idle < 200;) {
      std::vector<Packet*> out(burst);
      const uint32_t count = port().rx_burst(pool, out.data(), burst);
      EXPECT_LE(count, burst);
      for (uint32_t i = 0; i < count; ++i) {
        if (ours(*out[i])) {
          got.push_back(out[i]);
        } else {
          pool.free(out[i]);  // the kernel's own noise on a real interface
        }
      }
      if (got.size() + (port().rx_discards - discards) >= expected) break;
      if (count != 0) continue;
      ++idle;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return got;
  }

  static bool ours(const Packet& packet) {
    return packet.length >= 16 && packet.data()[12] == kTestType >> 8 &&
           packet.data()[13] == (kTestType & 0xff);
  }

  static TestFrame bytes(const Packet& packet) {
    return TestFrame(packet.data(), packet.data() + packet.length);
  }

  static Packet* packet_of(PacketPool& pool, const TestFrame& f) {
    Packet* packet = pool.allocate();
    std::memcpy(packet->data(), f.data(), f.size());
    packet->append(static_cast<uint32_t>(f.size()));
    return packet;
  }

  static std::vector<Packet*> packets_of(PacketPool& pool, const std::vector<TestFrame>& all) {
    std::vector<Packet*> out;
    for (const TestFrame& f : all) out.push_back(packet_of(pool, f));
    return out;
  }

  static void free_all(PacketPool& pool, const std::vector<Packet*>& packets) {
    for (Packet* packet : packets) pool.free(packet);
  }

  // Sends all of them, going on where the port stopped; as the worker does.
  uint32_t send_all(const std::vector<Packet*>& packets) {
    uint32_t sent = 0;
    for (int tries = 0; tries < 1000 && sent < packets.size(); ++tries) {
      sent += port().tx_burst(packets.data() + sent, static_cast<uint32_t>(packets.size()) - sent);
    }
    return sent;
  }

  std::unique_ptr<PortHarness> harness_;
};

#define VROUTER_OPEN_PORT(...) \
  open(__VA_ARGS__);           \
  if (IsSkipped() || HasFatalFailure()) return

TEST_P(PortCompliance, NamesItselfAndItsMtu) {
  VROUTER_OPEN_PORT({});
  EXPECT_STREQ(port().kind(), harness_->kind());
  EXPECT_GE(port().mtu(), 1500u);
}

TEST_P(PortCompliance, ReceivesEveryFrameOnceInOrder) {
  const std::vector<TestFrame> offered = frames(150);
  VROUTER_OPEN_PORT(offered);
  PacketPool pool(256, 2048);
  const std::vector<Packet*> got = receive(pool, offered.size());
  ASSERT_EQ(got.size(), offered.size());
  for (size_t i = 0; i < got.size(); ++i) EXPECT_EQ(bytes(*got[i]), offered[i]) << i;
  free_all(pool, got);
  EXPECT_EQ(pool.available(), pool.total());
  EXPECT_EQ(port().rx_discards, 0u);
  EXPECT_EQ(port().rx_errors, 0u);
}

TEST_P(PortCompliance, ReceivedPacketsAreReadyForTheRouter) {
  VROUTER_OPEN_PORT(frames(3));
  PacketPool pool(16, 2048);
  const std::vector<Packet*> got = receive(pool, 3);
  ASSERT_EQ(got.size(), 3u);
  for (const Packet* packet : got) {
    EXPECT_EQ(packet->headroom(), kHeadroom);
    EXPECT_EQ(packet->meta.verdict, Verdict::Continue);
    EXPECT_FALSE(packet->meta.vif.valid());
    EXPECT_FALSE(packet->meta.from_fabric);
  }
  free_all(pool, got);
}

TEST_P(PortCompliance, ReceivesFramesOfEveryLengthUpToTheMtu) {
  std::vector<TestFrame> offered;
  for (uint32_t length = 60; length <= 1514; length += 7) offered.push_back(frame(length, length));
  offered.push_back(frame(1514, 1514));
  VROUTER_OPEN_PORT(offered);
  PacketPool pool(512, 1514);
  const std::vector<Packet*> got = receive(pool, offered.size());
  ASSERT_EQ(got.size(), offered.size());
  for (size_t i = 0; i < got.size(); ++i) EXPECT_EQ(bytes(*got[i]), offered[i]) << i;
  free_all(pool, got);
}

TEST_P(PortCompliance, TakesNoMoreThanAskedFor) {
  const std::vector<TestFrame> offered = frames(20);
  VROUTER_OPEN_PORT(offered);
  PacketPool pool(64, 2048);
  const std::vector<Packet*> got = receive(pool, offered.size(), 3);  // checks each burst
  ASSERT_EQ(got.size(), offered.size());
  for (size_t i = 0; i < got.size(); ++i) EXPECT_EQ(bytes(*got[i]), offered[i]) << i;
  free_all(pool, got);
  Packet* none = nullptr;
  EXPECT_EQ(port().rx_burst(pool, &none, 0), 0u);
}

TEST_P(PortCompliance, NothingThereIsNothingAndAtOnce) {
  VROUTER_OPEN_PORT({});
  PacketPool pool(64, 2048);
  const auto start = std::chrono::steady_clock::now();
  std::vector<Packet*> out(kBurst);
  for (int i = 0; i < 100; ++i) {
    const uint32_t count = port().rx_burst(pool, out.data(), kBurst);
    for (uint32_t k = 0; k < count; ++k) {
      EXPECT_FALSE(ours(*out[k]));
      pool.free(out[k]);
    }
  }
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(2));
  EXPECT_EQ(pool.available(), pool.total());
}

TEST_P(PortCompliance, FrameLargerThanABufferIsCountedAndTheNextComesThrough) {
  VROUTER_OPEN_PORT({frame(1, 200), frame(2, 257), frame(3, 256), frame(4, 1400), frame(5, 255)});
  PacketPool pool(16, 256);
  const std::vector<Packet*> got = receive(pool, 5);
  ASSERT_EQ(got.size(), 3u);
  EXPECT_EQ(bytes(*got[0]), frame(1, 200));
  EXPECT_EQ(bytes(*got[1]), frame(3, 256));
  EXPECT_EQ(bytes(*got[2]), frame(5, 255));
  EXPECT_EQ(port().rx_discards, 2u);
  free_all(pool, got);
  EXPECT_EQ(pool.available(), pool.total());
}

TEST_P(PortCompliance, FrameWithoutABufferIsCountedOrWaits) {
  const std::vector<TestFrame> offered = frames(10);
  VROUTER_OPEN_PORT(offered);
  PacketPool pool(4, 2048);
  std::vector<Packet*> first = receive(pool, 5);
  EXPECT_LE(first.size(), 4u);
  size_t handed_over = first.size();
  free_all(pool, first);
  const std::vector<Packet*> rest =
      receive(pool, offered.size() - handed_over - port().rx_discards);
  handed_over += rest.size();
  free_all(pool, rest);
  EXPECT_GE(port().rx_discards, 1u);
  EXPECT_EQ(handed_over + port().rx_discards, offered.size());
}

TEST_P(PortCompliance, AWaitingFrameIsFoundByDescriptorOrByLooking) {
  VROUTER_OPEN_PORT(frames(1));
  if (port().fd() >= 0) {
    pollfd waiting{port().fd(), POLLIN, 0};
    EXPECT_EQ(poll(&waiting, 1, 1000), 1);
  }
  PacketPool pool(64, 2048);
  const std::vector<Packet*> got = receive(pool, 1);
  EXPECT_EQ(got.size(), 1u);
  free_all(pool, got);
}

TEST_P(PortCompliance, SendsEveryFrameOnceInOrder) {
  VROUTER_OPEN_PORT({});
  PacketPool pool(256, 2048);
  const std::vector<TestFrame> wanted = frames(150);
  const std::vector<Packet*> packets = packets_of(pool, wanted);
  port().set_now(1'000'000'000);
  EXPECT_EQ(send_all(packets), wanted.size());
  EXPECT_EQ(harness_->sent(wanted.size()), wanted);
  EXPECT_EQ(port().tx_errors, 0u);
  free_all(pool, packets);
}

TEST_P(PortCompliance, SendingLeavesThePacketsAsTheyWere) {
  VROUTER_OPEN_PORT({});
  PacketPool pool(16, 2048);
  const std::vector<TestFrame> wanted = frames(5);
  const std::vector<Packet*> packets = packets_of(pool, wanted);
  EXPECT_EQ(port().tx_burst(packets.data(), 5), 5u);
  EXPECT_EQ(pool.available(), pool.total() - 5);
  for (size_t i = 0; i < 5; ++i) {
    EXPECT_EQ(bytes(*packets[i]), wanted[i]);
    EXPECT_EQ(packets[i]->headroom(), kHeadroom);
  }
  // What the port keeps is a copy.
  for (Packet* packet : packets) std::memset(packet->data() + 16, 0xa5, packet->length - 16);
  EXPECT_EQ(harness_->sent(5), wanted);
  free_all(pool, packets);
}

TEST_P(PortCompliance, SendsFramesOfEveryLengthUpToTheMtu) {
  VROUTER_OPEN_PORT({});
  PacketPool pool(512, 2048);
  std::vector<TestFrame> wanted;
  for (uint32_t length = 60; length <= 1514; length += 7) wanted.push_back(frame(length, length));
  wanted.push_back(frame(1514, 1514));
  const std::vector<Packet*> packets = packets_of(pool, wanted);
  EXPECT_EQ(send_all(packets), wanted.size());
  EXPECT_EQ(harness_->sent(wanted.size()), wanted);
  free_all(pool, packets);
}

TEST_P(PortCompliance, FrameAboveTheMtuStopsTheBurstAndIsCounted) {
  VROUTER_OPEN_PORT({});
  const uint32_t too_long = port().mtu() + 14 + 1;
  PacketPool pool(16, too_long);
  const std::vector<Packet*> packets =
      packets_of(pool, {frame(1), frame(2), frame(3, too_long), frame(4)});
  EXPECT_EQ(port().tx_burst(packets.data(), 4), 2u);
  EXPECT_EQ(port().tx_errors, 1u);
  EXPECT_EQ(port().tx_burst(packets.data() + 3, 1), 1u);
  EXPECT_EQ(port().tx_errors, 1u);
  EXPECT_EQ(harness_->sent(3), (std::vector<TestFrame>{frame(1), frame(2), frame(4)}));
  free_all(pool, packets);
}

TEST_P(PortCompliance, FrameShorterThanAnEthernetHeaderIsRefused) {
  VROUTER_OPEN_PORT({});
  PacketPool pool(16, 2048);
  Packet* empty = pool.allocate();
  Packet* short_one = packet_of(pool, TestFrame(13, 0xff));
  EXPECT_EQ(port().tx_burst(&empty, 1), 0u);
  EXPECT_EQ(port().tx_burst(&short_one, 1), 0u);
  EXPECT_EQ(port().tx_errors, 2u);
  free_all(pool, {empty, short_one});
}

TEST_P(PortCompliance, SendingNothingIsNothing) {
  VROUTER_OPEN_PORT({});
  EXPECT_EQ(port().tx_burst(nullptr, 0), 0u);
  EXPECT_EQ(port().tx_errors, 0u);
}

TEST_P(PortCompliance, SendingNeverBlocks) {
  VROUTER_OPEN_PORT({});
  PacketPool pool(kBurst, 2048);
  const std::vector<Packet*> packets = packets_of(pool, frames(kBurst, 1000));
  const auto start = std::chrono::steady_clock::now();
  // Nobody takes the frames: the port fills, drops or goes on, but comes back.
  for (int i = 0; i < 200; ++i) EXPECT_LE(port().tx_burst(packets.data(), kBurst), kBurst);
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(10));
  free_all(pool, packets);
}

}  // namespace vrouter
