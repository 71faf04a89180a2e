// A trie of six address bits a level. One structure is both what packets meet and the authoritative
// store of prefixes: nothing is derived from it but the index of the first 18 bits of big tables.
//
//   Node (32 bytes, two a cache line) at depth d holds the prefixes of length d+1 … d+6:
//     full      bit s: a prefix of length d+6 ends at slot s
//     partial   bit 2^l + (s >> (6-l)): a prefix of length d+l, l = 1..5, numbered as in a heap
//     children  bit s: a node at depth d+6 continues slot s
//   Children of a node are neighbours in `nodes`, values of its prefixes in `values` (partial ones
//   first, in order of bit), so the position of either is the number of set bits below its own. A
//   change therefore touches one node and its two small arrays: at most 64 nodes and 126 values
//   move.
//
//   A node that only passes on (no prefix, one child) is a skip: it stands for up to 60 bits at
//   once. Two fields mean something else then: `full` holds the bits expected, `value_base` how
//   many, and kSkip is set in `partial`. Host routes far apart cost a few nodes instead of 22.
//
//   Tables of kIndexFrom prefixes and more get `index`: for each value of the first 18 bits, the
//   best value of a prefix that short, and the node at depth 18, so that a lookup starts there. No
//   skip crosses depth 18. The default route is held aside (`fallback`): it changes without
//   walking.
//
// Lookup keeps the last node with a match and looks for its value when no child goes on. A burst
// compares what all prefixes begin with at once: a tenant's subnet, a cluster's IPv6 prefix.
// Written by the control side while workers are held; read by workers as plain memory.
#include "table/lpm.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

#include "base/mapped_memory.h"
#include "base/prefetch.h"
#include "table/blocks.h"

// The x86-64 baseline has no population count, and shifts by one register only; where the build does
// not allow more, the lookups are compiled twice and the processor is asked (x86-64-v3 has it all).
#if defined(__x86_64__) && !(defined(__POPCNT__) && defined(__BMI2__))
#define VROUTER_LPM_DISPATCH 1
#define VROUTER_LPM_TARGET __attribute__((target("popcnt,bmi,bmi2")))
#else
#define VROUTER_LPM_DISPATCH 0
#define VROUTER_LPM_TARGET
#endif
#define VROUTER_LPM_INLINE __attribute__((always_inline)) inline

namespace vrouter {
namespace {

using Key = unsigned __int128;  // address, left-aligned; both families

constexpr uint32_t kStride = 6;
constexpr uint32_t kIndexBits = 18;     // a multiple of the stride
constexpr uint32_t kIndexFrom = 32768;  // its 2 MiB are then at most 64 bytes a prefix
constexpr uint32_t kIndexUntil = 8192;  // far below, so that it does not flap
constexpr uint32_t kMaxSkip = 60;       // a multiple of the stride that fits 64 bits
constexpr uint32_t kMaxPath =
    1 + 128 / kStride + 1;       // nodes and skips from the root to a host route
constexpr uint64_t kSkip = 1;    // in `partial`: heap numbers start at 2
constexpr uint32_t kLanes = 32;  // addresses a burst has in flight

struct Node {
  uint64_t children;
  uint64_t full;
  uint64_t partial;
  uint32_t child_base;
  uint32_t value_base;

