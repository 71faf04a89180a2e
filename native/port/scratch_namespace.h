// For tests: a network namespace that exists for one test, entered by the calling thread alone and
// left again; with it go all interfaces made in it. The host's namespace is never changed.
#pragma once
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

namespace vrouter {

class ScratchNamespace {
 public:
  ~ScratchNamespace() { leave(); }

  // "" when inside; else why not, for GTEST_SKIP.
  std::string enter() {
    if (geteuid() != 0) return "not root";
    before_ = ::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    if (before_ < 0) return std::string("/proc/thread-self/ns/net: ") + std::strerror(errno);
    if (unshare(CLONE_NEWNET) != 0) {
      const std::string why = std::string("unshare(CLONE_NEWNET): ") + std::strerror(errno);
      ::close(before_);
      before_ = -1;
      return why;
    }
    // Silence: the kernel's own neighbour discovery would mix with the frames of the test.
    run("echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6");
    run("echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6");
    return "";
  }
  void leave() {
    if (before_ < 0) return;
    if (setns(before_, CLONE_NEWNET) != 0) std::abort();  // never run on in a half-gone namespace
    ::close(before_);
    before_ = -1;
  }
  // A shell command inside; true when it succeeded.
  bool run(const std::string& command) {
    return std::system(("(" + command + ") >/dev/null 2>&1").c_str()) == 0;
  }
  // "" or why a veth pair a <-> b cannot be had. Both ends are up.
  std::string make_veth(const std::string& a, const std::string& b) {
    if (!run("command -v ip")) return "the ip command (iproute2) is not installed";
    if (!run("ip link add name " + a + " type veth peer name " + b))
      return "no veth interfaces here";
    if (!run("ip link set " + a + " up && ip link set " + b + " up")) return "veth did not come up";
    // Until the kernel's link watcher has seen the carrier, what is sent is thrown away and called
    // sent: the queue is still the one of an interface that is down.
    for (const std::string& end : {a, b}) {
      if (!run("for i in $(seq 300); do ip link show dev " + end +
               " | grep -q 'state UP' && exit 0; sleep 0.01; done; exit 1")) {
        return "veth has no carrier";
      }
    }
    return "";
  }

 private:
  int before_ = -1;
};

// The other end of the wire: a plain raw socket on an interface, all frames of the test's
// ethertype.
class RawWire {
 public:
  static constexpr uint16_t kTestType = 0x88b5;  // IEEE 802 local experimental

  explicit RawWire(const std::string& interface) {
    fd_ = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    sockaddr_ll address{};
    address.sll_family = AF_PACKET;
    address.sll_protocol = htons(0x0003);  // all: the test filters
    address.sll_ifindex = static_cast<int>(if_nametoindex(interface.c_str()));
    const int bytes = 8 << 20;
    setsockopt(fd_, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes);
    const int on = 1;
    setsockopt(fd_, SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof on);
    ok_ = fd_ >= 0 && address.sll_ifindex != 0 &&
          bind(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
  }
  ~RawWire() {
    if (fd_ >= 0) ::close(fd_);
  }
  RawWire(const RawWire&) = delete;
  RawWire& operator=(const RawWire&) = delete;
  bool ok() const { return ok_; }

  bool send(const std::vector<uint8_t>& frame) {
    return ::send(fd_, frame.data(), frame.size(), 0) == static_cast<ssize_t>(frame.size());
  }
  // The next frame of the test; false after a second without one.
  bool receive(std::vector<uint8_t>& out) {
    pollfd waiting{fd_, POLLIN, 0};
    while (poll(&waiting, 1, 1000) > 0) {
      out.resize(65536);
      const ssize_t got = recv(fd_, out.data(), out.size(), 0);
      if (got < 14) continue;
      out.resize(static_cast<size_t>(got));
      if (out[12] == kTestType >> 8 && out[13] == (kTestType & 0xff)) return true;
    }
    return false;
  }

 private:
  int fd_ = -1;
  bool ok_ = false;
};

}  // namespace vrouter
