#include "state/ecmp.h"

#include <algorithm>
#include <array>
#include <bit>

#include "base/hash.h"

namespace vrouter {
namespace {

// log2(1 + i / 256) in 1/2^32, by repeated squaring: each squaring doubles the logarithm, and its
// integer part is the next binary digit.
constexpr uint64_t log2_of(uint32_t i) {
  uint64_t mantissa = (uint64_t{256} + i) << 23;  // in [1, 2), 31 fraction bits
  uint64_t log = 0;
  for (uint32_t digit = 0; digit < 32; ++digit) {
    mantissa = (mantissa * mantissa) >> 31;
    log <<= 1;
    if ((mantissa >> 32) != 0) {
      mantissa >>= 1;
      log |= 1;
    }
  }
  return log;
}

constexpr std::array<uint64_t, 257> make_log_table() {
  std::array<uint64_t, 257> table{};
  for (uint32_t i = 0; i < 256; ++i) table[i] = log2_of(i);
  table[256] = uint64_t{1} << 32;
  return table;
}
constexpr std::array<uint64_t, 257> kLog2 = make_log_table();

// -log2(hash / 2^64) in 1/2^32: above 0, up to 64 * 2^32. Table and straight lines between its
// points; never rises with `hash`.
uint64_t minus_log2(uint64_t hash) {
  hash |= 1;  // 0 has no logarithm
  const uint32_t zeros = static_cast<uint32_t>(std::countl_zero(hash));
  const uint64_t fraction = (hash << zeros) << 1;  // behind the leading 1, 64 bits
  const uint32_t i = static_cast<uint32_t>(fraction >> 56);
  const uint64_t part = fraction << 8 >> 32;  // between point i and the next, 32 bits
  const uint64_t log = kLog2[i] + ((kLog2[i + 1] - kLog2[i]) * part >> 32);
  return (uint64_t{zeros + 1} << 32) - log;
}

// Both have been through a bijection that scatters them: flows that differ in one bit, and ids that
// follow each other, must not lead to related winners. One multiplication then, for packets without
// a flow pay this for each member.
inline uint64_t own_hash(uint64_t mixed, uint64_t constant) {
  return multiply_fold(mixed ^ constant, std::rotl(mixed, 32) ^ constant);
}

}  // namespace

int find_member(const EcmpSet& set, uint16_t member) {
  for (size_t i = 0; i < set.members.size(); ++i) {
    if (set.members[i].member == member) return static_cast<int>(i);
  }
  return -1;
}

void render_choices(EcmpSet& set) {
  set.choices.clear();
  for (size_t i = 0; i < set.members.size(); ++i) {
    const EcmpMember& m = set.members[i];
    if (m.weight == 0) continue;
    set.choices.push_back({hash_constant(m.member), static_cast<uint16_t>(i), m.weight});
  }
  // The lowest id last: of equal ones the last is taken.
  std::sort(set.choices.begin(), set.choices.end(), [&](const EcmpChoice& a, const EcmpChoice& b) {
    return set.members[a.position].member > set.members[b.position].member;
  });
}

int choose_among_all(const EcmpSet& set, uint64_t hash) {
  const uint64_t mixed = mix64(hash);
  int best = -1;
  uint64_t best_hash = 0;
  if (set.equal_weights) {
    for (const EcmpChoice& c : set.choices) {
      const uint64_t own = own_hash(mixed, c.constant);
      const bool better = own >= best_hash;
      best = better ? c.position : best;
      best_hash = better ? own : best_hash;
    }
    return best;
  }
  uint64_t best_score = 0;
  for (const EcmpChoice& c : set.choices) {
    const uint64_t own = own_hash(mixed, c.constant);
    const uint64_t score = member_score(own, c.weight);
    if (score < best_score || (score == best_score && own < best_hash)) continue;
    best = c.position;
    best_score = score;
    best_hash = own;
  }
  return best;
}

uint64_t member_hash(uint64_t hash, uint16_t member) {
  return own_hash(mix64(hash), hash_constant(member));
}

// Waiting times of exponential clocks that run at `weight`: the first to ring is a member with
// probability weight / sum of weights. The score is the reciprocal of that time, in 1/2^22.
uint64_t member_score(uint64_t hash, uint16_t weight) {
  const uint64_t time = std::max<uint64_t>(minus_log2(hash) >> 6, 1);  // 1/2^26
  return (uint64_t{weight} << 48) / time;
}

}  // namespace vrouter