  bool is_skip() const { return (partial & kSkip) != 0; }
};
static_assert(sizeof(Node) == 32);

struct IndexEntry {
  uint32_t node;   // at depth 18; 0 (the root) stands for none
  uint32_t value;  // best of lengths 1 … 18, or Lpm::kNoValue
};

// For each slot, the partial bits of the prefixes that contain it.
struct SlotPaths {
  uint64_t of[64];
};
constexpr SlotPaths make_slot_paths() {
  SlotPaths paths{};
  for (uint32_t slot = 0; slot < 64; ++slot) {
    for (uint32_t length = 1; length < kStride; ++length) {
      paths.of[slot] |= uint64_t{1} << ((1u << length) | (slot >> (kStride - length)));
    }
  }
  return paths;
}
constexpr SlotPaths kPaths = make_slot_paths();

constexpr uint64_t bit(uint32_t n) { return uint64_t{1} << n; }
constexpr uint64_t below(uint32_t n) { return bit(n) - 1; }  // n < 64
VROUTER_LPM_INLINE uint32_t count(uint64_t bits) {
  return static_cast<uint32_t>(__builtin_popcountll(bits));
}

// The `length` bits at `depth`; 1 <= length <= 60.
template <class Word>
VROUTER_LPM_INLINE uint64_t bits_at(Word address, uint32_t depth, uint32_t length) {
  return static_cast<uint64_t>(static_cast<Word>(address << depth) >> (sizeof(Word) * 8 - length));
}
template <class Word>
VROUTER_LPM_INLINE uint32_t slot_at(Word address, uint32_t depth) {
  return static_cast<uint32_t>(bits_at(address, depth, kStride));
}

// Words that lookups work on: IPv4 fits a register.
template <class Word>
VROUTER_LPM_INLINE Word load_word(const uint8_t* address);
template <>
VROUTER_LPM_INLINE uint64_t load_word<uint64_t>(const uint8_t* address) {
  uint32_t raw;
  std::memcpy(&raw, address, 4);
  if constexpr (std::endian::native == std::endian::little) raw = __builtin_bswap32(raw);
  return uint64_t{raw} << 32;
}
template <>
VROUTER_LPM_INLINE Key load_word<Key>(const uint8_t* address) {
  uint64_t raw[2];
  std::memcpy(raw, address, 16);
  if constexpr (std::endian::native == std::endian::little) {
    raw[0] = __builtin_bswap64(raw[0]);
    raw[1] = __builtin_bswap64(raw[1]);
  }
  return Key{raw[0]} << 64 | raw[1];
}

Key key_of(const Prefix& prefix) { return load_word<Key>(prefix.address.bytes.data()); }

// Depth of the node that holds prefixes of this length; length >= 1.
constexpr uint32_t depth_of(uint32_t length) { return (length - 1) / kStride * kStride; }

// Place of a prefix of `inner` (1..6) bits at `slot` of a node: its bit and its rank among values.
struct Place {
  uint64_t Node::*word;
  uint64_t mask;
  uint32_t rank;
};
Place place_of(const Node& node, uint32_t slot, uint32_t inner) {
  if (inner == kStride) {
    return {&Node::full, bit(slot), count(node.partial) + count(node.full & below(slot))};
  }
  const uint32_t heap = (1u << inner) | (slot >> (kStride - inner));
  return {&Node::partial, bit(heap), count(node.partial & below(heap))};
}
uint32_t value_count(const Node& node) { return count(node.partial) + count(node.full); }

// --- lookup ------------------------------------------------------------------------------------

// What lookups read; copied to the stack so that the compiler may keep it in registers.
struct View {
  const Node* nodes;
  const uint32_t* values;
  const IndexEntry* index;  // or nullptr
  uint32_t fallback;
};

constexpr uint32_t kNoNode = ~0u;

// Whether a prefix that the node holds contains the slot. Not of a skip.
VROUTER_LPM_INLINE bool holds(const Node& node, uint32_t slot) {
  return ((node.full >> slot & 1) | (node.partial & kPaths.of[slot])) != 0;
}

// Where among the values that of the longest such prefix is.
VROUTER_LPM_INLINE uint32_t position_in(const Node& node, uint32_t slot) {
  if ((node.full >> slot & 1) != 0) {
    return node.value_base + count(node.partial) + count(node.full & below(slot));
  }
  const uint64_t partial = node.partial & kPaths.of[slot];
  const uint32_t longest = 63 - static_cast<uint32_t>(std::countl_zero(partial));
  return node.value_base + count(node.partial & below(longest));
}

VROUTER_LPM_INLINE uint32_t child_of(const Node& node, uint32_t slot) {
  return node.child_base + count(node.children & below(slot));
}

// `rest`: what of the address is still to be looked at, left-aligned.
template <class Word>
VROUTER_LPM_INLINE bool skips(const Node& node, Word rest) {
  return bits_at(rest, 0, node.value_base) == node.full;
}

template <class Word>
VROUTER_LPM_INLINE uint32_t find(const View& view, const uint8_t* bytes) {
  Word rest = load_word<Word>(bytes);
  uint32_t at = 0;
  uint32_t best = view.fallback;
  if (view.index != nullptr) {
    const IndexEntry entry = view.index[bits_at(rest, 0, kIndexBits)];
    if (entry.value != Lpm::kNoValue) best = entry.value;
    if (entry.node == 0) return best;
    at = entry.node;
    rest <<= kIndexBits;
  }
  uint32_t hit = kNoNode;
  uint32_t hit_slot = 0;
  for (;;) {
    const Node& node = view.nodes[at];
    if (node.is_skip()) [[unlikely]] {
      if (!skips(node, rest)) break;
      rest <<= node.value_base;
      at = node.child_base;
      continue;
    }
    const uint32_t slot = slot_at(rest, 0);
    if (holds(node, slot)) {
      hit = at;
      hit_slot = slot;
    }
    if ((node.children >> slot & 1) == 0) break;
    at = child_of(node, slot);
    rest <<= kStride;
  }
  return hit == kNoNode ? best : view.values[position_in(view.nodes[hit], hit_slot)];
}

// What all prefixes begin with, and where they part: nodes from the root on that hold none and have
// one child, as the root and skips may be.
template <class Word>
struct Front {
  Word bits;
  uint32_t length;
  uint32_t node;
};
template <class Word>
VROUTER_LPM_INLINE Front<Word> front_of_all(const Node* nodes) {
  Front<Word> all{0, 0, 0};
  for (;;) {
    const Node& node = nodes[all.node];
    uint64_t bits;
    if (node.is_skip()) {
      bits = node.full;
      all.length += node.value_base;
    } else if ((node.full | node.partial) == 0 && std::has_single_bit(node.children)) {
      bits = static_cast<uint64_t>(std::countr_zero(node.children));
      all.length += kStride;
    } else {
      return all;
    }
    all.bits |= static_cast<Word>(bits) << (sizeof(Word) * 8 - all.length);
    all.node = node.child_base;
  }
}

// count <= kLanes. Each loop asks for the memory that the next one needs. On the way down only the
// last node with a match is kept: where its value is, is worked out once.
template <class Word>
VROUTER_LPM_INLINE void find_lanes(const View& view, const uint8_t* const* addresses, uint32_t* out,
                                   uint32_t lanes) {
  Word rest[kLanes];
  uint32_t at[kLanes];
  uint32_t hit[kLanes];
  uint32_t hit_slot[kLanes];
  uint32_t active[kLanes];
  uint32_t walking = 0;
  const Front<Word> all = front_of_all<Word>(view.nodes);
  if (all.length > (view.index == nullptr ? 0 : kIndexBits)) {
    for (uint32_t i = 0; i < lanes; ++i) {
      const Word address = load_word<Word>(addresses[i]);
      rest[i] = address << all.length;
      out[i] = view.fallback;
      at[i] = all.node;
      hit[i] = kNoNode;
      active[walking] = i;
      walking += ((address ^ all.bits) >> (sizeof(Word) * 8 - all.length)) == 0;
    }
  } else if (view.index == nullptr) {
    for (uint32_t i = 0; i < lanes; ++i) {
      rest[i] = load_word<Word>(addresses[i]);
      out[i] = view.fallback;
      at[i] = 0;
      hit[i] = kNoNode;
      active[i] = i;
    }
    walking = lanes;
  } else {
    for (uint32_t i = 0; i < lanes; ++i) {
      rest[i] = load_word<Word>(addresses[i]);
      prefetch(&view.index[bits_at(rest[i], 0, kIndexBits)]);
    }
    for (uint32_t i = 0; i < lanes; ++i) {
      const IndexEntry entry = view.index[bits_at(rest[i], 0, kIndexBits)];
      prefetch(&view.nodes[entry.node]);
      rest[i] <<= kIndexBits;
      out[i] = entry.value != Lpm::kNoValue ? entry.value : view.fallback;
      at[i] = entry.node;
      hit[i] = kNoNode;
      active[walking] = i;
      walking += entry.node != 0;
    }
  }
  while (walking != 0) {
    uint32_t still = 0;
    for (uint32_t a = 0; a < walking; ++a) {
      const uint32_t i = active[a];
      const Node& node = view.nodes[at[i]];
      uint32_t next;
      bool more;
      if (node.is_skip()) [[unlikely]] {
        more = skips(node, rest[i]);
        next = node.child_base;
        rest[i] <<= node.value_base;
      } else {
        const uint32_t slot = slot_at(rest[i], 0);
        const bool held = holds(node, slot);
        hit[i] = held ? at[i] : hit[i];
        hit_slot[i] = held ? slot : hit_slot[i];
        more = (node.children >> slot & 1) != 0;
        next = child_of(node, slot);
        rest[i] <<= kStride;
      }
      prefetch(&view.nodes[next]);  // of no use without more, and no harm
      at[i] = next;
      active[still] = i;
      still += more;
    }
    walking = still;
  }
  uint32_t found = 0;
  for (uint32_t i = 0; i < lanes; ++i) {
    if (hit[i] == kNoNode) continue;
    const uint32_t position = position_in(view.nodes[hit[i]], hit_slot[i]);
    prefetch(&view.values[position]);
    at[found] = position;
    active[found++] = i;
  }
  for (uint32_t f = 0; f < found; ++f) out[active[f]] = view.values[at[f]];
}

VROUTER_LPM_TARGET uint32_t find4(const View& view, const uint8_t* address) {
  return find<uint64_t>(view, address);
}
VROUTER_LPM_TARGET uint32_t find6(const View& view, const uint8_t* address) {
  return find<Key>(view, address);
}
VROUTER_LPM_TARGET void find_lanes4(const View& view, const uint8_t* const* addresses,
                                    uint32_t* out, uint32_t lanes) {
  find_lanes<uint64_t>(view, addresses, out, lanes);
}
VROUTER_LPM_TARGET void find_lanes6(const View& view, const uint8_t* const* addresses,
                                    uint32_t* out, uint32_t lanes) {
  find_lanes<Key>(view, addresses, out, lanes);
}

using Find = uint32_t (*)(const View&, const uint8_t*);
using FindLanes = void (*)(const View&, const uint8_t* const*, uint32_t*, uint32_t);

#if VROUTER_LPM_DISPATCH
uint32_t find4_baseline(const View& view, const uint8_t* address) {
  return find<uint64_t>(view, address);
}
uint32_t find6_baseline(const View& view, const uint8_t* address) {
  return find<Key>(view, address);
}
void find_lanes4_baseline(const View& view, const uint8_t* const* addresses, uint32_t* out,
                          uint32_t lanes) {
  find_lanes<uint64_t>(view, addresses, out, lanes);
}
void find_lanes6_baseline(const View& view, const uint8_t* const* addresses, uint32_t* out,
                          uint32_t lanes) {
  find_lanes<Key>(view, addresses, out, lanes);
}
bool has_bit_instructions() {
  __builtin_cpu_init();
  return __builtin_cpu_supports("popcnt") && __builtin_cpu_supports("bmi") &&
         __builtin_cpu_supports("bmi2");
}
#endif

}  // namespace

// --- the trie ----------------------------------------------------------------------------------

struct Lpm::Trie {
  explicit Trie(Family f) : family(f) {
    const bool v4 = f == Family::V4;
    find = v4 ? find4 : find6;
    find_lanes = v4 ? find_lanes4 : find_lanes6;
#if VROUTER_LPM_DISPATCH
    if (!has_bit_instructions()) {
      find = v4 ? find4_baseline : find6_baseline;
      find_lanes = v4 ? find_lanes4_baseline : find_lanes6_baseline;
    }
#endif
    reset();
  }

