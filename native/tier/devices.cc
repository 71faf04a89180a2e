#include "tier/devices.h"

#include <fcntl.h>
#include <linux/ethtool.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>
#include <linux/veth.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "port/netdevice.h"
#include "port/network_namespace.h"

namespace vrouter {
namespace {

constexpr uint32_t kCompanionMtu = 65535;  // whatever passes has been measured by then

std::string reason(const std::string& what, int error) {
  return what + ": " + std::strerror(error);
}

// An rtnetlink request as it grows; 512 bytes hold all that is asked here.
class Request {
 public:
  Request(uint16_t type, uint16_t flags) {
    header()->nlmsg_type = type;
    header()->nlmsg_flags = static_cast<uint16_t>(NLM_F_REQUEST | NLM_F_ACK | flags);
    header()->nlmsg_len = NLMSG_LENGTH(0);
    link();
  }
  // A struct ifinfomsg of zeros.
  void link() { length() += NLMSG_ALIGN(sizeof(ifinfomsg)); }
  void add(uint16_t type, const void* data, size_t bytes) {
    rtattr* at = reinterpret_cast<rtattr*>(bytes_ + NLMSG_ALIGN(length()));
    at->rta_type = type;
    at->rta_len = static_cast<uint16_t>(RTA_LENGTH(bytes));
    if (bytes != 0) std::memcpy(RTA_DATA(at), data, bytes);
    length() = static_cast<uint32_t>(NLMSG_ALIGN(length()) + RTA_ALIGN(at->rta_len));
  }
  void add(uint16_t type, const std::string& text) { add(type, text.c_str(), text.size() + 1); }
  void add(uint16_t type, uint32_t value) { add(type, &value, sizeof value); }
  uint32_t begin(uint16_t type) {
    const uint32_t at = static_cast<uint32_t>(NLMSG_ALIGN(length()));
    add(type, nullptr, 0);
    return at;
  }
  void end(uint32_t at) {
    reinterpret_cast<rtattr*>(bytes_ + at)->rta_len = static_cast<uint16_t>(length() - at);
  }
  // 0 or errno.
  int send() {
    const int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    if (fd < 0) return errno;
    alignas(nlmsghdr) uint8_t answer[1024];
    ssize_t got = ::send(fd, bytes_, length(), 0);
    if (got >= 0) got = recv(fd, answer, sizeof answer, 0);
    const int error = errno;
    ::close(fd);
    if (got < 0) return error;
    const nlmsghdr* head = reinterpret_cast<const nlmsghdr*>(answer);
    if (static_cast<size_t>(got) < NLMSG_LENGTH(sizeof(nlmsgerr)) ||
        head->nlmsg_type != NLMSG_ERROR) {
      return EPROTO;
    }
    return -reinterpret_cast<const nlmsgerr*>(NLMSG_DATA(head))->error;
  }

 private:
  nlmsghdr* header() { return reinterpret_cast<nlmsghdr*>(bytes_); }
  uint32_t& length() { return header()->nlmsg_len; }
  alignas(nlmsghdr) uint8_t bytes_[512] = {};
};

// No addresses of its own, so that it says nothing by itself. Without IPv6 there is nothing to switch off.
void silence(const std::string& name) {
  const std::string path = "/proc/sys/net/ipv6/conf/" + name + "/disable_ipv6";
  const int fd = ::open(path.c_str(), O_WRONLY | O_CLOEXEC);
  if (fd < 0) return;
  [[maybe_unused]] const ssize_t written = write(fd, "1", 1);
  ::close(fd);
}

bool ethtool(const std::string& name, uint32_t command, bool on) {
  const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return false;
  ethtool_value value{command, on ? 1u : 0u};
  ifreq request{};
  std::strncpy(request.ifr_name, name.c_str(), IFNAMSIZ - 1);
  request.ifr_data = reinterpret_cast<char*>(&value);
  const bool done = ioctl(fd, SIOCETHTOOL, &request) == 0;
  ::close(fd);
  return done;
}

bool set_up(const std::string& name) {
  silence(name);
  const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  const bool done = fd >= 0 && set_interface_up(fd, name);
  if (fd >= 0) ::close(fd);
  return done;
}

}  // namespace

uint32_t device_index(const std::string& name) { return if_nametoindex(name.c_str()); }

std::string in_namespace(const std::string& netns, const std::function<void()>& f) {
  const int fd = open_namespace(netns);
  if (fd < 0) return reason(netns, errno);
  const int error = run_in_namespace(fd, f);
  ::close(fd);
  return error == 0 ? "" : reason(netns, error);
}

std::string make_companion(const std::string& name, const std::string& netns) {
  remove_companion(name);
  const int fd = open_namespace(netns);
  if (fd < 0) return reason(netns, errno);
  Request request(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL);
  request.add(IFLA_IFNAME, name);
  request.add(IFLA_MTU, kCompanionMtu);
  const uint32_t info = request.begin(IFLA_LINKINFO);
  request.add(IFLA_INFO_KIND, std::string("veth"));
  const uint32_t data = request.begin(IFLA_INFO_DATA);
  const uint32_t peer = request.begin(VETH_INFO_PEER);
  request.link();
  request.add(IFLA_IFNAME, name);
  request.add(IFLA_MTU, kCompanionMtu);
  request.add(IFLA_NET_NS_FD, static_cast<uint32_t>(fd));
  request.end(peer);
  request.end(data);
  request.end(info);
  const int error = request.send();
  ::close(fd);
  if (error != 0) return reason("veth " + name, error);
  bool up = set_up(name);
  const std::string entered = in_namespace(netns, [&] { up = up && set_up(name); });
  if (entered.empty() && up) return "";
  remove_companion(name);
  return entered.empty() ? "veth " + name + " did not come up" : entered;
}

void remove_companion(const std::string& name) {
  Request request(RTM_DELLINK, 0);
  request.add(IFLA_IFNAME, name);
  request.send();
}

bool set_device_segments(const std::string& name, bool on) {
  return ethtool(name, ETHTOOL_STSO, on);
}

bool set_device_merges(const std::string& name, bool on) { return ethtool(name, ETHTOOL_SGRO, on); }

}  // namespace vrouter
