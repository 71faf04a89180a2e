// What only ports on a real kernel do: namespaces and names for TAP; partial checksums, VLAN tags
// and super-packets for AF_PACKET. Each test has a network namespace of its own.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <chrono>
#include <thread>

#include "base/bytes.h"
#include "base/checksum.h"
#include "offload/checksum.h"
#include "offload/segment.h"
#include "port/af_packet_port.h"
#include "port/scratch_namespace.h"
#include "port/tap_port.h"

namespace vrouter {
namespace {

using Bytes = std::vector<uint8_t>;

class KernelPorts : public ::testing::Test {
 protected:
  void SetUp() override {
    if (const std::string why = space_.enter(); !why.empty()) GTEST_SKIP() << why;
  }
  void need_tun() {
    struct stat device;
    if (stat("/dev/net/tun", &device) != 0) GTEST_SKIP() << "no /dev/net/tun";
  }
  void need_veth() {
    if (const std::string why = space_.make_veth("veth-port", "veth-host"); !why.empty()) {
      GTEST_SKIP() << why;
    }
    ASSERT_TRUE(
        space_.run("ip addr add 192.0.2.1/24 dev veth-host && ip neigh add 192.0.2.2 lladdr "
                   "02:00:00:00:00:02 dev veth-host nud permanent"));
    Status status;
    port_ = AfPacketPort::open("veth-port", true, &status, &detail_);
    ASSERT_NE(port_, nullptr) << detail_;
  }
  // The next frame of this ethertype (behind a VLAN tag too), or empty.
  Bytes next(uint16_t type) {
    for (int idle = 0; idle < 1000; ++idle) {
      Packet* packet = nullptr;
      while (port_->rx_burst(pool_, &packet, 1) == 1) {
        if (packet->offload.checksum) ++partial_;
        offload_ = packet->offload;
        if (offload_.segmentation == Segmentation::None) {
          EXPECT_TRUE(complete_checksum(*packet));
        }
        const Bytes frame(packet->data(), packet->data() + packet->length);
        pool_.free(packet);
        const uint16_t outer = load_be16(&frame[12]);
        if (outer == type || (outer == 0x8100 && load_be16(&frame[16]) == type)) return frame;
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return {};
  }
  static int udp_to(const char* address, uint16_t port) {
    const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(port);
    inet_pton(AF_INET, address, &to.sin_addr);
    EXPECT_EQ(connect(fd, reinterpret_cast<sockaddr*>(&to), sizeof to), 0);
    return fd;
  }
  // 0 when the UDP or TCP checksum of the IPv4 packet at `l3` is right.
  static uint16_t l4_remainder(const Bytes& frame, size_t l3) {
    const size_t header = (frame[l3] & 15) * 4u;
    const uint32_t length = load_be16(&frame[l3 + 2]) - static_cast<uint32_t>(header);
    const uint32_t sum = pseudo_sum_v4(&frame[l3 + 12], &frame[l3 + 16], frame[l3 + 9], length);
    return checksum_finish(checksum_add(sum, &frame[l3 + header], length));
  }

  ScratchNamespace space_;
  PacketPool pool_{64, 66048};
  std::unique_ptr<AfPacketPort> port_;
  uint32_t partial_ = 0;
  Offload offload_{};  // of the frame next() returned
  std::string detail_;
};

#define VROUTER_NEED(what) \
  what();                  \
  if (IsSkipped() || HasFatalFailure()) return

TEST(PortNames, ImpossibleNamesAreRefusedBeforeTheKernelIsAsked) {
  Status status;
  std::string detail;
  for (const char* name : {"", "a/b", "..", "sixteen-bytes-xx", "a b", "tap%d", "a:b"}) {
    EXPECT_EQ(TapPort::open(name, "", 0, TapOffloads::Tenant, &status, &detail), nullptr);
    EXPECT_EQ(status.code, StatusCode::BadValue) << name;
    EXPECT_STREQ(status.field, "name");
    EXPECT_EQ(AfPacketPort::open(name, false, &status, &detail), nullptr);
    EXPECT_EQ(status.code, StatusCode::BadValue) << name;
    EXPECT_STREQ(status.field, "interface");
  }
  EXPECT_EQ(TapPort::open("tap0", "", 70000, TapOffloads::Tenant, &status), nullptr);
  EXPECT_STREQ(status.field, "mtu");
}

TEST_F(KernelPorts, TapSetsMtuAndUpAndGoesWithThePort) {
  VROUTER_NEED(need_tun);
  Status status;
  auto tap = TapPort::open("tap-a", "", 9000, TapOffloads::Tenant, &status, &detail_);
  ASSERT_NE(tap, nullptr) << detail_;
  EXPECT_EQ(tap->mtu(), 9000u);
  EXPECT_TRUE(space_.run("ip link show tap-a up | grep -q 'mtu 9000'"));
  tap.reset();
  EXPECT_FALSE(space_.run("ip link show tap-a"));
}

TEST_F(KernelPorts, KnowWhetherTheirInterfaceIsUp) {
  Status status;
  auto tap = TapPort::open("tap0", "", 1500, TapOffloads::Tenant, &status);
  ASSERT_NE(tap, nullptr);
  EXPECT_TRUE(tap->up());
  auto packet = AfPacketPort::open("tap0", false, &status);
  ASSERT_NE(packet, nullptr);
  EXPECT_TRUE(packet->up());
  ASSERT_EQ(system("ip link set tap0 down"), 0);
  EXPECT_FALSE(tap->up());
  EXPECT_FALSE(packet->up());
  ASSERT_EQ(system("ip link set tap0 up"), 0);
  EXPECT_TRUE(tap->up());
  EXPECT_TRUE(packet->up());
}

TEST_F(KernelPorts, TapAttachesToOneThatIsThere) {
  VROUTER_NEED(need_tun);
  ASSERT_TRUE(space_.run("ip tuntap add mode tap name tap-kept && ip link set tap-kept mtu 1400"));
  Status status;
  auto tap = TapPort::open("tap-kept", "", 0, TapOffloads::Tenant, &status, &detail_);
  ASSERT_NE(tap, nullptr) << detail_;
  EXPECT_EQ(tap->mtu(), 1400u);
  EXPECT_EQ(TapPort::open("tap-kept", "", 0, TapOffloads::Tenant, &status, &detail_), nullptr)
      << "it has one owner";
  EXPECT_EQ(status.code, StatusCode::InUse);
  EXPECT_STREQ(status.field, "name");
  tap.reset();
  EXPECT_TRUE(space_.run("ip link show tap-kept")) << "it was made by another";
}

TEST_F(KernelPorts, TapIsMadeInTheNamespaceAsked) {
  VROUTER_NEED(need_tun);
  // A second namespace, kept by a process that sleeps in it.
  const pid_t child = fork();
  if (child == 0) {
    if (unshare(CLONE_NEWNET) != 0) _exit(1);
    kill(getpid(), SIGSTOP);
    for (;;) pause();
  }
  int state = 0;
  ASSERT_EQ(waitpid(child, &state, WUNTRACED), child);
  ASSERT_TRUE(WIFSTOPPED(state));
  const std::string path = "/proc/" + std::to_string(child) + "/ns/net";
  Status status;
  auto tap = TapPort::open("tap-far", path, 1450, TapOffloads::Tenant, &status, &detail_);
  EXPECT_NE(tap, nullptr) << detail_;
  EXPECT_FALSE(space_.run("ip link show tap-far")) << "not here";
  EXPECT_TRUE(space_.run("nsenter -t " + std::to_string(child) + " -n ip link show tap-far up"));
  tap.reset();
  kill(child, SIGKILL);
  waitpid(child, &state, 0);

  EXPECT_EQ(
      TapPort::open("tap-far", "no-such-namespace", 0, TapOffloads::Tenant, &status, &detail_),
      nullptr);
  EXPECT_EQ(status.code, StatusCode::NotFound);
  EXPECT_STREQ(status.field, "netns");
  EXPECT_NE(detail_.find("/run/netns/no-such-namespace"), std::string::npos);
  EXPECT_EQ(TapPort::open("tap-far", "/dev/null", 0, TapOffloads::Tenant, &status, &detail_),
            nullptr);
  EXPECT_STREQ(status.field, "netns");
}

TEST_F(KernelPorts, TapWhoseInterfaceIsDeletedGoesQuiet) {
  VROUTER_NEED(need_tun);
  Status status;
  auto tap = TapPort::open("tap-b", "", 0, TapOffloads::Tenant, &status, &detail_);
  ASSERT_NE(tap, nullptr) << detail_;
  ASSERT_TRUE(space_.run("ip link del tap-b"));
  Packet* out[4];
  for (int i = 0; i < 100; ++i) EXPECT_EQ(tap->rx_burst(pool_, out, 4), 0u);
  EXPECT_EQ(tap->rx_errors, 1u) << "said once";
  Packet* packet = pool_.allocate();
  packet->append(60);
  std::memset(packet->data(), 0xff, 60);
  EXPECT_EQ(tap->tx_burst(&packet, 1), 0u);
  EXPECT_EQ(tap->tx_errors, 1u);
  pool_.free(packet);
  EXPECT_EQ(pool_.available(), pool_.total());
}

// The stack behind a TAP leaves the checksum to us, unless it was told not to.
TEST_F(KernelPorts, TapTellsWhatItLeavesUndone) {
  VROUTER_NEED(need_tun);
  Status status;
  for (const TapOffloads offloads : {TapOffloads::Tenant, TapOffloads::None}) {
    auto tap = TapPort::open("tap-c", "", 1500, offloads, &status, &detail_);
    ASSERT_NE(tap, nullptr) << detail_;
    ASSERT_TRUE(
        space_.run("ip addr add 192.0.2.1/24 dev tap-c && ip neigh add 192.0.2.2 lladdr "
                   "02:00:00:00:00:02 dev tap-c nud permanent"));
    const int fd = udp_to("192.0.2.2", 9);
    ASSERT_EQ(send(fd, "hello", 5, 0), 5);
    close(fd);
    bool seen = false;
    for (int idle = 0; idle < 1000 && !seen; ++idle) {
      Packet* packet = nullptr;
      if (tap->rx_burst(pool_, &packet, 1) == 1) {
        const bool ip = load_be16(packet->data() + 12) == 0x0800;
        if (ip) {
          EXPECT_EQ(packet->offload.checksum, offloads == TapOffloads::Tenant);
          EXPECT_TRUE(complete_checksum(*packet));
          seen = true;
        }
        const Bytes frame(packet->data(), packet->data() + packet->length);
        pool_.free(packet);
        if (ip) {
          EXPECT_EQ(l4_remainder(frame, 14), 0);
        }
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    EXPECT_TRUE(seen);
  }
}

TEST_F(KernelPorts, AfPacketNamesWhatIsMissing) {
  Status status;
  EXPECT_EQ(AfPacketPort::open("absent0", false, &status, &detail_), nullptr);
  EXPECT_EQ(status.code, StatusCode::NotFound);
  EXPECT_STREQ(status.field, "interface");
  EXPECT_NE(detail_.find("absent0"), std::string::npos);
}

TEST_F(KernelPorts, AfPacketSeesOnlyWhatComesIn) {
  VROUTER_NEED(need_veth);
  RawWire host("veth-port");  // sends out of the port's own interface, beside the port
  Bytes out(60, 0xff);
  out[12] = 0x88;
  out[13] = 0xb5;
  ASSERT_TRUE(host.send(out));
  Packet* packet = pool_.allocate();
  std::memcpy(packet->data(), out.data(), 60);
  packet->append(60);
  ASSERT_EQ(port_->tx_burst(&packet, 1), 1u);
  pool_.free(packet);
  RawWire far("veth-host");
  Bytes in(60, 0xff);
  in[12] = 0x88;
  in[13] = 0xb5;
  in[20] = 0x77;
  ASSERT_TRUE(far.send(in));
  EXPECT_EQ(next(0x88b5), in) << "the first one seen is the one from the wire";
}

// A veth peer's stack leaves the checksum to a NIC that is not there.
TEST_F(KernelPorts, AfPacketTellsOfPartialChecksums) {
  VROUTER_NEED(need_veth);
  const int fd = udp_to("192.0.2.2", 9);
  for (uint32_t length = 0; length < 40; ++length) {
    const Bytes payload(length, static_cast<uint8_t>(length * 3 + 1));
    ASSERT_EQ(send(fd, payload.data(), length, 0), static_cast<ssize_t>(length));
    const Bytes frame = next(0x0800);
    ASSERT_GE(frame.size(), 42u + length);
    EXPECT_NE(load_be16(&frame[40]), 0) << "UDP zero would mean no checksum";
    EXPECT_EQ(l4_remainder(frame, 14), 0) << length;
  }
  close(fd);
  EXPECT_EQ(partial_, 40u) << "the kernel did leave them to us";
}

// The kernel takes the tag out of a received frame and tells it apart.
TEST_F(KernelPorts, AfPacketPutsVlanTagsBack) {
  VROUTER_NEED(need_veth);
  RawWire far("veth-host");
  for (const uint16_t type : {uint16_t{0x8100}, uint16_t{0x88a8}}) {
    Bytes tagged(80);
    for (size_t i = 0; i < tagged.size(); ++i) tagged[i] = static_cast<uint8_t>(i * 5 + 2);
    store_be16(&tagged[12], type);
    store_be16(&tagged[14], 0xa007);  // priority 5, VLAN 7
    store_be16(&tagged[16], 0x88b5);
    ASSERT_TRUE(far.send(tagged));
    Packet* packet = nullptr;
    for (int idle = 0; idle < 1000 && port_->rx_burst(pool_, &packet, 1) == 0; ++idle) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    ASSERT_NE(packet, nullptr);
    EXPECT_EQ(Bytes(packet->data(), packet->data() + packet->length), tagged);
    EXPECT_EQ(packet->headroom(), kHeadroom - 4) << "it was the port that put it back";
    pool_.free(packet);
  }
}

TEST_F(KernelPorts, AfPacketHandsSuperPacketsOverWhole) {
  VROUTER_NEED(need_veth);
  // One UDP_SEGMENT send makes one super-packet of ten datagrams.
  const int fd = udp_to("192.0.2.2", 9);
  const int segment = 100;
  constexpr int kUdpSegment = 103;
  if (setsockopt(fd, IPPROTO_UDP, kUdpSegment, &segment, sizeof segment) != 0) {
    GTEST_SKIP() << "no UDP_SEGMENT here";
  }
  const Bytes payload(1000, 1);
  ASSERT_EQ(send(fd, payload.data(), payload.size(), 0), 1000);
  close(fd);
  const Bytes frame = next(0x0800);
  EXPECT_EQ(frame.size(), 14u + 28 + 1000);
  EXPECT_EQ(offload_.segmentation, Segmentation::Udp);
  EXPECT_EQ(offload_.segment, 100u);
  EXPECT_EQ(offload_.transport, kHeadroom + 34);
  EXPECT_EQ(port_->rx_discards, 0u);
}

TEST_F(KernelPorts, SuperPacketsGoThroughAnUplinkTapInsideATunnel) {
  VROUTER_NEED(need_tun);
  Status status;
  auto tap = TapPort::open("tap-up", "", 1500, TapOffloads::Uplink, &status, &detail_);
  ASSERT_NE(tap, nullptr) << detail_;
  if ((tap->features() & kTakesTunnel) == 0) GTEST_SKIP() << "no tunnel GSO on TAPs here";
  // What the kernel gets, it hands to whoever listens on the interface: an AF_PACKET port.
  auto wire = AfPacketPort::open("tap-up", true, &status, &detail_);
  ASSERT_NE(wire, nullptr) << detail_;
  // Ethernet, IPv4, UDP 6635, label, IPv4, TCP, 3,000 bytes of payload in segments of 1,000.
  Packet* packet = pool_.allocate();
  constexpr uint32_t kInner = 14 + 20 + 8 + 4;
  packet->append(kInner + 40 + 3000);
  uint8_t* p = packet->data();
  std::memset(p, 0, packet->length);
  std::memset(p, 0xff, 6);
  p[6] = 2;
  p[12] = 8;
  const auto ip = [&](uint8_t* h, uint8_t protocol, uint32_t length, uint8_t end) {
    h[0] = 0x45;
    store_be16(h + 2, static_cast<uint16_t>(length));
    h[8] = 64;
    h[9] = protocol;
    h[12] = h[16] = 192;
    h[15] = end;
    h[19] = static_cast<uint8_t>(end + 1);
    store_be16(h + 10, checksum(h, 20));
  };
  ip(p + 14, 17, packet->length - 14, 1);
  store_be16(p + 34, 50000);
  store_be16(p + 36, 6635);
  store_be16(p + 38, static_cast<uint16_t>(packet->length - 34));
  store_be32(p + 42, 17u << 12 | 0x140);
  ip(p + kInner, 6, 3040, 7);
  uint8_t* tcp = p + kInner + 20;
  tcp[12] = 0x50;
  tcp[13] = 0x10;
  store_be16(tcp + 16, checksum_fold(pseudo_sum_v4(p + kInner + 12, p + kInner + 16, 6, 3020)));
  packet->offload.segmentation = Segmentation::TcpV4;
  packet->offload.checksum = true;
  packet->offload.segment = 1000;
  packet->offload.field = 16;
  packet->offload.transport = packet->offset + kInner + 20;
  packet->offload.outer_transport = packet->offset + 34;
  packet->offload.inner_network = packet->offset + kInner;
  const Bytes sent(p, p + packet->length);
  ASSERT_EQ(tap->tx_burst(&packet, 1), 1u);
  pool_.free(packet);
  port_ = std::move(wire);
  EXPECT_EQ(next(0x0800), sent) << "whole";
  EXPECT_EQ(offload_.segmentation, Segmentation::TcpV4);
  EXPECT_EQ(offload_.segment, 1000u);
  EXPECT_EQ(offload_.transport, kHeadroom + kInner + 20);
}

// The kernel's own GSO as the judge of ours: a super-packet goes into a TAP, from there to a veth
// that takes nothing, and what arrives must be, byte for byte, what the Segmenter makes of it.
TEST_F(KernelPorts, SuperPacketsAreCutAsTheKernelCutsThem) {
  VROUTER_NEED(need_tun);
  VROUTER_NEED(need_veth);
  Status status;
  auto tap = TapPort::open("tap-cut", "", 1500, TapOffloads::Uplink, &status, &detail_);
  ASSERT_NE(tap, nullptr) << detail_;
  if (!space_.run("ethtool -K veth-host tx off tso off gso off sg off && ethtool -K veth-port gro "
                  "off && tc qdisc add dev tap-cut clsact && tc filter add dev tap-cut ingress "
                  "protocol all u32 match u32 0 0 action mirred egress redirect dev veth-host")) {
    GTEST_SKIP() << "needs ethtool, and tc with u32 and mirred";
  }
  struct Case {
    const char* what;
    uint32_t needs;  // PortFeature
    bool tunnel;
    bool v6;
    bool udp;
    uint8_t flags;
  };
  constexpr uint8_t kAck = 0x10, kPshFin = 0x09, kCwr = 0x80;
  const Case cases[] = {
      {"TCP over IPv4", kTakesTcp4, false, false, false, kAck},
      {"TCP over IPv4, FIN and PSH", kTakesTcp4, false, false, false, kAck | kPshFin},
      {"TCP over IPv4, CWR", kTakesTcp4, false, false, false, kAck | kCwr},
      {"TCP over IPv6", kTakesTcp6, false, true, false, kAck | kPshFin},
      {"UDP over IPv4", kTakesUdp, false, false, true, 0},
      {"UDP over IPv6", kTakesUdp, false, true, true, 0},
      {"MPLSoUDP, TCP over IPv4", kTakesTunnel, true, false, false, kAck | kPshFin},
      {"MPLSoUDP, TCP over IPv6", kTakesTunnel, true, true, false, kAck | kPshFin},
  };
  constexpr uint32_t kPayload = 3500;
  constexpr uint16_t kSegment = 1000;
  uint32_t compared = 0;
  for (const Case& c : cases) {
    if ((tap->features() & c.needs) != c.needs) continue;
    const uint32_t l3 = c.tunnel ? 14 + 20 + 8 + 4 : 14;
    const uint32_t l4 = l3 + (c.v6 ? 40 : 20);
    const uint32_t header = c.udp ? 8 : 32;
    Packet* packet = pool_.allocate();
    packet->append(l4 + header + kPayload);
    uint8_t* p = packet->data();
    std::memset(p, 0, packet->length);
    std::memset(p, 0xff, 6);
    p[6] = 2;
    store_be16(p + 12, c.v6 && !c.tunnel ? 0x86dd : 0x0800);
    const auto ip4 = [&](uint32_t at, uint8_t protocol) {
      uint8_t* h = p + at;
      h[0] = 0x45;
      store_be16(h + 2, static_cast<uint16_t>(packet->length - at));
      store_be16(h + 4, 0xfffe);
      h[8] = 64;
      h[9] = protocol;
      store_be32(h + 12, 0xc0000201);
      store_be32(h + 16, 0xc0000202);
      store_be16(h + 10, checksum(h, 20));
    };
    if (c.tunnel) {
      ip4(14, 17);
      store_be16(p + 34, 50000);
      store_be16(p + 36, 6635);
      store_be16(p + 38, static_cast<uint16_t>(packet->length - 34));
      store_be32(p + 42, 17u << 12 | 0x140);
    }
    const uint8_t protocol = c.udp ? 17 : 6;
    const uint32_t length = header + kPayload;
    uint32_t sum = 0;
    if (c.v6) {
      p[l3] = 0x60;
      store_be16(p + l3 + 4, static_cast<uint16_t>(length));
      p[l3 + 6] = protocol;
      p[l3 + 7] = 64;
      p[l3 + 8] = p[l3 + 24] = 0xfd;
      p[l3 + 23] = 1;
      p[l3 + 39] = 2;
      sum = pseudo_sum_v6(p + l3 + 8, p + l3 + 24, protocol, length);
    } else {
      ip4(l3, protocol);
      sum = pseudo_sum_v4(p + l3 + 12, p + l3 + 16, protocol, length);
    }
    store_be16(p + l4, 4321);
    store_be16(p + l4 + 2, 8765);
    if (c.udp) {
      store_be16(p + l4 + 4, static_cast<uint16_t>(length));
    } else {
      store_be32(p + l4 + 4, 0xfffff800);  // the sequence wraps
      p[l4 + 12] = 0x80;
      p[l4 + 13] = c.flags;
      std::memset(p + l4 + 20, 1, 12);
    }
    for (uint32_t i = 0; i < kPayload; ++i) {
      p[l4 + header + i] = static_cast<uint8_t>(i * 7 + i / 256);
    }
    Offload& o = packet->offload;
    o.segmentation = c.udp ? Segmentation::Udp : c.v6 ? Segmentation::TcpV6 : Segmentation::TcpV4;
    o.checksum = true;
    o.ecn = (c.flags & kCwr) != 0;
    o.segment = kSegment;
    o.field = c.udp ? 6 : 16;
    store_be16(p + l4 + o.field, checksum_fold(sum));
    o.transport = packet->offset + l4;
    if (c.tunnel) {
      o.outer_transport = packet->offset + 34;
      o.inner_network = packet->offset + l3;
    }
    Segmenter segmenter(*packet);
    ASSERT_EQ(segmenter.count(), 4u) << c.what;
    ASSERT_EQ(tap->tx_burst(&packet, 1), 1u) << c.what;
    for (uint32_t number = 0; number < 4; ++number) {
      Packet* ours = nullptr;
      ASSERT_EQ(segmenter.next(pool_, &ours, 1), 1u);
      const Bytes theirs = next(load_be16(p + 12));
      EXPECT_EQ(offload_.segmentation, Segmentation::None) << c.what;
      EXPECT_EQ(theirs, Bytes(ours->data(), ours->data() + ours->length))
          << c.what << ", segment " << number;
      pool_.free(ours);
    }
    pool_.free(packet);
    ++compared;
  }
  EXPECT_EQ(partial_, 0u) << "the kernel finished them all";
  if (compared == 0) GTEST_SKIP() << "no super-packets on TAPs here";
}

TEST_F(KernelPorts, PortsAreTheSameThroughTheirDescriptors) {
  VROUTER_NEED(need_tun);
  Status status;
  auto tap = TapPort::open("tap-d", "", 9000, TapOffloads::Tenant, &status, &detail_);
  ASSERT_NE(tap, nullptr) << detail_;
  const int kept = dup(tap->fd());
  const uint32_t features = tap->features();
  tap.reset();
  ASSERT_TRUE(space_.run("ip link show tap-d")) << "it lives with its last descriptor";
  auto again = TapPort::adopt(kept, 9000, TapOffloads::Tenant, &status, &detail_);
  ASSERT_NE(again, nullptr) << detail_;
  EXPECT_EQ(again->features(), features);
  EXPECT_EQ(again->mtu(), 9000u);
  EXPECT_EQ(TapPort::adopt(dup(0), 9000, TapOffloads::Tenant, &status, &detail_), nullptr);
  EXPECT_EQ(status.code, StatusCode::BadValue);

  VROUTER_NEED(need_veth);
  const int socket = dup(port_->fd());
  port_.reset();
  // What a kernel tier that was killed leaves behind: a filter that keeps frames from the socket.
  sock_filter nothing[] = {{BPF_RET | BPF_K, 0, 0, 0}};
  const sock_fprog left{1, nothing};
  ASSERT_EQ(setsockopt(socket, SOL_SOCKET, SO_ATTACH_FILTER, &left, sizeof left), 0);
  port_ = AfPacketPort::adopt(socket, &status, &detail_);
  ASSERT_NE(port_, nullptr) << detail_;
  EXPECT_EQ(port_->mtu(), 1500u);
  const int fd = udp_to("192.0.2.2", 9);
  ASSERT_EQ(send(fd, "x", 1, 0), 1);
  close(fd);
  EXPECT_FALSE(next(0x0800).empty());
  EXPECT_EQ(AfPacketPort::adopt(dup(0), &status, &detail_), nullptr);
  EXPECT_EQ(status.code, StatusCode::BadValue);
}

TEST_F(KernelPorts, AfPacketWithItsInterfaceDownCountsAndGoesOn) {
  VROUTER_NEED(need_veth);
  ASSERT_TRUE(space_.run("ip link set veth-port down"));
  Packet* out[4];
  uint32_t got = 0;
  for (int i = 0; i < 100; ++i) {
    const uint32_t n = port_->rx_burst(pool_, out, 4);
    for (uint32_t k = 0; k < n; ++k) pool_.free(out[k]);
    got += n;
  }
  EXPECT_LE(port_->rx_errors, 1u) << "said once";
  Packet* packet = pool_.allocate();
  packet->append(60);
  std::memset(packet->data(), 0xff, 60);
  EXPECT_EQ(port_->tx_burst(&packet, 1), 0u);
  EXPECT_EQ(port_->tx_errors, 1u);
  ASSERT_TRUE(space_.run("ip link set veth-port up"));
  for (int i = 0; i < 1000 && port_->tx_burst(&packet, 1) == 0; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  EXPECT_EQ(port_->tx_burst(&packet, 1), 1u);
  pool_.free(packet);
}

}  // namespace
}  // namespace vrouter
