// EventRing: what the workers tell the control side, after the fact: flows made and ended, packets
// for the agent. Single producer (worker), single consumer (control). Full = counted, never blocks.
#pragma once
#include <atomic>
#include <cstdint>
#include <memory>

#include "base/limits.h"
#include "packet/packet.h"
#include "state/flow.h"

namespace vrouter {

enum class EventKind : uint32_t { FlowCreated = 1, FlowDeleted = 2 };

struct Event {  // 96 bytes, little-endian host layout, exported as it stands (layout())
  uint64_t time_ns;
  uint32_t kind;  // EventKind
  uint32_t flow;  // forward half
  uint32_t reverse;
  uint32_t vrf;
  FlowKey key;     // 44 bytes, of the forward half; ports in host order
  uint8_t action;  // FlowAction
  uint8_t drop;    // FlowDrop
  uint16_t vif;
  uint64_t packets;  // both halves, for FlowDeleted
  uint64_t bytes;
  uint64_t spare;
};
static_assert(sizeof(Event) == 96);

// What a pair has to tell; counters are the sum of both halves.
Event flow_event(EventKind kind, uint64_t time_ns, FlowId forward_id, const FlowHalf& forward,
                 const FlowHalf& reverse);

// The same, written where it is to be: every field of `event`.
void describe_flow(Event& event, EventKind kind, uint64_t time_ns, FlowId forward_id,
                   const FlowHalf& forward, const FlowHalf& reverse);

class EventRing {
 public:
  explicit EventRing(uint32_t capacity = kMaxFlowEvents);  // rounded up to a power of two
  bool push(const Event& event);                           // false: full, counted in lost()
  // push() in two steps, for one that is built in its place: nullptr as false; then all of it is to
  // be written, and end_push() makes it seen.
  Event* begin_push();
  void end_push();
  uint32_t drain(Event* out, uint32_t max);
  uint64_t lost() const { return lost_.load(std::memory_order_relaxed); }

 private:
  std::unique_ptr<Event[]> ring_;
  uint32_t mask_ = 0;
  alignas(64) std::atomic<uint32_t> head_{0};
  alignas(64) std::atomic<uint32_t> tail_{0};
  std::atomic<uint64_t> lost_{0};
};

}  // namespace vrouter
