// The control side of an engine: its workers' ports, flows and counters, and when they run.
#include "worker/engine.h"

#include <utility>

#include "path/pipeline.h"
#include "path/rooms.h"
#include "worker/worker.h"

namespace vrouter {

struct Engine::State {
  explicit State(const EngineOptions& given) : house(given) {
    for (uint32_t i = 0; i < house.workers; ++i) {
      workers.push_back(std::make_unique<Worker>(house, i));
    }
    house.flows.on_erase(
        [](void* self, FlowId forward, FlowId reverse) {
          static_cast<State*>(self)->flow_erased(forward, reverse);
        },
        this);
    if (house.flow_file != nullptr) adopt_flows();
    shared = alone() || house.flows.share(&house.together.readers);
    slots.reserve(kMaxPorts);
  }

  Worker& first() const { return *workers[0]; }
  bool alone() const { return workers.size() == 1; }
  Slot* slot(PortId id) { return id.value < slots.size() ? slots[id.value].get() : nullptr; }

  void lock();
  void unlock();
  void flow_erased(FlowId forward, FlowId reverse);
  void adopt_flows();
  void apply_router_spec();
  void sum_counters();

  House house;
  std::vector<std::unique_ptr<Worker>> workers;
  std::vector<std::unique_ptr<Slot>> slots;  // by PortId; changed only while the gates are held
  bool shared = false;                       // the flow table can be read by all
  Counters sum;                              // of several workers
  uint32_t started = 0;                      // workers that have a thread; control side only
};

// ------------------------------------------------------------------------------------------- flows

// InRooms, or by the control side.
void Engine::State::flow_erased(FlowId forward_id, FlowId reverse_id) {
  if (house.tier != nullptr) house.tier->erased(first().context, forward_id, reverse_id);
  const FlowHalf forward = house.flows.half(forward_id);
  const FlowHalf reverse = house.flows.half(reverse_id);
  house.quota.leave(forward);
  house.quota.leave(reverse);
  const uint64_t now = alone() ? first().context.now_ns : house.together.now_ns;
  house.events.push(flow_event(EventKind::FlowDeleted, now, forward_id, forward, reverse));
}

// Before the first Program. Time goes on from the last breath, so that idle times hold; the time
// nobody forwarded does not count.
void Engine::State::adopt_flows() {
  FlowTable& flows = house.flows;
  house.router.keep_incarnations_in(house.flow_file->incarnations());
  if (!house.flow_file->kept()) return;
  for (const auto& worker : workers) {
    worker->context.now_ns = worker->context.aged_at_ns = house.flow_file->header()->now_ns;
  }
  house.together.now_ns = first().context.now_ns;
  house.report.adopted = true;
  house.report.flows = flows.adopt(now_ms(first().context));
  for (uint32_t at = 0; at < flows.capacity(); ++at) {
    if (flows.valid(FlowId{at})) house.quota.enter(flows.half(FlowId{at}));
  }
  house.flow_changes_told.store(flows.created());
  house.together.flow_changes.store(flows.created());
  house.router.touch_all();  // later than the generation that adopted flows are marked with
}

// ----------------------------------------------------------------------------------------- control

void Engine::State::apply_router_spec() {
  for (const auto& worker : workers) {
    Counters& counters = worker->counters;
    if (counters.vrfs.size() < house.router.vrf_limit()) {
      counters.vrfs.resize(house.router.vrf_limit());
    }
  }
  FlowTimeouts& timeouts = house.timeouts;
  timeouts = FlowTimeouts();
  // Protocol 0 stands for all without a value of their own: it goes first, wherever it was listed.
  const std::vector<Timeout>& asked = house.router.spec().timeouts;
  for (const bool any : {true, false}) {
    for (const Timeout& t : asked) {
      if ((t.protocol == 0) == any) timeouts.set(t.protocol, t.state, t.seconds);
    }
  }
}

void Engine::State::sum_counters() {
  sum = first().counters;
  for (uint32_t i = 1; i < workers.size(); ++i) add_counters(sum, workers[i]->counters);
}

// All are asked before one is waited for: together they take as long as the longest breath.
void Engine::State::lock() {
  for (const auto& worker : workers) worker->gate.ask();
  for (const auto& worker : workers) worker->gate.await();
}

void Engine::State::unlock() {
  for (const auto& worker : workers) worker->gate.unlock();
}

Engine::Engine(const EngineOptions& options) : state_(std::make_unique<State>(options)) {}

// What hangs on the ports' descriptors goes before they do: a number that is closed may be somebody else's.
Engine::~Engine() {
  stop();
  state_->house.tier.reset();
}

Status Engine::status() const {
  if (!state_->house.flows.ok() || !state_->shared)
    return Status::fail(StatusCode::NoMemory, "flowEntries");
  for (const auto& worker : state_->workers) {
    if (!worker->pool.ok()) return Status::fail(StatusCode::NoMemory, "buffers");
    if (!worker->wake.ok()) return Status::fail(StatusCode::NoMemory, "wake");
  }
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
    slots[at]->apart = port->apart();
    slots[at]->port = std::move(port);
    id = PortId{at};
    for (const auto& worker : state_->workers) worker->attach(id, *slots[at]);
  });
  return id;
}

