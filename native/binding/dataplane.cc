#include "binding/dataplane.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>
#include <vector>

#include "binding/port_request.h"
#include "binding/records.h"
#include "path/pipeline.h"
#include "path/rooms.h"
#include "port/memory_port.h"
#include "port/pcap_port.h"
#include "program/program.h"
#include "wire/print.h"

namespace vrouter {
namespace {

constexpr uint32_t kMaxPaceUs = 1'000'000;
constexpr uint32_t kMaxBuffers = 1u << 20;
constexpr uint32_t kMinBuffers = 4 * kBurst;
constexpr uint32_t kMinBufferBytes = 512;
constexpr uint32_t kMaxBufferBytes = 66560;  // a super-packet of 65,535 bytes, with its tags
constexpr uint32_t kMaxDescriptor = 1u << 20;
constexpr uint32_t kMaxDumpBytes = 64u << 20;
// Entries looked at per call: bounds how long one dump holds the worker.
constexpr uint32_t kFlowScan = 1u << 18;
constexpr uint32_t kMaxCollectBytes = 4u << 20;
constexpr uint32_t kTotals = 8;

uint32_t u32_at(const uint8_t* bytes) {
  return uint32_t{bytes[0]} | uint32_t{bytes[1]} << 8 | uint32_t{bytes[2]} << 16 |
         uint32_t{bytes[3]} << 24;
}

void append_frame(std::vector<uint8_t>& out, const uint8_t* frame, uint32_t length) {
  const uint8_t header[4] = {static_cast<uint8_t>(length), static_cast<uint8_t>(length >> 8),
                             static_cast<uint8_t>(length >> 16),
                             static_cast<uint8_t>(length >> 24)};
  out.insert(out.end(), header, header + 4);
  out.insert(out.end(), frame, frame + length);
}

// Cursors are opaque bytes: Latin-1 carries every one of them through a JavaScript string.
bool read_cursor(Napi::Env env, AddonState& state, Napi::Value value, std::string& out) {
  char text[257];
  size_t length = 0;
  if (!value.IsString() ||
      napi_get_value_string_latin1(env, value, nullptr, 0, &length) != napi_ok ||
      length >= sizeof text ||
      napi_get_value_string_latin1(env, value, text, sizeof text, &length) != napi_ok) {
    return refuse(env, state, "cursor", "a string that dump() returned, or empty");
  }
  out.assign(text, length);
  return true;
}

Napi::Value new_cursor(Napi::Env env, const std::string& cursor) {
  napi_value value = nullptr;
  if (napi_create_string_latin1(env, cursor.data(), cursor.size(), &value) != napi_ok) return {};
  return {env, value};
}

// The far end of the tunnel a next hop sends to; unset if it is no tunnel.
Address far_end(Router& router, uint32_t next_hop) {
  const NextHopObject* object = router.next_hop_object(NextHopId{next_hop});
  if (object == nullptr || object->kind != NextHopKind::Tunnel) return {};
  return object->tunnel.destination;
}

bool leaves_by_udp(Router& router, uint32_t next_hop) {
  const NextHop* hop = router.next_hop(NextHopId{next_hop});
  return hop != nullptr && hop->kind == NextHopKind::Tunnel && hop->encap != Encap::MplsOverGre;
}

// Which leg of its tunnel a flow's packets take now; 0xffff: it has no choice.
uint16_t underlay_leg(Router& router, uint32_t next_hop, uint64_t hash) {
  const NextHop* hop = router.next_hop(NextHopId{next_hop});
  return hop != nullptr && hop->legs != nullptr ? static_cast<uint16_t>(hop->legs->pick(hash))
                                                : uint16_t{0xffff};
}

void copy_address(record::bytes16& out, const uint8_t* bytes) { std::memcpy(out.data, bytes, 16); }

record::Flow render(Context& context, FlowId id) {
  FlowTable& flows = context.flows;
  const FlowHalf half = flows.half(id);
  const FlowHalf reverse = flows.half(flows.reverse(id));
  const Flow& flow = half.flow;
  const uint8_t nat = half.nat();
  const FlowKey key = half.key();
  const FlowKey back = reverse.key();
  const NextHopId key_next_hop = scope_next_hop(flow.scope);

