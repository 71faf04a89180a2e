// The whole pipeline on one core: established TCP flows of a service's backend, 64-byte packets in
// random order, each translated (source address and port, N(SPs)) and sent in MPLS over UDP.
//
//   pipeline_bench [FLOWS [PACKETS_PER_ROUND]]      default 100000 flows, 20 packets of each
//
// What is measured: Engine::step() from a port that copies prebuilt frames in to a port that counts
// them: receive, parse, flow lookup, NAT with checksums, encapsulation, TCP state, counters, and
// the housekeeping of every breath. Five rounds; prints one JSON line with the median, least and
// most. What is checked: every packet of every round left, none was dropped, and the last 4,096
// frames of a pass are taken apart: tunnel, label, translated source, right client, all checksums.
// A failed check prints what failed and exits with 1.
//
// The flows are made as in life: SYN from the fabric, SYN-ACK from the pod, ACK from the fabric,
// all through the same rooms; the tables come from a Program, through encode, decode and apply.
#include <algorithm>
#include <chrono>
#include <cinttypes>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <random>
#include <vector>

#if defined(__x86_64__)
#include <x86intrin.h>
#endif

#include "base/bytes.h"
#include "base/checksum.h"
#include "path/pipeline.h"
#include "port/generator_port.h"
#include "program/program.h"
#include "state/rewrite.h"
#include "wire/udp.h"
#include "worker/engine.h"

namespace vrouter {
namespace {

using Bytes = std::vector<uint8_t>;
using Clock = std::chrono::steady_clock;

constexpr uint32_t kRounds = 5;
constexpr uint32_t kChecked = 4096;
constexpr uint32_t kFrameBytes = 64;
constexpr uint64_t kBreathNs = 20'000;  // virtual time of a breath

constexpr uint32_t kThisNode = 0x0aa91914;   // 10.169.25.20
constexpr uint32_t kOtherNode = 0x0aa91915;  // 10.169.25.21
constexpr uint32_t kPod = 0x0a2fffec;        // 10.47.255.236
constexpr uint32_t kService = 0x0a698b99;    // 10.105.139.153
constexpr uint16_t kServicePort = 8888;
constexpr uint16_t kPodPort = 80;
constexpr uint32_t kFirstClient = 0x0a280001;  // 10.40.0.1 and on
constexpr uint32_t kClients = 1000;
constexpr uint32_t kLabelIn = 38;
constexpr uint32_t kLabelOut = 25;
constexpr Mac kNodeMac{{0x02, 0, 0, 0, 0x25, 0x20}};
constexpr Mac kOtherNodeMac{{0x02, 0, 0, 0, 0x25, 0x21}};
constexpr Mac kPodMac{{0x02, 0xe7, 0x03, 0xea, 0x67, 0xf1}};

[[noreturn]] __attribute__((format(printf, 1, 2))) void fail(const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  std::fprintf(stderr, "pipeline_bench: ");
  std::vfprintf(stderr, format, arguments);
  std::fprintf(stderr, "\n");
  va_end(arguments);
  std::exit(1);
}

// Frames in from a generator that can be exchanged between two passes; frames out to a sink.
class BenchPort : public Port {
 public:
  uint32_t rx_burst(PacketPool& pool, Packet** out, uint32_t max) override {
    return source ? source->rx_burst(pool, out, max) : 0;
  }
  uint32_t tx_burst(Packet* const* packets, uint32_t count) override {
    return sink.tx_burst(packets, count);
  }
  const char* kind() const override { return "bench"; }
  uint32_t mtu() const override { return 65535; }

