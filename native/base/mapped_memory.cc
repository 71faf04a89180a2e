#include "base/mapped_memory.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <utility>

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

void MappedMemory::swap(MappedMemory& other) {
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  std::swap(file_, other.file_);
}

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

bool MappedMemory::map_file(const std::string& path, size_t bytes, bool* kept, std::string* why) {
  unmap();
  const size_t rounded = round_up(bytes);
  const auto failed = [&](const char* what, int error) {
    *why = path + ": " + what + ": " + std::strerror(error);
    if (file_ >= 0) close(file_);
    file_ = -1;
    return false;
  };
  if (rounded == 0 || rounded < bytes) return failed("size", EINVAL);
  file_ = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
  if (file_ < 0) return failed("open", errno);
  struct stat found {};
  if (fstat(file_, &found) != 0) return failed("stat", errno);
  if (!S_ISREG(found.st_mode)) return failed("not a regular file", EINVAL);
  if (flock(file_, LOCK_EX | LOCK_NB) != 0) return failed("another process has it", errno);
  *kept = static_cast<size_t>(found.st_size) == rounded;
  if (!*kept && ftruncate(file_, 0) != 0) return failed("truncate", errno);
  // Returns its error instead of setting errno. A sparse file would be a SIGBUS in waiting.
  if (const int error = posix_fallocate(file_, 0, static_cast<off_t>(rounded)); error != 0) {
    if (!*kept) [[maybe_unused]]
      const int emptied = ftruncate(file_, 0);
    return failed("reserving its blocks", error);
  }
  void* const data =
      mmap(nullptr, rounded, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, file_, 0);
  if (data == MAP_FAILED) return failed("map", errno);
  data_ = data;
  bytes_ = rounded;
  return true;
}

bool MappedMemory::empty_file() {
  if (file_ < 0) return false;
  std::memset(data_, 0, bytes_);
  return true;
}

void MappedMemory::unmap() {
  if (data_ != nullptr) munmap(data_, bytes_);
  if (file_ >= 0) close(file_);
  file_ = -1;
  data_ = nullptr;
  bytes_ = 0;
}

}  // namespace vrouter
