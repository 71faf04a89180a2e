// The Dataplane's explain(frame, vif, before) -> { notes, ends }: what would happen to a frame,
// after others that are taken as having come first (path/explain.h).
#include <span>
#include <string>
#include <vector>

#include "binding/dataplane.h"
#include "path/explain.h"
#include "path/pipeline.h"

namespace vrouter {
namespace {

// As packet.h lists them.
constexpr const char* kVerdictNames[] = {"continue", "transmit", "reply", "punt", "hold", "drop"};
constexpr uint32_t kMaxBefore = 16;  // frames that explain() takes as having come before

}  // namespace

Napi::Value Dataplane::explain_frame(Info info) {
  Napi::Env env = info.Env();
  struct Given {
    std::vector<uint8_t> frame;
    uint32_t vif = 0;
  };
  std::vector<Given> frames;
  const auto read = [&](Napi::Value frame, Napi::Value vif) {
    Given& given = frames.emplace_back();
    std::span<uint8_t> bytes;
    if (!read_bytes(env, *state_, frame, "frame", bytes)) return false;
    // A copy: reading the next one may run a getter, and that may take the memory away.
    given.frame.assign(bytes.begin(), bytes.end());
    return read_u32(env, *state_, vif, "vif", 0, kMaxVifs - 1, given.vif);
  };
  if (!info[2].IsUndefined()) {
    if (!info[2].IsArray() || info[2].As<Napi::Array>().Length() > kMaxBefore) {
      refuse(env, *state_, "before", "a list of at most " + std::to_string(kMaxBefore));
      return {};
    }
    const Napi::Array before = info[2].As<Napi::Array>();
    for (uint32_t i = 0; i < before.Length(); ++i) {
      Napi::Object one;
      Napi::Value frame;
      Napi::Value vif;
      if (!read_object(env, *state_, before.Get(i), "before", one) ||
          !read_property(env, one, "frame", frame) || !read_property(env, one, "vif", vif) ||
          !read(frame, vif)) {
        return {};
      }
    }
  }
  if (!read(info[0], info[1]) || !ready(env)) return {};
  for (const Given& given : frames) {
    if (engine_->router().vif(VifId{given.vif}) == nullptr) {
      return outcome(env, Status::fail(StatusCode::DanglingVif, "vif"));
    }
  }
  Trace trace;
  engine_->hold([&] {
    for (const Given& given : frames) {
      trace.text.clear();
      trace.ends.clear();
      explain(engine_->context(), VifId{given.vif}, given.frame.data(),
              static_cast<uint32_t>(given.frame.size()), trace);
    }
  });
  Napi::Array ends = Napi::Array::New(env, trace.ends.size());
  for (uint32_t i = 0; i < trace.ends.size(); ++i) {
    const TraceEnd& end = trace.ends[i];
    const bool dropped = end.verdict == Verdict::Drop;
    Napi::Object one = Napi::Object::New(env);
    one.Set("verdict", kVerdictNames[static_cast<uint32_t>(end.verdict)]);
    one.Set("drop", dropped ? drop_name(end.drop) : "");
    one.Set("flowDrop",
            dropped && end.drop == DropReason::FlowActionDrop ? flow_drop_name(end.flow_drop) : "");
    one.Set("room", dropped ? room_name(end.room) : "");
    one.Set("vif", end.out_vif.valid() ? static_cast<double>(end.out_vif.value) : -1);
    one.Set("vrf", end.vrf.valid() ? static_cast<double>(end.vrf.value) : -1);
    one.Set("generated", end.generated);
    one.Set("copy", end.copy);
    one.Set("frame", new_bytes(env, end.frame.data(), end.frame.size()));
    ends.Set(i, one);
  }
  Napi::Object out = Napi::Object::New(env);
  out.Set("notes", trace.text);
  out.Set("ends", ends);
  return out;
}

}  // namespace vrouter
