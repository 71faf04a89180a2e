// The flow table: both directions of a connection as two entries that name each other.
//
// Invariants
//  * An entry is in use exactly if its reverse is; they are inserted and removed together.
//  * An entry never moves: FlowId is its index for life, and what `flow -l` prints.
//  * `generation` is that of the decision; a packet that finds it older than the router's re-decides.
//  * Forward (initiator) entries have kFlowInitiator set; exactly one of a pair has it.
//
// Layout: an entry is in three arrays under one index. Flow, one cache line, is all that an
// established IPv4 packet reads and writes; FlowCold, 26 bytes, has totals and what set-up, TCP's
// ends and display need; FlowAddresses6, 32 bytes, only IPv6 flows touch. With its tag an IPv4 entry is
// 91 bytes, an IPv6 entry 123 (docs/decisions/0045-flow-entry.md). FlowHalf holds the three together.
// Written by one at a time: a worker that is InRooms (path/together.h), or the control side while
// all are held. Read by the express rooms of the other workers meanwhile, which see an entry only
// whole:
//  * An entry is written before its tag is, and its tag is cleared before it is written again; in
//    between it stays in limbo until nobody can be reading it (state/limbo.h).
//  * While a decision is being stored, `generation` is kDeciding. A reader copies the line and takes
//    the copy only if generation was the same before and after, and not that: read().
//  * last_seen, recent and tcp_ack are written by whoever has a packet of the half, without a lock:
//    of two workers at once one's count may be lost, never more than that.
#pragma once
#include <bit>
#include <cstddef>
#include <cstdint>

#include "base/bytes.h"
#include "base/drop.h"
#include "base/hash.h"
#include "base/ids.h"
#include "base/limits.h"
#include "base/mapped_memory.h"
#include "base/prefetch.h"
#include "base/shared.h"
#include "packet/packet.h"
#include "state/limbo.h"
#include "table/tag_group.h"

namespace vrouter {

enum class FlowAction : uint8_t { Drop = 0, Hold = 1, Forward = 2, Nat = 3 };  // ancestor's numbers

enum FlowNat : uint8_t {      // ancestor's bit order, shifted down by one
  kNatSource = 0x1,           // S
  kNatSourcePort = 0x2,       // Ps
  kNatDestination = 0x4,      // D
  kNatDestinationPort = 0x8,  // Pd
};

enum FlowTcp : uint16_t {   // ancestor's values; letters of `flow -l`
  kTcpFin = 0x1,            // F
  kTcpHalfClose = 0x2,      // C
  kTcpFinR = 0x4,           // Fr
  kTcpSyn = 0x8,            // S
  kTcpSynR = 0x10,          // Sr
  kTcpEstablished = 0x20,   // E
  kTcpEstablishedR = 0x40,  // Er
  kTcpRst = 0x80,           // R
  kTcpAck = 0x100,          // ours, no letter: an ACK was seen in this direction
  kTcpAckR = 0x200,         // ours, no letter: and in the other
  kTcpDead = 0x8000,        // D
};

enum FlowFlag : uint8_t {
  kFlowInUse = 0x1,
  kFlowInitiator = 0x2,    // the direction of the first packet
  kFlowReplied = 0x4,      // the other direction has been seen
  kFlowTranslated = 0x8,   // its two halves are routed in different VRFs
  kFlowEvictable = 0x10,   // TCP dead on both sides
  kFlowFromFabric = 0x20,  // its packets come out of a tunnel
  kFlowL2 = 0x40,          // forwarded by MAC: next_hop is not cached
  kFlowModified = 0x80,    // decided again since it was made
};

// Which idle time applies (Timeout::state in objects.def).
enum class FlowTimeoutState : uint8_t { New = 0, Established = 1, Closing = 2 };

// What Flow has no room for, where an IPv4 flow has its addresses there is the source.
struct alignas(32) FlowAddresses6 {
  uint8_t destination[16];
  // What the one address that changes becomes; where both do, they are those of the reverse's key.
  uint8_t translated[16];
};
// Flow::l3_delta of an IPv6 flow: which of its addresses change. Written with the keys, as
// `translated` is, and like them for the life of the pair.
inline constexpr uint16_t kNewSource6 = 1;
inline constexpr uint16_t kNewDestination6 = 2;

struct alignas(64) Flow {
  uint32_t scope;
  uint8_t source4[4];  // IPv6: with destination4 the first half of the source
  uint8_t destination4[4];
  uint16_t source_port;
  uint16_t destination_port;
  uint8_t protocol;
  Family family;
  Shared<uint8_t> flags;  // FlowFlag
  Shared<FlowAction> action;
  Shared<uint16_t> tcp;  // FlowTcp
  Shared<uint16_t> vrf;  // where its packets come in; its destination is looked up in the reverse's
  Shared<uint64_t> path;        // one word, so that it is never seen half written: see set_path()
  uint8_t nat_source4[4];       // translated addresses, IPv4; IPv6: see FlowAddresses6
  uint8_t nat_destination4[4];  // … and has the second half of its source in these two
  Shared<uint16_t> nat_source_port;
  Shared<uint16_t> nat_destination_port;
  Shared<uint16_t>
      l3_delta;  // one's complement to add to the IPv4 header checksum; IPv6: kNewSource6 …
  Shared<uint16_t> l4_delta;  // … to the TCP / UDP / ICMP checksum
  Shared<uint32_t> generation;
  Shared<uint32_t> last_seen;  // milliseconds since the router started, wraps
  Shared<uint32_t> recent;     // packets (8 bits) and bytes (24) not yet in FlowCold's totals
  Shared<uint32_t> tcp_ack;    // last acknowledgement sent in this direction

