// The frames a run is fed with: TCP over IPv4 or IPv6, as the pod sends them and as the other node
// brings them. Made here byte by byte, not by the router's own encoder.
#pragma once
#include <cstdint>
#include <vector>

#include "pipeline/workload.h"

namespace vrouter::bench {

using Bytes = std::vector<uint8_t>;

constexpr uint8_t kSyn = 0x02, kPush = 0x08, kAck = 0x10;

struct Segment {
  uint8_t flags;
  uint32_t sequence;
  uint32_t ack;
  uint32_t payload;  // bytes
};

Bytes from_client(const Workload& workload, uint32_t flow, const Segment& segment);  // in a tunnel
Bytes from_pod(const Workload& workload, uint32_t flow, const Segment& segment);

}  // namespace vrouter::bench
