// KernelTier: established connections through the kernel, without a process on their way: tc BPF programs
// (tier.bpf.c) on the tenants' devices and the NIC, which look packets up in a map of ours. The flow table stays
// the authority: what is in the map is a copy of what the express room would do (a lane, lane.h), made when a
// flow has had 256 packets, and taken away as soon as the flow is decided again, ends, or is met in the rooms.
//
// Invariants
//  * A lane is open only while its flow's decision is current: whoever commits, holds; at the end of a hold, before
//    workers go on, each lane is rendered again and closed where it would look otherwise: revise().
//  * A slot is used again only kRestNs after it was closed: no program that has looked it up is still running.
//  * What was carried is counted as if the rooms had done it: flow, vifs, VRF, totals: collect().
//  * Programs at devices are held by descriptors of this process: with it, they go. A companion stays until the next
//    process replaces it; so does the filter of a socket that another process keeps (af_packet_port.cc, adopt()).
// Which flows: whole TCP and UDP over IPv4, not translated, from a tenant into MPLSoUDP over IPv4 or out of it.
// Called InRooms, or by the control side while all workers are held.
#pragma once
#include <memory>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "path/context.h"
#include "path/tier.h"
#include "tier/bpf.h"
#include "tier/lane.h"

namespace vrouter {

inline constexpr uint32_t kMaxLanes = 4096;  // halves of connections
inline constexpr uint64_t kCollectNs = 100'000'000;
inline constexpr uint64_t kClosingNs = 20'000'000;  // for what is between two programs
inline constexpr uint64_t kRestNs = 1'000'000'000;
inline constexpr uint32_t kAgainTries = 10;  // of collect(), for a flow that a commit has touched
inline constexpr uint64_t kIdleNs = 10'000'000'000;  // a lane without packets makes room

// How a port's packets meet the kernel.
enum class TierWay : uint8_t { Tenant, TenantTap, Fabric };
const char* tier_way_name(TierWay way);

struct TierDevice {
  TierWay way = TierWay::Tenant;
  std::string device;  // Tenant: the veth; TenantTap: the TAP, in netns; Fabric: the NIC
  std::string netns;   // TenantTap
  int socket = -1;     // Tenant: the port's AF_PACKET socket
  bool merges = true;  // TenantTap: segments of a plain wire are merged
};

class KernelTier : public Tier {
 public:
  // nullptr: why not.
  static std::unique_ptr<KernelTier> open(std::string* why);
  ~KernelTier() override;

  // A port and what hangs on its devices.
  struct Joined {
    PortId port;
    TierDevice spec;
    std::string companion;
    uint32_t index = 0;  // of the device on our side
    std::vector<bpf::Handle> held;
    std::string why;  // "", or why it could not be: its flows stay in this process
  };
  // --- control side; devices and programs take milliseconds, so nobody is held meanwhile ---
  Joined prepare(PortId port, const TierDevice& device) const;
  static void let_go(const Joined& one);  // of what has left, or never was admitted

  // --- control side, while workers are held ---
  void admit(Joined&& prepared);
  std::string join(PortId port, const TierDevice& device) {  // both, where nobody has to wait
    Joined made = prepare(port, device);
    const std::string why = made.why;
    admit(std::move(made));
    return why;
  }
  std::vector<Joined> leave(Context& context, PortId port);  // what let_go() is due for
  void revise(Context& context);                             // after anything was committed
  void pause(bool on, Context& context);  // captures and traces see all packets, or none is carried

  // --- Tier ---
  void offer(Context& context, const OfferedFlow& offered) override;
  void met(Context& context, FlowId flow) override;
  void erased(Context& context, FlowId forward, FlowId reverse) {  // … of its pair
    met(context, forward);
    unfit_.erase(forward.value);
    unfit_.erase(reverse.value);
  }

  // Counts what was carried, closes what has been idle or has ended, frees what has rested. Writes the counters
  // of context's worker: only the first calls it.
  void collect(Context& context);
  bool due(uint64_t now_ns) const { return now_ns - collected_ns_ >= kCollectNs; }

  const std::vector<Joined>& joined() const { return joined_; }  // refused ones, too
  uint32_t open_lanes() const { return open_; }
  uint64_t packets() const { return packets_; }
  uint64_t bytes() const { return bytes_; }
  // What a program at this port is loaded over.
  bpf::Fills fills(PortId port) const {
    return {flows_.fd(), map_.fd(), verdict_.fd(), port.value, 0};
  }

 private:
  // Ours of a lane; the kernel's is lanes_[the same index].
  struct Slot {
    FlowId flow;
    OfferedFlow offered;
    lane_key key;
    PortId port;  // its packets come in by
    VifId in_vif;
    VifId out_vif;
    uint32_t in_frame = 0;  // bytes that its frames have in front of the IP packet, as they come …
    uint32_t out_frame = 0;  // … and as they leave
    uint64_t packets = 0;    // that the flow has
    uint64_t bytes = 0;
    uint64_t shown_packets = 0;  // … and vifs and VRF
    uint64_t shown_bytes = 0;
    uint64_t since_ns = 0;  // of its state; open: of its last packet
    uint16_t vrf = 0;
    bool tunnel = false;  // leaves by one
    bool composite = false;
    enum : uint8_t { Free, Open, Closing, Resting } state = Free;
  };
  struct Rendered {
    lane to;
    Slot slot;
  };

  explicit KernelTier(bpf::Handle flows, bpf::Handle lanes, bpf::Handle verdict, lane* memory);
  bool render(Context& context, const OfferedFlow& offered, Rendered& out) const;
  bool render_out(Context& context, const Flow& flow, uint64_t hash, Rendered& out) const;
  bool render_in(Context& context, const Flow& flow, Rendered& out) const;
  const Joined* joined(PortId port) const;
  std::string join_tenant(Joined& made) const;
  std::string join_tap(Joined& made) const;
  std::string join_fabric(Joined& made) const;
  void close(Context& context, uint32_t index);
  void forget(uint32_t index);
  void offer_again(Context& context);
  void settle(Context& context, uint32_t index);  // the flow's own numbers
  uint32_t lane_of(FlowId flow) const {
    const auto at = of_flow_.find(flow.value);
    return at != of_flow_.end() ? at->second : uint32_t{kLaneNone};
  }

  bpf::Handle flows_;
  bpf::Handle map_;
  bpf::Handle verdict_;
  lane* lanes_;
  std::vector<Slot> slots_;
  std::vector<uint32_t> free_;
  std::unordered_map<uint32_t, uint32_t>
      of_flow_;  // FlowId: lane, while open; never above kMaxLanes
  // Flows whose lane a commit has closed: they have it again as soon as a packet has decided them anew, not
  // only when they have had another 256.
  struct Again {
    OfferedFlow offered;
    uint32_t tries;
  };
  std::vector<Again> again_;            // never above kMaxLanes
  std::unordered_set<uint32_t> unfit_;  // FlowIds that programs cannot carry; never above kMaxLanes
  std::vector<Joined> joined_;
  uint32_t open_ = 0;
  uint32_t used_ = 0;  // slots from here on have never been used
  uint32_t generation_ = 0;
  uint64_t collected_ns_ = 0;
  uint64_t packets_ = 0;
  uint64_t bytes_ = 0;
  bool paused_ = false;
};

}  // namespace vrouter