  bool in_use() const { return (flags & kFlowInUse) != 0; }

  // Resolved, concrete; kDiscard when none.
  uint32_t next_hop() const { return static_cast<uint32_t>(path & kNextHopMask); }
  // Concrete next hop its packets must come from; kDiscard: not checked.
  uint32_t rpf_next_hop() const {
    return static_cast<uint32_t>(path >> kNextHopBits & kNextHopMask);
  }
  bool has_member() const { return (path & kHasMember) != 0; }  // FlowCold::member is one
  uint32_t label() const { return static_cast<uint32_t>(path >> kLabelAt); }
  void set_path(uint32_t next_hop, uint32_t rpf_next_hop, uint32_t label, bool has_member) {
    path = next_hop | uint64_t{rpf_next_hop} << kNextHopBits | (has_member ? kHasMember : 0) |
           uint64_t{label} << kLabelAt;
  }
  void set_rpf_next_hop(uint32_t next_hop) {
    path = (path & ~(kNextHopMask << kNextHopBits)) | uint64_t{next_hop} << kNextHopBits;
  }

  static constexpr uint32_t kNextHopBits = 19;
  static constexpr uint64_t kNextHopMask = (uint64_t{1} << kNextHopBits) - 1;
  static constexpr uint64_t kHasMember = uint64_t{1} << 38;
  static constexpr uint32_t kLabelAt = 40;
  static_assert(kMaxNextHops <= 1u << kNextHopBits && kMaxVni < 1u << (64 - kLabelAt));
};
static_assert(sizeof(Flow) == 64, "one cache line: the express room touches no other");
static_assert(offsetof(Flow, destination4) == 8 && offsetof(Flow, nat_destination4) == 36,
              "an IPv6 source is two runs of eight bytes");

// 26 bytes and not 32: aligned to two, and what is not a whole number of bytes long shares a word.
struct FlowCold {
  uint64_t packets() const { return packets_member_ & kPackets; }  // a year of 8 million a second
  uint64_t bytes() const { return bytes_detail_ & kBytes; }        // two months of 100 Gbit/s
  void count(uint64_t packets, uint64_t bytes) {
    packets_member_ = (packets_member_ & ~kPackets) | ((packets_member_ + packets) & kPackets);
    bytes_detail_ = (bytes_detail_ & ~kBytes) | ((bytes_detail_ + bytes) & kBytes);
  }
  // Pinned ECMP member id, or kNoMember.
  uint16_t member() const { return static_cast<uint16_t>(packets_member_ >> 48); }
  // FlowDrop where the action is Drop, FlowNat elsewhere.
  uint8_t detail() const { return static_cast<uint8_t>(bytes_detail_ >> 56); }
  void set(uint16_t member, uint8_t detail) {
    packets_member_ = (packets_member_ & kPackets) | uint64_t{member} << 48;
    bytes_detail_ = (bytes_detail_ & kBytes) | uint64_t{detail} << 56;
  }
  FlowId reverse() const { return FlowId{link_ & (kMaxFlows - 1)}; }           // the other half
  uint8_t generation_id() const { return static_cast<uint8_t>(link_ >> 24); }  // `Gen:`
  void link(FlowId reverse, uint8_t generation_id) {
    link_ = reverse.value | uint32_t{generation_id} << 24;
  }

