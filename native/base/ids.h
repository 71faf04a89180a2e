// Strong ids and their named invalids: swapping two kinds must not compile.
// Ids are chosen by the control side, are dense from 0, and index fixed-capacity tables (limits.h).
#pragma once
#include <compare>
#include <cstdint>

namespace vrouter {

template <class Tag, class Rep>
struct Id {
  Rep value = static_cast<Rep>(~Rep{0});  // invalid until set

  constexpr Id() = default;
  constexpr explicit Id(Rep v) : value(v) {}
  constexpr bool valid() const { return value != static_cast<Rep>(~Rep{0}); }
  constexpr bool operator==(const Id&) const = default;
  constexpr auto operator<=>(const Id&) const = default;
};

using VifId = Id<struct VifTag, uint32_t>;
using VrfId = Id<struct VrfTag, uint32_t>;
using NextHopId = Id<struct NextHopTag, uint32_t>;  // 0 is always Discard
using PolicyId = Id<struct PolicyTag, uint32_t>;
using PortId = Id<struct PortTag, uint32_t>;
using FlowId = Id<struct FlowTag, uint32_t>;      // index of an entry in the flow table
using MemberId = Id<struct MemberTag, uint32_t>;  // stable id of an ECMP member, control's choice

inline constexpr NextHopId kDiscard{0};
inline constexpr uint32_t kNoLabel = 0xfffffu;  // "no label" sentinel, as in the ancestor

}  // namespace vrouter
