// Seeded 64-bit hash of fixed-size keys. Same key, same seed, same value on every machine (golden
// values in hash_test.cc): flow placement, ECMP and entropy must replay bit for bit.
//
// Shape: the key is cut into 16-byte lanes; each lane is one 64x64->128 multiplication of its two
// words, whitened by the seed and a constant of their place, folded to 64 bits. Lanes do not wait
// for each other; they are summed with a rotation and finished by mix64. Whoever does not know the
// seed cannot aim keys at one bucket; where keys are hostile the seed should be random.
#pragma once
#include <bit>
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <utility>

#include "base/bytes.h"

namespace vrouter {

// A bijection of 64 bits in which every input bit moves every output bit (two xor-shift-multiply
// rounds; the constants are David Stafford's "variant 13", as in SplitMix64).
constexpr uint64_t mix64(uint64_t v) {
  v = (v ^ (v >> 30)) * 0xbf58476d1ce4e5b9u;
  v = (v ^ (v >> 27)) * 0x94d049bb133111ebu;
  return v ^ (v >> 31);
}

constexpr uint64_t multiply_fold(uint64_t a, uint64_t b) {
  const unsigned __int128 product = static_cast<unsigned __int128>(a) * b;
  return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
}

// Constant of the i-th word of a key.
constexpr uint64_t hash_constant(size_t i) { return mix64((i + 1) * 0x9e3779b97f4a7c15u); }

// The i-th 8-byte word of an N-byte key, zero beyond its end.
template <size_t N, size_t I>
inline uint64_t hash_word(const uint8_t* p) {
  constexpr size_t at = I * 8;
  if constexpr (at + 8 <= N) {
    return load_le64(p + at);
  } else if constexpr (at + 4 == N) {  // FlowKey ends so: one load, no copy
    return load_le32(p + at);
  } else if constexpr (at < N) {
    uint8_t tail[8] = {};
    std::memcpy(tail, p + at, N - at);
    return load_le64(tail);
  } else {
    return 0;
  }
}

template <size_t N, size_t Lane>
inline uint64_t hash_lane(const uint8_t* p, uint64_t seed) {
  constexpr uint64_t first = hash_constant(Lane * 2);
  constexpr uint64_t second = hash_constant(Lane * 2 + 1);
  return multiply_fold(hash_word<N, Lane * 2>(p) ^ seed ^ first,
                       hash_word<N, Lane * 2 + 1>(p) ^ seed ^ second);
}

template <size_t N>
inline uint64_t hash_bytes(const uint8_t* p, uint64_t seed) {
  static_assert(N > 0 && N <= 256, "for keys, not for messages");
  uint64_t h = seed + N;
  // A fold over lanes, not a loop: the constants of each lane are then constants of the code.
  [&]<size_t... Lane>(std::index_sequence<Lane...>) {
    ((h = std::rotl(h, 29) + hash_lane<N, Lane>(p, seed)), ...);
  }
  (std::make_index_sequence<(N + 15) / 16>());
  return mix64(h);
}

// hash_bytes<N> of a key whose words are at hand already: (N + 7) / 8 of them, an even number.
template <size_t N, class... Words>
inline uint64_t hash_words(uint64_t seed, Words... words) {
  static_assert(sizeof...(words) == (N + 15) / 16 * 2);
  const uint64_t word[] = {words...};
  uint64_t h = seed + N;
  [&]<size_t... Lane>(std::index_sequence<Lane...>) {
    ((h = std::rotl(h, 29) +
          multiply_fold(word[Lane * 2] ^ seed ^ hash_constant(Lane * 2),
                        word[Lane * 2 + 1] ^ seed ^ hash_constant(Lane * 2 + 1))),
     ...);
  }
  (std::make_index_sequence<(N + 15) / 16>());
  return mix64(h);
}

// Hash of a key that is compared as bytes (FlowKey, Mac, …).
template <class Key>
inline uint64_t hash_key(const Key& key, uint64_t seed) {
  static_assert(std::is_trivially_copyable_v<Key>);
  static_assert(std::has_unique_object_representations_v<Key>, "padding would be hashed");
  return hash_bytes<sizeof(Key)>(reinterpret_cast<const uint8_t*>(&key), seed);
}

}  // namespace vrouter
