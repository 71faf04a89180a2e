#include "port/memory_port.h"

#include <bit>
#include <new>

namespace vrouter {

FrameRing::FrameRing(uint32_t bytes) {
  uint32_t capacity = 4096;
  if (bytes > capacity) capacity = bytes > 1u << 31 ? 1u << 31 : std::bit_ceil(bytes);
  ring_.reset(new (std::nothrow) uint8_t[capacity]);
  if (ring_) capacity_ = capacity;
}

bool FrameRing::push(const uint8_t* frame, uint32_t length) {
  if (length == 0 || capacity_ == 0 || length > max_frame()) return false;
  const uint32_t need = kHeader + ((length + 7) & ~7u);
  const uint64_t tail = tail_.load(std::memory_order_relaxed);
  const uint32_t at = static_cast<uint32_t>(tail & (capacity_ - 1));
  const uint32_t to_end = capacity_ - at;  // a multiple of 8, never 0: room for a header
  const uint32_t skip = to_end < need ? to_end : 0;
  const uint64_t free = capacity_ - (tail - head_.load(std::memory_order_acquire));
  if (free < uint64_t{skip} + need) return false;
  uint8_t* record = ring_.get() + at;
  if (skip != 0) {
    std::memcpy(record, &kWrap, sizeof kWrap);
    record = ring_.get();
  }
  std::memcpy(record, &length, sizeof length);
  std::memcpy(record + kHeader, frame, length);
  tail_.store(tail + skip + need, std::memory_order_release);
  return true;
}

const uint8_t* FrameRing::front(uint32_t* length) {
  uint64_t head = head_.load(std::memory_order_relaxed);
  const uint64_t tail = tail_.load(std::memory_order_acquire);
  if (head == tail) return nullptr;
  const uint8_t* record = ring_.get() + (head & (capacity_ - 1));
  std::memcpy(length, record, sizeof *length);
  if (*length == kWrap) {
    head += capacity_ - (head & (capacity_ - 1));
    head_.store(head, std::memory_order_release);
    record = ring_.get();
    std::memcpy(length, record, sizeof *length);
  }
  return record + kHeader;
}

void FrameRing::pop() {
  uint32_t length;
  if (front(&length) == nullptr) return;
  const uint64_t head = head_.load(std::memory_order_relaxed);
  head_.store(head + kHeader + ((length + 7) & ~7u), std::memory_order_release);
}

MemoryPort::MemoryPort(uint32_t mtu, uint32_t ring_bytes)
    : mtu_(mtu), rx_(ring_bytes), tx_(ring_bytes) {}

bool MemoryPort::inject(const uint8_t* frame, uint32_t length) { return rx_.push(frame, length); }

bool MemoryPort::collect(std::vector<uint8_t>& out) {
  uint32_t length;
  const uint8_t* frame = tx_.front(&length);
  if (frame == nullptr) return false;
  out.assign(frame, frame + length);
  tx_.pop();
  return true;
}

uint32_t MemoryPort::rx_burst(PacketPool& pool, Packet** out, uint32_t max) {
  uint32_t taken = 0;
  // Discards count against `max` too: a breath stays bounded whatever is injected.
  for (uint32_t seen = 0; seen < max; ++seen) {
    uint32_t length;
    const uint8_t* frame = rx_.front(&length);
    if (frame == nullptr) break;
    Packet* packet = length <= pool.buffer_bytes() ? pool.allocate() : nullptr;
    if (packet != nullptr) {
      std::memcpy(packet->data(), frame, length);
      packet->append(length);
      out[taken++] = packet;
    } else {
      ++rx_discards;
    }
    rx_.pop();
  }
  return taken;
}

uint32_t MemoryPort::tx_burst(Packet* const* packets, uint32_t count) {
  for (uint32_t i = 0; i < count; ++i) {
    const Packet& packet = *packets[i];
    if (!fits(packet) || packet.length > tx_.max_frame()) {
      ++tx_errors;
      return i;
    }
    if (!tx_.push(packet.data(), packet.length)) return i;
  }
  return count;
}

}  // namespace vrouter
