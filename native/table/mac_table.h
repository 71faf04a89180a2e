// MacTable: the MACs of one network and where their frames go. Open addressing: groups of 16 slots
// under one byte of tag each (tag_group.h); a MAC is in the group its hash names, or, where that is
// full, in the next one that is not.
//
// Invariants
//  * Every group between a MAC's home and the one it is in has no free slot: a search ends at the
//    first free tag. So a slot in a group without any becomes `gone`, not free, when it is left.
//  * At most 7/8 of the slots are taken or gone, so that there is always a free one to end at.
//  * The hash is seeded: tenants choose the MACs that are learned from them, and whoever does not
//    know the seed cannot aim them at one group. What is found never depends on the seed.
//
// Memory: 33 bytes a slot (an entry, half a cache line, and its tag). Slots double when 7/8 are
// taken, so a MAC has 38 to 75 bytes; below 14 MACs the table has 16 slots, without any it has no
// memory. Growing moves all entries: see docs/decisions/0043-mac-table.md.
//
// Written by the control side while workers are held, only then does it grow; read by workers, who
// also count in `packets`: statistics, so of two workers at once one count may be lost. Pointers to entries end with the next insert() or erase().
#pragma once
#include <bit>
#include <cstdint>
#include <cstring>

#include "base/address.h"
#include "base/hash.h"
#include "base/ids.h"
#include "base/mapped_memory.h"
#include "base/prefetch.h"
#include "base/shared.h"
#include "table/tag_group.h"

namespace vrouter {

struct alignas(32) MacEntry {
  Shared<uint64_t> packets{};  // `rt --family bridge` Stats
  NextHopId next_hop{0};
  uint32_t label = 0;
  Mac mac;
  uint8_t flags = 0;
};
static_assert(sizeof(MacEntry) == 32, "never in two cache lines");

class MacTable {
 public:
  MacTable() = default;
  ~MacTable() { release(); }
  MacTable(const MacTable&) = delete;
  MacTable& operator=(const MacTable&) = delete;

  // Precondition: the table is empty.
  void use_seed(uint64_t seed) { seed_ = seed; }

  // The entry of this MAC, made if there was none: all zero then but for its MAC.
  MacEntry& insert(const Mac& mac);
  bool erase(const Mac& mac);
  MacEntry* find(const Mac& mac) const { return find(mac, hash(mac)); }

  // The same in the two steps of a burst: prefetch(hash) asks for the tags, candidates(hash) looks
  // at them and asks for the entries that the search will look at. All of them: of 16 slots three
  // quarters full, one in twenty has another's tag before its own, and one in thirty is in the next
  // group; each would be waited for.
  uint64_t hash(const Mac& mac) const { return hash(word_of(mac.bytes.data())); }
  uint64_t hash(uint64_t mac) const { return hash_words<sizeof(Mac)>(seed_, mac, uint64_t{0}); }
  void prefetch(uint64_t hash) const { vrouter::prefetch(tags_ + home(hash)); }
  void candidates(uint64_t hash) const {
    if (slots_ == 0) return;
    uint32_t group = home(hash);
    uint32_t m = match_tags(tags_ + group, tag_of(hash));
    if (m == 0) [[unlikely]] {
      group = next(group);
      m = match_tags(tags_ + group, tag_of(hash));
    }
    for (; m != 0; m &= m - 1) {
      vrouter::prefetch(&entries_[group + static_cast<uint32_t>(std::countr_zero(m))]);
    }
  }
  MacEntry* find(const Mac& mac, uint64_t hash) const {
    if (slots_ == 0) return nullptr;
    const uint8_t tag = tag_of(hash);
    for (uint32_t group = home(hash);; group = next(group)) {
      for (uint32_t m = match_tags(tags_ + group, tag); m != 0; m &= m - 1) {
        MacEntry& entry = entries_[group + static_cast<uint32_t>(std::countr_zero(m))];
        if (entry.mac == mac) [[likely]]
          return &entry;
      }
      if (match_tags(tags_ + group, kFree) != 0) return nullptr;
    }
  }

  // A MAC's bytes in one word, as they stand.
  static uint64_t word_of(const uint8_t* mac) {
    return uint64_t{load_le32(mac)} | uint64_t{static_cast<uint32_t>(mac[4] | mac[5] << 8)} << 32;
  }

  // All entries, in no order.
  template <class Visit>
  void each(Visit visit) const {
    for (uint32_t i = 0; i < slots_; ++i) {
      if (tags_[i] >= kTaken) visit(entries_[i]);
    }
  }

  uint32_t size() const { return used_; }
  uint32_t slots() const { return slots_; }
  size_t bytes() const { return size_t{slots_} * kSlotBytes; }  // memory held

 private:
  static constexpr uint8_t kFree = 0;
  static constexpr uint8_t kGone = 1;  // free, but a search must go on
  static constexpr uint8_t kTaken = 0x80;
  static constexpr uint32_t kSlotBytes = sizeof(MacEntry) + 1;

  static uint8_t tag_of(uint64_t hash) { return static_cast<uint8_t>(hash >> 56) | kTaken; }
  // First slot of the group that the hash names.
  uint32_t home(uint64_t hash) const {
    return static_cast<uint32_t>(hash) & (slots_ - 1) & ~(kGroupSlots - 1);
  }
  uint32_t next(uint32_t group) const { return (group + kGroupSlots) & (slots_ - 1); }
  uint32_t open_slot(uint64_t hash) const;
  void allocate(uint32_t slots);
  void rebuild(uint32_t slots);
  void release();

  uint8_t* tags_ = nullptr;      // slots_ of them, behind the entries
  MacEntry* entries_ = nullptr;  // slots_
  uint32_t slots_ = 0;           // 0 or a power of two from kGroupSlots on
  uint32_t used_ = 0;
  uint32_t gone_ = 0;
  uint64_t seed_ = 0;
  MappedMemory mapped_;  // what they are in, from kMapFrom bytes on; else it is the heap's
};

}  // namespace vrouter
