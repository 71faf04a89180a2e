// What a second worker is worth: the same traffic through an engine with one worker and with two,
// taking turns in one process, so that what else the machine does meets both alike.
//
//   workers_bench vifs   [rounds]   pods on ports of their own, half of them each worker's: NAT,
//                                   MPLSoUDP, out by one fabric port
//   workers_bench fabric [rounds]   one fabric port with two receive queues, half of the flows in
//                                   each: out of the tunnel, NAT, to pods on two ports
//
// One JSON line: million packets a second of either, the median of the rounds' ratios and the
// greatest, and the load of the machine before and after. Above some load it says little.
#include <stdlib.h>
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/bytes.h"
#include "base/checksum.h"
#include "port/generator_port.h"
#include "wire/udp.h"
#include "worker/engine.h"

namespace vrouter {
namespace {

using Bytes = std::vector<uint8_t>;

constexpr uint32_t kNode = 0xc0000201;
constexpr uint32_t kFarNode = 0xc0000202;
constexpr uint32_t kPod = 0x0a000001;     // and on; one a port
constexpr uint32_t kPublic = 0x0a630001;  // its floating IP, and on
constexpr uint32_t kClient = 0x0a010001;  // and on
constexpr uint32_t kLabelIn = 40;         // and on; one a pod
constexpr uint32_t kLabelOut = 50;
constexpr uint32_t kFlows = 512;  // of one queue
constexpr uint32_t kPayload = 18;
constexpr Mac kNodeMac{{2, 0, 0, 0, 1, 1}};
constexpr Mac kFarMac{{2, 0, 0, 0, 1, 2}};
Mac pod_mac(uint32_t pod) { return Mac{{2, 0, 0, 0, 2, static_cast<uint8_t>(pod)}}; }

// Frames in by several queues, frames out counted.
class QueuesPort : public Port {
 public:
  explicit QueuesPort(const std::vector<std::vector<Bytes>>& queues) {
    for (const auto& frames : queues) queues_.push_back(std::make_unique<GeneratorPort>(frames));
  }
  bool apart() const override { return true; }
  uint32_t rx_queues() const override {
    return std::max<uint32_t>(1, static_cast<uint32_t>(queues_.size()));
  }
  uint32_t rx_burst(PacketPool& pool, Packet** out, uint32_t max) override {
    return rx_burst_of(0, pool, out, max);
  }
  uint32_t rx_burst_of(uint32_t queue, PacketPool& pool, Packet** out, uint32_t max) override {
    return queue < queues_.size() ? queues_[queue]->rx_burst(pool, out, max) : 0;
  }
  RxLosses rx_losses(uint32_t queue) const override {
    return queue < queues_.size() ? RxLosses{queues_[queue]->rx_discards, 0} : RxLosses{};
  }
  uint32_t tx_burst(Packet* const*, uint32_t count) override { return count; }
  const char* kind() const override { return "queues"; }
  uint32_t mtu() const override { return 65535; }

