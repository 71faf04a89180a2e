#include "state/route_store.h"

#include "base/hash.h"

namespace vrouter {

uint32_t& RouteStore::remembered(const Route& route) {
  if (remembered_.empty()) remembered_.resize(kRemembered);
  const uint64_t rest = uint64_t{route.flags} << 48 | uint64_t{route.hash_fields} << 56;
  const uint64_t hash = hash_words<32>(0, uint64_t{route.next_hop.value}, uint64_t{route.label},
                                       route.mac.word() | rest, uint64_t{route.length});
  return remembered_[hash % kRemembered];
}

uint32_t RouteStore::hold(const Route& route) {
  uint32_t& recent = remembered(route);
  if (recent<made_&& * references_.find(recent)> 0 && *routes_.find(recent) == route) {
    ++*references_.find(recent);
    return recent;
  }
  uint32_t id = made_;
  if (free_.empty()) {
    ++made_;
  } else {
    id = free_.back();
    free_.pop_back();
  }
  routes_.make(id) = route;
  references_.make(id) = 1;
  recent = id;
  return id;
}

void RouteStore::release(uint32_t id) {
  if (--*references_.find(id) == 0) free_.push_back(id);
}

}  // namespace vrouter
