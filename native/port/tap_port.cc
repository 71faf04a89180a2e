#include "port/tap_port.h"

#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "port/batch_io.h"
#include "port/netdevice.h"
#include "port/network_namespace.h"
#include "port/virtio_header.h"

namespace vrouter {

namespace {

constexpr uint32_t kMaxMtu = 65521;  // of a TAP: 65,535 less the Ethernet header

// Newer than some kernel headers.
constexpr unsigned kUso = 0x20 | 0x40;  // TUN_F_USO4 | TUN_F_USO6
constexpr unsigned kTunnelGso = 0x80;   // TUN_F_UDP_TUNNEL_GSO
constexpr unsigned kTso = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN;
constexpr uint32_t kTakesTcp = kTakesChecksum | kTakesTcp4 | kTakesTcp6;

// What is asked of the kernel, best first; the first it grants is taken.
struct Offer {
  TapOffloads wanted;  // offered if at least this was asked for
  unsigned flags;      // of TUNSETOFFLOAD
  uint32_t features;
};
constexpr Offer kOffers[] = {
    {TapOffloads::Uplink, kTso | kUso | kTunnelGso, kTakesTcp | kTakesUdp | kTakesTunnel},
    {TapOffloads::Uplink, kTso | kTunnelGso, kTakesTcp | kTakesTunnel},
    {TapOffloads::Tenant, kTso | kUso, kTakesTcp | kTakesUdp},
    {TapOffloads::Tenant, kTso, kTakesTcp},
    {TapOffloads::Tenant, TUN_F_CSUM, kTakesChecksum},
    {TapOffloads::None, 0, 0},
};

// Frames from the wire that wait for an uplink, at most. The kernel's 1,000 are less than what one
// TCP connection has under way, and each overflow costs it a recovery.
constexpr uint32_t kUplinkQueue = 2048;

// What the opening needs and what comes of it.
struct Opening {
  const std::string& name;
  const std::string& netns;  // empty: this one
  uint32_t mtu;
  TapOffloads offloads;
  Status* status;
  std::string* detail;
  int fd = -1;

  bool header() const { return offloads != TapOffloads::None; }  // asked for IFF_VNET_HDR
  void fail(StatusCode code, const char* field, const std::string& what, int system_error) {
    fail_port(status, detail, code, field, what, system_error);
    if (fd >= 0) close(fd);
    fd = -1;
  }
};

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
  } else if (opening.offloads == TapOffloads::Uplink &&
             !set_interface_queue(control, opening.name, kUplinkQueue)) {
    opening.fail(StatusCode::PortFailed, "queue", opening.name + ": queue", errno);
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
  request.ifr_flags =
      static_cast<short>(IFF_TAP | IFF_NO_PI | (opening.header() ? IFF_VNET_HDR : 0));
  if (ioctl(opening.fd, TUNSETIFF, &request) != 0) {
    const int error = errno;
    opening.fail(error == EBUSY ? StatusCode::InUse : StatusCode::PortFailed, "name", opening.name,
                 error);
    return;
  }
  configure(opening);
}

void open_in_namespace(Opening& opening) {
  const std::string path = namespace_path(opening.netns);
  const int netns = open_namespace(path);
  if (netns < 0) return opening.fail(StatusCode::NotFound, "netns", path, errno);
  const int error = run_in_namespace(netns, [&] { open_device(opening); });
  ::close(netns);
  if (error != 0) opening.fail(StatusCode::PortFailed, "netns", path, error);
}

}  // namespace

std::unique_ptr<TapPort> TapPort::open(const std::string& name, const std::string& netns,
                                       uint32_t mtu, TapOffloads offloads, Status* status,
                                       std::string* detail) {
  *status = Status::done();
  if (!valid_interface_name(name)) {
    fail_port(status, detail, StatusCode::BadValue, "name", "'" + name + "' is no interface name",
              0);
    return nullptr;
  }
  if (mtu > kMaxMtu) {
    fail_port(status, detail, StatusCode::BadValue, "mtu", "MTU " + std::to_string(mtu), EINVAL);
    return nullptr;
  }
  Opening opening{name, netns, mtu, offloads, status, detail};
  if (netns.empty()) {
    open_device(opening);
  } else {
    open_in_namespace(opening);
  }
  if (opening.fd < 0) return nullptr;
  std::unique_ptr<TapPort> port(new TapPort(opening.fd, opening.mtu));
  if (!port->negotiate(offloads, opening.header())) {
    fail_port(status, detail, StatusCode::PortFailed, "offload", name + ": offloads", errno);
    return nullptr;
  }
  return port;
}