  std::unique_ptr<GeneratorPort> source;
  SinkPort sink;
};

struct Client {
  uint32_t address;
  uint16_t port;
};

Client client_of(uint32_t flow) {
  return {kFirstClient + flow % kClients, static_cast<uint16_t>(1024 + flow / kClients)};
}

uint64_t tsc() {
#if defined(__x86_64__)
  return __rdtsc();
#else
  return 0;
#endif
}

// ------------------------------------------------------------------------------------------ frames

Bytes tcp_packet(uint32_t source, uint16_t source_port, uint32_t destination,
                 uint16_t destination_port, uint8_t flags, uint32_t sequence, uint32_t ack,
                 uint32_t payload) {
  const uint32_t length = 40 + payload;
  Bytes p(length);
  p[0] = 0x45;
  store_be16(&p[2], static_cast<uint16_t>(length));
  p[8] = 64;
  p[9] = 6;
  store_be32(&p[12], source);
  store_be32(&p[16], destination);
  store_be16(&p[10], checksum(p.data(), 20));
  store_be16(&p[20], source_port);
  store_be16(&p[22], destination_port);
  store_be32(&p[24], sequence);
  store_be32(&p[28], ack);
  p[32] = 0x50;
  p[33] = flags;
  store_be16(&p[34], 65535);
  for (uint32_t i = 0; i < payload; ++i) p[40 + i] = static_cast<uint8_t>(i * 17 + source_port);
  const uint32_t sum = pseudo_sum_v4(&p[12], &p[16], 6, length - 20);
  store_be16(&p[36], checksum_finish(checksum_add(sum, &p[20], length - 20)));
  return p;
}

Bytes ethernet(const Mac& destination, const Mac& source, const Bytes& packet) {
  Bytes f(destination.bytes.begin(), destination.bytes.end());
  f.insert(f.end(), source.bytes.begin(), source.bytes.end());
  f.insert(f.end(), {0x08, 0x00});
  f.insert(f.end(), packet.begin(), packet.end());
  return f;
}

// As the other node sends it.
Bytes from_fabric(const Bytes& inner) {
  Bytes p(32);
  const uint32_t length = 32 + static_cast<uint32_t>(inner.size());
  p[0] = 0x45;
  store_be16(&p[2], static_cast<uint16_t>(length));
  p[8] = 64;
  p[9] = 17;
  store_be32(&p[12], kOtherNode);
  store_be32(&p[16], kThisNode);
  store_be16(&p[10], checksum(p.data(), 20));
  store_be16(&p[20], 50000);
  store_be16(&p[22], udp::kPortMpls);
  store_be16(&p[24], static_cast<uint16_t>(length - 20));
  store_be32(&p[28], kLabelIn << 12 | 1u << 8 | 64);
  p.insert(p.end(), inner.begin(), inner.end());
  return ethernet(kNodeMac, kOtherNodeMac, p);
}

Bytes from_client(uint32_t flow, uint8_t flags, uint32_t sequence, uint32_t ack) {
  const Client c = client_of(flow);
  return from_fabric(
      tcp_packet(c.address, c.port, kService, kServicePort, flags, sequence, ack, 0));
}

Bytes from_pod(uint32_t flow, uint8_t flags, uint32_t sequence, uint32_t ack, uint32_t payload) {
  const Client c = client_of(flow);
  return ethernet(kGatewayMac, kPodMac,
                  tcp_packet(kPod, kPodPort, c.address, c.port, flags, sequence, ack, payload));
}

// ------------------------------------------------------------------------------------------ tables

std::vector<Op> program(PortId fabric, PortId pod) {
  std::vector<Op> ops;
  RouterSpec router;
  router.ipv4 = Address::from_v4(kThisNode);
  ops.push_back(router);
  for (uint32_t id = 0; id < 2; ++id) {
    VrfSpec vrf;
    vrf.vrf = id;
    vrf.name = id == 0 ? "fabric" : "k8s-default-pod-network";
    ops.push_back(vrf);
  }
  VifSpec uplink;
  uplink.vif = 0;
  uplink.name = "eth0";
  uplink.type = static_cast<uint8_t>(VifType::Physical);
  uplink.port = fabric.value;
  uplink.mac = kNodeMac;
  uplink.vrf = 0;
  uplink.flags = kVifL3 | kVifL2;
  uplink.mtu = 1500;
  uplink.ipv4 = Address::from_v4(kThisNode);
  ops.push_back(uplink);
  VifSpec tenant;
  tenant.vif = 1;
  tenant.name = "tapeth0-backend";
  tenant.type = static_cast<uint8_t>(VifType::Virtual);
  tenant.port = pod.value;
  tenant.mac = kGatewayMac;
  tenant.vrf = 1;
  tenant.flags = kVifPolicy | kVifL3;
  tenant.mtu = 1500;
  tenant.next_hop = 10;
  tenant.ipv4 = Address::from_v4(kPod);
  ops.push_back(tenant);
  ReceiveSpec here;  // tunnels to this node's address end here
  here.next_hop = 5;
  here.vrf = 0;
  here.vif = 0;
  ops.push_back(here);
  InterfaceSpec to_pod;
  to_pod.next_hop = 10;
  to_pod.vrf = 1;
  to_pod.vif = 1;
  to_pod.flags = kNhPolicy;
  to_pod.destination_mac = kPodMac;
  to_pod.source_mac = kGatewayMac;
  ops.push_back(to_pod);
  TunnelSpec tunnel;
  tunnel.next_hop = 20;
  tunnel.vrf = 0;
  tunnel.vif = 0;
  tunnel.encap = static_cast<uint8_t>(Encap::MplsOverUdp);
  tunnel.source = Address::from_v4(kThisNode);
  tunnel.destination = Address::from_v4(kOtherNode);
  tunnel.destination_mac = kOtherNodeMac;
  tunnel.source_mac = kNodeMac;
  ops.push_back(tunnel);
  LabelSpec label;
  label.label = kLabelIn;
  label.next_hop = 10;
  ops.push_back(label);
  const auto route = [&](uint32_t vrf, uint32_t address, uint32_t next_hop, uint32_t with_label) {
    RouteSpec r;
    r.vrf = vrf;
    r.prefix = {Address::from_v4(address), 32};
    r.next_hop = next_hop;
    r.label = with_label;
    ops.push_back(r);
  };
  route(0, kThisNode, 5, kNoLabel);
  route(1, kPod, 10, kNoLabel);
  route(1, kService, 10, kNoLabel);
  for (uint32_t i = 0; i < kClients; ++i) route(1, kFirstClient + i, 20, kLabelOut);
  FloatingIpSpec service;
  service.floating_ip = 1;
  service.vif = 1;
  service.vrf = 1;
  service.address = Address::from_v4(kService);
  service.fixed = Address::from_v4(kPod);
  service.direction = static_cast<uint8_t>(NatDirection::Both);
  service.port_map = 1;
  service.ports = {{6, kServicePort, kPodPort}};
  ops.push_back(service);
  return ops;
}

void commit(Engine& engine, const std::vector<Op>& asked) {
  std::vector<Op> ops;
  const Status decoded = decode(encode_program(asked), ops);
  if (!decoded.ok()) fail("decode: %s, op %u", status_code(decoded.code), decoded.op_index);
  engine.hold([&] {
    const ApplyResult applied = apply(
        ops, engine.router(),
        [](void* e, PortId port) { return static_cast<Engine*>(e)->port_exists(port); }, &engine);
    if (!applied.status.ok()) {
      fail("apply: %s, op %u, field %s", status_code(applied.status.code), applied.status.op_index,
           applied.status.field);
    }
  });
}

// ----------------------------------------------------------------------------------------- running

struct Bench {
  explicit Bench(uint32_t flow_count) : flows(flow_count), engine(options_for(flow_count)) {
    if (const Status s = engine.status(); !s.ok()) fail("%s: %s", s.field, status_text(s.code));
    auto fabric_port = std::make_unique<BenchPort>();
    auto pod_port = std::make_unique<BenchPort>();
    fabric = fabric_port.get();
    pod = pod_port.get();
    const PortId fabric_id = engine.add_port(std::move(fabric_port));
    const PortId pod_id = engine.add_port(std::move(pod_port));
    commit(engine, program(fabric_id, pod_id));
  }

