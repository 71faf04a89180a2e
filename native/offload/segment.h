// Segmenter: cuts a super-packet into the frames a plain NIC would send for it: what the kernel's
// GSO does, for ports that do not take super-packets, or not inside this tunnel. TCP and UDP over
// IPv4 and IPv6, as they are or inside a tunnel over either: MPLSoUDP, MPLSoGRE or VXLAN of ours, or one
// of a tenant's over UDP or GRE, of which only the transport header in it is known (inner_network 0).
//
// Invariants
//  * The super-packet is only read. Its offsets are checked once, in the constructor; what does not
//    fit together makes count() 0, and nothing is cut.
//  * Lengths in its headers are not trusted: outer ones of nearly 64 KiB have wrapped
//    (path/encapsulate.cc). All are written anew.
//  * A frame that is made has complete checksums and nothing left undone; meta.copy is set.
// Sources: RFC 9293 (sequence, FIN and PSH on the last only), RFC 3168 §6.1.2 (CWR on the first
// only), RFC 7510 and RFC 6935 (a tunnel's UDP checksum of zero stays zero).
#pragma once
#include "packet/packet.h"

namespace vrouter {

// Of one super-packet: 64 KiB over the least MSS that Linux takes, 48 bytes. A tenant that asks for
// smaller segments would have us make tens of thousands of frames from one.
inline constexpr uint32_t kMaxSegments = 1366;

class Segmenter {
 public:
  explicit Segmenter(const Packet& super);
  bool ok() const { return count_ != 0; }
  uint32_t count() const { return count_; }  // frames it makes in all; 0: it cannot be cut
  bool done() const { return made_ == count_; }
  // Makes up to `max` of the frames that are left. Fewer only when the pool is empty.
  uint32_t next(PacketPool& pool, Packet** out, uint32_t max);

 private:
  void finish(Packet& frame, uint32_t bytes) const;

  const Packet& super_;
  // Offsets from data().
  uint32_t outer_l3_ = 0;  // equal to inner_l3_ where there is no tunnel
  uint32_t outer_l4_ = 0;
  uint32_t inner_l3_ = 0;
  uint32_t transport_ = 0;
  uint32_t headers_ = 0;  // bytes in front of the payload
  uint32_t payload_ = 0;  // bytes to be cut
  uint32_t count_ = 0;
  uint32_t made_ = 0;
};

}  // namespace vrouter
