// RouteStore: where routes lead, by the ids that an Lpm holds. Prefixes of one length that lead to the
// same share an object: packets to a million prefixes behind few next hops then read few cache lines.
// Sharing is best effort, in a fixed space: of all objects with one hash the last is remembered.
// Invariant: an id is good while it is held; an object does not change while its id is good.
// Written by the control side while workers are held; read by workers.
#pragma once
#include <cstdint>
#include <vector>

#include "base/address.h"
#include "base/ids.h"
#include "state/objects.h"
#include "state/slots.h"

namespace vrouter {

struct Route {  // what an Lpm value names
  NextHopId next_hop = kDiscard;
  uint32_t label = kNoLabel;
  uint8_t flags = 0;
  uint8_t hash_fields = 0;
  uint8_t length = 0;  // of its prefix
  Mac mac;
  bool operator==(const Route&) const = default;
};

class RouteStore {
 public:
  const Route* find(uint32_t id) const { return routes_.find(id); }
  uint32_t hold(const Route& route);  // once more
  void release(uint32_t id);          // once less; it is held
  uint32_t size() const { return made_ - static_cast<uint32_t>(free_.size()); }  // objects

 private:
  static constexpr uint32_t kRemembered = 4096;
  uint32_t& remembered(const Route& route);

  Slots<Route, 12> routes_;
  Slots<uint32_t, 12> references_;
  std::vector<uint32_t> remembered_;  // ids, perhaps of what is not held any more
  std::vector<uint32_t> free_;
  uint32_t made_ = 0;
};

}  // namespace vrouter
