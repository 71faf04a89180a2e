// Placement: a key's hash names a bucket of 32 slots in each half of the table, and a tag.
// Insertion takes the emptier bucket, the lower one if they are equal; so buckets fill evenly, and
// more than 90 % of the largest table is used before any key finds both of its buckets full.
// Nothing moves to make that so. (With 16 slots the first key fails at 86 %: the fullest bucket is
// some two or three slots above the average, whatever its size.) A search compares 16 tags at a
// time and reads an entry only where the tag agrees. Removal clears a tag: there are no tombstones,
// since a search always looks at both buckets.
#include "state/flow.h"
#include "base/prefetch.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace vrouter {
namespace {

constexpr uint32_t kMinFlows = 1024;
constexpr uint8_t kTcpProtocol = 6;

// A time ahead of `now` (the clock of one packet burst may be a little older) is not idle at all.
uint32_t idle_ms(uint32_t now_ms, uint32_t last_seen) {
  const int32_t idle = static_cast<int32_t>(now_ms - last_seen);
  return idle < 0 ? 0 : static_cast<uint32_t>(idle);
}

const FlowTimeouts& default_timeouts() {
  static const FlowTimeouts timeouts;
  return timeouts;
}

// Whether `a` has at least as many bits as `b`. Both are counted at once, in the halves of a word:
// the x86-64 baseline has no population count, and would call for each.
bool at_least_as_many(uint32_t a, uint32_t b) {
  uint64_t v = a | uint64_t{b} << 32;
  v -= v >> 1 & 0x5555555555555555u;
  v = (v & 0x3333333333333333u) + (v >> 2 & 0x3333333333333333u);
  v = (v + (v >> 4)) & 0x0f0f0f0f0f0f0f0fu;
  v *= 0x01010101u;  // the top byte of each half is now the sum of its four
  return (v >> 24 & 0xff) >= v >> 56;
}

uint32_t first_of(uint32_t slots) { return static_cast<uint32_t>(std::countr_zero(slots)); }

uint32_t timeout_ms(const FlowTimeouts& timeouts, uint8_t protocol, FlowTimeoutState state) {
  return timeouts.ms[protocol][static_cast<uint8_t>(state)];
}

}  // namespace

// --- one entry -----------------------------------------------------------------------------------

namespace {

// An IPv6 source stands in two runs of eight bytes of the line.
uint8_t* source6(Flow& flow, uint32_t run) {
  return reinterpret_cast<uint8_t*>(&flow) +
         (run == 0 ? offsetof(Flow, source4) : offsetof(Flow, nat_source4));
}

const uint8_t* source6(const Flow& flow, uint32_t run) {
  return source6(const_cast<Flow&>(flow), run);
}

bool matches(const Flow& flow, const FlowAddresses6& address6, const FlowKey& key) {
  if (flow.scope != key.scope || flow.source_port != key.source_port ||
      flow.destination_port != key.destination_port || flow.protocol != key.protocol ||
      flow.family != key.family) {
    return false;
  }
  if (flow.family == Family::V4) {
    return std::memcmp(flow.source4, key.source, 4) == 0 &&
           std::memcmp(flow.destination4, key.destination, 4) == 0;
  }
  return std::memcmp(source6(flow, 0), key.source, 8) == 0 &&
         std::memcmp(source6(flow, 1), key.source + 8, 8) == 0 &&
         std::memcmp(address6.destination, key.destination, 16) == 0;
}

}  // namespace

FlowKey FlowHalf::key() const {
  FlowKey key{};
  if (flow.family == Family::V4) {
    std::memcpy(key.source, flow.source4, 4);
    std::memcpy(key.destination, flow.destination4, 4);
  } else {
    std::memcpy(key.source, source6(flow, 0), 8);
    std::memcpy(key.source + 8, source6(flow, 1), 8);
    std::memcpy(key.destination, address6.destination, 16);
  }
  key.source_port = flow.source_port;
  key.destination_port = flow.destination_port;
  key.scope = flow.scope;
  key.protocol = flow.protocol;
  key.family = flow.family;
  return key;
}

