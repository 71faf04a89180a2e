// The engine around the real pipeline: two tenants of one network on two ports.
#include "worker/engine.h"

#include <gtest/gtest.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <functional>
#include <thread>

#include "base/bytes.h"
#include "base/checksum.h"
#include "port/generator_port.h"
#include "port/memory_port.h"

namespace vrouter {
namespace {

using Bytes = std::vector<uint8_t>;
using Clock = std::chrono::steady_clock;

constexpr Mac kTenantMac[2] = {{{2, 0, 0, 0, 0, 1}}, {{2, 0, 0, 0, 0, 2}}};
constexpr uint32_t kTenant[2] = {0x0a000001, 0x0a000002};  // 10.0.0.1, 10.0.0.2

EngineOptions small() {
  EngineOptions options;
  options.flow_entries = 1024;
  options.buffers = 512;
  return options;
}

// UDP from tenant `from` to the other, as the tenant sends it.
Bytes packet(int from, uint16_t source_port = 1000, uint32_t payload = 18) {
  Bytes f(14 + 20 + 8 + payload);
  std::copy(kGatewayMac.bytes.begin(), kGatewayMac.bytes.end(), f.begin());
  std::copy(kTenantMac[from].bytes.begin(), kTenantMac[from].bytes.end(), f.begin() + 6);
  store_be16(&f[12], 0x0800);
  f[14] = 0x45;
  store_be16(&f[16], static_cast<uint16_t>(28 + payload));
  f[22] = 64;
  f[23] = 17;
  store_be32(&f[26], kTenant[from]);
  store_be32(&f[30], kTenant[1 - from]);
  store_be16(&f[24], checksum(&f[14], 20));
  store_be16(&f[34], source_port);
  store_be16(&f[36], 7);
  store_be16(&f[38], static_cast<uint16_t>(8 + payload));
  return f;
}

// Tenant i is vif i + 1 behind port i, next hop i + 1, all in VRF 1.
void set_up(Engine& engine, uint32_t vif_flags, PortId port0, PortId port1,
            uint32_t flow_quota = 0) {
  engine.hold([&] {
    Router& router = engine.router();
    const PortId ports[2] = {port0, port1};
    RouterSpec spec;
    spec.ipv4 = Address::from_v4(0xc0000201);
    spec.icmp_errors_per_second = 100;
    router.exchange(spec);
    VrfSpec vrf;
    vrf.vrf = 1;
    vrf.name = "red";
    router.exchange(VrfId{1}, vrf);
    for (uint32_t i = 0; i < 2; ++i) {
      VifSpec vif;
      vif.vif = i + 1;
      vif.name = "tenant";
      vif.type = static_cast<uint8_t>(VifType::Virtual);
      vif.port = ports[i].value;
      vif.mac = kGatewayMac;
      vif.vrf = 1;
      vif.flags = vif_flags | kVifL3;
      vif.mtu = 1500;
      vif.next_hop = i + 1;
      vif.ipv4 = Address::from_v4(kTenant[i]);
      vif.flow_quota = flow_quota;
      router.exchange(VifId{i + 1}, vif);
      NextHopObject object;
      object.kind = NextHopKind::Interface;
      object.interface.next_hop = i + 1;
      object.interface.vrf = 1;
      object.interface.vif = i + 1;
      object.interface.flags = (vif_flags & kVifPolicy) != 0 ? uint32_t{kNhPolicy} : 0;
      object.interface.destination_mac = kTenantMac[i];
      object.interface.source_mac = kGatewayMac;
      router.exchange(NextHopId{i + 1}, object);
      RouteSpec route;
      route.vrf = 1;
      route.prefix = {Address::from_v4(kTenant[i]), 32};
      route.next_hop = i + 1;
      route.label = kNoLabel;
      router.exchange(VrfId{1}, route.prefix, route);
    }
    ++router.generation;
  });
}

struct Lab {
  explicit Lab(uint32_t vif_flags = 0, const EngineOptions& options = small(), uint32_t quota = 0)
      : engine(options) {
    for (int i = 0; i < 2; ++i) {
      auto port = std::make_unique<MemoryPort>(1500);
      ports[i] = port.get();
      ids[i] = engine.add_port(std::move(port));
    }
    set_up(engine, vif_flags, ids[0], ids[1], quota);
  }
  void inject(int port, const Bytes& frame) {
    ASSERT_TRUE(ports[port]->inject(frame.data(), static_cast<uint32_t>(frame.size())));
  }
  std::vector<Bytes> collect(int port) {
    std::vector<Bytes> all;
    Bytes f;
    while (ports[port]->collect(f)) all.push_back(f);
    return all;
  }
  uint64_t drops(DropReason reason) {
    return engine.counters().drops[static_cast<uint32_t>(reason)];
  }
  // Every frame that came in has one end.
  void expect_settled() {
    const Counters& c = engine.counters();
    EXPECT_EQ(c.received, c.forwarded + c.replied + c.punted + c.dropped + c.consumed);
    EXPECT_EQ(engine.pool().available(), engine.pool().total());
  }

