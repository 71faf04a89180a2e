// Coalescing (GRO): consecutive segments of a TCP connection become one super-packet, for a port
// that takes those. A receiver's stack pays by the packet; from a plain wire packets are small.
//
// Invariants
//  * Cut again (offload/segment.h), a super-packet gives the frames it was made of, but for the
//    identification of IPv4 packets that must not be fragmented, which means nothing (RFC 6864).
//  * What is merged had right checksums: IPv4's and TCP's are verified, for the result says
//    "partial", and nobody looks again.
//  * Frames of one connection keep their order, whatever they are; frames that are not merged keep
//    theirs. What may be of any connection (IPv4 options, fragments, IPv6 extension headers) ends
//    every run.
//  * A super-packet has at most 65,535 bytes of IP and kMaxSegments segments, and nothing in front
//    of its Ethernet header is touched: headroom is as it was.
#pragma once
#include "packet/packet.h"

namespace vrouter {

// Connections that may have a run of segments open at a time within a burst.
inline constexpr uint32_t kOpenRuns = 8;

// Merges among packets[0..count), frames queued for one port in order. What was merged away goes to
// `pool`, counted in its super-packet's meta.merged. Returns how many packets are left.
uint32_t coalesce(PacketPool& pool, Packet** packets, uint32_t count);

}  // namespace vrouter
