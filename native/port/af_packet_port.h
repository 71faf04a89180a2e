// AfPacketPort: an existing network interface through an AF_PACKET raw socket, in batches
// (recvmmsg, sendmmsg), non-blocking. Sees what comes in from the wire, not what the host sends
// (PACKET_IGNORE_OUTGOING).
//
// What the kernel leaves undone is done here:
//  * VLAN tags it has taken out of the frame (PACKET_AUXDATA) are put back in front of the payload.
// What it leaves undone is carried on in Packet::offload, both ways (PACKET_VNET_HDR): partial
// checksums (what a veth peer's stack sends) and super-packets (GSO, GRO). The kernel refuses to send
// super-packets that are inside a tunnel: there is no way to tell it of the outer header.
#pragma once
#include <memory>
#include <string>

#include "base/status.h"
#include "port/expected_frames.h"
#include "port/port.h"

namespace vrouter {

struct VirtioHeader;

class AfPacketPort : public Port {
 public:
  // promiscuous: frames for foreign MACs too; a physical interface needs it when the router's MAC
  // is not the interface's own.
  // BadValue or NotFound "interface"; PortFailed with what failed ("socket" without CAP_NET_RAW).
  // detail, if given, gets a sentence for people.
  static std::unique_ptr<AfPacketPort> open(const std::string& interface, bool promiscuous,
                                            Status* status, std::string* detail = nullptr);
  // The same port again from its socket, which another process may have opened; taken over, also when
  // it is refused. BadValue "fd": it is no such socket, or its interface has gone.
  static std::unique_ptr<AfPacketPort> adopt(int fd, Status* status, std::string* detail = nullptr);
  ~AfPacketPort() override;

  uint32_t rx_burst(PacketPool& pool, Packet** out, uint32_t max) override;
  uint32_t tx_burst(Packet* const* packets, uint32_t count) override;
  int fd() const override { return fd_; }
  const char* kind() const override { return "af_packet"; }
  bool apart() const override { return true; }
  uint32_t mtu() const override { return mtu_; }
  uint32_t features() const override {
    return kTakesChecksum | kTakesTcp4 | kTakesTcp6 | kTakesUdp;
  }
  bool up() const override;

 private:
  AfPacketPort(int fd, uint32_t mtu) : fd_(fd), mtu_(mtu) {}
  enum class Fate : uint8_t { Keep, Discard, Error };
  Fate complete(Packet& packet, const VirtioHeader& vnet, const void* message);
  bool discard_one();

  int fd_;
  uint32_t mtu_;
  ExpectedFrames expected_;
};

}  // namespace vrouter
