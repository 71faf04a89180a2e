// Wake: where an idle worker sleeps: on its ports' descriptors and on one of its own that any
// thread can fire; and which of many ports have something to read. The only system-specific part of
// the worker (epoll, so that neither costs more with a thousand ports).
//
// Invariant: a wake() that happens after the worker last looked for work ends its next sleep, or
// keeps it from starting. Both sides write their flag before they read the other's (sequentially
// consistent), so a wake is never lost; it costs a system call only when somebody sleeps.
#pragma once
#include <atomic>
#include <cstdint>

namespace vrouter {

class Wake {
 public:
  static constexpr uint32_t kMaxReady = 64;  // ports told of at a time; the others next time

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
  int event_ = -1;  // eventfd that wake() fires
  int ports_ = -1;  // epoll over the ports
  int all_ = -1;    // epoll over both, for sleeping
  std::atomic<int> pending_{0};
  std::atomic<int> asleep_{0};
};

}  // namespace vrouter
