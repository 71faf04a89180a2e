// Blocks: many small arrays in one stretch of memory, named by the index of their first element;
// for tries whose nodes point at arrays of 1 to 126 neighbours. Invariants: an array of n elements
// lies in the smallest block that holds n, so its size is not stored; a freed block is taken again
// by arrays of like size; indexes stay, addresses do not. Memory that cannot be had ends the
// process, as operator new does without exceptions. Written by the control side; its memory is read
// by workers through data().
#pragma once
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <type_traits>

#include "base/mapped_memory.h"

namespace vrouter {

inline constexpr uint32_t kLongestBlock = 126;  // all prefixes a trie node can hold
inline constexpr uint32_t kBlockSizes[] = {1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128};
inline constexpr uint32_t kBlockClasses = sizeof(kBlockSizes) / sizeof(kBlockSizes[0]);
static_assert(kBlockSizes[kBlockClasses - 1] >= kLongestBlock);

constexpr uint32_t block_class(uint32_t elements) {
  uint32_t c = 0;
  while (kBlockSizes[c] < elements) ++c;
  return c;
}

// Growing moves the stretch: a small one is copied, a large one remapped, so that no update waits
// for megabytes to be copied.
template <class T>
class Blocks {
  static_assert(std::is_trivially_copyable_v<T> && sizeof(T) >= sizeof(uint32_t));

 public:
  static constexpr uint32_t kNone = ~0u;
  static constexpr size_t kMapFrom = size_t{1} << 20;  // bytes

  Blocks() { std::fill(std::begin(free_), std::end(free_), kNone); }
  ~Blocks() {
    if (mapped_.data() == nullptr) std::free(data_);
  }
  Blocks(const Blocks&) = delete;
  Blocks& operator=(const Blocks&) = delete;

  T& operator[](uint32_t index) { return data_[index]; }
  const T* data() const { return data_; }

  uint32_t allocate(uint32_t elements) {
    const uint32_t c = block_class(elements);
    if (free_[c] != kNone) {
      const uint32_t base = free_[c];
      std::memcpy(&free_[c], &data_[base], sizeof free_[c]);
      return base;
    }
    if (capacity_ - used_ < kBlockSizes[c]) grow(used_ + kBlockSizes[c]);
    const uint32_t base = used_;
    used_ += kBlockSizes[c];
    return base;
  }

  void free(uint32_t base, uint32_t elements) {
    if (elements == 0) return;
    const uint32_t c = block_class(elements);
    std::memcpy(&data_[base], &free_[c], sizeof free_[c]);
    free_[c] = base;
  }

  // An array of n elements becomes one of n+1 with `element` at `at`; returns where it is now.
  uint32_t insert(uint32_t base, uint32_t n, uint32_t at, const T& element) {
    const T copy = element;
    uint32_t to = base;
    if (n == 0 || block_class(n) != block_class(n + 1)) {
      to = allocate(n + 1);
      if (n != 0) std::memcpy(&data_[to], &data_[base], at * sizeof(T));
    }
    if (n != 0) std::memmove(&data_[to + at + 1], &data_[base + at], (n - at) * sizeof(T));
    data_[to + at] = copy;
    if (to != base) free(base, n);
    return to;
  }

  uint32_t erase(uint32_t base, uint32_t n, uint32_t at) {
    std::memmove(&data_[base + at], &data_[base + at + 1], (n - at - 1) * sizeof(T));
    if (n == 1) {
      free(base, 1);
      return 0;
    }
    if (block_class(n) == block_class(n - 1)) return base;
    const uint32_t to = allocate(n - 1);
    std::memcpy(&data_[to], &data_[base], (n - 1) * sizeof(T));
    free(base, n);
    return to;
  }

  // All arrays at once; memory goes back but for a little.
  void clear() {
    if (mapped_.data() == nullptr) std::free(data_);
    mapped_.unmap();
    data_ = nullptr;
    used_ = capacity_ = 0;
    std::fill(std::begin(free_), std::end(free_), kNone);
  }

  // Mapped memory counts as far as it has been used: the rest has no pages.
  size_t bytes() const { return sizeof(T) * size_t{mapped_.data() != nullptr ? used_ : capacity_}; }

 private:
  void grow(uint32_t needed) {
    size_t bytes = sizeof(T) * std::max<size_t>(needed, capacity_ + size_t{capacity_} / 2);
    if (bytes < kMapFrom) {
      T* moved = static_cast<T*>(std::realloc(data_, bytes));
      if (moved == nullptr) std::abort();
      data_ = moved;
    } else if (mapped_.data() != nullptr) {
      bytes = std::max(bytes, mapped_.bytes() * 4);
      if (!mapped_.grow(bytes)) std::abort();
      data_ = static_cast<T*>(mapped_.data());
    } else {
      bytes = std::max(bytes, kMapFrom * 16);
      if (!mapped_.map(bytes)) std::abort();
      if (used_ != 0) std::memcpy(mapped_.data(), data_, used_ * sizeof(T));
      std::free(data_);
      data_ = static_cast<T*>(mapped_.data());
    }
    capacity_ = static_cast<uint32_t>(std::min<size_t>(bytes / sizeof(T), kNone - 1));
    if (capacity_ < needed) std::abort();
  }

  T* data_ = nullptr;
  uint32_t used_ = 0;
  uint32_t capacity_ = 0;
  uint32_t free_[kBlockClasses];  // first free block of each size; the next is named in it
  MappedMemory mapped_;
};

}  // namespace vrouter
