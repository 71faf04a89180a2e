// Pace: what a worker does after a breath: look again at once, give the processor to others first, or
// sleep until a descriptor or a wake ends it. Looking burns the processor, which the tenants on the
// same cores want too; being woken by the next frame costs more than looking for it a while. So: look
// for a short while, then sleep. A pure function of what the breaths found and when.
//
// After a few frames it gives the processor away as well, and looks again then: on a busy machine who waits
// for it is mostly who gets these frames, or answers them. Many frames are a flood, and there are
// more. (Measured, two nodes on two cores, medians: round trip 97 us to 62; datagrams that a
// receiver took 77,000 a second to 107,000.)
//
// No naps by a timer in between: with two nodes in a row each adds its nap to the other's answer, and
// then neither sees the next frame within its look (measured: 180 us for a round trip, 48 without).
#pragma once
#include <cstdint>

namespace vrouter {

struct PaceOptions {
  uint32_t look_us = 100;  // looks for this long after the last frame, yielding between looks
};

class Pace {
 public:
  enum class Next : uint8_t { Again, Yield, Sleep };

  explicit Pace(const PaceOptions& options) : options_(options) {}

  // received: frames of the breath that was made at now_ns.
  Next after(uint64_t now_ns, uint32_t received) {
    if (received != 0) {
      last_frame_ns_ = now_ns;
      return received < kFew ? Next::Yield : Next::Again;
    }
    const uint64_t idle_us = (now_ns - last_frame_ns_) / 1000;
    return idle_us < options_.look_us ? Next::Yield : Next::Sleep;
  }

 private:
  static constexpr uint32_t kFew = 4;

  PaceOptions options_;
  uint64_t last_frame_ns_ = 0;
};

}  // namespace vrouter
