#include "base/drop.h"

namespace vrouter {

namespace {

struct Row {
  const char* printed;
  const char* why;
};

constexpr Row kRows[] = {
#define DROP(name, printed, why) {printed, why},
#include "base/drop_reasons.def"
#undef DROP
};
static_assert(sizeof kRows / sizeof kRows[0] == kDropReasons);

constexpr const char* kFlowDrops[] = {
#define FLOW_DROP(name, printed) printed,
#include "base/flow_drop_reasons.def"
#undef FLOW_DROP
};
static_assert(sizeof kFlowDrops / sizeof kFlowDrops[0] == static_cast<uint32_t>(FlowDrop::kCount));

}  // namespace

const char* drop_name(DropReason reason) {
  return reason < DropReason::kCount ? kRows[static_cast<uint32_t>(reason)].printed : "Unknown";
}

const char* drop_why(DropReason reason) {
  return reason < DropReason::kCount ? kRows[static_cast<uint32_t>(reason)].why : "no such reason";
}

const char* flow_drop_name(FlowDrop drop) {
  return drop < FlowDrop::kCount ? kFlowDrops[static_cast<uint32_t>(drop)] : "Unknown";
}

const char* room_name(Room room) {
  static constexpr const char* kNames[] = {
#define ROOM(name, printed) printed,
#include "base/rooms.def"
#undef ROOM
  };
  return kNames[static_cast<uint32_t>(room)];
}

}  // namespace vrouter
