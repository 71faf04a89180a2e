// The core's own description, as JSON: all that the TypeScript side would otherwise have to copy by
// hand. Names, codes and order come from the .def lists; what is listed here by hand (flags,
// limits) is held against its source by layout_test.cc.
#include <initializer_list>

#include "program/program.h"
#include "state/counters.h"

namespace vrouter {
namespace {

// Writes what it is told; knows only where commas go.
class Json {
 public:
  std::string text;

  Json& open(char bracket) {
    separate();
    text += bracket;
    first_ = true;
    return *this;
  }
  Json& close(char bracket) {
    text += bracket;
    first_ = false;
    return *this;
  }
  Json& key(const char* name) {
    string(name);
    text += ':';
    first_ = true;
    return *this;
  }
  Json& string(const char* value) {
    separate();
    text += '"';
    for (const char* c = value; *c != 0; ++c) {
      if (*c == '"' || *c == '\\') text += '\\';
      text += *c;
    }
    text += '"';
    return *this;
  }
  Json& number(uint64_t value) {
    separate();
    text += std::to_string(value);
    return *this;
  }
  Json& raw(const std::string& value) {
    separate();
    text += value;
    return *this;
  }
  Json& pair(const char* name, const char* value) { return key(name).string(value); }
  Json& pair(const char* name, uint64_t value) { return key(name).number(value); }

