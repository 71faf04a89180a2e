#include "port/network_namespace.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>

#include <cerrno>

namespace vrouter {
namespace {

struct Errand {
  int netns;
  const std::function<void()>& f;
  int error = 0;
};

void* run(void* argument) {
  Errand& errand = *static_cast<Errand*>(argument);
  if (setns(errand.netns, CLONE_NEWNET) != 0) {
    errand.error = errno;
  } else {
    errand.f();
  }
  return nullptr;
}

}  // namespace

std::string namespace_path(const std::string& netns) {
  return netns.find('/') != std::string::npos ? netns : "/run/netns/" + netns;
}

int open_namespace(const std::string& netns) {
  return ::open(namespace_path(netns).c_str(), O_RDONLY | O_CLOEXEC);
}

int run_in_namespace(int netns, const std::function<void()>& f) {
  Errand errand{netns, f};
  pthread_t thread;
  const int failed = pthread_create(&thread, nullptr, run, &errand);
  if (failed != 0) return failed;
  pthread_join(thread, nullptr);
  return errand.error;
}

}  // namespace vrouter
