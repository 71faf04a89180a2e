// Wake: where an idle worker sleeps: on its ports' descriptors and on one of its own that any
// thread can fire; and which of many ports have something to read. The only system-specific part of
// the worker. Few descriptors are polled; of many an epoll set is kept, which costs no more with a
// thousand of them, but is told of every frame, by whoever sends it, also while the worker looks for
// itself: a tenth of a small packet's way. poll() is in nobody's way while it is not called.
//
// Invariant: a wake() that happens after the worker last looked for work ends its next sleep, or
// keeps it from starting. Both sides write their flag before they read the other's (sequentially
// consistent), so a wake is never lost; it costs a system call only when somebody sleeps.
#pragma once
#include <atomic>
#include <cstdint>
#include <vector>

namespace vrouter {

class Wake {
 public:
  static constexpr uint32_t kMaxReady = 64;  // ports told of at a time; the others next time
  static constexpr uint32_t kFew =
      16;  // descriptors that are polled; with more, all are in the set

  Wake();
  ~Wake();
  Wake(const Wake&) = delete;
  Wake& operator=(const Wake&) = delete;
  bool ok() const;

  // --- control side, while the worker is held ---
  // From now on `fd` being ready to read ends a sleep and is told by ready(), as `id`.
  void watch(int fd, uint32_t id);
  void forget(int fd);

  // --- worker ---
  // Ids of descriptors that are ready, into out (kMaxReady of them at most). Does not wait.
  uint32_t ready(uint32_t* out);
  // Sleeps until a wake, a ready descriptor (unless `only_wake`) or the time is up. Returns whether
  // a descriptor ended it.
  bool sleep(uint32_t milliseconds, bool only_wake);

  // --- any thread ---
  void wake();

 private:
  struct Watched {
    int fd;
    uint32_t id;
  };
  bool poll_all(int timeout_ms, bool only_wake);
  bool few() const { return watched_.size() <= kFew; }

  int event_ = -1;  // eventfd that wake() fires
  int ports_ = -1;  // epoll over the ports, while they are many
  int all_ = -1;    // epoll over both, for sleeping
  std::vector<Watched> watched_;
  std::atomic<int> pending_{0};
  std::atomic<int> asleep_{0};
};

}  // namespace vrouter
