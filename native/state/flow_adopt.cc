// FlowTable::adopt(): a table as a process left it that may have been killed anywhere, inside an
// insert too, or a file that somebody has written into. Every entry is checked against flow.h's
// invariants before anything is done by it; what does not hold is cleared. Control side, before the
// worker starts.
#include <bit>
#include <cstring>

#include "base/limits.h"
#include "state/ecmp.h"
#include "state/flow.h"
#include "state/next_hop.h"

namespace vrouter {
namespace {

constexpr uint16_t kKnownTcp = kTcpFin | kTcpHalfClose | kTcpFinR | kTcpSyn | kTcpSynR |
                               kTcpEstablished | kTcpEstablishedR | kTcpRst | kTcpAck | kTcpAckR |
                               kTcpDead;
constexpr uint8_t kKnownNat = kNatSource | kNatSourcePort | kNatDestination | kNatDestinationPort;
constexpr uint16_t kFromFabric = 0xffff;
constexpr uint32_t kBucketSlots = 32;  // of flow.cc

bool is_free_slot(const Flow& flow) {
  Flow zero{};
  zero.generation_id = flow.generation_id;  // counts the slot's uses, and goes on
  return std::memcmp(&flow, &zero, sizeof flow) == 0;
}

}  // namespace

const char* flow_fault_name(FlowFault fault) {
  constexpr const char* kNames[] = {"none",     "value", "reverse",  "initiator",
                                    "mismatch", "place", "duplicate"};
  static_assert(sizeof kNames / sizeof kNames[0] == static_cast<size_t>(FlowFault::kCount));
  return fault < FlowFault::kCount ? kNames[static_cast<size_t>(fault)] : "?";
}

FlowFault FlowTable::check_half(const Flow& flow, uint32_t slot, uint32_t now_ms) const {
  const bool in_range =
      (flow.family == Family::V4 || flow.family == Family::V6) && flow.action <= FlowAction::Nat &&
      flow.drop < FlowDrop::kCount && (flow.nat & ~kKnownNat) == 0 &&
      (flow.tcp & ~kKnownTcp) == 0 && flow.next_hop < kMaxNextHops &&
      flow.rpf_next_hop < kMaxNextHops && scope_next_hop(flow.scope).value < kMaxNextHops &&
      flow.label <= kMaxVni && (flow.vif < kMaxVifs || flow.vif == kFromFabric) &&
      // Neither in the future nor longer ago than any timeout lets it: it would never age.
      now_ms - flow.last_seen <= FlowTimeouts::kMaxSeconds * 1000;
  if (!in_range) return FlowFault::Value;
  const Home h = home(hash(flow.key()));
  const bool reachable = slot - h.first < kBucketSlots || slot - h.second < kBucketSlots;
  return reachable ? FlowFault::None : FlowFault::Place;
}

FlowFault FlowTable::check_pair(uint32_t slot, uint32_t now_ms) const {
  const Flow& flow = flows_[slot];
  if (flow.reverse >= capacity_ || flow.reverse == slot) return FlowFault::Reverse;
  const Flow& other = flows_[flow.reverse];
  if (!other.in_use() || other.reverse != slot) return FlowFault::Reverse;
  if (((flow.flags ^ other.flags) & kFlowInitiator) == 0) return FlowFault::Initiator;
  if (flow.protocol != other.protocol || flow.family != other.family) return FlowFault::Mismatch;
  if (const FlowFault fault = check_half(flow, slot, now_ms); fault != FlowFault::None) {
    return fault;
  }
  if (const FlowFault fault = check_half(other, flow.reverse, now_ms); fault != FlowFault::None) {
    return fault;
  }
  const FlowKey key = flow.key();
  const FlowKey back = other.key();
  const bool taken =
      key == back || find(key, hash(key)).valid() || find(back, hash(back)).valid();
  return taken ? FlowFault::Duplicate : FlowFault::None;
}

FlowAdoption FlowTable::adopt(uint32_t now_ms) {
  FlowAdoption out;
  // From here on a tag says: checked, and taken over.
  std::memset(tags_, 0, capacity_);
  for (uint32_t slot = 0; slot < capacity_; ++slot) {
    const Flow& flow = flows_[slot];
    if (!flow.in_use() || tags_[slot] != 0) continue;
    const FlowFault fault = check_pair(slot, now_ms);
    if (fault != FlowFault::None) {
      ++out.faults[static_cast<uint32_t>(fault)];
      ++out.dropped;
      continue;
    }
    for (const uint32_t half : {slot, flow.reverse}) {
      tags_[half] = home(hash(flows_[half].key())).tag;
      flows_[half].generation = 0;
      ++out.entries;
    }
  }
  for (uint32_t slot = 0; slot < capacity_; ++slot) {
    if (tags_[slot] == 0 && !is_free_slot(flows_[slot])) clear(slot);
  }
  used_ = out.entries;
  created_ = out.entries;
  deleted_ = 0;
  clock_ = 0;
  return out;
}

}  // namespace vrouter
