#include "table/mapped_memory.h"

#include <sys/mman.h>

#include <cstdint>

namespace vrouter {
namespace {

constexpr size_t kPage = 4096;
constexpr size_t kHugePage = size_t{2} << 20;

size_t round_up(size_t bytes) { return (bytes + kPage - 1) & ~(kPage - 1); }

// Huge pages need addresses aligned to their size, which mmap does not promise: map more, give the
// ends back.
void* map_aligned(size_t bytes) {
  const size_t slack = bytes >= kHugePage ? kHugePage : 0;
  void* whole = mmap(nullptr, bytes + slack, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (whole == MAP_FAILED) return nullptr;
  if (slack == 0) return whole;
  uint8_t* start = static_cast<uint8_t*>(whole);
  const size_t head = (kHugePage - reinterpret_cast<uintptr_t>(start) % kHugePage) % kHugePage;
  const size_t tail = slack - head;
  if (head != 0) munmap(start, head);
  if (tail != 0) munmap(start + head + bytes, tail);
  madvise(start + head, bytes, MADV_HUGEPAGE);  // a wish: without huge pages all still works
  return start + head;
}

}  // namespace

MappedMemory::~MappedMemory() { unmap(); }

bool MappedMemory::map(size_t bytes) {
  unmap();
  const size_t rounded = round_up(bytes);
  if (rounded == 0 || rounded < bytes) return false;
  data_ = map_aligned(rounded);
  if (data_ == nullptr) return false;
  bytes_ = rounded;
  return true;
}

bool MappedMemory::grow(size_t bytes) {
  if (data_ == nullptr) return map(bytes);
  const size_t rounded = round_up(bytes);
  if (rounded < bytes) return false;
  void* target = map_aligned(rounded);
  if (target == nullptr) return false;
  if (mremap(data_, bytes_, bytes_, MREMAP_MAYMOVE | MREMAP_FIXED, target) == MAP_FAILED) {
    munmap(target, rounded);
    return false;
  }
  data_ = target;
  bytes_ = rounded;
  return true;
}

void MappedMemory::unmap() {
  if (data_ != nullptr) munmap(data_, bytes_);
  data_ = nullptr;
  bytes_ = 0;
}

}  // namespace vrouter
