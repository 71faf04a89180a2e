// Several workers in one engine: threads that forward over flows which others make, decide again
// and erase at the same time. Every client's packets carry who they are of, so that one that leaves
// with another flow's translation is seen; and every frame has one end.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstring>
#include <random>
#include <thread>

#include "base/bytes.h"
#include "base/checksum.h"
#include "port/memory_port.h"
#include "worker/engine.h"

namespace vrouter {
namespace {

using Bytes = std::vector<uint8_t>;
using Clock = std::chrono::steady_clock;

constexpr Mac kTenantMac[2] = {{{2, 0, 0, 0, 0, 1}}, {{2, 0, 0, 0, 0, 2}}};
constexpr uint32_t kTenant[2] = {0x0a000001, 0x0a000002};
constexpr uint32_t kService = 0x0a630001;  // tenant 1's floating IP, port 80 is its 8080
constexpr uint32_t kSpare = 0x0a000100;    // an address whose route comes and goes

// Tenant 0, port 0, is the first worker's; tenant 1, port 1, the second's: a flow's two halves are
// used by two threads.
struct Lab {
  explicit Lab(const EngineOptions& options) : engine(options) {
    for (int i = 0; i < 2; ++i) {
      auto port = std::make_unique<MemoryPort>(1500);
      ports[i] = port.get();
      ids[i] = engine.add_port(std::move(port));
    }
    engine.hold([&] { program(); });
  }

  void program() {
    Router& r = engine.router();
    RouterSpec spec;
    spec.ipv4 = Address::from_v4(0xc0000201);
    r.exchange(spec);
    VrfSpec vrf;
    vrf.vrf = 1;
    vrf.name = "red";
    r.exchange(VrfId{1}, vrf);
    for (uint32_t i = 0; i < 2; ++i) {
      VifSpec vif;
      vif.vif = i + 1;
      vif.name = "tenant";
      vif.type = static_cast<uint8_t>(VifType::Virtual);
      vif.port = ids[i].value;
      vif.mac = kGatewayMac;
      vif.vrf = 1;
      vif.flags = kVifPolicy | kVifL3;
      vif.mtu = 1500;
      vif.next_hop = i + 1;
      vif.ipv4 = Address::from_v4(kTenant[i]);
      r.exchange(VifId{i + 1}, vif);
      NextHopObject object;
      object.kind = NextHopKind::Interface;
      object.interface.next_hop = i + 1;
      object.interface.vrf = 1;
      object.interface.vif = i + 1;
      object.interface.flags = kNhPolicy;
      object.interface.destination_mac = kTenantMac[i];
      object.interface.source_mac = kGatewayMac;
      r.exchange(NextHopId{i + 1}, object);
      route(kTenant[i], i + 1);
    }
    FloatingIpSpec fip;
    fip.floating_ip = 1;
    fip.vif = 2;
    fip.vrf = 1;
    fip.address = Address::from_v4(kService);
    fip.fixed = Address::from_v4(kTenant[1]);
    fip.port_map = 1;
    fip.ports = {{17, 80, 8080}};
    r.exchange_floating_ip(1, fip);
    route(kService, 2);
    ++r.generation;
  }

  void route(uint32_t address, uint32_t next_hop) {
    RouteSpec spec;
    spec.vrf = 1;
    spec.prefix = {Address::from_v4(address), 32};
    spec.next_hop = next_hop;
    spec.label = kNoLabel;
    engine.router().exchange(VrfId{1}, spec.prefix, spec);
  }

  // A Program: every flow of the network decides again.
  void churn() {
    engine.hold([&] {
      Router& r = engine.router();
      const Prefix prefix{Address::from_v4(kSpare), 32};
      if (r.route_at(VrfId{1}, prefix) != nullptr) {
        r.exchange(VrfId{1}, prefix, std::optional<RouteSpec>{});
      } else {
        route(kSpare, 1);
      }
      ++r.generation;
    });
  }

