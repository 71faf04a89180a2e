// DropLog: the last drops, each with its frame's first bytes and the room it ended in. A ring that
// overwrites its oldest: it costs a copy of 128 bytes a drop, whatever the rate.
// Written by the worker (path/finish.cc, worker/engine.cc); read by control while it is held.
#pragma once
#include <cstdint>
#include <cstring>

#include "packet/packet.h"

namespace vrouter {

inline constexpr uint32_t kDropLog = 256;       // entries; a power of two
inline constexpr uint32_t kDropLogBytes = 128;  // of the frame, from its start

struct DropRecord {
  uint64_t number;   // of the drop, from 1
  uint64_t time_ns;  // since the router started
  uint32_t length;   // of the frame as it was then
  uint32_t captured;
  VifId vif;
  VrfId vrf;
  DropReason reason;
  Room room;
  uint8_t bytes[kDropLogBytes];
};

class DropLog {
 public:
  void add(const Packet& packet, DropReason reason, Room room, uint64_t now_ns) {
    DropRecord& r = records_[added_++ & (kDropLog - 1)];
    r.number = added_;
    r.time_ns = now_ns;
    r.length = packet.length;
    r.captured = packet.length < kDropLogBytes ? packet.length : kDropLogBytes;
    r.vif = packet.meta.vif;
    r.vrf = packet.meta.vrf;
    r.reason = reason;
    r.room = room;
    std::memcpy(r.bytes, packet.data(), r.captured);
  }
  uint64_t added() const { return added_; }
  // Oldest first. Precondition: first is one of the last kDropLog, from 1.
  const DropRecord& at(uint64_t number) const { return records_[(number - 1) & (kDropLog - 1)]; }
  uint64_t oldest() const { return added_ > kDropLog ? added_ - kDropLog + 1 : 1; }

 private:
  DropRecord records_[kDropLog] = {};
  uint64_t added_ = 0;
};

}  // namespace vrouter
