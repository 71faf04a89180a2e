// TapPort: a TAP device (/dev/net/tun, IFF_TAP | IFF_NO_PI), non-blocking, one queue. The kernel's
// side of it is a network interface, here or in another network namespace.
//
// Offloads: none. No virtio header is used, so the kernel completes checksums and cuts segments
// before frames come to us, and checks what we send like frames from a wire.
// The interface goes when the port is closed, unless it was made persistent by others.
#pragma once
#include <memory>
#include <string>

#include "base/status.h"
#include "port/port.h"

namespace vrouter {

class TapPort : public Port {
 public:
  // Creates the interface, or attaches to a TAP of that name; sets its MTU (0: leaves it) and sets
  // it up. netns: "" for this one, a path (with '/'), or a name under /run/netns; entered only by a
  // short-lived thread, never by the caller's.
  // BadValue or NotFound "name", "netns", "mtu"; InUse "name" when another process has it;
  // PortFailed with what failed. detail, if given, gets a sentence for people.
  static std::unique_ptr<TapPort> open(const std::string& name, const std::string& netns,
                                       uint32_t mtu, Status* status, std::string* detail = nullptr);
  ~TapPort() override;

  uint32_t rx_burst(PacketPool& pool, Packet** out, uint32_t max) override;
  uint32_t tx_burst(Packet* const* packets, uint32_t count) override;
  int fd() const override { return fd_; }
  const char* kind() const override { return "tap"; }
  uint32_t mtu() const override { return mtu_; }

 private:
  TapPort(int fd, uint32_t mtu) : fd_(fd), mtu_(mtu) {}

  int fd_;
  uint32_t mtu_;
  bool gone_ = false;  // the interface was deleted under us: said once, not at every breath
};

}  // namespace vrouter