Status Engine::remove_port(PortId id) {
  Status status;
  std::vector<KernelTier::Joined> gone;
  std::unique_ptr<Slot> closed;  // after what hangs on its descriptor
  hold([&] {
    if (state_->slot(id) == nullptr) {
      status = Status::fail(StatusCode::NotFound, "port");
    } else if (state_->house.router.vif_of_port(id).valid()) {
      status = Status::fail(StatusCode::InUse, "port");
    } else {
      KernelTier* const tier = state_->house.tier.get();
      if (tier != nullptr) gone = tier->leave(state_->first().context, id);
      for (const auto& worker : state_->workers) worker->detach(id);
      closed = std::move(state_->slots[id.value]);
      while (!state_->slots.empty() && !state_->slots.back()) state_->slots.pop_back();
    }
  });
  for (const KernelTier::Joined& one : gone) KernelTier::let_go(one);
  return status;
}

Port* Engine::port(PortId id) {
  Slot* slot = state_->slot(id);
  return slot != nullptr ? slot->port.get() : nullptr;
}

std::string Engine::join_tier(PortId port, const TierDevice& device) {
  KernelTier* const tier = state_->house.tier.get();
  if (tier == nullptr) return state_->house.no_tier;
  KernelTier::Joined made = tier->prepare(port, device);
  const std::string why = made.why;
  hold([&] { tier->admit(std::move(made)); });
  return why;
}

const KernelTier* Engine::tier() const { return state_->house.tier.get(); }

const std::string& Engine::no_tier() const { return state_->house.no_tier; }

bool Engine::port_exists(PortId id) const { return state_->slot(id) != nullptr; }

uint32_t Engine::port_limit() const { return static_cast<uint32_t>(state_->slots.size()); }

void Engine::hold(const std::function<void()>& f) {
  State& state = *state_;
  KernelTier* const tier = state.house.tier.get();
  state.lock();
  if (tier != nullptr) tier->collect(state.first().context);
  f();
  if (tier != nullptr) tier->revise(state.first().context);
  if (state.first().gate.outermost()) state.apply_router_spec();
  const FlowTable& flows = state.house.flows;
  state.house.together.flow_changes.store(flows.created() + flows.deleted());
  state.unlock();
  wake();
}

void Engine::wake() {
  for (const auto& worker : state_->workers) worker->wake.wake();
}