 private:
  std::vector<std::unique_ptr<GeneratorPort>> queues_;
};

Bytes udp_packet(uint32_t source, uint16_t source_port, uint32_t destination, uint16_t port) {
  Bytes p(28 + kPayload);
  p[0] = 0x45;
  store_be16(&p[2], static_cast<uint16_t>(p.size()));
  p[8] = 64;
  p[9] = 17;
  store_be32(&p[12], source);
  store_be32(&p[16], destination);
  store_be16(&p[10], checksum(p.data(), 20));
  store_be16(&p[20], source_port);
  store_be16(&p[22], port);
  store_be16(&p[24], static_cast<uint16_t>(8 + kPayload));
  const uint32_t sum = pseudo_sum_v4(&p[12], &p[16], 17, 8 + kPayload);
  store_be16(&p[26], checksum_finish(checksum_add(sum, &p[20], 8 + kPayload)));
  return p;
}

Bytes ethernet(const Mac& to, const Mac& from, const Bytes& packet) {
  Bytes f(to.bytes.begin(), to.bytes.end());
  f.insert(f.end(), from.bytes.begin(), from.bytes.end());
  f.insert(f.end(), {0x08, 0x00});
  f.insert(f.end(), packet.begin(), packet.end());
  return f;
}

Bytes from_pod(uint32_t pod, uint32_t flow) {
  return ethernet(
      kGatewayMac, pod_mac(pod),
      udp_packet(kPod + pod, 8080, kClient + flow % 64, static_cast<uint16_t>(1024 + flow / 64)));
}

Bytes from_fabric(uint32_t pod, uint32_t flow) {
  const Bytes inner =
      udp_packet(kClient + flow % 64, static_cast<uint16_t>(1024 + flow / 64), kPublic + pod, 80);
  Bytes p(32);
  const uint32_t length = 32 + static_cast<uint32_t>(inner.size());
  p[0] = 0x45;
  store_be16(&p[2], static_cast<uint16_t>(length));
  p[8] = 64;
  p[9] = 17;
  store_be32(&p[12], kFarNode);
  store_be32(&p[16], kNode);
  store_be16(&p[10], checksum(p.data(), 20));
  store_be16(&p[20], static_cast<uint16_t>(49152 + flow));
  store_be16(&p[22], udp::kPortMpls);
  store_be16(&p[24], static_cast<uint16_t>(length - 20));
  store_be32(&p[28], (kLabelIn + pod) << 12 | 1u << 8 | 64);
  p.insert(p.end(), inner.begin(), inner.end());
  return ethernet(kNodeMac, kFarMac, p);
}

// Fabric on port 0, pods on 1 and 2: with two workers one each.
struct Bench {
  Bench(bool by_fabric, uint32_t workers) : engine(options(workers)), reachable(by_fabric ? 1 : 2) {
    std::vector<std::vector<Bytes>> in[3];
    for (uint32_t pod = 0; pod < 2; ++pod) {
      std::vector<Bytes> frames;
      for (uint32_t flow = 0; flow < kFlows; ++flow) {
        frames.push_back(by_fabric ? from_fabric(pod, flow) : from_pod(pod, flow));
      }
      in[by_fabric ? 0 : 1 + pod].push_back(frames);
    }
    for (auto& queues : in) engine.add_port(std::make_unique<QueuesPort>(queues));
    engine.hold([&] { program(); });
    for (uint64_t i = 1; i <= 64; ++i) engine.step(now += 1'000'000);  // every flow is made
  }

  static EngineOptions options(uint32_t workers) {
    EngineOptions o;
    o.flow_entries = 1u << 14;
    o.buffers = 2048;
    o.workers = workers;
    o.cpu = 0;
    return o;
  }

  void program() {
    Router& r = engine.router();
    RouterSpec spec;
    spec.ipv4 = Address::from_v4(kNode);
    r.exchange(spec);
    for (uint32_t id = 0; id < 3; ++id) {
      VrfSpec vrf;
      vrf.vrf = id;
      vrf.name = id == 0 ? "fabric" : id == 1 ? "pods" : "public";
      r.exchange(VrfId{id}, vrf);
    }
    for (uint32_t id = 0; id < 3; ++id) {
      VifSpec vif;
      vif.vif = id;
      vif.name = "vif";
      vif.type = static_cast<uint8_t>(id == 0 ? VifType::Physical : VifType::Virtual);
      vif.port = id;
      vif.mac = id == 0 ? kNodeMac : kGatewayMac;
      vif.vrf = id == 0 ? 0 : 1;
      vif.flags = id == 0 ? kVifL3 | kVifL2 : kVifL3 | kVifPolicy;
      vif.mtu = id == 0 ? 9000 : 1500;
      if (id != 0) vif.next_hop = 9 + id;
      vif.ipv4 = Address::from_v4(id == 0 ? kNode : kPod + id - 1);
      r.exchange(VifId{id}, vif);
    }
    NextHopObject here;
    here.kind = NextHopKind::Receive;
    here.receive.next_hop = 5;
    here.receive.vrf = 0;
    here.receive.vif = 0;
    r.exchange(NextHopId{5}, here);
    NextHopObject tunnel;
    tunnel.kind = NextHopKind::Tunnel;
    tunnel.tunnel.next_hop = 20;
    tunnel.tunnel.vrf = 0;
    tunnel.tunnel.vif = 0;
    tunnel.tunnel.encap = static_cast<uint8_t>(Encap::MplsOverUdp);
    tunnel.tunnel.source = Address::from_v4(kNode);
    tunnel.tunnel.destination = Address::from_v4(kFarNode);
    tunnel.tunnel.destination_mac = kFarMac;
    tunnel.tunnel.source_mac = kNodeMac;
    r.exchange(NextHopId{20}, tunnel);
    route(0, kNode, 5, kNoLabel);
    for (uint32_t pod = 0; pod < 2; ++pod) {
      NextHopObject to_pod;
      to_pod.kind = NextHopKind::Interface;
      to_pod.interface.next_hop = 10 + pod;
      to_pod.interface.vrf = 1;
      to_pod.interface.vif = 1 + pod;
      to_pod.interface.flags = kNhPolicy;
      to_pod.interface.destination_mac = pod_mac(pod);
      to_pod.interface.source_mac = kGatewayMac;
      r.exchange(NextHopId{10 + pod}, to_pod);
      LabelSpec label;
      label.label = kLabelIn + pod;
      label.next_hop = 10 + pod;
      r.exchange_label(label.label, label);
      route(1, kPod + pod, 10 + pod, kNoLabel);
      route(reachable, kPublic + pod, 10 + pod, kNoLabel);
      FloatingIpSpec fip;
      fip.floating_ip = 1 + pod;
      fip.vif = 1 + pod;
      fip.vrf = reachable;
      fip.address = Address::from_v4(kPublic + pod);
      fip.fixed = Address::from_v4(kPod + pod);
      if (reachable == 1) {
        fip.port_map = 1;
        fip.ports = {{17, 80, 8080}};
      }
      r.exchange_floating_ip(1 + pod, fip);
    }
    for (uint32_t i = 0; i < 64; ++i) route(reachable, kClient + i, 20, kLabelOut);
    ++r.generation;
  }