void FlowHalf::set_key(const FlowKey& key) const {
  if (key.family == Family::V4) {
    std::memcpy(flow.source4, key.source, 4);
    std::memcpy(flow.destination4, key.destination, 4);
  } else {
    std::memcpy(source6(flow, 0), key.source, 8);
    std::memcpy(source6(flow, 1), key.source + 8, 8);
    std::memcpy(address6.destination, key.destination, 16);
  }
  flow.scope = key.scope;
  flow.source_port = key.source_port;
  flow.destination_port = key.destination_port;
  flow.protocol = key.protocol;
  flow.family = key.family;
}

void FlowHalf::set_translated6(const FlowKey& key, const FlowKey& reverse) const {
  const bool source = std::memcmp(key.source, reverse.destination, 16) != 0;
  const bool destination = std::memcmp(key.destination, reverse.source, 16) != 0;
  flow.l3_delta =
      static_cast<uint16_t>((source ? kNewSource6 : 0) | (destination ? kNewDestination6 : 0));
  if (source || destination) {
    std::memcpy(address6.translated, source ? reverse.destination : reverse.source, 16);
  }
}

bool FlowHalf::matches(const FlowKey& key) const { return vrouter::matches(flow, address6, key); }

FlowTimeoutState timeout_state(const Flow& flow) {
  const FlowTimeoutState established =
      flow.action == FlowAction::Drop ? FlowTimeoutState::New : FlowTimeoutState::Established;
  if (flow.protocol != kTcpProtocol) {
    return (flow.flags & kFlowReplied) != 0 ? established : FlowTimeoutState::New;
  }
  const auto all = [&flow](uint16_t bits) { return (flow.tcp & bits) == bits; };
  if ((flow.tcp & (kTcpRst | kTcpDead)) != 0 || all(kTcpFin | kTcpFinR)) {
    return FlowTimeoutState::Closing;
  }
  const bool handshake = all(kTcpEstablished | kTcpEstablishedR);
  const bool mid_stream = all(kTcpAck | kTcpAckR) && !all(kTcpSyn | kTcpSynR);
  return handshake || mid_stream ? established : FlowTimeoutState::New;
}

// --- timeouts ------------------------------------------------------------------------------------

FlowTimeouts::FlowTimeouts() {
  std::memset(own, 0, sizeof own);
  struct Default {
    uint8_t protocol;
    uint32_t seconds[3];
  };
  constexpr Default kDefaults[] = {
      {0, {60, 180, 60}},  {1, {10, 60, 10}},  {6, {30, 7440, 5}},
      {17, {30, 180, 30}}, {58, {10, 60, 10}}, {132, {30, 7440, 5}},
  };
  for (const Default& d : kDefaults) {
    for (uint8_t state = 0; state < 3; ++state) set(d.protocol, state, d.seconds[state]);
  }
}

void FlowTimeouts::set(uint8_t protocol, uint8_t state, uint32_t seconds) {
  if (state >= 3) return;
  const uint32_t value = std::clamp(seconds, 1u, kMaxSeconds) * 1000;
  if (protocol != 0) {
    ms[protocol][state] = value;
    own[protocol][state] = true;
    return;
  }
  for (uint32_t p = 0; p < 256; ++p) {
    if (!own[p][state]) ms[p][state] = value;
  }
}

// --- the table -----------------------------------------------------------------------------------

FlowTable::FlowTable(uint32_t entries, uint64_t seed)
    : seed_(seed), timeouts_(&default_timeouts()) {
  const uint32_t wanted = std::bit_ceil(std::clamp(entries, kMinFlows, kMaxFlows));
  const size_t sizes[] = {sizeof(Flow), sizeof(FlowCold), sizeof(FlowAddresses6), 1};
  for (uint32_t i = 0; i < 4; ++i) {
    if (mapped_[i].map(wanted * sizes[i])) continue;
    for (MappedMemory& memory : mapped_) memory.unmap();
    return;
  }
  memory_ = {static_cast<Flow*>(mapped_[0].data()), static_cast<FlowCold*>(mapped_[1].data()),
             static_cast<FlowAddresses6*>(mapped_[2].data()),
             static_cast<uint8_t*>(mapped_[3].data())};
  capacity_ = wanted;
}