Status Engine::start_capture(uint32_t id, CaptureSpec&& spec) {
  auto made = std::make_unique<Capture>(id, std::move(spec), now_ns());
  if (!made->ring.ok()) return Status::fail(StatusCode::NoMemory, "bytes");
  Captures::Gone gone;
  gone.reserve(kMaxCaptures);
  Status status;
  hold([&] {
    status = state_->house.captures.start(made, gone);
    KernelTier* const tier = state_->house.tier.get();
    if (tier != nullptr) tier->pause(state_->house.captures.any(), state_->first().context);
  });
  return status;
}

bool Engine::stop_capture(uint32_t id) {
  std::unique_ptr<Capture> stopped;
  hold([&] { stopped = state_->house.captures.stop(id); });
  return stopped != nullptr;
}

Capture* Engine::capture(uint32_t id) { return state_->house.captures.find(id); }

uint64_t Engine::now_ns() const {
  return running() ? state_->house.clock_ns() : state_->first().context.now_ns;
}

void Engine::flush_flows(uint32_t vrf) {
  FlowTable& flows = state_->house.flows;
  for (uint32_t at = 0; at < flows.capacity() && flows.used() != 0; ++at) {
    const FlowId id{at};
    if (!flows.valid(id) || (flows[id].flags & kFlowInitiator) == 0) continue;
    if (vrf == ~0u || flows[id].vrf == vrf || flows[flows.reverse(id)].vrf == vrf) {
      flows.erase(id);
    }
  }
}

const FlowFileReport& Engine::flow_file() const { return state_->house.report; }

bool Engine::claim_flows(uint64_t owner) {
  House& state = state_->house;
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

Router& Engine::router() { return state_->house.router; }
FlowTable& Engine::flows() { return state_->house.flows; }
const DropLog& Engine::drop_log() const { return state_->house.drop_log; }
EventRing& Engine::events() { return state_->house.events; }
Context& Engine::context() { return state_->first().context; }
PacketPool& Engine::pool() { return state_->first().pool; }

const Counters& Engine::counters() {
  if (state_->alone()) return state_->first().counters;
  state_->sum_counters();
  return state_->sum;
}

void Engine::clear_counters() {
  for (const auto& worker : state_->workers) clear(worker->counters);
}

uint32_t Engine::buffers_free() const {
  uint32_t free = 0;
  for (const auto& worker : state_->workers) free += worker->pool.available();
  return free;
}

uint32_t Engine::fragments_held() const {
  uint32_t held = 0;
  for (const auto& worker : state_->workers) held += worker->fragments.held();
  return held;
}

void Engine::on_events(std::function<void()> wake) {
  hold([&] { state_->house.wake_consumer = std::move(wake); });
}

void Engine::arm_events() { state_->house.armed.store(true); }

// ----------------------------------------------------------------------------------------- workers

uint32_t Engine::workers() const { return state_->house.workers; }

Status Engine::start() {
  State& state = *state_;
  if (running()) return Status::fail(StatusCode::Busy, "start");
  if (const Status ready = status(); !ready.ok()) return ready;
  state.house.stopping.store(false);
  state.house.base_ns = state.first().context.now_ns;  // goes on from the last step
  state.house.started = std::chrono::steady_clock::now();
  for (const auto& worker : state.workers) {
    const int failed = pthread_create(
        &worker->thread, nullptr,
        [](void* self) -> void* {
          static_cast<Worker*>(self)->run();
          return nullptr;
        },
        worker.get());
    if (failed != 0) {
      stop();
      return Status::fail(StatusCode::NoMemory, "thread");
    }
    ++state.started;
  }
  return Status::done();
}

void Engine::stop() {
  State& state = *state_;
  if (state.started == 0) return;
  state.house.stopping.store(true);
  wake();
  while (state.started != 0) pthread_join(state.workers[--state.started]->thread, nullptr);
}

bool Engine::running() const { return state_->started != 0; }

uint32_t Engine::step(uint64_t now_ns) {
  if (running() || !status().ok()) return ~0u;
  uint32_t received = 0;
  for (const auto& worker : state_->workers) {
    received += worker->breath(now_ns);
    worker->tell_events();
  }
  return received;
}

}  // namespace vrouter
