// The whole pipeline on one core: one workload a run, small packets, flows and destinations
// visited in an order that has nothing to do with how they were made.
//
//   pipeline_bench [WORKLOAD [FLOWS [PACKETS_PER_ROUND [FRAME_BYTES]]]]
//       default: nat, 100000 flows, 20 packets of each, 64 bytes (IPv6: 84, the same payload)
//   pipeline_bench list                             the workloads (kWorkloads), one a line
//
// What is measured: Engine::step() from a port that copies prebuilt frames in to a port that counts
// them: receive, parse, flow lookup, NAT with checksums, encapsulation, TCP state, counters, and
// the housekeeping of every breath. Five rounds; prints one JSON line with the median, least and
// most. measured_rounds() is what an instruction counter is to look at:
//   valgrind --tool=callgrind --toggle-collect='*measured_rounds*' pipeline_bench nat 1000 100000
// What is checked: every packet of every round left, none was dropped, and the last 4,096 frames of
// a pass are taken apart (pipeline/check.h). A failed check prints what failed and exits with 1.
//
// The flows are made as in life: SYN from the fabric, SYN-ACK from the pod, ACK from the fabric,
// all through the same rooms; the tables come from Programs, through encode, decode and apply.
#include <time.h>

#include <algorithm>
#include <chrono>
#include <cinttypes>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <random>
#include <string_view>
#include <vector>

#if defined(__x86_64__)
#include <x86intrin.h>
#endif

#include "path/pipeline.h"
#include "pipeline/check.h"
#include "pipeline/frames.h"
#include "pipeline/tables.h"
#include "port/generator_port.h"
#include "worker/engine.h"

namespace vrouter::bench {

void fail(const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  std::fprintf(stderr, "pipeline_bench: ");
  std::vfprintf(stderr, format, arguments);
  std::fprintf(stderr, "\n");
  va_end(arguments);
  std::exit(1);
}

namespace {

using Clock = std::chrono::steady_clock;

constexpr uint32_t kRounds = 5;
constexpr uint32_t kChecked = 4096;
constexpr uint64_t kBreathNs = 20'000;  // virtual time of a breath

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

// Of this thread: where another ran on its core, less than the time that passed.
double cpu_seconds() {
  timespec t{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) / 1e9;
}

uint64_t tsc() {
#if defined(__x86_64__)
  return __rdtsc();
#else
  return 0;
#endif
}

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
    commit(engine, tables(workload, flows, fabric_id, pod_id));
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
    const Workload& w = workload;
    pass("SYN", fabric, pod, [&w](uint32_t f) { return from_client(w, f, {kSyn, 1000, 0, 0}); });
    pass("SYN-ACK", pod, fabric, [&w](uint32_t f) {
      return from_pod(w, f, {kSyn | kAck, 5000, 1001, 0});
    });
    pass("ACK", fabric, pod, [&w](uint32_t f) { return from_client(w, f, {kAck, 1001, 5001, 0}); });
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
    const uint32_t payload = frame_bytes - least_frame(workload.family);
    const Segment clients{kPush | kAck, 1001, 5001, payload};
    const Segment pods{kPush | kAck, 5001, 1001, payload};
    const Segment first{kSyn, 5000, 0, payload};
    for (const uint32_t flow : order) {
      made.push_back(kind == Kind::Deliver
                         ? from_client(workload, flow, clients)
                         : from_pod(workload, flow, kind == Kind::NewFlows ? first : pods));
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

void check(Bench& bench, const std::vector<Bytes>& frames) {
  const Clients clients(bench.workload, bench.flows);
  bench.out->sink.keep(kChecked);
  bench.in->source = std::make_unique<GeneratorPort>(frames, frames.size());
  bench.run(frames.size());
  const std::vector<Bytes> last = bench.out->sink.last();
  if (last.size() != std::min<size_t>(kChecked, frames.size())) {
    bench.explain_first(bench.in, frames[0]);
    fail("%zu frames kept", last.size());
  }
  for (const Bytes& f : last) check_frame(bench.workload, bench.frame_bytes, f, clients);
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
  Figures rate;           // packets a second
  Figures clocks;         // of the TSC, a packet
  Figures on_cpu;         // share of the time that we had the core
  Figures clocks_on_cpu;  // clocks less those in which somebody else had it
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
    const double start_cpu = cpu_seconds();
    const Clock::time_point start = Clock::now();
    const uint64_t start_tsc = tsc();
    measured_rounds(bench, packets);
    const uint64_t spent_tsc = tsc() - start_tsc;
    const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
    const double spent_cpu = cpu_seconds() - start_cpu;
    const Counters& after = bench.engine.counters();
    const uint64_t done = after.received - before.received;
    if (after.forwarded - before.forwarded != done || after.dropped != before.dropped ||
        bench.out->sink.packets() - sent_before != done) {
      bench.report_drops();
      fail("round %u: not every packet left", round);
    }
    rounds.rate.values.push_back(static_cast<double>(done) / seconds);
    rounds.clocks.values.push_back(static_cast<double>(spent_tsc) / static_cast<double>(done));
    const double on_cpu = std::min(1.0, spent_cpu / seconds);
    rounds.on_cpu.values.push_back(on_cpu);
    rounds.clocks_on_cpu.values.push_back(rounds.clocks.values.back() * on_cpu);
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

  const auto [rate, clocks, on_cpu, clocks_on_cpu] = rounds;
  std::printf(
      "{\"bench\":\"pipeline\",\"workload\":\"%s\",\"flows\":%u,\"frameBytes\":%u,"
      "\"rounds\":%u,\"packetsPerRound\":%" PRIu64
      ",\"packetsPerSecond\":{\"median\":%.0f,\"min\":%.0f,\"max\":%.0f},",
      workload.name, flows, frame_bytes, kRounds, packets, rate.median(), rate.least(),
      rate.most());
  if (tsc() != 0) {
    std::printf("\"tscClocksPerPacket\":{\"median\":%.1f,\"min\":%.1f,\"max\":%.1f},",
                clocks.median(), clocks.least(), clocks.most());
    std::printf("\"tscClocksOnCpu\":{\"median\":%.1f,\"min\":%.1f,\"max\":%.1f},",
                clocks_on_cpu.median(), clocks_on_cpu.least(), clocks_on_cpu.most());
  }
  std::printf("\"onCpu\":%.3f,\"framesChecked\":%u}\n", on_cpu.median(),
              2 * std::min(kChecked, flows));
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
}  // namespace vrouter::bench

int main(int argc, char** argv) {
  using namespace vrouter;
  using namespace vrouter::bench;
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
  const uint32_t least = least_frame(workload.family);
  const uint32_t usual = default_frame(workload.family);
  const auto bytes =
      static_cast<uint32_t>(argc > 4 ? number("FRAME_BYTES", argv[4], least, 1514) : usual);
  return main_with(workload, flows, packets, bytes);
}