  record::Flow out{};
  out.packets = half.packets();
  out.bytes = half.bytes();
  out.index = id.value;
  out.reverse = flows.reverse(id).value;
  out.vrf = flow.vrf;
  out.destination_vrf = reverse.flow.vrf;
  out.key_next_hop = key_next_hop.value;
  out.rpf_next_hop = flow.rpf_next_hop();
  out.next_hop = flow.next_hop();
  out.label = flow.label();
  out.member = half.cold.member();
  out.vif = half.cold.vif;
  out.idle_ms = now_ms(context) - flow.last_seen;
  out.source_port = key.source_port;
  out.destination_port = key.destination_port;
  out.tcp = flow.tcp;
  out.family = static_cast<uint8_t>(key.family);
  out.protocol = flow.protocol;
  out.action = static_cast<uint8_t>(flow.action);
  out.drop = static_cast<uint8_t>(half.drop());
  out.nat = nat;
  out.flags = flow.flags;
  out.generation_id = half.cold.generation_id();
  copy_address(out.source, key.source);
  copy_address(out.destination, key.destination);
  // The translation is the reverse half's key read backwards: the two can never disagree.
  copy_address(out.nat_source, (nat & kNatSource) != 0 ? back.destination : key.source);
  copy_address(out.nat_destination, (nat & kNatDestination) != 0 ? back.source : key.destination);
  out.nat_source_port = (nat & kNatSourcePort) != 0 ? flow.nat_source_port : key.source_port;
  out.nat_destination_port =
      (nat & kNatDestinationPort) != 0 ? flow.nat_destination_port : key.destination_port;
  if (leaves_by_udp(context.router, flow.next_hop())) {
    out.outer_source_port = entropy_port(flows.hash(key));
  }
  out.underlay_leg = underlay_leg(context.router, flow.next_hop(), flows.hash(key));
  const Address source = far_end(context.router, flow.rpf_next_hop());
  out.source_family = static_cast<uint8_t>(source.family);
  copy_address(out.source_info, source.bytes.data());
  return out;
}

bool port_exists(void* engine, PortId port) {
  return static_cast<Engine*>(engine)->port_exists(port);
}

Napi::Object fault_stats(Napi::Env env, const FaultStats& stats) {
  Napi::Object out = Napi::Object::New(env);
  Napi::Object injected = Napi::Object::New(env);
  for (uint32_t i = 0; i < kFaults; ++i) {
    injected.Set(fault_name(static_cast<Fault>(i)), Napi::BigInt::New(env, stats.injected[i]));
  }
  out.Set("injected", injected);
  const std::pair<const char*, uint64_t> numbers[] = {
      {"rxLost", stats.rx_lost},       {"rxDuplicated", stats.rx_duplicated},
      {"rxMade", stats.rx_made},       {"rxWaiting", stats.rx_waiting},
      {"txLost", stats.tx_lost},       {"txDuplicated", stats.tx_duplicated},
      {"txWaiting", stats.tx_waiting},
  };
  for (const auto& [name, value] : numbers) out.Set(name, Napi::BigInt::New(env, value));
  return out;
}

bool is_pcap(const Port& port) { return std::strcmp(port.kind(), "pcap") == 0; }

}  // namespace

Napi::Function Dataplane::define(Napi::Env env, const std::shared_ptr<AddonState>& state) {
  Napi::Function constructor =
      DefineClass(env, "Dataplane",
                  {
                      InstanceMethod<&Dataplane::add_port>("addPort"),
                      InstanceMethod<&Dataplane::remove_port>("removePort"),
                      InstanceMethod<&Dataplane::port_info>("portInfo"),
                      InstanceMethod<&Dataplane::port_descriptor>("portDescriptor"),
                      InstanceMethod<&Dataplane::flow_file>("flowFile"),
                      InstanceMethod<&Dataplane::claim_flows>("claimFlows"),
                      InstanceMethod<&Dataplane::start>("start"),
                      InstanceMethod<&Dataplane::stop>("stop"),
                      InstanceMethod<&Dataplane::step>("step"),
                      InstanceMethod<&Dataplane::commit>("commit"),
                      InstanceMethod<&Dataplane::dump_table>("dump"),
                      InstanceMethod<&Dataplane::dump_flows>("dumpFlows"),
                      InstanceMethod<&Dataplane::delete_flow>("deleteFlow"),
                      InstanceMethod<&Dataplane::counter_shape>("counterShape"),
                      InstanceMethod<&Dataplane::read_counters>("readCounters"),
                      InstanceMethod<&Dataplane::clear_counters>("clearCounters"),
                      InstanceMethod<&Dataplane::drop_log>("dropLog"),
                      InstanceMethod<&Dataplane::start_capture>("startCapture"),
                      InstanceMethod<&Dataplane::read_capture>("readCapture"),
                      InstanceMethod<&Dataplane::stop_capture>("stopCapture"),
                      InstanceMethod<&Dataplane::drain_events>("drainEvents"),
                      InstanceMethod<&Dataplane::inject>("inject"),
                      InstanceMethod<&Dataplane::collect>("collect"),
                      InstanceMethod<&Dataplane::explain_frame>("explain"),
                      InstanceMethod<&Dataplane::info_object>("info"),
                      InstanceMethod<&Dataplane::close>("close"),
                  });
  state->constructor = Napi::Persistent(constructor);
  state->constructor.SuppressDestruct();
  return constructor;
}

Dataplane::Dataplane(const Napi::CallbackInfo& info)
    : ObjectWrap(info), state_(*info.Env().GetInstanceData<std::shared_ptr<AddonState>>()) {
  Napi::Env env = info.Env();
  EngineOptions options;
  if (!info[0].IsUndefined()) {
    Napi::Object given;
    Napi::Value seed;
    if (!read_object(env, *state_, info[0], "options", given) ||
        !read_option(env, *state_, given, "flowEntries", 1024, kMaxFlows, options.flow_entries) ||
        !read_option(env, *state_, given, "buffers", kMinBuffers, kMaxBuffers, options.buffers) ||
        !read_option(env, *state_, given, "bufferBytes", kMinBufferBytes, kMaxBufferBytes,
                     options.buffer_bytes) ||
        !read_option(env, *state_, given, "flowFile", kMaxPathBytes, options.flow_file) ||
        !read_option(env, *state_, given, "lookUs", 0, kMaxPaceUs, options.pace.look_us) ||
        !read_option(env, *state_, given, "cpu", 0, kMaxCpus - 1, options.cpu) ||
        !read_option(env, *state_, given, "workers", 1, kMaxWorkers, options.workers) ||
        !read_flag(env, *state_, given, "kernelTier", options.kernel_tier) ||
        !read_property(env, given, "seed", seed) ||
        (!seed.IsUndefined() && !read_u64(env, *state_, seed, "seed", options.seed))) {
      return;
    }
  }
  engine_ = std::make_unique<Engine>(options);
  const Status status = engine_->status();
  if (!status.ok()) {
    engine_.reset();
    throw_status(env, *state_, status);
    return;
  }
  state_->open.insert(this);
}

Dataplane::~Dataplane() { shut(); }

void Dataplane::shut() {
  if (engine_ == nullptr) return;
  engine_->stop();
  engine_.reset();
  state_->open.erase(this);
}

bool Dataplane::ready(Napi::Env env) {
  if (engine_ != nullptr) return true;
  throw_error(env, *state_, "CLOSED", "the data plane has been closed");
  return false;
}

Napi::Value Dataplane::outcome(Napi::Env env, const Status& status) {
  if (!status.ok()) throw_status(env, *state_, status);
  return env.Undefined();
}

bool Dataplane::find_port(Napi::Env env, Napi::Value value, PortId& out) {
  uint32_t id = 0;
  if (!read_u32(env, *state_, value, "port", 0, kMaxPorts, id) || !ready(env)) return false;
  out = PortId{id};
  if (engine_->port_exists(out)) return true;
  throw_error(env, *state_, "NOT_FOUND", "there is no port " + std::to_string(id), kNoOp, "port");
  return false;
}

MemoryPort* Dataplane::memory_port(Napi::Env env, PortId id) {
  Port* port = engine_->port(id);
  if (std::strcmp(port->kind(), "faulty") == 0) port = &static_cast<FaultyPort*>(port)->behind();
  if (std::strcmp(port->kind(), "memory") == 0) return static_cast<MemoryPort*>(port);
  throw_error(env, *state_, "BAD_VALUE",
              "port " + std::to_string(id.value) + " is a " + port->kind() +
                  " port; frames go in and out by hand on memory ports only",
              kNoOp, "port");
  return nullptr;
}

// --- ports --------------------------------------------------------------------------------------

Napi::Value Dataplane::add_port(Info info) {
  Napi::Env env = info.Env();
  PortRequest request;
  PortId wanted;
  // Ours from here on, whatever is refused below; the port takes it out.
  struct Given {
    ~Given() {
      if (fd < kMaxDescriptor) ::close(static_cast<int>(fd));
    }
    uint32_t fd = kMaxDescriptor;
  } given;
  if (!info[2].IsUndefined() &&
      !read_u32(env, *state_, info[2], "fd", 0, kMaxDescriptor - 1, given.fd)) {
    return {};
  }
  if (!read_port_request(env, *state_, info[0], request)) return {};
  if (!info[1].IsUndefined() &&
      !read_u32(env, *state_, info[1], "at", 0, kMaxPorts - 1, wanted.value)) {
    return {};
  }
  if (!ready(env)) return {};

  Status status;
  std::string detail;
  std::unique_ptr<Port> port;
  if (given.fd == kMaxDescriptor) {
    port = open_port(request, &status, &detail);
  } else if (has_descriptor(request)) {
    port = adopt_port(request, static_cast<int>(std::exchange(given.fd, kMaxDescriptor)), &status,
                      &detail);
  } else {
    status = Status::fail(StatusCode::BadValue, "fd");
    detail = "a " + request.kind + " port has no descriptor";
  }
  if (port != nullptr) {
    port->coalesces = request.coalesce;
    port->plain = request.offloads == TapOffloads::None;
  }
  if (port == nullptr) {
    throw_error(env, *state_, status_code(status.code),
                detail.empty() ? status_text(status.code) : detail, kNoOp, status.field);
    return {};
  }
  TierDevice device;
  const bool meets =
      engine_->tier() != nullptr && port->fd() >= 0 && tier_device(request, *port, device);
  const PortId id = engine_->add_port(std::move(port), wanted);
  if (!id.valid()) return outcome(env, Status::fail(StatusCode::TableFull, "port"));
  // Whether it can or not, the port works: info() says which.
  if (meets) engine_->join_tier(id, device);
  return Napi::Number::New(env, id.value);
}

Napi::Value Dataplane::remove_port(Info info) {
  PortId id;
  if (!find_port(info.Env(), info[0], id)) return {};
  Status status;
  // A capture that could not be written whole must not look like one that was.
  Port* port = engine_->port(id);
  const bool bound = engine_->router().vif_of_port(id).valid();
  if (!bound && is_pcap(*port)) {
    engine_->hold([&] { status = static_cast<PcapPort*>(port)->close_output(); });
  }
  const Status removed = engine_->remove_port(id);
  return outcome(info.Env(), removed.ok() ? status : removed);
}

// portDescriptor(port) -> fd: a duplicate, the caller's; -1: the port has none.
Napi::Value Dataplane::port_descriptor(Info info) {
  Napi::Env env = info.Env();
  PortId id;
  if (!find_port(env, info[0], id)) return {};
  const int fd = engine_->port(id)->fd();
  const int copy = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 0);
  if (copy < 0 && fd >= 0) {
    throw_error(env, *state_, "PORT_FAILED", std::strerror(errno), kNoOp, "port");
    return {};
  }
  return Napi::Number::New(env, copy);
}

