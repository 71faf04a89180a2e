// Engine: one vRouter's data plane: tables, ports, workers; without Node. binding/ wraps it, tests
// and benchmarks use it directly.
//
// Invariants
//  * While hold() runs its function, no worker is inside a burst (worker/gate.h). step() runs a
//    breath of each worker in turn on the calling thread and excludes start().
//  * Each receive queue of a port is one worker's: queue q of port p that of worker (p + q) modulo
//    their number. Any worker sends by any port.
//  * All methods but wake() and arm_events() belong to one control thread; what they return
//    (router(), flows(), counters(), …) may be touched only inside hold(), or while not running.
//    events() is the exception: its reader needs no hold.
//  * Time never goes back: a breath at an earlier time than the last runs at the last.
//
// What a frame counts (with path/finish.cc, which counts the way a packet left): taking it from a
// port counts `received` and the vif's rx_packets and rx_bytes; a frame the port discarded (no
// buffer, too large) counts received, dropped and IF RX Discard as if it had been taken. A packet
// given to transmit was already counted as forwarded, replied, punted or generated and in
// tx_packets; if its port does not take it, the count is moved: back out of those, and into IF TX
// Discard, the vif's drops and tx_errors and, unless the router had made it, `dropped`.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "path/context.h"
#include "port/port.h"
#include "tier/kernel_tier.h"
#include "worker/capture.h"
#include "worker/pace.h"

namespace vrouter {

inline constexpr uint32_t kAnyCpu = ~0u;

struct EngineOptions {
  uint32_t flow_entries = kDefaultFlows;
  uint32_t buffers = kDefaultBuffers;
  uint32_t buffer_bytes = kDefaultBufferBytes;
  uint64_t seed = 1;
  PaceOptions pace;
  std::string flow_file;   // "": flows end with the engine; else state/flow_file.h
  uint32_t cpu = kAnyCpu;  // the worker runs on this one only; further ones on those behind it
  uint32_t workers = 1;    // at most kMaxWorkers; `buffers` is for each
  bool kernel_tier =
      false;  // established flows go through the kernel where they can: tier/kernel_tier.h
};
inline constexpr uint32_t kMaxCpus = 1024;  // CPU_SETSIZE

// What became of EngineOptions::flow_file.
struct FlowFileReport {
  bool file = false;     // flows are in it now
  bool adopted = false;  // and were, before
  std::string reason;    // why not
  uint64_t runs = 0;
  uint64_t owner = 0;  // who has claimed them, now
  FlowAdoption flows;
};

class Engine {
 public:
  explicit Engine(const EngineOptions& options);
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;
  Status status() const;  // NoMemory if the tables could not be had

  // At `at` if given, else at the first free id. Invalid: too many, or it is taken.
  PortId add_port(std::unique_ptr<Port> port, PortId at = {});
  Status remove_port(PortId port);  // InUse while a vif is bound to it
  Port* port(PortId id);            // nullptr: none
  bool port_exists(PortId id) const;
  uint32_t port_limit() const;  // ids in use are below this

  // Where flows that come in by this port meet the kernel, if there is a kernel tier. "" or why not: then
  // they go through here as before.
  std::string join_tier(PortId port, const TierDevice& device);
  const KernelTier* tier() const;      // nullptr: there is none
  const std::string& no_tier() const;  // why

  uint32_t workers() const;
  Status start();  // the workers' threads; Busy if running
  void stop();
  bool running() const;
  // One breath of each worker at `now_ns`: its ports once, then housekeeping. Returns frames received.
  // Busy (as ~0u) while running.
  uint32_t step(uint64_t now_ns);
  // Runs f while all workers are between two bursts. May be nested. At its end the engine takes over
  // what f committed: flow timeouts, room for the counters of new VRFs.
  void hold(const std::function<void()>& f);
  // An idle worker takes its next breath now; for frames injected into a memory port. Any thread.
  void wake();
  // Copies of packets, and live traces: worker/capture.h. Its reader needs no hold.
  Status start_capture(uint32_t id, CaptureSpec&& spec);
  bool stop_capture(uint32_t id);
  Capture* capture(uint32_t id);  // nullptr: there is none
  // The time packets are stamped with, now: of the worker's clock, or of the last step.
  uint64_t now_ns() const;

  // Ends all flows of a VRF (either half); ~0: all. Inside hold(), or while not running.
  void flush_flows(uint32_t vrf);

  const FlowFileReport& flow_file() const;
  // Whoever programs this engine says who it is, before it does. Flows of another owner go: the ids
  // in them mean other things now. Returns whether there were none such.
  bool claim_flows(uint64_t owner);

  Router& router();
  FlowTable& flows();
  const Counters& counters();  // of several workers: their sum, as of now
  void clear_counters();
  EventRing& events();
  const DropLog& drop_log() const;
  Context& context();  // of the first worker, as the next
  PacketPool& pool();
  uint32_t buffers_free() const;    // of all workers
  uint32_t fragments_held() const;  // …
  // `wake` is called once, by the worker (or by step), when events wait and the consumer is armed;
  // after that not again until arm_events(). Armed at first. Must not call hold() or step().
  void on_events(std::function<void()> wake);
  void arm_events();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace vrouter