std::unique_ptr<TapPort> TapPort::adopt(int fd, uint32_t mtu, TapOffloads offloads, Status* status,
                                        std::string* detail) {
  *status = Status::done();
  std::unique_ptr<TapPort> port(new TapPort(fd, mtu));
  ifreq request{};
  if (ioctl(fd, TUNGETIFF, &request) != 0 || (request.ifr_flags & IFF_TAP) == 0) {
    fail_port(status, detail, StatusCode::BadValue, "fd", "no TAP", errno);
    return nullptr;
  }
  if (!port->negotiate(offloads, (request.ifr_flags & IFF_VNET_HDR) != 0)) {
    fail_port(status, detail, StatusCode::PortFailed, "offload", "offloads of an adopted TAP",
              errno);
    return nullptr;
  }
  return port;
}

// A device that was here before may have been left with other offloads, so they are always set.
bool TapPort::negotiate(TapOffloads wanted, bool has_header) {
  for (const Offer& offer : kOffers) {
    if (offer.wanted > wanted || (offer.flags != 0 && !has_header)) continue;
    // The kernel takes the tunnel's flag with any header, but only the long one can carry it.
    int length =
        offer.wanted == TapOffloads::Uplink ? int{kVirtioTunnelHeader} : int{kVirtioHeader};
    if (has_header && ioctl(fd_, TUNSETVNETHDRSZ, &length) != 0) continue;
    if (ioctl(fd_, TUNSETOFFLOAD, offer.flags) != 0) continue;
    header_ = has_header ? static_cast<uint32_t>(length) : 0;
    features_ = offer.features;
    return true;
  }
  return false;
}

// Its interface may be in another network namespace, where it cannot be asked for by name; but a TAP
// is writable exactly while its interface is up (and its queue has room, which poll() takes for granted
// here: the tun driver never fills up the descriptor's side).
bool TapPort::up() const {
  pollfd asked{fd_, POLLOUT, 0};
  return poll(&asked, 1, 0) == 1 && (asked.revents & (POLLOUT | POLLERR)) == POLLOUT;
}

TapPort::~TapPort() { ::close(fd_); }

// What a read gave, into `out` if it is a frame. False: there is no more now.
bool TapPort::take(PacketPool& pool, Packet* packet, ssize_t got, Packet** out) {
  const uint32_t room = packet != nullptr ? pool.buffer_bytes() : 0;
  if (got > 0 && static_cast<size_t>(got) <= header_ + room) {
    VirtioHeader header{};
    std::memcpy(&header, packet->data() - header_, header_);
    packet->append(static_cast<uint32_t>(got) - header_);
    if (header_ == 0 || take_virtio_header(header, header_, *packet)) {
      *out = packet;
      return true;
    }
    ++rx_errors;
    pool.free(packet);
    return true;
  }
  pool.free(packet);
  if (got > 0) {
    ++rx_discards;  // too large, or no buffer
    return true;
  }
  if (got == -EINTR) return true;
  if (got == -EAGAIN) return false;
  ++rx_errors;
  gone_ = got == -EBADFD;
  return false;
}

// The header is read into the headroom, so that one buffer takes it all: the kernel takes a list of them
// apart for each frame. A frame that reaches the byte behind the buffer (PacketPool::kSpill) is
// larger than that; the kernel cuts silently.
uint32_t TapPort::read_size(const PacketPool& pool) const {
  return header_ + pool.buffer_bytes() + PacketPool::kSpill;
}

// Whether it shows that this kernel's TAPs cannot be asked not to wait in this way: then they never are again.
bool TapPort::unbatched(int32_t result) {
  if (result == -EOPNOTSUPP) one_by_one();
  return result == -EOPNOTSUPP;
}

