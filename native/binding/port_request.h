// PortRequest: a port as JavaScript asks for it (PortSpec of src/dataplane/api.ts). Read and
// checked whole before anything is opened.
#pragma once
#include <napi.h>

#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "binding/convert.h"
#include "port/faulty_port.h"
#include "port/tap_port.h"
#include "tier/kernel_tier.h"

namespace vrouter {

inline constexpr uint32_t kMaxPathBytes = 4096;

struct PortRequest {
  std::string kind, read, write, name, netns, interface, joined;
  uint32_t mtu = 0;
  bool promiscuous = true;  // the router's MAC is rarely the interface's own
  TapOffloads offloads = TapOffloads::Tenant;
  bool coalesce = true;
  bool paced = false;
  uint64_t origin_ns = 0;
  // A faulty port: its plans, its dice, and the port behind it.
  std::vector<FaultPlan> faults;
  uint64_t seed = 1;
  std::unique_ptr<PortRequest> behind;
};

bool read_port_request(Napi::Env env, AddonState& state, Napi::Value value, PortRequest& out);
std::unique_ptr<Port> open_port(PortRequest& request, Status* status, std::string* detail);
// The port over a descriptor that somebody has opened; takes it over, also when it fails.
std::unique_ptr<Port> adopt_port(const PortRequest& request, int fd, Status* status,
                                 std::string* detail);
// How the port's packets meet the kernel tier. False: they do not.
bool tier_device(const PortRequest& request, const Port& port, TierDevice& out);
// Whether it can be opened here and handed over.
bool is_kernel_port(const PortRequest& request);
// Whether it can be made of a descriptor; a socket port is made of nothing else.
bool has_descriptor(const PortRequest& request);

}  // namespace vrouter
