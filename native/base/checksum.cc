#include "base/checksum.h"

namespace vrouter {

namespace {

// a + b with the carry brought around: exact in one's complement.
inline uint64_t add_around(uint64_t a, uint64_t b) {
  const uint64_t sum = a + b;
  return sum + (sum < a ? 1 : 0);
}

}  // namespace

// RFC 1071 §2: the sum may be taken in any byte order and any word size that is a multiple of 16
// bits, and swapped at the end. So: native 64-bit words, folded to 16 bits, then to network order.
uint32_t checksum_add(uint32_t sum, const uint8_t* p, size_t n) {
  uint64_t wide = 0;
  while (n >= 32) {
    uint64_t a = add_around(load_native<uint64_t>(p), load_native<uint64_t>(p + 8));
    uint64_t b = add_around(load_native<uint64_t>(p + 16), load_native<uint64_t>(p + 24));
    wide = add_around(wide, add_around(a, b));
    p += 32;
    n -= 32;
  }
  while (n >= 8) {
    wide = add_around(wide, load_native<uint64_t>(p));
    p += 8;
    n -= 8;
  }
  if (n > 0) {
    uint8_t tail[8] = {};  // zero padding, in memory order: right for either endianness
    std::memcpy(tail, p, n);
    wide = add_around(wide, load_native<uint64_t>(tail));
  }
  wide = (wide & 0xffffffffu) + (wide >> 32);
  wide = (wide & 0xffffffffu) + (wide >> 32);
  return checksum_add16(sum, be16(checksum_fold(static_cast<uint32_t>(wide))));
}

uint32_t pseudo_sum_v4(const uint8_t* source, const uint8_t* destination, uint8_t protocol,
                       uint32_t length) {
  uint32_t sum = uint32_t{protocol} + (length >> 16) + (length & 0xffff);
  sum += load_be16(source) + uint32_t{load_be16(source + 2)};
  sum += load_be16(destination) + uint32_t{load_be16(destination + 2)};
  return sum;
}

uint32_t pseudo_sum_v6(const uint8_t* source, const uint8_t* destination, uint8_t protocol,
                       uint32_t length) {
  const uint32_t sum = uint32_t{protocol} + (length >> 16) + (length & 0xffff);
  return checksum_add(checksum_add(sum, source, 16), destination, 16);
}

}  // namespace vrouter
