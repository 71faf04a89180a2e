// FlowQuota: how many flow entries entered by each vif and are routed in each VRF. Kept apart from
// the vifs and VRFs themselves, for flows outlive them: a vif made anew under an old id starts with
// what is still there. Written by whoever inserts or erases flows (worker); read by open_flow.
#pragma once
#include <cstdint>
#include <vector>

#include "base/limits.h"
#include "state/flow.h"

namespace vrouter {

struct FlowQuota {
  std::vector<uint32_t> vifs = std::vector<uint32_t>(kMaxVifs);
  std::vector<uint32_t> vrfs = std::vector<uint32_t>(kMaxVrfs);

  void enter(const FlowHalf& half) {
    if (half.cold.vif < kMaxVifs) ++vifs[half.cold.vif];
    ++vrfs[half.flow.vrf];
  }
  void leave(const FlowHalf& half) {
    if (half.cold.vif < kMaxVifs) --vifs[half.cold.vif];
    --vrfs[half.flow.vrf];
  }
};

}  // namespace vrouter
