#include "worker/capture.h"

#include <algorithm>
#include <cstring>

#include "offload/checksum.h"

namespace vrouter {
namespace {

// The copy as a port would have sent it: with its checksum. A super-packet gets the one it would
// have as one packet, which is what its headers say it is.
void finish_copy(const Packet& original, uint8_t* bytes, uint32_t captured) {
  if (!original.offload.checksum || captured < original.length) return;
  if (original.offload.transport < original.offset) return;
  Packet copy{};
  copy.base = bytes;
  copy.capacity = copy.length = captured;
  copy.offload.checksum = true;
  copy.offload.field = original.offload.field;
  copy.offload.transport = original.offload.transport - original.offset;
  complete_checksum(copy);
}

}  // namespace

bool Capture::wants(const Packet& packet, VifId vif, Way way) const {
  if (!(way == Way::In ? spec.in : spec.out)) return false;
  if (spec.vif.valid() && spec.vif != vif) return false;
  if (spec.filter != nullptr && !spec.filter->matches(packet.data(), packet.length)) return false;
  return spec.ends.match(packet.data(), packet.length);
}

bool Capture::may_trace(uint64_t now_ns) {
  constexpr uint64_t kEach = 1'000'000'000 / kTracesPerSecond;
  const uint64_t earned = (now_ns - trace_at_ns) / kEach;
  if (earned != 0) {
    trace_at_ns += earned * kEach;
    trace_tokens = static_cast<uint32_t>(std::min<uint64_t>(kTraceBurst, trace_tokens + earned));
  }
  if (trace_tokens == 0) return false;
  --trace_tokens;
  return true;
}

void Capture::lose() {
  matched.fetch_add(1, std::memory_order_relaxed);
  lost.fetch_add(1, std::memory_order_relaxed);
}

void Capture::put(const Packet& packet, VifId vif, Way way, uint64_t now_ns,
                  std::string_view text) {
  text = text.substr(0, kMaxTraceText);
  CaptureRecord record{};
  record.length = packet.length;
  record.captured = std::min(packet.length, spec.snap);
  record.text = static_cast<uint32_t>(text.size());
  uint8_t* at = ring.reserve(static_cast<uint32_t>(sizeof record) + record.captured + record.text);
  if (at == nullptr) return lose();
  record.number = matched.fetch_add(1, std::memory_order_relaxed) + 1;
  record.time_ns = now_ns;
  record.vif = static_cast<uint16_t>(vif.value);
  record.way = static_cast<uint8_t>(way);
  record.super = packet.offload.segmentation != Segmentation::None ? 1 : 0;
  std::memcpy(at, &record, sizeof record);
  uint8_t* frame = at + sizeof record;
  std::memcpy(frame, packet.data(), record.captured);
  finish_copy(packet, frame, record.captured);
  if (!text.empty()) std::memcpy(frame + record.captured, text.data(), text.size());
  ring.publish();
}

Status Captures::start(std::unique_ptr<Capture>& made, Gone& gone) {
  std::unique_ptr<Capture>* free = nullptr;
  bool taken = false;
  for (auto& slot : all_) {
    if (slot != nullptr && slot->ended.load(std::memory_order_relaxed)) {
      gone.push_back(std::move(slot));
    }
    if (slot != nullptr && slot->id == made->id) taken = true;
    if (slot == nullptr && free == nullptr) free = &slot;
  }
  if (taken) return Status::fail(StatusCode::InUse, "id");
  if (free == nullptr) return Status::fail(StatusCode::TableFull, "captures");
  *free = std::move(made);
  list();
  return Status::done();
}

std::unique_ptr<Capture> Captures::stop(uint32_t id) {
  std::unique_ptr<Capture> stopped;
  for (auto& slot : all_) {
    if (slot != nullptr && slot->id == id) stopped = std::move(slot);
  }
  list();
  return stopped;
}

Capture* Captures::find(uint32_t id) {
  for (auto& slot : all_) {
    if (slot != nullptr && slot->id == id) return slot.get();
  }
  return nullptr;
}

void Captures::see(const Packet& packet, VifId vif, Way way, uint64_t now_ns) {
  for (uint32_t i = 0; i < active_; ++i) {
    Capture& capture = *running_[i];
    if (capture.spec.trace || !capture.wants(packet, vif, way) || !capture.sampled()) continue;
    capture.put(packet, vif, way, now_ns, {});
  }
}

void Captures::end_unread(uint64_t now_ns) {
  bool some = false;
  for (uint32_t i = 0; i < active_; ++i) {
    Capture& capture = *running_[i];
    const uint64_t read_at = capture.read_at_ns.load(std::memory_order_relaxed);
    if (now_ns > read_at && now_ns - read_at > kCaptureSilenceNs) {
      capture.ended.store(true, std::memory_order_relaxed);
      some = true;
    }
  }
  if (some) list();
}

void Captures::list() {
  uint32_t active = 0;
  for (auto& slot : all_) {
    if (slot == nullptr || slot->ended.load(std::memory_order_relaxed)) continue;
    running_[active++] = slot.get();
  }
  active_.store(active, std::memory_order_relaxed);
}

}  // namespace vrouter
