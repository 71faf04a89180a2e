// FlowEnds: which packets somebody wants to see, by the ends of their flow as `flow --match` names
// them, looked for in the frame itself and in what a tunnel in it carries. Reads only, no tables:
// it is asked before the rooms have seen the packet.
#pragma once
#include <cstddef>
#include <cstdint>

#include "base/address.h"

namespace vrouter {

inline constexpr uint32_t kAnyPort = 65536;
inline constexpr uint32_t kAnyProtocol = 256;

struct FlowEnd {
  Address address;  // family None: any
  uint32_t port = kAnyPort;
};

struct FlowEnds {
  FlowEnd ends[2];
  uint32_t count = 0;  // one end is either the source or the destination; two go in either order
  uint32_t protocol = kAnyProtocol;

  bool everything() const { return count == 0 && protocol == kAnyProtocol; }
  bool match(const uint8_t* frame, size_t length) const;
};

}  // namespace vrouter