// flowFile() -> what became of the option.
Napi::Value Dataplane::flow_file(Info info) {
  Napi::Env env = info.Env();
  if (!ready(env)) return {};
  const FlowFileReport& report = engine_->flow_file();
  Napi::Object faults = Napi::Object::New(env);
  for (uint32_t i = 1; i < static_cast<uint32_t>(FlowFault::kCount); ++i) {
    faults.Set(flow_fault_name(static_cast<FlowFault>(i)), report.flows.faults[i]);
  }
  Napi::Object out = Napi::Object::New(env);
  out.Set("file", report.file);
  out.Set("adopted", report.adopted);
  out.Set("reason", report.reason);
  out.Set("runs", Napi::BigInt::New(env, report.runs));
  out.Set("owner", Napi::BigInt::New(env, report.owner));
  out.Set("entries", report.flows.entries);
  out.Set("dropped", report.flows.dropped);
  out.Set("faults", faults);
  return out;
}

// claimFlows(owner) -> whether there were no flows of another's.
Napi::Value Dataplane::claim_flows(Info info) {
  Napi::Env env = info.Env();
  uint64_t owner = 0;
  if (!read_u64(env, *state_, info[0], "owner", owner) || !ready(env)) return {};
  return Napi::Boolean::New(env, engine_->claim_flows(owner));
}

