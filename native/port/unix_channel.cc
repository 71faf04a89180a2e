#include "port/unix_channel.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>

namespace vrouter {
namespace {

using Clock = std::chrono::steady_clock;

constexpr size_t kHeader = 8;
constexpr int kBacklog = 16;

class Deadline {
 public:
  explicit Deadline(uint32_t ms) : at_(Clock::now() + std::chrono::milliseconds(ms)) {}
  // False: the time is up. errors and hang-ups count as ready: the call that follows tells them.
  bool wait(int fd, short events) const {
    for (;;) {
      const auto left =
          std::chrono::duration_cast<std::chrono::milliseconds>(at_ - Clock::now()).count();
      pollfd one{fd, events, 0};
      const int ready = poll(&one, 1, static_cast<int>(std::max<int64_t>(left, 0)));
      if (ready > 0) return true;
      if (ready == 0) return false;
      if (errno != EINTR) return true;
    }
  }

 private:
  Clock::time_point at_;
};

uint32_t u32_at(const uint8_t* p) {
  return uint32_t{p[0]} | uint32_t{p[1]} << 8 | uint32_t{p[2]} << 16 | uint32_t{p[3]} << 24;
}

void put_u32(uint8_t* p, uint32_t v) {
  for (int i = 0; i < 4; ++i) p[i] = static_cast<uint8_t>(v >> (8 * i));
}

bool address_of(const std::string& path, sockaddr_un& out) {
  out = {};
  out.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof out.sun_path) {
    errno = ENAMETOOLONG;
    return false;
  }
  std::memcpy(out.sun_path, path.data(), path.size());
  return true;
}

int close_with_error(int fd) {
  const int error = errno;
  close(fd);
  errno = error;
  return -1;
}

}  // namespace

void UnixChannel::forget() {
  for (const int fd : fds_) ::close(fd);
  fds_.clear();
  body_.clear();
  header_have_ = body_have_ = 0;
}

void UnixChannel::close() {
  forget();
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
}

ChannelStatus UnixChannel::send(std::span<const uint8_t> bytes, std::span<const int> fds,
                                uint32_t timeout_ms) {
  if (bytes.size() > kMaxMessageBytes || fds.size() > kMaxMessageFds) {
    return ChannelStatus::TooLarge;
  }
  const Deadline deadline(timeout_ms);
  uint8_t header[kHeader];
  put_u32(header, static_cast<uint32_t>(bytes.size()));
  put_u32(header + 4, static_cast<uint32_t>(fds.size()));
  alignas(cmsghdr) uint8_t control[CMSG_SPACE(sizeof(int) * kMaxMessageFds)] = {};
  bool with_fds = !fds.empty();
  for (size_t sent = 0; sent < kHeader + bytes.size();) {
    iovec parts[2];
    int count = 0;
    if (sent < kHeader) parts[count++] = {header + sent, kHeader - sent};
    const size_t body = sent < kHeader ? 0 : sent - kHeader;
    if (body < bytes.size()) {
      parts[count++] = {const_cast<uint8_t*>(bytes.data()) + body, bytes.size() - body};
    }
    msghdr message{};
    message.msg_iov = parts;
    message.msg_iovlen = static_cast<size_t>(count);
    if (with_fds) {
      message.msg_control = control;
      message.msg_controllen = CMSG_SPACE(sizeof(int) * fds.size());
      cmsghdr* c = CMSG_FIRSTHDR(&message);
      c->cmsg_level = SOL_SOCKET;
      c->cmsg_type = SCM_RIGHTS;
      c->cmsg_len = CMSG_LEN(sizeof(int) * fds.size());
      std::memcpy(CMSG_DATA(c), fds.data(), sizeof(int) * fds.size());
    }
    const ssize_t n = sendmsg(fd_, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n >= 0) {
      sent += static_cast<size_t>(n);
      with_fds = false;  // they went with the first byte
      continue;
    }
    if (errno == EINTR) continue;
    if (errno == EPIPE || errno == ECONNRESET) return ChannelStatus::Closed;
    if (errno != EAGAIN && errno != EWOULDBLOCK) return ChannelStatus::Failed;
    if (!deadline.wait(fd_, POLLOUT)) return ChannelStatus::Timeout;
  }
  return ChannelStatus::Ok;
}

