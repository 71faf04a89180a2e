// Drop reasons as enums; the lists are drop_reasons.def and flow_drop_reasons.def.
#pragma once
#include <cstdint>

namespace vrouter {

enum class DropReason : uint8_t {
#define DROP(name, printed, why) name,
#include "base/drop_reasons.def"
#undef DROP
  kCount,
};
inline constexpr uint32_t kDropReasons = static_cast<uint32_t>(DropReason::kCount);

enum class FlowDrop : uint8_t {
#define FLOW_DROP(name, printed) name,
#include "base/flow_drop_reasons.def"
#undef FLOW_DROP
  kCount,
};

enum class Room : uint8_t {
#define ROOM(name, printed) name,
#include "base/rooms.def"
#undef ROOM
};
const char* room_name(Room room);  // "look_up_routes"

// The room this thread is in. A drop is decided deep inside one, by functions that know only the
// packet; written by the pipeline, once a room and burst.
inline constinit thread_local Room current_room = Room::None;

const char* drop_name(DropReason reason);   // "Flow Action Drop"
const char* drop_why(DropReason reason);    // one sentence
const char* flow_drop_name(FlowDrop drop);  // "NoFipPortMap"

}  // namespace vrouter
