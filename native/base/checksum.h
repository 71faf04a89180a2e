// The Internet checksum (RFC 1071) and its incremental update (RFC 1624). All values are host-order
// uint16 of the big-endian words on the wire.
//
// One's complement has two zeros. A sum is 0x0000 only if every word is zero; else zero shows as
// 0xffff. So the checksum field of anything not all zero is never 0xffff. Deltas are kept as the
// other zero, 0x0000, so that "delta == 0" means "nothing changes" and applying it is the identity.
#pragma once
#include <cstddef>
#include <cstdint>

#include "base/bytes.h"

namespace vrouter {

// Adds the big-endian words of p[0..n) to a partial sum. An odd last byte is padded with zero, so
// only the last piece of a message may be odd. Any n; any sum (carries wrap around).
uint32_t checksum_add(uint32_t sum, const uint8_t* p, size_t n);

inline uint32_t checksum_add16(uint32_t sum, uint16_t word) {
  sum += word;
  return sum < word ? sum + 1 : sum;
}

// 32-bit partial sum to 16 bits; not complemented.
constexpr uint16_t checksum_fold(uint32_t sum) {
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<uint16_t>(sum);
}

// The finished value for a checksum field: sum, folded, complemented.
constexpr uint16_t checksum_finish(uint32_t sum) {
  return static_cast<uint16_t>(~checksum_fold(sum));
}
inline uint16_t checksum(const uint8_t* p, size_t n) {
  return checksum_finish(checksum_add(0, p, n));
}

// Partial sums of the pseudo headers of RFC 768 / RFC 9293 and RFC 8200 §8.1. length: of the
// transport header and its payload.
uint32_t pseudo_sum_v4(const uint8_t* source, const uint8_t* destination, uint8_t protocol,
                       uint32_t length);
uint32_t pseudo_sum_v6(const uint8_t* source, const uint8_t* destination, uint8_t protocol,
                       uint32_t length);

// Sum of two deltas.
constexpr uint16_t delta_add(uint16_t a, uint16_t b) {
  const uint16_t sum = checksum_fold(uint32_t{a} + b);
  return sum == 0xffff ? uint16_t{0} : sum;
}
// m' - m: what replacing word `old` by `new_` adds to the sum. The words must sit at an even offset
// of what is summed (at an odd one, swap16 both).
constexpr uint16_t checksum_delta16(uint16_t old, uint16_t new_) {
  return delta_add(static_cast<uint16_t>(~old), new_);
}
inline uint16_t checksum_delta32(uint32_t old, uint32_t new_) {
  return delta_add(
      checksum_delta16(static_cast<uint16_t>(old >> 16), static_cast<uint16_t>(new_ >> 16)),
      checksum_delta16(static_cast<uint16_t>(old), static_cast<uint16_t>(new_)));
}
// The same for n bytes (an address).
inline uint16_t checksum_delta(const uint8_t* old, const uint8_t* new_, size_t n) {
  return checksum_delta16(checksum_fold(checksum_add(0, old, n)),
                          checksum_fold(checksum_add(0, new_, n)));
}
// RFC 1624 eqn. 3: HC' = ~(~HC + (m' - m)).
constexpr uint16_t checksum_apply(uint16_t checksum_in_packet, uint16_t delta) {
  return static_cast<uint16_t>(
      ~checksum_fold(uint32_t{static_cast<uint16_t>(~checksum_in_packet)} + delta));
}

// UDP writes a computed zero as 0xffff, for zero means "no checksum" (RFC 768).
constexpr uint16_t udp_checksum_nonzero(uint16_t checksum) {
  return checksum == 0 ? uint16_t{0xffff} : checksum;
}

}  // namespace vrouter
