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
constexpr uint64_t kSparePath = uint64_t{1} << 39;

bool is_free_slot(const Flow& flow, const FlowCold& cold) {
  FlowCold zero{};
  zero.link(FlowId{0}, cold.generation_id());  // counts the slot's uses, and goes on
  const Flow none{};
  return std::memcmp(&flow, &none, sizeof flow) == 0 && std::memcmp(&cold, &zero, sizeof cold) == 0;
}

}  // namespace

const char* flow_fault_name(FlowFault fault) {
  constexpr const char* kNames[] = {"none",     "value", "reverse",  "initiator",
                                    "mismatch", "place", "duplicate"};
  static_assert(sizeof kNames / sizeof kNames[0] == static_cast<size_t>(FlowFault::kCount));
  return fault < FlowFault::kCount ? kNames[static_cast<size_t>(fault)] : "?";
}

FlowFault FlowTable::check_half(uint32_t slot, uint32_t now_ms) {
  const FlowHalf half = this->half(FlowId{slot});
  const Flow& flow = half.flow;
  const bool detail_known = flow.action == FlowAction::Drop
                                ? half.drop() < FlowDrop::kCount
                                : (half.cold.detail() & ~kKnownNat) == 0;
  const bool in_range =
      (flow.family == Family::V4 || flow.family == Family::V6) && flow.action <= FlowAction::Nat &&
      detail_known && (flow.tcp & ~kKnownTcp) == 0 && flow.next_hop() < kMaxNextHops &&
      flow.rpf_next_hop() < kMaxNextHops && scope_next_hop(flow.scope).value < kMaxNextHops &&
      flow.label() <= kMaxVni && (flow.path & kSparePath) == 0 &&
      flow.has_member() == (half.cold.member() != kNoMember) &&
      (half.cold.vif < kMaxVifs || half.cold.vif == kFromFabric) &&
      // Neither in the future nor longer ago than any timeout lets it: it would never age.
      now_ms - flow.last_seen <= FlowTimeouts::kMaxSeconds * 1000;
  if (!in_range) return FlowFault::Value;
  const Home h = home(hash(half.key()));
  const bool reachable = slot - h.first < kBucketSlots || slot - h.second < kBucketSlots;
  return reachable ? FlowFault::None : FlowFault::Place;
}

FlowFault FlowTable::check_pair(uint32_t slot, uint32_t now_ms) {
  const FlowId id{slot};
  const FlowId back_id = reverse(id);
  if (back_id.value >= capacity_ || back_id == id) return FlowFault::Reverse;
  const Flow& flow = memory_.flows[slot];
  const Flow& other = memory_.flows[back_id.value];
  if (!other.in_use() || reverse(back_id) != id) return FlowFault::Reverse;
  if (((flow.flags ^ other.flags) & kFlowInitiator) == 0) return FlowFault::Initiator;
  if (flow.protocol != other.protocol || flow.family != other.family) return FlowFault::Mismatch;
  if (const FlowFault fault = check_half(slot, now_ms); fault != FlowFault::None) return fault;
  if (const FlowFault fault = check_half(back_id.value, now_ms); fault != FlowFault::None) {
    return fault;
  }
  const FlowKey key = half(id).key();
  const FlowKey back = half(back_id).key();
  const bool taken = key == back || find(key, hash(key)).valid() || find(back, hash(back)).valid();
  return taken ? FlowFault::Duplicate : FlowFault::None;
}

FlowAdoption FlowTable::adopt(uint32_t now_ms) {
  FlowAdoption out;
  // From here on a tag says: checked, and taken over.
  std::memset(memory_.tags, 0, capacity_);
  for (uint32_t slot = 0; slot < capacity_; ++slot) {
    const Flow& flow = memory_.flows[slot];
    if (!flow.in_use() || memory_.tags[slot] != 0) continue;
    const FlowFault fault = check_pair(slot, now_ms);
    if (fault != FlowFault::None) {
      ++out.faults[static_cast<uint32_t>(fault)];
      ++out.dropped;
      continue;
    }
    for (const FlowId id : {FlowId{slot}, reverse(FlowId{slot})}) {
      memory_.tags[id.value] = home(hash(half(id).key())).tag;
      memory_.flows[id.value].generation = 0;
      const FlowKey key = half(id).key();
      if (key.family == Family::V6) half(id).set_translated6(key, half(reverse(id)).key());
      ++out.entries;
    }
  }
  for (uint32_t slot = 0; slot < capacity_; ++slot) {
    if (memory_.tags[slot] == 0 && !is_free_slot(memory_.flows[slot], memory_.cold[slot]))
      clear(slot);
  }
  used_ = out.entries;
  created_ = out.entries;
  deleted_ = 0;
  clock_ = 0;
  return out;
}

}  // namespace vrouter