  static constexpr uint64_t kPackets = (uint64_t{1} << 48) - 1;
  static constexpr uint64_t kBytes = (uint64_t{1} << 56) - 1;
  using Word = uint64_t __attribute__((aligned(2)));
  using Half = uint32_t __attribute__((aligned(2)));

  Word packets_member_;
  Word bytes_detail_;
  Half link_;         // reverse, and of the slot how often it was used
  Half tcp_sequence;  // SYN's sequence, later FIN's
  uint16_t vif;       // where its packets enter, 0xffff: fabric
};
static_assert(sizeof(FlowCold) == 26 && kMaxFlows == 1u << 24);

// One half of a pair, wherever it stands: in the table, or in the trace of an explained packet.
struct FlowHalf {
  Flow& flow;
  FlowCold& cold;
  FlowAddresses6& address6;

  FlowKey key() const;
  void set_key(const FlowKey& key) const;
  // Of an IPv6 pair: what its packets' addresses become, as the reverse's key says.
  void set_translated6(const FlowKey& key, const FlowKey& reverse) const;
  bool matches(const FlowKey& key) const;

  FlowDrop drop() const {  // why, when the action is Drop
    return flow.action == FlowAction::Drop ? static_cast<FlowDrop>(cold.detail())
                                           : FlowDrop::Unknown;
  }
  uint8_t nat() const { return flow.action == FlowAction::Drop ? uint8_t{0} : cold.detail(); }
  FlowId reverse() const { return cold.reverse(); }
  uint64_t packets() const { return cold.packets() + (flow.recent >> 24); }
  uint64_t bytes() const { return cold.bytes() + (flow.recent & 0xffffff); }
};

// A half of nobody's table.
struct FlowEntry {
  Flow flow{};
  FlowCold cold{};
  FlowAddresses6 address6{};

  FlowHalf half() { return {flow, cold, address6}; }
  void copy(const FlowHalf& from) {
    flow = from.flow;
    cold = from.cold;
    address6 = from.address6;
  }
};

// 256 packets of at most 65,535 bytes fit `recent`; every 256th takes them to the totals, so that the
// others leave the cold part alone. Returns whether this one did.
inline bool count_packet(const FlowHalf& half, uint16_t bytes) {
  half.flow.recent += 1u << 24 | bytes;
  if (half.flow.recent >> 24 != 0) [[likely]]
    return false;
  half.cold.count(256, half.flow.recent);
  half.flow.recent = 0;
  return true;
}

// The same while others may count too, unless it is for the totals, which share their words with what
// decisions are made of: those are for one at a time.
inline bool count_recent(Flow& flow, uint16_t bytes) {
  const uint32_t recent = load_acquire(flow.recent);
  if (recent >> 24 == 255) return false;
  flow.recent = recent + (1u << 24 | bytes);
  return true;
}

// The key of an IPv4 flow in three registers, laid out as the first 18 bytes of a Flow: compared and hashed
// without a FlowKey's 44 bytes being written. Same hash, same matches (flow_test.cc).
struct FlowKey4 {
  uint64_t scope_source;
  uint64_t destination_ports;
  uint16_t protocol_family;

  FlowKey4() = default;  // of nothing yet
  // As headers have it: source and destination address, and both ports.
  FlowKey4(const uint8_t* addresses, const uint8_t* ports, uint8_t protocol, uint32_t scope)
      : FlowKey4(Family::V4, load_native<uint32_t>(addresses), load_native<uint32_t>(addresses + 4),
                 both_ports(ports), protocol, scope) {}
  // addresses: source and destination as they stand in an IPv4 header; ports in host order.
  FlowKey4(const uint8_t* addresses, uint16_t source_port, uint16_t destination_port,
           uint8_t protocol, uint32_t scope)
      : FlowKey4(Family::V4, load_native<uint32_t>(addresses), load_native<uint32_t>(addresses + 4),
                 both_ports(source_port, destination_port), protocol, scope) {}

  bool is_of(const Flow& flow) const {
    const uint8_t* p = reinterpret_cast<const uint8_t*>(&flow);
    return load_native<uint64_t>(p) == scope_source &&
           load_native<uint64_t>(p + 8) == destination_ports &&
           load_native<uint16_t>(p + 16) == protocol_family;
  }

