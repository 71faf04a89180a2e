// Wake: where an idle worker sleeps: on its ports' descriptors and on one of its own that any
// thread can fire. The only system-specific part of the worker.
//
// Invariant: a wake() that happens after the worker last looked for work ends its next sleep, or
// keeps it from starting. Both sides write their flag before they read the other's (sequentially
// consistent), so a wake is never lost; it costs a system call only when somebody sleeps.
#pragma once
#include <atomic>
#include <cstdint>
#include <memory>

namespace vrouter {

class Wake {
 public:
  explicit Wake(uint32_t max_descriptors);  // all memory is had here
  ~Wake();
  Wake(const Wake&) = delete;
  Wake& operator=(const Wake&) = delete;
  bool ok() const;

  // --- worker ---
  void clear();        // forgets the descriptors
  void watch(int fd);  // ready to read ends a sleep
  // Sleeps until a wake, a ready descriptor (unless `only_wake`) or the time is up. Returns whether
  // a descriptor ended it.
  bool sleep(uint32_t milliseconds, bool only_wake);

  // --- any thread ---
  void wake();

 private:
  struct Set;
  std::unique_ptr<Set> set_;
  std::atomic<int> pending_{0};
  std::atomic<int> asleep_{0};
};

}  // namespace vrouter
