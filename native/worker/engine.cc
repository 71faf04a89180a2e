#include "worker/engine.h"

#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <chrono>
#include <utility>

#include "offload/checksum.h"
#include "offload/coalesce.h"
#include "offload/segment.h"
#include "path/pipeline.h"
#include "path/rooms.h"
#include "state/flow_file.h"
#include "wire/ip.h"
#include "worker/gate.h"
#include "worker/pace.h"
#include "worker/wake.h"

namespace vrouter {

namespace {

constexpr uint32_t kFewPorts = 4;
constexpr uint32_t kBurstsABreath = 4;     // of one port, while each is full
// Frames that wait for a port within a breath: several bursts, for a connection's segments that are
// merged across them make larger packets.
constexpr uint32_t kQueue = kBurstsABreath * kBurst;
constexpr uint32_t kSleepMs = 10;          // housekeeping is due at least so often
constexpr uint32_t kMaxFutileSleeps = 16;  // descriptors that wake us for nothing in a row
constexpr uint32_t kFutileSleepMs = 1;     // then they are looked at so often only

constexpr uint32_t kOuterIp = 14;  // of frames that we encapsulated: no tag in front

// Whether a port can be told of this super-packet.
bool takes_super(uint32_t features, const Packet& packet) {
  const Offload& offload = packet.offload;
  const uint32_t kind = offload.segmentation == Segmentation::Udp     ? kTakesUdp
                        : offload.segmentation == Segmentation::TcpV4 ? kTakesTcp4
                                                                      : kTakesTcp6;
  if ((features & kind) == 0) return false;
  if (offload.outer_transport == 0) return true;
  const uint8_t* outer = packet.data() + kOuterIp;
  const uint8_t protocol = outer[0] >> 4 == 4 ? outer[9] : outer[6];
  return (features & kTakesTunnel) != 0 && protocol == ip::kUdp &&
         packet.length - kOuterIp <= UINT16_MAX;
}

// Whether a frame can go to a port with these features, after its checksum has been finished where
// the port does not take it undone.
bool finish_for(uint32_t features, Packet& packet) {
  const Offload& offload = packet.offload;
  if (!offload.checksum) return true;
  if (offload.segmentation == Segmentation::None) {
    return (features & kTakesChecksum) != 0 || complete_checksum(packet);
  }
  return takes_super(features, packet);
}

// A port and the frames waiting to go out of it within this breath.
struct Slot {
  std::unique_ptr<Port> port;
  uint64_t discards_seen = 0;
  uint64_t errors_seen = 0;
  bool dirty = false;  // listed in State::dirty
  uint32_t count = 0;
  Packet* packets[kQueue];
};

}  // namespace

struct Engine::State {
  explicit State(const EngineOptions& given)
      : options(given),
        flow_file(open_flow_file(options)),
        flows(flow_file != nullptr
                  ? FlowTable(flow_file->flows(), capacity_for(options), options.seed)
                  : FlowTable(options.flow_entries, options.seed)),
        fragments(options.seed),
        pool(options.buffers, options.buffer_bytes),
        context{router, flows, fragments, pool, counters, events, timeouts} {
    context.seed = options.seed;
    router.use_mac_seed(options.seed);
    context.transmit = [](void* sink, Packet* packet) {
      static_cast<State*>(sink)->transmit(packet);
    };
    context.transmit_all = [](void* sink, Packet* const* packets, uint32_t count) {
      State& state = *static_cast<State*>(sink);
      for (uint32_t i = 0; i < count; ++i) state.transmit(packets[i]);
    };
    context.sink = this;
    context.drop_log = &drop_log;
    counters.vifs.resize(kMaxVifs);
    counters.vrfs.resize(router.vrf_limit());
    slots.reserve(kMaxPorts);
    dirty.reserve(kMaxPorts);
    flows.on_erase([](void* self, FlowId forward,
                      FlowId reverse) { static_cast<State*>(self)->flow_erased(forward, reverse); },
                   this);
    if (flow_file != nullptr) adopt_flows();
  }

