// Counters: 64-bit, monotonic, one block per worker, written only by finish() and the ports' loop.
// Layout of the exported array (readCounters) is described by layout(): first the drop reasons, then
// kVifCounters per vif, then kVrfCounters per VRF (both by id, up to the limits in use).
#pragma once
#include <cstdint>
#include <vector>

#include "base/drop.h"
#include "base/limits.h"

namespace vrouter {

// X(name) — per vif, in this order.
#define VROUTER_VIF_COUNTERS(X) \
  X(rx_packets) X(rx_bytes) X(rx_errors) X(tx_packets) X(tx_bytes) X(tx_errors) X(drops)

// X(name) — per VRF; the lines of `vrfstats`, in the ancestor's order.
#define VROUTER_VRF_COUNTERS(X)                                                              \
  X(discards) X(resolves) X(receives) X(l2_receives) X(vrf_translates)                       \
  X(unknown_unicast_floods) X(ecmp_composites) X(l2_mcast_composites) X(fabric_composites)   \
  X(encap_composites) X(evpn_composites) X(udp_tunnels) X(udp_mpls_tunnels)                  \
  X(gre_mpls_tunnels) X(vxlan_tunnels) X(pbb_tunnels) X(mpls_over_mpls_tunnels) X(l2_encaps) \
  X(encaps) X(gros) X(diags) X(arp_virtual_proxys) X(arp_virtual_stitchs)                    \
  X(arp_virtual_floods) X(arp_physical_stitchs) X(arp_tor_proxys) X(arp_physical_floods)

#define VROUTER_COUNT_ONE(name) +1
inline constexpr uint32_t kVifCounters = 0 VROUTER_VIF_COUNTERS(VROUTER_COUNT_ONE);
inline constexpr uint32_t kVrfCounters = 0 VROUTER_VRF_COUNTERS(VROUTER_COUNT_ONE);
#undef VROUTER_COUNT_ONE

#define VROUTER_DECLARE(name) uint64_t name = 0;
struct VifCounters { VROUTER_VIF_COUNTERS(VROUTER_DECLARE) };
struct VrfCounters { VROUTER_VRF_COUNTERS(VROUTER_DECLARE) };
#undef VROUTER_DECLARE
static_assert(sizeof(VifCounters) == kVifCounters * 8 && sizeof(VrfCounters) == kVrfCounters * 8);

struct Counters {
  uint64_t drops[kDropReasons] = {};
  // What happened to the packets that came in; received = sum of the next five once all is settled
  // (a held fragment is counted when it leaves).
  uint64_t received = 0;    // frames taken from ports
  uint64_t forwarded = 0;   // input packets that left by a port, translated or not
  uint64_t replied = 0;     // input packets turned into an answer (ARP, ND, ICMP echo of the gateway)
  uint64_t punted = 0;      // to the agent vif
  uint64_t dropped = 0;     // by name, input packets only
  uint64_t consumed = 0;    // replicated or fragmented: left as several
  uint64_t generated = 0;   // packets the router made (ICMP errors, replicas, fragments)
  std::vector<VifCounters> vifs;  // sized kMaxVifs at start: workers never allocate
  std::vector<VrfCounters> vrfs;  // sized to the highest VRF in use, by the control side
};

}  // namespace vrouter
