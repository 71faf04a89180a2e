// Fixed-size records handed to JavaScript as bytes: one struct and one list of its fields each, so
// that src/dataplane/layout.ts is generated, never copied by hand.
// Little-endian host layout; addresses in network order, IPv4 in the first 4 of 16 bytes.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>

#include "state/events.h"
#include "worker/capture.h"

namespace vrouter {

// X(type, name): one half of a flow, with what display needs from the tables it refers to.
#define VROUTER_FLOW_RECORD(X)                                                         \
  X(u64, packets)                                                                      \
  X(u64, bytes)                                                                        \
  X(u32, index)                                                                        \
  X(u32, reverse)                                                                      \
  X(u32, vrf)             /* its own */                                                \
  X(u32, destination_vrf) /* its reverse half's: where its destination is looked up */ \
  X(u32, key_next_hop)                                                                 \
  X(u32, rpf_next_hop)                                                                 \
  X(u32, next_hop)                                                                     \
  X(u32, label)                                                                        \
  X(u32, vif) /* 0xffff: fabric */                                                     \
  X(u32, idle_ms)                                                                      \
  X(u16, source_port)                                                                  \
  X(u16, destination_port)                                                             \
  X(u16, nat_source_port)                                                              \
  X(u16, nat_destination_port)                                                         \
  X(u16, outer_source_port) /* 0: does not leave by a UDP tunnel */                    \
  X(u16, tcp)               /* FlowTcp */                                              \
  X(u16, member)            /* pinned ECMP member; 0xffff: none */                     \
  X(u16, underlay_leg)      /* of its tunnel's legs; 0xffff: one there is, or none */  \
  X(u8, family)                                                                        \
  X(u8, protocol)                                                                      \
  X(u8, action) /* FlowAction */                                                       \
  X(u8, drop)   /* FlowDrop */                                                         \
  X(u8, nat)    /* FlowNat */                                                          \
  X(u8, flags)  /* FlowFlag */                                                         \
  X(u8, generation_id)                                                                 \
  X(u8, source_family) /* of source_info; 0: its packets do not come by a tunnel */    \
  X(bytes16, source)                                                                   \
  X(bytes16, destination)                                                              \
  X(bytes16, nat_source)                                                               \
  X(bytes16, nat_destination)                                                          \
  X(bytes16, source_info) /* far end of the tunnel its packets come from */

namespace record {
using u64 = uint64_t;
using u32 = uint32_t;
using u16 = uint16_t;
using u8 = uint8_t;
struct bytes16 {
  uint8_t data[16];
};

#define VROUTER_DECLARE(type, name) type name;
struct Flow {
  VROUTER_FLOW_RECORD(VROUTER_DECLARE)
};
#undef VROUTER_DECLARE
static_assert(sizeof(Flow) == 160, "no padding: 56 bytes of u64 and u32, 16 of u16, 8 of u8, 80");

inline void add_field(std::string& out, const char* type, const char* name, size_t offset) {
  if (out.back() != '[') out += ',';
  out += std::string("{\"name\":\"") + name + "\",\"type\":\"" + type +
         "\",\"offset\":" + std::to_string(offset) + "}";
}

// JSON text: {"flowRecord":{"size":…,"fields":[{name,type,offset}]},"eventRecord":{…}, …}
inline std::string layout_json() {
  std::string out = "{\"flowRecord\":{\"size\":" + std::to_string(sizeof(Flow)) + ",\"fields\":[";
#define VROUTER_FIELD(type, name) add_field(out, #type, #name, offsetof(Flow, name));
  VROUTER_FLOW_RECORD(VROUTER_FIELD)
#undef VROUTER_FIELD
  out += "]},\"eventRecord\":{\"size\":" + std::to_string(sizeof(Event)) + ",\"fields\":[";
  const size_t key = offsetof(Event, key);
  add_field(out, "u64", "time_ns", offsetof(Event, time_ns));
  add_field(out, "u32", "kind", offsetof(Event, kind));
  add_field(out, "u32", "flow", offsetof(Event, flow));
  add_field(out, "u32", "reverse", offsetof(Event, reverse));
  add_field(out, "u32", "vrf", offsetof(Event, vrf));
  add_field(out, "bytes16", "source", key + offsetof(FlowKey, source));
  add_field(out, "bytes16", "destination", key + offsetof(FlowKey, destination));
  add_field(out, "u16", "source_port", key + offsetof(FlowKey, source_port));
  add_field(out, "u16", "destination_port", key + offsetof(FlowKey, destination_port));
  add_field(out, "u8", "protocol", key + offsetof(FlowKey, protocol));
  add_field(out, "u8", "family", key + offsetof(FlowKey, family));
  add_field(out, "u8", "action", offsetof(Event, action));
  add_field(out, "u8", "drop", offsetof(Event, drop));
  add_field(out, "u16", "vif", offsetof(Event, vif));
  add_field(out, "u64", "packets", offsetof(Event, packets));
  add_field(out, "u64", "bytes", offsetof(Event, bytes));
  out +=
      "]},\"captureRecord\":{\"size\":" + std::to_string(sizeof(CaptureRecord)) + ",\"fields\":[";
#define VROUTER_FIELD(type, name) add_field(out, #type, #name, offsetof(CaptureRecord, name));
  VROUTER_CAPTURE_RECORD(VROUTER_FIELD)
#undef VROUTER_FIELD
  return out + "]}}";
}

}  // namespace record
}  // namespace vrouter