Napi::Value Dataplane::port_info(Info info) {
  Napi::Env env = info.Env();
  PortId id;
  if (!find_port(env, info[0], id)) return {};
  Port* port = engine_->port(id);
  uint64_t rx_discards = 0, rx_errors = 0, tx_errors = 0;
  bool done = false;
  bool up = false;
  const bool faulty = std::strcmp(port->kind(), "faulty") == 0;
  FaultStats faults{};
  engine_->hold([&] {
    if (faulty) faults = static_cast<FaultyPort*>(port)->stats();
    done = is_pcap(*port) && static_cast<PcapPort*>(port)->done();
    up = port->up();
    rx_discards = port->rx_discards;
    rx_errors = port->rx_errors;
    tx_errors = port->tx_errors;
  });
  Napi::Object out = Napi::Object::New(env);
  out.Set("kind", port->kind());
  out.Set("mtu", port->mtu());
  out.Set("up", up);
  out.Set("done", done);
  out.Set("rxDiscards", Napi::BigInt::New(env, rx_discards));
  out.Set("rxErrors", Napi::BigInt::New(env, rx_errors));
  out.Set("txErrors", Napi::BigInt::New(env, tx_errors));
  if (faulty) out.Set("faults", fault_stats(env, faults));
  return out;
}

// Frames in and out: u32 length, then the frame, one after the other.
Napi::Value Dataplane::inject(Info info) {
  Napi::Env env = info.Env();
  std::span<uint8_t> packed;
  PortId id;
  if (!read_bytes(env, *state_, info[1], "frames", packed) || !find_port(env, info[0], id)) {
    return {};
  }
  MemoryPort* port = memory_port(env, id);
  if (port == nullptr) return {};
  for (size_t at = 0; at < packed.size();) {
    const size_t left = packed.size() - at;
    if (left < 4 || u32_at(&packed[at]) > left - 4) {
      return outcome(env, Status::fail(StatusCode::Truncated, "frames"));
    }
    at += 4 + size_t{u32_at(&packed[at])};
  }
  // A memory port's queues are for two threads: the worker need not be held.
  uint32_t taken = 0;
  for (size_t at = 0; at < packed.size(); ++taken) {
    const uint32_t length = u32_at(&packed[at]);
    if (!port->inject(packed.data() + at + 4, length)) break;
    at += 4 + size_t{length};
  }
  engine_->wake();
  return Napi::Number::New(env, taken);
}

