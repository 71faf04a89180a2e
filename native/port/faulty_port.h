// FaultyPort: a port in front of another that does to frames what wires, drivers and peers do on
// bad days (faults.def), by a plan and a seed: the same plan, seed and frames give the same faults.
//
// Invariants
//  * Without an active fault it is the port behind it: same frames, order, counts and features.
//  * Every frame is accounted for: offered by the port behind = handed over + lost + waiting
//    - duplicated - made up; the same on the way out. stats() has the numbers.
//  * A fault is active from from_ns to until_ns of the time given by set_now(); what it holds back
//    comes out afterwards by itself, at the next rx_burst or tx_burst.
// For tests and labs; it allocates when it is made, not after.
#pragma once
#include <memory>
#include <vector>

#include "port/port.h"

namespace vrouter {

enum class Fault : uint8_t {
#define FAULT(name, text, direction, what) name,
#include "port/faults.def"
#undef FAULT
};
inline constexpr uint32_t kFaults = 0
#define FAULT(name, text, direction, what) +1
#include "port/faults.def"
#undef FAULT
    ;
const char* fault_name(Fault fault);
bool fault_of(const char* name, Fault* out);

struct FaultPlan {
  Fault fault;
  uint32_t per_million = 1'000'000;  // of frames, or, for what is no frame's, of bursts
  uint64_t from_ns = 0;
  uint64_t until_ns = ~uint64_t{0};
};

struct FaultStats {
  uint64_t injected[kFaults];  // how often each was done
  uint64_t rx_lost, rx_duplicated, rx_made, rx_waiting;
  uint64_t tx_lost, tx_duplicated, tx_waiting;
};

inline constexpr uint32_t kMaxFaultPlans = 64;
inline constexpr uint32_t kFaultQueue = 64;  // frames held back a direction

class FaultyPort : public Port {
 public:
  FaultyPort(std::unique_ptr<Port> behind, std::vector<FaultPlan> plans, uint64_t seed);
  ~FaultyPort() override;

  uint32_t rx_burst(PacketPool& pool, Packet** out, uint32_t max) override;
  uint32_t tx_burst(Packet* const* packets, uint32_t count) override;
  int fd() const override { return -1; }  // polled: what it holds back has no descriptor
  const char* kind() const override { return "faulty"; }
  uint32_t mtu() const override { return behind_->mtu(); }
  uint32_t features() const override { return behind_->features(); }
  bool up() const override { return behind_->up(); }
  void set_now(uint64_t now_ns) override;

  Port& behind() { return *behind_; }
  const FaultStats& stats() const { return stats_; }

 private:
  bool active(Fault fault) const;
  bool strikes(Fault fault);
  uint64_t random();
  void spoil(Packet& packet, Fault flip, Fault header, Fault truncate);
  Packet* made_up(PacketPool& pool);
  void put_rx(PacketPool& pool, Packet* packet, Packet** out, uint32_t& count, uint32_t max);
  void starve(PacketPool& pool, bool now);
  bool send_one(Packet& packet);
  void send_late(Packet* copy);
  void send_held();

  std::unique_ptr<Port> behind_;
  std::vector<FaultPlan> plans_;
  uint64_t random_;
  uint64_t now_ns_ = 0;
  PacketPool scratch_;  // copies of frames that are changed or held on the way out
  Packet* rx_held_[kFaultQueue];
  Packet* tx_held_[kFaultQueue];
  uint32_t rx_held_count_ = 0;
  uint32_t tx_held_count_ = 0;
  Packet* rx_overtaken_ = nullptr;  // waits for the frame behind it to go first
  Packet* tx_overtaken_ = nullptr;
  Packet* taken_ = nullptr;  // buffers kept from others, each naming the next
  PacketPool* rx_pool_ =
      nullptr;  // whose packets are held and taken; the engine's, which outlives ports
  uint64_t errors_seen_ = 0;
  FaultStats stats_{};
};

}  // namespace vrouter
