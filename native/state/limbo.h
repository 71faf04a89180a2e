// Limbo: slots that have been emptied while other workers may still be reading them, and slots that
// are being filled. Neither may be taken for a new entry. A slot leaves limbo when every worker has
// been outside a burst since it was emptied (state/quiescence.h).
//
// Invariant: a slot is in the list at most once, so a list as long as the table never overflows.
// Emptied slots wait in two batches: one that has been asked about, and those emptied since.
// Written by whoever changes the table, one at a time.
#pragma once
#include <cstdint>

#include "base/mapped_memory.h"
#include "state/quiescence.h"

namespace vrouter {

class Limbo {
 public:
  // False: no memory. Without readers to wait for there is no limbo.
  bool open(uint32_t slots, const Quiescence* readers) {
    if (!list_memory_.map(size_t{slots} * sizeof(uint32_t)) || !bit_memory_.map(slots / 8)) {
      return false;
    }
    list_ = static_cast<uint32_t*>(list_memory_.data());
    bits_ = static_cast<uint32_t*>(bit_memory_.data());
    mask_ = slots - 1;
    readers_ = readers;
    return true;
  }
  bool on() const { return readers_ != nullptr; }

  // Bit i: slot base + i is in limbo. base: a multiple of 32.
  uint32_t at(uint32_t base) const { return bits_[base / 32]; }

  void fill(uint32_t slot) { bits_[slot / 32] |= 1u << slot % 32; }
  void filled(uint32_t slot) { bits_[slot / 32] &= ~(1u << slot % 32); }

  void emptied(uint32_t slot) {
    fill(slot);
    list_[tail_++ & mask_] = slot;
  }
  // Lets out what nobody can be reading any more.
  void release() {
    for (int i = 0; i < 2 && head_ != tail_; ++i) {
      if (head_ == asked_) {
        asked_ = tail_;
        ticket_ = readers_->ticket();
      }
      if (!readers_->passed(ticket_)) return;
      for (; head_ != asked_; ++head_) filled(list_[head_ & mask_]);
    }
  }

 private:
  const Quiescence* readers_ = nullptr;
  MappedMemory list_memory_;
  MappedMemory bit_memory_;
  uint32_t* list_ = nullptr;  // a ring: head_ … asked_ … tail_
  uint32_t* bits_ = nullptr;
  uint32_t mask_ = 0;
  uint32_t head_ = 0;
  uint32_t asked_ = 0;
  uint32_t tail_ = 0;
  Quiescence::Ticket ticket_;
};

}  // namespace vrouter