  // --- a breath ---
  uint32_t breath(uint64_t now_ns);
  uint32_t receive_all();
  uint32_t receive(PortId id, Slot& slot);
  uint32_t receive_burst(PortId id, Slot& slot);
  void forward_seen(Burst& burst, VifId vif);
  uint32_t account_port(Slot& slot, VifCounters* of_vif);
  void transmit(Packet* packet);
  void flush(Slot& slot);
  uint32_t send(Slot& slot, Packet** packets, uint32_t count);
  void cut(Slot& slot, Packet* super);
  void flush_dirty();
  void unsent(Packet* packet, DropReason reason);

  // --- flows ---
  void flow_erased(FlowId forward, FlowId reverse);
  static uint32_t capacity_for(const EngineOptions& options) {
    return std::bit_ceil(std::clamp(options.flow_entries, 1024u, kMaxFlows));
  }
  std::unique_ptr<FlowFile> open_flow_file(const EngineOptions& options);
  void adopt_flows();

  // --- control ---
  void apply_router_spec();
  void attach(uint32_t port);
  void detach(uint32_t port);
  VifCounters* counters_of(VifId vif) {
    return vif.value < counters.vifs.size() ? &counters.vifs[vif.value] : nullptr;
  }
  Slot* slot(PortId id) { return id.value < slots.size() ? slots[id.value].get() : nullptr; }

  // --- worker thread ---
  void run();
  void tell_events();

  const EngineOptions options;
  Router router;
  FlowFileReport report;
  std::unique_ptr<FlowFile> flow_file;  // nullptr: none asked for, or none to be had
  FlowTable flows;
  FragmentTable fragments;
  PacketPool pool;
  Counters counters;
  EventRing events;
  FlowTimeouts timeouts;
  DropLog drop_log;
  Captures captures;
  Gate gate;
  Wake wake;
  Context context;

  std::vector<std::unique_ptr<Slot>> slots;  // by PortId; changed only while the gate is held
  std::vector<uint32_t> dirty;               // slots with frames waiting to go out
  std::vector<uint32_t> silent;              // slots without a descriptor: always looked at

  std::function<void()> wake_consumer;
  std::atomic<bool> armed{true};
  uint64_t flow_changes_told = 0;

  pthread_t thread{};
  bool running = false;  // control side only
  // The worker's time: base_ns when its clock said started.
  uint64_t base_ns = 0;
  std::chrono::steady_clock::time_point started;
  uint64_t clock_ns() const {
    return base_ns + static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(
                                               std::chrono::steady_clock::now() - started)
                                               .count());
  }
  std::atomic<bool> stopping{false};
};

// ---------------------------------------------------------------------------------------- a breath

uint32_t Engine::State::breath(uint64_t now_ns) {
  context.now_ns = std::max(context.now_ns, now_ns);
  if (flow_file != nullptr) flow_file->header()->now_ns = context.now_ns;
  const uint32_t received = receive_all();
  flush_dirty();  // before housekeeping: frames do not wait for it
  tick(context);
  flush_dirty();  // what housekeeping made
  if (captures.any()) captures.end_unread(context.now_ns);
  return received;
}

// Few ports are looked at one by one; of many, those that the kernel says have something.
uint32_t Engine::State::receive_all() {
  uint32_t received = 0;
  if (slots.size() <= kFewPorts) {
    for (uint32_t id = 0; id < slots.size(); ++id) {
      if (slots[id]) received += receive(PortId{id}, *slots[id]);
    }
    return received;
  }
  for (const uint32_t id : silent) received += receive(PortId{id}, *slots[id]);
  uint32_t ids[Wake::kMaxReady];
  const uint32_t count = wake.ready(ids);
  for (uint32_t i = 0; i < count; ++i) received += receive(PortId{ids[i]}, *slots[ids[i]]);
  return received;
}

uint32_t Engine::State::receive(PortId id, Slot& slot) {
  uint32_t received = 0;
  for (uint32_t i = 0; i < kBurstsABreath; ++i) {
    const uint32_t now = receive_burst(id, slot);
    received += now;
    if (now < kBurst) break;
  }
  return received;
}

