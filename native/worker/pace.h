// Pace: what a worker does after a breath: look again at once, give the processor to others first,
// nap, or sleep until a descriptor or a wake ends it. Looking burns the processor, which the
// tenants on the same cores want too; sleeping costs a wake-up on the next frame, the largest
// single cost of a busy path. So: look for a short while, then nap (timers are cheaper than wait
// queues), then sleep. A pure function of what the breaths found and when.
#pragma once
#include <cstdint>

namespace vrouter {

struct PaceOptions {
  uint32_t look_us = 30;       // looks for this long after the last frame, yielding between looks
  uint32_t nap_us = 20;        // length of a nap
  uint32_t patience_us = 400;  // naps until this long after the last frame, then sleeps; 0: no naps
};

class Pace {
 public:
  enum class Next : uint8_t { Again, Yield, Nap, Sleep };

  explicit Pace(const PaceOptions& options) : options_(options) {}

  // received: frames of the breath that was made at now_ns.
  Next after(uint64_t now_ns, uint32_t received) {
    if (received != 0) {
      last_frame_ns_ = now_ns;
      return Next::Again;
    }
    const uint64_t idle_us = (now_ns - last_frame_ns_) / 1000;
    if (idle_us < options_.look_us) return Next::Yield;
    return idle_us < options_.patience_us ? Next::Nap : Next::Sleep;
  }
  const PaceOptions& options() const { return options_; }

 private:
  PaceOptions options_;
  uint64_t last_frame_ns_ = 0;
};

}  // namespace vrouter
