// PuntLimit: how many packets the control side is given: so many a second of each vif, so many of
// all together; a second's worth may come at once. A vif's own bucket is asked first, so that what
// a flooding tenant takes from the others is bounded by its rate. Worker only.
#pragma once
#include <cstdint>
#include <vector>

#include "base/ids.h"
#include "base/limits.h"

namespace vrouter {

struct TokenBucket {
  uint64_t at_ns = 0;  // up to when tokens have been earned
  uint32_t tokens = 0;
  bool begun = false;

  bool take(uint64_t now_ns, uint32_t per_second) {
    constexpr uint64_t kSecond = 1'000'000'000;
    if (!begun || now_ns - at_ns >= kSecond) {
      begun = true;
      at_ns = now_ns;
      tokens = per_second;
    } else if (const uint64_t earned = (now_ns - at_ns) * per_second / kSecond; earned != 0) {
      at_ns += earned * kSecond / per_second;  // what is left of a token is not lost
      const uint64_t all = tokens + earned;
      tokens = static_cast<uint32_t>(all < per_second ? all : per_second);
    }
    if (tokens == 0) return false;
    --tokens;
    return true;
  }
};

struct PuntLimit {
  std::vector<TokenBucket> vifs = std::vector<TokenBucket>(kMaxVifs);
  TokenBucket all;

  bool take(VifId vif, uint64_t now_ns) {
    if (vif.value < kMaxVifs && !vifs[vif.value].take(now_ns, kPuntsPerVif)) return false;
    return all.take(now_ns, kPunts);
  }
};

}  // namespace vrouter
