// MappedMemory: zero-filled memory straight from the kernel, for tables that are large, sparse and
// live long. Pages cost nothing until they are touched; huge pages are asked for.
// Written and read by whatever table owns it. Invariant: data() is null exactly if bytes() is 0.
#pragma once
#include <cstddef>

namespace vrouter {

class MappedMemory {
 public:
  MappedMemory() = default;
  ~MappedMemory();
  MappedMemory(const MappedMemory&) = delete;
  MappedMemory& operator=(const MappedMemory&) = delete;

  // Replaces what was held by `bytes` of zeros. False: the kernel refused, and nothing is held.
  bool map(size_t bytes);
  // Makes room for `bytes`, keeping the content: pages are moved, not copied. The address changes.
  // False: the kernel refused, and all is as it was. Precondition: bytes >= bytes().
  bool grow(size_t bytes);
  void unmap();

  void* data() const { return data_; }
  size_t bytes() const { return bytes_; }

 private:
  void* data_ = nullptr;
  size_t bytes_ = 0;
};

}  // namespace vrouter
