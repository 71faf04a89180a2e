// AfPacketPort: an existing network interface through an AF_PACKET raw socket, in batches
// (recvmmsg, sendmmsg), non-blocking. Sees what comes in from the wire, not what the host sends
// (PACKET_IGNORE_OUTGOING).
//
// What the kernel leaves undone is done here:
//  * VLAN tags it has taken out of the frame (PACKET_AUXDATA) are put back in front of the payload.
//  * Partial checksums (PACKET_VNET_HDR, NEEDS_CSUM: what a veth peer's stack sends) are completed,
//    so the router only ever sees frames as they would be on a wire.
//  * Super-packets (GSO, GRO) are not cut: they are counted in rx_discards and super_packets and
//    dropped. Switch TSO, GSO and GRO off on the interface and its peer.
#pragma once
#include <memory>
#include <string>

#include "base/status.h"
#include "port/port.h"

namespace vrouter {

class AfPacketPort : public Port {
 public:
  // promiscuous: frames for foreign MACs too; a physical interface needs it when the router's MAC
  // is not the interface's own.
  // BadValue or NotFound "interface"; PortFailed with what failed ("socket" without CAP_NET_RAW).
  // detail, if given, gets a sentence for people.
  static std::unique_ptr<AfPacketPort> open(const std::string& interface, bool promiscuous,
                                            Status* status, std::string* detail = nullptr);
  ~AfPacketPort() override;

  uint32_t rx_burst(PacketPool& pool, Packet** out, uint32_t max) override;
  uint32_t tx_burst(Packet* const* packets, uint32_t count) override;
  int fd() const override { return fd_; }
  const char* kind() const override { return "af_packet"; }
  uint32_t mtu() const override { return mtu_; }
  uint64_t super_packets = 0;
  uint64_t checksums_completed = 0;

 private:
  AfPacketPort(int fd, uint32_t mtu) : fd_(fd), mtu_(mtu) {}
  enum class Fate : uint8_t { Keep, Discard, Error };
  Fate complete(Packet& packet, const void* vnet_header, const void* message);
  bool discard_one();

  int fd_;
  uint32_t mtu_;
};

}  // namespace vrouter
