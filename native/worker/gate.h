// Gate: lets the control side into the tables between two bursts of the worker.
//
// Invariants
//  * inside_ is true from enter() to leave(), which the worker calls around each breath. The
//    control side runs its function only after it has set requested_ and then seen inside_ false;
//    the worker goes in only after it has set inside_ and then seen requested_ false. All four are
//    sequentially consistent, so at least one of the two sees the other (Dekker).
//  * A worker that sleeps is outside, so hold never waits for a sleep, only for a breath under way.
//  * Neither side starves: a worker that found the gate closed gets one breath before the next
//    hold.
//  * Nesting: hold() inside hold() on the same thread only counts. The worker must not call it.
//
// Memory order: all that the worker wrote before leave() is visible inside hold(), and all that was
// written inside hold() is visible after the next enter().
#pragma once
#include <atomic>
#include <cstdint>
#include <mutex>

namespace vrouter {

class Gate {
 public:
  // --- worker ---
  void enter() {
    for (;;) {
      inside_.store(1);
      if (!requested_.load()) break;
      waiting_.store(1);
      inside_.store(0);
      inside_.notify_one();
      wait_open();
    }
    if (waiting_.load(std::memory_order_relaxed)) {
      waiting_.store(0);
      waiting_.notify_one();
    }
  }
  void leave() {
    inside_.store(0);
    if (requested_.load()) inside_.notify_one();
  }

  // --- control ---
  template <class F>
  void hold(F&& f) {
    lock();
    f();
    unlock();
  }
  void lock() {
    ask();
    await();
  }
  // The two halves of lock(): of several gates, all are asked before one is waited for.
  void ask() {
    mutex_.lock();
    if (depth_++ != 0) return;
    waiting_.wait(1);
    requested_.store(1);
  }
  void await() {
    if (depth_ == 1) inside_.wait(1);
  }
  void unlock() {
    if (--depth_ == 0) {
      requested_.store(0);
      requested_.notify_one();
    }
    mutex_.unlock();
  }
  bool outermost() const { return depth_ == 1; }  // only between lock() and unlock()

 private:
  // Commits are short: looks for a while before it sleeps.
  void wait_open() {
    for (int i = 0; i < kSpins; ++i) {
      if (!requested_.load(std::memory_order_acquire)) return;
      pause();
    }
    requested_.wait(1);
  }
  static void pause() {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
  }
  static constexpr int kSpins = 500;  // some 20 us

  std::recursive_mutex mutex_;
  uint32_t depth_ = 0;  // under mutex_
  // int, not bool: waiting on an int is a futex on the object itself.
  alignas(64) std::atomic<int> inside_{0};     // written by the worker
  std::atomic<int> waiting_{0};                // written by the worker: it wants in
  alignas(64) std::atomic<int> requested_{0};  // written by the holder
};

}  // namespace vrouter