Napi::Value Dataplane::collect(Info info) {
  Napi::Env env = info.Env();
  PortId id;
  if (!find_port(env, info[0], id)) return {};
  MemoryPort* port = memory_port(env, id);
  if (port == nullptr) return {};
  std::vector<uint8_t> packed, frame;
  // Bounded: a running worker may go on filling the queue.
  while (packed.size() < kMaxCollectBytes && port->collect(frame)) {
    append_frame(packed, frame.data(), static_cast<uint32_t>(frame.size()));
  }
  return new_bytes(env, packed.data(), packed.size());
}

// --- time ---------------------------------------------------------------------------------------

Napi::Value Dataplane::start(Info info) {
  if (!ready(info.Env())) return {};
  return outcome(info.Env(), engine_->start());
}

Napi::Value Dataplane::stop(Info info) {
  if (!ready(info.Env())) return {};
  engine_->stop();
  return info.Env().Undefined();
}

Napi::Value Dataplane::step(Info info) {
  Napi::Env env = info.Env();
  uint64_t now = 0;
  if (!read_u64(env, *state_, info[0], "nowNs", now) || !ready(env)) return {};
  const uint32_t received = engine_->step(now);
  if (received == ~0u) return outcome(env, Status::fail(StatusCode::Busy));
  return Napi::Number::New(env, received);
}

// --- tables -------------------------------------------------------------------------------------