  static EngineOptions options_for(uint32_t flow_count) {
    EngineOptions options;
    options.flow_entries = std::max(kDefaultFlows, flow_count * 4);
    return options;
  }

  // Breaths until `packets` have been taken in.
  void run(uint64_t packets) {
    for (uint64_t done = 0; done < packets;) {
      now_ns += kBreathNs;
      const uint32_t received = engine.step(now_ns);
      if (received == 0 || received == ~0u) fail("no packets after %" PRIu64, done);
      done += received;
    }
  }

  // One frame of each flow into a port; all must come out of the other.
  template <class Make>
  void pass(const char* what, BenchPort* in, BenchPort* out, Make make) {
    std::vector<Bytes> frames;
    for (uint32_t flow = 0; flow < flows; ++flow) frames.push_back(make(flow));
    const uint64_t before = out->sink.packets();
    in->source = std::make_unique<GeneratorPort>(frames, flows);
    run(flows);
    in->source.reset();
    if (out->sink.packets() - before != flows) {
      report_drops();
      Trace trace;
      explain(engine.context(), VifId{in == fabric ? 0u : 1u}, frames[0].data(),
              static_cast<uint32_t>(frames[0].size()), trace);
      std::fprintf(stderr, "%s", trace.text.c_str());
      fail("%s: %" PRIu64 " of %u left", what, out->sink.packets() - before, flows);
    }
  }