  void route(uint32_t vrf, uint32_t address, uint32_t next_hop, uint32_t label) {
    RouteSpec spec;
    spec.vrf = vrf;
    spec.prefix = {Address::from_v4(address), 32};
    spec.next_hop = next_hop;
    spec.label = label;
    engine.router().exchange(VrfId{vrf}, spec.prefix, spec);
  }

  // Packets a second, by the clock.
  double run(std::chrono::milliseconds time) {
    const uint64_t before = engine.counters().forwarded;
    const auto began = std::chrono::steady_clock::now();
    if (!engine.start().ok()) std::exit(1);
    std::this_thread::sleep_for(time);
    engine.stop();
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - began;
    return static_cast<double>(engine.counters().forwarded - before) / took.count();
  }

  void check() {
    const Counters& c = engine.counters();
    if (c.dropped == 0 && c.forwarded != 0 && engine.flows().used() == 4 * kFlows) return;
    std::fprintf(stderr, "workers_bench: %llu forwarded, %llu dropped, %u flow entries\n",
                 static_cast<unsigned long long>(c.forwarded),
                 static_cast<unsigned long long>(c.dropped), engine.flows().used());
    for (uint32_t i = 0; i < kDropReasons; ++i) {
      if (c.drops[i] != 0) {
        std::fprintf(stderr, "  %s: %llu\n", drop_name(static_cast<DropReason>(i)),
                     static_cast<unsigned long long>(c.drops[i]));
      }
    }
    std::exit(1);
  }

  Engine engine;
  const uint32_t reachable;  // the VRF where the clients are, and the floating IPs
  uint64_t now = 0;
};

double load() {
  double out[1] = {0};
  getloadavg(out, 1);
  return out[0];
}

int run(int argc, char** argv) {
  const std::string what = argc > 1 ? argv[1] : "";
  const int rounds = argc > 2 ? std::atoi(argv[2]) : 15;
  if ((what != "vifs" && what != "fabric") || rounds < 1) {
    std::fprintf(stderr, "usage: workers_bench vifs|fabric [rounds]\n");
    return 2;
  }
  const double load_before = load();
  Bench one(what == "fabric", 1);
  Bench two(what == "fabric", 2);
  one.check();
  two.check();
  std::vector<double> ratios;
  double best[2] = {0, 0};
  for (int i = 0; i < rounds; ++i) {
    const double a = one.run(std::chrono::milliseconds(200));
    const double b = two.run(std::chrono::milliseconds(200));
    best[0] = std::max(best[0], a);
    best[1] = std::max(best[1], b);
    ratios.push_back(b / a);
  }
  one.check();
  two.check();
  std::sort(ratios.begin(), ratios.end());
  std::printf(
      "{\"what\":\"workers-%s\",\"rounds\":%d,\"one_mpps\":%.3f,\"two_mpps\":%.3f,"
      "\"ratio_median\":%.3f,\"ratio_best\":%.3f,\"ratio_of_bests\":%.3f,"
      "\"cores\":%u,\"load_before\":%.2f,\"load_after\":%.2f}\n",
      what.c_str(), rounds, best[0] / 1e6, best[1] / 1e6, ratios[ratios.size() / 2], ratios.back(),
      best[1] / best[0], std::thread::hardware_concurrency(), load_before, load());
  return 0;
}

}  // namespace
}  // namespace vrouter

int main(int argc, char** argv) { return vrouter::run(argc, argv); }
