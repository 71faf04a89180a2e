// The compliance suite, run by every kind of port. TAP and AF_PACKET need root and a kernel that
// lets them; where they cannot be had the reason is printed.
#include "port/port_compliance.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "port/af_packet_port.h"
#include "port/faulty_port.h"
#include "port/memory_port.h"
#include "port/pcap_port.h"
#include "port/scratch_namespace.h"
#include "port/socket_port.h"
#include "port/sockets.h"
#include "port/tap_port.h"

namespace vrouter {
namespace {

class MemoryHarness : public PortHarness {
 public:
  std::string open(const std::vector<TestFrame>& offered) override {
    for (const TestFrame& f : offered) {
      if (!port_.inject(f.data(), static_cast<uint32_t>(f.size()))) ADD_FAILURE() << "queue full";
    }
    return "";
  }
  Port& port() override { return port_; }
  std::vector<TestFrame> sent(size_t /*expected*/) override {
    std::vector<TestFrame> all;
    TestFrame f;
    while (port_.collect(f)) all.push_back(f);
    return all;
  }
  const char* kind() const override { return "memory"; }

 private:
  MemoryPort port_{1500};
};

// With plans that are over, or not yet begun: a port like the one behind it.
class FaultyHarness : public PortHarness {
 public:
  std::string open(const std::vector<TestFrame>& offered) override {
    std::vector<FaultPlan> plans;
    for (uint32_t i = 0; i < kFaults; ++i) {
      plans.push_back({static_cast<Fault>(i), 1'000'000, 0, 0});
      plans.push_back({static_cast<Fault>(i), 1'000'000, uint64_t{1} << 62, ~uint64_t{0}});
      plans.push_back({static_cast<Fault>(i), 0, 0, ~uint64_t{0}});
    }
    auto memory = std::make_unique<MemoryPort>(1500);
    memory_ = memory.get();
    for (const TestFrame& f : offered) {
      if (!memory->inject(f.data(), static_cast<uint32_t>(f.size()))) ADD_FAILURE() << "full";
    }
    port_ = std::make_unique<FaultyPort>(std::move(memory), plans, 1);
    return "";
  }
  Port& port() override { return *port_; }
  std::vector<TestFrame> sent(size_t /*expected*/) override {
    std::vector<TestFrame> all;
    TestFrame f;
    while (memory_->collect(f)) all.push_back(f);
    return all;
  }
  const char* kind() const override { return "faulty"; }

 private:
  MemoryPort* memory_ = nullptr;
  std::unique_ptr<FaultyPort> port_;
};

class PcapHarness : public PortHarness {
 public:
  ~PcapHarness() override {
    port_.reset();
    for (const std::string& path : {input_, output_}) {
      if (!path.empty()) unlink(path.c_str());
    }
    if (!directory_.empty()) rmdir(directory_.c_str());
  }
  std::string open(const std::vector<TestFrame>& offered) override {
    directory_ = ::testing::TempDir() + "pcap_port_XXXXXX";
    if (mkdtemp(directory_.data()) == nullptr) return "no temporary directory";
    input_ = directory_ + "/in.pcap";
    output_ = directory_ + "/out.pcap";
    PcapWriter writer;
    EXPECT_TRUE(writer.open(input_).ok());
    for (const TestFrame& f : offered) writer.write(f.data(), static_cast<uint32_t>(f.size()), 0);
    EXPECT_TRUE(writer.close().ok());
    Status status;
    std::string detail;
    port_ = PcapPort::open(input_, output_, &status, &detail);
    return port_ != nullptr ? "" : "could not be opened: " + detail;
  }
  Port& port() override { return *port_; }
  std::vector<TestFrame> sent(size_t /*expected*/) override {
    EXPECT_TRUE(port_->close_output().ok());
    PcapReader reader;
    EXPECT_TRUE(reader.open(output_).ok());
    std::vector<TestFrame> all;
    const uint8_t* f;
    uint32_t length;
    uint64_t time_ns;
    while (reader.next(&f, &length, &time_ns)) all.emplace_back(f, f + length);
    EXPECT_EQ(reader.errors(), 0u);
    return all;
  }
  const char* kind() const override { return "pcap"; }

