// FaultyPort by its own numbers: with any plan every frame is accounted for, the same seed does the
// same, and each fault does what its line in faults.def says. Without faults it is in
// port_compliance_test.cc.
#include "port/faulty_port.h"

#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <vector>

#include "port/memory_port.h"

namespace vrouter {
namespace {

using Bytes = std::vector<uint8_t>;
constexpr uint64_t kOver = 1000;

struct Lab {
  Lab(std::vector<FaultPlan> plans, uint64_t seed) {
    auto behind = std::make_unique<MemoryPort>(1500);
    memory = behind.get();
    port = std::make_unique<FaultyPort>(std::move(behind), std::move(plans), seed);
  }
  // Frame `number`, 60 bytes that all follow from it.
  static Bytes frame(uint8_t number) { return Bytes(60, number); }
  void offer(uint8_t number) {
    const Bytes f = frame(number);
    ASSERT_TRUE(memory->inject(f.data(), 60));
    ++offered;
  }
  // What one burst of at most `max` brings.
  std::vector<Bytes> receive(uint32_t max = kBurst) {
    Packet* out[kBurst];
    const uint32_t count = port->rx_burst(pool, out, max);
    EXPECT_LE(count, max);
    std::vector<Bytes> got;
    for (uint32_t i = 0; i < count; ++i) {
      got.emplace_back(out[i]->data(), out[i]->data() + out[i]->length);
      pool.free(out[i]);
    }
    received += count;
    return got;
  }
  // Sends one burst; the frame that stops it is dropped by the caller, as a worker does.
  void send(const std::vector<uint8_t>& numbers) {
    PacketPool own(kBurst, 2048);
    std::vector<Packet*> packets;
    for (const uint8_t number : numbers) {
      packets.push_back(own.allocate());
      packets.back()->append(60);
      std::memset(packets.back()->data(), number, 60);
    }
    const uint64_t errors = port->tx_errors;
    const uint32_t sent = port->tx_burst(packets.data(), static_cast<uint32_t>(packets.size()));
    ASSERT_LE(sent, packets.size());
    if (sent < packets.size()) {
      EXPECT_LE(port->tx_errors, errors + 1);
    } else {
      EXPECT_EQ(port->tx_errors, errors);
    }
    taken += sent;
    for (size_t i = 0; i < packets.size(); ++i) {
      EXPECT_EQ(Bytes(packets[i]->data(), packets[i]->data() + packets[i]->length),
                frame(numbers[i]))
          << "packets stay as they were";
      own.free(packets[i]);
    }
  }
  std::vector<Bytes> collect() {
    std::vector<Bytes> all;
    Bytes f;
    while (memory->collect(f)) all.push_back(f);
    collected += all.size();
    return all;
  }
  // Both identities of faulty_port.h.
  void expect_accounted(const char* when) {
    const FaultStats& s = port->stats();
    EXPECT_EQ(received,
              offered - port->rx_discards - s.rx_lost - s.rx_waiting + s.rx_duplicated + s.rx_made)
        << when;
    EXPECT_EQ(collected, taken - s.tx_lost - s.tx_waiting + s.tx_duplicated) << when;
  }