  [[gnu::always_inline]] uint64_t hash(uint64_t seed) const {
    // The words of a FlowKey: source, 0, destination, 0, ports and scope, protocol and family.
    return hash_words<sizeof(FlowKey)>(seed, le32(second(scope_source)), uint64_t{0},
                                       le32(first(destination_ports)), uint64_t{0},
                                       le64(join(second(destination_ports), first(scope_source))),
                                       uint64_t{le16(protocol_family)});
  }

 private:
  friend struct FlowKey6;
  FlowKey4(Family family, uint32_t source, uint32_t destination, uint32_t ports, uint8_t protocol,
           uint32_t scope)
      : scope_source(join(scope, source)),
        destination_ports(join(destination, ports)),
        protocol_family(static_cast<uint16_t>(
            kLittleEndianHost ? protocol | static_cast<uint32_t>(family) << 8
                              : static_cast<uint32_t>(family) | uint32_t{protocol} << 8)) {}
  // Both as they stand in a Flow.
  static uint32_t both_ports(uint16_t source, uint16_t destination) {
    return kLittleEndianHost ? source | uint32_t{destination} << 16
                             : destination | uint32_t{source} << 16;
  }
  static uint32_t both_ports(const uint8_t* header) {
    const uint32_t v = load_be32(header);
    return kLittleEndianHost ? std::rotl(v, 16) : v;
  }
  // Two halves of eight bytes, by where they stand in memory.
  static uint64_t join(uint32_t front, uint32_t back) {
    return kLittleEndianHost ? front | uint64_t{back} << 32 : back | uint64_t{front} << 32;
  }
  static uint32_t first(uint64_t v) {
    return static_cast<uint32_t>(kLittleEndianHost ? v : v >> 32);
  }
  static uint32_t second(uint64_t v) {
    return static_cast<uint32_t>(kLittleEndianHost ? v >> 32 : v);
  }
};
static_assert(offsetof(Flow, scope) == 0 && offsetof(Flow, source4) == 4 &&
              offsetof(Flow, destination4) == 8 && offsetof(Flow, source_port) == 12 &&
              offsetof(Flow, destination_port) == 14 && offsetof(Flow, protocol) == 16 &&
              offsetof(Flow, family) == 17);

// The same for IPv6: the first 18 bytes, in which is the first half of the source, and the addresses
// where they stand in a header.
struct FlowKey6 {
  FlowKey4 rest;
  const uint8_t* addresses;  // source and destination; outlives the key

  // addresses, ports: as headers have them.
  static FlowKey4 rest_of(const uint8_t* addresses, const uint8_t* ports, uint8_t protocol,
                          uint32_t scope) {
    return FlowKey4(Family::V6, load_native<uint32_t>(addresses),
                    load_native<uint32_t>(addresses + 4), FlowKey4::both_ports(ports), protocol,
                    scope);
  }

  bool is_of(const Flow& flow, const FlowAddresses6& destination) const {
    const uint8_t* p = reinterpret_cast<const uint8_t*>(&flow);
    if (!rest.is_of(flow)) return false;  // of an IPv4 flow the rest may be being written
    const uint64_t differs =
        (load_native<uint64_t>(p + offsetof(Flow, nat_source4)) ^
         load_native<uint64_t>(addresses + 8)) |
        (load_native<uint64_t>(destination.destination) ^ load_native<uint64_t>(addresses + 16)) |
        (load_native<uint64_t>(destination.destination + 8) ^
         load_native<uint64_t>(addresses + 24));
    return differs == 0;
  }

  [[gnu::always_inline]] uint64_t hash(uint64_t seed) const {
    return hash_words<sizeof(FlowKey)>(seed, load_le64(addresses), load_le64(addresses + 8),
                                       load_le64(addresses + 16), load_le64(addresses + 24),
                                       le64(FlowKey4::join(FlowKey4::second(rest.destination_ports),
                                                           FlowKey4::first(rest.scope_source))),
                                       uint64_t{le16(rest.protocol_family)});
  }
};
static_assert(offsetof(Flow, nat_destination4) == offsetof(Flow, nat_source4) + 4);

// Defaults in seconds, new / established / closing. TCP 30 / 7440 / 5 (RFC 5382 §5: established at
// least 2 h 4 min), UDP 30 / 180 / 30 (RFC 4787 §4.3: at least 2 min), ICMP and ICMPv6 10 / 60 / 10,
// SCTP as TCP, others 60 / 180 / 60.
struct FlowTimeouts {
  static constexpr uint32_t kMaxSeconds = 20 * 86400;  // far from where the millisecond clock wraps

