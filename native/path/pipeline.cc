// The way of a packet, room by room. This file is the table of contents and nothing else.
#include "path/pipeline.h"

#include "path/rooms.h"
#include "path/together.h"

namespace vrouter {
namespace {

// The whole flow table is swept once in this time, whatever the load: an idle flow outlives its
// timeout by at most as much.
constexpr uint64_t kSweepNs = 10'000'000'000;
constexpr uint64_t kMaxSweep = 65536;  // entries in one breath, after a long pause
constexpr uint64_t kWorthALock = 256;  // entries; with several workers

void age_flows(Context& context) {
  const uint64_t elapsed = context.now_ns - context.aged_at_ns;
  const uint64_t per_entry = kSweepNs / context.flows.capacity();
  uint64_t due = elapsed / (per_entry == 0 ? 1 : per_entry);
  if (due == 0 || (context.together != nullptr && due < kWorthALock)) return;
  const InRooms in_rooms(context);
  if (due > kMaxSweep) {
    due = kMaxSweep;
    context.aged_at_ns = context.now_ns;
  } else {
    context.aged_at_ns += due * per_entry;
  }
  context.flows.age(now_ms(context), static_cast<uint32_t>(due), context.timeouts);
}

using RoomFunction = void (*)(Context&, Burst&);
// A packet that a room makes and sends goes through others meanwhile: afterwards it is this one again.
inline void enter(Room name, RoomFunction room, Context& context, Burst& burst) {
  const Room outer = current_room;
  current_room = name;
  room(context, burst);
  current_room = outer;
}

void way_in(Context& context, Burst& burst) {
  enter(Room::Parse, parse, context, burst);
  enter(Room::Admit, admit, context, burst);
  enter(Room::Decap, decap, context, burst);
  enter(Room::MatchFragments, match_fragments, context, burst);
}

void way_through(Context& context, Burst& burst) {
  enter(Room::LookUpFlows, look_up_flows, context, burst);
  enter(Room::OpenFlows, open_flows, context, burst);
  enter(Room::LookUpRoutes, look_up_routes, context, burst);
  enter(Room::LookUpMacs, look_up_macs, context, burst);
}

void way_out(Context& context, Burst& burst) {
  enter(Room::CheckFit, check_fit, context, burst);
  enter(Room::Translate, translate, context, burst);
  enter(Room::Replicate, replicate, context, burst);
  enter(Room::Encapsulate, encapsulate, context, burst);
  enter(Room::Finish, finish, context, burst);
}

}  // namespace

void forward(Context& context, Burst& burst) {
  if (context.express && context.trace == nullptr) {
    Burst done;
    {
      const Reading reading(context);
      express(context, burst, done);
      finish_carried(context, done);
    }
    if (burst.count == 0) return;
  }
  const InRooms in_rooms(context);
  way_in(context, burst);
  way_through(context, burst);
  way_out(context, burst);
  // Fragments that waited for one in this burst.
  while (context.released.count != 0) {
    Burst released = context.released;
    context.released.count = 0;
    way_through(context, released);
    way_out(context, released);
  }
}

void send(Context& context, Packet* packet) {
  Burst one;
  one.packets[one.count++] = packet;
  if (!packet->meta.next_hop.valid()) look_up_routes(context, one);
  way_out(context, one);
}

void tick(Context& context) {
  // With several workers: one ages flows, each has fragments of its own.
  if (context.worker == 0) age_flows(context);
  if (context.fragments.held() == 0) return;
  const InRooms in_rooms(context);
  while (Packet* late = context.fragments.take_expired(context.now_ns)) {
    late->drop(DropReason::NoFragEntry);
    Burst one;
    one.packets[one.count++] = late;
    finish(context, one);
  }
}

}  // namespace vrouter
