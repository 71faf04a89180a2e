// Coalescing of datagrams: consecutive UDP datagrams of a tenant's connection that go into one UDP tunnel become
// one super-packet, for an uplink that takes those. What a small datagram costs is its way through the kernels
// and the far node, so there it is paid once for many. The receiving kernel takes it apart again.
//
// Invariants
//  * Cut again (offload/segment.h), a super-packet gives the frames it was made of, but for the identification
//    of IPv4 packets that must not be fragmented, which means nothing (RFC 6864).
//  * Merged is only what has its checksum still to be made, so nothing wrong is made right; and what differs
//    in lengths, identification and payload alone.
//  * Frames of one outer flow keep their order, whatever they are. Datagrams keep their bounds: all are of
//    one size, but the last may be shorter.
#pragma once
#include "packet/packet.h"

namespace vrouter {

// In one super-packet: what every Linux that knows UDP segmentation takes.
inline constexpr uint32_t kMaxDatagrams = 64;

// As coalesce() does (offload/coalesce.h).
uint32_t coalesce_datagrams(PacketPool& pool, Packet** packets, uint32_t count);

}  // namespace vrouter
