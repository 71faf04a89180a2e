// Together: what the workers of one engine share besides the tables, and the two scopes they
// announce themselves by. The express room runs in all of them at once and reads flows as they are
// (state/flow.h says how); the rooms behind it run in one worker at a time, so that what they share
// needs no further thought.
//
// Invariants
//  * Whoever changes a flow, or touches quotas, limits, events, the drop log or captures, is
//    InRooms, or the control side while all workers are held.
//  * Nobody waits for a reader, and a reader may become InRooms (a frame that its port did not
//    take): so neither can wait for the other for ever.
//  * InRooms time does not go back, though each worker has its own clock: token buckets count on
//    it.
// A worker that is alone (Context::together is null) does nothing in either.
#pragma once
#include <atomic>
#include <cstdint>

#include "base/lock.h"
#include "path/context.h"
#include "state/quiescence.h"

namespace vrouter {

struct Together {
  Lock rooms;
  uint64_t now_ns = 0;  // under the lock: the latest time at which somebody had it
  // The flows made and ended, as of the last who had it.
  std::atomic<uint64_t> flow_changes{0};
  Quiescence readers;
};

// In the express room.
class Reading {
 public:
  explicit Reading(Context& context) : context_(context) {
    if (context.together != nullptr) context.together->readers.begin(context.worker);
  }
  ~Reading() {
    if (context_.together != nullptr) context_.together->readers.end(context_.worker);
  }
  Reading(const Reading&) = delete;
  Reading& operator=(const Reading&) = delete;

 private:
  Context& context_;
};

// In the rooms, and whatever else one worker does at a time. May be nested.
class InRooms {
 public:
  explicit InRooms(Context& context) : context_(context) {
    if (context.together != nullptr && context.in_rooms++ == 0) enter();
  }
  ~InRooms() {
    if (context_.together != nullptr && --context_.in_rooms == 0) leave();
  }
  InRooms(const InRooms&) = delete;
  InRooms& operator=(const InRooms&) = delete;

 private:
  void enter() {
    Together& together = *context_.together;
    together.rooms.lock();
    if (together.now_ns > context_.now_ns) context_.now_ns = together.now_ns;
    together.now_ns = context_.now_ns;
  }
  void leave() {
    Together& together = *context_.together;
    together.flow_changes.store(context_.flows.created() + context_.flows.deleted(),
                                std::memory_order_relaxed);
    together.rooms.unlock();
  }
  Context& context_;
};

}  // namespace vrouter
