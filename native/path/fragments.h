// FragmentTable: later fragments borrow the ports of their first. A later fragment that comes
// before its first waits, bounded in number (kFragmentHold) and time (kFragmentNs). RFC 791, RFC
// 8200 §4.5; overlapping first fragments are refused (RFC 5722, RFC 1858). Owned by one worker.
#pragma once
#include <cstdint>
#include <memory>

#include "packet/packet.h"

namespace vrouter {

struct FragmentKey {
  uint8_t source[16];
  uint8_t destination[16];
  uint32_t identification;
  uint32_t scope;
  uint8_t protocol;
  Family family;
  uint16_t zero;
  bool operator==(const FragmentKey& o) const { return std::memcmp(this, &o, sizeof *this) == 0; }
};
static_assert(sizeof(FragmentKey) == 44);

class FragmentTable {
 public:
  explicit FragmentTable(uint64_t seed);
  ~FragmentTable();

  // Remembers the ports of a first fragment. Then take_held() yields those that waited for it.
  void learn(const FragmentKey& key, uint16_t source_port, uint16_t destination_port,
             uint64_t now_ns);
  bool find(const FragmentKey& key, uint64_t now_ns, uint16_t* source_port,
            uint16_t* destination_port);
  // Keeps a later fragment; false: no room, the caller drops it.
  bool hold(const FragmentKey& key, Packet* packet, uint64_t now_ns);
  Packet* take_held(const FragmentKey& key);  // one at a time, oldest first; nullptr: none
  Packet* take_expired(uint64_t now_ns);      // held too long; the caller drops it
  uint32_t held() const { return held_; }

 private:
  struct Storage;
  std::unique_ptr<Storage> storage_;
  uint32_t held_ = 0;
};

}  // namespace vrouter