  uint32_t ms[256][3];  // [protocol][FlowTimeoutState]
  bool own[256][3];     // the protocol has a value of its own

  FlowTimeouts();
  // Protocol 0: all protocols without a value of their own, in whatever order they are set. At least
  // 1 s, at most kMaxSeconds; an unknown state is ignored.
  void set(uint8_t protocol, uint8_t state, uint32_t seconds);
};

inline constexpr uint32_t kMinIdleMs = 1000;  // a flow seen this recently is not evicted

// Why a pair that was found in a file is not taken over.
enum class FlowFault : uint8_t {
  None,
  Value,      // a field is out of its range
  Reverse,    // its other half is not there, or names another
  Initiator,  // not exactly one of its halves is the initiator's
  Mismatch,   // its halves are not of one protocol and family
  Place,      // it stands where its key is never looked for
  Duplicate,  // its key is there already
  kCount,
};
const char* flow_fault_name(FlowFault fault);

struct FlowAdoption {
  uint32_t entries = 0;  // taken over
  uint32_t dropped = 0;  // entries found and not taken over
  uint32_t faults[static_cast<uint32_t>(FlowFault::kCount)] = {};  // of these, by reason
};

// No decision is this old or new: the entry is being written, or has been erased.
inline constexpr uint32_t kDeciding = ~0u;

enum class FlowInsert : uint8_t { Ok, Exists, Full, SameKey };

// An element for each slot. The IPv6 addresses may be stale: they count where the family says so.
struct FlowMemory {
  Flow* flows = nullptr;
  FlowCold* cold = nullptr;
  FlowAddresses6* addresses6 = nullptr;
  uint8_t* tags = nullptr;
};

class FlowTable {
 public:
  // entries: rounded up to a power of two, 1024 … kMaxFlows. seed: of the hash, fixed per run.
  FlowTable(uint32_t entries, uint64_t seed);
  // Over memory of somebody else, which outlives the table: `capacity` (a power of two in the range
  // above) of each, zeros or what a table of the same capacity and seed left; then adopt() comes
  // first.
  FlowTable(const FlowMemory& memory, uint32_t capacity, uint64_t seed);
  ~FlowTable();
  FlowTable(const FlowTable&) = delete;
  FlowTable& operator=(const FlowTable&) = delete;
  bool ok() const;

  // From now on other workers read it, as they tell `readers`. False: no memory for that.
  bool share(const Quiescence* readers) { return limbo_.open(capacity_, readers); }
  // The entry as it was at one moment; false: it is just being written, or gone.
  bool read(FlowId id, Flow& copy) const {
    const Flow& flow = memory_.flows[id.value];
    const uint32_t before = load_acquire(flow.generation);
    load_line(&copy, &flow);
    return before != kDeciding && load_acquire(flow.generation) == before;
  }

  // Takes over what the memory holds, trusting none of it: a pair that is wrong in any way is
  // dropped and counted, tags are made anew. Entries keep their places. All are marked as decided at
  // generation 0, before any Program. now_ms: the clock they were left at. No callbacks.
  FlowAdoption adopt(uint32_t now_ms);

  uint64_t hash(const FlowKey& key) const;
  void prefetch_bucket(uint64_t hash) const;             // tags
  void prefetch_candidate(uint64_t hash) const;          // the entry the tags point at, all of it
  FlowId find(const FlowKey& key, uint64_t hash) const;  // invalid if absent

  // The same for a FlowKey4 or FlowKey6, in the two steps of a burst: the slot to prefetch and look at
  // first (kNoSlot: there is none), and the search.
  static constexpr uint32_t kNoSlot = ~0u;
  uint64_t hash(const FlowKey4& key) const { return key.hash(seed_); }
  uint64_t hash(const FlowKey6& key) const { return key.hash(seed_); }
  uint32_t candidate(uint64_t hash) const;
  template <class Key>
  FlowId find(const Key& key, uint64_t hash, uint32_t candidate) const {
    if (candidate == kNoSlot) return FlowId{};
    return is_of(key, candidate) ? FlowId{candidate} : search(key, hash);
  }

