// CaptureRing: records of any length between one writer (the worker) and one reader (control), in a
// fixed number of bytes. What does not fit is not written; the caller counts it.
//
// Invariants
//  * A record lies in one piece: where the end of the memory is too near, the rest of it is
//    skipped.
//  * head_ and tail_ only grow; bytes from tail_ to head_ are the reader's, the others the
//    writer's.
#pragma once
#include <atomic>
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>
#include <vector>

namespace vrouter {

class CaptureRing {
 public:
  // Precondition: a power of two, 64 at least. Zeroed, so that it is here, and not for the writer
  // to fault in, page by page.
  explicit CaptureRing(uint32_t bytes)
      : memory_(new (std::nothrow) uint8_t[bytes]()), size_(bytes), mask_(bytes - 1) {}
  bool ok() const { return memory_ != nullptr; }

  // --- the writer ---
  // Room for a record of n bytes, or nullptr. It is not there for the reader before publish().
  uint8_t* reserve(uint32_t n) {
    const uint64_t need = align(uint64_t{n} + kPrefix);
    uint64_t head = head_.load(std::memory_order_relaxed);
    const uint64_t room = size_ - (head - tail_.load(std::memory_order_acquire));
    const uint64_t to_end = size_ - (head & mask_);
    const bool skip = need > to_end;
    if (need + (skip ? to_end : 0) > room) return nullptr;
    if (skip) {
      store(head, static_cast<uint32_t>(to_end), kSkipped);
      head += to_end;
    }
    store(head, static_cast<uint32_t>(need), n);
    next_ = head + need;
    return memory_.get() + (head & mask_) + kPrefix;
  }
  void publish() { head_.store(next_, std::memory_order_release); }

  // --- the reader ---
  // Takes whole records, one after the other, while they fit max_bytes; the first one always does.
  // Returns how many.
  uint32_t read(std::vector<uint8_t>& out, uint64_t max_bytes) {
    const uint64_t head = head_.load(std::memory_order_acquire);
    uint64_t tail = tail_.load(std::memory_order_relaxed);
    uint32_t records = 0;
    while (tail != head) {
      const uint8_t* at = memory_.get() + (tail & mask_);
      uint32_t prefix[2];
      std::memcpy(prefix, at, kPrefix);
      if (prefix[1] != kSkipped) {
        if (records != 0 && out.size() + prefix[1] > max_bytes) break;
        out.insert(out.end(), at + kPrefix, at + kPrefix + prefix[1]);
        ++records;
      }
      tail += prefix[0];
    }
    tail_.store(tail, std::memory_order_release);
    return records;
  }

 private:
  static constexpr uint32_t kPrefix = 8;  // bytes to the next record, bytes of this one
  static constexpr uint32_t kSkipped = ~0u;
  static uint64_t align(uint64_t n) { return (n + 7) & ~uint64_t{7}; }
  void store(uint64_t at, uint32_t whole, uint32_t bytes) {
    const uint32_t prefix[2] = {whole, bytes};
    std::memcpy(memory_.get() + (at & mask_), prefix, kPrefix);
  }

  std::unique_ptr<uint8_t[]> memory_;
  uint64_t size_;
  uint64_t mask_;
  uint64_t next_ = 0;  // the writer's
  alignas(64) std::atomic<uint64_t> head_{0};
  alignas(64) std::atomic<uint64_t> tail_{0};
};

}  // namespace vrouter
