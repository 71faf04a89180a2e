#include "port/faulty_port.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace vrouter {

namespace {

constexpr const char* kNames[] = {
#define FAULT(name, text, direction, what) text,
#include "port/faults.def"
#undef FAULT
};
constexpr uint32_t kScratchBytes = 66048;
constexpr uint32_t kSpoiledBytes = 64;  // headers are what there is most to get wrong in
constexpr uint32_t kMadeUpBytes = 200;
constexpr uint32_t kMillion = 1'000'000;

}  // namespace

const char* fault_name(Fault fault) { return kNames[static_cast<uint32_t>(fault)]; }

bool fault_of(const char* name, Fault* out) {
  for (uint32_t i = 0; i < kFaults; ++i) {
    if (std::strcmp(kNames[i], name) != 0) continue;
    *out = static_cast<Fault>(i);
    return true;
  }
  return false;
}

FaultyPort::FaultyPort(std::unique_ptr<Port> behind, std::vector<FaultPlan> plans, uint64_t seed)
    : behind_(std::move(behind)),
      plans_(std::move(plans)),
      random_(seed * 2 + 1),
      scratch_(2 * kFaultQueue, kScratchBytes) {}

FaultyPort::~FaultyPort() {
  for (uint32_t i = 0; i < rx_held_count_; ++i) rx_pool_->free(rx_held_[i]);
  for (uint32_t i = 0; i < tx_held_count_; ++i) scratch_.free(tx_held_[i]);
  if (rx_overtaken_ != nullptr) rx_pool_->free(rx_overtaken_);
  if (tx_overtaken_ != nullptr) scratch_.free(tx_overtaken_);
  if (taken_ != nullptr) starve(*rx_pool_, false);
}

void FaultyPort::set_now(uint64_t now_ns) {
  now_ns_ = now_ns;
  behind_->set_now(now_ns);
}

// xorshift64*: enough for dice.
uint64_t FaultyPort::random() {
  random_ ^= random_ >> 12;
  random_ ^= random_ << 25;
  random_ ^= random_ >> 27;
  return random_ * 0x2545f4914f6cdd1dull >> 16;
}

bool FaultyPort::active(Fault fault) const {
  for (const FaultPlan& plan : plans_) {
    if (plan.fault == fault && now_ns_ >= plan.from_ns && now_ns_ < plan.until_ns) return true;
  }
  return false;
}

bool FaultyPort::strikes(Fault fault) {
  for (const FaultPlan& plan : plans_) {
    if (plan.fault != fault || now_ns_ < plan.from_ns || now_ns_ >= plan.until_ns) continue;
    if (random() % kMillion >= plan.per_million) continue;
    ++stats_.injected[static_cast<uint32_t>(fault)];
    return true;
  }
  return false;
}

void FaultyPort::spoil(Packet& packet, Fault flip, Fault header, Fault truncate) {
  if (packet.length == 0) return;
  if (strikes(flip)) {
    packet.data()[random() % packet.length] ^= static_cast<uint8_t>(1u << random() % 8);
  }
  if (strikes(header)) {
    packet.data()[random() % std::min(packet.length, kSpoiledBytes)] =
        static_cast<uint8_t>(random());
  }
  // What was left undone is about bytes that may be gone: a cut frame is as it is on the wire.
  if (strikes(truncate)) {
    packet.trim(1 + static_cast<uint32_t>(random() % packet.length));
    packet.offload = Offload{};
  }
}

Packet* FaultyPort::made_up(PacketPool& pool) {
  Packet* noise = pool.allocate();
  if (noise == nullptr) return nullptr;
  const uint32_t length =
      std::min(1 + static_cast<uint32_t>(random() % kMadeUpBytes), noise->tailroom());
  noise->append(length);
  for (uint32_t i = 0; i < length; ++i) noise->data()[i] = static_cast<uint8_t>(random());
  ++stats_.rx_made;
  return noise;
}

void FaultyPort::put_rx(PacketPool& pool, Packet* packet, Packet** out, uint32_t& count,
                        uint32_t max) {
  if (count < max) {
    out[count++] = packet;
  } else if (rx_held_count_ < kFaultQueue) {
    rx_held_[rx_held_count_++] = packet;
  } else {
    ++stats_.rx_lost;
    pool.free(packet);
  }
}

// Takes every buffer of the pool, or gives them all back. A taken buffer holds the next one's
// address, so that there may be any number.
void FaultyPort::starve(PacketPool& pool, bool now) {
  if (!now) {
    while (taken_ != nullptr) {
      Packet* next;
      std::memcpy(&next, taken_->base, sizeof next);
      pool.free(std::exchange(taken_, next));
    }
    return;
  }
  while (Packet* packet = pool.allocate()) {
    std::memcpy(packet->base, &taken_, sizeof taken_);
    taken_ = packet;
  }
}

