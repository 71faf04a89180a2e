#include "port/af_packet_port.h"

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/bytes.h"
#include "port/netdevice.h"
#include "port/virtio_header.h"

namespace vrouter {

namespace {

constexpr uint32_t kBatch = 64;         // frames a system call
constexpr int kReceiveBytes = 8 << 20;  // of the socket's queue

struct alignas(cmsghdr) Auxiliary {
  uint8_t bytes[CMSG_SPACE(sizeof(tpacket_auxdata))];
};

const tpacket_auxdata* auxiliary_of(const msghdr& message) {
  for (cmsghdr* c = CMSG_FIRSTHDR(&message); c != nullptr;
       c = CMSG_NXTHDR(const_cast<msghdr*>(&message), c)) {
    if (c->cmsg_level == SOL_PACKET && c->cmsg_type == PACKET_AUXDATA &&
        c->cmsg_len >= CMSG_LEN(sizeof(tpacket_auxdata))) {
      return reinterpret_cast<const tpacket_auxdata*>(CMSG_DATA(c));
    }
  }
  return nullptr;
}

// What offload says of bytes behind the tag is counted from the buffer's start and stays true.
void insert_vlan_tag(Packet& packet, uint16_t type, uint16_t tag) {
  uint8_t* frame = packet.push(4);
  std::memmove(frame, frame + 4, 12);
  store_be16(frame + 12, type);
  store_be16(frame + 14, tag);
}

bool set_option(int fd, int name, int value) {
  return setsockopt(fd, SOL_PACKET, name, &value, sizeof value) == 0;
}

}  // namespace

std::unique_ptr<AfPacketPort> AfPacketPort::open(const std::string& interface, bool promiscuous,
                                                 Status* status, std::string* detail) {
  *status = Status::done();
  if (!valid_interface_name(interface)) {
    fail_port(status, detail, StatusCode::BadValue, "interface",
              "'" + interface + "' is no interface name", 0);
    return nullptr;
  }
  // Protocol 0: nothing is received until bind() has named the interface.
  const int fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) {
    fail_port(status, detail, StatusCode::PortFailed, "socket", "AF_PACKET socket", errno);
    return nullptr;
  }
  std::unique_ptr<AfPacketPort> port(new AfPacketPort(fd, 0));
  const auto failed = [&](StatusCode code, const char* field) {
    fail_port(status, detail, code, field, interface, errno);
    return nullptr;
  };

  int index = 0;
  if (!interface_index(fd, interface, &index) || !interface_mtu(fd, interface, &port->mtu_)) {
    return failed(StatusCode::NotFound, "interface");
  }
  if (!set_option(fd, PACKET_IGNORE_OUTGOING, 1)) return failed(StatusCode::PortFailed, "outgoing");
  if (!set_option(fd, PACKET_AUXDATA, 1)) return failed(StatusCode::PortFailed, "auxdata");
  if (!set_option(fd, PACKET_VNET_HDR, 1)) return failed(StatusCode::PortFailed, "vnet_hdr");
  // A larger queue is welcome, not needed: a privilege or a limit may stand in the way.
  const int bytes = kReceiveBytes;
  if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes) != 0) {
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
  }
  sockaddr_ll address{};
  address.sll_family = AF_PACKET;
  address.sll_protocol = htons(ETH_P_ALL);
  address.sll_ifindex = index;
  if (bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    return failed(StatusCode::PortFailed, "bind");
  }
  if (promiscuous) {
    packet_mreq membership{};
    membership.mr_ifindex = index;
    membership.mr_type = PACKET_MR_PROMISC;
    if (setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &membership, sizeof membership) != 0) {
      return failed(StatusCode::PortFailed, "promiscuous");
    }
  }
  return port;
}

std::unique_ptr<AfPacketPort> AfPacketPort::adopt(int fd, Status* status, std::string* detail) {
  *status = Status::done();
  std::unique_ptr<AfPacketPort> port(new AfPacketPort(fd, 0));
  sockaddr_ll address{};
  socklen_t length = sizeof address;
  const bool named = getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length) == 0 &&
                     address.sll_family == AF_PACKET;
  std::string interface;
  if (!named || !interface_name(fd, address.sll_ifindex, &interface) ||
      !interface_mtu(fd, interface, &port->mtu_)) {
    fail_port(status, detail, StatusCode::BadValue, "fd", "no bound AF_PACKET socket", errno);
    return nullptr;
  }
  // A kernel tier of the process that had it may have kept frames from it (tier/tier.bpf.c).
  const int none = 0;
  setsockopt(fd, SOL_SOCKET, SO_DETACH_FILTER, &none, sizeof none);
  return port;
}

bool AfPacketPort::up() const {
  sockaddr_ll address{};
  socklen_t size = sizeof address;
  std::string interface;
  bool up = false;
  return getsockname(fd_, reinterpret_cast<sockaddr*>(&address), &size) == 0 &&
         interface_name(fd_, address.sll_ifindex, &interface) &&
         interface_up(fd_, interface, &up) && up;
}

AfPacketPort::~AfPacketPort() { ::close(fd_); }