Napi::Value Dataplane::commit(Info info) {
  Napi::Env env = info.Env();
  std::span<uint8_t> bytes;
  if (!read_bytes(env, *state_, info[0], "program", bytes) || !ready(env)) return {};
  std::vector<Op> ops;
  const Status decoded = decode(bytes, ops);
  if (!decoded.ok()) return outcome(env, decoded);
  ApplyResult result;
  engine_->hold([&] {
    result = apply(ops, engine_->router(), &port_exists, engine_.get());
    for (const uint32_t vrf : result.flushed_vrfs) engine_->flush_flows(vrf);
  });
  if (!result.status.ok()) return outcome(env, result.status);
  return Napi::Number::New(env, result.generation);
}

Napi::Value Dataplane::dump_table(Info info) {
  Napi::Env env = info.Env();
  uint32_t table = 0, limit = 0;
  std::string cursor;
  VrfId vrf;
  const uint32_t last_table = static_cast<uint32_t>(DumpTable::kCount) - 1;
  if (!read_u32(env, *state_, info[0], "table", 0, last_table, table)) return {};
  const bool all = info[1].IsNumber() && info[1].As<Napi::Number>().DoubleValue() == -1;
  if (!all && !read_u32(env, *state_, info[1], "vrf", 0, kMaxVrfs - 1, vrf.value)) return {};
  if (!read_cursor(env, *state_, info[2], cursor) ||
      !read_u32(env, *state_, info[3], "limit", 1, kMaxDumpBytes, limit) || !ready(env)) {
    return {};
  }
  std::vector<uint8_t> bytes;
  Status status;
  engine_->hold([&] {
    status = dump(engine_->router(), static_cast<DumpTable>(table), vrf, cursor, limit, bytes);
  });
  if (!status.ok()) return outcome(env, status);
  Napi::Object out = Napi::Object::New(env);
  out.Set("bytes", new_bytes(env, bytes.data(), bytes.size()));
  out.Set("cursor", new_cursor(env, cursor));
  return out;
}

Napi::Value Dataplane::dump_flows(Info info) {
  Napi::Env env = info.Env();
  uint32_t start = 0, max = 0;
  if (!read_u32(env, *state_, info[0], "start", 0, kMaxFlows, start) ||
      !read_u32(env, *state_, info[1], "max", 1, 1u << 20, max) || !ready(env)) {
    return {};
  }
  std::vector<record::Flow> records;
  uint32_t next = start;
  engine_->hold([&] {
    const FlowTable& flows = engine_->flows();
    const uint32_t capacity = flows.capacity();
    const uint32_t end =
        capacity - std::min(start, capacity) > kFlowScan ? start + kFlowScan : capacity;
    for (; next < end && records.size() < max; ++next) {
      if (flows.valid(FlowId{next})) records.push_back(render(engine_->context(), FlowId{next}));
    }
    if (next >= capacity) next = 0;  // 0: the end was reached
  });
  Napi::Object out = Napi::Object::New(env);
  out.Set("bytes", new_bytes(env, reinterpret_cast<const uint8_t*>(records.data()),
                             records.size() * sizeof(record::Flow)));
  out.Set("next", next);
  return out;
}

Napi::Value Dataplane::delete_flow(Info info) {
  Napi::Env env = info.Env();
  uint32_t index = 0;
  if (!read_u32(env, *state_, info[0], "index", 0, kMaxFlows, index) || !ready(env)) return {};
  bool found = false;
  engine_->hold([&] {
    found = engine_->flows().valid(FlowId{index});
    if (found) engine_->flows().erase(FlowId{index});
  });
  return Napi::Boolean::New(env, found);
}

// --- counters and events ------------------------------------------------------------------------

// The ids that readCounters writes rows for, in its order. Only commit() changes them, and commit()
// runs on this thread.
Napi::Value Dataplane::counter_shape(Info info) {
  Napi::Env env = info.Env();
  if (!ready(env)) return {};
  Router& router = engine_->router();
  const auto ids = [&](uint32_t limit, auto in_use) {
    Napi::Array out = Napi::Array::New(env);
    uint32_t count = 0;
    for (uint32_t id = 0; id < limit; ++id) {
      if (in_use(id)) out.Set(count++, id);
    }
    return out;
  };
  Napi::Object out = Napi::Object::New(env);
  out.Set("vifs", ids(router.vif_limit(), [&](uint32_t id) { return router.vif(VifId{id}); }));
  out.Set("vrfs", ids(router.vrf_limit(), [&](uint32_t id) { return router.vrf(VrfId{id}); }));
  return out;
}

