// Two tables in fixed storage, both chained hash tables over arrays, with a list in order of time:
//   learned  what a first fragment taught; full: the oldest makes room
//   held     packets waiting, in one queue per key; full: refused
//
// Invariants
//  * A slot is either on its free list, or in one hash chain and in the list by time.
//  * The list by time is sorted, for time does not run backwards; so its front is what expires
//    first.
//  * A key has a group exactly while packets of it are held; the group's queue is in order of
//    arrival, so the oldest held packet of all is the front of its group.
//  * A search looks at no more than kMaxProbe entries; the seed keeps chains far shorter. A packet
//    whose group might lie beyond that is refused rather than put out of order.
// Held packets belong to the table until taken. What is still held when the table goes stays with
// the pool's slab.
#include "path/fragments.h"

#include <new>

#include "base/hash.h"
#include "base/limits.h"

namespace vrouter {

namespace {

constexpr uint32_t kNil = ~0u;
constexpr uint32_t kMaxProbe = 32;
constexpr uint32_t kLearnedBuckets = kFragmentEntries * 2;
constexpr uint32_t kHeldBuckets = kFragmentHold * 2;
static_assert((kLearnedBuckets & (kLearnedBuckets - 1)) == 0);
static_assert((kHeldBuckets & (kHeldBuckets - 1)) == 0);

struct Links {
  uint32_t previous = kNil;
  uint32_t next = kNil;
};

struct List {
  uint32_t first = kNil;
  uint32_t last = kNil;
};

// A doubly linked list through member `links` of the entries of an array.
template <auto links, class Entry>
void append(Entry* entries, List& list, uint32_t i) {
  entries[i].*links = {list.last, kNil};
  (list.last == kNil ? list.first : (entries[list.last].*links).next) = i;
  list.last = i;
}

template <auto links, class Entry>
void remove(Entry* entries, List& list, uint32_t i) {
  const Links old = entries[i].*links;
  (old.previous == kNil ? list.first : (entries[old.previous].*links).next) = old.next;
  (old.next == kNil ? list.last : (entries[old.next].*links).previous) = old.previous;
}

template <auto links, class Entry>
void prepend(Entry* entries, List& list, uint32_t i) {
  entries[i].*links = {kNil, list.first};
  (list.first == kNil ? list.last : (entries[list.first].*links).previous) = i;
  list.first = i;
}

struct Found {
  uint32_t index = kNil;
  bool cut = false;  // the chain went on beyond kMaxProbe
};

template <auto links, class Entry>
Found search(const Entry* entries, const List& chain, const FragmentKey& key) {
  uint32_t i = chain.first;
  for (uint32_t probes = 0; i != kNil && probes < kMaxProbe; ++probes) {
    if (entries[i].key == key) return {i, false};
    i = (entries[i].*links).next;
  }
  return {kNil, i != kNil};
}

bool expired(uint64_t since_ns, uint64_t now_ns) {
  return now_ns > since_ns && now_ns - since_ns >= kFragmentNs;
}

struct Learned {
  FragmentKey key;
  uint16_t source_port;
  uint16_t destination_port;
  uint64_t time_ns;
  Links chain;
  Links age;
};

struct Group {
  FragmentKey key;
  List queue;   // of Held
  Links chain;  // in its bucket, or in the free list
};

struct Held {
  Packet* packet;
  uint64_t time_ns;
  uint32_t group;
  Links queue;  // in its group, or in the free list
  Links age;
};

}  // namespace

struct FragmentTable::Storage {
  uint64_t seed = 0;
  List learned_chains[kLearnedBuckets];
  Learned learned[kFragmentEntries];
  List learned_by_age;
  uint32_t learned_used = 0;  // slots are handed out in order, then reused oldest first

  List group_chains[kHeldBuckets];
  Group groups[kFragmentHold];
  List free_groups;
  Held held[kFragmentHold];
  List free_held;
  List held_by_age;

  List& learned_chain(const FragmentKey& key) {
    return learned_chains[hash_key(key, seed) & (kLearnedBuckets - 1)];
  }
  List& group_chain(const FragmentKey& key) {
    return group_chains[hash_key(key, seed) & (kHeldBuckets - 1)];
  }

