// LegSet: the ways (uplinks) by which a tunnel reaches its far end. A packet's hash picks one, so
// that a flow keeps its leg; one that is down is not picked, and only its flows move.
// Invariant: each leg is a NextHop as it would be if it were the only one: its own vif and
// rewrites, the tunnel's kind and encap. The tunnel itself has an invalid vif, so a tunnel with one
// leg that is up has no set and costs what it costs without them (path/encapsulate.cc). Written by
// Router::exchange while workers are held; read by workers.
#pragma once
#include <bit>
#include <cstdint>

#include "base/limits.h"
#include "state/next_hop.h"

namespace vrouter {

struct LegSet {
  static constexpr uint32_t kNone = ~0u;

  uint32_t count = 0;
  uint32_t up = 0;  // bit i: leg i may be picked
  NextHop legs[kMaxTunnelLegs];
  uint32_t sender_at[kMaxTunnelLegs] =
      {};  // position in its vif's `senders`; never read per packet

  // kNone: none is up. The outer source port is made of bits 17 to 30; these are others, so that
  // routers behind an uplink still spread what comes by it.
  uint32_t pick(uint64_t hash) const {
    const auto first = static_cast<uint32_t>((hash >> 32) * count >> 32);
    if ((up >> first & 1) != 0) return first;
    uint32_t left = up;
    if (left == 0) return kNone;
    uint32_t nth = static_cast<uint32_t>((hash & 0xffff) * std::popcount(up) >> 16);
    for (; nth > 0; --nth) left &= left - 1;
    return static_cast<uint32_t>(std::countr_zero(left));
  }
};

}  // namespace vrouter