// Writes drop reasons, totals, then a row per vif in use, then a row per VRF in use. Returns how
// many numbers there are; writes nothing if they do not fit.
Napi::Value Dataplane::read_counters(Info info) {
  Napi::Env env = info.Env();
  std::span<uint64_t> into;
  if (!read_array(env, *state_, info[0], "into", napi_biguint64_array,
                  "a BigUint64Array of unshared memory", into) ||
      !ready(env)) {
    return {};
  }
  Router& router = engine_->router();
  std::vector<uint64_t> out;
  engine_->hold([&] {
    const Counters& c = engine_->counters();
    out.assign(c.drops, c.drops + kDropReasons);
    const uint64_t totals[kTotals] = {
        c.received, c.forwarded, c.replied,   c.punted,
        c.dropped,  c.consumed,  c.generated, engine_->fragments_held()};
    out.insert(out.end(), totals, totals + kTotals);
    const auto row = [&](const auto& counters, uint32_t count) {
      const auto* first = reinterpret_cast<const uint64_t*>(&counters);
      out.insert(out.end(), first, first + count);
    };
    for (uint32_t id = 0; id < router.vif_limit(); ++id) {
      if (router.vif(VifId{id}) != nullptr) row(c.vifs[id], kVifCounters);
    }
    for (uint32_t id = 0; id < router.vrf_limit(); ++id) {
      if (router.vrf(VrfId{id}) != nullptr) row(c.vrfs[id], kVrfCounters);
    }
  });
  if (out.size() <= into.size()) std::copy(out.begin(), out.end(), into.begin());
  return Napi::Number::New(env, static_cast<double>(out.size()));
}

Napi::Value Dataplane::clear_counters(Info info) {
  if (!ready(info.Env())) return {};
  engine_->hold([&] { engine_->clear_counters(); });
  return info.Env().Undefined();
}

// The last drops after number info[0], oldest first.
Napi::Value Dataplane::drop_log(Info info) {
  Napi::Env env = info.Env();
  uint64_t after = 0;
  if (!read_u64(env, *state_, info[0], "after", after) || !ready(env)) return {};
  std::vector<DropRecord> records;
  uint64_t now_ns = 0;
  engine_->hold([&] {
    const DropLog& log = engine_->drop_log();
    now_ns = engine_->context().now_ns;
    for (uint64_t n = std::max(log.oldest(), after + 1); n <= log.added(); ++n) {
      records.push_back(log.at(n));
    }
  });
  Napi::Array out = Napi::Array::New(env, records.size());
  for (uint32_t i = 0; i < records.size(); ++i) {
    const DropRecord& r = records[i];
    Napi::Object one = Napi::Object::New(env);
    one.Set("number", Napi::BigInt::New(env, r.number));
    one.Set("agoNs", Napi::BigInt::New(env, now_ns - r.time_ns));
    one.Set("reason", drop_name(r.reason));
    one.Set("room", room_name(r.room));
    one.Set("vif", r.vif.valid() ? static_cast<double>(r.vif.value) : -1);
    one.Set("vrf", r.vrf.valid() ? static_cast<double>(r.vrf.value) : -1);
    one.Set("length", r.length);
    // As long as it was, zeros behind what was kept: so its headers are printed and not its end missed.
    std::vector<uint8_t> whole(r.length);
    std::memcpy(whole.data(), r.bytes, r.captured);
    one.Set("text", print_frame(whole.data(), whole.size(), r.captured));
    one.Set("bytes", new_bytes(env, r.bytes, r.captured));
    out.Set(i, one);
  }
  return out;
}

Napi::Value Dataplane::drain_events(Info info) {
  Napi::Env env = info.Env();
  std::span<uint8_t> into;
  if (!read_bytes(env, *state_, info[0], "into", into) || !ready(env)) return {};
  // JavaScript's memory may begin at any address; the ring's records may not.
  std::vector<Event> events(std::min<size_t>(into.size() / sizeof(Event), kMaxFlowEvents));
  const uint32_t count =
      engine_->events().drain(events.data(), static_cast<uint32_t>(events.size()));
  if (count > 0) std::memcpy(into.data(), events.data(), count * sizeof(Event));
  Napi::Object out = Napi::Object::New(env);
  out.Set("count", count);
  out.Set("lost", Napi::BigInt::New(env, engine_->events().lost()));
  return out;
}