uint32_t FaultyPort::rx_burst(PacketPool& pool, Packet** out, uint32_t max) {
  rx_pool_ = &pool;
  send_held();
  starve(pool, strikes(Fault::RxStarve));
  if (max == 0 || strikes(Fault::RxSilence)) return 0;
  const uint32_t most = strikes(Fault::RxTrickle) ? 1 : max;
  uint32_t count = 0;
  // First what waits, while nothing makes it wait on.
  if (!active(Fault::RxDelay) || rx_held_count_ > kFaultQueue / 2) {
    const uint32_t held = std::exchange(rx_held_count_, 0);
    for (uint32_t i = 0; i < held; ++i) put_rx(pool, rx_held_[i], out, count, most);
  }
  if (rx_overtaken_ != nullptr && count < most && !active(Fault::RxReorder)) {
    put_rx(pool, std::exchange(rx_overtaken_, nullptr), out, count, most);
  }
  Packet* taken[kBurst];
  const uint32_t room = std::min(most - count, kBurst);
  const uint32_t got = room != 0 ? behind_->rx_burst(pool, taken, room) : 0;
  rx_discards = behind_->rx_discards;
  rx_errors += behind_->rx_errors - std::exchange(errors_seen_, behind_->rx_errors);
  for (uint32_t i = 0; i < got; ++i) {
    Packet* packet = taken[i];
    if (strikes(Fault::RxDown) || strikes(Fault::RxLoss) || strikes(Fault::RxError)) {
      ++stats_.rx_lost;
      pool.free(packet);
      continue;
    }
    spoil(*packet, Fault::RxFlip, Fault::RxHeader, Fault::RxTruncate);
    if (strikes(Fault::RxPad)) {
      const uint32_t more = std::min(1 + static_cast<uint32_t>(random() % 64), packet->tailroom());
      std::memset(packet->data() + packet->length, 0x5a, more);
      packet->append(more);
    }
    if (rx_overtaken_ == nullptr && strikes(Fault::RxReorder)) {
      rx_overtaken_ = packet;
      continue;
    }
    if (strikes(Fault::RxNoise)) {
      if (Packet* noise = made_up(pool)) put_rx(pool, noise, out, count, most);
    }
    if (strikes(Fault::RxDuplicate)) {
      if (Packet* twin = pool.copy(*packet)) {
        ++stats_.rx_duplicated;
        put_rx(pool, twin, out, count, most);
      }
    }
    put_rx(pool, packet, out, count, strikes(Fault::RxDelay) ? 0 : most);
    if (rx_overtaken_ != nullptr) {
      put_rx(pool, std::exchange(rx_overtaken_, nullptr), out, count, most);
    }
  }
  stats_.rx_waiting = rx_held_count_ + (rx_overtaken_ != nullptr ? 1u : 0u);
  return count;
}

// Through the port behind; false: not now, or never (its tx_errors say).
bool FaultyPort::send_one(Packet& packet) {
  Packet* one = &packet;
  return behind_->tx_burst(&one, 1) == 1;
}

// What was said to have gone before; it is too late to tell anybody that it does not.
void FaultyPort::send_late(Packet* copy) {
  if (!send_one(*copy)) ++stats_.tx_lost;
  scratch_.free(copy);
}

// What waits, unless something makes it wait on.
void FaultyPort::send_held() {
  if (!active(Fault::TxDelay) || tx_held_count_ > kFaultQueue / 2) {
    const uint32_t held = std::exchange(tx_held_count_, 0);
    for (uint32_t i = 0; i < held; ++i) send_late(tx_held_[i]);
  }
  if (tx_overtaken_ != nullptr && !active(Fault::TxReorder)) {
    send_late(std::exchange(tx_overtaken_, nullptr));
  }
  stats_.tx_waiting = tx_held_count_ + (tx_overtaken_ != nullptr ? 1u : 0u);
}

uint32_t FaultyPort::tx_burst(Packet* const* packets, uint32_t count) {
  send_held();
  if (count == 0 || strikes(Fault::TxFull)) return 0;
  const uint32_t most = strikes(Fault::TxShort) ? count / 2 : count;
  uint32_t sent = 0;
  for (; sent < most; ++sent) {
    if (strikes(Fault::TxDown) || strikes(Fault::TxError)) {
      ++tx_errors;
      break;
    }
    if (strikes(Fault::TxLoss)) {
      ++stats_.tx_lost;
      continue;
    }
    // The packet stays as it was: what changes it, or keeps it, has a copy.
    Packet* copy = scratch_.copy(*packets[sent]);
    Packet& packet = copy != nullptr ? *copy : *packets[sent];
    if (copy != nullptr) {
      spoil(packet, Fault::TxFlip, Fault::TxHeader, Fault::TxTruncate);
      if (tx_held_count_ < kFaultQueue && strikes(Fault::TxDelay)) {
        tx_held_[tx_held_count_++] = copy;
        continue;
      }
      if (tx_overtaken_ == nullptr && strikes(Fault::TxReorder)) {
        tx_overtaken_ = copy;
        continue;
      }
    }
    const uint64_t errors = behind_->tx_errors;
    const bool went = send_one(packet);
    if (went && strikes(Fault::TxDuplicate) && send_one(packet)) ++stats_.tx_duplicated;
    if (copy != nullptr) scratch_.free(copy);
    if (!went) {
      tx_errors += behind_->tx_errors - errors;
      break;
    }
    if (tx_overtaken_ != nullptr) send_late(std::exchange(tx_overtaken_, nullptr));
  }
  stats_.tx_waiting = tx_held_count_ + (tx_overtaken_ != nullptr ? 1u : 0u);
  return sent;
}

}  // namespace vrouter