  void reset() {
    nodes.clear();
    values.clear();
    index_memory.unmap();
    nodes[nodes.allocate(1)] = Node{};  // the root, for ever number 0
    publish();
  }

  // After any change: the arrays may have moved.
  void publish() {
    view.nodes = nodes.data();
    view.values = values.data();
    view.index = static_cast<const IndexEntry*>(index_memory.data());
  }

  // Makes the way to the node at `depth` on the path of `key`; returns its number.
  uint32_t reach(Key key, uint32_t depth);
  void split(uint32_t at, uint32_t kept);
  void lead(uint32_t at, uint32_t depth, Key key, uint32_t to);

  // Path of existing nodes to exactly `depth`; false if there is none.
  struct Path {
    uint32_t node[kMaxPath];
    uint32_t depth[kMaxPath];
    uint32_t length = 0;
    void push(uint32_t n, uint32_t d) {
      node[length] = n;
      depth[length++] = d;
    }
  };
  bool trace(Key key, uint32_t depth, Path* path) const;
  void prune(Key key, Path& path);
  void merge(uint32_t upper, uint32_t depth);

  void paint(uint32_t node, uint32_t depth, uint32_t first, uint32_t value, uint32_t from,
             uint32_t until);
  void fill(uint32_t first, uint32_t entries, uint32_t value, uint32_t from, uint32_t until);
  void index_changed(Key key, uint32_t length);
  void size_changed();

