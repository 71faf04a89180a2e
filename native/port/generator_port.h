// GeneratorPort and SinkPort: the two ends of a benchmark. They cost a copy in and nothing out, so
// what is measured between them is the router.
// Written and read by the worker; set up and looked at while it is held or not running.
#pragma once
#include <cstdint>
#include <vector>

#include "port/port.h"

namespace vrouter {

// Offers its frames over and over, in the order given, `limit` frames in all (0: without end).
class GeneratorPort : public Port {
 public:
  // Frames may have any length from 1 to 65,535; others are left out.
  GeneratorPort(const std::vector<std::vector<uint8_t>>& frames, uint64_t limit = 0);

  uint32_t rx_burst(PacketPool& pool, Packet** out, uint32_t max) override;
  uint32_t tx_burst(Packet* const* packets, uint32_t count) override;  // refuses: one-way
  const char* kind() const override { return "generator"; }
  bool apart() const override { return true; }
  uint32_t mtu() const override { return 65535; }

  void allow(uint64_t more) { left_ += more; }  // raises the limit; only where there is one
  uint64_t sent() const { return sent_; }

 private:
  // All frames, one after another, each from the start of a cache line on: read in order, as a
  // NIC's ring is.
  struct alignas(64) Line {
    uint8_t bytes[64];
  };
  struct Span {
    uint64_t at;  // its first line
    uint32_t length;
  };
  static void copy(Packet& packet, const Line* lines, uint32_t length);
  std::vector<Line> lines_;
  std::vector<Span> spans_;
  size_t next_ = 0;
  bool limited_;
  uint64_t left_;
  uint64_t sent_ = 0;
};

// Takes everything; counts, and keeps copies of the last `keep` frames.
class SinkPort : public Port {
 public:
  explicit SinkPort(uint32_t keep = 0) : kept_(keep) {}

  uint32_t rx_burst(PacketPool& /*pool*/, Packet** /*out*/, uint32_t /*max*/) override { return 0; }
  uint32_t tx_burst(Packet* const* packets, uint32_t count) override;
  const char* kind() const override { return "sink"; }
  bool apart() const override { return true; }
  uint32_t mtu() const override { return 65535; }

  uint64_t packets() const { return packets_; }
  uint64_t bytes() const { return bytes_; }
  std::vector<std::vector<uint8_t>> last() const;  // oldest first
  void keep(uint32_t frames);                      // from now on; forgets those kept before

 private:
  // A frame longer than this is kept cut: copies must not allocate on the worker.
  static constexpr uint32_t kKeptBytes = 2048;
  struct Kept {
    uint32_t length = 0;
    uint8_t bytes[kKeptBytes];
  };
  std::vector<Kept> kept_;
  uint64_t kept_count_ = 0;
  uint64_t packets_ = 0;
  uint64_t bytes_ = 0;
};

}  // namespace vrouter
