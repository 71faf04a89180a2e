// Takes a frame apart as it left: tunnel, label, translated addresses, right client, all checksums.
// Nothing in it is taken from the router's encoder. What is wrong ends the program (fail()).
#pragma once
#include <cstdint>
#include <unordered_set>

#include "pipeline/frames.h"

namespace vrouter::bench {

// The clients of a run, each address number with its port.
class Clients {
 public:
  Clients(const Workload& workload, uint32_t flows);
  bool contains(uint32_t number, uint16_t port) const { return keys_.contains(key(number, port)); }

 private:
  static uint64_t key(uint32_t number, uint16_t port) { return uint64_t{number} << 16 | port; }
  std::unordered_set<uint64_t> keys_;
};

void check_frame(const Workload& workload, uint32_t frame_bytes, const Bytes& frame,
                 const Clients& clients);

}  // namespace vrouter::bench
