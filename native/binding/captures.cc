// The Dataplane's methods about captures (worker/capture.h), and compileFilter(): what is asked is
// checked here, what was caught is handed over as bytes of captureRecord (binding/records.h).
#include "binding/captures.h"

#include <chrono>
#include <utility>

#include "binding/dataplane.h"

namespace vrouter {
namespace {

constexpr uint32_t kMinCaptureBytes = 1u << 16;
constexpr uint32_t kMaxCaptureRead = 16u << 20;  // well within one message of the forwarder's

// { address?: 4 or 16 bytes, port? }
bool read_end(Napi::Env env, AddonState& state, Napi::Value value, FlowEnd& out) {
  Napi::Object end;
  Napi::Value address;
  if (!read_object(env, state, value, "ends", end) ||
      !read_property(env, end, "address", address) ||
      !read_option(env, state, end, "port", 0, 65535, out.port)) {
    return false;
  }
  if (address.IsUndefined()) return true;
  std::span<uint8_t> bytes;
  if (!read_bytes(env, state, address, "address", bytes)) return false;
  if (bytes.size() != 4 && bytes.size() != 16) {
    return refuse(env, state, "address", "4 or 16 bytes");
  }
  out.address = Address::from_bytes(bytes.size() == 4 ? Family::V4 : Family::V6, bytes.data());
  return true;
}

bool read_ends(Napi::Env env, AddonState& state, Napi::Object spec, FlowEnds& out) {
  Napi::Value ends;
  if (!read_property(env, spec, "ends", ends) ||
      !read_option(env, state, spec, "protocol", 0, 255, out.protocol)) {
    return false;
  }
  if (ends.IsUndefined()) return true;
  if (!ends.IsArray() || ends.As<Napi::Array>().Length() > std::size(out.ends)) {
    return refuse(env, state, "ends", "a list of at most 2");
  }
  const Napi::Array list = ends.As<Napi::Array>();
  for (uint32_t i = 0; i < list.Length(); ++i) {
    if (!read_end(env, state, list.Get(i), out.ends[out.count++])) return false;
  }
  return true;
}

bool throw_filter(Napi::Env env, AddonState& state, FilterFault fault, const std::string& why) {
  throw_error(env, state, fault == FilterFault::NoLibrary ? "NO_PACKAGE" : "BAD_VALUE", why, kNoOp,
              "filter");
  return false;
}

bool read_filter(Napi::Env env, AddonState& state, Napi::Object spec,
                 std::unique_ptr<PacketFilter>& out) {
  Napi::Value value;
  if (!read_property(env, spec, "filter", value)) return false;
  if (value.IsUndefined()) return true;
  std::span<uint8_t> program;
  if (!read_bytes(env, state, value, "filter", program)) return false;
  FilterFault fault = FilterFault::None;
  std::string why;
  out = PacketFilter::load(program, fault, why);
  return out != nullptr || throw_filter(env, state, fault, why);
}

bool read_request(Napi::Env env, AddonState& state, Napi::Value value, CaptureSpec& out) {
  Napi::Object spec;
  uint32_t vif = ~0u;
  if (!read_object(env, state, value, "capture", spec) ||
      !read_option(env, state, spec, "vif", 0, kMaxVifs - 1, vif) ||
      !read_flag(env, state, spec, "in", out.in) || !read_flag(env, state, spec, "out", out.out) ||
      !read_flag(env, state, spec, "trace", out.trace) ||
      !read_option(env, state, spec, "snap", 1, kMaxCaptureSnap, out.snap) ||
      !read_option(env, state, spec, "sample", 1, ~0u, out.sample) ||
      !read_option(env, state, spec, "bytes", kMinCaptureBytes, kCaptureBytes, out.bytes) ||
      !read_ends(env, state, spec, out.ends) || !read_filter(env, state, spec, out.filter)) {
    return false;
  }
  if ((out.bytes & (out.bytes - 1)) != 0) return refuse(env, state, "bytes", "a power of two");
  out.vif = VifId{vif};
  return true;
}

uint64_t since_1970() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(now).count());
}

}  // namespace

// (id, spec) -> { epochNs }: when the router's time began, by the wall clock as it is now.
Napi::Value Dataplane::start_capture(Info info) {
  Napi::Env env = info.Env();
  uint32_t id = 0;
  CaptureSpec spec;
  if (!read_u32(env, *state_, info[0], "id", 0, ~0u, id) ||
      !read_request(env, *state_, info[1], spec) || !ready(env)) {
    return {};
  }
  if (spec.vif.valid() && engine_->router().vif(spec.vif) == nullptr) {
    return outcome(env, Status::fail(StatusCode::DanglingVif, "vif"));
  }
  const Status status = engine_->start_capture(id, std::move(spec));
  if (!status.ok()) return outcome(env, status);
  Napi::Object out = Napi::Object::New(env);
  out.Set("epochNs", Napi::BigInt::New(env, since_1970() - engine_->now_ns()));
  return out;
}

// (id, bytes) -> { records, matched, lost, ended }: what has been caught since last time, about so
// much of it at a time.
Napi::Value Dataplane::read_capture(Info info) {
  Napi::Env env = info.Env();
  uint32_t id = 0;
  uint32_t room = 0;
  if (!read_u32(env, *state_, info[0], "id", 0, ~0u, id) ||
      !read_u32(env, *state_, info[1], "bytes", 1, kMaxCaptureRead, room) || !ready(env)) {
    return {};
  }
  Capture* capture = engine_->capture(id);
  if (capture == nullptr) return outcome(env, Status::fail(StatusCode::NotFound, "capture"));
  capture->read_at_ns.store(engine_->now_ns());
  // Before the records: none that was caught before the end is left behind.
  const bool ended = capture->ended.load();
  std::vector<uint8_t> records;
  const uint32_t count = capture->ring.read(records, room);
  Napi::Object out = Napi::Object::New(env);
  out.Set("records", new_bytes(env, records.data(), records.size()));
  out.Set("matched", Napi::BigInt::New(env, capture->matched.load()));
  out.Set("lost", Napi::BigInt::New(env, capture->lost.load()));
  out.Set("ended", ended && count == 0);
  return out;
}

// (id) -> whether there was one.
Napi::Value Dataplane::stop_capture(Info info) {
  Napi::Env env = info.Env();
  uint32_t id = 0;
  if (!read_u32(env, *state_, info[0], "id", 0, ~0u, id) || !ready(env)) return {};
  return Napi::Boolean::New(env, engine_->stop_capture(id));
}

Napi::Value compile_filter(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  auto state = *env.GetInstanceData<std::shared_ptr<AddonState>>();
  std::string text;
  if (!read_text(env, *state, info[0], "filter", kMaxFilterText, text)) return {};
  std::vector<uint8_t> program;
  std::string why;
  const FilterFault fault = PacketFilter::compile(text, program, why);
  if (fault != FilterFault::None) {
    throw_filter(env, *state, fault, why);
    return {};
  }
  return new_bytes(env, program.data(), program.size());
}

}  // namespace vrouter
