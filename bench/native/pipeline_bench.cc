// The whole pipeline on one core: one workload a run, 64-byte packets, flows and destinations
// visited in an order that has nothing to do with how they were made.
//
//   pipeline_bench [WORKLOAD [FLOWS [PACKETS_PER_ROUND [FRAME_BYTES]]]]
//       default: nat, 100000 flows, 20 packets of each, 64 bytes
//   pipeline_bench list                             the workloads (kWorkloads), one a line
//
// What is measured: Engine::step() from a port that copies prebuilt frames in to a port that counts
// them: receive, parse, flow lookup, NAT with checksums, encapsulation, TCP state, counters, and
// the housekeeping of every breath. Five rounds; prints one JSON line with the median, least and
// most. measured_rounds() is what an instruction counter is to look at:
//   valgrind --tool=callgrind --toggle-collect='*measured_rounds*' pipeline_bench nat 1000 100000
// What is checked: every packet of every round left, none was dropped, and the last 4,096 frames of
// a pass are taken apart: tunnel, label, translated addresses, right client, all checksums. A
// failed check prints what failed and exits with 1.
//
// The flows are made as in life: SYN from the fabric, SYN-ACK from the pod, ACK from the fabric,
// all through the same rooms; the tables come from Programs, through encode, decode and apply.
#include <algorithm>
#include <chrono>
#include <cinttypes>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <random>
#include <string_view>
#include <unordered_set>
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
constexpr uint64_t kBreathNs = 20'000;  // virtual time of a breath

constexpr uint32_t kThisNode = 0x0aa91914;   // 10.169.25.20
constexpr uint32_t kOtherNode = 0x0aa91915;  // 10.169.25.21
constexpr uint32_t kPod = 0x0a2fffec;        // 10.47.255.236
constexpr uint32_t kService = 0x0a698b99;    // 10.105.139.153
constexpr uint16_t kServicePort = 8888;
constexpr uint16_t kPodPort = 80;
constexpr uint32_t kPublic = 0x0a6e0001;       // 10.110.0.1: the pod's floating IP towards others
constexpr uint32_t kFirstClient = 0x0a280001;  // 10.40.0.1 and on
constexpr uint32_t kClients = 1000;
constexpr uint32_t kLabelIn = 38;
constexpr uint32_t kLabelOut = 25;  // or VNI
constexpr uint32_t kFarNodes = 4;   // kOtherNode and on

// What goes on in a run. Frames of the measured rounds are the pod's, or what the fabric brings it.
enum class Kind : uint8_t {
  Forward,   // established, policy passed, addresses as they are
  Nat,       // established, the pod's replies as a service: N(SPs)
  Deliver,   // established, the clients' packets to that service: tunnel ends, N(DPd), to the pod
  Bridge,    // by MAC, no flow
  Flowless,  // by route, no flow; every destination is a client of its own, behind one of four
             // nodes
  NewFlows,  // every packet is the first of its connection: policy, floating IP, one of four nodes
};
struct Workload {
  const char* name;
  Kind kind;
  Encap encap;  // of what the pod sends
};
constexpr Workload kWorkloads[] = {
    {"forward", Kind::Forward, Encap::MplsOverUdp},
    {"nat", Kind::Nat, Encap::MplsOverUdp},
    {"nat-gre", Kind::Nat, Encap::MplsOverGre},
    {"nat-vxlan", Kind::Nat, Encap::Vxlan},
    {"deliver", Kind::Deliver, Encap::MplsOverUdp},
    {"bridge", Kind::Bridge, Encap::Vxlan},
    {"flowless", Kind::Flowless, Encap::MplsOverUdp},
    {"new-flows", Kind::NewFlows, Encap::MplsOverUdp},
};
bool has_flows(Kind kind) { return kind != Kind::Bridge && kind != Kind::Flowless; }
bool established(Kind kind) { return has_flows(kind) && kind != Kind::NewFlows; }
bool as_service(Kind kind) { return kind == Kind::Nat || kind == Kind::Deliver; }
bool many_nodes(Kind kind) { return kind == Kind::Flowless || kind == Kind::NewFlows; }

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

