#include "port/socket_port.h"

#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>

#include "port/netdevice.h"

namespace vrouter {

namespace {

bool is_unix_datagram(int fd) {
  int type = 0;
  int domain = 0;
  socklen_t length = sizeof type;
  if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &length) != 0) return false;
  length = sizeof domain;
  if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &length) != 0) return false;
  return domain == AF_UNIX && type == SOCK_DGRAM;
}

}  // namespace

std::unique_ptr<SocketPort> SocketPort::adopt(int fd, uint32_t mtu, Status* status,
                                              std::string* detail) {
  *status = Status::done();
  std::unique_ptr<SocketPort> port(new SocketPort(fd, mtu));
  if (is_unix_datagram(fd)) return port;
  fail_port(status, detail, StatusCode::BadValue, "fd", "no Unix datagram socket", EINVAL);
  return nullptr;
}

SocketPort::~SocketPort() { ::close(fd_); }

uint32_t SocketPort::rx_burst(PacketPool& pool, Packet** out, uint32_t max) {
  uint32_t taken = 0;
  // Discards count against `max` too: a breath stays bounded whatever is sent.
  for (uint32_t seen = 0; seen < max; ++seen) {
    Packet* packet = pool.allocate();
    uint8_t none;
    uint8_t* into = packet != nullptr ? packet->data() : &none;
    const size_t room = packet != nullptr ? pool.buffer_bytes() : 0;
    // MSG_TRUNC: the length is that of the whole datagram.
    const ssize_t got = recv(fd_, into, room, MSG_DONTWAIT | MSG_TRUNC);
    if (got > 0 && static_cast<size_t>(got) <= room) {
      packet->append(static_cast<uint32_t>(got));
      out[taken++] = packet;
      continue;
    }
    pool.free(packet);
    if (got > 0) {
      ++rx_discards;  // too large, or no buffer
    } else if (got == 0) {
      ++rx_errors;  // an empty datagram is no frame
    } else if (errno != EINTR) {
      if (errno != EAGAIN) ++rx_errors;
      break;
    }
  }
  return taken;
}

uint32_t SocketPort::tx_burst(Packet* const* packets, uint32_t count) {
  for (uint32_t i = 0; i < count; ++i) {
    const Packet& packet = *packets[i];
    if (!fits(packet)) {
      ++tx_errors;
      return i;
    }
    ssize_t sent;
    do {
      sent = send(fd_, packet.data(), packet.length, MSG_DONTWAIT | MSG_NOSIGNAL);
    } while (sent < 0 && errno == EINTR);
    if (sent == static_cast<ssize_t>(packet.length)) continue;
    // Full, or nobody at the other end any more.
    if (!(sent < 0 && (errno == EAGAIN || errno == ENOBUFS))) ++tx_errors;
    return i;
  }
  return count;
}

}  // namespace vrouter
