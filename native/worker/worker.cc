// A worker's breath: each of its receive queues once, then housekeeping. What it sends is in
// transmit.cc.
#include "worker/worker.h"

#include <sched.h>

#include <algorithm>
#include <bit>
#include <utility>

#include "path/pipeline.h"
#include "path/rooms.h"
#include "worker/pace.h"

namespace vrouter {
namespace {

constexpr uint32_t kFewPorts = 4;
constexpr uint32_t kSleepMs = 10;          // housekeeping is due at least so often
constexpr uint32_t kMaxFutileSleeps = 16;  // descriptors that wake us for nothing in a row
constexpr uint32_t kFutileSleepMs = 1;     // then they are looked at so often only

}  // namespace

// ------------------------------------------------------------------------------------------- house

House::House(const EngineOptions& given)
    : options(given),
      workers(std::clamp(given.workers, 1u, kMaxWorkers)),
      flow_file(open_flow_file()),
      flows(flow_file != nullptr ? FlowTable(flow_file->flows(), flow_capacity(), options.seed)
                                 : FlowTable(options.flow_entries, options.seed)) {
  router.use_mac_seed(options.seed);
  if (!options.kernel_tier) {
    no_tier = "not asked for";
  } else {
    tier = KernelTier::open(&no_tier);
  }
}

uint32_t House::flow_capacity() const {
  return std::bit_ceil(std::clamp(options.flow_entries, 1024u, kMaxFlows));
}

std::unique_ptr<FlowFile> House::open_flow_file() {
  if (options.flow_file.empty()) return nullptr;
  auto made = std::make_unique<FlowFile>();
  made->open(options.flow_file, flow_capacity(), options.seed);
  report.file = made->file();
  report.reason = made->reason();
  if (!made->file()) return nullptr;
  report.runs = made->header()->runs;
  report.owner = made->header()->owner;
  return made;
}

// --------------------------------------------------------------------------------------- a breath

Worker::Worker(House& shared, uint32_t which)
    : house(shared),
      index(which),
      fragments(shared.options.seed),
      pool(shared.options.buffers, shared.options.buffer_bytes),
      context{shared.router, shared.flows,    fragments,    pool,         counters,
              shared.events, shared.timeouts, shared.quota, shared.punts, shared.icmp_limit} {
  context.seed = house.options.seed;
  context.transmit = [](void* sink, Packet* packet) {
    static_cast<Worker*>(sink)->transmit(packet);
  };
  context.transmit_all = [](void* sink, Packet* const* packets, uint32_t count) {
    static_cast<Worker*>(sink)->transmit(packets, count);
  };
  context.sink = this;
  context.drop_log = &house.drop_log;
  context.worker = index;
  if (house.workers > 1) context.together = &house.together;
  context.tier = house.tier.get();
  // So that two workers do not number their packets alike at once.
  context.ip_identification = static_cast<uint16_t>(index * (65536 / kMaxWorkers));
  counters.vifs.resize(kMaxVifs);
  counters.vrfs.resize(house.router.vrf_limit());
  links_.reserve(kMaxPorts);
  dirty_.reserve(kMaxPorts);
}

void Worker::attach(PortId id, Slot& slot) {
  if (id.value >= links_.size()) links_.resize(id.value + 1);
  auto made = std::make_unique<Link>();
  made->slot = &slot;
  made->port = slot.port.get();
  made->queues = slot.port->rx_queues();
  made->first_queue = (index + house.workers - id.value % house.workers) % house.workers;
  const bool receives = made->first_queue < made->queues;
  bool heard = receives;
  for (uint32_t q = made->first_queue; q < made->queues; q += house.workers) {
    const int fd = slot.port->queue_fd(q);
    if (fd >= 0) {
      wake.watch(fd, id.value);
    } else {
      heard = false;
    }
  }
  if (receives && !heard) silent_.push_back(id.value);
  links_[id.value] = std::move(made);
}

void Worker::detach(PortId id) {
  const Link& gone = *links_[id.value];
  for (uint32_t q = gone.first_queue; q < gone.queues; q += house.workers) {
    wake.forget(gone.port->queue_fd(q));
  }
  std::erase(silent_, id.value);
  links_[id.value].reset();
  while (!links_.empty() && !links_.back()) links_.pop_back();
}

uint32_t Worker::breath(uint64_t now_ns) {
  context.now_ns = std::max(context.now_ns, now_ns);
  if (index == 0 && house.flow_file != nullptr) {
    house.flow_file->header()->now_ns = context.now_ns;
  }
  const uint32_t received = receive_all();
  if (house.tier != nullptr) see_to_tier();
  tick(context);
  flush_dirty();  // what housekeeping made
  if (index == 0 && house.captures.any()) {
    const InRooms in_rooms(context);
    house.captures.end_unread(context.now_ns);
  }
  return received;
}

// The flows that this breath has found busy go to the kernel, unless somebody wants to see their packets; what it has
// carried is counted by the first of us.
void Worker::see_to_tier() {
  KernelTier& tier = *house.tier;
  const bool due = index == 0 && tier.due(context.now_ns);
  if (context.offers == 0 && !due) return;
  const InRooms in_rooms(context);
  for (uint32_t i = 0; i < context.offers; ++i) tier.offer(context, context.offered[i]);
  context.offers = 0;
  if (!due) return;
  tier.collect(context);
  tier.pause(house.captures.any(), context);
}

// Few ports are looked at one by one, and what came in at one is sent before the next is looked at; of many,
// those that the kernel says have something, and what they have is sent together. Frames do not wait for
// housekeeping.
uint32_t Worker::receive_all() {
  uint32_t received = 0;
  if (links_.size() <= kFewPorts) {
    for (uint32_t id = 0; id < links_.size(); ++id) {
      if (!links_[id]) continue;
      received += receive(PortId{id}, *links_[id]);
      flush_dirty();
    }
    return received;
  }
  for (const uint32_t id : silent_) received += receive(PortId{id}, *links_[id]);
  uint32_t ids[Wake::kMaxReady];
  const uint32_t count = wake.ready(ids);
  for (uint32_t i = 0; i < count; ++i) received += receive(PortId{ids[i]}, *links_[ids[i]]);
  flush_dirty();
  return received;
}

uint32_t Worker::receive(PortId id, Link& link) {
  uint32_t received = 0;
  for (uint32_t q = link.first_queue; q < link.queues; q += house.workers) {
    received += receive_queue(id, link, q);
  }
  return received;
}

uint32_t Worker::receive_queue(PortId id, Link& link, uint32_t queue) {
  uint32_t received = 0;
  for (uint32_t i = 0; i < kBurstsABreath; ++i) {
    const uint32_t now = receive_burst(id, link, queue);
    received += now;
    if (now < kBurst) break;
  }
  return received;
}

uint32_t Worker::receive_burst(PortId id, Link& link, uint32_t queue) {
  Burst burst;
  const bool turns = !alone() && !link.slot->apart;
  if (turns) link.slot->lock.lock();
  link.port->set_now(context.now_ns);
  burst.count = link.port->rx_burst_of(queue, pool, burst.packets, kBurst);
  if (turns) link.slot->lock.unlock();
  const VifId vif = house.router.vif_of_port(id);
  VifCounters* of_vif = vif.valid() ? counters_of(vif) : nullptr;
  const uint32_t discarded = account_port(link, queue, of_vif);
  if (burst.count == 0) return discarded;
  const uint32_t received = burst.count;
  counters.received += received;
  if (of_vif == nullptr) {
    const InRooms in_rooms(context);
    counters.drops[static_cast<uint32_t>(DropReason::InvalidIf)] += received;
    counters.dropped += received;
    for (uint32_t i = 0; i < received; ++i) {
      house.drop_log.add(*burst.packets[i], DropReason::InvalidIf, Room::Port, context.now_ns);
      pool.free(burst.packets[i]);
    }
    return received + discarded;
  }
  of_vif->rx_packets += received;
  for (uint32_t i = 0; i < received; ++i) {
    of_vif->rx_bytes += burst.packets[i]->length;
    burst.packets[i]->meta.vif = vif;
  }
  if (house.captures.any()) {
    forward_seen(burst, vif);
  } else {
    forward(context, burst);
  }
  return received + discarded;
}

// The same, looked at. A packet that is traced waits until those in front of it are through, so
// that what is said of it is what it will find. One worker at a time.
void Worker::forward_seen(Burst& burst, VifId vif) {
  const InRooms in_rooms(context);
  Burst part;
  for (uint32_t i = 0; i < burst.count; ++i) {
    Packet* packet = burst.packets[i];
    house.captures.see(*packet, vif, Way::In, context.now_ns);
    std::string told;
    house.captures.trace(*packet, vif, context.now_ns, [&]() -> std::string_view {
      if (part.count != 0) forward(context, part);
      if (told.empty()) {
        Trace trace;
        explain(context, *packet, trace);
        told = std::move(trace.text);
      }
      return told;
    });
    part.packets[part.count++] = packet;
  }
  if (part.count != 0) forward(context, part);
  burst.count = 0;
}

// What the port has discarded and failed at since last time, as counters. Returns frames discarded.
uint32_t Worker::account_port(Link& link, uint32_t queue, VifCounters* of_vif) {
  // A port with one queue is asked without a call.
  const RxLosses now = link.queues == 1 ? RxLosses{link.port->rx_discards, link.port->rx_errors}
                                        : link.port->rx_losses(queue);
  RxLosses& seen = link.seen[queue / house.workers % kQueuesAWorker];
  const uint64_t discarded = now.discards - seen.discards;
  const uint64_t failed = now.errors - seen.errors;
  if ((discarded | failed) == 0) return 0;
  seen = now;
  counters.received += discarded;
  counters.dropped += discarded;
  counters.drops[static_cast<uint32_t>(DropReason::IfRxDiscard)] += discarded;
  if (of_vif != nullptr) {
    of_vif->rx_errors += discarded + failed;
    of_vif->drops += discarded;
  }
  return static_cast<uint32_t>(discarded);
}

// ----------------------------------------------------------------------------------------- thread

// Every flow made or ended is an event, so the table's own totals say whether any wait.
void Worker::tell_events() {
  const uint64_t changes = alone() ? house.flows.created() + house.flows.deleted()
                                   : house.together.flow_changes.load(std::memory_order_relaxed);
  if (changes == house.flow_changes_told.load(std::memory_order_relaxed) || !house.wake_consumer) {
    return;
  }
  if (!house.armed.exchange(false)) return;
  house.flow_changes_told.store(changes, std::memory_order_relaxed);
  house.wake_consumer();
}

// A CPU that is not ours to have leaves the worker where it is. The first is bound to the one that
// was named, each further one to the next.
void Worker::bind_to_cpu() {
  if (house.options.cpu == kAnyCpu || house.options.cpu + index >= kMaxCpus) return;
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(house.options.cpu + index, &set);
  pthread_setaffinity_np(pthread_self(), sizeof set, &set);
}

void Worker::run() {
  bind_to_cpu();
  Pace pace(house.options.pace);
  uint32_t futile = 0;
  bool woken_by_port = false;
  while (!house.stopping.load(std::memory_order_acquire)) {
    gate.enter();
    const uint64_t now_ns = house.clock_ns();
    const uint64_t elapsed = now_ns - house.base_ns;
    const uint32_t received = breath(now_ns);
    tell_events();
    gate.leave();
    if (received != 0) {
      futile = 0;
      woken_by_port = false;
    }
    const Pace::Next next = pace.after(elapsed, received);
    if (next == Pace::Next::Again) continue;
    if (next == Pace::Next::Yield) {
      sched_yield();
      continue;
    }
    // A descriptor that is ready without a frame (an interface gone down) must not become a spin.
    if (std::exchange(woken_by_port, false)) ++futile;
    const bool only_wake = futile >= kMaxFutileSleeps;
    woken_by_port = wake.sleep(only_wake ? kFutileSleepMs : kSleepMs, only_wake);
  }
}

}  // namespace vrouter
