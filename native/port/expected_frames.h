// ExpectedFrames: how many frames a port asks the kernel for at once. As many as there were last time, or
// twice as many once all of them came: a frame that is alone is taken by itself and is on its way before
// the next look, a flood comes by the batch, and little is asked for in vain. One receiver's.
#pragma once
#include <algorithm>
#include <cstdint>

#include "packet/packet.h"
#include "port/port.h"

namespace vrouter {

class ExpectedFrames {
 public:
  // To ask for now: 1 to max.
  uint32_t within(uint32_t max) const { return std::min(count_, max); }

  // asked: what within() said; found: frames that were there, good or not; of them `taken` in packets.
  void learn(uint32_t asked, uint32_t found, Packet* const* packets, uint32_t taken) {
    count_ = found >= asked ? 2 * asked : std::max(found, 1u);
    if (taken == 0) return;
    uint32_t bytes = 0;
    for (uint32_t i = 0; i < taken; ++i) bytes += packets[i]->length;
    count_ = std::min(count_, std::max(kBurstBytes / (bytes / taken + 1), 1u));
  }

 private:
  uint32_t count_ = 1;
};

}  // namespace vrouter