  // Ok: the new pair. Exists: `forward` is the entry that has the forward key, `reverse` its other
  // half; or, if only the reverse key is taken, `forward` is invalid and `reverse` the entry that has
  // it (another connection: a port is taken). Full, SameKey: both invalid.
  struct Pair {
    FlowInsert result;
    FlowId forward;
    FlowId reverse;
  };
  // Inserts both halves (keys, flags InUse/Initiator, reverse ids, last_seen, generation_id set; the
  // rest zero) or neither. When a key's 64 candidate slots are all taken, one pair there is evicted:
  // a closed one; else one idle past its timeout; else, of those idle for more than kMinIdleMs, the
  // one idle longest, established ones last. Idle is the less idle half's.
  Pair insert(const FlowKey& forward, const FlowKey& reverse, uint32_t now_ms);
  // The same for a forward key that is known to be absent; both hashes are at hand. Exists: as for a
  // reverse key that is taken.
  Pair insert_absent(const FlowKey& forward, uint64_t forward_hash, const FlowKey& reverse,
                     uint64_t reverse_hash, uint32_t now_ms);
  void prefetch_free(uint64_t hash, Family family) const;  // the entry that a new key will be in
  void erase(FlowId either);                               // the pair

  Flow& operator[](FlowId id) { return memory_.flows[id.value]; }
  const Flow& operator[](FlowId id) const { return memory_.flows[id.value]; }
  const FlowAddresses6& address6(FlowId id) const { return memory_.addresses6[id.value]; }
  FlowCold& cold(FlowId id) { return memory_.cold[id.value]; }
  const FlowCold& cold(FlowId id) const { return memory_.cold[id.value]; }
  FlowHalf half(FlowId id) {
    return {memory_.flows[id.value], memory_.cold[id.value], memory_.addresses6[id.value]};
  }
  FlowId reverse(FlowId id) const { return memory_.cold[id.value].reverse(); }
  void prefetch_addresses6(FlowId id) const { prefetch(&memory_.addresses6[id.value]); }
  bool valid(FlowId id) const { return id.value < capacity_ && memory_.flows[id.value].in_use(); }

  // The timeouts that eviction goes by (defaults until called); must outlive the table.
  void use_timeouts(const FlowTimeouts* timeouts) { timeouts_ = timeouts; }

  // Examines up to `budget` slots, used or not, from where it stopped last; erases pairs both halves of which
  // are idle past the timeout of their protocol and state. Returns pairs erased.
  uint32_t age(uint32_t now_ms, uint32_t budget, const FlowTimeouts& timeouts);

  // Called for each pair just before it goes (ageing, eviction, erase), for quotas and events.
  // Both entries are still there; it must not insert or erase.
  // A plain function pointer: no allocation, no exception.
  void on_erase(void (*callback)(void* context, FlowId forward, FlowId reverse), void* context);

  uint32_t capacity() const { return capacity_; }  // entries
  uint32_t used() const { return used_; }          // entries
  uint64_t created() const { return created_; }    // entries, ever
  uint64_t deleted() const { return deleted_; }    // for whatever reason: used = created - deleted
  uint64_t evicted() const { return evicted_; }    // of these, to make room
  // Memory held. Of a table of its own, the IPv6 addresses are none until the first IPv6 flow.
  size_t bytes() const;

