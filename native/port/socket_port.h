// SocketPort: frames as datagrams of a pair of Unix sockets: one end is the port, the other the
// control side's (pkt0), in this process or in another that the descriptor was sent to.
//
// Invariants
//  * A frame is one datagram: bounds are kept, nothing is merged or cut; what does not fit the
//    other end's queue (kSocketQueueBytes) is not sent, and the caller is told.
//  * A control side that is gone is a port to which nothing can be sent, never a readable end: the
//    worker does not spin on it. So datagrams, and no stream or sequence of packets.
#pragma once
#include <memory>
#include <string>

#include "base/status.h"
#include "port/port.h"

namespace vrouter {

class SocketPort : public Port {
 public:
  static constexpr uint32_t kDefaultMtu = 1500;

  // Takes the end over, also when it is refused. BadValue "fd": it is no Unix datagram socket.
  static std::unique_ptr<SocketPort> adopt(int fd, uint32_t mtu, Status* status,
                                           std::string* detail = nullptr);
  ~SocketPort() override;

  uint32_t rx_burst(PacketPool& pool, Packet** out, uint32_t max) override;
  uint32_t tx_burst(Packet* const* packets, uint32_t count) override;
  int fd() const override { return fd_; }
  const char* kind() const override { return "socket"; }
  bool apart() const override { return true; }
  uint32_t mtu() const override { return mtu_; }

 private:
  SocketPort(int fd, uint32_t mtu) : fd_(fd), mtu_(mtu) {}

  int fd_;
  uint32_t mtu_;
};

}  // namespace vrouter
