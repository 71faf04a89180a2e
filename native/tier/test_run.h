// For tests: the kernel tier's programs, run by the kernel on frames of the test (BPF_PROG_TEST_RUN), over the maps of
// a tier; and devices that such a tier can join, in a namespace of their own.
#pragma once
#include <gtest/gtest.h>
#include <linux/bpf.h>
#include <sched.h>
#include <sys/syscall.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "port/scratch_namespace.h"
#include "tier/devices.h"
#include "tier/kernel_tier.h"
#include "tier/programs.h"

namespace vrouter::tier_twin {

using Bytes = std::vector<uint8_t>;

struct Ran {
  int error = 0;  // of the call: the frame was none for the kernel
  int result = 0;
  Bytes frame;
};
constexpr int kNext = -1;
constexpr int kDropped = 2;
constexpr int kRedirected = 7;

inline Ran run(const bpf::Handle& program, const Bytes& frame, uint32_t gso_size = 0) {
  Ran ran;
  ran.frame.resize(8192);
  __sk_buff context{};
  context.gso_size = gso_size;
  context.gso_segs = gso_size != 0 ? 2 : 0;
  bpf_attr attr;
  std::memset(&attr, 0, sizeof attr);
  attr.test.prog_fd = static_cast<uint32_t>(program.fd());
  attr.test.data_in = reinterpret_cast<uintptr_t>(frame.data());
  attr.test.data_size_in = static_cast<uint32_t>(frame.size());
  attr.test.data_out = reinterpret_cast<uintptr_t>(ran.frame.data());
  attr.test.data_size_out = static_cast<uint32_t>(ran.frame.size());
  if (gso_size != 0) {
    attr.test.ctx_in = reinterpret_cast<uintptr_t>(&context);
    attr.test.ctx_size_in = sizeof context;
  }
  if (syscall(__NR_bpf, BPF_PROG_TEST_RUN, &attr, sizeof attr) != 0) ran.error = errno;
  ran.result = static_cast<int>(attr.test.retval);
  ran.frame.resize(ran.error == 0 ? attr.test.data_size_out : 0);
  return ran;
}

// A tenant's namespace, by a path; it goes with its descriptor.
class Elsewhere {
 public:
  Elsewhere() {
    std::thread([this] {
      if (unshare(CLONE_NEWNET) == 0)
        fd_ = ::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    }).join();
  }
  ~Elsewhere() {
    if (fd_ >= 0) ::close(fd_);
  }
  Elsewhere(const Elsewhere&) = delete;
  Elsewhere& operator=(const Elsewhere&) = delete;
  bool ok() const { return fd_ >= 0; }
  std::string path() const {
    return "/proc/" + std::to_string(getpid()) + "/fd/" + std::to_string(fd_);
  }

  bool run(const std::string& command) const {
    bool done = false;
    const std::string why = in_namespace(
        path(), [&] { done = std::system(("(" + command + ") >/dev/null 2>&1").c_str()) == 0; });
    EXPECT_EQ(why, "");
    return done;
  }
  uint32_t index(const std::string& name) const {
    uint32_t found = 0;
    EXPECT_EQ(in_namespace(path(), [&] { found = device_index(name); }), "");
    return found;
  }

 private:
  int fd_ = -1;
};

// What a tier joins, in a namespace of its own.
class Devices {
 public:
  ~Devices() {
    if (socket_ >= 0) ::close(socket_);
  }
  // "" or why there can be none.
  std::string make() {
    if (const std::string why = space_.enter(); !why.empty()) return why;
    if (!space_.run("ip link add name fab0 type veth peer name fab1 && ip link set fab0 up && "
                    "ip link add name ten0 type veth peer name ten1 && ip link set ten0 up")) {
      return "no veth interfaces here";
    }
    socket_ = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
    // The verdict between two programs is of one CPU.
    cpu_set_t cpus;
    CPU_ZERO(&cpus);
    CPU_SET(static_cast<size_t>(sched_getcpu()), &cpus);
    sched_getaffinity(0, sizeof before_, &before_);
    sched_setaffinity(0, sizeof cpus, &cpus);
    pinned_ = true;
    return "";
  }
  void leave() {
    if (pinned_) sched_setaffinity(0, sizeof before_, &before_);
    space_.leave();
  }
  TierDevice fabric() const { return {TierWay::Fabric, "fab0", "", -1, true}; }
  TierDevice tenant() const { return {TierWay::Tenant, "ten0", "", socket_, true}; }
  int socket_of_tenant() const { return socket_; }
  ScratchNamespace& space() { return space_; }

