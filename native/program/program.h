// Programs: what the control side sends. Bytes: u32 magic "VRP1", u32 op count, then per op u16 code,
// u16 zero, u32 length of the body, body (state/objects.def). All little-endian.
//   decode()    bytes -> ops; every bound checked, trailing bytes refused
//   validate()  one op's values, without regard to any other object
//   apply()     ops -> tables; all or nothing
//   dump()      tables -> the ops that would make them, in a canonical order
// Runs on the control side; apply() and dump() only while the workers are held.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "base/status.h"
#include "state/router.h"

namespace vrouter {

inline constexpr uint32_t kProgramMagic = 0x31505256;  // "VRP1", little-endian

#define STRUCT(Name)
#define FIELD(Type, name)
#define LIST(Element, name)
#define END(Name)
#define OP(code, Name, wire) , Name
using Op = std::variant<std::monostate
#include "state/objects.def"
                        >;
#undef STRUCT
#undef FIELD
#undef LIST
#undef END
#undef OP

// How many elements a list of each kind may have.
template <class Element>
inline constexpr uint32_t kMaxElements = 0;
template <>
inline constexpr uint32_t kMaxElements<PolicyRef> = kMaxVifPolicies;
template <>
inline constexpr uint32_t kMaxElements<Timeout> = 256 * 3;  // protocols times states
template <>
inline constexpr uint32_t kMaxElements<EcmpMember> = kMaxEcmpMembers;
template <>
inline constexpr uint32_t kMaxElements<TunnelLeg> = kMaxTunnelLegs - 1;
template <>
inline constexpr uint32_t kMaxElements<Replica> = kMaxReplicas;
template <>
inline constexpr uint32_t kMaxElements<PortMap> = kMaxPortMaps;
template <>
inline constexpr uint32_t kMaxElements<PolicyRule> = kMaxPolicyRules;

// `out` is empty unless the result is ok.
Status decode(std::span<const uint8_t> bytes, std::vector<Op>& out);
void encode(const Op& op, std::vector<uint8_t>& out);  // one op with its header; dump() and tests
std::vector<uint8_t> encode_program(const std::vector<Op>& ops);  // the whole Program
Status validate(const Op& op);  // apply() calls it for every op first

NextHopObject next_hop_object(const Op& op);  // kind None if the op sets no next hop
Op next_hop_op(const NextHopObject& object);  // monostate for kind None

struct ApplyResult {
  Status status;
  uint32_t generation = 0;             // of the router after it
  std::vector<uint32_t> flushed_vrfs;  // FlowFlush ops; ~0 = all. The caller ends the flows.
};
// port_exists(context, port): whether the data plane has such a port; nullptr: any port will do.
ApplyResult apply(const std::vector<Op>& ops, Router& router,
                  bool (*port_exists)(void* context, PortId port), void* port_context);

enum class DumpTable : uint32_t {
  Router,
  Vrfs,
  Vifs,
  NextHops,
  Routes,
  Macs,
  Labels,
  Vnis,
  FloatingIps,
  SourceNats,
  Policies,
  kCount,
};
// Appends ops (each with header) to `out` until it holds at least `limit` bytes or the table ends.
// `cursor` is opaque bytes, empty to start, and empty again when done; entries that stand from first
// call to last appear exactly once, whatever is committed in between. vrf: only that VRF's routes or
// MACs; invalid = all. Next hop 0, which no op makes, is not dumped.
Status dump(Router& router, DumpTable table, VrfId vrf, std::string& cursor, size_t limit,
            std::vector<uint8_t>& out);

// JSON text: {"version":1,"magic":…,"types":{"u8":1,…,"name":0},"structs":[{name,fields:[{name,type}]}],
// "ops":[{code,name,wire,fields}],"status":[{name,code,text}],"dropReasons":[{name,printed,why}],
// "flowDrops":[{name,printed}],"totals":[…],"vifCounters":[…],"vrfCounters":[…],"tables":[…],
// "limits":{…},"vifFlags":[{name,bit}],…,"vifTypes":[…],…}. A field's type is a name from "types" (its value is the
// bytes on the wire, 0 when they vary) or {"list":"EcmpMember"}.
inline constexpr uint32_t kLayoutVersion = 1;  // of the JSON's shape and of the wire format
std::string layout_json();

}  // namespace vrouter
