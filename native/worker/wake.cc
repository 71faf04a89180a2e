#include "worker/wake.h"

#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>

namespace vrouter {

namespace {

bool add(int set, int fd, uint32_t id) {
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u32 = id;
  return epoll_ctl(set, EPOLL_CTL_ADD, fd, &event) == 0;
}

constexpr uint32_t kEvent = 0;
constexpr uint32_t kPorts = 1;

}  // namespace

Wake::Wake()
    : event_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)),
      ports_(epoll_create1(EPOLL_CLOEXEC)),
      all_(epoll_create1(EPOLL_CLOEXEC)) {
  if (ok() && !(add(all_, event_, kEvent) && add(all_, ports_, kPorts))) {
    close(all_);
    all_ = -1;
  }
}

Wake::~Wake() {
  for (const int fd : {event_, ports_, all_}) {
    if (fd >= 0) close(fd);
  }
}

bool Wake::ok() const { return event_ >= 0 && ports_ >= 0 && all_ >= 0; }

void Wake::watch(int fd, uint32_t id) {
  if (fd < 0) return;
  watched_.push_back({fd, id});
  if (watched_.size() == kFew + 1) {
    for (const Watched& one : watched_) add(ports_, one.fd, one.id);
  } else if (!few()) {
    add(ports_, fd, id);
  }
}

void Wake::forget(int fd) {
  const auto at = std::find_if(watched_.begin(), watched_.end(),
                               [fd](const Watched& one) { return one.fd == fd; });
  if (at == watched_.end()) return;
  const bool were_many = !few();
  watched_.erase(at);
  if (!were_many) return;
  epoll_ctl(ports_, EPOLL_CTL_DEL, fd, nullptr);
  if (!few()) return;
  for (const Watched& one : watched_) epoll_ctl(ports_, EPOLL_CTL_DEL, one.fd, nullptr);
}

uint32_t Wake::ready(uint32_t* out) {
  if (few()) {
    pollfd asked[kFew];
    const uint32_t count = static_cast<uint32_t>(watched_.size());
    for (uint32_t i = 0; i < count; ++i) asked[i] = {watched_[i].fd, POLLIN, 0};
    if (count == 0 || poll(asked, count, 0) <= 0) return 0;
    uint32_t found = 0;
    for (uint32_t i = 0; i < count; ++i) {
      if (asked[i].revents != 0) out[found++] = watched_[i].id;
    }
    return found;
  }
  epoll_event events[kMaxReady];
  const int found = epoll_wait(ports_, events, kMaxReady, 0);
  for (int i = 0; i < found; ++i) out[i] = events[i].data.u32;
  return found > 0 ? static_cast<uint32_t>(found) : 0;
}

// Sleeps on the event and, unless only_wake, on the few descriptors.
bool Wake::poll_all(int timeout_ms, bool only_wake) {
  pollfd asked[kFew + 1];
  asked[0] = {event_, POLLIN, 0};
  uint32_t count = 1;
  if (!only_wake) {
    for (const Watched& one : watched_) asked[count++] = {one.fd, POLLIN, 0};
  }
  const int found = poll(asked, count, timeout_ms);
  return found > (asked[0].revents != 0 ? 1 : 0);
}

bool Wake::sleep(uint32_t milliseconds, bool only_wake) {
  asleep_.store(1);
  bool by_port = false;
  if (pending_.load() == 0) {
    const int timeout = static_cast<int>(milliseconds);
    if (only_wake || few()) {
      by_port = poll_all(timeout, only_wake);
    } else {
      epoll_event events[2];
      const int found = epoll_wait(all_, events, 2, timeout);
      for (int i = 0; i < found; ++i) by_port = by_port || events[i].data.u32 == kPorts;
    }
  }
  asleep_.store(0);
  pending_.exchange(0);  // an exchange: what the waker wrote before is ours to see
  uint64_t fired;
  while (read(event_, &fired, sizeof fired) > 0) {
  }
  return by_port;
}

void Wake::wake() {
  pending_.store(1);
  if (asleep_.load() == 0) return;
  const uint64_t one = 1;
  // Full (2^64 - 2 wakes unread) cannot be; a worker that was just woken finds one wake too many.
  [[maybe_unused]] const ssize_t written = write(event_, &one, sizeof one);
}

}  // namespace vrouter