// Bytes and whatever descriptors come with them.
ChannelStatus UnixChannel::fill(uint8_t* into, size_t wanted, size_t& have) {
  while (have < wanted) {
    alignas(cmsghdr) uint8_t control[CMSG_SPACE(sizeof(int) * kMaxMessageFds)];
    iovec part{into + have, wanted - have};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    const ssize_t n = recvmsg(fd_, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (n < 0) {
      if (errno == EINTR) continue;
      if (errno == EAGAIN || errno == EWOULDBLOCK) return ChannelStatus::Waiting;
      return errno == ECONNRESET ? ChannelStatus::Closed : ChannelStatus::Failed;
    }
    for (cmsghdr* c = CMSG_FIRSTHDR(&message); c != nullptr; c = CMSG_NXTHDR(&message, c)) {
      if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
      const size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
      for (size_t i = 0; i < count; ++i) {
        int fd;
        std::memcpy(&fd, CMSG_DATA(c) + i * sizeof fd, sizeof fd);
        fds_.push_back(fd);
      }
    }
    if (n == 0) return ChannelStatus::Closed;
    if ((message.msg_flags & MSG_CTRUNC) != 0 || fds_.size() > kMaxMessageFds) {
      return ChannelStatus::Malformed;
    }
    have += static_cast<size_t>(n);
  }
  return ChannelStatus::Ok;
}

ChannelStatus UnixChannel::receive(std::vector<uint8_t>& bytes, std::vector<int>& fds) {
  if (header_have_ < kHeader) {
    if (const auto got = fill(header_, kHeader, header_have_); got != ChannelStatus::Ok) return got;
    if (u32_at(header_) > kMaxMessageBytes || u32_at(header_ + 4) > kMaxMessageFds) {
      return ChannelStatus::TooLarge;
    }
    body_.resize(u32_at(header_));
    body_have_ = 0;
  }
  if (const auto got = fill(body_.data(), body_.size(), body_have_); got != ChannelStatus::Ok) {
    return got;
  }
  if (fds_.size() != u32_at(header_ + 4)) return ChannelStatus::Malformed;
  bytes.swap(body_);
  fds.swap(fds_);
  body_.clear();
  fds_.clear();
  header_have_ = body_have_ = 0;
  return ChannelStatus::Ok;
}

ChannelStatus UnixChannel::receive(std::vector<uint8_t>& bytes, std::vector<int>& fds,
                                   uint32_t timeout_ms) {
  const Deadline deadline(timeout_ms);
  for (;;) {
    const ChannelStatus got = receive(bytes, fds);
    if (got != ChannelStatus::Waiting) return got;
    if (!deadline.wait(fd_, POLLIN)) return ChannelStatus::Timeout;
  }
}

int connect_unix(const std::string& path) {
  sockaddr_un address;
  if (!address_of(path, address)) return -1;
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return -1;
  int failed;
  do {
    failed = connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address);
  } while (failed != 0 && errno == EINTR);
  return failed == 0 ? fd : close_with_error(fd);
}

int listen_unix(const std::string& path) {
  sockaddr_un address;
  if (!address_of(path, address)) return -1;
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return -1;
  const bool listens = bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 &&
                       chmod(path.c_str(), 0600) == 0 && listen(fd, kBacklog) == 0;
  return listens ? fd : close_with_error(fd);
}

int accept_unix(int listener) {
  for (;;) {
    const int fd = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd >= 0 || (errno != EINTR && errno != ECONNABORTED)) return fd;
  }
}

}  // namespace vrouter
