// bare_relay POD_TAP POD_NETNS UPLINK_TAP ID FAR_ID LOOK_US     (ids: the last byte of 10.9.0.x and of the MACs)
// bare_relay --hop                                              (prints nanoseconds)
//
// What a user-space data plane of our shape costs without being one: frames of a pod's TAP go out as MPLSoUDP by
// constant headers, and back; no look-up, no flow, no check, no counter, one frame a system call. What
// `npm run bench:wire` measures with it in our place is the machine's part of our figures. The same offloads as ours (TSO,
// UDP-tunnel GSO), the same adaptive polling. Only for a laboratory: it trusts what it reads.
//
// --hop: one process writes a byte, another that waited for it reads it, on one core: what each user-space
// process that a packet passes adds at the very least to its way (pipe; median of 5 x 20,000 round trips, halved).
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <iterator>

namespace {

constexpr unsigned kOffloads = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN | 0x20 | 0x40;
constexpr unsigned kTunnelGso = 0x80;
constexpr int kPodHeader = 10;
constexpr int kUplinkHeader = 24;
constexpr int kEthernet = 14;
constexpr int kOuter = 14 + 20 + 8 + 4;
constexpr int kGrown = kOuter - kEthernet;
constexpr size_t kMaxFrame = 66000;

struct __attribute__((packed)) VirtioHeader {
  uint8_t flags, gso_type;
  uint16_t header_length, gso_size, checksum_start, checksum_offset;
  uint16_t buffers;
  uint32_t hash;
  uint16_t hash_report, padding, outer_transport, inner_network;
};
static_assert(sizeof(VirtioHeader) == kUplinkHeader);

[[noreturn]] void fail(const char* what) {
  perror(what);
  exit(1);
}

uint64_t now_ns() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<uint64_t>(t.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(t.tv_nsec);
}

int open_tap(const char* name, int header, unsigned offloads) {
  const int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
  ifreq request{};
  strncpy(request.ifr_name, name, IFNAMSIZ - 1);
  request.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
  if (fd < 0 || ioctl(fd, TUNSETIFF, &request) != 0 || ioctl(fd, TUNSETVNETHDRSZ, &header) != 0 ||
      ioctl(fd, TUNSETOFFLOAD, offloads) != 0) {
    fail(name);
  }
  return fd;
}

void put16(uint8_t* at, uint32_t value) {
  at[0] = static_cast<uint8_t>(value >> 8);
  at[1] = static_cast<uint8_t>(value);
}

uint16_t ip_checksum(const uint8_t* header) {
  uint32_t sum = 0;
  for (int i = 0; i < 20; i += 2) sum += static_cast<uint32_t>(header[i] << 8 | header[i + 1]);
  while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<uint16_t>(~sum);
}

// `frame` is where an Ethernet frame begins; what is in front of it is free.
void encapsulate(uint8_t* frame, size_t length, int uplink, const uint8_t (&outer)[kOuter]) {
  VirtioHeader header{};
  memcpy(&header, frame - kPodHeader, kPodHeader);
  if ((header.flags & 1) != 0) header.checksum_start += kGrown;
  header.header_length = header.gso_type != 0 ? header.header_length + kGrown : 0;
  if (header.gso_type != 0) {
    header.gso_type |= 0x20;
    header.outer_transport = 34;
    header.inner_network = kOuter;
  }
  const uint32_t inner = static_cast<uint32_t>(length) - kEthernet;
  uint8_t* const at = frame - kGrown;
  memcpy(at, outer, kOuter);
  put16(at + 16, 20 + 8 + 4 + inner);
  put16(at + 38, 8 + 4 + inner);
  put16(at + 24, ip_checksum(at + 14));
  memcpy(at - kUplinkHeader, &header, kUplinkHeader);
  if (write(uplink, at - kUplinkHeader, kUplinkHeader + kOuter + inner) < 0)
    return;  // lost, as on a wire
}

void decapsulate(uint8_t* frame, size_t length, int pod, const uint8_t (&ethernet)[kEthernet]) {
  VirtioHeader header{};
  memcpy(&header, frame - kUplinkHeader, kUplinkHeader);
  header.gso_type &= static_cast<uint8_t>(~0x20);
  if ((header.flags & 1) != 0) header.checksum_start -= kGrown;
  header.header_length = header.gso_type != 0 ? header.header_length - kGrown : 0;
  uint8_t* const at = frame + kGrown;
  memcpy(at, ethernet, kEthernet);
  memcpy(at - kPodHeader, &header, kPodHeader);
  if (write(pod, at - kPodHeader, kPodHeader + length - kGrown) < 0) return;
}

[[noreturn]] void relay(int pod, int uplink, int id, int far, uint64_t look_ns) {
  const auto me = static_cast<uint8_t>(id);
  const auto other = static_cast<uint8_t>(far);
  const uint8_t outer[kOuter] = {
      2,    0, 10,   9,    0, other, 2, 0, 10, 9,  0, me, 8,  0,  // Ethernet
      0x45, 0, 0,    0,    0, 0,     0, 0, 64, 17, 0, 0,  10, 9, 0, me, 10, 9, 0, other,  // IPv4
      0xc0, 1, 0x19, 0xeb, 0, 0,     0, 0,  // UDP 6635
      0,    1, 1,    64};                   // label 16
  const uint8_t ethernet[kEthernet] = {2, 0, 0, 0, 0, me, 0, 0, 0x5e, 0, 1, 0, 8, 0};
  static uint8_t buffer[256 + kMaxFrame];
  uint8_t* const frame = buffer + 256;
  uint64_t last = now_ns();
  for (;;) {
    const ssize_t out = read(pod, frame - kPodHeader, kMaxFrame) - kPodHeader;
    if (out > kEthernet && frame[12] == 8 && frame[13] == 0) {
      encapsulate(frame, static_cast<size_t>(out), uplink, outer);
    }
    const ssize_t in = read(uplink, frame - kUplinkHeader, kMaxFrame) - kUplinkHeader;
    if (in > kOuter) decapsulate(frame, static_cast<size_t>(in), pod, ethernet);
    const uint64_t now = now_ns();
    if (out > 0 || in > 0) {
      last = now;
    } else if (now - last < look_ns) {
      sched_yield();
    } else {
      pollfd both[2] = {{pod, POLLIN, 0}, {uplink, POLLIN, 0}};
      poll(both, 2, 100);
      last = now_ns();
    }
  }
}

int hop() {
  constexpr int kTrips = 20'000;
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(0, &one);
  sched_setaffinity(0, sizeof one, &one);
  int there[2], back[2];
  if (pipe(there) != 0 || pipe(back) != 0) fail("pipe");
  const pid_t child = fork();
  char byte = 0;
  if (child == 0) {
    close(there[1]);
    while (read(there[0], &byte, 1) == 1 && write(back[1], &byte, 1) == 1) {
    }
    _exit(0);
  }
  uint64_t times[5];
  for (uint64_t& time : times) {
    const uint64_t start = now_ns();
    for (int i = 0; i < kTrips; ++i) {
      if (write(there[1], &byte, 1) != 1 || read(back[0], &byte, 1) != 1) fail("hop");
    }
    time = (now_ns() - start) / kTrips / 2;
  }
  close(there[1]);
  waitpid(child, nullptr, 0);
  std::sort(std::begin(times), std::end(times));
  printf("%llu\n", static_cast<unsigned long long>(times[2]));
  return 0;
}

}  // namespace

int main(int count, char** arguments) {
  if (count == 2 && strcmp(arguments[1], "--hop") == 0) return hop();
  if (count != 7) {
    fprintf(stderr, "bare_relay POD_TAP POD_NETNS UPLINK_TAP ID FAR_ID LOOK_US | --hop\n");
    return 2;
  }
  const int here = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
  char path[256];
  snprintf(path, sizeof path, "/run/netns/%s", arguments[2]);
  const int there = open(path, O_RDONLY | O_CLOEXEC);
  if (here < 0 || there < 0 || setns(there, 0) != 0) fail(path);
  const int pod = open_tap(arguments[1], kPodHeader, kOffloads);
  if (setns(here, 0) != 0) fail("setns");
  const int uplink = open_tap(arguments[3], kUplinkHeader, kOffloads | kTunnelGso);
  relay(pod, uplink, atoi(arguments[4]), atoi(arguments[5]),
        static_cast<uint64_t>(atoi(arguments[6])) * 1000);
}
