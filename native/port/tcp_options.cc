#include "port/tcp_options.h"

#include <netinet/in.h>
// Behind netinet/in.h, which it would repeat otherwise.
#include <linux/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace vrouter {
namespace {

constexpr int kTrafficClass = 0xc0;  // CS6, network control (RFC 4594 3.2)

static_assert(kMaxTcpKey == TCP_MD5SIG_MAXKEYLEN);

// Of a family named by the bytes of its addresses. Length of what was written; 0: no such family.
socklen_t write_address(std::span<const uint8_t> address, uint16_t port, sockaddr_storage& out) {
  std::memset(&out, 0, sizeof out);
  if (address.size() == sizeof(in_addr)) {
    auto& in = reinterpret_cast<sockaddr_in&>(out);
    in.sin_family = AF_INET;
    in.sin_port = htons(port);
    std::memcpy(&in.sin_addr, address.data(), address.size());
    return sizeof in;
  }
  if (address.size() == sizeof(in6_addr)) {
    auto& in = reinterpret_cast<sockaddr_in6&>(out);
    in.sin6_family = AF_INET6;
    in.sin6_port = htons(port);
    std::memcpy(&in.sin6_addr, address.data(), address.size());
    return sizeof in;
  }
  errno = EAFNOSUPPORT;
  return 0;
}

bool set_number(int fd, int level, int name, int value) {
  return setsockopt(fd, level, name, &value, sizeof value) == 0;
}

bool prepare(int fd, const sockaddr_storage& address, socklen_t length, bool bound) {
  const bool six = address.ss_family == AF_INET6;
  set_number(fd, six ? IPPROTO_IPV6 : IPPROTO_IP, six ? IPV6_TCLASS : IP_TOS, kTrafficClass);
  if (!bound) return true;
  return set_number(fd, SOL_SOCKET, SO_REUSEADDR, 1) &&
         (!six || set_number(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1)) &&
         bind(fd, reinterpret_cast<const sockaddr*>(&address), length) == 0;
}

}  // namespace

int open_tcp_socket(std::span<const uint8_t> address, uint16_t port, bool bound) {
  sockaddr_storage where;
  const socklen_t length = write_address(address, port, where);
  if (length == 0) return -1;
  const int fd = socket(where.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_TCP);
  if (fd < 0) return -1;
  if (prepare(fd, where, length, bound)) return fd;
  const int error = errno;
  close(fd);
  errno = error;
  return -1;
}

bool set_tcp_hops(int fd, uint8_t ttl, uint8_t min_ttl) {
  int family = 0;
  socklen_t size = sizeof family;
  if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &size) != 0) return false;
  const bool six = family == AF_INET6;
  const int level = six ? IPPROTO_IPV6 : IPPROTO_IP;
  if (ttl != 0 && !set_number(fd, level, six ? IPV6_UNICAST_HOPS : IP_TTL, ttl)) return false;
  return min_ttl == 0 || set_number(fd, level, six ? IPV6_MINHOPCOUNT : IP_MINTTL, min_ttl);
}

bool set_tcp_key(int fd, std::span<const uint8_t> address, uint8_t length,
                 std::span<const uint8_t> key) {
  sockaddr_storage where;
  if (write_address(address, 0, where) == 0) return false;
  if (key.size() > kMaxTcpKey || length > 8 * address.size()) {
    errno = EINVAL;
    return false;
  }
  tcp_md5sig signature{};
  static_assert(sizeof signature.tcpm_addr == sizeof where);
  std::memcpy(&signature.tcpm_addr, &where, sizeof where);
  signature.tcpm_keylen = static_cast<uint16_t>(key.size());
  std::memcpy(signature.tcpm_key, key.data(), key.size());
  // Older kernels know whole addresses only.
  const bool whole = length == 8 * address.size();
  if (!whole) {
    signature.tcpm_flags = TCP_MD5SIG_FLAG_PREFIX;
    signature.tcpm_prefixlen = length;
  }
  return setsockopt(fd, IPPROTO_TCP, whole ? TCP_MD5SIG : TCP_MD5SIG_EXT, &signature,
                    sizeof signature) == 0;
}

}  // namespace vrouter
