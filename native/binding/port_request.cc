#include "binding/port_request.h"

#include <cstring>
#include <utility>

#include "port/af_packet_port.h"
#include "port/memory_port.h"
#include "port/pcap_port.h"
#include "port/socket_port.h"

namespace vrouter {
namespace {

constexpr uint32_t kMinMtu = 68;  // RFC 791
constexpr uint32_t kMaxMtu = 65521;
constexpr uint32_t kMaxInterfaceName = 15;  // IFNAMSIZ - 1

bool read_offloads(Napi::Env env, AddonState& state, Napi::Object spec, TapOffloads& out) {
  std::string name;
  if (!read_option(env, state, spec, "offloads", 16, name)) return false;
  if (name.empty() || name == "tenant") return true;
  if (name == "none") {
    out = TapOffloads::None;
  } else if (name == "uplink") {
    out = TapOffloads::Uplink;
  } else {
    return refuse(env, state, "offloads", "none, tenant or uplink");
  }
  return true;
}

bool read_plan(Napi::Env env, AddonState& state, Napi::Value value, FaultPlan& out) {
  Napi::Object plan;
  Napi::Value fault;
  Napi::Value from;
  Napi::Value until;
  std::string name;
  if (!read_object(env, state, value, "fault", plan) || !read_property(env, plan, "fault", fault) ||
      !read_text(env, state, fault, "fault", 32, name) ||
      !read_option(env, state, plan, "perMillion", 0, 1'000'000, out.per_million) ||
      !read_property(env, plan, "fromNs", from) || !read_property(env, plan, "untilNs", until) ||
      (!from.IsUndefined() && !read_u64(env, state, from, "fromNs", out.from_ns)) ||
      (!until.IsUndefined() && !read_u64(env, state, until, "untilNs", out.until_ns))) {
    return false;
  }
  return fault_of(name.c_str(), &out.fault) ||
         refuse(env, state, "fault", "the name of a fault (native/port/faults.def)");
}

bool read_faulty(Napi::Env env, AddonState& state, Napi::Object spec, PortRequest& out) {
  Napi::Value behind;
  Napi::Value faults;
  Napi::Value seed;
  if (!read_property(env, spec, "port", behind) || !read_property(env, spec, "faults", faults) ||
      !read_property(env, spec, "seed", seed) ||
      (!seed.IsUndefined() && !read_u64(env, state, seed, "seed", out.seed))) {
    return false;
  }
  if (!faults.IsArray() || faults.As<Napi::Array>().Length() > kMaxFaultPlans) {
    return refuse(env, state, "faults", "a list of at most " + std::to_string(kMaxFaultPlans));
  }
  const Napi::Array list = faults.As<Napi::Array>();
  out.faults.resize(list.Length());
  for (uint32_t i = 0; i < list.Length(); ++i) {
    if (!read_plan(env, state, list.Get(i), out.faults[i])) return false;
  }
  out.behind = std::make_unique<PortRequest>();
  if (!read_port_request(env, state, behind, *out.behind)) return false;
  return out.behind->kind != "faulty" || refuse(env, state, "port", "a port that is not faulty");
}

}  // namespace

bool read_port_request(Napi::Env env, AddonState& state, Napi::Value value, PortRequest& out) {
  Napi::Object spec;
  Napi::Value kind;
  if (!read_object(env, state, value, "port", spec) || !read_property(env, spec, "kind", kind) ||
      !read_text(env, state, kind, "kind", 16, out.kind)) {
    return false;
  }
  if (out.kind == "memory") {
    out.mtu = MemoryPort::kDefaultMtu;
    return read_option(env, state, spec, "mtu", kMinMtu, kMaxMtu, out.mtu);
  }
  if (out.kind == "pcap") {
    if (!read_option(env, state, spec, "read", kMaxPathBytes, out.read) ||
        !read_option(env, state, spec, "write", kMaxPathBytes, out.write)) {
      return false;
    }
    Napi::Value origin;
    if (!read_property(env, spec, "originNs", origin)) return false;
    out.paced = !origin.IsUndefined();
    if (out.paced && !read_u64(env, state, origin, "originNs", out.origin_ns)) return false;
    return !out.read.empty() || !out.write.empty() ||
           refuse(env, state, "port", "told a file to read or to write");
  }
  if (out.kind == "tap") {
    out.mtu = 1500;
    Napi::Value name;
    return read_property(env, spec, "name", name) &&
           read_text(env, state, name, "name", kMaxInterfaceName, out.name) &&
           read_option(env, state, spec, "netns", kMaxPathBytes, out.netns) &&
           read_option(env, state, spec, "joined", kMaxInterfaceName, out.joined) &&
           read_option(env, state, spec, "mtu", kMinMtu, kMaxMtu, out.mtu) &&
           read_offloads(env, state, spec, out.offloads) &&
           read_flag(env, state, spec, "coalesce", out.coalesce);
  }
  if (out.kind == "af_packet") {
    Napi::Value name;
    return read_property(env, spec, "interface", name) &&
           read_text(env, state, name, "interface", kMaxInterfaceName, out.interface) &&
           read_flag(env, state, spec, "promiscuous", out.promiscuous) &&
           read_offloads(env, state, spec, out.offloads) &&
           read_flag(env, state, spec, "coalesce", out.coalesce);
  }
  if (out.kind == "socket") {
    out.mtu = SocketPort::kDefaultMtu;
    return read_option(env, state, spec, "mtu", kMinMtu, kMaxMtu, out.mtu);
  }
  if (out.kind == "faulty") return read_faulty(env, state, spec, out);
  return refuse(env, state, "kind", "memory, pcap, tap, af_packet, socket or faulty");
}

std::unique_ptr<Port> open_port(PortRequest& request, Status* status, std::string* detail) {
  if (request.kind == "memory") {
    auto port = std::make_unique<MemoryPort>(request.mtu);
    if (port->ok()) return port;
    *status = Status::fail(StatusCode::NoMemory, "port");
    return nullptr;
  }
  if (request.kind == "tap") {
    return TapPort::open(request.name, request.netns, request.mtu, request.offloads, status,
                         detail);
  }
  if (request.kind == "af_packet") {
    return AfPacketPort::open(request.interface, request.promiscuous, status, detail);
  }
  if (request.kind == "faulty") {
    std::unique_ptr<Port> behind = open_port(*request.behind, status, detail);
    if (behind == nullptr) return nullptr;
    return std::make_unique<FaultyPort>(std::move(behind), request.faults, request.seed);
  }
  if (request.kind == "socket") {
    *status = Status::fail(StatusCode::BadValue, "fd");
    *detail = "a socket port is one end of a pair: its descriptor is needed";
    return nullptr;
  }
  auto port = PcapPort::open(request.read, request.write, status, detail);
  if (port != nullptr && request.paced) port->pace(request.origin_ns);
  return port;
}

std::unique_ptr<Port> adopt_port(const PortRequest& request, int fd, Status* status,
                                 std::string* detail) {
  if (request.kind == "tap") {
    return TapPort::adopt(fd, request.mtu, request.offloads, status, detail);
  }
  if (request.kind == "socket") return SocketPort::adopt(fd, request.mtu, status, detail);
  return AfPacketPort::adopt(fd, status, detail);
}

bool tier_device(const PortRequest& request, const Port& port, TierDevice& out) {
  if (request.kind == "af_packet") {
    out = {TierWay::Tenant, request.interface, "", port.fd(), false};
  } else if (request.kind != "tap") {
    return false;
  } else if (!request.joined.empty()) {
    out = {TierWay::Fabric, request.joined, "", -1, false};
  } else {
    out = {TierWay::TenantTap, request.name, request.netns, -1, request.coalesce};
  }
  // Frames of a plain port leave as they are on a wire: the kernel would leave work undone in them.
  return request.offloads != TapOffloads::None &&
         (out.way != TierWay::TenantTap || !request.netns.empty());
}

bool is_kernel_port(const PortRequest& request) {
  return request.kind == "tap" || request.kind == "af_packet";
}

bool has_descriptor(const PortRequest& request) {
  return is_kernel_port(request) || request.kind == "socket";
}

}  // namespace vrouter
