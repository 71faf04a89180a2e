// What the router of a run is told: one pod behind a vif, four nodes behind the fabric, routes to
// the clients, MACs, policy, floating IPs. As ops; they go in as Programs, like anybody's.
#pragma once
#include <vector>

#include "base/ids.h"
#include "pipeline/workload.h"
#include "program/program.h"
#include "worker/engine.h"

namespace vrouter::bench {

std::vector<Op> tables(const Workload& workload, uint32_t flows, PortId fabric, PortId pod);

// Through encode, decode and apply, in Programs as large as they may be.
void commit(Engine& engine, const std::vector<Op>& ops);

}  // namespace vrouter::bench
