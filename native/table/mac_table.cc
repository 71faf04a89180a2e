#include "table/mac_table.h"

#include <algorithm>
#include <cstdlib>

namespace vrouter {
namespace {

// Smaller tables share pages: there may be one in each of 65,536 networks.
constexpr size_t kMapFrom = size_t{1} << 20;
constexpr size_t kLine = 64;

uint32_t most_in(uint32_t slots) { return slots / 8 * 7; }

// Room for `used` and as many again before the next growth, nearly.
uint32_t slots_for(uint32_t used) {
  return std::max(kGroupSlots, std::bit_ceil(used + used / 7 + 1));
}

}  // namespace

MacEntry& MacTable::insert(const Mac& mac) {
  const uint64_t h = hash(mac);
  if (MacEntry* entry = find(mac, h)) return *entry;
  // Where the slots were used up by MACs that are gone, as many will do again.
  if (used_ + gone_ + 1 > most_in(slots_)) rebuild(slots_for(used_ + used_ / 8 + 1));
  const uint32_t slot = open_slot(h);
  if (tags_[slot] == kGone) --gone_;
  tags_[slot] = tag_of(h);
  ++used_;
  MacEntry& entry = entries_[slot];
  entry = MacEntry{};
  entry.mac = mac;
  return entry;
}

bool MacTable::erase(const Mac& mac) {
  const MacEntry* entry = find(mac);
  if (entry == nullptr) return false;
  const uint32_t slot = static_cast<uint32_t>(entry - entries_);
  const bool ends = match_tags(tags_ + slot / kGroupSlots * kGroupSlots, kFree) != 0;
  tags_[slot] = ends ? kFree : kGone;
  if (!ends) ++gone_;
  --used_;
  if (used_ == 0) {
    release();
  } else if (slots_ > kGroupSlots && used_ < slots_ / 8) {
    rebuild(slots_ / 4 < kGroupSlots ? kGroupSlots : slots_ / 4);
  }
  return true;
}

// Precondition: there is one.
uint32_t MacTable::open_slot(uint64_t hash) const {
  for (uint32_t group = home(hash);; group = next(group)) {
    const uint32_t open = match_tags(tags_ + group, kFree) | match_tags(tags_ + group, kGone);
    if (open != 0) return group + static_cast<uint32_t>(std::countr_zero(open));
  }
}

// Memory that cannot be had ends the process, as operator new does without exceptions.
void MacTable::allocate(uint32_t slots) {
  const size_t bytes = (size_t{slots} * kSlotBytes + kLine - 1) / kLine * kLine;
  uint8_t* memory = nullptr;
  if (bytes < kMapFrom) {
    memory = static_cast<uint8_t*>(std::aligned_alloc(kLine, bytes));
  } else if (mapped_.map(bytes)) {
    memory = static_cast<uint8_t*>(mapped_.data());
  }
  if (memory == nullptr) std::abort();
  entries_ = reinterpret_cast<MacEntry*>(memory);
  tags_ = memory + size_t{slots} * sizeof(MacEntry);
  std::memset(tags_, kFree, slots);
  slots_ = slots;
}

void MacTable::rebuild(uint32_t slots) {
  MacTable grown;
  grown.seed_ = seed_;
  grown.allocate(slots);
  each([&](const MacEntry& entry) {
    const uint64_t h = hash(entry.mac);
    const uint32_t slot = grown.open_slot(h);
    grown.tags_[slot] = tag_of(h);
    grown.entries_[slot] = entry;
  });
  grown.used_ = used_;
  std::swap(tags_, grown.tags_);
  std::swap(entries_, grown.entries_);
  std::swap(slots_, grown.slots_);
  gone_ = 0;
  mapped_.swap(grown.mapped_);
}

void MacTable::release() {
  if (mapped_.data() == nullptr) std::free(entries_);
  mapped_.unmap();
  tags_ = nullptr;
  entries_ = nullptr;
  slots_ = used_ = gone_ = 0;
}

}  // namespace vrouter
