// EventRing: head_ is the next event to read, tail_ the next slot to write; both only grow and wrap
// at 2^32, their difference is what waits. tail_ and lost_ belong to the producer, head_ to the
// consumer; an event is published by the release store of tail_, its slot given back by that of
// head_.
#include "state/events.h"

#include <algorithm>
#include <bit>
#include <new>

namespace vrouter {

void describe_flow(Event& event, EventKind kind, uint64_t time_ns, FlowId forward_id,
                   const FlowHalf& forward, const FlowHalf& reverse) {
  event.time_ns = time_ns;
  event.kind = static_cast<uint32_t>(kind);
  event.flow = forward_id.value;
  event.reverse = forward.reverse().value;
  event.vrf = forward.flow.vrf;
  event.key = forward.key();
  event.action = static_cast<uint8_t>(forward.flow.action);
  event.drop = static_cast<uint8_t>(forward.drop());
  event.vif = forward.cold.vif;
  event.packets = forward.packets() + reverse.packets();
  event.bytes = forward.bytes() + reverse.bytes();
  event.spare = 0;
}

Event flow_event(EventKind kind, uint64_t time_ns, FlowId forward_id, const FlowHalf& forward,
                 const FlowHalf& reverse) {
  Event event;
  describe_flow(event, kind, time_ns, forward_id, forward, reverse);
  return event;
}

EventRing::EventRing(uint32_t capacity) {
  const uint32_t slots = std::bit_ceil(std::clamp(capacity, 2u, 1u << 24));
  ring_.reset(new (std::nothrow) Event[slots]);
  mask_ = slots - 1;
}

Event* EventRing::begin_push() {
  const uint32_t tail = tail_.load(std::memory_order_relaxed);
  if (ring_ == nullptr || tail - head_.load(std::memory_order_acquire) > mask_) {
    // One writer: a plain load and store, without the bus lock of fetch_add.
    lost_.store(lost_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
    return nullptr;
  }
  return &ring_[tail & mask_];
}

void EventRing::end_push() {
  tail_.store(tail_.load(std::memory_order_relaxed) + 1, std::memory_order_release);
}

bool EventRing::push(const Event& event) {
  Event* slot = begin_push();
  if (slot == nullptr) return false;
  *slot = event;
  end_push();
  return true;
}

uint32_t EventRing::drain(Event* out, uint32_t max) {
  const uint32_t head = head_.load(std::memory_order_relaxed);
  const uint32_t waiting = tail_.load(std::memory_order_acquire) - head;
  const uint32_t count = std::min(waiting, max);
  const uint32_t at = head & mask_;
  const uint32_t first = std::min(count, mask_ + 1 - at);
  std::copy_n(ring_.get() + at, first, out);
  std::copy_n(ring_.get(), count - first, out + first);
  head_.store(head + count, std::memory_order_release);
  return count;
}

}  // namespace vrouter
