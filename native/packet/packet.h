// Packet: one frame in a pooled buffer with headroom, and PacketMeta: what the pipeline has found
// out about it. `data()` may move (push, pull); nothing keeps pointers into it, only offsets.
// Written by one worker at a time; a packet belongs to the pool, a port's burst, or a burst in the
// pipeline, never to two.
#pragma once
#include <cstdint>
#include <cstring>

#include "base/address.h"
#include "base/drop.h"
#include "base/ids.h"
#include "base/limits.h"
#include "base/mapped_memory.h"

namespace vrouter {

// How a packet leaves a room. Anything but Continue skips the rest of the rooms.
enum class Verdict : uint8_t {
  Continue,
  Transmit,  // to meta.out_port, as it stands
  Reply,     // rewritten in place into an answer; to the vif it came from
  Punt,      // to the agent vif
  Hold,      // kept by a table (fragment waiting for its first); not ours to free
  Drop,      // meta.drop says why
};

// Five-tuple in a scope; see state/flow.h. IPv4 addresses sit in the first 4 bytes, rest zero.
struct FlowKey {
  uint8_t source[16];
  uint8_t destination[16];
  uint16_t source_port;       // host order; ICMP echo: identifier; else 0
  uint16_t destination_port;  // host order; ICMP echo: 0; other ICMP: type
  uint32_t scope;             // next hop the flow belongs to, with its incarnation (flow.h)
  uint8_t protocol;           // IANA number
  Family family;
  uint16_t zero;
  bool operator==(const FlowKey& o) const { return std::memcmp(this, &o, sizeof *this) == 0; }
};
static_assert(sizeof(FlowKey) == 44, "compared as bytes");

struct PacketMeta {
  // rx
  VifId vif;  // where it came in
  VrfId vrf;  // where addresses are looked up now
  // parse: offsets from data() of the innermost headers in view
  uint16_t l2_length;   // Ethernet (with tags) in front of l3; 0 for a bare IP packet
  uint16_t l3;          // offset of the IP header
  uint16_t l4;          // offset of the transport header (first fragment or whole)
  uint16_t l3_length;   // bytes of the IP packet by its own header
  uint16_t ether_type;  // 0x0800, 0x86dd, 0x0806, … of the innermost frame
  Family family;        // None: not IP
  uint8_t protocol;     // after extension headers
  uint8_t ttl;
  uint8_t tcp_flags;
  bool fragment;        // part of a fragmented packet
  bool first_fragment;  // and holds the transport header
  bool icmp_error;      // key was built from the packet inside it
  bool from_fabric;     // came out of a tunnel
  bool l2;              // forwarded by MAC; else by address
  bool routed;          // TTL already decremented
  bool no_flow;         // must not create or use a flow
  bool generated;       // made by the router itself
  bool copy;            // replica or fragment of a packet that was counted already
  bool wants_flow;      // must pass the flow table
  uint16_t merged;      // frames that were received apart and are now in this one, besides it
  uint16_t split_to;    // too big, may be split: bytes of an IP fragment; 0: fits
  uint16_t inner_l3;    // icmp_error: offset of the quoted IP header
  uint16_t inner_l4;    // icmp_error: offset of the quoted transport header; 0: not quoted
  FlowKey key;
  uint64_t hash;  // of key
  // decap
  Address outer_source;  // tunnel's far end
  uint32_t in_label;     // label or VNI it came with
  uint8_t in_encap;      // Encap
  NextHopId entry;       // what the label or VNI names
  // decisions
  FlowId flow;
  NextHopId next_hop;  // concrete (interface, tunnel, …) after choose_path
  uint32_t label;      // label or VNI to send with
  uint32_t entropy;    // for the outer source port and hash-based choices
  PortId out_port;
  VifId out_vif;
  Verdict verdict;
  DropReason drop;
  Room room;  // where it was dropped
};

// What a frame leaves undone, for whoever can do it later: virtio_net_hdr (virtio 1.3 §5.1.6), with
// offsets from Packet::base, so that they survive push() and pull(). A frame as it is on a wire has
// all of it zero. A super-packet (segmentation != None) always has `checksum` too.
enum class Segmentation : uint8_t { None, TcpV4, TcpV6, Udp };
struct Offload {
  Segmentation segmentation;  // the transport payload is several segments'
  bool checksum;              // the transport checksum field holds the pseudo header's sum only
  bool ecn;                   // TCP: CWR is for the first segment alone
  uint16_t segment;           // payload bytes of each segment but the last
  uint16_t field;             // where the checksum is, from `transport`
  uint32_t transport;         // transport header all this is about, from base
  uint32_t outer_transport;   // 0: not in a tunnel; else its UDP or GRE header, from base
  uint32_t inner_network;     // … and the IP header in it; 0: nobody has said
};

struct Packet {
  uint8_t* base;      // start of the buffer
  uint32_t capacity;  // bytes in the buffer
  uint32_t offset;    // data() = base + offset
  uint32_t length;
  Offload offload;
  PacketMeta meta;

  uint8_t* data() { return base + offset; }
  const uint8_t* data() const { return base + offset; }
  uint32_t headroom() const { return offset; }
  uint32_t tailroom() const { return capacity - offset - length; }
  // Precondition of all four: enough room or bytes; callers check first.
  uint8_t* push(uint32_t bytes) {
    offset -= bytes;
    length += bytes;
    return data();
  }
  void pull(uint32_t bytes) {
    offset += bytes;
    length -= bytes;
  }
  void append(uint32_t bytes) { length += bytes; }
  void trim(uint32_t new_length) { length = new_length; }

  void drop(DropReason reason) {
    meta.verdict = Verdict::Drop;
    meta.drop = reason;
    meta.room = current_room;
  }
  bool alive() const { return meta.verdict == Verdict::Continue; }
};

// A fixed number of packets over one slab; allocate and free are a stack, no locks: one worker.
class PacketPool {
 public:
  // Behind a buffer, of nobody's: what a port reads more than fits, to see that it does not fit.
  static constexpr uint32_t kSpill = 1;

  // buffer_bytes: usable frame bytes behind kHeadroom.
  PacketPool(uint32_t packets, uint32_t buffer_bytes);
  ~PacketPool();
  PacketPool(const PacketPool&) = delete;
  PacketPool& operator=(const PacketPool&) = delete;

  Packet* allocate();  // meta zeroed, length 0, headroom kHeadroom; nullptr when empty
  uint32_t allocate(Packet** out, uint32_t count);  // the same, as many as there are
  void free(Packet* packet);
  void free(Packet* const* packets, uint32_t count);
  Packet* copy(const Packet& from);  // bytes and meta; nullptr when empty
  uint32_t available() const { return free_count_; }
  uint32_t total() const { return total_; }
  uint32_t buffer_bytes() const { return buffer_bytes_; }
  bool ok() const { return slab_ != nullptr; }

 private:
  Packet* prepare(Packet* packet);
  void take_back(Packet* packet);

  MappedMemory memory_;  // what all three are in
  uint8_t* slab_ = nullptr;
  Packet* packets_ = nullptr;
  Packet** free_ = nullptr;
  size_t stride_ = 0;  // bytes from a buffer to the next
  uint32_t free_count_ = 0;
  uint32_t total_ = 0;
  uint32_t buffer_bytes_ = 0;
};

// Packets travelling together through the rooms.
struct Burst {
  Packet* packets[kBurst];
  uint32_t count = 0;
};

}  // namespace vrouter