  struct Cursor {
    Key key;
    uint32_t length;
  };
  using Visit = std::function<bool(const Prefix&, uint32_t)>;
  bool visit_from(uint32_t node, uint32_t depth, Key base, const Cursor* after,
                  const Visit& visit) const;
  Prefix prefix_of(Key key, uint32_t length) const;

  View view{nullptr, nullptr, nullptr, kNoValue};
  Find find;
  FindLanes find_lanes;
  Family family;
  bool top_moved = false;  // a node at depth 18 has a new number
  uint32_t size = 0;
  Blocks<Node> nodes;
  Blocks<uint32_t> values;
  MappedMemory index_memory;
};

// Node `at`, at `depth`, becomes the start of a way along `key` to a new empty node at `to`.
void Lpm::Trie::lead(uint32_t at, uint32_t depth, Key key, uint32_t to) {
  while (depth < to) {
    uint32_t length = std::min(to - depth, kMaxSkip);
    if (depth < kIndexBits) length = std::min(length, kIndexBits - depth);
    const uint32_t next = nodes.allocate(1);
    nodes[at] = Node{0, bits_at(key, depth, length), kSkip, next, length};
    at = next;
    depth += length;
  }
  nodes[at] = Node{};
}

// The skip `at` keeps `kept` bits (it becomes a node if none) and a node follows that can branch.
void Lpm::Trie::split(uint32_t at, uint32_t kept) {
  const Node skip = nodes[at];
  const uint32_t length = skip.value_base;
  const uint32_t rest = length - kept - kStride;
  Node branch{};
  branch.children = bit(static_cast<uint32_t>(skip.full >> rest & 63));
  branch.child_base = skip.child_base;
  if (rest != 0) {
    const uint32_t lower = nodes.allocate(1);
    nodes[lower] = Node{0, skip.full & below(rest), kSkip, skip.child_base, rest};
    branch.child_base = lower;
  }
  if (kept == 0) {
    nodes[at] = branch;
  } else {
    const uint32_t middle = nodes.allocate(1);
    nodes[middle] = branch;
    nodes[at] = Node{0, skip.full >> (length - kept), kSkip, middle, kept};
  }
}

uint32_t Lpm::Trie::reach(Key key, uint32_t to) {
  uint32_t at = 0;
  uint32_t depth = 0;
  for (;;) {
    const Node node = nodes[at];
    if (node.is_skip()) {
      const uint32_t length = node.value_base;
      uint32_t same = 0;
      while (same < length && depth + same < to &&
             bits_at(key, depth + same, kStride) == (node.full >> (length - same - kStride) & 63)) {
        same += kStride;
      }
      if (same == length) {
        at = node.child_base;
        depth += length;
      } else {
        split(at, same);
      }
      continue;
    }
    if (depth == to) return at;
    const uint32_t slot = slot_at(key, depth);
    const uint32_t rank = count(node.children & below(slot));
    if ((node.children & bit(slot)) == 0) {
      const uint32_t base = nodes.insert(node.child_base, count(node.children), rank, Node{});
      nodes[at].child_base = base;
      nodes[at].children |= bit(slot);
      if (depth < kIndexBits) top_moved = true;
      lead(base + rank, depth + kStride, key, to);
    }
    at = nodes[at].child_base + rank;
    depth += kStride;
  }
}

bool Lpm::Trie::trace(Key key, uint32_t to, Path* path) const {
  uint32_t at = 0;
  uint32_t depth = 0;
  for (;;) {
    path->push(at, depth);
    const Node& node = view.nodes[at];
    if (node.is_skip()) {
      if (depth + node.value_base > to) return false;
      if (bits_at(key, depth, node.value_base) != node.full) return false;
      at = node.child_base;
      depth += node.value_base;
      continue;
    }
    if (depth == to) return true;
    const uint32_t slot = slot_at(key, depth);
    if ((node.children & bit(slot)) == 0) return false;
    at = node.child_base + count(node.children & below(slot));
    depth += kStride;
  }
}

// Two skips in a row become one, where one may hold them.
void Lpm::Trie::merge(uint32_t upper, uint32_t depth) {
  const Node a = nodes[upper];
  if (!a.is_skip()) return;
  const Node b = nodes[a.child_base];
  const uint32_t length = a.value_base + b.value_base;
  if (!b.is_skip() || length > kMaxSkip || depth + a.value_base == kIndexBits) return;
  nodes[upper] = Node{0, a.full << b.value_base | b.full, kSkip, b.child_base, length};
  nodes.free(a.child_base, 1);
}

// Takes away what only led to a prefix that has gone from the last node of `path`.
void Lpm::Trie::prune(Key key, Path& path) {
  for (uint32_t i = path.length - 1; i > 0; --i) {
    const uint32_t at = path.node[i];
    const Node node = nodes[at];
    if (value_count(node) != 0) return;
    const uint32_t children = count(node.children);
    if (children > 1) return;
    if (children == 1) {
      const uint32_t slot = static_cast<uint32_t>(std::countr_zero(node.children));
      nodes[at] = Node{0, slot, kSkip, node.child_base, kStride};
      merge(at, path.depth[i]);
      merge(path.node[i - 1], path.depth[i - 1]);
      return;
    }
    // Empty: up to the node above that is no skip, freeing skips' targets on the way.
    uint32_t above = i - 1;
    while (nodes[path.node[above]].is_skip()) {
      nodes.free(nodes[path.node[above]].child_base, 1);
      --above;
    }
    const uint32_t parent = path.node[above];
    const uint32_t slot = slot_at(key, path.depth[above]);
    const uint64_t siblings = nodes[parent].children;
    const uint32_t base =
        nodes.erase(nodes[parent].child_base, count(siblings), count(siblings & below(slot)));
    nodes[parent].child_base = base;
    nodes[parent].children = siblings & ~bit(slot);
    if (path.depth[above] < kIndexBits) top_moved = true;
    i = above + 1;  // the loop goes on with the parent
  }
}

// --- index of the first 18 bits ------------------------------------------------------------------

void Lpm::Trie::fill(uint32_t first, uint32_t entries, uint32_t value, uint32_t from,
                     uint32_t until) {
  IndexEntry* index = static_cast<IndexEntry*>(index_memory.data());
  const uint32_t end = std::min(first + entries, until);
  for (uint32_t i = std::max(first, from); i < end; ++i) index[i] = {0, value};
}

// Writes the entries in [from, until) that lie under `node`, which starts at entry `first`; `value`
// is the best of the shorter prefixes.
void Lpm::Trie::paint(uint32_t at, uint32_t depth, uint32_t first, uint32_t value, uint32_t from,
                      uint32_t until) {
  const uint32_t entries = 1u << (kIndexBits - depth);
  if (first >= until || first + entries <= from) return;
  if (depth == kIndexBits) {
    static_cast<IndexEntry*>(index_memory.data())[first] = {at, value};
    return;
  }
  const Node node = nodes[at];
  if (node.is_skip()) {
    fill(first, entries, value, from, until);
    const uint32_t below_depth = depth + node.value_base;
    const uint32_t target =
        first + (static_cast<uint32_t>(node.full) << (kIndexBits - below_depth));
    paint(node.child_base, below_depth, target, value, from, until);
    return;
  }
  const uint32_t width = entries >> kStride;
  for (uint32_t slot = 0; slot < 64; ++slot) {
    const uint32_t start = first + slot * width;
    if (start >= until || start + width <= from) continue;
    const uint32_t best = holds(node, slot) ? values[position_in(node, slot)] : value;
    if ((node.children >> slot & 1) != 0) {
      paint(child_of(node, slot), depth + kStride, start, best, from, until);
    } else {
      fill(start, width, best, from, until);
    }
  }
}

void Lpm::Trie::index_changed(Key key, uint32_t length) {
  if (index_memory.data() == nullptr) return;
  const uint32_t at = static_cast<uint32_t>(bits_at(key, 0, kIndexBits));
  uint32_t from = at;
  uint32_t until = at;
  if (length <= kIndexBits) until = at + (1u << (kIndexBits - length));
  // Nodes at depth 18 move with their siblings: those that share the first 12 bits.
  if (top_moved) {
    from = std::min(from, at & ~63u);
    until = std::max(until, (at & ~63u) + 64);
  }
  if (from != until) paint(0, 0, 0, kNoValue, from, until);
}

void Lpm::Trie::size_changed() {
  if (size == 0) {
    reset();
  } else if (index_memory.data() == nullptr && size >= kIndexFrom) {
    // Without memory for it, lookups start at the root: slower, not wrong.
    if (index_memory.map(sizeof(IndexEntry) << kIndexBits)) {
      paint(0, 0, 0, kNoValue, 0, 1u << kIndexBits);
    }
  } else if (size < kIndexUntil) {
    index_memory.unmap();
  }
}

// --- walking in order ----------------------------------------------------------------------------

Prefix Lpm::Trie::prefix_of(Key key, uint32_t length) const {
  Prefix prefix;
  prefix.address.family = family;
  prefix.length = static_cast<uint8_t>(length);
  for (uint32_t i = 0; i < prefix.address.size(); ++i) {
    prefix.address.bytes[i] = static_cast<uint8_t>(key >> (120 - 8 * i));
  }
  return prefix;
}

// `base` is the address where the node starts. `after` is null once all that is left comes later.
bool Lpm::Trie::visit_from(uint32_t at, uint32_t depth, Key base, const Cursor* after,
                           const Visit& visit) const {
  if (after != nullptr) {
    const Key last = depth == 0 ? ~Key{0} : base | (~Key{0} >> depth);
    if (last < after->key) return true;
    if (base > after->key) after = nullptr;
  }
  const Node& node = view.nodes[at];
  if (node.is_skip()) {
    const uint32_t end = depth + node.value_base;
    return visit_from(node.child_base, end, base | Key{node.full} << (128 - end), after, visit);
  }
  for (uint32_t slot = after != nullptr ? slot_at(after->key, depth) : 0; slot < 64; ++slot) {
    // Six bits at depth 126 (30) reach beyond the address; only slots of whole addresses are in
    // use.
    const Key start = base | (Key{slot} << 122) >> depth;
    const uint32_t shortest =
        kStride - std::min(kStride, static_cast<uint32_t>(std::countr_zero(slot | 64u)));
    for (uint32_t inner = std::max(1u, shortest); inner <= kStride; ++inner) {
      const Place place = place_of(node, slot, inner);
      if ((node.*place.word & place.mask) == 0) continue;
      const uint32_t length = depth + inner;
      if (after != nullptr &&
          (start < after->key || (start == after->key && length <= after->length))) {
        continue;
      }
      if (!visit(prefix_of(start, length), view.values[node.value_base + place.rank])) return false;
    }
    if ((node.children & bit(slot)) == 0) continue;
    const uint32_t child = node.child_base + count(node.children & below(slot));
    if (!visit_from(child, depth + kStride, start, after, visit)) return false;
  }
  return true;
}

// --- Lpm -----------------------------------------------------------------------------------------

Lpm::Lpm(Family family) : trie_(std::make_unique<Trie>(family)) {}
Lpm::~Lpm() = default;
Lpm::Lpm(Lpm&&) noexcept = default;
Lpm& Lpm::operator=(Lpm&&) noexcept = default;

uint32_t Lpm::set(const Prefix& prefix, uint32_t value) {
  Trie& t = *trie_;
  if (prefix.length == 0) {
    const uint32_t previous = std::exchange(t.view.fallback, value);
    if (previous == kNoValue) ++t.size;
    return previous;
  }
  const Key key = key_of(prefix);
  const uint32_t depth = depth_of(prefix.length);
  t.top_moved = false;
  const uint32_t at = t.reach(key, depth);
  const Node node = t.nodes[at];
  const Place place = place_of(node, slot_at(key, depth), prefix.length - depth);
  uint32_t previous = kNoValue;
  if ((node.*place.word & place.mask) != 0) {
    previous = std::exchange(t.values[node.value_base + place.rank], value);
  } else {
    t.nodes[at].value_base = t.values.insert(node.value_base, value_count(node), place.rank, value);
    t.nodes[at].*place.word |= place.mask;
    ++t.size;
  }
  t.index_changed(key, prefix.length);
  t.size_changed();
  t.publish();
  return previous;
}

uint32_t Lpm::remove(const Prefix& prefix) {
  Trie& t = *trie_;
  if (prefix.length == 0) {
    const uint32_t previous = std::exchange(t.view.fallback, kNoValue);
    if (previous != kNoValue) --t.size;
    return previous;
  }
  const Key key = key_of(prefix);
  const uint32_t depth = depth_of(prefix.length);
  Trie::Path path;
  if (!t.trace(key, depth, &path)) return kNoValue;
  const uint32_t at = path.node[path.length - 1];
  const Node node = t.nodes[at];
  const Place place = place_of(node, slot_at(key, depth), prefix.length - depth);
  if ((node.*place.word & place.mask) == 0) return kNoValue;
  const uint32_t previous = t.values[node.value_base + place.rank];
  t.top_moved = false;
  t.nodes[at].value_base = t.values.erase(node.value_base, value_count(node), place.rank);
  t.nodes[at].*place.word &= ~place.mask;
  t.prune(key, path);
  --t.size;
  t.index_changed(key, prefix.length);
  t.size_changed();
  t.publish();
  return previous;
}

uint32_t Lpm::get(const Prefix& prefix) const {
  const Trie& t = *trie_;
  if (prefix.length == 0) return t.view.fallback;
  const Key key = key_of(prefix);
  const uint32_t depth = depth_of(prefix.length);
  Trie::Path path;
  if (!t.trace(key, depth, &path)) return kNoValue;
  const Node& node = t.view.nodes[path.node[path.length - 1]];
  const Place place = place_of(node, slot_at(key, depth), prefix.length - depth);
  if ((node.*place.word & place.mask) == 0) return kNoValue;
  return t.view.values[node.value_base + place.rank];
}

uint32_t Lpm::lookup(const uint8_t* address) const { return trie_->find(trie_->view, address); }

void Lpm::lookup_burst(const uint8_t* const* addresses, uint32_t* out, uint32_t n) const {
  const Trie& t = *trie_;
  for (uint32_t done = 0; done < n; done += kLanes) {
    t.find_lanes(t.view, addresses + done, out + done, std::min(kLanes, n - done));
  }
}

void Lpm::each(const std::function<bool(const Prefix&, uint32_t)>& visit,
               const Prefix* after) const {
  const Trie& t = *trie_;
  if (after == nullptr && t.view.fallback != kNoValue) {
    if (!visit(t.prefix_of(0, 0), t.view.fallback)) return;
  }
  if (after == nullptr) {
    t.visit_from(0, 0, 0, nullptr, visit);
    return;
  }
  const Trie::Cursor cursor{key_of(*after), after->length};
  t.visit_from(0, 0, 0, &cursor, visit);
}

uint32_t Lpm::size() const { return trie_->size; }

size_t Lpm::bytes() const {
  return sizeof(Lpm) + sizeof(Trie) + trie_->nodes.bytes() + trie_->values.bytes() +
         trie_->index_memory.bytes();
}

}  // namespace vrouter
