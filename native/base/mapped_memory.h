// MappedMemory: zero-filled memory straight from the kernel, for tables that are large, sparse and
// live long. Pages cost nothing until they are touched; huge pages are asked for.
// Written and read by whatever table owns it. Invariant: data() is null exactly if bytes() is 0.
#pragma once
#include <cstddef>
#include <string>

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
  // The same, backed by a file that outlives us: `bytes` of `path`, made and emptied where it was
  // not that long. Its blocks are reserved, so that no later touch can fail, and it is locked for as
  // long as it is mapped: two owners would ruin it. `kept`: it had this length, its content is as it
  // was left. False: not possible, `why` says so, and nothing is held.
  bool map_file(const std::string& path, size_t bytes, bool* kept, std::string* why);
  // A mapped file becomes zeros again, in place.
  bool empty_file();
  void unmap();
  void swap(MappedMemory& other);

  void* data() const { return data_; }
  size_t bytes() const { return bytes_; }

 private:
  void* data_ = nullptr;
  size_t bytes_ = 0;
  int file_ = -1;  // the file behind it; open for its lock
};

}  // namespace vrouter