  // Takes a held packet out of its queue; the group goes with its last.
  Packet* release(uint32_t i) {
    Held& entry = held[i];
    Group& group = groups[entry.group];
    remove<&Held::queue>(held, group.queue, i);
    remove<&Held::age>(held, held_by_age, i);
    if (group.queue.first == kNil) {
      remove<&Group::chain>(groups, group_chain(group.key), entry.group);
      prepend<&Group::chain>(groups, free_groups, entry.group);
    }
    prepend<&Held::queue>(held, free_held, i);
    return entry.packet;
  }
};

FragmentTable::FragmentTable(uint64_t seed) : storage_(new (std::nothrow) Storage) {
  if (storage_ == nullptr) return;  // learns and holds nothing: fragments without ports are dropped
  Storage& s = *storage_;
  s.seed = mix64(seed);
  for (uint32_t i = 0; i < kFragmentHold; ++i) {
    append<&Group::chain>(s.groups, s.free_groups, i);
    append<&Held::queue>(s.held, s.free_held, i);
  }
}

FragmentTable::~FragmentTable() = default;

void FragmentTable::learn(const FragmentKey& key, uint16_t source_port, uint16_t destination_port,
                          uint64_t now_ns) {
  if (storage_ == nullptr) return;
  Storage& s = *storage_;
  List& chain = s.learned_chain(key);
  uint32_t i = search<&Learned::chain>(s.learned, chain, key).index;
  if (i != kNil) {  // the identification was used again
    remove<&Learned::age>(s.learned, s.learned_by_age, i);
  } else {
    if (s.learned_used < kFragmentEntries) {
      i = s.learned_used++;
    } else {
      i = s.learned_by_age.first;
      remove<&Learned::age>(s.learned, s.learned_by_age, i);
      remove<&Learned::chain>(s.learned, s.learned_chain(s.learned[i].key), i);
    }
    s.learned[i].key = key;
    prepend<&Learned::chain>(s.learned, chain, i);  // the newest is found first
  }
  Learned& entry = s.learned[i];
  entry.source_port = source_port;
  entry.destination_port = destination_port;
  entry.time_ns = now_ns;
  append<&Learned::age>(s.learned, s.learned_by_age, i);
}

bool FragmentTable::find(const FragmentKey& key, uint64_t now_ns, uint16_t* source_port,
                         uint16_t* destination_port) {
  if (storage_ == nullptr) return false;
  const Storage& s = *storage_;
  const uint32_t i = search<&Learned::chain>(s.learned, storage_->learned_chain(key), key).index;
  if (i == kNil || expired(s.learned[i].time_ns, now_ns)) return false;
  *source_port = s.learned[i].source_port;
  *destination_port = s.learned[i].destination_port;
  return true;
}

bool FragmentTable::hold(const FragmentKey& key, Packet* packet, uint64_t now_ns) {
  if (storage_ == nullptr) return false;
  Storage& s = *storage_;
  const uint32_t i = s.free_held.first;
  if (i == kNil) return false;
  List& chain = s.group_chain(key);
  const Found found = search<&Group::chain>(s.groups, chain, key);
  if (found.cut) return false;
  uint32_t g = found.index;
  if (g == kNil) {
    g = s.free_groups.first;  // there is one: a group holds at least one of as many packets
    remove<&Group::chain>(s.groups, s.free_groups, g);
    s.groups[g].key = key;
    s.groups[g].queue = {};
    prepend<&Group::chain>(s.groups, chain, g);
  }
  remove<&Held::queue>(s.held, s.free_held, i);
  s.held[i].packet = packet;
  s.held[i].time_ns = now_ns;
  s.held[i].group = g;
  append<&Held::queue>(s.held, s.groups[g].queue, i);
  append<&Held::age>(s.held, s.held_by_age, i);
  ++held_;
  return true;
}

Packet* FragmentTable::take_held(const FragmentKey& key) {
  if (held_ == 0) return nullptr;
  Storage& s = *storage_;
  const uint32_t g = search<&Group::chain>(s.groups, s.group_chain(key), key).index;
  if (g == kNil) return nullptr;
  --held_;
  return s.release(s.groups[g].queue.first);
}

Packet* FragmentTable::take_expired(uint64_t now_ns) {
  if (held_ == 0) return nullptr;
  Storage& s = *storage_;
  const uint32_t i = s.held_by_age.first;
  if (!expired(s.held[i].time_ns, now_ns)) return nullptr;
  --held_;
  return s.release(i);
}

}  // namespace vrouter