  void report_drops() {
    for (uint32_t i = 0; i < kDropReasons; ++i) {
      if (engine.counters().drops[i] == 0) continue;
      std::fprintf(stderr, "  %s: %" PRIu64 "\n", drop_name(static_cast<DropReason>(i)),
                   engine.counters().drops[i]);
    }
  }

  void establish() {
    constexpr uint8_t kSyn = 2, kSynAck = 0x12, kAck = 0x10;
    pass("SYN", fabric, pod, [](uint32_t f) { return from_client(f, kSyn, 1000, 0); });
    pass("SYN-ACK", pod, fabric, [](uint32_t f) { return from_pod(f, kSynAck, 5000, 1001, 0); });
    pass("ACK", fabric, pod, [](uint32_t f) { return from_client(f, kAck, 1001, 5001); });
    if (engine.flows().used() != 2 * flows) {
      fail("%u flow entries in use, %u wanted", engine.flows().used(), 2 * flows);
    }
  }

  uint32_t flows;
  Engine engine;
  BenchPort* fabric;
  BenchPort* pod;
  uint64_t now_ns = 0;
};

// One frame as it left: nothing in it is taken from our own encoder.
void check_frame(const Bytes& f, const std::map<uint64_t, uint32_t>& clients) {
  constexpr size_t kOuter = 14, kInner = kOuter + 32;
  if (f.size() != kFrameBytes + 32) fail("a frame of %zu bytes", f.size());
  if (!std::equal(kOtherNodeMac.bytes.begin(), kOtherNodeMac.bytes.end(), f.begin()) ||
      load_be16(&f[12]) != 0x0800) {
    fail("Ethernet header");
  }
  const uint8_t* outer = &f[kOuter];
  if (outer[0] != 0x45 || load_be16(outer + 2) != f.size() - 14 || outer[9] != 17 ||
      load_be32(outer + 12) != kThisNode || load_be32(outer + 16) != kOtherNode) {
    fail("outer IPv4 header");
  }
  if (checksum(outer, 20) != 0) fail("outer IPv4 checksum");
  if (load_be16(outer + 20) < kEntropyLow || load_be16(outer + 22) != udp::kPortMpls ||
      load_be16(outer + 24) != f.size() - 34 || load_be16(outer + 26) != 0) {
    fail("outer UDP header");
  }
  const uint32_t label = load_be32(outer + 28);
  if (label >> 12 != kLabelOut || (label >> 8 & 1) != 1) fail("label word %08x", label);
  const uint8_t* inner = &f[kInner];
  if (inner[0] != 0x45 || load_be16(inner + 2) != f.size() - kInner || inner[8] != 63) {
    fail("inner IPv4 header");
  }
  if (checksum(inner, 20) != 0) fail("inner IPv4 checksum");
  if (load_be32(inner + 12) != kService || load_be16(inner + 20) != kServicePort) {
    fail("source not translated: %08x:%u", load_be32(inner + 12), load_be16(inner + 20));
  }
  const uint64_t client = uint64_t{load_be32(inner + 16)} << 16 | load_be16(inner + 22);
  if (!clients.contains(client)) fail("a client that does not exist: %012" PRIx64, client);
  const uint32_t length = static_cast<uint32_t>(f.size() - kInner) - 20;
  const uint32_t sum = pseudo_sum_v4(inner + 12, inner + 16, 6, length);
  if (checksum_finish(checksum_add(sum, inner + 20, length)) != 0) fail("TCP checksum");
}

void check(Bench& bench, const std::vector<Bytes>& frames) {
  std::map<uint64_t, uint32_t> clients;
  for (uint32_t flow = 0; flow < bench.flows; ++flow) {
    const Client c = client_of(flow);
    clients[uint64_t{c.address} << 16 | c.port] = flow;
  }
  bench.fabric->sink.keep(kChecked);
  bench.pod->source = std::make_unique<GeneratorPort>(frames, frames.size());
  bench.run(frames.size());
  const std::vector<Bytes> last = bench.fabric->sink.last();
  if (last.size() != std::min<size_t>(kChecked, frames.size()))
    fail("%zu frames kept", last.size());
  for (const Bytes& f : last) check_frame(f, clients);
  bench.fabric->sink.keep(0);
}

struct Figures {
  std::vector<double> values;
  double least() const { return *std::min_element(values.begin(), values.end()); }
  double most() const { return *std::max_element(values.begin(), values.end()); }
  double median() const {
    std::vector<double> sorted = values;
    std::sort(sorted.begin(), sorted.end());
    return sorted[sorted.size() / 2];
  }
};

int main_with(uint32_t flows, uint64_t packets) {
  Bench bench(flows);
  bench.establish();

  std::vector<uint32_t> order(flows);
  for (uint32_t i = 0; i < flows; ++i) order[i] = i;
  std::mt19937 random(1);
  std::shuffle(order.begin(), order.end(), random);
  std::vector<Bytes> frames;
  for (const uint32_t flow : order) {
    frames.push_back(from_pod(flow, 0x18, 5001, 1001, kFrameBytes - 54));
  }
  check(bench, frames);

  bench.pod->source = std::make_unique<GeneratorPort>(frames);
  bench.run(flows);  // warm
  Figures rate, clocks;
  for (uint32_t round = 0; round < kRounds; ++round) {
    const Counters before = bench.engine.counters();
    const uint64_t sent_before = bench.fabric->sink.packets();
    const Clock::time_point start = Clock::now();
    const uint64_t start_tsc = tsc();
    bench.run(packets);
    const uint64_t spent_tsc = tsc() - start_tsc;
    const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
    const Counters& after = bench.engine.counters();
    const uint64_t done = after.received - before.received;
    if (after.forwarded - before.forwarded != done || after.dropped != before.dropped ||
        bench.fabric->sink.packets() - sent_before != done) {
      bench.report_drops();
      fail("round %u: not every packet left", round);
    }
    rate.values.push_back(static_cast<double>(done) / seconds);
    clocks.values.push_back(static_cast<double>(spent_tsc) / static_cast<double>(done));
  }
  check(bench, frames);
  if (bench.engine.flows().used() != 2 * flows) fail("flows came or went while measuring");

  std::printf(
      "{\"bench\":\"pipeline\",\"flows\":%u,\"frameBytes\":%u,\"nat\":\"SPs\","
      "\"encap\":\"MPLSoUDP\",\"rounds\":%u,\"packetsPerRound\":%" PRIu64
      ","
      "\"packetsPerSecond\":{\"median\":%.0f,\"min\":%.0f,\"max\":%.0f},",
      flows, kFrameBytes, kRounds, packets, rate.median(), rate.least(), rate.most());
  if (tsc() != 0) {
    std::printf("\"tscClocksPerPacket\":{\"median\":%.1f,\"min\":%.1f,\"max\":%.1f},",
                clocks.median(), clocks.least(), clocks.most());
  }
  std::printf("\"framesChecked\":%u}\n", 2 * std::min(kChecked, flows));
  return 0;
}

// A whole decimal number in [low, high], or the program ends.
uint64_t number(const char* what, const char* text, uint64_t low, uint64_t high) {
  char* end = nullptr;
  const uint64_t value = std::strtoull(text, &end, 10);
  if (*text < '0' || *text > '9' || *end != '\0' || value < low || value > high) {
    fail("%s must be a number from %" PRIu64 " to %" PRIu64 ", not '%s'", what, low, high, text);
  }
  return value;
}

}  // namespace
}  // namespace vrouter

int main(int argc, char** argv) {
  using vrouter::number;
  if (argc > 3) vrouter::fail("usage: pipeline_bench [FLOWS [PACKETS_PER_ROUND]]");
  // Clients have 64,000 ports each at most; the table holds kMaxFlows entries.
  const auto flows =
      static_cast<uint32_t>(argc > 1 ? number("FLOWS", argv[1], 1, 4'000'000) : 100'000);
  const uint64_t packets =
      argc > 2 ? number("PACKETS_PER_ROUND", argv[2], 1, 10'000'000'000) : uint64_t{flows} * 20;
  return vrouter::main_with(flows, packets);
}