// Makes of what the kernel gave a packet: its offloads, and the tag that was taken out of it.
AfPacketPort::Fate AfPacketPort::complete(Packet& packet, const VirtioHeader& vnet,
                                          const void* message) {
  const msghdr& header = static_cast<const mmsghdr*>(message)->msg_hdr;
  if ((header.msg_flags & MSG_TRUNC) != 0) return Fate::Discard;
  // Before the tag goes back: the offsets are of the frame without it.
  if (!take_virtio_header(vnet, kVirtioHeader, packet)) return Fate::Error;
  const tpacket_auxdata* auxiliary = auxiliary_of(header);
  if (auxiliary != nullptr && (auxiliary->tp_status & TP_STATUS_VLAN_VALID) != 0) {
    if (packet.length < 12) return Fate::Error;
    const bool typed = (auxiliary->tp_status & TP_STATUS_VLAN_TPID_VALID) != 0;
    insert_vlan_tag(packet, typed ? auxiliary->tp_vlan_tpid : uint16_t{ETH_P_8021Q},
                    auxiliary->tp_vlan_tci);
  }
  return Fate::Keep;
}

// Takes one frame there is no buffer for. False: there was none.
bool AfPacketPort::discard_one() {
  // Even a frame that is thrown away needs room for the header.
  uint8_t header[kVirtioHeader];
  iovec part{header, sizeof header};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (recvmsg(fd_, &message, MSG_DONTWAIT) < 0) return false;
  ++rx_discards;
  return true;
}

uint32_t AfPacketPort::rx_burst(PacketPool& pool, Packet** out, uint32_t max) {
  VirtioHeader vnet[kBatch];
  Auxiliary auxiliary[kBatch];
  iovec parts[kBatch][2];
  mmsghdr messages[kBatch];
  Packet* packets[kBatch];
  const uint32_t asked = expected_.within(std::min(max, kBatch));
  if (asked == 0) return 0;
  uint32_t batch = 0;
  for (; batch < asked; ++batch) {
    packets[batch] = pool.allocate();
    if (packets[batch] == nullptr) break;
    parts[batch][0] = {&vnet[batch], kVirtioHeader};
    parts[batch][1] = {packets[batch]->data(), pool.buffer_bytes()};
    messages[batch] = {};
    messages[batch].msg_hdr.msg_iov = parts[batch];
    messages[batch].msg_hdr.msg_iovlen = 2;
    messages[batch].msg_hdr.msg_control = auxiliary[batch].bytes;
    messages[batch].msg_hdr.msg_controllen = sizeof auxiliary[batch].bytes;
  }
  if (batch == 0) {
    discard_one();
    return 0;
  }
  int got;
  do {
    got = recvmmsg(fd_, messages, batch, MSG_DONTWAIT, nullptr);
  } while (got < 0 && errno == EINTR);
  // Otherwise the interface went down or away: said once by the kernel.
  if (got < 0 && errno != EAGAIN) ++rx_errors;
  const uint32_t found = static_cast<uint32_t>(std::max(got, 0));
  uint32_t taken = 0;
  for (uint32_t i = 0; i < batch; ++i) {
    if (i >= found) {
      pool.free(packets[i]);
      continue;
    }
    const uint32_t length = messages[i].msg_len;
    Fate fate = Fate::Error;
    if (length > kVirtioHeader) {
      packets[i]->append(length - kVirtioHeader);
      fate = complete(*packets[i], vnet[i], &messages[i]);
    }
    if (fate == Fate::Keep) {
      out[taken++] = packets[i];
      continue;
    }
    ++(fate == Fate::Discard ? rx_discards : rx_errors);
    pool.free(packets[i]);
  }
  expected_.learn(batch, found, out, taken);
  return taken;
}

uint32_t AfPacketPort::tx_burst(Packet* const* packets, uint32_t count) {
  uint32_t sent = 0;
  while (sent < count) {
    iovec parts[kBatch][2];
    VirtioHeader vnet[kBatch];
    mmsghdr messages[kBatch];
    uint32_t batch = 0;
    for (; batch < std::min(kBatch, count - sent); ++batch) {
      const Packet& packet = *packets[sent + batch];
      if (!fits(packet) || !give_virtio_header(packet, kVirtioHeader, vnet[batch])) break;
      parts[batch][0] = {&vnet[batch], kVirtioHeader};
      parts[batch][1] = {const_cast<uint8_t*>(packet.data()), packet.length};
      messages[batch] = {};
      messages[batch].msg_hdr.msg_iov = parts[batch];
      messages[batch].msg_hdr.msg_iovlen = 2;
    }
    if (batch == 0) {
      ++tx_errors;
      break;
    }
    const int went = sendmmsg(fd_, messages, batch, MSG_DONTWAIT);
    if (went > 0) {
      sent += static_cast<uint32_t>(went);
      continue;
    }
    if (went < 0 && errno == EINTR) continue;
    // Full for now, or this frame can never go; the error is always the first frame's.
    if (went == 0 || (errno != EAGAIN && errno != ENOBUFS)) ++tx_errors;
    break;
  }
  return sent;
}

}  // namespace vrouter
