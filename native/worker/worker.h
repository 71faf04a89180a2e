// Worker: one thread of an engine, or a turn of step(): takes packets from its receive queues,
// takes them through the rooms, and gives them to the ports they leave by. A packet stays with the
// worker that received it, to the end, and goes back to that one's pool.
//
// What is whose
//  * a worker's own: context, pool, counters, fragments that wait, the frames waiting for a port
//  * House, of all: tables, flows, events, limits, drop log, captures; by whom and when:
//    path/together.h
//  * a Port: its receive queues each one worker's; sent to by any, one at a time (Slot::lock). A
//    lock a flush, not a packet.
// With one worker no lock is taken and no flag is written.
#pragma once
#include <pthread.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <vector>

#include "path/together.h"
#include "port/port.h"
#include "state/flow_file.h"
#include "tier/kernel_tier.h"
#include "worker/capture.h"
#include "worker/engine.h"
#include "worker/gate.h"
#include "worker/wake.h"

namespace vrouter {

// What the workers of one engine share.
struct House {
  explicit House(const EngineOptions& given);

  uint64_t clock_ns() const {
    return base_ns + static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(
                                               std::chrono::steady_clock::now() - started)
                                               .count());
  }
  uint32_t flow_capacity() const;

  const EngineOptions options;
  const uint32_t workers;
  Router router;
  FlowFileReport report;
  std::unique_ptr<FlowFile> flow_file;  // nullptr: none asked for, or none to be had
  FlowTable flows;
  EventRing events;
  FlowTimeouts timeouts;
  FlowQuota quota;
  PuntLimit punts;
  IcmpLimit icmp_limit;
  DropLog drop_log;
  Captures captures;
  Together together;
  std::unique_ptr<KernelTier> tier;  // nullptr: everything goes through here
  std::string no_tier;               // … why

  // Who waits for events; changed while the workers are held.
  std::function<void()> wake_consumer;
  std::atomic<bool> armed{true};
  std::atomic<uint64_t> flow_changes_told{0};

  // The workers' time: base_ns when their clock said started.
  uint64_t base_ns = 0;
  std::chrono::steady_clock::time_point started;
  std::atomic<bool> stopping{false};

 private:
  std::unique_ptr<FlowFile> open_flow_file();
};

// A port.
struct Slot {
  std::unique_ptr<Port> port;
  bool apart = false;  // Port::apart()
  Lock lock;           // with several workers: who sends; who receives too, unless apart
};

// One burst after another from a port, while each is full, up to so many.
inline constexpr uint32_t kBurstsABreath = 4;
// Frames that wait for a port within a breath: several bursts, for a connection's segments that are
// merged across them make larger packets.
inline constexpr uint32_t kQueue = kBurstsABreath * kBurst;

inline constexpr uint32_t kQueuesAWorker = 16;  // of one port; ports have no more

// A port as one worker sees it: its queues there, and the frames waiting to go out within this
// breath.
struct Link {
  Slot* slot;
  Port* port;
  uint32_t first_queue;  // and those behind it, in steps of the number of workers
  uint32_t queues;       // of the port; none is this worker's if first_queue is not below
  RxLosses seen[kQueuesAWorker];
  bool dirty = false;      // listed in Worker::dirty
  uint32_t count = 0;
  Packet* packets[kQueue];
};

class Worker {
 public:
  Worker(House& house, uint32_t index);
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  // --- control side, while it is held ---
  void attach(PortId id, Slot& slot);
  void detach(PortId id);

  // --- its thread, or step() ---
  uint32_t breath(uint64_t now_ns);  // returns frames received
  void tell_events();
  void run();  // until House::stopping

  House& house;
  const uint32_t index;
  FragmentTable fragments;
  PacketPool pool;
  Counters counters;
  Gate gate;
  Wake wake;
  Context context;
  pthread_t thread{};

 private:
  uint32_t receive_all();
  void see_to_tier();
  uint32_t receive(PortId id, Link& link);
  uint32_t receive_queue(PortId id, Link& link, uint32_t queue);
  uint32_t receive_burst(PortId id, Link& link, uint32_t queue);
  void forward_seen(Burst& burst, VifId vif);
  uint32_t account_port(Link& link, uint32_t queue, VifCounters* of_vif);
  void bind_to_cpu();

  // transmit.cc
  void transmit(Packet* packet);
  void transmit(Packet* const* packets, uint32_t count);
  void queue(Link& link, Packet* packet);
  void flush(Link& link);
  uint32_t send(Link& link, Packet** packets, uint32_t count);
  void cut(Link& link, Packet* super);
  void flush_dirty();
  void unsent(Packet* packet, DropReason reason);

  bool alone() const { return context.together == nullptr; }
  VifCounters* counters_of(VifId vif) {
    return vif.value < counters.vifs.size() ? &counters.vifs[vif.value] : nullptr;
  }
  Link* link(PortId id) { return id.value < links_.size() ? links_[id.value].get() : nullptr; }

  std::vector<std::unique_ptr<Link>> links_;  // by PortId; changed only while it is held
  std::vector<uint32_t> dirty_;               // ports with frames waiting to go out
  std::vector<uint32_t> silent_;              // ports without a descriptor: always looked at
};

}  // namespace vrouter
