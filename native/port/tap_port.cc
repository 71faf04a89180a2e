#include "port/tap_port.h"

#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <pthread.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>

#include "port/netdevice.h"

namespace vrouter {

namespace {

constexpr uint32_t kMaxMtu = 65521;  // of a TAP: 65,535 less the Ethernet header

// What the opening needs and what comes of it; crosses to the short-lived thread and back.
struct Opening {
  const std::string& name;
  const std::string& netns;  // path, or empty
  uint32_t mtu;
  Status* status;
  std::string* detail;
  int fd = -1;

  void fail(StatusCode code, const char* field, const std::string& what, int system_error) {
    fail_port(status, detail, code, field, what, system_error);
    if (fd >= 0) close(fd);
    fd = -1;
  }
};

bool enter_namespace(Opening& opening) {
  const int fd = ::open(opening.netns.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) {
    opening.fail(StatusCode::NotFound, "netns", opening.netns, errno);
    return false;
  }
  const bool entered = setns(fd, CLONE_NEWNET) == 0;
  const int error = errno;
  ::close(fd);
  if (!entered) opening.fail(StatusCode::PortFailed, "netns", opening.netns, error);
  return entered;
}

bool configure(Opening& opening) {
  const int control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (control < 0) {
    opening.fail(StatusCode::PortFailed, "socket", "socket", errno);
    return false;
  }
  if (opening.mtu != 0 && !set_interface_mtu(control, opening.name, opening.mtu)) {
    const int error = errno;
    opening.fail(error == EINVAL ? StatusCode::BadValue : StatusCode::PortFailed, "mtu",
                 opening.name + ": MTU " + std::to_string(opening.mtu), error);
  } else if (!interface_mtu(control, opening.name, &opening.mtu)) {
    opening.fail(StatusCode::PortFailed, "mtu", opening.name + ": MTU", errno);
  } else if (!set_interface_up(control, opening.name)) {
    opening.fail(StatusCode::PortFailed, "up", opening.name + ": up", errno);
  }
  ::close(control);
  return opening.fd >= 0;
}

void open_device(Opening& opening) {
  opening.fd = ::open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
  if (opening.fd < 0) {
    opening.fail(StatusCode::PortFailed, "device", "/dev/net/tun", errno);
    return;
  }
  ifreq request{};
  std::memcpy(request.ifr_name, opening.name.data(), opening.name.size());
  request.ifr_flags = IFF_TAP | IFF_NO_PI;
  if (ioctl(opening.fd, TUNSETIFF, &request) != 0) {
    const int error = errno;
    opening.fail(error == EBUSY ? StatusCode::InUse : StatusCode::PortFailed, "name", opening.name,
                 error);
    return;
  }
  // A device that was here before may have been left with offloads on.
  if (ioctl(opening.fd, TUNSETOFFLOAD, 0) != 0) {
    opening.fail(StatusCode::PortFailed, "offload", opening.name + ": offloads", errno);
    return;
  }
  configure(opening);
}

void* open_in_namespace(void* argument) {
  Opening& opening = *static_cast<Opening*>(argument);
  if (enter_namespace(opening)) open_device(opening);
  return nullptr;
}

}  // namespace

std::unique_ptr<TapPort> TapPort::open(const std::string& name, const std::string& netns,
                                       uint32_t mtu, Status* status, std::string* detail) {
  *status = Status::done();
  const std::string path =
      netns.empty() || netns.find('/') != std::string::npos ? netns : "/run/netns/" + netns;
  if (!valid_interface_name(name)) {
    fail_port(status, detail, StatusCode::BadValue, "name", "'" + name + "' is no interface name",
              0);
    return nullptr;
  }
  if (mtu > kMaxMtu) {
    fail_port(status, detail, StatusCode::BadValue, "mtu", "MTU " + std::to_string(mtu), EINVAL);
    return nullptr;
  }
  Opening opening{name, path, mtu, status, detail};
  if (path.empty()) {
    open_device(opening);
  } else {
    // A namespace is a thread's: only one that ends here ever enters another.
    pthread_t thread;
    const int error = pthread_create(&thread, nullptr, open_in_namespace, &opening);
    if (error != 0) {
      fail_port(status, detail, StatusCode::PortFailed, "netns", "thread", error);
      return nullptr;
    }
    pthread_join(thread, nullptr);
  }
  if (opening.fd < 0) return nullptr;
  return std::unique_ptr<TapPort>(new TapPort(opening.fd, opening.mtu));
}

TapPort::~TapPort() { ::close(fd_); }

uint32_t TapPort::rx_burst(PacketPool& pool, Packet** out, uint32_t max) {
  uint32_t taken = 0;
  if (gone_) return 0;
  for (uint32_t seen = 0; seen < max; ++seen) {
    Packet* packet = pool.allocate();
    uint8_t spill;  // a frame that reaches it is larger than the buffer; the kernel cuts silently
    const uint32_t room = packet != nullptr ? pool.buffer_bytes() : 0;
    const iovec parts[2] = {{packet != nullptr ? packet->data() : nullptr, room}, {&spill, 1}};
    const ssize_t got = readv(fd_, parts, 2);
    if (got > 0 && static_cast<size_t>(got) <= room) {
      packet->append(static_cast<uint32_t>(got));
      out[taken++] = packet;
      continue;
    }
    pool.free(packet);
    if (got > 0) {
      ++rx_discards;  // too large, or no buffer
      continue;
    }
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && errno == EAGAIN) break;
    ++rx_errors;
    gone_ = got < 0 && errno == EBADFD;
    break;
  }
  return taken;
}

uint32_t TapPort::tx_burst(Packet* const* packets, uint32_t count) {
  for (uint32_t i = 0; i < count; ++i) {
    const Packet& packet = *packets[i];
    if (!fits(packet)) {
      ++tx_errors;
      return i;
    }
    ssize_t sent;
    do {
      sent = write(fd_, packet.data(), packet.length);
    } while (sent < 0 && errno == EINTR);
    if (sent == static_cast<ssize_t>(packet.length)) continue;
    if (!(sent < 0 && (errno == EAGAIN || errno == ENOBUFS))) ++tx_errors;
    return i;
  }
  return count;
}

}  // namespace vrouter