// Up to `count` reads, in one system call if there are several. Returns how many found something.
uint32_t TapPort::read_some(PacketPool& pool, Packet** out, uint32_t count, uint32_t* taken) {
  Packet* packets[BatchIo::kMost];
  int32_t results[BatchIo::kMost];
  BatchIo& batch = BatchIo::of_this_thread();
  uint32_t buffers = 0;
  while (buffers < count && (packets[buffers] = pool.allocate()) != nullptr) ++buffers;
  if (buffers < 2 || !batched_ || !batch.ok()) {
    for (uint32_t i = 1; i < buffers; ++i) pool.free(packets[i]);
    for (uint32_t i = 0; i < count; ++i) {
      Packet* const packet = i == 0 && buffers != 0 ? packets[0] : pool.allocate();
      uint8_t nowhere[kVirtioTunnelHeader + 1];
      const ssize_t got = packet != nullptr ? read(fd_, packet->data() - header_, read_size(pool))
                                            : read(fd_, nowhere, header_ + PacketPool::kSpill);
      Packet* frame = nullptr;
      if (!take(pool, packet, got < 0 ? -errno : got, &frame)) return i;
      if (frame != nullptr) out[(*taken)++] = frame;
    }
    return count;
  }
  for (uint32_t i = 0; i < buffers; ++i) {
    batch.read(fd_, packets[i]->data() - header_, read_size(pool));
  }
  batch.run(results);
  if (unbatched(results[0])) {
    for (uint32_t i = 0; i < buffers; ++i) pool.free(packets[i]);
    return read_some(pool, out, count, taken);
  }
  uint32_t found = 0;
  for (uint32_t i = 0; i < buffers; ++i) {
    if (gone_) {
      pool.free(packets[i]);  // the same news again
      continue;
    }
    Packet* frame = nullptr;
    found += take(pool, packets[i], results[i], &frame);
    if (frame != nullptr) out[(*taken)++] = frame;
  }
  return found;
}

uint32_t TapPort::rx_burst(PacketPool& pool, Packet** out, uint32_t max) {
  const uint32_t asked = expected_.within(std::min(max, BatchIo::kMost));
  if (gone_ || asked == 0) return 0;
  uint32_t taken = 0;
  const uint32_t found = read_some(pool, out, asked, &taken);
  expected_.learn(asked, found, out, taken);
  return taken;
}

// The header goes into the headroom, where nobody keeps anything; without that much, beside it.
ssize_t TapPort::send_one(const Packet& packet, const VirtioHeader& header) {
  uint8_t* const data = const_cast<uint8_t*>(packet.data());
  if (packet.headroom() >= header_) {
    std::memcpy(data - header_, &header, header_);
    return write(fd_, data - header_, size_t{header_} + packet.length);
  }
  const iovec parts[2] = {{const_cast<VirtioHeader*>(&header), header_}, {data, packet.length}};
  return writev(fd_, parts, 2);
}

// As many from the front as can go in one system call, up to `count`. Returns how many of them went;
// error: what the next one met, 0 if it was not tried.
uint32_t TapPort::write_some(Packet* const* packets, uint32_t count, int* error) {
  *error = 0;
  BatchIo& batch = BatchIo::of_this_thread();
  uint32_t added = 0;
  VirtioHeader header;
  for (; added < std::min(count, BatchIo::kMost); ++added) {
    const Packet& packet = *packets[added];
    if (!fits(packet) || !give_virtio_header(packet, header_, header)) {
      if (added == 0) *error = EINVAL;
      break;
    }
    const bool alone = count == 1 || !batched_ || !batch.ok() || packet.headroom() < header_;
    if (!alone) {
      uint8_t* const at = const_cast<uint8_t*>(packet.data()) - header_;
      std::memcpy(at, &header, header_);
      batch.write(fd_, at, header_ + packet.length);
      continue;
    }
    if (added != 0) break;
    ssize_t sent;
    do {
      sent = send_one(packet, header);
    } while (sent < 0 && errno == EINTR);
    if (sent == static_cast<ssize_t>(header_ + packet.length)) return 1;
    *error = sent < 0 ? errno : EIO;
    return 0;
  }
  int32_t results[BatchIo::kMost];
  batch.run(results);
  if (added != 0 && unbatched(results[0])) return 0;
  for (uint32_t i = 0; i < added; ++i) {
    if (results[i] == static_cast<int32_t>(header_ + packets[i]->length)) continue;
    *error = results[i] < 0 ? -results[i] : EIO;
    return i;
  }
  return added;
}

uint32_t TapPort::tx_burst(Packet* const* packets, uint32_t count) {
  uint32_t sent = 0;
  while (sent < count) {
    int error = 0;
    sent += write_some(packets + sent, count - sent, &error);
    if (error == 0 || error == ECANCELED || error == EINTR) continue;
    if (error != EAGAIN && error != ENOBUFS) ++tx_errors;
    break;
  }
  return sent;
}

}  // namespace vrouter