FlowTable::FlowTable(const FlowMemory& memory, uint32_t capacity, uint64_t seed)
    : memory_(memory),
      seed_(seed),
      capacity_(capacity),
      holds_addresses6_(true),
      timeouts_(&default_timeouts()) {}

FlowTable::~FlowTable() = default;

bool FlowTable::ok() const { return capacity_ != 0; }

size_t FlowTable::bytes() const {
  const size_t entry = sizeof(Flow) + sizeof(FlowCold) + 1;
  return size_t{capacity_} * (entry + (holds_addresses6_ ? sizeof(FlowAddresses6) : 0));
}

uint64_t FlowTable::hash(const FlowKey& key) const { return hash_key(key, seed_); }

void FlowTable::prefetch_candidate(uint64_t hash) const {
  const uint32_t slot = candidate(hash);
  if (slot != kNoSlot) prefetch(&memory_.cold[slot]);
}

bool FlowTable::is_of(const FlowKey& key, uint32_t slot) const {
  return matches(memory_.flows[slot], memory_.addresses6[slot], key);
}

template <class Key>
FlowId FlowTable::search_for(const Key& key, uint64_t hash) const {
  const Home h = home(hash);
  for (const uint32_t base : {h.first, h.second}) {
    for (uint32_t found = match_bucket(memory_.tags + base, h.tag); found != 0;
         found &= found - 1) {
      const uint32_t slot = base + first_of(found);
      if (is_of(key, slot)) return FlowId{slot};
    }
  }
  return FlowId{};
}

FlowId FlowTable::find(const FlowKey& key, uint64_t hash) const { return search_for(key, hash); }

FlowId FlowTable::search(const FlowKey4& key, uint64_t hash) const { return search_for(key, hash); }

FlowId FlowTable::search(const FlowKey6& key, uint64_t hash) const { return search_for(key, hash); }

uint32_t FlowTable::free_slot(const Home& home) const {
  const uint32_t first = free_in(home.first);
  const uint32_t second = free_in(home.second);
  const bool use_first = at_least_as_many(first, second);
  const uint32_t free = use_first ? first : second;
  if (free == 0) return kNoSlot;
  return (use_first ? home.first : home.second) + first_of(free);
}

uint32_t FlowTable::pair_idle(uint32_t slot, uint32_t now_ms) const {
  return std::min(idle_ms(now_ms, memory_.flows[slot].last_seen),
                  idle_ms(now_ms, memory_.flows[memory_.cold[slot].reverse().value].last_seen));
}

FlowTimeoutState FlowTable::pair_state(uint32_t slot) const {
  return std::max(timeout_state(memory_.flows[slot]),
                  timeout_state(memory_.flows[memory_.cold[slot].reverse().value]));
}

// The slot to take when both buckets are full; kNoSlot if every pair there is in use.
uint32_t FlowTable::victim(const Home& home, uint32_t now_ms) const {
  for (uint32_t i = 0; i < kBucketSlots; ++i) {
    prefetch(&memory_.flows[home.first + i]);
    prefetch(&memory_.flows[home.second + i]);
  }
  enum Rank { kEstablished, kUnfinished, kExpired };
  uint32_t best = kNoSlot;
  Rank best_rank = kEstablished;
  uint32_t best_idle = 0;
  for (uint32_t i = 0; i < 2 * kBucketSlots; ++i) {
    const uint32_t slot = i < kBucketSlots ? home.first + i : home.second + i - kBucketSlots;
    const Flow& flow = memory_.flows[slot];
    if (!flow.in_use()) continue;  // tagged for the other half of the pair being inserted
    if ((flow.flags & kFlowEvictable) != 0) return slot;
    if (idle_ms(now_ms, flow.last_seen) <= kMinIdleMs) continue;
    const uint32_t idle = pair_idle(slot, now_ms);
    if (idle <= kMinIdleMs) continue;
    const FlowTimeoutState state = pair_state(slot);
    Rank rank = state == FlowTimeoutState::Established ? kEstablished : kUnfinished;
    if (idle >= timeout_ms(*timeouts_, flow.protocol, state)) rank = kExpired;
    if (best == kNoSlot || rank > best_rank || (rank == best_rank && idle > best_idle)) {
      best = slot;
      best_rank = rank;
      best_idle = idle;
    }
  }
  return best;
}