 private:
  // Where a key may be: two buckets of 32 slots, under one tag byte. Slot = FlowId; tag 0 = free.
  struct Home {
    uint32_t first;   // slot where the bucket starts, in the lower half of the table
    uint32_t second;  // in the upper half
    uint8_t tag;      // never 0
  };
  static constexpr uint32_t kBucketSlots = 2 * kGroupSlots;
  Home home(uint64_t hash) const {
    const uint32_t half = capacity_ / 2;
    const uint32_t mask = half - kBucketSlots;  // clears the slot within the bucket
    Home home;
    home.first = static_cast<uint32_t>(hash << 5) & mask;
    home.second = half + (static_cast<uint32_t>(hash >> 27) & mask);
    home.tag = static_cast<uint8_t>(hash >> 56);
    if (home.tag == 0) home.tag = 1;
    return home;
  }
  // Bit i: slot i of the bucket has this tag.
  static uint32_t match_bucket(const uint8_t* tags, uint8_t tag) {
    return match_tags(tags, tag) | match_tags(tags + kGroupSlots, tag) << kGroupSlots;
  }
  FlowId search(const FlowKey4& key, uint64_t hash) const;
  FlowId search(const FlowKey6& key, uint64_t hash) const;
  template <class Key>
  FlowId search_for(const Key& key, uint64_t hash) const;
  uint32_t free_slot(const Home& home) const;  // in the emptier bucket
  uint32_t victim(const Home& home, uint32_t now_ms) const;
  uint32_t take(const Home& home, uint32_t now_ms);  // frees a slot if need be, tags it
  void fill(uint32_t slot, const FlowKey& key, uint32_t other, uint32_t now_ms, uint8_t flags);
  void clear(uint32_t slot);
  void wipe(uint32_t slot);
  void hold(uint32_t slot, uint8_t tag) {  // for a new half: nobody else's any more
    if (limbo_.on()) {
      limbo_.fill(slot);
    } else {
      memory_.tags[slot] = tag;
    }
  }
  void give_back(uint32_t slot) {  // held, and not filled
    if (limbo_.on()) {
      limbo_.filled(slot);
    } else {
      memory_.tags[slot] = 0;
    }
  }
  void publish(uint32_t slot, uint8_t tag);
  uint32_t no_tag(uint32_t base) const { return match_bucket(memory_.tags + base, 0); }
  uint32_t free_in(uint32_t base) const {
    return limbo_.on() ? no_tag(base) & ~limbo_.at(base) : no_tag(base);
  }
  void keep_room(const Home& home, uint32_t now_ms);
  FlowFault check_half(uint32_t slot, uint32_t now_ms);
  FlowFault check_pair(uint32_t slot, uint32_t now_ms);
  uint32_t pair_idle(uint32_t slot, uint32_t now_ms) const;
  FlowTimeoutState pair_state(uint32_t slot) const;
  bool is_of(const FlowKey& key, uint32_t slot) const;
  bool is_of(const FlowKey4& key, uint32_t slot) const { return key.is_of(memory_.flows[slot]); }
  bool is_of(const FlowKey6& key, uint32_t slot) const {
    return key.is_of(memory_.flows[slot], memory_.addresses6[slot]);
  }

  MappedMemory mapped_[4];  // of a table of its own
  FlowMemory memory_;
  Limbo limbo_;  // of a table that several workers read
  uint64_t seed_ = 0;
  uint32_t capacity_ = 0;
  uint32_t used_ = 0;
  uint32_t clock_ = 0;
  uint64_t created_ = 0;
  uint64_t deleted_ = 0;
  uint64_t evicted_ = 0;
  bool holds_addresses6_ = false;  // that memory has been touched
  const FlowTimeouts* timeouts_ = nullptr;
  void (*erase_callback_)(void*, FlowId, FlowId) = nullptr;
  void* erase_context_ = nullptr;
};

inline void FlowTable::prefetch_bucket(uint64_t hash) const {
  const Home h = home(hash);
  prefetch(memory_.tags + h.first);
  prefetch(memory_.tags + h.second);
}

inline uint32_t FlowTable::candidate(uint64_t hash) const {
  const Home h = home(hash);
  uint32_t base = h.first;
  uint32_t found = match_bucket(memory_.tags + h.first, h.tag);
  if (found == 0) {
    base = h.second;
    found = match_bucket(memory_.tags + h.second, h.tag);
    if (found == 0) return kNoSlot;
  }
  const uint32_t slot = base + static_cast<uint32_t>(std::countr_zero(found));
  prefetch(&memory_.flows[slot]);
  return slot;
}

// TCP state of a pair after a segment in `half`'s direction (ancestor's letters; RFC 9293 and the
// RST rule of RFC 5961: accepted only at the sequence the other side expects, or, from one who
// refuses a SYN, if it acknowledges that SYN). A SYN on a dead pair begins a new connection. Returns
// false for an RST out of sequence (packet still forwarded; state unchanged).
bool track_tcp(const FlowHalf& half, const FlowHalf& reverse, uint8_t tcp_flags, uint32_t sequence,
               uint32_t ack, uint32_t payload, bool any_rst);

// As far as this half knows; of a pair, the more advanced counts. TCP goes by its letters, or, taken
// up in mid-stream (a SYN was missed), by ACKs in both directions; others by kFlowReplied. What is
// dropped is no connection: it is New, or Closing.
FlowTimeoutState timeout_state(const Flow& flow);

}  // namespace vrouter
