// BatchIo: many reads and writes of descriptors in one system call (io_uring). Nothing stays under way: each op
// has been done, or has failed, when run() returns; so it is preadv() over several frames, not an event loop.
// A system call costs up to 1.3 us (measured), which for small frames is more than what is done in it.
//
// One a thread, made at its first use. Where the kernel has no io_uring, or forbids it, ok() is false and
// ports read and write frame by frame.
#pragma once
#include <cstddef>
#include <cstdint>

struct io_uring_sqe;
struct io_uring_cqe;

namespace vrouter {

class BatchIo {
 public:
  static constexpr uint32_t kMost = 64;  // ops of one run

  static BatchIo& of_this_thread();
  ~BatchIo();
  BatchIo(const BatchIo&) = delete;
  BatchIo& operator=(const BatchIo&) = delete;

  bool ok() const { return ring_ >= 0; }

  // Adds an op; at most kMost a run, and none without ok(). Neither waits for a descriptor. Writes go one after
  // the other, and the first that fails ends them: those behind it come back as -ECANCELED. Reads are
  // tried each for itself.
  void read(int fd, void* to, uint32_t size);
  void write(int fd, const void* from, uint32_t size);

  // Does them. results: of each op, in order: bytes, or -errno. A run is of reads or of writes.
  void run(int32_t* results);

 private:
  BatchIo();
  io_uring_sqe& next(uint8_t op, int fd, const void* at, uint32_t size);
  bool map();
  void close();

  int ring_ = -1;
  uint32_t count_ = 0;  // ops added
  uint8_t* rings_ = nullptr;
  size_t rings_bytes_ = 0;
  io_uring_sqe* ops_ = nullptr;
  size_t ops_bytes_ = 0;
  uint32_t* op_tail_ = nullptr;
  uint32_t op_mask_ = 0;
  uint32_t* done_head_ = nullptr;
  uint32_t* done_tail_ = nullptr;
  uint32_t done_mask_ = 0;
  const io_uring_cqe* done_ = nullptr;
};

}  // namespace vrouter