uint32_t FlowTable::take(const Home& home, uint32_t now_ms) {
  uint32_t slot = free_slot(home);
  if (slot == kNoSlot) {
    slot = victim(home, now_ms);
    if (slot == kNoSlot) return kNoSlot;
    evicted_ += 2;
    erase(FlowId{slot});
    if (limbo_.on()) {  // not at once, if another worker is reading just now
      limbo_.release();
      slot = free_slot(home);
      if (slot == kNoSlot) return kNoSlot;
    }
  }
  hold(slot, home.tag);
  return slot;
}

// With other workers reading, what is evicted can be taken only later: so one is evicted ahead.
void FlowTable::keep_room(const Home& home, uint32_t now_ms) {
  constexpr int kSpare = 2;
  if (std::popcount(no_tag(home.first)) + std::popcount(no_tag(home.second)) >= kSpare) return;
  const uint32_t slot = victim(home, now_ms);
  if (slot == kNoSlot) return;
  evicted_ += 2;
  erase(FlowId{slot});
}

// From here on other workers may find it.
void FlowTable::publish(uint32_t slot, uint8_t tag) {
  __atomic_store_n(&memory_.tags[slot], tag, __ATOMIC_RELEASE);
  limbo_.filled(slot);
}

void FlowTable::fill(uint32_t slot, const FlowKey& key, uint32_t other, uint32_t now_ms,
                     uint8_t flags) {
  const FlowHalf half = this->half(FlowId{slot});
  if (limbo_.on()) {
    wipe(slot);
    half.flow.generation = kDeciding;
  }
  half.set_key(key);
  half.flow.flags = flags;
  half.flow.last_seen = now_ms;
  half.cold.link(FlowId{other}, static_cast<uint8_t>(half.cold.generation_id() + 1));
}

void FlowTable::wipe(uint32_t slot) {
  const uint8_t uses = memory_.cold[slot].generation_id();
  memory_.flows[slot] = Flow{};
  memory_.cold[slot] = FlowCold{};
  memory_.cold[slot].link(FlowId{0}, uses);
}

void FlowTable::clear(uint32_t slot) {
  if (!limbo_.on()) {
    wipe(slot);
    memory_.tags[slot] = 0;
    return;
  }
  // As it was, but for what keeps others from using it: they may be in the middle of it.
  Flow& flow = memory_.flows[slot];
  store_first(flow.generation, kDeciding);
  flow.flags &= static_cast<uint8_t>(~kFlowInUse);
  __atomic_store_n(&memory_.tags[slot], uint8_t{0}, __ATOMIC_RELEASE);
  limbo_.emptied(slot);
}

void FlowTable::prefetch_free(uint64_t hash, Family family) const {
  const uint32_t slot = free_slot(home(hash));
  if (slot == kNoSlot) return;
  prefetch(&memory_.flows[slot]);
  prefetch(&memory_.cold[slot]);
  if (family == Family::V6) prefetch_addresses6(FlowId{slot});
}

FlowTable::Pair FlowTable::insert(const FlowKey& forward, const FlowKey& reverse, uint32_t now_ms) {
  if (forward == reverse) return {FlowInsert::SameKey, {}, {}};
  const uint64_t forward_hash = hash(forward);
  const FlowId known = find(forward, forward_hash);
  if (known.valid()) return {FlowInsert::Exists, known, this->reverse(known)};
  return insert_absent(forward, forward_hash, reverse, hash(reverse), now_ms);
}

