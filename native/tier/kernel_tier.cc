#include "tier/kernel_tier.h"

#include <sys/mman.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <iterator>

#include "path/express_flow.h"
#include "tier/devices.h"
#include "tier/programs.h"

namespace vrouter {
namespace {

constexpr size_t kLaneBytes = sizeof(lane) * kMaxLanes;
static_assert(sizeof(lane) == 128 && sizeof(lane_key) == 20);
static_assert(offsetof(lane, whole) == 84, "what is in front of it is the user's");
constexpr size_t kRenderedBytes = offsetof(lane, whole);

// The shape of MPLSoUDP over IPv4 that the program knows (state/rewrite.h).
bool is_mpls_over_udp4(const Rewrite& r) {
  return r.family == 4 && r.length == kLaneHeader && r.l3 == kLaneEthernet &&
         r.total_length_at == 16 && r.identification_at == 18 && r.checksum_at == 24 &&
         r.source_port_at == 34 && r.udp_length_at == 38 && r.label_at == 42 &&
         r.label_shift == 12 && r.ttl_in_label != 0 && r.l3_adjust == kLanePushed &&
         r.udp_adjust == kLanePushed - ipv4::kHeaderLength;
}

uint32_t load(const __u32& word) { return __atomic_load_n(&word, __ATOMIC_ACQUIRE); }
uint64_t load(const __u64& word) { return __atomic_load_n(&word, __ATOMIC_RELAXED); }
void store(__u32& word, uint32_t value) { __atomic_store_n(&word, value, __ATOMIC_RELEASE); }

std::string reason(const std::string& what, int error, const std::string& more = "") {
  return what + ": " + std::strerror(error) + (more.empty() ? "" : "; " + more);
}

}  // namespace

const char* tier_way_name(TierWay way) {
  constexpr const char* kNames[] = {"tenant", "tenant tap", "fabric"};
  return kNames[static_cast<uint8_t>(way)];
}

// ------------------------------------------------------------------------------------------- opening

std::unique_ptr<KernelTier> KernelTier::open(std::string* why) {
  using bpf::MapKind;
  bpf::Handle flows = bpf::make_map(MapKind::Hash, sizeof(lane_key), 4, kMaxLanes, false, "flows");
  if (!flows.ok()) {
    *why = errno == EPERM ? "CAP_BPF and CAP_NET_ADMIN are needed" : reason("a BPF map", errno);
    return nullptr;
  }
  bpf::Handle lanes = bpf::make_map(MapKind::Array, 4, sizeof(lane), kMaxLanes, true, "lanes");
  bpf::Handle verdict = bpf::make_map(MapKind::PerCpuArray, 4, 4, 1, false, "verdict");
  void* memory = lanes.ok() ? bpf::map_memory(lanes, kLaneBytes) : nullptr;
  if (!verdict.ok() || memory == nullptr) {
    *why = reason("a BPF map", errno);
    return nullptr;
  }
  return std::unique_ptr<KernelTier>(new KernelTier(
      std::move(flows), std::move(lanes), std::move(verdict), static_cast<lane*>(memory)));
}

KernelTier::KernelTier(bpf::Handle flows, bpf::Handle lanes, bpf::Handle verdict, lane* memory)
    : flows_(std::move(flows)),
      map_(std::move(lanes)),
      verdict_(std::move(verdict)),
      lanes_(memory),
      slots_(kMaxLanes) {
  free_.reserve(kMaxLanes);
  for (uint32_t i = kMaxLanes; i > 0; --i) free_.push_back(i - 1);
  of_flow_.reserve(kMaxLanes);
  again_.reserve(kMaxLanes);
  unfit_.reserve(kMaxLanes);
}

// ----------------------------------------------------------------------------------------- devices

namespace {

// Loads a program and puts it at a device. "" or why not.
std::string place(const char* name, std::span<const uint64_t> program, const bpf::Fills& fills,
                  uint32_t device, bpf::Hook hook, std::vector<bpf::Handle>& held) {
  std::string why;
  const bpf::Handle loaded =
      bpf::load_program(bpf::ProgramKind::Classifier, program, fills, name, &why);
  if (!loaded.ok()) return reason(std::string("program ") + name, errno, why);
  bpf::Handle link = bpf::attach(loaded, device, hook);
  if (!link.ok()) {
    return errno == EINVAL ? "this kernel has no TCX (Linux 6.6)"
                           : reason(std::string("attaching ") + name, errno);
  }
  held.push_back(std::move(link));
  return "";
}

}  // namespace

std::string KernelTier::join_tenant(Joined& made) const {
  made.index = device_index(made.spec.device);
  if (made.index == 0) return "no device " + made.spec.device;
  const bpf::Fills with = fills(made.port);
  std::string why =
      place("tenant_in", programs::tenant_in, with, made.index, bpf::Hook::Ingress, made.held);
  if (!why.empty()) return why;
  // After the program that goes by its verdict.
  const bpf::Handle filter = bpf::load_program(
      bpf::ProgramKind::SocketFilter, programs::tenant_filter, with, "tenant_filter", &why);
  if (!filter.ok()) return reason("program tenant_filter", errno, why);
  const int fd = filter.fd();
  if (setsockopt(made.spec.socket, SOL_SOCKET, SO_ATTACH_BPF, &fd, sizeof fd) != 0) {
    return reason("filter of " + made.spec.device, errno);
  }
  return "";
}

std::string KernelTier::join_tap(Joined& made) const {
  made.companion = "vrt" + std::to_string(made.port.value);
  const std::string& pair = made.companion;
  std::string why = make_companion(pair, made.spec.netns);
  if (!why.empty()) {
    made.companion.clear();
    return why;
  }
  made.index = device_index(pair);
  bpf::Fills with = fills(made.port);
  why = place("companion_in", programs::companion_in, with, made.index, bpf::Hook::Ingress,
              made.held);
  if (!why.empty()) return why;
  // The tenant's kernel merges what we send it in segments, if ours is known not to send anything else.
  bool merges = made.spec.merges && set_device_segments(pair, false);
  std::string inside;
  why = in_namespace(made.spec.netns, [&] {
    const uint32_t tap = device_index(made.spec.device);
    const uint32_t end = device_index(pair);
    if (tap == 0 || end == 0) {
      inside = "no device " + made.spec.device + " there";
      return;
    }
    merges = merges && set_device_merges(pair, true);
    with.device = tap;
    inside =
        place("companion_out", programs::companion_out, with, end, bpf::Hook::Ingress, made.held);
    with.device = end;
    if (inside.empty()) {
      inside = place("tap_out", programs::tap_out, with, tap, bpf::Hook::Egress, made.held);
    }
  });
  made.spec.merges = merges;
  return why.empty() ? inside : why;
}

std::string KernelTier::join_fabric(Joined& made) const {
  made.index = device_index(made.spec.device);
  if (made.index == 0) return "no device " + made.spec.device;
  const bpf::Fills with = fills(made.port);
  return place("fabric_in", programs::fabric_in, with, made.index, bpf::Hook::Ingress, made.held);
}

KernelTier::Joined KernelTier::prepare(PortId port, const TierDevice& device) const {
  Joined made;
  made.port = port;
  made.spec = device;
  made.why = device.way == TierWay::Tenant      ? join_tenant(made)
             : device.way == TierWay::TenantTap ? join_tap(made)
                                                : join_fabric(made);
  if (made.why.empty()) return made;
  made.held.clear();
  let_go(made);
  made.companion.clear();
  return made;
}

void KernelTier::let_go(const Joined& one) {
  if (one.spec.way == TierWay::Tenant) {
    const int none = 0;
    setsockopt(one.spec.socket, SOL_SOCKET, SO_DETACH_BPF, &none, sizeof none);
  }
  if (!one.companion.empty()) remove_companion(one.companion);
}

KernelTier::~KernelTier() {
  for (const Joined& one : joined_) let_go(one);
  munmap(lanes_, kLaneBytes);
}

void KernelTier::admit(Joined&& prepared) { joined_.push_back(std::move(prepared)); }

std::vector<KernelTier::Joined> KernelTier::leave(Context& context, PortId port) {
  std::vector<Joined> gone;
  const Joined* one = joined(port);
  for (uint32_t i = 0; one != nullptr && i < used_; ++i) {
    const Slot& slot = slots_[i];
    if (slot.state == Slot::Open && (slot.port == port || lanes_[i].device == one->index)) {
      close(context, i);
    }
  }
  const auto stays = std::stable_partition(joined_.begin(), joined_.end(),
                                           [&](const Joined& each) { return each.port != port; });
  std::move(stays, joined_.end(), std::back_inserter(gone));
  joined_.erase(stays, joined_.end());
  return gone;
}

const KernelTier::Joined* KernelTier::joined(PortId port) const {
  const auto at = std::find_if(joined_.begin(), joined_.end(), [&](const Joined& one) {
    return one.port == port && one.why.empty();
  });
  return at != joined_.end() ? &*at : nullptr;
}

// ------------------------------------------------------------------------------------------- lanes

// From a tenant into a tunnel.
bool KernelTier::render_out(Context& context, const Flow& flow, uint64_t hash,
                            Rendered& out) const {
  const Router& router = context.router;
  const Entrance entrance = entrance_of(router, out.slot.in_vif);
  if (entrance.kind != Entrance::Tenant || entrance.by != By::Flow ||
      entrance.scope != flow.scope) {
    return false;
  }
  const VifSpec& spec = entrance.vif->spec;
  const bool dhcp =
      entrance.dhcp_trap && flow.protocol == ip::kUdp && flow.source_port == udp::kPortDhcpClient;
  const bool gateway = to_others<Ip4>(entrance, flow.destination4);
  const Joined* in = joined(PortId{spec.port});
  const Exit exit = exit_by(router, NextHopId{flow.next_hop()});
  if (dhcp || gateway || in == nullptr || in->spec.way == TierWay::Fabric || !exit.tunnel ||
      exit.rewrite == nullptr || !is_mpls_over_udp4(*exit.rewrite) ||
      flow.label() - kNoLabel < exit.unfit) {
    return false;
  }
  const NextHop* tunnel = router.next_hop(NextHopId{flow.next_hop()});
  const Joined* nic = joined(exit.port);
  if (tunnel->legs != nullptr || tunnel->encap != Encap::MplsOverUdp || nic == nullptr ||
      nic->spec.way != TierWay::Fabric) {
    return false;
  }
  const Rewrite& rewrite = *exit.rewrite;
  out.to.device = nic->index;
  out.to.most = exit.most;
  out.to.checksum_base = rewrite.checksum_base;
  std::memcpy(out.to.header, rewrite.bytes, kLaneHeader);
  store_be16(out.to.header + rewrite.source_port_at, entropy_port(hash));
  store_be32(out.to.header + rewrite.label_at,
             flow.label() << rewrite.label_shift | rewrite.label_low);
  std::memcpy(out.to.mac, spec.mac.bytes.data(), 6);
  out.to.gateway_too = 1;
  out.slot.port = PortId{spec.port};
  out.slot.key.in = spec.port;
  out.slot.key.way_protocol = kLaneOut << 8 | flow.protocol;
  out.slot.out_vif = exit.vif;
  out.slot.in_frame = kLaneEthernet;
  out.slot.out_frame = kLaneHeader;
  out.slot.tunnel = true;
  return true;
}

// Out of a tunnel to a tenant.
bool KernelTier::render_in(Context& context, const Flow& flow, Rendered& out) const {
  const Router& router = context.router;
  const OfferedFlow& offered = out.slot.offered;
  const Entrance entrance = entrance_of(router, offered.vif);
  if (entrance.kind != Entrance::Fabric || offered.label > kMaxLabel) return false;
  // The address they come to is still ours, and the label the flow's.
  const uint8_t* to = reinterpret_cast<const uint8_t*>(&offered.outer_destination);
  const Route* own = router.route(entrance.vrf, Family::V4, to);
  const NextHop* ours = own != nullptr ? router.next_hop(own->next_hop) : nullptr;
  if (ours == nullptr || ours->kind != NextHopKind::Receive ||
      scope_behind(context, offered.label, flow.destination4) != flow.scope) {
    return false;
  }
  const Vif* vif = entrance.vif;
  const Joined* nic = joined(PortId{vif->spec.port});
  const Exit exit = exit_by(router, NextHopId{flow.next_hop()});
  const Joined* tenant = exit.rewrite != nullptr ? joined(exit.port) : nullptr;
  if (nic == nullptr || nic->spec.way != TierWay::Fabric || tenant == nullptr ||
      tenant->spec.way == TierWay::Fabric || exit.tunnel || exit.rewrite->length != kLaneEthernet ||
      flow.label() - kNoLabel < exit.unfit) {
    return false;
  }
  const NextHopId from{flow.rpf_next_hop()};
  if (from != kDiscard) {
    const NextHop* must = router.next_hop(from);
    if (must == nullptr || must->kind != NextHopKind::Tunnel || must->destination4 == 0) {
      return false;
    }
    out.to.outer_source = must->destination4;
  }
  out.to.outer_destination = offered.outer_destination;
  out.to.device = tenant->index;
  out.to.most = exit.most;
  std::memcpy(out.to.header, exit.rewrite->bytes, kLaneEthernet);
  if (exit.rewrite->inner_ether_type_at != Rewrite::kNone) {
    store_be16(out.to.header + exit.rewrite->inner_ether_type_at, ethernet::kTypeIpv4);
  }
  std::memcpy(out.to.mac, vif->spec.mac.bytes.data(), 6);
  out.to.merge =
      tenant->spec.way == TierWay::TenantTap && tenant->spec.merges && flow.protocol == ip::kTcp;
  out.slot.port = PortId{vif->spec.port};
  out.slot.key.in = offered.label;
  out.slot.key.way_protocol = kLaneIn << 8 | flow.protocol;
  out.slot.out_vif = exit.vif;
  out.slot.in_frame = kLaneHeader;
  out.slot.out_frame = kLaneEthernet;
  return true;
}

// What the express room asks of a flow (path/express_flow.h, carry_flow()), once; and the lane that follows.
bool KernelTier::render(Context& context, const OfferedFlow& offered, Rendered& out) const {
  const FlowTable& flows = context.flows;
  if (!flows.valid(offered.flow)) return false;
  const Flow& flow = flows[offered.flow];
  const bool any = (flow.flags & kFlowTranslated) != 0;
  const Router& router = context.router;
  const bool current = flow.generation == router.generation ||
                       flow.generation >= router.generation_for(flow.vrf, any);
  const bool ports = flow.protocol == ip::kTcp || flow.protocol == ip::kUdp;
  if (flow.family != Family::V4 || !ports || flow.action != FlowAction::Forward || !current ||
      flow.generation == kDeciding || (flow.flags & kFlowL2) != 0 ||
      (flow.flags & (kFlowInitiator | kFlowReplied)) == 0) {
    return false;
  }
  if (flow.protocol == ip::kTcp && (!settled(flow) || (flow.tcp & kTcpDead) != 0)) return false;
  out = Rendered{};
  Slot& slot = out.slot;
  slot.flow = offered.flow;
  slot.offered = offered;
  slot.in_vif = offered.vif;
  slot.vrf = flow.vrf;
  slot.composite = flow.has_member();
  std::memcpy(&slot.key.source, flow.source4, 4);
  std::memcpy(&slot.key.destination, flow.destination4, 4);
  uint8_t ports4[4];
  store_be16(ports4, flow.source_port);
  store_be16(ports4 + 2, flow.destination_port);
  std::memcpy(&slot.key.ports, ports4, 4);
  out.to.reverse = kLaneNone;
  const uint64_t hash = flows.hash(
      FlowKey4(flow.source4, flow.source_port, flow.destination_port, flow.protocol, flow.scope));
  return offered.outer_destination == 0 ? render_out(context, flow, hash, out)
                                        : render_in(context, flow, out);
}

void KernelTier::offer(Context& context, const OfferedFlow& offered) {
  if (paused_ || joined_.empty() || lane_of(offered.flow) != kLaneNone || free_.empty()) return;
  if (unfit_.contains(offered.flow.value)) return;
  Rendered made;
  if (!render(context, offered, made)) return;
  const uint32_t index = free_.back();
  lane& to = lanes_[index];
  made.to.reverse = lane_of(context.flows.reverse(offered.flow));
  made.slot.since_ns = context.now_ns;
  made.slot.state = Slot::Open;
  to = made.to;  // closed: its state is zero
  store(to.state, kLaneOpen);
  if (!bpf::map_update(flows_, &made.slot.key, &index)) {
    store(to.state, kLaneClosed);
    return;
  }
  free_.pop_back();
  slots_[index] = made.slot;
  of_flow_[offered.flow.value] = index;
  used_ = std::max(used_, index + 1);
  ++open_;
  if (to.reverse != kLaneNone) store(lanes_[to.reverse].reverse, index);
}

// No packet is taken any more. What is still on its way to a second program finds its lane by its key, which stays
// until forget(), and is counted for its vifs, not for the flow, which may be gone.
void KernelTier::close(Context& context, uint32_t index) {
  Slot& slot = slots_[index];
  if (slot.state != Slot::Open) return;
  store(lanes_[index].state, kLaneClosing);
  of_flow_.erase(slot.flow.value);
  settle(context, index);
  if (load(lanes_[index].unfit) != 0 && unfit_.size() < kMaxLanes) unfit_.insert(slot.flow.value);
  slot.flow = FlowId{};
  slot.state = Slot::Closing;
  slot.since_ns = context.now_ns;
  --open_;
  const uint32_t other = lanes_[index].reverse;
  if (other < kMaxLanes && lanes_[other].reverse == index) {
    store(lanes_[other].reverse, kLaneNone);
  }
}

// Its key, unless the same flow has another lane by now.
void KernelTier::forget(uint32_t index) {
  const lane_key& key = slots_[index].key;
  uint32_t leads_to = kLaneNone;
  if (bpf::map_find(flows_, &key, &leads_to) && leads_to == index) bpf::map_delete(flows_, &key);
}

// Into the flow: what it has carried since last time. Its vifs' come by collect().
void KernelTier::settle(Context& context, uint32_t index) {
  Slot& slot = slots_[index];
  const lane& from = lanes_[index];
  const uint64_t packets = load(from.packets);
  const uint64_t bytes = load(from.bytes);
  const uint64_t more = packets - slot.packets;
  if (more == 0) return;
  const uint64_t more_bytes = bytes - slot.bytes;
  slot.packets = packets;
  slot.bytes = bytes;
  if (slot.state == Slot::Open) slot.since_ns = context.now_ns;
  packets_ += more;
  bytes_ += more_bytes;
  if (slot.flow.valid() && context.flows.valid(slot.flow)) {
    Flow& flow = context.flows[slot.flow];
    context.flows.cold(slot.flow).count(more, more_bytes);
    flow.last_seen = now_ms(context);
    if (flow.protocol == ip::kTcp) flow.tcp_ack = load(from.acknowledged);
  }
}

void KernelTier::collect(Context& context) {
  collected_ns_ = context.now_ns;
  Counters& counters = context.counters;
  for (uint32_t i = 0; i < used_; ++i) {
    Slot& slot = slots_[i];
    if (slot.state == Slot::Free) continue;
    settle(context, i);
    const uint64_t packets = slot.packets - slot.shown_packets;
    const uint64_t bytes = slot.bytes - slot.shown_bytes;
    if (packets != 0) {
      slot.shown_packets = slot.packets;
      slot.shown_bytes = slot.bytes;
      counters.received += packets;
      counters.forwarded += packets;
      if (slot.in_vif.value < counters.vifs.size()) {
        counters.vifs[slot.in_vif.value].rx_packets += packets;
        counters.vifs[slot.in_vif.value].rx_bytes += bytes + packets * slot.in_frame;
      }
      if (slot.out_vif.value < counters.vifs.size()) {
        counters.vifs[slot.out_vif.value].tx_packets += packets;
        counters.vifs[slot.out_vif.value].tx_bytes += bytes + packets * slot.out_frame;
      }
      if (slot.vrf < counters.vrfs.size()) {
        VrfCounters& vrf = counters.vrfs[slot.vrf];
        (slot.tunnel ? vrf.udp_mpls_tunnels : vrf.encaps) += packets;
        if (slot.composite) vrf.ecmp_composites += packets;
      }
    }
    // Another worker may be ahead of this one by a breath.
    const uint64_t age = context.now_ns - std::min(context.now_ns, slot.since_ns);
    if (slot.state == Slot::Open) {
      // Ended by a program, or without packets: others may need the room.
      if (load(lanes_[i].state) != kLaneOpen || age > kIdleNs) close(context, i);
    } else if (slot.state == Slot::Closing && age > kClosingNs) {
      store(lanes_[i].state, kLaneClosed);
      forget(i);
      slot.state = Slot::Resting;
      slot.since_ns = context.now_ns;
    } else if (slot.state == Slot::Resting && age > kRestNs) {
      std::memset(&lanes_[i], 0, sizeof lanes_[i]);
      slot = Slot{};
      free_.push_back(i);
    }
  }
  offer_again(context);
}

// A flow that is another's by now is looked at as any other: what it was offered with must fit it.
void KernelTier::offer_again(Context& context) {
  for (Again& one : again_) {
    offer(context, one.offered);
    const bool done =
        lane_of(one.offered.flow) != kLaneNone || !context.flows.valid(one.offered.flow);
    one.tries = done ? 0 : one.tries - 1;
  }
  std::erase_if(again_, [](const Again& one) { return one.tries == 0; });
}

void KernelTier::met(Context& context, FlowId flow) {
  if (open_ == 0) return;
  const uint32_t index = lane_of(flow);
  const uint32_t other = lane_of(context.flows.reverse(flow));
  if (index != kLaneNone) close(context, index);
  if (other != kLaneNone) close(context, other);
}

// A hold: whatever was committed meanwhile is in force when it ends.
void KernelTier::revise(Context& context) {
  if (context.router.generation == generation_) return;
  generation_ = context.router.generation;
  for (uint32_t i = 0; i < used_ && open_ != 0; ++i) {
    if (slots_[i].state != Slot::Open) continue;
    Rendered now;
    bool same = render(context, slots_[i].offered, now);
    if (same) {
      const lane& was = lanes_[i];
      now.to.state = was.state;
      now.to.reverse = was.reverse;
      same = std::memcmp(&now.to, &was, kRenderedBytes) == 0 &&
             std::memcmp(&now.slot.key, &slots_[i].key, sizeof(lane_key)) == 0 &&
             now.slot.out_vif == slots_[i].out_vif;
    }
    if (same) continue;
    if (again_.size() < kMaxLanes) again_.push_back({slots_[i].offered, kAgainTries});
    close(context, i);
  }
}

void KernelTier::pause(bool on, Context& context) {
  for (uint32_t i = 0; on && !paused_ && i < used_; ++i) close(context, i);
  paused_ = on;
}

}  // namespace vrouter
