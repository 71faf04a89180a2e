// Programs: what the control side sends. Bytes: u32 magic "VRP1", u32 op count, then per op u16 code,
// u16 zero, u32 length of the body, body (state/objects.def). All little-endian.
//   decode()  bytes -> ops; every bound checked, trailing bytes refused
//   apply()   ops -> tables; all or nothing
//   dump()    tables -> the ops that would make them, in a canonical order
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

Status decode(std::span<const uint8_t> bytes, std::vector<Op>& out);
void encode(const Op& op, std::vector<uint8_t>& out);  // one op with its header; dump() and tests

struct ApplyResult {
  Status status;
  uint32_t generation = 0;               // of the router after it
  std::vector<uint32_t> flushed_vrfs;    // FlowFlush ops; ~0 = all. The caller ends the flows.
};
// port_in_use(context, port): whether the data plane has such a port.
ApplyResult apply(const std::vector<Op>& ops, Router& router,
                  bool (*port_exists)(void* context, PortId port), void* port_context);

enum class DumpTable : uint32_t {
  Router, Vrfs, Vifs, NextHops, Routes, Macs, Labels, Vnis, FloatingIps, SourceNats, Policies, kCount,
};
// Appends ops (each with header) to `out` until it holds at least `limit` bytes or the table ends.
// `cursor` is opaque, empty to start, and empty again when done. vrf: only that VRF's routes or MACs;
// invalid = all.
Status dump(Router& router, DumpTable table, VrfId vrf, std::string& cursor, size_t limit,
            std::vector<uint8_t>& out);

// JSON text: {"version":1,"types":…,"structs":[{name,fields:[{name,type|list}]}],"ops":[{code,name,
// wire,fields}],"status":[…],"dropReasons":[{name,printed,why}],"flowDrops":[…],"vifCounters":[…],
// "vrfCounters":[…],"tables":[…],"limits":{…},"flowRecord":[…],"event":[…]}
std::string layout_json();

}  // namespace vrouter