Client client_of(Kind kind, uint32_t flow) {
  if (kind == Kind::Flowless) return {kFirstClient + flow, 1024};
  return {kFirstClient + flow % kClients, static_cast<uint16_t>(1024 + flow / kClients)};
}
uint32_t clients_of(Kind kind, uint32_t flows) { return kind == Kind::Flowless ? flows : kClients; }

// Of the host behind the far node that a bridged frame is for.
Mac host_mac(uint32_t flow) {
  return Mac{{0x02, 0x11, static_cast<uint8_t>(flow >> 24), static_cast<uint8_t>(flow >> 16),
              static_cast<uint8_t>(flow >> 8), static_cast<uint8_t>(flow)}};
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

Bytes from_client(Kind kind, uint32_t flow, uint8_t flags, uint32_t sequence, uint32_t ack,
                  uint32_t payload) {
  const Client c = client_of(kind, flow);
  const bool service = as_service(kind);
  return from_fabric(tcp_packet(c.address, c.port, service ? kService : kPod,
                                service ? kServicePort : kPodPort, flags, sequence, ack, payload));
}

Bytes from_pod(Kind kind, uint32_t flow, uint8_t flags, uint32_t sequence, uint32_t ack,
               uint32_t payload) {
  const Client c = client_of(kind, flow);
  return ethernet(kind == Kind::Bridge ? host_mac(flow) : kGatewayMac, kPodMac,
                  tcp_packet(kPod, kPodPort, c.address, c.port, flags, sequence, ack, payload));
}

// ------------------------------------------------------------------------------------------ tables

std::vector<Op> program(const Workload& workload, uint32_t flows, PortId fabric, PortId pod) {
  const Kind kind = workload.kind;
  std::vector<Op> ops;
  RouterSpec router;
  router.ipv4 = Address::from_v4(kThisNode);
  ops.push_back(router);
  for (const char* name : {"fabric", "k8s-default-pod-network", "public"}) {
    VrfSpec vrf;
    vrf.vrf = static_cast<uint32_t>(ops.size()) - 1;
    vrf.name = name;
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
  uplink.mtu = 9000;
  uplink.ipv4 = Address::from_v4(kThisNode);
  ops.push_back(uplink);
  VifSpec tenant;
  tenant.vif = 1;
  tenant.name = "tapeth0-backend";
  tenant.type = static_cast<uint8_t>(VifType::Virtual);
  tenant.port = pod.value;
  tenant.mac = kGatewayMac;
  tenant.vrf = 1;
  tenant.flags = kVifL3;
  if (has_flows(kind)) tenant.flags |= kVifPolicy;
  if (kind == Kind::Bridge) tenant.flags |= kVifL2;
  tenant.mtu = 1500;
  tenant.next_hop = 10;
  tenant.ipv4 = Address::from_v4(kPod);
  if (has_flows(kind)) tenant.network_policies = {{1}};
  ops.push_back(tenant);
  PolicySpec policy;
  policy.policy = 1;
  policy.name = "web";
  for (const uint8_t protocol : {uint8_t{17}, uint8_t{6}}) {  // the second matches
    PolicyRule rule;
    rule.action = 1;
    rule.protocol = protocol;
    rule.source_port_high = rule.destination_port_high = 65535;
    policy.rules.push_back(rule);
  }
  ops.push_back(policy);
  ReceiveSpec here;  // tunnels to this node's address end here
  here.next_hop = 5;
  here.vrf = 0;
  here.vif = 0;
  ops.push_back(here);
  InterfaceSpec to_pod;
  to_pod.next_hop = 10;
  to_pod.vrf = 1;
  to_pod.vif = 1;
  if (has_flows(kind)) to_pod.flags = kNhPolicy;
  to_pod.destination_mac = kPodMac;
  to_pod.source_mac = kGatewayMac;
  ops.push_back(to_pod);
  EcmpSpec any_node;
  any_node.next_hop = 30;
  any_node.vrf = 0;
  for (uint32_t i = 0; i < kFarNodes; ++i) {
    TunnelSpec tunnel;
    tunnel.next_hop = 20 + i;
    tunnel.vrf = 0;
    tunnel.vif = 0;
    tunnel.encap = static_cast<uint8_t>(workload.encap);
    tunnel.source = Address::from_v4(kThisNode);
    tunnel.destination = Address::from_v4(kOtherNode + i);
    tunnel.destination_mac = kOtherNodeMac;
    tunnel.source_mac = kNodeMac;
    ops.push_back(tunnel);
    any_node.members.push_back({static_cast<uint16_t>(i), 20 + i, kLabelOut, 1});
  }
  ops.push_back(any_node);
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
  const uint32_t far = many_nodes(kind) ? 30 : 20;
  const uint32_t far_label = many_nodes(kind) ? kNoLabel : kLabelOut;
  for (uint32_t i = 0; i < clients_of(kind, flows); ++i) {
    route(kind == Kind::NewFlows ? 2 : 1, kFirstClient + i, far, far_label);
  }
  if (kind == Kind::Bridge) {
    for (uint32_t i = 0; i < flows; ++i) {
      MacSpec mac;
      mac.vrf = 1;
      mac.mac = host_mac(i);
      mac.next_hop = 20;
      mac.label = kLabelOut;
      ops.push_back(mac);
    }
  }
  if (kind == Kind::NewFlows) {
    FloatingIpSpec own;
    own.floating_ip = 2;
    own.vif = 1;
    own.vrf = 2;
    own.address = Address::from_v4(kPublic);
    own.fixed = Address::from_v4(kPod);
    own.direction = static_cast<uint8_t>(NatDirection::Both);
    ops.push_back(own);
  }
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

// In Programs as large as they may be.
void commit(Engine& engine, const std::vector<Op>& all) {
  for (size_t from = 0; from < all.size(); from += kMaxProgramOps) {
    const size_t to = std::min<size_t>(all.size(), from + kMaxProgramOps);
    std::vector<Op> ops;
    const Status decoded =
        decode(encode_program(std::vector<Op>(all.begin() + static_cast<ptrdiff_t>(from),
                                              all.begin() + static_cast<ptrdiff_t>(to))),
               ops);
    if (!decoded.ok()) fail("decode: %s, op %u", status_code(decoded.code), decoded.op_index);
    engine.hold([&] {
      const ApplyResult applied = apply(
          ops, engine.router(),
          [](void* e, PortId port) { return static_cast<Engine*>(e)->port_exists(port); }, &engine);
      if (!applied.status.ok()) {
        fail("apply: %s, op %u, field %s", status_code(applied.status.code),
             applied.status.op_index, applied.status.field);
      }
    });
  }
}

// ----------------------------------------------------------------------------------------- running

struct Bench {
  Bench(const Workload& what, uint32_t flow_count, uint32_t bytes)
      : workload(what),
        kind(what.kind),
        flows(flow_count),
        frame_bytes(bytes),
        engine(options_for(flow_count)) {
    if (const Status s = engine.status(); !s.ok()) fail("%s: %s", s.field, status_text(s.code));
    auto fabric_port = std::make_unique<BenchPort>();
    auto pod_port = std::make_unique<BenchPort>();
    fabric = fabric_port.get();
    pod = pod_port.get();
    const PortId fabric_id = engine.add_port(std::move(fabric_port));
    const PortId pod_id = engine.add_port(std::move(pod_port));
    commit(engine, program(workload, flows, fabric_id, pod_id));
    in = kind == Kind::Deliver ? fabric : pod;
    out = kind == Kind::Deliver ? pod : fabric;
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
  void pass(const char* what, BenchPort* from, BenchPort* to, Make make) {
    std::vector<Bytes> frames;
    for (uint32_t flow = 0; flow < flows; ++flow) frames.push_back(make(flow));
    const uint64_t before = to->sink.packets();
    from->source = std::make_unique<GeneratorPort>(frames, flows);
    run(flows);
    from->source.reset();
    if (to->sink.packets() - before != flows) {
      explain_first(from, frames[0]);
      fail("%s: %" PRIu64 " of %u left", what, to->sink.packets() - before, flows);
    }
  }

  void explain_first(const BenchPort* from, const Bytes& frame) {
    report_drops();
    Trace trace;
    explain(engine.context(), VifId{from == fabric ? 0u : 1u}, frame.data(),
            static_cast<uint32_t>(frame.size()), trace);
    std::fprintf(stderr, "%s", trace.text.c_str());
  }

  void report_drops() {
    for (uint32_t i = 0; i < kDropReasons; ++i) {
      if (engine.counters().drops[i] == 0) continue;
      std::fprintf(stderr, "  %s: %" PRIu64 "\n", drop_name(static_cast<DropReason>(i)),
                   engine.counters().drops[i]);
    }
  }

  void establish() {
    const Kind k = kind;
    pass("SYN", fabric, pod, [k](uint32_t f) { return from_client(k, f, kSyn, 1000, 0, 0); });
    pass("SYN-ACK", pod, fabric,
         [k](uint32_t f) { return from_pod(k, f, kSyn | kAck, 5000, 1001, 0); });
    pass("ACK", fabric, pod, [k](uint32_t f) { return from_client(k, f, kAck, 1001, 5001, 0); });
    if (engine.flows().used() != 2 * flows) {
      fail("%u flow entries in use, %u wanted", engine.flows().used(), 2 * flows);
    }
  }

  // The frames to measure, in an order of their own.
  std::vector<Bytes> frames() const {
    std::vector<uint32_t> order(flows);
    for (uint32_t i = 0; i < flows; ++i) order[i] = i;
    std::mt19937 random(1);
    std::shuffle(order.begin(), order.end(), random);
    std::vector<Bytes> made;
    made.reserve(flows);
    const uint32_t payload = frame_bytes - 54;
    for (const uint32_t flow : order) {
      made.push_back(kind == Kind::Deliver
                         ? from_client(kind, flow, kPush | kAck, 1001, 5001, payload)
                     : established(kind) ? from_pod(kind, flow, kPush | kAck, 5001, 1001, payload)
                                         : from_pod(kind, flow, kSyn, 5000, 0, payload));
    }
    return made;
  }

  // So that the next round's packets are first ones again; not measured.
  void forget_flows() {
    for (uint32_t i = 0; i < engine.flows().capacity(); ++i) engine.flows().erase(FlowId{i});
    Event events[256];
    while (engine.events().drain(events, 256) != 0) {
    }
  }

  static constexpr uint8_t kSyn = 0x02, kPush = 0x08, kAck = 0x10;
  const Workload workload;
  const Kind kind;
  uint32_t flows;
  uint32_t frame_bytes;
  Engine engine;
  BenchPort* fabric;
  BenchPort* pod;
  BenchPort* in;  // of the measured packets
  BenchPort* out;
  uint64_t now_ns = 0;
};

uint64_t client_key(uint32_t address, uint16_t port) { return uint64_t{address} << 16 | port; }

// Where a frame's inner packet starts, after everything in front of it has been looked at.
size_t check_outer(const Workload& workload, const Bytes& f) {
  constexpr size_t kOuter = 14;
  const bool gre = workload.encap == Encap::MplsOverGre;
  const bool vxlan = workload.encap == Encap::Vxlan;
  if (!std::equal(kOtherNodeMac.bytes.begin(), kOtherNodeMac.bytes.end(), f.begin()) ||
      load_be16(&f[12]) != 0x0800) {
    fail("Ethernet header");
  }
  const uint8_t* outer = &f[kOuter];
  const uint32_t node = load_be32(outer + 16) - kOtherNode;
  if (outer[0] != 0x45 || load_be16(outer + 2) != f.size() - 14 || outer[9] != (gre ? 47 : 17) ||
      load_be32(outer + 12) != kThisNode || node >= (many_nodes(workload.kind) ? kFarNodes : 1)) {
    fail("outer IPv4 header");
  }
  if (checksum(outer, 20) != 0) fail("outer IPv4 checksum");
  const uint8_t* p = outer + 20;
  if (gre) {
    if (load_be32(p) != 0x8847) fail("GRE header");
    p += 4;
  } else {
    if (load_be16(p) < kEntropyLow ||
        load_be16(p + 2) != (vxlan ? udp::kPortVxlan : udp::kPortMpls) ||
        load_be16(p + 4) != f.size() - 34 || load_be16(p + 6) != 0) {
      fail("outer UDP header");
    }
    p += 8;
  }
  if (vxlan) {
    if (load_be32(p) != 0x08000000 || load_be32(p + 4) != kLabelOut << 8) fail("VXLAN header");
    return static_cast<size_t>(p - f.data()) + 8;
  }
  const uint32_t label = load_be32(p);
  if (label >> 12 != kLabelOut || (label >> 8 & 1) != 1) fail("label word %08x", label);
  return static_cast<size_t>(p - f.data()) + 4;
}

// One frame as it left: nothing in it is taken from our own encoder.
void check_frame(const Bench& bench, const Bytes& f, const std::unordered_set<uint64_t>& clients) {
  const Kind kind = bench.kind;
  const bool deliver = kind == Kind::Deliver;
  size_t at = deliver ? 14 : check_outer(bench.workload, f);
  if (deliver && (!std::equal(kPodMac.bytes.begin(), kPodMac.bytes.end(), f.begin()) ||
                  load_be16(&f[12]) != 0x0800)) {
    fail("Ethernet header");
  }
  if (kind == Kind::Bridge) {
    if (f[at] != 0x02 || f[at + 1] != 0x11) fail("inner destination MAC");
    at += 14;
  }
  const uint8_t* inner = &f[at];
  const size_t bytes = f.size() - at;
  if (bytes != bench.frame_bytes - 14) fail("a packet of %zu bytes", bytes);
  if (inner[0] != 0x45 || load_be16(inner + 2) != bytes ||
      inner[8] != (kind == Kind::Bridge ? 64 : 63)) {
    fail("inner IPv4 header");
  }
  if (checksum(inner, 20) != 0) fail("inner IPv4 checksum");
  const uint64_t source = client_key(load_be32(inner + 12), load_be16(inner + 20));
  const uint64_t destination = client_key(load_be32(inner + 16), load_be16(inner + 22));
  const uint64_t pod = kind == Kind::Nat        ? client_key(kService, kServicePort)
                       : kind == Kind::NewFlows ? client_key(kPublic, kPodPort)
                                                : client_key(kPod, kPodPort);
  if ((deliver ? destination : source) != pod) {
    fail("pod's address: %012" PRIx64, deliver ? destination : source);
  }
  if (!clients.contains(deliver ? source : destination)) {
    fail("a client that does not exist: %012" PRIx64, deliver ? source : destination);
  }
  const uint32_t length = static_cast<uint32_t>(bytes) - 20;
  const uint32_t sum = pseudo_sum_v4(inner + 12, inner + 16, 6, length);
  if (checksum_finish(checksum_add(sum, inner + 20, length)) != 0) fail("TCP checksum");
}

void check(Bench& bench, const std::vector<Bytes>& frames) {
  std::unordered_set<uint64_t> clients;
  for (uint32_t flow = 0; flow < bench.flows; ++flow) {
    const Client c = client_of(bench.kind, flow);
    clients.insert(client_key(c.address, c.port));
  }
  bench.out->sink.keep(kChecked);
  bench.in->source = std::make_unique<GeneratorPort>(frames, frames.size());
  bench.run(frames.size());
  const std::vector<Bytes> last = bench.out->sink.last();
  if (last.size() != std::min<size_t>(kChecked, frames.size())) {
    bench.explain_first(bench.in, frames[0]);
    fail("%zu frames kept", last.size());
  }
  for (const Bytes& f : last) check_frame(bench, f, clients);
  bench.out->sink.keep(0);
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

struct Rounds {
  Figures rate;    // packets a second
  Figures clocks;  // of the TSC, a packet
};

// A round of its own function, so that an instruction counter can be told to look at nothing else.
__attribute__((noinline)) void measured_rounds(Bench& bench, uint64_t packets) {
  bench.run(packets);
}

Rounds measure(Bench& bench, uint64_t packets) {
  Rounds rounds;
  for (uint32_t round = 0; round < kRounds; ++round) {
    if (bench.kind == Kind::NewFlows) bench.forget_flows();
    const Counters before = bench.engine.counters();
    const uint64_t sent_before = bench.out->sink.packets();
    const Clock::time_point start = Clock::now();
    const uint64_t start_tsc = tsc();
    measured_rounds(bench, packets);
    const uint64_t spent_tsc = tsc() - start_tsc;
    const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
    const Counters& after = bench.engine.counters();
    const uint64_t done = after.received - before.received;
    if (after.forwarded - before.forwarded != done || after.dropped != before.dropped ||
        bench.out->sink.packets() - sent_before != done) {
      bench.report_drops();
      fail("round %u: not every packet left", round);
    }
    rounds.rate.values.push_back(static_cast<double>(done) / seconds);
    rounds.clocks.values.push_back(static_cast<double>(spent_tsc) / static_cast<double>(done));
  }
  return rounds;
}

int main_with(const Workload& workload, uint32_t flows, uint64_t packets, uint32_t frame_bytes) {
  Bench bench(workload, flows, frame_bytes);
  if (established(workload.kind)) bench.establish();
  const std::vector<Bytes> frames = bench.frames();
  check(bench, frames);

  bench.in->source = std::make_unique<GeneratorPort>(frames);
  bench.run(flows);  // warm
  const Rounds rounds = measure(bench, packets);
  const uint32_t entries = has_flows(workload.kind) ? 2 * flows : 0;
  if (bench.engine.flows().used() != entries) fail("flows came or went while measuring");
  if (workload.kind == Kind::NewFlows) bench.forget_flows();
  check(bench, frames);

  const auto [rate, clocks] = rounds;
  std::printf(
      "{\"bench\":\"pipeline\",\"workload\":\"%s\",\"flows\":%u,\"frameBytes\":%u,"
      "\"rounds\":%u,\"packetsPerRound\":%" PRIu64
      ",\"packetsPerSecond\":{\"median\":%.0f,\"min\":%.0f,\"max\":%.0f},",
      workload.name, flows, frame_bytes, kRounds, packets, rate.median(), rate.least(),
      rate.most());
  if (tsc() != 0) {
    std::printf("\"tscClocksPerPacket\":{\"median\":%.1f,\"min\":%.1f,\"max\":%.1f},",
                clocks.median(), clocks.least(), clocks.most());
  }
  std::printf("\"framesChecked\":%u}\n", 2 * std::min(kChecked, flows));
  return 0;
}

const Workload& workload_named(std::string_view name) {
  for (const Workload& workload : kWorkloads) {
    if (name == workload.name) return workload;
  }
  fail("no workload '%s'; `pipeline_bench list` names them", name.data());
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
  using namespace vrouter;
  if (argc > 5) fail("usage: pipeline_bench [WORKLOAD [FLOWS [PACKETS_PER_ROUND [FRAME_BYTES]]]]");
  if (argc == 2 && std::string_view(argv[1]) == "list") {
    for (const Workload& workload : kWorkloads) std::printf("%s\n", workload.name);
    return 0;
  }
  const Workload& workload = workload_named(argc > 1 ? argv[1] : "nat");
  // Clients have 64,000 ports each at most, a network kMaxMacs hosts; the table holds kMaxFlows
  // entries.
  const uint64_t most = workload.kind == Kind::Bridge ? kMaxMacs : 4'000'000;
  const auto flows = static_cast<uint32_t>(argc > 2 ? number("FLOWS", argv[2], 1, most) : 100'000);
  uint64_t packets =
      argc > 3 ? number("PACKETS_PER_ROUND", argv[3], 1, 10'000'000'000) : uint64_t{flows} * 20;
  if (workload.kind == Kind::NewFlows) packets = flows;  // each is new once
  const auto bytes =
      static_cast<uint32_t>(argc > 4 ? number("FRAME_BYTES", argv[4], 64, 1514) : 64);
  return main_with(workload, flows, packets, bytes);
}
