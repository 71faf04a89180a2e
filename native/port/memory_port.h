// MemoryPort: a port whose wire is two bounded queues in memory; simulator, tests and `inject`.
//
// Threads: each queue has one producer and one consumer and no lock. inject() and collect() belong
// to one control thread, rx_burst() and tx_burst() to the worker; they may run at the same time, so
// binding/ need not hold the worker for them (an idle worker sees the frames at its next breath;
// Engine::wake() makes that now).
// Invariant: a queue is bounded in bytes; what does not fit is refused to its producer, never
// overwritten.
#pragma once
#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "port/port.h"

namespace vrouter {

// Frames one after another in a ring of bytes: 8 bytes of header, the frame, padding to 8. A record
// never wraps; a header with length kWrap sends the reader back to the start.
// head_ and tail_ only grow; tail_ - head_ is what is in use.
class FrameRing {
 public:
  explicit FrameRing(uint32_t bytes);  // rounded up to a power of two, at least 4096
  bool ok() const { return ring_ != nullptr; }
  uint32_t max_frame() const { return capacity_ / 2 - kHeader; }

  // producer
  bool push(const uint8_t* frame, uint32_t length);  // false: full, or no frame of this length fits
  // consumer: the bytes stay valid until pop()
  const uint8_t* front(uint32_t* length);  // nullptr: empty
  void pop();

 private:
  static constexpr uint32_t kHeader = 8;
  static constexpr uint32_t kWrap = ~0u;

  std::unique_ptr<uint8_t[]> ring_;
  uint32_t capacity_ = 0;
  alignas(64) std::atomic<uint64_t> head_{0};
  alignas(64) std::atomic<uint64_t> tail_{0};
};

class MemoryPort : public Port {
 public:
  static constexpr uint32_t kDefaultMtu = 1500;
  static constexpr uint32_t kRingBytes = 1u << 20;  // a direction; pages are touched as they fill

  explicit MemoryPort(uint32_t mtu = kDefaultMtu, uint32_t ring_bytes = kRingBytes);
  bool ok() const { return rx_.ok() && tx_.ok(); }

  // As if the frame had come from the wire. false: the queue is full, or the frame is empty or
  // larger than the queue can ever take. Not limited by the MTU: a wire is not either.
  bool inject(const uint8_t* frame, uint32_t length);
  // The oldest frame sent and not collected yet. false: none.
  bool collect(std::vector<uint8_t>& out);

  uint32_t rx_burst(PacketPool& pool, Packet** out, uint32_t max) override;
  uint32_t tx_burst(Packet* const* packets, uint32_t count) override;
  const char* kind() const override { return "memory"; }
  bool apart() const override { return true; }
  uint32_t mtu() const override { return mtu_; }

 private:
  uint32_t mtu_;
  FrameRing rx_;
  FrameRing tx_;
};

}  // namespace vrouter
