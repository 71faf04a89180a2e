// Captures: copies of packets on their way in and out of vifs, and live traces, for whoever asks.
//
//   in   as the port gave it: before any room has seen it
//   out  as it goes to the port: translated, encapsulated, a super-packet still whole; a checksum
//        that is left to the port is finished in the copy
//   trace: in, and with it what explain() says of this very packet, at this very moment
//
// Invariants
//  * Without a capture all this costs one test a burst and one a breath.
//  * A slow reader costs packets (counted as lost), never the worker's time or memory.
//  * A capture that nobody reads for kCaptureSilenceNs ends by itself; its memory goes with the
//    next start() or stop().
//  * start() and stop() only while the worker is held; everything under "worker" in the worker
//    only. read() may run beside the worker.
#pragma once
#include <atomic>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "packet/packet.h"
#include "port/packet_filter.h"
#include "worker/capture_ring.h"
#include "worker/flow_ends.h"

namespace vrouter {

inline constexpr uint32_t kMaxCaptures = 4;           // at a time: each costs every packet
inline constexpr uint32_t kCaptureBytes = 16u << 20;  // ring of one
inline constexpr uint32_t kMaxCaptureSnap = 262144;   // tcpdump's; longer than any super-packet
inline constexpr uint64_t kCaptureSilenceNs = 10'000'000'000;
inline constexpr uint32_t kTracesPerSecond = 100;  // explain() copies every counter: 30 us each
inline constexpr uint32_t kTraceBurst = 64;        // so that a handshake is not torn
inline constexpr uint32_t kMaxTraceText = 65536;

enum class Way : uint8_t { In, Out };

// In front of each packet; what follows: `captured` bytes of the frame, `text` bytes of notes.
// X(type, name)
#define VROUTER_CAPTURE_RECORD(X)                                    \
  X(u64, number)  /* of the match, from 1: a gap is what was lost */ \
  X(u64, time_ns) /* since the router started */                     \
  X(u32, length)  /* of the frame */                                 \
  X(u32, captured)                                                   \
  X(u32, text)                                                       \
  X(u16, vif)                                                        \
  X(u8, way)   /* Way */                                             \
  X(u8, super) /* 1: a super-packet */

struct CaptureRecord {
  using u64 = uint64_t;
  using u32 = uint32_t;
  using u16 = uint16_t;
  using u8 = uint8_t;
#define VROUTER_DECLARE(type, name) type name;
  VROUTER_CAPTURE_RECORD(VROUTER_DECLARE)
#undef VROUTER_DECLARE
};
static_assert(sizeof(CaptureRecord) == 32, "no padding");

struct CaptureSpec {
  VifId vif;  // invalid: every one
  bool in = true;
  bool out = true;
  bool trace = false;  // `in` only
  uint32_t snap = kMaxCaptureSnap;
  uint32_t sample = 1;  // the first of so many that match
  uint32_t bytes = kCaptureBytes;
  FlowEnds ends;
  std::unique_ptr<PacketFilter> filter;  // nullptr: all
};

struct Capture {
  Capture(uint32_t name, CaptureSpec&& asked, uint64_t now_ns)
      : id(name), spec(std::move(asked)), ring(spec.bytes), read_at_ns(now_ns) {}

  // --- worker ---
  bool wants(const Packet& packet, VifId vif, Way way) const;
  // Counts a match; whether it is one of the sample.
  bool sampled() { return (seen++ % spec.sample) == 0; }
  bool may_trace(uint64_t now_ns);
  void put(const Packet& packet, VifId vif, Way way, uint64_t now_ns, std::string_view text);
  void lose();

  const uint32_t id;
  const CaptureSpec spec;
  CaptureRing ring;
  std::atomic<uint64_t> read_at_ns;  // control writes
  std::atomic<uint64_t> matched{0};  // the worker writes these
  std::atomic<uint64_t> lost{0};
  std::atomic<bool> ended{false};
  uint64_t seen = 0;
  uint32_t trace_tokens = kTraceBurst;
  uint64_t trace_at_ns = 0;
};

class Captures {
 public:
  using Gone = std::vector<std::unique_ptr<Capture>>;

  // --- control, worker held: no memory is had or given back meanwhile ---
  // Takes `made` over, unless it is refused, and hands out those that have ended; `gone` has room
  // for kMaxCaptures. IN_USE: the id is another's. TABLE_FULL: there are kMaxCaptures.
  Status start(std::unique_ptr<Capture>& made, Gone& gone);
  std::unique_ptr<Capture> stop(uint32_t id);  // nullptr: there was none

  // --- control ---
  Capture* find(uint32_t id);

  // --- worker; with several, one at a time (InRooms), but for any() ---
  bool any() const { return active_.load(std::memory_order_relaxed) != 0; }
  void see(const Packet& packet, VifId vif, Way way, uint64_t now_ns);
  // explain() is asked for the text of each capture that wants this packet's.
  template <class Explain>
  void trace(const Packet& packet, VifId vif, uint64_t now_ns, Explain&& explain) {
    for (uint32_t i = 0; i < active_; ++i) {
      Capture& capture = *running_[i];
      if (!capture.spec.trace || !capture.wants(packet, vif, Way::In) || !capture.sampled()) {
        continue;
      }
      if (capture.may_trace(now_ns)) {
        capture.put(packet, vif, Way::In, now_ns, explain());
      } else {
        capture.lose();
      }
    }
  }
  void end_unread(uint64_t now_ns);

 private:
  void list();  // running_ from all_

  std::unique_ptr<Capture> all_[kMaxCaptures];
  Capture* running_[kMaxCaptures] = {};
  std::atomic<uint32_t> active_{0};  // read by all workers; changed by one, or while they are held
};

}  // namespace vrouter
