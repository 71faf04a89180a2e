// Tier: who carries packets of established flows past this process, as the rooms see it. The express room offers
// flows that have had many packets; the rooms say when they meet a packet of a flow that is carried, for
// that opens, ends or is otherwise special. Implemented by tier/kernel_tier.h. Called InRooms.
#pragma once
#include <cstdint>

#include "base/ids.h"

namespace vrouter {

struct Context;

// A flow, and how the packet came that made it be offered.
struct OfferedFlow {
  FlowId flow;
  VifId vif;
  uint32_t label;              // from the fabric
  uint32_t outer_destination;  // … as on the wire; 0: a tenant's packet
};
inline constexpr uint32_t kMaxOffered = 64;  // of a breath; the next 256th packet offers it again

class Tier {
 public:
  virtual ~Tier() = default;
  virtual void offer(Context& context, const OfferedFlow& offered) = 0;
  // A packet of this flow is in the rooms: neither half is carried any longer, and what has been carried is
  // in the flow.
  virtual void met(Context& context, FlowId flow) = 0;
};

}  // namespace vrouter