FlowTable::Pair FlowTable::insert_absent(const FlowKey& forward, uint64_t forward_hash,
                                         const FlowKey& reverse, uint64_t reverse_hash,
                                         uint32_t now_ms) {
  if (forward_hash == reverse_hash && forward == reverse) return {FlowInsert::SameKey, {}, {}};
  const FlowId taken = find(reverse, reverse_hash);
  if (taken.valid()) return {FlowInsert::Exists, FlowId{}, taken};

  if (limbo_.on()) limbo_.release();
  const Home forward_home = home(forward_hash);
  const Home reverse_home = home(reverse_hash);
  uint32_t f = free_slot(forward_home);
  uint32_t r = kNoSlot;
  if (f != kNoSlot) {
    hold(f, forward_home.tag);
    r = free_slot(reverse_home);
    if (r != kNoSlot) {
      hold(r, reverse_home.tag);
    } else {
      give_back(f);
    }
  }
  if (r == kNoSlot) {
    // Nobody is evicted for one half if there is no room for the other.
    for (const Home& h : {forward_home, reverse_home}) {
      if (free_slot(h) == kNoSlot && victim(h, now_ms) == kNoSlot) {
        return {FlowInsert::Full, {}, {}};
      }
    }
    f = take(forward_home, now_ms);
    r = f != kNoSlot ? take(reverse_home, now_ms) : kNoSlot;
    if (r == kNoSlot) {  // the last slot of a shared bucket went to the forward half
      if (f != kNoSlot) give_back(f);
      return {FlowInsert::Full, {}, {}};
    }
  }
  fill(f, forward, r, now_ms, kFlowInUse | kFlowInitiator);
  fill(r, reverse, f, now_ms, kFlowInUse);
  if (forward.family == Family::V6) {
    holds_addresses6_ = true;
    half(FlowId{f}).set_translated6(forward, reverse);
    half(FlowId{r}).set_translated6(reverse, forward);
  }
  if (limbo_.on()) {
    publish(r, reverse_home.tag);
    publish(f, forward_home.tag);
    keep_room(forward_home, now_ms);
    keep_room(reverse_home, now_ms);
  }
  used_ += 2;
  created_ += 2;
  return {FlowInsert::Ok, FlowId{f}, FlowId{r}};
}

void FlowTable::erase(FlowId either) {
  if (!valid(either)) return;
  FlowId forward = either;
  FlowId reverse = this->reverse(either);
  if ((memory_.flows[forward.value].flags & kFlowInitiator) == 0) std::swap(forward, reverse);
  if (erase_callback_ != nullptr) erase_callback_(erase_context_, forward, reverse);
  clear(forward.value);
  clear(reverse.value);
  used_ -= 2;
  deleted_ += 2;
}

void FlowTable::on_erase(void (*callback)(void* context, FlowId forward, FlowId reverse),
                         void* context) {
  erase_callback_ = callback;
  erase_context_ = context;
}

uint32_t FlowTable::age(uint32_t now_ms, uint32_t budget, const FlowTimeouts& timeouts) {
  uint32_t erased = 0;
  for (uint32_t left = std::min(budget, capacity_); left != 0;) {
    const uint32_t base = clock_ & ~(kGroupSlots - 1);
    const uint32_t from = clock_ - base;
    const uint32_t slots = std::min(kGroupSlots - from, left);
    uint32_t used = ~match_tags(memory_.tags + base, 0) & ((1u << slots) - 1) << from;
    left -= slots;
    clock_ = (clock_ + slots) & (capacity_ - 1);
    if (left != 0) {
      const uint32_t next = clock_ & ~(kGroupSlots - 1);
      for (uint32_t ahead = ~match_tags(memory_.tags + next, 0) & 0xffff; ahead != 0;
           ahead &= ahead - 1) {
        prefetch(&memory_.flows[next + first_of(ahead)]);
      }
    }
    for (; used != 0; used &= used - 1) {
      const uint32_t slot = base + first_of(used);
      const Flow& flow = memory_.flows[slot];
      // A pair is looked at once, and its other half read only if this one has been idle.
      if ((flow.flags & (kFlowInUse | kFlowInitiator)) != (kFlowInUse | kFlowInitiator)) continue;
      const uint32_t* limits = timeouts.ms[flow.protocol];
      if (idle_ms(now_ms, flow.last_seen) < std::min({limits[0], limits[1], limits[2]})) continue;
      if (pair_idle(slot, now_ms) < timeout_ms(timeouts, flow.protocol, pair_state(slot))) continue;
      erase(FlowId{slot});
      ++erased;
    }
  }
  return erased;
}

// --- TCP -----------------------------------------------------------------------------------------