uint32_t Engine::State::receive_burst(PortId id, Slot& slot) {
  Burst burst;
  slot.port->set_now(context.now_ns);
  burst.count = slot.port->rx_burst(pool, burst.packets, kBurst);
  const VifId vif = router.vif_of_port(id);
  VifCounters* of_vif = vif.valid() ? counters_of(vif) : nullptr;
  const uint32_t discarded = account_port(slot, of_vif);
  if (burst.count == 0) return discarded;
  const uint32_t received = burst.count;
  counters.received += received;
  if (of_vif == nullptr) {
    counters.drops[static_cast<uint32_t>(DropReason::InvalidIf)] += received;
    counters.dropped += received;
    for (uint32_t i = 0; i < received; ++i) {
      drop_log.add(*burst.packets[i], DropReason::InvalidIf, Room::Port, context.now_ns);
      pool.free(burst.packets[i]);
    }
    return received + discarded;
  }
  of_vif->rx_packets += received;
  for (uint32_t i = 0; i < received; ++i) {
    of_vif->rx_bytes += burst.packets[i]->length;
    burst.packets[i]->meta.vif = vif;
  }
  if (captures.any()) {
    forward_seen(burst, vif);
  } else {
    forward(context, burst);
  }
  return received + discarded;
}

// The same, looked at. A packet that is traced waits until those in front of it are through, so that
// what is said of it is what it will find.
void Engine::State::forward_seen(Burst& burst, VifId vif) {
  Burst part;
  for (uint32_t i = 0; i < burst.count; ++i) {
    Packet* packet = burst.packets[i];
    captures.see(*packet, vif, Way::In, context.now_ns);
    std::string told;
    captures.trace(*packet, vif, context.now_ns, [&]() -> std::string_view {
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
uint32_t Engine::State::account_port(Slot& slot, VifCounters* of_vif) {
  const uint64_t discarded = slot.port->rx_discards - slot.discards_seen;
  const uint64_t failed = slot.port->rx_errors - slot.errors_seen;
  if ((discarded | failed) == 0) return 0;
  slot.discards_seen += discarded;
  slot.errors_seen += failed;
  counters.received += discarded;
  counters.dropped += discarded;
  counters.drops[static_cast<uint32_t>(DropReason::IfRxDiscard)] += discarded;
  if (of_vif != nullptr) {
    of_vif->rx_errors += discarded + failed;
    of_vif->drops += discarded;
  }
  return static_cast<uint32_t>(discarded);
}

void Engine::State::transmit(Packet* packet) {
  Slot* to = slot(packet->meta.out_port);
  if (to == nullptr) {
    unsent(packet, DropReason::NowhereToGo);
    return;
  }
  if (!to->dirty) {
    to->dirty = true;
    dirty.push_back(packet->meta.out_port.value);
  }
  to->packets[to->count++] = packet;
  if (to->count == kQueue) flush(*to);
}

void Engine::State::flush_dirty() {
  for (const uint32_t id : dirty) {
    Slot& slot = *slots[id];
    flush(slot);
    slot.dirty = false;
  }
  dirty.clear();
}

// Out of the port, as late as can be: what it takes whole goes whole, the rest is cut or finished.
void Engine::State::flush(Slot& slot) {
  const uint32_t features = slot.port->plain ? 0 : slot.port->features();
  // Towards a tenant's stack, not towards the fabric: its segments are inside tunnels.
  const bool merges =
      slot.port->coalesces && (features & (kTakesTcp4 | kTakesTunnel)) == kTakesTcp4;
  if (merges && slot.count > 1) slot.count = coalesce(pool, slot.packets, slot.count);
  if (captures.any()) {
    for (uint32_t i = 0; i < slot.count; ++i) {
      captures.see(*slot.packets[i], slot.packets[i]->meta.out_vif, Way::Out, context.now_ns);
    }
  }
  uint32_t at = 0;
  while (at < slot.count) {
    uint32_t end = at;
    while (end < slot.count && finish_for(features, *slot.packets[end])) ++end;
    send(slot, slot.packets + at, end - at);
    at = end;
    if (at < slot.count) cut(slot, slot.packets[at++]);
  }
  slot.count = 0;
}

// A super-packet, in segments; counted as one when it came here, and on the vif as many from now
// on.
void Engine::State::cut(Slot& slot, Packet* super) {
  Segmenter segments(*super);
  if (segments.count() == 0) return unsent(super, DropReason::InvalidPacket);
  VifCounters* out = counters_of(super->meta.out_vif);
  if (out != nullptr) {
    --out->tx_packets;
    out->tx_bytes -= super->length;
  }
  while (!segments.done()) {
    Packet* frames[kBurst];
    const uint32_t count = segments.next(pool, frames, kBurst);
    for (uint32_t i = 0; i < count && out != nullptr; ++i) {
      ++out->tx_packets;
      out->tx_bytes += frames[i]->length;
    }
    if (count == 0) {
      ++counters.drops[static_cast<uint32_t>(DropReason::HeadAllocFail)];
      break;
    }
    if (send(slot, frames, count) < count) break;  // the rest of it would find no room either
  }
  pool.free(super);
}

// Frames as they are; what does not go is counted and freed. Returns how many went.
uint32_t Engine::State::send(Slot& slot, Packet** packets, uint32_t count) {
  uint32_t at = 0;
  uint32_t went = 0;
  while (at < count) {
    const uint64_t errors = slot.port->tx_errors;
    const uint32_t sent = slot.port->tx_burst(packets + at, count - at);
    pool.free(packets + at, sent);
    at += sent;
    went += sent;
    if (at == count) break;
    // A frame at fault goes alone; a full port takes none of the rest.
    const uint32_t lost = slot.port->tx_errors != errors ? at + 1 : count;
    for (; at < lost; ++at) unsent(packets[at], DropReason::IfTxDiscard);
  }
  return went;
}

// Moves a packet that finish() counted as gone into the drops; see engine.h.
void Engine::State::unsent(Packet* packet, DropReason reason) {
  const PacketMeta& meta = packet->meta;
  uint64_t* counted = meta.verdict == Verdict::Reply  ? &counters.replied
                      : meta.verdict == Verdict::Punt ? &counters.punted
                      : !meta.generated && !meta.copy ? &counters.forwarded
                                                      : nullptr;  // made here: stays made
  const uint64_t packets = uint64_t{1} + meta.merged;
  drop_log.add(*packet, reason, Room::Port, context.now_ns);
  if (counted != nullptr) {
    *counted -= packets;
    counters.dropped += packets;
  }
  counters.drops[static_cast<uint32_t>(reason)] += packets;
  if (VifCounters* out = counters_of(meta.out_vif)) {
    out->tx_packets -= packets;
    out->tx_bytes -= packet->length;
    out->tx_errors += packets;
    out->drops += packets;
  }
  pool.free(packet);
}

// ------------------------------------------------------------------------------------------- flows

void Engine::State::flow_erased(FlowId forward_id, FlowId reverse_id) {
  const FlowHalf forward = flows.half(forward_id);
  const FlowHalf reverse = flows.half(reverse_id);
  context.quota.leave(forward);
  context.quota.leave(reverse);
  events.push(flow_event(EventKind::FlowDeleted, context.now_ns, forward_id, forward, reverse));
}

std::unique_ptr<FlowFile> Engine::State::open_flow_file(const EngineOptions& options) {
  if (options.flow_file.empty()) return nullptr;
  auto made = std::make_unique<FlowFile>();
  made->open(options.flow_file, capacity_for(options), options.seed);
  report.file = made->file();
  report.reason = made->reason();
  if (!made->file()) return nullptr;
  report.runs = made->header()->runs;
  report.owner = made->header()->owner;
  return made;
}

// Before the first Program. Time goes on from the last breath, so that idle times hold; the time
// nobody forwarded does not count.
void Engine::State::adopt_flows() {
  router.keep_incarnations_in(flow_file->incarnations());
  if (!flow_file->kept()) return;
  context.now_ns = context.aged_at_ns = flow_file->header()->now_ns;
  report.adopted = true;
  report.flows = flows.adopt(now_ms(context));
  for (uint32_t at = 0; at < flows.capacity(); ++at) {
    if (flows.valid(FlowId{at})) context.quota.enter(flows.half(FlowId{at}));
  }
  flow_changes_told = flows.created();
  router.touch_all();  // later than the generation that adopted flows are marked with
}

// ------------------------------------------------------------------------------------------
// control

void Engine::State::apply_router_spec() {
  if (counters.vrfs.size() < router.vrf_limit()) counters.vrfs.resize(router.vrf_limit());
  timeouts = FlowTimeouts();
  // Protocol 0 stands for all without a value of their own: it goes first, wherever it was listed.
  const std::vector<Timeout>& asked = router.spec().timeouts;
  for (const bool any : {true, false}) {
    for (const Timeout& t : asked) {
      if ((t.protocol == 0) == any) timeouts.set(t.protocol, t.state, t.seconds);
    }
  }
}

void Engine::State::attach(uint32_t port) {
  const int fd = slots[port]->port->fd();
  if (fd >= 0) {
    wake.watch(fd, port);
  } else {
    silent.push_back(port);
  }
}

void Engine::State::detach(uint32_t port) {
  wake.forget(slots[port]->port->fd());
  std::erase(silent, port);
}

Engine::Engine(const EngineOptions& options) : state_(std::make_unique<State>(options)) {}

Engine::~Engine() { stop(); }

Status Engine::status() const {
  if (!state_->flows.ok()) return Status::fail(StatusCode::NoMemory, "flowEntries");
  if (!state_->pool.ok()) return Status::fail(StatusCode::NoMemory, "buffers");
  if (!state_->wake.ok()) return Status::fail(StatusCode::NoMemory, "wake");
  return Status::done();
}

PortId Engine::add_port(std::unique_ptr<Port> port, PortId wanted) {
  PortId id;
  hold([&] {
    std::vector<std::unique_ptr<Slot>>& slots = state_->slots;
    uint32_t at = wanted.valid() ? wanted.value : 0;
    while (!wanted.valid() && at < slots.size() && slots[at]) ++at;
    if (at >= kMaxPorts || port == nullptr || state_->slot(PortId{at}) != nullptr) return;
    if (at >= slots.size()) slots.resize(at + 1);
    slots[at] = std::make_unique<Slot>();
    slots[at]->port = std::move(port);
    state_->attach(at);
    id = PortId{at};
  });
  return id;
}

Status Engine::remove_port(PortId id) {
  Status status;
  hold([&] {
    if (state_->slot(id) == nullptr) {
      status = Status::fail(StatusCode::NotFound, "port");
    } else if (state_->router.vif_of_port(id).valid()) {
      status = Status::fail(StatusCode::InUse, "port");
    } else {
      state_->detach(id.value);
      state_->slots[id.value].reset();
      while (!state_->slots.empty() && !state_->slots.back()) state_->slots.pop_back();
    }
  });
  return status;
}

Port* Engine::port(PortId id) {
  Slot* slot = state_->slot(id);
  return slot != nullptr ? slot->port.get() : nullptr;
}

bool Engine::port_exists(PortId id) const { return state_->slot(id) != nullptr; }

uint32_t Engine::port_limit() const { return static_cast<uint32_t>(state_->slots.size()); }

void Engine::hold(const std::function<void()>& f) {
  State& state = *state_;
  state.gate.lock();
  f();
  if (state.gate.outermost()) state.apply_router_spec();
  state.gate.unlock();
  state.wake.wake();
}

void Engine::wake() { state_->wake.wake(); }

Status Engine::start_capture(uint32_t id, CaptureSpec&& spec) {
  auto made = std::make_unique<Capture>(id, std::move(spec), now_ns());
  if (!made->ring.ok()) return Status::fail(StatusCode::NoMemory, "bytes");
  Captures::Gone gone;
  gone.reserve(kMaxCaptures);
  Status status;
  hold([&] { status = state_->captures.start(made, gone); });
  return status;
}

bool Engine::stop_capture(uint32_t id) {
  std::unique_ptr<Capture> stopped;
  hold([&] { stopped = state_->captures.stop(id); });
  return stopped != nullptr;
}

Capture* Engine::capture(uint32_t id) { return state_->captures.find(id); }

uint64_t Engine::now_ns() const {
  return state_->running ? state_->clock_ns() : state_->context.now_ns;
}

void Engine::flush_flows(uint32_t vrf) {
  FlowTable& flows = state_->flows;
  for (uint32_t at = 0; at < flows.capacity() && flows.used() != 0; ++at) {
    const FlowId id{at};
    if (!flows.valid(id) || (flows[id].flags & kFlowInitiator) == 0) continue;
    if (vrf == ~0u || flows[id].vrf == vrf || flows[flows.reverse(id)].vrf == vrf) {
      flows.erase(id);
    }
  }
}

const FlowFileReport& Engine::flow_file() const { return state_->report; }

bool Engine::claim_flows(uint64_t owner) {
  State& state = *state_;
  state.report.owner = owner;
  if (state.flow_file == nullptr) return true;
  FlowFileHeader& header = *state.flow_file->header();
  if (header.owner == owner) return true;
  bool none = true;
  hold([&] {
    none = state.flows.used() == 0;
    flush_flows(~0u);
    header.owner = owner;
  });
  return none;
}

Router& Engine::router() { return state_->router; }
FlowTable& Engine::flows() { return state_->flows; }
Counters& Engine::counters() { return state_->counters; }
const DropLog& Engine::drop_log() const { return state_->drop_log; }
EventRing& Engine::events() { return state_->events; }
Context& Engine::context() { return state_->context; }
PacketPool& Engine::pool() { return state_->pool; }

void Engine::on_events(std::function<void()> wake) {
  hold([&] { state_->wake_consumer = std::move(wake); });
}

void Engine::arm_events() { state_->armed.store(true); }

// -------------------------------------------------------------------------------------------
// worker

Status Engine::start() {
  State& state = *state_;
  if (state.running) return Status::fail(StatusCode::Busy, "start");
  if (const Status ready = status(); !ready.ok()) return ready;
  state.stopping.store(false);
  state.base_ns = state.context.now_ns;  // goes on from the last step
  state.started = std::chrono::steady_clock::now();
  const int failed = pthread_create(
      &state.thread, nullptr,
      [](void* self) -> void* {
        static_cast<State*>(self)->run();
        return nullptr;
      },
      &state);
  if (failed != 0) return Status::fail(StatusCode::NoMemory, "thread");
  state.running = true;
  return Status::done();
}

void Engine::stop() {
  State& state = *state_;
  if (!state.running) return;
  state.stopping.store(true);
  state.wake.wake();
  pthread_join(state.thread, nullptr);
  state.running = false;
}

bool Engine::running() const { return state_->running; }

uint32_t Engine::step(uint64_t now_ns) {
  State& state = *state_;
  if (state.running || !status().ok()) return ~0u;
  const uint32_t received = state.breath(now_ns);
  state.tell_events();
  return received;
}

void Engine::State::tell_events() {
  // Every flow made or ended is an event, so the table's own totals say whether any wait.
  const uint64_t changes = flows.created() + flows.deleted();
  if (changes == flow_changes_told || !wake_consumer) return;
  if (!armed.exchange(false)) return;
  flow_changes_told = changes;
  wake_consumer();
}

void Engine::State::run() {
  if (options.cpu != kAnyCpu) {  // a CPU that is not ours to have leaves the worker where it is
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(options.cpu, &set);
    pthread_setaffinity_np(pthread_self(), sizeof set, &set);
  }
  Pace pace(options.pace);
  uint32_t futile = 0;
  bool woken_by_port = false;
  while (!stopping.load(std::memory_order_acquire)) {
    gate.enter();
    const uint64_t now_ns = clock_ns();
    const uint64_t elapsed = now_ns - base_ns;
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
