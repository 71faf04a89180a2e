// TapPort: a TAP device (/dev/net/tun, IFF_TAP | IFF_NO_PI), non-blocking, one queue. The kernel's
// side of it is a network interface, here or in another network namespace.
//
// Offloads: where the kernel has them, frames come and go with a virtio header: partial checksums,
// TCP and UDP super-packets of up to 64 KiB, and, for an uplink, super-packets inside a UDP tunnel.
// What the kernel refuses is left out, down to plain frames.
// The interface goes with the last descriptor of it, unless it was made persistent by others.
#pragma once
#include <sys/types.h>

#include <atomic>
#include <memory>
#include <string>

#include "base/status.h"
#include "port/expected_frames.h"
#include "port/port.h"

namespace vrouter {

enum class TapOffloads : uint8_t {
  None,    // frames as they are on a wire
  Tenant,  // checksums, TSO, USO
  Uplink,  // and inside a UDP tunnel
};

struct VirtioHeader;

class TapPort : public Port {
 public:
  // Creates the interface, or attaches to a TAP of that name; sets its MTU (0: leaves it) and sets
  // it up. netns: "" for this one, a path (with '/'), or a name under /run/netns; entered only by a
  // short-lived thread, never by the caller's.
  // BadValue or NotFound "name", "netns", "mtu"; InUse "name" when another process has it;
  // PortFailed with what failed. detail, if given, gets a sentence for people.
  static std::unique_ptr<TapPort> open(const std::string& name, const std::string& netns,
                                       uint32_t mtu, TapOffloads offloads, Status* status,
                                       std::string* detail = nullptr);
  // The same port again from its descriptor, which another process may have opened; taken over, also
  // when it is refused. mtu: what open() found or set. BadValue "fd": it is no TAP.
  static std::unique_ptr<TapPort> adopt(int fd, uint32_t mtu, TapOffloads offloads, Status* status,
                                        std::string* detail = nullptr);
  ~TapPort() override;

  uint32_t rx_burst(PacketPool& pool, Packet** out, uint32_t max) override;
  uint32_t tx_burst(Packet* const* packets, uint32_t count) override;
  int fd() const override { return fd_; }
  const char* kind() const override { return "tap"; }
  bool apart() const override { return true; }
  uint32_t mtu() const override { return mtu_; }
  uint32_t features() const override { return features_; }
  bool up() const override;
  // A system call a frame from now on, as where there is no io_uring.
  void one_by_one() { batched_.store(false, std::memory_order_relaxed); }

 private:
  TapPort(int fd, uint32_t mtu) : fd_(fd), mtu_(mtu) {}
  bool take(PacketPool& pool, Packet* packet, ssize_t got, Packet** out);
  bool unbatched(int32_t result);
  uint32_t read_size(const PacketPool& pool) const;
  uint32_t read_some(PacketPool& pool, Packet** out, uint32_t count, uint32_t* taken);
  ssize_t send_one(const Packet& packet, const VirtioHeader& header);
  uint32_t write_some(Packet* const* packets, uint32_t count, int* error);
  bool negotiate(TapOffloads wanted, bool has_header);

  int fd_;
  uint32_t mtu_;
  uint32_t header_ = 0;  // bytes of virtio header in front of each frame
  uint32_t features_ = 0;
  ExpectedFrames expected_;
  // Frames go several a system call; cleared by who sends or receives.
  std::atomic<bool> batched_{true};
  bool gone_ = false;  // the interface was deleted under us: said once, not at every breath
};

}  // namespace vrouter
