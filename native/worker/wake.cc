#include "worker/wake.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <new>

namespace vrouter {

struct Wake::Set {
  int event = -1;
  uint32_t count = 0;  // descriptors[0] is the event, ports follow
  uint32_t capacity = 0;
  std::unique_ptr<pollfd[]> descriptors;
};

Wake::Wake(uint32_t max_descriptors) : set_(std::make_unique<Set>()) {
  set_->event = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  set_->descriptors.reset(new (std::nothrow) pollfd[max_descriptors + 1]);
  if (!set_->descriptors) return;
  set_->capacity = max_descriptors + 1;
  set_->descriptors[0] = {set_->event, POLLIN, 0};
  set_->count = 1;
}

Wake::~Wake() {
  if (set_->event >= 0) close(set_->event);
}

bool Wake::ok() const { return set_->event >= 0 && set_->count != 0; }

void Wake::clear() { set_->count = 1; }

void Wake::watch(int fd) {
  if (fd < 0 || set_->count == set_->capacity) return;
  set_->descriptors[set_->count++] = {fd, POLLIN, 0};
}

bool Wake::sleep(uint32_t milliseconds, bool only_wake) {
  asleep_.store(1);
  bool ready = false;
  if (pending_.load() == 0) {
    const nfds_t count = only_wake ? 1 : set_->count;
    const int found = poll(set_->descriptors.get(), count, static_cast<int>(milliseconds));
    ready = found > 0 && !(found == 1 && set_->descriptors[0].revents != 0);
  }
  asleep_.store(0);
  pending_.exchange(0);  // an exchange: what the waker wrote before is ours to see
  uint64_t fired;
  while (read(set_->event, &fired, sizeof fired) > 0) {
  }
  return ready;
}

void Wake::wake() {
  pending_.store(1);
  if (asleep_.load() == 0) return;
  const uint64_t one = 1;
  // Full (2^64 - 2 wakes unread) cannot be; a worker that was just woken finds one wake too many.
  [[maybe_unused]] const ssize_t written = write(set_->event, &one, sizeof one);
}

}  // namespace vrouter
