#include "port/generator_port.h"

#include <algorithm>

namespace vrouter {

GeneratorPort::GeneratorPort(const std::vector<std::vector<uint8_t>>& frames, uint64_t limit)
    : limited_(limit != 0), left_(limit) {
  for (const std::vector<uint8_t>& frame : frames) {
    if (frame.empty() || frame.size() > 65535) continue;
    const size_t at = lines_.size();
    spans_.push_back({at, static_cast<uint32_t>(frame.size())});
    lines_.resize(at + (frame.size() + sizeof(Line) - 1) / sizeof(Line));
    std::memcpy(&lines_[at], frame.data(), frame.size());
  }
}

// A NIC writes whole lines, and so are short frames copied: memcpy() would be called, and write the
// middle of 74 bytes twice.
inline void GeneratorPort::copy(Packet& packet, const Line* lines, uint32_t length) {
  constexpr uint32_t kFew = 2;
  uint8_t* to = packet.data();
  if (length > kFew * sizeof(Line) || packet.capacity - packet.offset < kFew * sizeof(Line)) {
    std::memcpy(to, lines, length);
  } else {
    std::memcpy(to, lines, sizeof(Line));
    if (length > sizeof(Line)) std::memcpy(to + sizeof(Line), lines + 1, sizeof(Line));
  }
  packet.append(length);
}

uint32_t GeneratorPort::rx_burst(PacketPool& pool, Packet** out, uint32_t max) {
  if (spans_.empty()) return 0;
  if (limited_) max = static_cast<uint32_t>(std::min<uint64_t>(max, left_));
  // Packets for all, and those that no frame went into given back: what is measured is not this
  // port.
  const uint32_t had = pool.allocate(out, max);
  const uint32_t fits = pool.buffer_bytes();
  uint32_t taken = 0;
  for (uint32_t seen = 0; seen < max; ++seen) {
    const Span span = spans_[next_];
    next_ = next_ + 1 == spans_.size() ? 0 : next_ + 1;
    if (span.length > fits || taken == had) {
      ++rx_discards;
      continue;
    }
    Packet& packet = *out[taken++];
    copy(packet, &lines_[span.at], span.length);
  }
  pool.free(out + taken, had - taken);
  if (limited_) left_ -= max;
  sent_ += max;
  return taken;
}

uint32_t GeneratorPort::tx_burst(Packet* const* /*packets*/, uint32_t count) {
  if (count != 0) ++tx_errors;
  return 0;
}

uint32_t SinkPort::tx_burst(Packet* const* packets, uint32_t count) {
  packets_ += count;
  for (uint32_t i = 0; i < count; ++i) {
    const Packet& packet = *packets[i];
    bytes_ += packet.length;
    if (kept_.empty()) continue;
    Kept& kept = kept_[kept_count_++ % kept_.size()];
    kept.length = std::min(packet.length, kKeptBytes);
    std::memcpy(kept.bytes, packet.data(), kept.length);
  }
  return count;
}

void SinkPort::keep(uint32_t frames) {
  kept_.assign(frames, Kept{});
  kept_count_ = 0;
}

std::vector<std::vector<uint8_t>> SinkPort::last() const {
  std::vector<std::vector<uint8_t>> out;
  const uint64_t have = std::min<uint64_t>(kept_count_, kept_.size());
  for (uint64_t i = kept_count_ - have; i < kept_count_; ++i) {
    const Kept& kept = kept_[i % kept_.size()];
    out.emplace_back(kept.bytes, kept.bytes + kept.length);
  }
  return out;
}

}  // namespace vrouter
