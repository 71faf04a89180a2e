// A group of 16 one-byte tags compared at once: which of a bucket's slots may hold a key.
// Bit i of a result stands for slot i. The scalar form is the definition; tests compare the two.
#pragma once
#include <cstdint>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace vrouter {

inline constexpr uint32_t kGroupSlots = 16;

inline uint32_t match_tags_scalar(const uint8_t* group, uint8_t tag) {
  uint32_t found = 0;
  for (uint32_t i = 0; i < kGroupSlots; ++i) found |= static_cast<uint32_t>(group[i] == tag) << i;
  return found;
}

// Precondition: `group` is aligned to 16 bytes.
inline uint32_t match_tags(const uint8_t* group, uint8_t tag) {
#if defined(__SANITIZE_THREAD__)
  // Other workers write them; see state/flow.h.
  uint32_t found = 0;
  for (uint32_t i = 0; i < kGroupSlots; ++i) {
    const bool same = __atomic_load_n(group + i, __ATOMIC_ACQUIRE) == tag;
    found |= static_cast<uint32_t>(same) << i;
  }
  return found;
#elif defined(__SSE2__)
  const __m128i tags = _mm_load_si128(reinterpret_cast<const __m128i*>(group));
  const __m128i same = _mm_cmpeq_epi8(tags, _mm_set1_epi8(static_cast<char>(tag)));
  return static_cast<uint32_t>(_mm_movemask_epi8(same));
#else
  return match_tags_scalar(group, tag);
#endif
}

}  // namespace vrouter