// --- questions ----------------------------------------------------------------------------------

// KernelTierInfo of src/dataplane/api.ts.
Napi::Object Dataplane::tier_info(Napi::Env env) {
  const KernelTier* tier = engine_->tier();
  Napi::Object out = Napi::Object::New(env);
  out.Set("on", tier != nullptr);
  out.Set("reason", engine_->no_tier());
  out.Set("flows", tier != nullptr ? tier->open_lanes() : 0);
  out.Set("packets", Napi::BigInt::New(env, tier != nullptr ? tier->packets() : uint64_t{0}));
  out.Set("bytes", Napi::BigInt::New(env, tier != nullptr ? tier->bytes() : uint64_t{0}));
  Napi::Array devices = Napi::Array::New(env);
  const auto add = [&](PortId port, const std::string& device, const std::string& way) {
    Napi::Object one = Napi::Object::New(env);
    one.Set("port", port.value);
    one.Set("device", device);
    one.Set("way", way);
    devices.Set(devices.Length(), one);
  };
  if (tier != nullptr) {
    for (const auto& one : tier->joined()) {
      add(one.port, one.spec.device,
          one.why.empty() ? tier_way_name(one.spec.way) : "none: " + one.why);
    }
  }
  out.Set("devices", devices);
  return out;
}

Napi::Value Dataplane::info_object(Info info) {
  Napi::Env env = info.Env();
  if (!ready(env)) return {};
  Router& router = engine_->router();
  Napi::Object out = Napi::Object::New(env);
  std::vector<uint32_t> references;  // id, count, id, count, …
  engine_->hold([&] {
    const FlowTable& flows = engine_->flows();
    out.Set("generation", router.generation);
    out.Set("flowEntries", flows.capacity());
    out.Set("flowsUsed", flows.used());
    out.Set("flowsCreated", Napi::BigInt::New(env, flows.created()));
    out.Set("flowsDeleted", Napi::BigInt::New(env, flows.deleted()));
    out.Set("flowsEvicted", Napi::BigInt::New(env, flows.evicted()));
    out.Set("flowBytes", static_cast<double>(flows.bytes()));
    out.Set("workers", engine_->workers());
    out.Set("buffers", engine_->pool().total() * engine_->workers());
    out.Set("buffersFree", engine_->buffers_free());
    out.Set("kernelTier", tier_info(env));
    for (uint32_t id = 0; id < router.next_hop_limit(); ++id) {
      if (router.next_hop(NextHopId{id}) == nullptr) continue;
      references.push_back(id);
      references.push_back(router.next_hop_references(NextHopId{id}));
    }
  });
  Napi::Uint32Array pairs = Napi::Uint32Array::New(env, references.size());
  std::copy(references.begin(), references.end(), pairs.Data());
  out.Set("nextHopReferences", pairs);
  return out;
}

Napi::Value Dataplane::close(Info info) {
  shut();
  return info.Env().Undefined();
}

Napi::Value open_port_descriptor(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  AddonState& state = **env.GetInstanceData<std::shared_ptr<AddonState>>();
  PortRequest request;
  if (!read_port_request(env, state, info[0], request)) return {};
  if (!is_kernel_port(request)) {
    refuse(env, state, "kind", "tap or af_packet");
    return {};
  }
  Status status;
  std::string detail;
  const std::unique_ptr<Port> port = open_port(request, &status, &detail);
  int fd = -1;
  if (port != nullptr) {
    fd = fcntl(port->fd(), F_DUPFD_CLOEXEC, 0);  // the port closes its own
    if (fd < 0) status = Status::fail(StatusCode::PortFailed, "fd");
  }
  if (fd < 0) {
    throw_error(env, state, status_code(status.code),
                detail.empty() ? status_text(status.code) : detail, kNoOp, status.field);
    return {};
  }
  Napi::Object out = Napi::Object::New(env);
  out.Set("fd", fd);
  out.Set("mtu", port->mtu());
  return out;
}

}  // namespace vrouter
