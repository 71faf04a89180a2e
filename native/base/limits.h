// Every maximum in the system, with its reason. A table never grows past its limit; what does not
// fit is refused by name.
#pragma once
#include <cstdint>

namespace vrouter {

inline constexpr uint32_t kMaxVifs = 4355;          // ancestor's default: 256 + 4096 + 3
inline constexpr uint32_t kMaxVrfs = 65536;         // ancestor's maximum
inline constexpr uint32_t kMaxNextHops = 1u << 19;  // ancestor's default
inline constexpr uint32_t kMaxLabel = (1u << 20) - 1;
inline constexpr uint32_t kMaxVni = (1u << 24) - 1;
inline constexpr uint32_t kMaxRoutes = 1u << 22;  // all VRFs together; 4 Mi covers 4 full tables
inline constexpr uint32_t kMaxMacs = 1u << 19;
inline constexpr uint32_t kMaxPolicies = 65536;
inline constexpr uint32_t kMaxPolicyRules = 4096;  // per policy
inline constexpr uint32_t kMaxVifPolicies = 16;    // lists a vif may name, per kind
inline constexpr uint32_t kMaxFloatingIps = 1u << 20;
inline constexpr uint32_t kMaxFloatingIpsPerVif = 64;
inline constexpr uint32_t kMaxPortMaps = 1024;  // per floating IP
inline constexpr uint32_t kMaxSourceNats = 65536;
inline constexpr uint32_t kMaxEcmpMembers = 256;
inline constexpr uint32_t kMaxTunnelLegs = 3;    // uplinks; the ancestor's number
inline constexpr uint32_t kMaxReplicas = 1024;   // leaves of one replicate next hop
inline constexpr uint32_t kMaxNextHopDepth = 4;  // composite in composite
inline constexpr uint32_t kMaxLookups = 4;       // VRF translations of one packet
inline constexpr uint32_t kMaxPorts = 4400;
inline constexpr uint32_t kMaxWorkers = 16;
inline constexpr uint32_t kMaxNameLength = 128;

inline constexpr uint32_t kMaxProgramOps = 4096;  // a commit holds the workers: some milliseconds
inline constexpr uint32_t kMaxProgramBytes = 16u << 20;

inline constexpr uint32_t kDefaultFlows = 1u << 20;  // entries, both directions counted
inline constexpr uint32_t kMaxFlows = 1u << 24;

inline constexpr uint32_t kBurst = 64;      // packets a stage works on at a time
inline constexpr uint32_t kHeadroom = 256;  // room for the deepest outer header (IPv6 + 40)
inline constexpr uint32_t kDefaultBufferBytes = 2048;
inline constexpr uint32_t kDefaultBuffers = 8192;

inline constexpr uint32_t kFragmentEntries = 8192;  // known first fragments
inline constexpr uint32_t kFragmentHold = 1024;     // packets waiting for a first fragment, in all
inline constexpr uint64_t kFragmentNs = 2'000'000'000;

// Packets for the control side (punt.cc): a tenant that floods it loses its own, all together cannot
// keep it from its work. A second's worth may come at once.
inline constexpr uint32_t kPuntsPerVif =
    500;                                   // a second; a resolver's queries fit, a flood does not
inline constexpr uint32_t kPunts = 20000;  // a second, all vifs together: some 40 % of one CPU
inline constexpr uint32_t kSocketQueueBytes = 256u << 10;  // of frames waiting in a pair of sockets

inline constexpr uint32_t kMaxFlowEvents = 65536;  // event ring; full = counted, never blocks

}  // namespace vrouter
