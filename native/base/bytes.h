// Loads and stores of multi-byte integers at any alignment. be: network order; le: the order of
// Programs and of hash input. memcpy keeps it defined; compilers make one instruction of it.
#pragma once
#include <bit>
#include <cstdint>
#include <cstring>

namespace vrouter {

inline constexpr bool kLittleEndianHost = std::endian::native == std::endian::little;
static_assert(kLittleEndianHost || std::endian::native == std::endian::big);

constexpr uint16_t swap16(uint16_t v) { return static_cast<uint16_t>(v << 8 | v >> 8); }
constexpr uint32_t swap32(uint32_t v) { return __builtin_bswap32(v); }
constexpr uint64_t swap64(uint64_t v) { return __builtin_bswap64(v); }

constexpr uint16_t be16(uint16_t v) { return kLittleEndianHost ? swap16(v) : v; }
constexpr uint32_t be32(uint32_t v) { return kLittleEndianHost ? swap32(v) : v; }
constexpr uint64_t be64(uint64_t v) { return kLittleEndianHost ? swap64(v) : v; }
constexpr uint16_t le16(uint16_t v) { return kLittleEndianHost ? v : swap16(v); }
constexpr uint32_t le32(uint32_t v) { return kLittleEndianHost ? v : swap32(v); }
constexpr uint64_t le64(uint64_t v) { return kLittleEndianHost ? v : swap64(v); }

template <class T>
inline T load_native(const uint8_t* p) {
  T v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
template <class T>
inline void store_native(uint8_t* p, T v) {
  std::memcpy(p, &v, sizeof v);
}

inline uint16_t load_be16(const uint8_t* p) { return be16(load_native<uint16_t>(p)); }
inline uint32_t load_be32(const uint8_t* p) { return be32(load_native<uint32_t>(p)); }
inline uint64_t load_be64(const uint8_t* p) { return be64(load_native<uint64_t>(p)); }
inline uint16_t load_le16(const uint8_t* p) { return le16(load_native<uint16_t>(p)); }
inline uint32_t load_le32(const uint8_t* p) { return le32(load_native<uint32_t>(p)); }
inline uint64_t load_le64(const uint8_t* p) { return le64(load_native<uint64_t>(p)); }
inline uint32_t load_be24(const uint8_t* p) {
  return uint32_t{p[0]} << 16 | uint32_t{p[1]} << 8 | p[2];
}

inline void store_be16(uint8_t* p, uint16_t v) { store_native(p, be16(v)); }
inline void store_be32(uint8_t* p, uint32_t v) { store_native(p, be32(v)); }
inline void store_be64(uint8_t* p, uint64_t v) { store_native(p, be64(v)); }
inline void store_le16(uint8_t* p, uint16_t v) { store_native(p, le16(v)); }
inline void store_le32(uint8_t* p, uint32_t v) { store_native(p, le32(v)); }
inline void store_le64(uint8_t* p, uint64_t v) { store_native(p, le64(v)); }
inline void store_be24(uint8_t* p, uint32_t v) {
  p[0] = static_cast<uint8_t>(v >> 16);
  p[1] = static_cast<uint8_t>(v >> 8);
  p[2] = static_cast<uint8_t>(v);
}

}  // namespace vrouter