 private:
  void separate() {
    if (!first_) text += ',';
    first_ = false;
  }
  bool first_ = true;
};

struct WireType {
  const char* name;
  uint32_t bytes;  // 0: they vary
};
constexpr WireType kTypes[] = {{"u8", 1},  {"u16", 2},      {"u32", 4},     {"u64", 8},
                               {"mac", 6}, {"address", 17}, {"prefix", 18}, {"name", 0}};

template <class T>
constexpr const char* kTypeName = nullptr;
template <>
constexpr const char* kTypeName<uint8_t> = "u8";
template <>
constexpr const char* kTypeName<uint16_t> = "u16";
template <>
constexpr const char* kTypeName<uint32_t> = "u32";
template <>
[[maybe_unused]] constexpr const char* kTypeName<uint64_t> = "u64";
template <>
constexpr const char* kTypeName<Mac> = "mac";
template <>
constexpr const char* kTypeName<Address> = "address";
template <>
constexpr const char* kTypeName<Prefix> = "prefix";
template <>
constexpr const char* kTypeName<std::string> = "name";

template <class T>
void field(Json& json, const char* name) {
  static_assert(kTypeName<T> != nullptr, "a wire type without a name");
  json.open('{').pair("name", name).pair("type", kTypeName<T>).close('}');
}

void list(Json& json, const char* name, const char* element) {
  json.open('{').pair("name", name).key("type").open('{').pair("list", element).close('}');
  json.close('}');
}

// Elements of the arrays "structs" and "ops".
void describe(Json& structs, Json& ops) {
#define STRUCT(Name)      \
  {                       \
    Json& json = structs; \
    json.open('{').pair("name", #Name).key("fields").open('[');
#define OP(code, Name, wire)                                                  \
  {                                                                           \
    Json& json = ops;                                                         \
    json.open('{').pair("code", code).pair("name", #Name).pair("wire", wire); \
    json.key("fields").open('[');
#define FIELD(Type, name) field<Type>(json, #name);
#define LIST(Element, name) list(json, #name, #Element);
#define END(Name)             \
  json.close(']').close('}'); \
  }
#include "state/objects.def"
#undef STRUCT
#undef OP
#undef FIELD
#undef LIST
#undef END
}

void reasons(Json& json) {
  json.key("status").open('[');
#define STATUS(name, code, text) \
  json.open('{').pair("name", #name).pair("code", code).pair("text", text).close('}');
#include "base/status.def"
#undef STATUS
  json.close(']').key("dropReasons").open('[');
#define DROP(name, printed, why) \
  json.open('{').pair("name", #name).pair("printed", printed).pair("why", why).close('}');
#include "base/drop_reasons.def"
#undef DROP
  json.close(']').key("flowDrops").open('[');
#define FLOW_DROP(name, printed) \
  json.open('{').pair("name", #name).pair("printed", printed).close('}');
#include "base/flow_drop_reasons.def"
#undef FLOW_DROP
  json.close(']');
}

void names(Json& json, const char* key, std::initializer_list<const char*> list) {
  json.key(key).open('[');
  for (const char* name : list) json.string(name);
  json.close(']');
}

void counters(Json& json) {
  names(json, "totals",
        {"received", "forwarded", "replied", "punted", "dropped", "consumed", "generated", "held"});
#define NAME(name) #name,
  names(json, "vifCounters", {VROUTER_VIF_COUNTERS(NAME)});
  names(json, "vrfCounters", {VROUTER_VRF_COUNTERS(NAME)});
#undef NAME
}

struct Bit {
  const char* name;
  uint32_t bit;
};
void bits(Json& json, const char* key, std::initializer_list<Bit> list) {
  json.key(key).open('[');
  for (const Bit& b : list) json.open('{').pair("name", b.name).pair("bit", b.bit).close('}');
  json.close(']');
}

void flags(Json& json) {
  bits(json, "vifFlags",
       {{"policy", kVifPolicy},
        {"l3", kVifL3},
        {"l2", kVifL2},
        {"dhcp_trap", kVifDhcpTrap},
        {"no_proxy", kVifNoProxy},
        {"unknown_flood", kVifUnknownFlood},
        {"drop_new_flows", kVifDropNewFlows},
        {"proxy", kVifProxy},
        {"service", kVifService},
        {"gateway_trap", kVifGatewayTrap}});
  bits(json, "nextHopFlags",
       {{"policy", kNhPolicy},
        {"bridge", kNhBridge},
        {"unicast_flood", kNhUnicastFlood},
        {"validate_source", kNhValidateSource}});
  bits(json, "routeFlags",
       {{"label_valid", kRouteLabelValid},
        {"proxy", kRouteProxy},
        {"trap", kRouteTrap},
        {"flood", kRouteFlood}});
  bits(json, "macFlags", {{"dhcp_flood", kMacDhcpFlood}});
  bits(json, "routerFlags",
       {{"uncond_rst", kRouterUncondRst}, {"no_mss_clamp", kRouterNoMssClamp}});
  bits(json, "hashFields",
       {{"protocol", kHashProtocol},
        {"source", kHashSource},
        {"source_port", kHashSourcePort},
        {"destination", kHashDestination},
        {"destination_port", kHashDestinationPort}});
  // In order of their numbers.
  names(json, "vifTypes", {"host", "agent", "physical", "virtual"});
  names(json, "encaps", {"none", "mpls_over_gre", "mpls_over_udp", "vxlan"});
  names(json, "replicateKinds", {"root", "encap", "fabric", "evpn", "tor"});
  names(json, "natDirections", {"both", "ingress", "egress"});
}

void limits(Json& json) {
  json.key("limits").open('{');
  json.pair("maxVifs", kMaxVifs);
  json.pair("maxVrfs", kMaxVrfs);
  json.pair("maxNextHops", kMaxNextHops);
  json.pair("maxLabel", kMaxLabel);
  json.pair("noLabel", kNoLabel);
  json.pair("maxVni", kMaxVni);
  json.pair("maxRoutes", kMaxRoutes);
  json.pair("maxMacs", kMaxMacs);
  json.pair("maxPolicies", kMaxPolicies);
  json.pair("maxPolicyRules", kMaxPolicyRules);
  json.pair("maxVifPolicies", kMaxVifPolicies);
  json.pair("maxFloatingIps", kMaxFloatingIps);
  json.pair("maxFloatingIpsPerVif", kMaxFloatingIpsPerVif);
  json.pair("maxPortMaps", kMaxPortMaps);
  json.pair("maxSourceNats", kMaxSourceNats);
  json.pair("maxEcmpMembers", kMaxEcmpMembers);
  json.pair("maxTunnelLegs", kMaxTunnelLegs);
  json.pair("maxReplicas", kMaxReplicas);
  json.pair("maxNextHopDepth", kMaxNextHopDepth);
  json.pair("maxLookups", kMaxLookups);
  json.pair("maxPorts", kMaxPorts);
  json.pair("maxNameLength", kMaxNameLength);
  json.pair("maxProgramOps", kMaxProgramOps);
  json.pair("maxProgramBytes", kMaxProgramBytes);
  json.pair("defaultFlows", kDefaultFlows);
  json.pair("maxFlows", kMaxFlows);
  json.pair("defaultBuffers", kDefaultBuffers);
  json.pair("defaultBufferBytes", kDefaultBufferBytes);
  json.close('}');
}

}  // namespace

std::string layout_json() {
  Json structs, ops;
  structs.open('[');
  ops.open('[');
  describe(structs, ops);
  structs.close(']');
  ops.close(']');

  Json json;
  json.open('{').pair("version", kLayoutVersion).pair("magic", kProgramMagic);
  json.key("types").open('{');
  for (const WireType& type : kTypes) json.pair(type.name, type.bytes);
  json.close('}');
  json.key("structs").raw(structs.text);
  json.key("ops").raw(ops.text);
  reasons(json);
  counters(json);
  // In order of DumpTable.
  names(json, "tables",
        {"router", "vrfs", "vifs", "next_hops", "routes", "macs", "labels", "vnis", "floating_ips",
         "source_nats", "policies"});
  limits(json);
  flags(json);
  json.close('}');
  return json.text;
}

}  // namespace vrouter
