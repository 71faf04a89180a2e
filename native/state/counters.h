// Counters: 64-bit, monotonic, one block per worker, written only by finish() and the ports' loop.
// Layout of the exported array (readCounters) is described by layout(): first the drop reasons, then
// kVifCounters per vif, then kVrfCounters per VRF (both by id, up to the limits in use).
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "base/drop.h"
#include "base/limits.h"

namespace vrouter {

// X(name) — per vif, in this order.
#define VROUTER_VIF_COUNTERS(X) \
  X(rx_packets) X(rx_bytes) X(rx_errors) X(tx_packets) X(tx_bytes) X(tx_errors) X(drops)

// X(name) — per VRF; the lines of `vrfstats`, in the ancestor's order.
#define VROUTER_VRF_COUNTERS(X)                                                                  \
  X(discards)                                                                                    \
  X(resolves)                                                                                    \
  X(receives) X(l2_receives) X(vrf_translates) X(unknown_unicast_floods) X(ecmp_composites)      \
      X(l2_mcast_composites) X(fabric_composites) X(encap_composites) X(evpn_composites)         \
          X(udp_tunnels) X(udp_mpls_tunnels) X(gre_mpls_tunnels) X(vxlan_tunnels) X(pbb_tunnels) \
              X(mpls_over_mpls_tunnels) X(l2_encaps) X(encaps) X(gros) X(diags)                  \
                  X(arp_virtual_proxys) X(arp_virtual_stitchs) X(arp_virtual_floods)             \
                      X(arp_physical_stitchs) X(arp_tor_proxys) X(arp_physical_floods)

#define VROUTER_COUNT_ONE(name) +1
inline constexpr uint32_t kVifCounters = 0 VROUTER_VIF_COUNTERS(VROUTER_COUNT_ONE);
inline constexpr uint32_t kVrfCounters = 0 VROUTER_VRF_COUNTERS(VROUTER_COUNT_ONE);
#undef VROUTER_COUNT_ONE

#define VROUTER_DECLARE(name) uint64_t name = 0;
struct VifCounters {
  VROUTER_VIF_COUNTERS(VROUTER_DECLARE)
};
struct VrfCounters {
  VROUTER_VRF_COUNTERS(VROUTER_DECLARE)
};
#undef VROUTER_DECLARE
static_assert(sizeof(VifCounters) == kVifCounters * 8 && sizeof(VrfCounters) == kVrfCounters * 8);

struct Counters {
  uint64_t drops[kDropReasons] = {};
  // What happened to the packets that came in; received = sum of the next five once all is settled
  // (a held fragment is counted when it leaves).
  uint64_t received = 0;   // frames taken from ports
  uint64_t forwarded = 0;  // input packets that left by a port, translated or not
  uint64_t replied = 0;   // input packets turned into an answer (ARP, ND, ICMP echo of the gateway)
  uint64_t punted = 0;    // to the agent vif
  uint64_t dropped = 0;   // by name, input packets only
  uint64_t consumed = 0;  // replicated or fragmented: left as several
  uint64_t generated = 0;         // packets the router made (ICMP errors, replicas, fragments)
  std::vector<VifCounters> vifs;  // sized kMaxVifs at start: workers never allocate
  std::vector<VrfCounters> vrfs;  // sized to the highest VRF in use, by the control side
};

// Of several workers: their sum; `sum` has at least as many VRFs.
inline void add_counters(Counters& sum, const Counters& one) {
  const auto add = [](auto* to, const auto* from, size_t count) {
    const auto* numbers = reinterpret_cast<const uint64_t*>(from);
    auto* into = reinterpret_cast<uint64_t*>(to);
    for (size_t i = 0; i < count; ++i) into[i] += numbers[i];
  };
  add(sum.drops, one.drops, kDropReasons);
  add(&sum.received, &one.received, 7);
  add(sum.vifs.data(), one.vifs.data(), sum.vifs.size() * kVifCounters);
  add(sum.vrfs.data(), one.vrfs.data(), sum.vrfs.size() * kVrfCounters);
}
static_assert(offsetof(Counters, generated) == offsetof(Counters, received) + 6 * 8);

inline void clear(Counters& counters) {
  std::vector<VifCounters> vifs = std::move(counters.vifs);
  std::vector<VrfCounters> vrfs = std::move(counters.vrfs);
  std::fill(vifs.begin(), vifs.end(), VifCounters{});
  std::fill(vrfs.begin(), vrfs.end(), VrfCounters{});
  counters = Counters{};
  counters.vifs = std::move(vifs);
  counters.vrfs = std::move(vrfs);
}

}  // namespace vrouter