 private:
  std::string directory_, input_, output_;
  std::unique_ptr<PcapPort> port_;
};

class SocketHarness : public PortHarness {
 public:
  ~SocketHarness() override {
    if (far_ >= 0) close(far_);
  }
  std::string open(const std::vector<TestFrame>& offered) override {
    int fds[2];
    if (!open_frame_pair(fds)) return "no pair of sockets";
    far_ = fds[1];
    Status status;
    port_ = SocketPort::adopt(fds[0], 1500, &status);
    if (port_ == nullptr) return "not adopted";
    for (const TestFrame& f : offered) {
      EXPECT_EQ(send(far_, f.data(), f.size(), 0), static_cast<ssize_t>(f.size())) << "queue full";
    }
    return "";
  }
  Port& port() override { return *port_; }
  std::vector<TestFrame> sent(size_t /*expected*/) override {
    std::vector<TestFrame> all;
    uint8_t buffer[4096];
    for (ssize_t got; (got = recv(far_, buffer, sizeof buffer, 0)) > 0;) {
      all.emplace_back(buffer, buffer + got);
    }
    return all;
  }
  const char* kind() const override { return "socket"; }

 private:
  int far_ = -1;
  std::unique_ptr<SocketPort> port_;
};

// A port on a real interface, and a raw socket at the other end.
class KernelHarness : public PortHarness {
 public:
  ~KernelHarness() override {
    port_.reset();
    wire_.reset();
  }
  std::string open(const std::vector<TestFrame>& offered) override {
    if (const std::string why = space_.enter(); !why.empty()) return why;
    Status status;
    std::string detail;
    if (const std::string why = make(&status, &detail); !why.empty()) return why;
    if (!wire_->ok()) return "raw socket at the other end";
    for (const TestFrame& f : offered) {
      if (!wire_->send(f)) ADD_FAILURE() << "sending at the other end: " << std::strerror(errno);
    }
    return "";
  }
  Port& port() override { return *port_; }
  std::vector<TestFrame> sent(size_t expected) override {
    std::vector<TestFrame> all;
    TestFrame f;
    while (all.size() < expected && wire_->receive(f)) all.push_back(f);
    return all;
  }

 protected:
  virtual std::string make(Status* status, std::string* detail) = 0;

  ScratchNamespace space_;
  std::unique_ptr<Port> port_;
  std::unique_ptr<RawWire> wire_;
};

class TapHarness : public KernelHarness {
 public:
  explicit TapHarness(bool batched) : batched_(batched) {}
  const char* kind() const override { return "tap"; }

 protected:
  std::string make(Status* status, std::string* detail) override {
    struct stat device;
    if (stat("/dev/net/tun", &device) != 0) return "no /dev/net/tun";
    auto tap = TapPort::open("tap-test", "", 1500, TapOffloads::Tenant, status, detail);
    if (tap == nullptr) return *detail;
    if (!batched_) tap->one_by_one();
    port_ = std::move(tap);
    // Its queue holds 1000 frames by default; the suite's offers fit.
    wire_ = std::make_unique<RawWire>("tap-test");
    return "";
  }

 private:
  const bool batched_;
};

class AfPacketHarness : public KernelHarness {
 public:
  const char* kind() const override { return "af_packet"; }

 protected:
  std::string make(Status* status, std::string* detail) override {
    if (const std::string why = space_.make_veth("veth-port", "veth-wire"); !why.empty())
      return why;
    port_ = AfPacketPort::open("veth-port", false, status, detail);
    if (port_ == nullptr) return *detail;
    wire_ = std::make_unique<RawWire>("veth-wire");
    return "";
  }
};

INSTANTIATE_TEST_SUITE_P(
    All, PortCompliance,
    ::testing::Values(PortKind{"memory", [] { return std::make_unique<MemoryHarness>(); }},
                      PortKind{"faulty", [] { return std::make_unique<FaultyHarness>(); }},
                      PortKind{"pcap", [] { return std::make_unique<PcapHarness>(); }},
                      PortKind{"socket", [] { return std::make_unique<SocketHarness>(); }},
                      PortKind{"tap", [] { return std::make_unique<TapHarness>(true); }},
                      PortKind{"tap_one_by_one",
                               [] { return std::make_unique<TapHarness>(false); }},
                      PortKind{"af_packet", [] { return std::make_unique<AfPacketHarness>(); }}),
    [](const ::testing::TestParamInfo<PortKind>& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace vrouter