  PacketPool pool{200, 2048};
  MemoryPort* memory;
  std::unique_ptr<FaultyPort> port;
  uint64_t offered = 0, received = 0, taken = 0, collected = 0;
};

std::vector<Bytes> of(std::initializer_list<uint8_t> numbers) {
  std::vector<Bytes> out;
  for (const uint8_t number : numbers) out.push_back(Lab::frame(number));
  return out;
}
uint64_t done(const Lab& lab, Fault fault) {
  return lab.port->stats().injected[static_cast<uint32_t>(fault)];
}
std::vector<FaultPlan> always(Fault fault) { return {{fault, 1'000'000, 0, kOver}}; }

TEST(FaultyPort, NamesOfFaultsAreFoundAgain) {
  for (uint32_t i = 0; i < kFaults; ++i) {
    Fault found{};
    ASSERT_TRUE(fault_of(fault_name(static_cast<Fault>(i)), &found));
    EXPECT_EQ(found, static_cast<Fault>(i));
  }
  Fault none;
  EXPECT_FALSE(fault_of("rx_", &none));
}

TEST(FaultyPort, AnyPlanAccountsForEveryFrameAndIsTheSameAgain) {
  std::mt19937 random(5);
  for (int round = 0; round < 60; ++round) {
    std::vector<FaultPlan> plans;
    for (uint32_t n = 1 + random() % 6; n > 0; --n) {
      plans.push_back({static_cast<Fault>(random() % kFaults),
                       static_cast<uint32_t>(random() % 1'000'001), random() % kOver, kOver});
    }
    const uint64_t seed = random();
    const uint32_t script = static_cast<uint32_t>(random());
    std::vector<std::vector<Bytes>> runs;
    for (int again = 0; again < 2; ++again) {
      Lab lab(plans, seed);
      std::mt19937 dice(script);
      std::vector<Bytes> all;
      const auto keep = [&](const std::vector<Bytes>& some) {
        all.insert(all.end(), some.begin(), some.end());
      };
      for (uint64_t now = 0; now < kOver; now += 10) {
        lab.port->set_now(now);
        for (uint32_t n = dice() % 8; n > 0; --n) lab.offer(static_cast<uint8_t>(dice()));
        keep(lab.receive(1 + dice() % kBurst));
        std::vector<uint8_t> numbers(dice() % 8);
        for (uint8_t& number : numbers) number = static_cast<uint8_t>(dice());
        lab.send(numbers);
        keep(lab.collect());
      }
      lab.port->set_now(kOver);
      for (int i = 0; i < 100; ++i) keep(lab.receive());
      keep(lab.collect());
      EXPECT_EQ(lab.port->stats().rx_waiting + lab.port->stats().tx_waiting, 0u);
      lab.expect_accounted("when it is over");
      EXPECT_EQ(lab.pool.available(), lab.pool.total());
      // As if nothing had been.
      lab.offer(1);
      lab.offer(2);
      EXPECT_EQ(lab.receive(), of({1, 2}));
      lab.send({3, 4});
      EXPECT_EQ(lab.collect(), of({3, 4}));
      runs.push_back(all);
    }
    EXPECT_EQ(runs[0], runs[1]) << "same plan, seed and frames";
  }
}

TEST(FaultyPort, HeldFramesGoBackWithThePort) {
  for (const Fault fault :
       {Fault::RxDelay, Fault::RxReorder, Fault::RxStarve, Fault::TxDelay, Fault::TxReorder}) {
    Lab lab(always(fault), 1);
    lab.offer(1);
    lab.receive();
    lab.send({2});
    lab.port.reset();
    EXPECT_EQ(lab.pool.available(), lab.pool.total()) << fault_name(fault);
  }
}

// One frame a burst is what an idle wire brings: it is overtaken all the same.
TEST(FaultyPort, ReorderReachesOverBursts) {
  Lab rx(always(Fault::RxReorder), 1);
  rx.offer(1);
  EXPECT_TRUE(rx.receive().empty());
  rx.offer(2);
  EXPECT_EQ(rx.receive(), of({2, 1}));
  rx.offer(3);
  EXPECT_TRUE(rx.receive().empty());
  rx.port->set_now(kOver);
  EXPECT_EQ(rx.receive(), of({3}));
  EXPECT_EQ(done(rx, Fault::RxReorder), 2u);

  Lab tx(always(Fault::TxReorder), 1);
  tx.send({1});
  EXPECT_TRUE(tx.collect().empty());
  tx.send({2});
  EXPECT_EQ(tx.collect(), of({2, 1}));
  tx.send({3, 4, 5});
  EXPECT_EQ(tx.collect(), of({4, 3}));
  EXPECT_EQ(tx.port->stats().tx_waiting, 1u);
  tx.port->set_now(kOver);
  tx.receive();
  EXPECT_EQ(tx.collect(), of({5}));
  EXPECT_EQ(done(tx, Fault::TxReorder), 3u);
}

TEST(FaultyPort, DelayedFramesComeWhenTheFaultIsOver) {
  Lab lab({{Fault::TxDelay, 1'000'000, 0, kOver}, {Fault::RxDelay, 1'000'000, 0, kOver}}, 1);
  for (uint8_t number = 0; number < 5; ++number) {
    lab.offer(number);
    lab.send({number});
    EXPECT_TRUE(lab.receive().empty());
    EXPECT_TRUE(lab.collect().empty()) << "not at the end of its burst";
  }
  EXPECT_EQ(lab.port->stats().tx_waiting, 5u);
  EXPECT_EQ(lab.port->stats().rx_waiting, 5u);
  lab.expect_accounted("while they wait");
  lab.port->set_now(kOver);
  EXPECT_EQ(lab.receive(), of({0, 1, 2, 3, 4}));
  EXPECT_EQ(lab.collect(), of({0, 1, 2, 3, 4})) << "without anything else being sent";
}

TEST(FaultyPort, StarvingLeavesNoBufferForAnybodyAndGivesAllBack) {
  Lab lab(always(Fault::RxStarve), 1);
  lab.offer(1);
  EXPECT_TRUE(lab.receive().empty());
  EXPECT_EQ(lab.pool.available(), 0u);
  EXPECT_EQ(lab.port->rx_discards, 1u);
  lab.port->set_now(kOver);
  lab.offer(2);
  EXPECT_EQ(lab.receive(), of({2}));
  EXPECT_EQ(lab.pool.available(), lab.pool.total());
  lab.expect_accounted("discards are the port's own");
}

}  // namespace
}  // namespace vrouter
