// Shared<T>: a word that workers write while others read it. On the processors we build for an
// aligned word is loaded and stored whole, so it is a plain T; where the order of two such accesses
// matters, it is asked for by the functions here. Under the thread sanitizer each access is an
// atomic one, so that the sanitizer reports every word that is shared without being declared to be.
#pragma once
#include <atomic>
#include <cstdint>
#include <cstring>
#include <type_traits>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace vrouter {

#if defined(__SANITIZE_THREAD__)
template <class T>
struct SharedWord {
  T word;
  operator T() const { return __atomic_load_n(&word, __ATOMIC_RELAXED); }
  template <class U>
  requires(std::is_enum_v<T>&& std::is_integral_v<U>) explicit operator U() const {
    return static_cast<U>(T(*this));
  }
  T operator=(T value) {
    __atomic_store_n(&word, value, __ATOMIC_RELAXED);
    return value;
  }
  // Read and written, not in one: of two workers at once one may be lost.
  T operator+=(T value) { return *this = static_cast<T>(T(*this) + value); }
  T operator|=(T value) { return *this = static_cast<T>(T(*this) | value); }
  T operator&=(T value) { return *this = static_cast<T>(T(*this) & value); }
};
template <class T>
using Shared = SharedWord<T>;

template <class T>
T load_acquire(const SharedWord<T>& from) {
  return __atomic_load_n(&from.word, __ATOMIC_ACQUIRE);
}
template <class T>
void store_release(SharedWord<T>& to, std::type_identity_t<T> value) {
  __atomic_store_n(&to.word, value, __ATOMIC_RELEASE);
}
#else
template <class T>
using Shared = T;

template <class T>
T load_acquire(const T& from) {
  return __atomic_load_n(&from, __ATOMIC_ACQUIRE);
}
template <class T>
void store_release(T& to, std::type_identity_t<T> value) {
  __atomic_store_n(&to, value, __ATOMIC_RELEASE);
}
#endif

// What is stored after it is seen by nobody who has not seen this too.
template <class T, class U>
void store_first(T& to, U value) {
#if defined(__SANITIZE_THREAD__)
  __atomic_store_n(&to.word, value, __ATOMIC_SEQ_CST);
#else
  __atomic_store_n(&to, value, __ATOMIC_RELAXED);
  __atomic_thread_fence(__ATOMIC_RELEASE);
#endif
}

// Four bytes as one word; `to` is aligned.
inline void store_shared4(uint8_t* to, const uint8_t* from) {
  uint32_t word;
  std::memcpy(&word, from, 4);
#if defined(__SANITIZE_THREAD__)
  __atomic_store_n(reinterpret_cast<uint32_t*>(to), word, __ATOMIC_RELAXED);
#else
  std::memcpy(to, &word, 4);
#endif
}

// A line of a table while others write it: every word whole, and none of them read after what the
// caller reads next. An SSE load of 16 bytes takes both of its words whole, in the order of the
// program, as x86 has all loads; half as many of them are felt (workers_bench).
inline void load_line(void* to, const void* from) {
#if defined(__SSE2__) && !defined(__SANITIZE_THREAD__)
  const __m128i* halves = static_cast<const __m128i*>(from);
  __m128i line[4];
  for (int i = 0; i < 4; ++i) line[i] = _mm_load_si128(halves + i);
  std::atomic_signal_fence(std::memory_order_acquire);
#else
  using Word = uint64_t __attribute__((may_alias));
  const Word* words = static_cast<const Word*>(from);
  uint64_t line[8];
  for (int i = 0; i < 8; ++i) line[i] = __atomic_load_n(words + i, __ATOMIC_ACQUIRE);
#endif
  std::memcpy(to, line, sizeof line);
}

}  // namespace vrouter