  Engine engine;
  MemoryPort* ports[2];
  PortId ids[2];
};

// Client `who` to the service, or the service's answer to it; it says whose it is.
Bytes packet(int from, uint16_t who) {
  constexpr uint32_t kPayload = 18;
  Bytes f(14 + 20 + 8 + kPayload);
  std::copy(kGatewayMac.bytes.begin(), kGatewayMac.bytes.end(), f.begin());
  std::copy(kTenantMac[from].bytes.begin(), kTenantMac[from].bytes.end(), f.begin() + 6);
  store_be16(&f[12], 0x0800);
  f[14] = 0x45;
  store_be16(&f[16], static_cast<uint16_t>(28 + kPayload));
  f[22] = 64;
  f[23] = 17;
  store_be32(&f[26], kTenant[from]);
  store_be32(&f[30], from == 0 ? kService : kTenant[0]);
  store_be16(&f[24], checksum(&f[14], 20));
  store_be16(&f[34], from == 0 ? who : 8080);
  store_be16(&f[36], from == 0 ? 80 : who);
  store_be16(&f[38], static_cast<uint16_t>(8 + kPayload));
  store_be16(&f[42], who);
  return f;
}

// Whether what came to tenant `at` is a packet of its client's flow, translated by that flow. An
// answer whose flow has been erased meanwhile opens one of its own, without a translation.
bool is_right(int at, const Bytes& f) {
  const uint16_t who = load_be16(&f[42]);
  const bool addresses = at == 1
                             ? load_be32(&f[26]) == kTenant[0] && load_be32(&f[30]) == kTenant[1]
                             : load_be32(&f[30]) == kTenant[0];
  const bool translated = load_be32(&f[26]) == kService && load_be16(&f[34]) == 80;
  const bool own = load_be32(&f[26]) == kTenant[1] && load_be16(&f[34]) == 8080;
  const bool ports = at == 1 ? load_be16(&f[34]) == who && load_be16(&f[36]) == 8080
                             : (translated || own) && load_be16(&f[36]) == who;
  return addresses && ports && f[22] == 63 && checksum(&f[14], 20) == 0;
}

EngineOptions two_workers() {
  EngineOptions options;
  options.flow_entries = 1024;
  options.buffers = 1024;
  options.workers = 2;
  return options;
}

void expect_settled(Engine& engine, uint64_t injected) {
  const Counters& c = engine.counters();
  EXPECT_EQ(c.received, injected);
  EXPECT_EQ(c.received, c.forwarded + c.replied + c.punted + c.dropped + c.consumed);
  uint64_t named = 0;
  for (const uint64_t drops : c.drops) named += drops;
  EXPECT_EQ(named, c.dropped);
  EXPECT_EQ(c.vifs[1].rx_packets + c.vifs[2].rx_packets, injected);
  EXPECT_EQ(engine.buffers_free(), 2u * 1024);
}

TEST(EngineWorkers, TurnsOfStepAreOneRouter) {
  Lab lab(two_workers());
  uint64_t now = 0;
  for (int round = 0; round < 3; ++round) {
    for (int from = 0; from < 2; ++from) {
      const Bytes f = packet(from, 1000);
      ASSERT_TRUE(lab.ports[from]->inject(f.data(), static_cast<uint32_t>(f.size())));
      EXPECT_EQ(lab.engine.step(now += 1'000'000), 1u);
      Bytes out;
      ASSERT_TRUE(lab.ports[1 - from]->collect(out)) << round << from;
      EXPECT_TRUE(is_right(1 - from, out));
    }
  }
  EXPECT_EQ(lab.engine.flows().used(), 2u);
  expect_settled(lab.engine, 6);
}

struct Traffic {
  std::atomic<uint64_t> injected{0};
  std::atomic<uint64_t> right{0};
  std::atomic<uint64_t> wrong{0};
};

// Tenant 0: its clients come in groups that change, so that their flows are made, idle and go.
void clients(Lab& lab, Clock::time_point until, Traffic& traffic) {
  std::mt19937 random(1);
  const auto began = Clock::now();
  Bytes out;
  while (Clock::now() < until) {
    const auto age = std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - began);
    const uint32_t group = static_cast<uint32_t>(age.count()) / 600;
    for (int i = 0; i < 64; ++i) {
      // Some stay for good; the others fill the table up.
      const uint32_t n = random() % 8 != 0 ? random() % 64 : 64 + group * 400 + random() % 400;
      const Bytes f = packet(0, static_cast<uint16_t>(1024 + n));
      if (lab.ports[0]->inject(f.data(), static_cast<uint32_t>(f.size()))) ++traffic.injected;
    }
    while (lab.ports[0]->collect(out)) ++(is_right(0, out) ? traffic.right : traffic.wrong);
  }
}

// Tenant 1 answers what it gets.
void service(Lab& lab, Clock::time_point until, Traffic& traffic) {
  Bytes out;
  while (Clock::now() < until) {
    if (!lab.ports[1]->collect(out)) {
      std::this_thread::yield();
      continue;
    }
    ++(is_right(1, out) ? traffic.right : traffic.wrong);
    const Bytes f = packet(1, load_be16(&out[42]));
    if (lab.ports[1]->inject(f.data(), static_cast<uint32_t>(f.size()))) ++traffic.injected;
  }
}

TEST(EngineWorkers, FlowsThatAreDecidedAgainEvictedAndErasedNeverMix) {
  Lab lab(two_workers());
  ASSERT_TRUE(lab.engine.start().ok());
  Traffic traffic;
  const auto until = Clock::now() + std::chrono::milliseconds(5000);
  std::thread tenants[2] = {std::thread([&] { clients(lab, until, traffic); }),
                            std::thread([&] { service(lab, until, traffic); })};
  std::mt19937 random(7);
  std::vector<Event> events(256);
  while (Clock::now() < until) {
    lab.churn();
    switch (random() % 64) {
      case 0:
        lab.engine.hold([&] { lab.engine.flush_flows(1); });
        break;
      default:  // an entry or two
        lab.engine.hold(
            [&] { lab.engine.flows().erase(FlowId{static_cast<uint32_t>(random() % 1024)}); });
    }
    while (lab.engine.events().drain(events.data(), 256) != 0) {
    }
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 2000));
  }
  for (std::thread& one : tenants) one.join();
  // What is still on its way.
  Bytes out;
  for (int quiet = 0; quiet < 20; ++quiet) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
    for (int at = 0; at < 2; ++at) {
      while (lab.ports[at]->collect(out)) {
        ++(is_right(at, out) ? traffic.right : traffic.wrong);
        quiet = 0;
      }
    }
  }
  lab.engine.stop();
  EXPECT_EQ(traffic.wrong.load(), 0u);
  const FlowTable& flows = lab.engine.flows();
  EXPECT_EQ(flows.used(), flows.created() - flows.deleted());
  EXPECT_GT(flows.created(), 1000u);
  EXPECT_EQ(traffic.right.load(), lab.engine.counters().forwarded);
  EXPECT_GT(traffic.right.load(), traffic.injected.load() / 4);
  expect_settled(lab.engine, traffic.injected.load());
  std::printf("%llu in, %llu out, %llu flows, %llu evicted, %llu times full\n",
              static_cast<unsigned long long>(traffic.injected.load()),
              static_cast<unsigned long long>(traffic.right.load()),
              static_cast<unsigned long long>(flows.created() / 2),
              static_cast<unsigned long long>(flows.evicted() / 2),
              static_cast<unsigned long long>(
                  lab.engine.counters().drops[static_cast<uint32_t>(DropReason::FlowTableFull)]));
}

}  // namespace
}  // namespace vrouter