 private:
  ScratchNamespace space_;
  int socket_ = -1;
  cpu_set_t before_;
  bool pinned_ = false;
};

class Programs {
 public:
  // "" or why not.
  std::string load(const KernelTier& tier, PortId tenant) {
    using enum bpf::ProgramKind;
    const bpf::Fills fills = tier.fills(tenant);
    std::string why;
    filter_ = bpf::load_program(SocketFilter, programs::tenant_filter, fills, "filter", &why);
    tenant_in_ = bpf::load_program(Classifier, programs::tenant_in, fills, "tenant_in", &why);
    tap_out_ = bpf::load_program(Classifier, programs::tap_out, fills, "tap_out", &why);
    companion_in_ = bpf::load_program(Classifier, programs::companion_in, fills, "comp_in", &why);
    fabric_in_ = bpf::load_program(Classifier, programs::fabric_in, fills, "fabric_in", &why);
    const bpf::Handle lanes(dup(fills.lanes));
    void* at = bpf::map_memory(lanes, sizeof(lane) * kMaxLanes);
    lanes_ = static_cast<lane*>(at);
    return why.empty() && at == nullptr ? "no memory of the map" : why;
  }

  // A tenant's frame past the socket's filter. That sees a frame from its Ethernet header on, as on a
  // socket; the kernel takes one such header off what it runs a filter on, so one is put in front.
  bool filter(const Bytes& frame, uint32_t gso_size = 0) const {
    if (frame.size() < 14) return false;
    Bytes wrapped(frame.begin(), frame.begin() + 14);
    wrapped.insert(wrapped.end(), frame.begin(), frame.end());
    const Ran ran = run(filter_, wrapped, gso_size);
    return ran.error == 0 && ran.result == 0;
  }
  // What leaves for a tenant's frame, or for one of the fabric; nothing: not carried, and not touched.
  std::optional<Bytes> by_veth(const Bytes& frame) const {
    const bool found = filter(frame);
    return carried(run(tenant_in_, frame), frame, found);
  }
  std::optional<Bytes> by_tap(const Bytes& frame) const {
    const Ran handed = run(tap_out_, frame);
    if (!carried(handed, frame, handed.result == kRedirected)) return std::nullopt;
    EXPECT_EQ(handed.frame, frame);
    return carried(run(companion_in_, frame), frame, true);
  }
  std::optional<Bytes> from_fabric(const Bytes& frame) const {
    const Ran ran = run(fabric_in_, frame);
    return carried(ran, frame, ran.result == kRedirected);
  }
  Ran companion(const Bytes& frame) const { return run(companion_in_, frame); }
  Ran fabric(const Bytes& frame, uint32_t gso_size) const {
    return run(fabric_in_, frame, gso_size);
  }

  lane& at(uint32_t index) const { return lanes_[index]; }

 private:
  static std::optional<Bytes> carried(const Ran& ran, const Bytes& frame, bool expected) {
    if (ran.error != 0) return std::nullopt;
    if (!expected) {
      EXPECT_EQ(ran.result, kNext);
      EXPECT_EQ(ran.frame, frame) << "touched, and not carried";
      return std::nullopt;
    }
    EXPECT_EQ(ran.result, kRedirected);
    return ran.frame;
  }

  bpf::Handle filter_, tenant_in_, tap_out_, companion_in_, fabric_in_;
  lane* lanes_ = nullptr;  // the map's, until the process ends
};

}  // namespace vrouter::tier_twin