namespace {

constexpr uint8_t kFin = 0x01;
constexpr uint8_t kSyn = 0x02;
constexpr uint8_t kRst = 0x04;
constexpr uint8_t kAck = 0x10;

// What a peer may have acknowledged when its first ACK is seen: the SYN, and, where that ACK was
// lost or the SYN carried data (RFC 7413), up to a window more; windows of SYNs are not scaled.
constexpr uint32_t kFirstWindow = 65535;

void close_pair(Flow& flow, Flow& reverse) {
  for (Flow* half : {&flow, &reverse}) {
    half->tcp = static_cast<uint16_t>(half->tcp | kTcpDead);
    half->flags = static_cast<uint8_t>(half->flags | kFlowEvictable);
  }
}

void reopen_pair(const FlowHalf& one, const FlowHalf& other) {
  for (const FlowHalf* half : {&one, &other}) {
    half->flow.tcp = 0;
    half->flow.tcp_ack = 0;
    half->flow.flags = static_cast<uint8_t>(half->flow.flags & ~kFlowEvictable);
    half->cold.tcp_sequence = 0;
  }
}

void add(Flow& flow, uint16_t bits) { flow.tcp = static_cast<uint16_t>(flow.tcp | bits); }

bool rst_in_sequence(const FlowHalf& half, uint8_t tcp_flags, uint32_t sequence, uint32_t ack) {
  const Flow& reverse = half.flow;
  if ((reverse.tcp & kTcpAck) != 0) return sequence == reverse.tcp_ack;
  return (reverse.tcp & kTcpSyn) != 0 && (tcp_flags & kAck) != 0 &&
         ack == half.cold.tcp_sequence + 1;
}

void saw_ack(Flow& flow, const FlowHalf& other, uint32_t ack) {
  Flow& reverse = other.flow;
  flow.tcp_ack = ack;
  if ((flow.tcp & kTcpAck) == 0) {
    add(flow, kTcpAck);
    add(reverse, kTcpAckR);
  }
  // From here on `reverse` is read only while something of it waits to be acknowledged.
  const bool fin_waits = (flow.tcp & kTcpFinR) != 0 && (reverse.tcp & kTcpHalfClose) == 0;
  const bool fin_acked = fin_waits && static_cast<int32_t>(ack - other.cold.tcp_sequence) > 0;
  // Once a FIN has been sent, tcp_sequence is the FIN's; what acknowledges that acknowledges the
  // SYN.
  if ((flow.tcp & (kTcpSynR | kTcpEstablishedR)) == kTcpSynR &&
      ack - (other.cold.tcp_sequence + 1) <= kFirstWindow) {
    add(reverse, kTcpEstablished);
    add(flow, kTcpEstablishedR);
  }
  if (fin_acked) {
    add(reverse, kTcpHalfClose);
    if ((flow.tcp & kTcpHalfClose) != 0) close_pair(flow, reverse);
  }
}

}  // namespace

bool track_tcp(const FlowHalf& half, const FlowHalf& other, uint8_t tcp_flags, uint32_t sequence,
               uint32_t ack, uint32_t payload, bool any_rst) {
  Flow& flow = half.flow;
  Flow& reverse = other.flow;
  if ((tcp_flags & kRst) != 0) {
    if (!any_rst && !rst_in_sequence(other, tcp_flags, sequence, ack)) return false;
    add(flow, kTcpRst);
    close_pair(flow, reverse);
    return true;
  }
  const bool syn = (tcp_flags & kSyn) != 0;
  if ((flow.tcp & kTcpDead) != 0) {
    if (!syn || (tcp_flags & kAck) != 0) return true;  // late copies of the end
    reopen_pair(half, other);
  }
  // A SYN after ours was acknowledged is a copy or a guess; the sequence to wait for stays.
  if (syn && (flow.tcp & (kTcpEstablished | kTcpFin)) == 0) {
    add(flow, kTcpSyn);
    add(reverse, kTcpSynR);
    half.cold.tcp_sequence = sequence;
  }
  if ((tcp_flags & kAck) != 0) saw_ack(flow, other, ack);
  if ((tcp_flags & kFin) != 0 && !syn) {
    add(flow, kTcpFin);
    add(reverse, kTcpFinR);
    half.cold.tcp_sequence = sequence + payload;
  }
  return true;
}

}  // namespace vrouter