  Engine engine;
  MemoryPort* ports[2];
  PortId ids[2];
};

// A port that takes only some of what it is given.
class ReluctantPort : public Port {
 public:
  uint32_t rx_burst(PacketPool&, Packet**, uint32_t) override { return 0; }
  uint32_t tx_burst(Packet* const* packets, uint32_t count) override {
    for (uint32_t i = 0; i < count; ++i) {
      if (room == 0) return i;
      const uint16_t source_port = load_be16(packets[i]->data() + 34);
      if (std::find(bad.begin(), bad.end(), source_port) != bad.end()) {
        ++tx_errors;
        return i;
      }
      --room;
      sent.push_back(source_port);
    }
    return count;
  }
  const char* kind() const override { return "reluctant"; }
  uint32_t mtu() const override { return 1500; }

  uint32_t room = ~0u;
  std::vector<uint16_t> bad;
  std::vector<uint16_t> sent;
};

TEST(Engine, RefusesMemoryThatCannotBeHad) {
  EngineOptions options = small();
  options.buffers = 0;
  Engine engine(options);
  EXPECT_EQ(engine.status().code, StatusCode::NoMemory);
  EXPECT_STREQ(engine.status().field, "buffers");
  EXPECT_EQ(engine.start().code, StatusCode::NoMemory);
  EXPECT_EQ(engine.step(0), ~0u);
}

TEST(Engine, StepCarriesAPacketFromPortToPort) {
  Lab lab;
  lab.inject(0, packet(0));
  EXPECT_EQ(lab.engine.step(1000), 1u);
  EXPECT_EQ(lab.engine.step(2000), 0u);
  const std::vector<Bytes> out = lab.collect(1);
  ASSERT_EQ(out.size(), 1u);
  EXPECT_TRUE(std::equal(kTenantMac[1].bytes.begin(), kTenantMac[1].bytes.end(), out[0].begin()));
  EXPECT_EQ(out[0][22], 63) << "TTL";
  const Counters& c = lab.engine.counters();
  EXPECT_EQ(c.received, 1u);
  EXPECT_EQ(c.forwarded, 1u);
  EXPECT_EQ(c.vifs[1].rx_packets, 1u);
  EXPECT_EQ(c.vifs[1].rx_bytes, 60u);
  EXPECT_EQ(c.vifs[2].tx_packets, 1u);
  EXPECT_EQ(c.vifs[2].tx_bytes, 60u);
  lab.expect_settled();
}

TEST(Engine, MoreFramesThanSomeBurstsTakeSeveralBreaths) {
  Lab lab;
  constexpr uint32_t kBreath = kBurst * 4;  // bursts of one port, while each is full
  for (uint32_t i = 0; i < kBreath * 2 + 10; ++i) lab.inject(0, packet(0));
  EXPECT_EQ(lab.engine.step(0), kBreath);
  EXPECT_EQ(lab.engine.step(0), kBreath);
  EXPECT_EQ(lab.engine.step(0), 10u);
  EXPECT_EQ(lab.collect(1).size(), kBreath * 2 + 10);
  lab.expect_settled();
}

TEST(Engine, TimeNeverGoesBack) {
  Lab lab;
  lab.engine.step(5000);
  EXPECT_EQ(lab.engine.context().now_ns, 5000u);
  lab.engine.step(4000);
  EXPECT_EQ(lab.engine.context().now_ns, 5000u);
}

TEST(Engine, FramesOnAPortWithoutAVifAreDroppedByName) {
  Lab lab;
  auto extra = std::make_unique<MemoryPort>(1500);
  MemoryPort* port = extra.get();
  ASSERT_TRUE(lab.engine.add_port(std::move(extra)).valid());
  const Bytes f = packet(0);
  port->inject(f.data(), static_cast<uint32_t>(f.size()));
  EXPECT_EQ(lab.engine.step(0), 1u);
  EXPECT_EQ(lab.drops(DropReason::InvalidIf), 1u);
  lab.expect_settled();
}

TEST(Engine, FramesThePortDiscardsAreAccountedFor) {
  EngineOptions options = small();
  options.buffer_bytes = 256;
  Lab lab(0, options);
  lab.inject(0, packet(0, 1000, 300));
  lab.inject(0, packet(0));
  EXPECT_EQ(lab.engine.step(0), 2u);
  EXPECT_EQ(lab.drops(DropReason::IfRxDiscard), 1u);
  EXPECT_EQ(lab.engine.counters().received, 2u);
  EXPECT_EQ(lab.engine.counters().vifs[1].rx_errors, 1u);
  EXPECT_EQ(lab.engine.counters().vifs[1].drops, 1u);
  EXPECT_EQ(lab.collect(1).size(), 1u);
  lab.expect_settled();
}

struct ReluctantLab : Lab {
  ReluctantLab() {
    auto port = std::make_unique<ReluctantPort>();
    out = port.get();
    set_up(engine, 0, ids[0], engine.add_port(std::move(port)));
  }
  ReluctantPort* out;
};

TEST(Engine, WhatAFullPortDoesNotTakeMovesFromForwardedToDropped) {
  ReluctantLab lab;
  lab.out->room = 3;
  for (uint16_t i = 0; i < 5; ++i) lab.inject(0, packet(0, static_cast<uint16_t>(100 + i)));
  lab.engine.step(0);
  EXPECT_EQ(lab.out->sent, (std::vector<uint16_t>{100, 101, 102}));
  const Counters& c = lab.engine.counters();
  EXPECT_EQ(c.received, 5u);
  EXPECT_EQ(c.forwarded, 3u);
  EXPECT_EQ(c.dropped, 2u);
  EXPECT_EQ(lab.drops(DropReason::IfTxDiscard), 2u);
  EXPECT_EQ(c.vifs[2].tx_packets, 3u);
  EXPECT_EQ(c.vifs[2].tx_bytes, 180u);
  EXPECT_EQ(c.vifs[2].tx_errors, 2u);
  EXPECT_EQ(c.vifs[2].drops, 2u);
  lab.expect_settled();
}

TEST(Engine, AFrameAtFaultDoesNotTakeItsNeighboursAlong) {
  ReluctantLab lab;
  lab.out->bad = {101, 102, 104};
  for (uint16_t i = 0; i < 5; ++i) lab.inject(0, packet(0, static_cast<uint16_t>(100 + i)));
  lab.engine.step(0);
  EXPECT_EQ(lab.out->sent, (std::vector<uint16_t>{100, 103}));
  EXPECT_EQ(lab.engine.counters().forwarded, 2u);
  EXPECT_EQ(lab.drops(DropReason::IfTxDiscard), 3u);
  lab.expect_settled();
}

TEST(Engine, APacketForAPortThatIsGoneIsDroppedByName) {
  Lab lab;
  Packet* orphan = lab.engine.pool().allocate();
  orphan->append(60);
  orphan->meta.verdict = Verdict::Transmit;
  orphan->meta.out_port = PortId{77};
  orphan->meta.out_vif = VifId{2};
  Counters& c = lab.engine.context().counters;
  c.received = c.forwarded = 1;  // as finish() leaves it
  c.vifs[2].tx_packets = 1;
  c.vifs[2].tx_bytes = 60;
  lab.engine.context().transmit(lab.engine.context().sink, orphan);
  EXPECT_EQ(lab.drops(DropReason::NowhereToGo), 1u);
  EXPECT_EQ(c.vifs[2].tx_packets, 0u);
  lab.expect_settled();
}

TEST(Engine, PortsAreRemovedWhenNoVifIsBound) {
  Lab lab;
  EXPECT_EQ(lab.engine.remove_port(lab.ids[0]).code, StatusCode::InUse);
  EXPECT_EQ(lab.engine.remove_port(PortId{99}).code, StatusCode::NotFound);
  const PortId extra = lab.engine.add_port(std::make_unique<MemoryPort>());
  EXPECT_EQ(extra.value, 2u);
  EXPECT_TRUE(lab.engine.port_exists(extra));
  EXPECT_TRUE(lab.engine.remove_port(extra).ok());
  EXPECT_FALSE(lab.engine.port_exists(extra));
  EXPECT_EQ(lab.engine.port(extra), nullptr);
  EXPECT_EQ(lab.engine.port_limit(), 2u);
  EXPECT_EQ(lab.engine.add_port(std::make_unique<MemoryPort>()).value, 2u) << "lowest free id";
  EXPECT_FALSE(lab.engine.add_port(nullptr).valid());
}

TEST(Engine, PortsEndAtTheirLimit) {
  Engine engine(small());
  for (uint32_t i = 0; i < kMaxPorts; ++i) {
    ASSERT_TRUE(engine.add_port(std::make_unique<SinkPort>()).valid());
  }
  EXPECT_FALSE(engine.add_port(std::make_unique<SinkPort>()).valid());
}

TEST(Engine, HoldTakesOverTimeoutsAndRoomForVrfs) {
  Lab lab;
  EXPECT_GE(lab.engine.counters().vrfs.size(), 2u);
  const FlowTimeouts defaults;
  lab.engine.hold([&] {
    RouterSpec spec = lab.engine.router().spec();
    spec.timeouts = {{17, 1, 77}, {0, 1, 5}};  // all others: whatever the order
    lab.engine.router().exchange(spec);
    VrfSpec vrf;
    vrf.vrf = 900;
    lab.engine.hold([&] { lab.engine.router().exchange(VrfId{900}, vrf); });
  });
  EXPECT_EQ(lab.engine.context().timeouts.ms[17][1], 77'000u);
  EXPECT_EQ(lab.engine.context().timeouts.ms[200][1], 5'000u);
  EXPECT_EQ(lab.engine.counters().vrfs.size(), 901u);
  lab.engine.hold([&] {
    RouterSpec spec = lab.engine.router().spec();
    spec.timeouts.clear();
    lab.engine.router().exchange(spec);
  });
  EXPECT_EQ(lab.engine.context().timeouts.ms[17][1], defaults.ms[17][1]);
}

std::vector<Event> drain(Engine& engine) {
  std::vector<Event> events(1024);
  events.resize(engine.events().drain(events.data(), 1024));
  return events;
}

TEST(Engine, FlowsThatEndGiveTheirQuotaBackAndAreTold) {
  Lab lab(kVifPolicy, small(), 4);  // two entries a flow that enters and leaves here: one each
  for (uint16_t i = 0; i < 6; ++i) lab.inject(0, packet(0, static_cast<uint16_t>(100 + i)));
  lab.engine.step(1'000'000);
  const FlowQuota& quota = lab.engine.context().quota;
  EXPECT_EQ(quota.vifs[1], 4u);
  EXPECT_EQ(lab.drops(DropReason::FlowUnusable), 2u);
  EXPECT_EQ(lab.engine.flows().used(), 8u);
  EXPECT_EQ(drain(lab.engine).size(), 4u);

  lab.engine.hold([&] { lab.engine.flush_flows(~0u); });
  EXPECT_EQ(lab.engine.flows().used(), 0u);
  EXPECT_EQ(quota.vifs[1], 0u);
  EXPECT_EQ(quota.vifs[2], 0u);
  EXPECT_EQ(quota.vrfs[1], 0u);
  const std::vector<Event> ended = drain(lab.engine);
  ASSERT_EQ(ended.size(), 4u);
  for (const Event& e : ended) {
    EXPECT_EQ(e.kind, static_cast<uint32_t>(EventKind::FlowDeleted));
    EXPECT_EQ(e.vif, 1u);
    EXPECT_EQ(e.vrf, 1u);
    EXPECT_EQ(e.key.protocol, 17);
    EXPECT_EQ(e.packets, 1u);
    EXPECT_EQ(e.time_ns, 1'000'000u);
  }
  lab.inject(0, packet(0, 200));
  lab.engine.step(2'000'000);
  EXPECT_EQ(lab.engine.flows().used(), 2u) << "room again";
  lab.expect_settled();
}

TEST(Engine, FlushTakesOnlyFlowsOfTheVrf) {
  Lab lab(kVifPolicy);
  lab.inject(0, packet(0));
  lab.engine.step(0);
  EXPECT_EQ(lab.engine.flows().used(), 2u);
  lab.engine.flush_flows(7);
  EXPECT_EQ(lab.engine.flows().used(), 2u);
  lab.engine.flush_flows(1);
  EXPECT_EQ(lab.engine.flows().used(), 0u);
}

TEST(Engine, IdleFlowsEndByThemselves) {
  Lab lab(kVifPolicy);
  lab.engine.hold([&] {
    RouterSpec spec = lab.engine.router().spec();
    spec.timeouts = {{17, 0, 2}, {17, 1, 2}, {17, 2, 2}};
    lab.engine.router().exchange(spec);
  });
  lab.inject(0, packet(0));
  lab.engine.step(0);
  EXPECT_EQ(lab.engine.flows().used(), 2u);
  // The sweep goes on with time, so many breaths, as a running worker takes them; a flow may
  // outlive its timeout by one sweep.
  uint64_t now_ns = 0;
  const auto breathe_until = [&](uint64_t end_ns) {
    for (; now_ns < end_ns; now_ns += 10'000'000) lab.engine.step(now_ns);
  };
  breathe_until(1'900'000'000);
  EXPECT_EQ(lab.engine.flows().used(), 2u);
  breathe_until(15'000'000'000);
  EXPECT_EQ(lab.engine.flows().used(), 0u);
}

TEST(Engine, TheConsumerIsWokenOnceUntilArmedAgain) {
  Lab lab(kVifPolicy);
  int woken = 0;
  lab.engine.on_events([&] { ++woken; });
  lab.engine.step(0);
  EXPECT_EQ(woken, 0);
  for (uint16_t i = 0; i < 3; ++i) {
    lab.inject(0, packet(0, static_cast<uint16_t>(100 + i)));
    lab.engine.step(0);
  }
  EXPECT_EQ(woken, 1);
  EXPECT_EQ(drain(lab.engine).size(), 3u);
  lab.inject(0, packet(0, 200));
  lab.engine.step(0);
  EXPECT_EQ(woken, 1) << "not armed";
  lab.engine.arm_events();
  lab.engine.step(0);
  EXPECT_EQ(woken, 2) << "what came before arming is not forgotten";
  lab.engine.arm_events();
  lab.engine.step(0);
  EXPECT_EQ(woken, 2) << "nothing new";
}

TEST(Engine, StartAndStepExcludeEachOther) {
  Lab lab;
  EXPECT_FALSE(lab.engine.running());
  ASSERT_TRUE(lab.engine.start().ok());
  EXPECT_TRUE(lab.engine.running());
  EXPECT_EQ(lab.engine.start().code, StatusCode::Busy);
  EXPECT_EQ(lab.engine.step(0), ~0u);
  lab.engine.stop();
  lab.engine.stop();
  EXPECT_FALSE(lab.engine.running());
  EXPECT_EQ(lab.engine.step(0), 0u);
  ASSERT_TRUE(lab.engine.start().ok());
  lab.engine.stop();
}

TEST(Engine, TheWorkersClockGoesOnFromTheLastStep) {
  Lab lab;
  lab.engine.step(7'000'000'000);
  ASSERT_TRUE(lab.engine.start().ok());
  std::this_thread::sleep_for(std::chrono::milliseconds(30));
  lab.engine.stop();
  EXPECT_GT(lab.engine.context().now_ns, 7'010'000'000u);
  EXPECT_LT(lab.engine.context().now_ns, 60'000'000'000u);
}

bool wait_for(const std::function<bool()>& condition) {
  for (int i = 0; i < 5000; ++i) {
    if (condition()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return false;
}

TEST(Engine, TheWorkerForwardsAndWakesWhenTold) {
  Lab lab;
  ASSERT_TRUE(lab.engine.start().ok());
  size_t out = 0;
  for (int i = 0; i < 50; ++i) {
    if (i % 10 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(20));  // it sleeps
    lab.inject(0, packet(0));
    lab.engine.wake();
    ASSERT_TRUE(
        wait_for([&] { return (out += lab.collect(1).size()) == static_cast<size_t>(i + 1); }));
  }
  lab.engine.stop();
  lab.expect_settled();
}

TEST(Engine, HoldDoesNotWaitForASleepingWorker) {
  Lab lab;
  ASSERT_TRUE(lab.engine.start().ok());
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  const Clock::time_point start = Clock::now();
  for (int i = 0; i < 100; ++i) {
    std::this_thread::sleep_for(std::chrono::microseconds(300));  // asleep again
    lab.engine.hold([] {});
  }
  EXPECT_LT(Clock::now() - start, std::chrono::milliseconds(800))
      << "100 sleeps of 10 ms would be 1 s";
  lab.engine.stop();
}

// A descriptor that is always ready and never has a frame must not keep a core busy.
class NoisyPort : public SinkPort {
 public:
  NoisyPort() : fd_(eventfd(1, EFD_NONBLOCK | EFD_CLOEXEC)) {}
  ~NoisyPort() override { close(fd_); }
  int fd() const override { return fd_; }
  uint32_t rx_burst(PacketPool&, Packet**, uint32_t) override {
    ++looks;
    return 0;
  }
  uint64_t looks = 0;

 private:
  int fd_;
};

TEST(Engine, ADescriptorThatIsReadyForNothingDoesNotSpin) {
  Engine engine(small());
  auto noisy = std::make_unique<NoisyPort>();
  NoisyPort* port = noisy.get();
  engine.add_port(std::move(noisy));
  ASSERT_TRUE(engine.start().ok());
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  uint64_t before = 0;
  uint64_t after = 0;
  engine.hold([&] { before = port->looks; });
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  engine.hold([&] { after = port->looks; });
  engine.stop();
  EXPECT_GT(after - before, 5u);
  EXPECT_LT(after - before, 1000u);
}

// The promise of hold(): up to 10,000 commits while packets fly; nothing is lost, nothing half
// applied, and (under TSan) nothing is touched by two threads at once.
TEST(Engine, CommitsWhileTheWorkerRuns) {
  EngineOptions options = small();
  options.flow_entries = 4096;
  Engine engine(options);
  std::vector<Bytes> frames;
  for (uint16_t i = 0; i < 100; ++i) frames.push_back(packet(0, static_cast<uint16_t>(1000 + i)));
  const PortId in = engine.add_port(std::make_unique<GeneratorPort>(frames));
  auto sink_port = std::make_unique<SinkPort>();
  SinkPort* sink = sink_port.get();
  const PortId out = engine.add_port(std::move(sink_port));
  set_up(engine, kVifPolicy, in, out);
  ASSERT_TRUE(engine.start().ok());
  uint64_t last_received = 0;
  uint64_t stalls = 0;
  uint32_t commits = 0;
  // On a machine with other things to do each hold may cost a time slice: ten seconds are enough.
  const Clock::time_point end = Clock::now() + std::chrono::seconds(10);
  for (; commits < 10'000 && Clock::now() < end; ++commits) {
    engine.hold([&, i = commits] {
      Router& router = engine.router();
      // The tenant's MAC changes with each commit; the route and its next hop are always there.
      NextHopObject object = *router.next_hop_object(NextHopId{2});
      object.interface.destination_mac.bytes[5] = static_cast<uint8_t>(i);
      router.exchange(NextHopId{2}, object);
      ++router.generation;
      const Counters& c = engine.counters();
      EXPECT_EQ(c.received, c.forwarded + c.dropped);
      stalls += c.received == last_received ? 1 : 0;
      last_received = c.received;
      if (i % 1000 == 0) engine.flush_flows(~0u);
    });
  }
  engine.stop();
  const Counters& c = engine.counters();
  EXPECT_GT(c.received, 0u);
  EXPECT_EQ(c.dropped, 0u) << "hitless";
  EXPECT_EQ(c.forwarded, c.received);
  EXPECT_EQ(sink->packets(), c.forwarded);
  EXPECT_EQ(engine.pool().available(), engine.pool().total());
  EXPECT_GE(commits, 100u);
  EXPECT_LT(stalls, commits) << "commits in a row must leave the worker its turn";
}

// The same with control's other hands: ports come and go, memory ports are fed, events drained.
TEST(Engine, PortsComeAndGoWhileTheWorkerRuns) {
  EngineOptions options = small();
  options.flow_entries = 4096;
  Lab lab(kVifPolicy, options);
  std::atomic<uint32_t> woken{0};
  lab.engine.on_events([&] { ++woken; });
  ASSERT_TRUE(lab.engine.start().ok());
  std::vector<Event> events(256);
  uint32_t injected = 0;
  size_t collected = 0;
  for (uint32_t i = 0; i < 500; ++i) {
    const Bytes f = packet(0, static_cast<uint16_t>(1000 + i));
    injected += lab.ports[0]->inject(f.data(), static_cast<uint32_t>(f.size())) ? 1 : 0;
    lab.engine.wake();
    const PortId extra = lab.engine.add_port(std::make_unique<NoisyPort>());
    ASSERT_TRUE(extra.valid());
    collected += lab.collect(1).size();
    lab.engine.arm_events();
    lab.engine.events().drain(events.data(), 256);
    ASSERT_TRUE(lab.engine.remove_port(extra).ok());
  }
  EXPECT_TRUE(wait_for([&] { return (collected += lab.collect(1).size()) == injected; }));
  lab.engine.stop();
  EXPECT_EQ(injected, 500u);
  EXPECT_GT(woken.load(), 0u);
  lab.expect_settled();
}

// A killed engine: its memory is as it was, its destructors do not matter for the file.
TEST(EngineFlowFile, FlowsGoOnWithTheirPlacesClockAndQuota) {
  std::string name = testing::TempDir() + "vrouter-engine-XXXXXX";
  ASSERT_NE(mkdtemp(name.data()), nullptr);
  EngineOptions options = small();
  options.flow_file = name + "/flows";
  FlowId id;
  uint64_t packets = 0;
  {
    Lab lab(kVifPolicy, options, 2);
    EXPECT_TRUE(lab.engine.flow_file().file);
    EXPECT_FALSE(lab.engine.flow_file().adopted);
    EXPECT_TRUE(lab.engine.claim_flows(42));
    lab.inject(0, packet(0, 1000));
    lab.engine.step(9'000'000'000);
    ASSERT_EQ(lab.engine.flows().used(), 2u);
    for (uint32_t at = 0; at < lab.engine.flows().capacity(); ++at) {
      if (lab.engine.flows().valid(FlowId{at}) &&
          (lab.engine.flows()[FlowId{at}].flags & kFlowInitiator) != 0) {
        id = FlowId{at};
      }
    }
    packets = lab.engine.flows().half(id).packets();
  }
  Lab lab(kVifPolicy, options, 2);
  const FlowFileReport& report = lab.engine.flow_file();
  EXPECT_TRUE(report.adopted) << report.reason;
  EXPECT_EQ(report.owner, 42u);
  EXPECT_EQ(report.runs, 2u);
  EXPECT_EQ(report.flows.entries, 2u);
  EXPECT_TRUE(lab.engine.claim_flows(42));
  EXPECT_EQ(lab.engine.context().now_ns, 9'000'000'000u);
  EXPECT_EQ(lab.engine.context().quota.vifs[1], 1u);
  // Its next packet decides again and stays on the same entry; a new flow is over the quota (2 a vif:
  // one of each half, and the reverse half enters by the other vif).
  lab.inject(0, packet(0, 1000));
  lab.engine.step(0);
  EXPECT_EQ(lab.collect(1).size(), 1u);
  EXPECT_EQ(lab.engine.flows().used(), 2u);
  EXPECT_EQ(lab.engine.flows().half(id).packets(), packets + 1);
  EXPECT_NE(lab.engine.flows()[id].flags & kFlowModified, 0);
  EXPECT_GT(lab.engine.flows()[id].generation, 0u);
  EXPECT_EQ(lab.engine.context().quota.vifs[1], 1u);
  lab.inject(0, packet(0, 1001));
  lab.inject(0, packet(0, 1002));
  lab.engine.step(0);
  EXPECT_EQ(lab.engine.flows().used(), 4u);
  EXPECT_EQ(lab.drops(DropReason::FlowUnusable), 1u);
  // Somebody whose ids are others: none of it means anything.
  EXPECT_FALSE(lab.engine.claim_flows(43));
  EXPECT_EQ(lab.engine.flows().used(), 0u);
  EXPECT_EQ(lab.engine.context().quota.vifs[1], 0u);
  std::remove(options.flow_file.c_str());
  rmdir(name.c_str());
}

TEST(EngineFlowFile, WhatCannotBeMappedIsDoneWithout) {
  EngineOptions options = small();
  options.flow_file = "/no/such/directory/flows";
  Lab lab(kVifPolicy, options);
  EXPECT_FALSE(lab.engine.flow_file().file);
  EXPECT_NE(lab.engine.flow_file().reason, "");
  lab.inject(0, packet(0));
  lab.engine.step(0);
  EXPECT_EQ(lab.engine.flows().used(), 2u);
}

TEST(Engine, APortGoesWhereItIsWanted) {
  Lab lab;
  EXPECT_EQ(lab.engine.add_port(std::make_unique<MemoryPort>(1500), PortId{5}), PortId{5});
  EXPECT_FALSE(lab.engine.add_port(std::make_unique<MemoryPort>(1500), PortId{5}).valid());
  EXPECT_EQ(lab.engine.add_port(std::make_unique<MemoryPort>(1500)), PortId{2});
  EXPECT_FALSE(lab.engine.port_exists(PortId{4}));
  lab.engine.step(0);
}

}  // namespace
}  // namespace vrouter
