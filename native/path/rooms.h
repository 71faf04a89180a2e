// The rooms of the pipeline, in the order packets pass them, and the small functions they share.
// A room looks at each packet that is still alive (Verdict::Continue), fills its own fields of
// PacketMeta, and lets the packet out by one named door: meta.verdict. No room frees or counts;
// finish() does both.
#pragma once
#include "path/context.h"

namespace vrouter {

// --- rooms, in order (pipeline.cc) ---------------------------------------------------------------
void express(Context& context, Burst& burst,
             Burst& done);                             // plain packets of known flows: all at once
void parse(Context& context, Burst& burst);            // frame -> offsets, addresses, flow key
void admit(Context& context, Burst& burst);            // the vif: ARP / ND, traps, ours or bridged
void decap(Context& context, Burst& burst);            // tunnels that end here -> inner packet
void match_fragments(Context& context, Burst& burst);  // ports of fragments, or wait for them
void look_up_flows(Context& context, Burst& burst);    // hit: action; stale: decide again
void open_flows(Context& context, Burst& burst);       // miss: decide, insert both directions
void look_up_routes(Context& context, Burst& burst);  // packets without a resolved flow, by address
void look_up_macs(Context& context, Burst& burst);    // bridged packets, by MAC
void check_fit(Context& context, Burst& burst);    // TTL, size: errors are made before translation
void translate(Context& context, Burst& burst);    // NAT
void replicate(Context& context, Burst& burst);    // broadcast, unknown unicast, multicast
void encapsulate(Context& context, Burst& burst);  // next hop's rewrite pushed, vif chosen
void finish(Context& context, Burst& burst);       // count, transmit, free
void finish_carried(Context& context, Burst& burst);  // … what express() has done

// Rooms from look_up_routes to finish, for one packet the router made itself.
void send(Context& context, Packet* packet);

// --- parse.cc ------------------------------------------------------------------------------------
// Reads the Ethernet frame at data(): l2_length, ether_type, and IP if there is any.
void parse_frame(Context& context, Packet& packet);
// Reads the IP packet at `offset` (family by its version nibble); l2_length becomes `offset`.
void parse_ip(Context& context, Packet& packet, uint32_t offset);

// --- admit.cc ------------------------------------------------------------------------------------
// A frame of the fabric, to us or to all, as it is to the host's stack. False: the host has no vif.
bool give_to_host(Context& context, Packet& packet);

// --- resolve.cc: address -> concrete next hop
// ------------------------------------------------------
struct Resolved {
  NextHopId next_hop = kDiscard;  // Interface, Tunnel, Receive, L2Receive, Replicate or Discard
  uint32_t label = kNoLabel;
  uint16_t member = 0xffff;                // of the outermost ECMP set on the way
  VrfId vrf;                               // where the last lookup was made
  bool found = false;                      // a route (or an explicit next hop) existed
  bool crossed = false;                    // by VRF translate
  DropReason drop = DropReason::Discards;  // when next_hop is kDiscard
  uint32_t route_length = 0;               // of the first match
};

struct ResolveOptions {
  uint16_t pinned = 0xffff;                // stay with this member if it is still there
  NextHopId kept;                          // no member yet: stay with the one that is this next hop
  uint32_t kept_label = kNoLabel;          // … by this label
  bool local_only = false;                 // ECMP: members on this node only
  const Address* prefer_tunnel = nullptr;  // ECMP: the member that reaches this far end (way back)
  VifId prefer_vif;                        // ECMP: the member on this vif (way back)
};

Resolved resolve_address(Context& context, VrfId vrf, Family family, const uint8_t* destination,
                         const FlowKey& key, const ResolveOptions& options);
// The same from the route that the address has there, or has not (nullptr).
Resolved resolve_route(Context& context, VrfId vrf, const Route* route, Family family,
                       const uint8_t* destination, const FlowKey& key,
                       const ResolveOptions& options);
Resolved resolve_next_hop(Context& context, NextHopId next_hop, uint32_t label, uint8_t hash_fields,
                          const FlowKey& key, const ResolveOptions& options);
// Whether a packet that came from `vif` (or out of a tunnel from `outer_source`) may have this
// source: its route must lead back there.
bool source_matches(Context& context, NextHopId next_hop, VifId vif, const Address& outer_source);
// The concrete next hop the source's route names for this arrival; kDiscard: no route.
NextHopId reverse_next_hop(Context& context, VrfId vrf, Family family, const uint8_t* source,
                           VifId vif, const Address& outer_source, bool* has_route);
NextHopId reverse_next_hop_by(Context& context, const Route* route, Family family,
                              const uint8_t* source, VifId vif, const Address& outer_source,
                              bool* has_route);

// --- policy.cc
// ------------------------------------------------------------------------------------- What the
// vif's policies say of a new flow as its tenant sees it. towards: to the tenant. Returns
// FlowDrop::Unknown when it may pass.
FlowDrop judge(Context& context, const Vif& vif, const FlowKey& key, bool towards);

// --- flow decisions (decide.cc)
// --------------------------------------------------------------------- All that a pair of entries
// will hold; nothing has been changed when it is returned.
struct Decision {
  FlowAction action = FlowAction::Drop;
  FlowDrop drop = FlowDrop::Unknown;
  DropReason packet_drop = DropReason::FlowActionDrop;  // for this packet, if no flow can be made
  bool refuse = false;  // no flow at all: drop the packet with packet_drop
  uint8_t nat = 0;      // of the forward half
  FlowKey translated;   // the forward packet as it leaves
  uint32_t reverse_scope = 0;
  VrfId vrf;          // forward: where the destination is looked up
  VrfId reverse_vrf;  // reverse: where the initiator is looked up
  Resolved forward;
  Resolved reverse;
  uint32_t forward_rpf = 0;  // next hop the forward packets must come from
  uint32_t reverse_rpf = 0;
  uint32_t source_nat = ~0u;  // rule whose port was taken
  bool l2 = false;
};
// The scope of the flows of a vif's tenant: that of the vif's own next hop, or `otherwise`.
uint32_t vif_scope(Context& context, const Vif& vif, uint32_t otherwise);
// A label names the vif whose flow a packet from a tunnel belongs to; of a VNI it is known only now,
// that the packet's next hop is.
void scope_to_receiver(Context& context, PacketMeta& meta, const NextHop& out);
// The key of a packet's replies, which come in with `scope`.
FlowKey reversed(const FlowKey& key, uint32_t scope);
struct Arrival {    // how the initiator's packets come in
  VifId vif;        // invalid: out of a tunnel
  NextHopId entry;  // what the label or VNI names, for tunnels
  VrfId vrf;
  Address outer_source;
  bool known_source = true;  // false: decided again by a packet of the other direction
  bool l2 = false;
  uint8_t mac[6] = {};  // l2: destination MAC
};
// What was found about a tenant's source. Packets of a burst mostly come from one; as long as no
// table changes, it is as it was.
struct SourceMemory {
  VifId vif;  // invalid: nothing is remembered
  VrfId vrf;
  uint8_t source4[4] = {};
  const Route* route = nullptr;
  bool has_route = false;
  NextHopId back;
};
// existing: the forward half being decided again, or nullptr. memory: of this burst, or nullptr.
Decision decide(Context& context, const FlowKey& key, const Arrival& arrival,
                const FlowHalf* existing, SourceMemory* memory = nullptr);
// The vif by which the other half's packets come in; invalid: out of a tunnel.
VifId reverse_entrance(Context& context, const Arrival& arrival, const Decision& decision);
// Writes a decision into a pair (both halves, deltas, next hops, generation).
void store_decision(Context& context, const FlowKey& key, const Arrival& arrival,
                    const Decision& decision, const FlowHalf& forward, const FlowHalf& reverse);

// The flow table, or the scratch pair while explaining.
FlowHalf scratch_half(Context& context, FlowId id);
inline FlowHalf half_at(Context& context, FlowId id) {
  return context.trace == nullptr ? context.flows.half(id) : scratch_half(context, id);
}
inline Flow& flow_at(Context& context, FlowId id) {
  return context.trace == nullptr ? context.flows[id] : scratch_half(context, id).flow;
}
FlowHalf reverse_of(Context& context, FlowId id);
// Looks up, decides again or opens: what the two flow rooms do, for one packet.
void flow_for_packet(Context& context, Packet& packet);

// --- reply.cc
// ------------------------------------------------------------------------------------------ ARP
// request or neighbour solicitation from a tenant or the fabric: answer, flood or drop.
void answer_arp(Context& context, Packet& packet);
void answer_neighbour_solicitation(Context& context, Packet& packet);
// ICMP(v6) echo to the gateway or to the router's own underlay address, turned round in place.
bool answer_echo(Context& context, Packet& packet);
bool is_gateway(const Vif& vif, Family family, const uint8_t* address);

// --- icmp_error.cc: errors about `packet`, made as new packets and sent; rate limited
// ---------------------
void send_time_exceeded(Context& context, const Packet& packet);
void send_unreachable(Context& context, const Packet& packet);
void send_too_big(Context& context, const Packet& packet, uint32_t mtu);

// --- fragment_ip.cc: splits an IPv4 packet to `mtu`, sends the pieces through encapsulate
// --------------
void send_fragments(Context& context, Packet& packet, uint32_t mtu);
// --- segment_nested.cc: cuts a super-packet that is in a tunnel of the tenant's, sends the segments through encapsulate
void send_segments(Context& context, Packet& packet);
// Ports of fragments: learn from a first, borrow or wait for a later one (fragment_ports.cc).
void borrow_ports(Context& context, Packet& packet);

// --- mss.cc
// ------------------------------------------------------------------------------------------------
void clamp_mss(Packet& packet, uint32_t mtu);

// --- punt.cc
// -------------------------------------------------------------------------------------------------
enum class TrapReason : uint16_t {  // the ancestor's agent header `cmd`
  Switch = 0,
  Route = 1,
  Arp = 2,
  L2Protocols = 3,
  Nexthop = 4,
  Resolve = 5,
  FlowMiss = 6,
  L3Protocols = 7,
  Diag = 8,
  ZeroTtl = 12,
  IcmpError = 13,
};
void punt(Context& context, Packet& packet, TrapReason reason);
void inject_from_agent(Context& context, Packet& packet);

// --- small shared facts
// ---------------------------------------------------------------------------------------
uint64_t choice_hash(const FlowKey& key, uint8_t fields, uint64_t seed);
// Outer UDP source port for a packet with this hash: 49152..65535 (RFC 7510 §3).
inline uint16_t entropy_port(uint64_t hash) {
  return static_cast<uint16_t>(kEntropyLow | (hash >> 17 & 0x3fff));
}
inline uint32_t now_ms(const Context& context) {
  return static_cast<uint32_t>(context.now_ns / 1'000'000);
}
inline bool is_icmp(uint8_t protocol) { return protocol == 1 || protocol == 58; }
inline bool has_ports(uint8_t protocol) {
  return protocol == 6 || protocol == 17 || protocol == 132;
}
void make_key(FlowKey& key, Family family, const uint8_t* source, const uint8_t* destination,
              uint8_t protocol, uint16_t source_port, uint16_t destination_port);

}  // namespace vrouter
