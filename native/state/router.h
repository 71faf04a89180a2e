// Router: everything a vRouter is, apart from its flows: vifs, VRFs with their routes and MACs, next
// hops, labels, VNIs, NAT and policy. Each table maps a key to the Spec that was asked for and to the
// form packets meet.
//
// Invariants
//  * The control side writes only while all workers are held between two bursts (worker/gate.h); so
//    workers read without locks or barriers and never see a Program half applied.
//  * exchange(key, spec) -> previous spec is the only way to change a table, and undoing a change is
//    exchange(key, previous): a Program that fails is rolled back to equal tables.
//  * references of next hops, VRFs, vifs and policies are counted by exchange(); a Program may end
//    only with every reference resolved and nothing referenced deleted (program/apply.cc checks).
//  * `generation` grows with every committed Program. touch() marks flows for a new decision.
//  * An object that is referred to before it is made, or between a delete and a new set of one
//    Program, keeps its count of references: a slot has its count for life.
//
// What touches what: a route or MAC touches its VRF, or all flows if others translate into that VRF.
// Anything else touches all flows, but for one case: a next hop, VRF or policy to which nothing refers
// can be made, changed or deleted without any flow depending on it, because what refers to it later,
// or did before, touches for itself. So does what is merely made: a vif, a label, a VNI. This keeps
// route churn in one VRF from making the flows of all others decide again.
#pragma once
#include <memory>
#include <optional>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/limits.h"
#include "base/status.h"
#include "state/ecmp.h"
#include "state/legs.h"
#include "state/next_hop.h"
#include "state/objects.h"
#include "state/rewrite.h"
#include "state/route_store.h"
#include "state/slots.h"
#include "table/lpm.h"
#include "table/mac_table.h"

namespace vrouter {

struct ReplicaSet {
  std::vector<Replica> replicas;
};

// A next hop as asked for: exactly one of the kinds, and its id.
struct NextHopObject {
  NextHopKind kind = NextHopKind::None;
  DiscardSpec discard;
  ReceiveSpec receive;
  L2ReceiveSpec l2_receive;
  InterfaceSpec interface;
  TunnelSpec tunnel;
  EcmpSpec ecmp;
  ReplicateSpec replicate;
  VrfTranslateSpec vrf_translate;
  bool operator==(const NextHopObject&) const = default;
};

struct PolicyTable {  // a compiled policy: rules in order
  PolicySpec spec;
  bool in_use = false;
  uint32_t references = 0;
};

struct FloatingIp {
  FloatingIpSpec spec;
  bool in_use = false;
};

struct SourceNat {
  SourceNatSpec spec;
  bool in_use = false;
  uint32_t next_port = 0;  // where the search for a free port goes on
};

struct Vif {
  VifSpec spec;
  bool in_use = false;
  uint32_t references = 0;             // next hops that send through it, floating IPs
  std::vector<uint32_t> floating_ips;  // ids, in order of id
  std::vector<uint32_t> senders;       // Interface and Tunnel next hops, in no order; for their MTU
  uint32_t flows = 0;                  // entries that entered here (quota); survives delete
};

struct Vrf {
  VrfSpec spec;
  bool in_use = false;
  uint32_t references = 0;          // vifs, next hops, floating IPs, source NATs; not its routes
  uint32_t translators = 0;         // VrfTranslate next hops that lead here
  bool translation_target = false;  // there are such
  Lpm routes4{Family::V4};
  Lpm routes6{Family::V6};
  MacTable macs;
  std::vector<uint32_t> source_nats;  // ids of rules with vrf = this, in order of id
  uint32_t flows = 0;
};

class Router {
 public:
  Router();
  ~Router();
  Router(const Router&) = delete;
  Router& operator=(const Router&) = delete;

  // --- control side, workers held -------------------------------------------------------------
  // Each returns what stood there before (nullopt: nothing). Values have been checked by
  // program/validate.cc; ids are in range.
  std::optional<RouterSpec> exchange(const RouterSpec& spec);
  std::optional<VrfSpec> exchange(VrfId id, std::optional<VrfSpec> spec);
  std::optional<VifSpec> exchange(VifId id, std::optional<VifSpec> spec);
  std::optional<NextHopObject> exchange(NextHopId id, std::optional<NextHopObject> object);
  std::optional<RouteSpec> exchange(VrfId vrf, const Prefix& prefix, std::optional<RouteSpec> spec);
  std::optional<MacSpec> exchange(VrfId vrf, const Mac& mac, std::optional<MacSpec> spec);
  std::optional<LabelSpec> exchange_label(uint32_t label, std::optional<LabelSpec> spec);
  std::optional<VniSpec> exchange_vni(uint32_t vni, std::optional<VniSpec> spec);
  std::optional<FloatingIpSpec> exchange_floating_ip(uint32_t id,
                                                     std::optional<FloatingIpSpec> spec);
  std::optional<SourceNatSpec> exchange_source_nat(uint32_t id, std::optional<SourceNatSpec> spec);
  std::optional<PolicySpec> exchange(PolicyId id, std::optional<PolicySpec> spec);

  void touch(VrfId vrf);  // flows of this VRF decide again (all, if others translate into it)
  void touch_all();
  // kMaxNextHops of them, all zeros or a former router's, where they outlive this one; before the
  // first Program. Flows that outlive the router are scoped to next hops, incarnation and all.
  void keep_incarnations_in(uint16_t* incarnations) { kept_incarnations_ = incarnations; }
  // Of the hash that MACs are found by; before the first Program.
  void use_mac_seed(uint64_t seed) { mac_seed_ = seed; }
  uint32_t generation = 1;  // one more per committed Program

  // The bounds of a Program (program/apply.cc). What exchange() cannot put back by itself, begin()
  // remembers: generations, and with them which flows must decide again. After begin_undo() exchanges
  // are undoings: they touch nothing and give a next hop that comes back its old scope.
  void begin_program();  // generation + 1
  void begin_undo();
  void end_program();  // after begin_undo(): generations as they were

  // References, also to what does not exist (yet, or any more).
  uint32_t vrf_references(VrfId id) const;  // routes and MACs inside included
  uint32_t vif_references(VifId id) const;
  uint32_t policy_references(PolicyId id) const;
  uint32_t port_bindings(PortId id) const;  // vifs bound to it; 1 at most once a Program has ended
  bool in_composite(NextHopId id) const;    // an ECMP member or a replica of some next hop

  // --- workers ----------------------------------------------------------------------------------
  const RouterSpec& spec() const { return spec_; }
  Vif* vif(VifId id) const {  // nullptr if not in use
    Vif* v = vifs_.find(id.value);
    return v != nullptr && v->in_use ? v : nullptr;
  }
  Vrf* vrf(VrfId id) const {
    Vrf* v = vrfs_.find(id.value);
    return v != nullptr && v->in_use ? v : nullptr;
  }
  const NextHop* next_hop(NextHopId id) const {  // nullptr if None; kDiscard always exists
    const NextHop* n = next_hops_.find(id.value);
    return n != nullptr && n->kind != NextHopKind::None ? n : nullptr;
  }
  const NextHopObject* next_hop_object(NextHopId id) const;
  const Rewrite& rewrite(uint32_t index) const { return *rewrites_.find(index); }
  const Route* route(VrfId vrf, Family family, const uint8_t* address) const {  // nullptr: no route
    const Vrf* v = vrfs_.find(vrf.value);
    if (v == nullptr) return nullptr;
    return route_by_id((family == Family::V4 ? v->routes4 : v->routes6).lookup(address));
  }
  const Route* route_by_id(uint32_t route_id) const { return routes_.find(route_id); }
  // For bursts: where route() looks an address up, and asking for the routes that were found there.
  const Lpm* routes(VrfId vrf, Family family) const {  // nullptr: no such VRF
    const Vrf* v = vrfs_.find(vrf.value);
    return v == nullptr ? nullptr : family == Family::V4 ? &v->routes4 : &v->routes6;
  }
  MacEntry* mac(VrfId vrf, const Mac& mac) const {
    const Vrf* v = vrfs_.find(vrf.value);
    return v != nullptr ? v->macs.find(mac) : nullptr;
  }
  const MacTable* macs(VrfId vrf) const {  // nullptr: no such VRF. For bursts; asked as mac() does
    const Vrf* v = vrfs_.find(vrf.value);
    return v != nullptr ? &v->macs : nullptr;
  }
  NextHopId label(uint32_t label) const {  // invalid if unknown
    const NextHopId* slot = labels_.find(label);
    return slot != nullptr ? *slot : NextHopId{};
  }
  NextHopId vni(uint32_t vni) const {
    const NextHopId* slot = vnis_.find(vni);
    return slot != nullptr ? *slot : NextHopId{};
  }
  FloatingIp* floating_ip(uint32_t id) const {
    FloatingIp* f = floating_ips_.find(id);
    return f != nullptr && f->in_use ? f : nullptr;
  }
  SourceNat* source_nat(uint32_t id) const {
    SourceNat* s = source_nats_.find(id);
    return s != nullptr && s->in_use ? s : nullptr;
  }
  const PolicyTable* policy(PolicyId id) const {
    const PolicyTable* p = policies_.find(id.value);
    return p != nullptr && p->in_use ? p : nullptr;
  }
  VifId vif_of_port(PortId port) const {  // invalid if none
    return port.value < ports_.size() ? ports_[port.value].vif : VifId{};
  }
  // The newest of what a flow of this VRF depends on; `any` for flows that cross VRFs.
  uint32_t generation_for(uint32_t vrf, bool any) const {
    if (any) return newest_touch_;
    const uint32_t own = vrf < vrf_touch_.size() ? vrf_touch_[vrf] : 0;
    return own > all_touch_ ? own : all_touch_;
  }

  // The route of exactly this prefix, also in a VRF that is not in use.
  const Route* route_at(VrfId vrf, const Prefix& prefix) const {
    const Vrf* v = vrfs_.find(vrf.value);
    if (v == nullptr) return nullptr;
    return route_by_id((prefix.address.family == Family::V4 ? v->routes4 : v->routes6).get(prefix));
  }

  // --- display, workers held ---------------------------------------------------------------------
  uint32_t vif_limit() const { return vifs_.limit(); }  // ids in use are below these
  uint32_t vrf_limit() const;                           // exactly one more than the highest in use
  uint32_t next_hop_limit() const { return next_hops_.limit(); }
  uint32_t next_hop_references(NextHopId id) const;
  // The first in use from `from` on, or the limit: to go through a table in steps.
  uint32_t next_vif(uint32_t from) const;
  uint32_t next_vrf(uint32_t from) const;
  uint32_t next_next_hop(uint32_t from) const;
  uint32_t next_label(uint32_t from) const;
  uint32_t next_vni(uint32_t from) const;
  uint32_t next_floating_ip(uint32_t from) const;
  uint32_t next_source_nat(uint32_t from) const;
  uint32_t next_policy(uint32_t from) const;
  std::vector<uint32_t> labels() const;  // in order
  std::vector<uint32_t> vnis() const;
  std::vector<uint32_t> floating_ips() const;
  std::vector<uint32_t> source_nats() const;
  std::vector<uint32_t> policies() const;
  uint32_t label_limit() const { return labels_.limit(); }
  uint32_t vni_limit() const { return vnis_.limit(); }
  uint32_t floating_ip_limit() const { return floating_ips_.limit(); }
  uint32_t source_nat_limit() const { return source_nats_.limit(); }
  uint32_t policy_limit() const { return policies_.limit(); }
  uint32_t route_count() const { return route_count_; }
  uint32_t mac_count() const { return mac_count_; }
  uint32_t rewrite_count() const { return static_cast<uint32_t>(rewrite_ids_.size()); }

 private:
  struct NextHopSide {  // of a NextHop; never read per packet
    std::unique_ptr<NextHopObject> object;
    EcmpSet ecmp;
    ReplicaSet replicas;
    std::unique_ptr<LegSet> legs;
    uint32_t sender_at = 0;   // position in its vif's `senders`; of a leg: in LegSet
    uint32_t composites = 0;  // how often it is a member or a replica
    uint16_t incarnation = 0;
  };
  struct PortSlot {
    VifId vif;
    uint32_t bindings = 0;
  };
  struct RewriteHash {
    size_t operator()(const Rewrite& r) const;
  };
  struct Journal {  // of the Program being applied
    bool open = false;
    bool undoing = false;
    uint32_t all_touch = 0;
    uint32_t newest_touch = 0;
    std::vector<std::pair<uint32_t, uint32_t>> vrf_touch;  // VRF, its generation before
    std::vector<uint64_t> mac_packets;                     // of the MACs deleted, in order
  };

  void refer_next_hop(uint32_t id, int by) { next_hops_.make(id).references += by; }
  void refer_vrf(uint32_t id, int by) { vrfs_.make(id).references += by; }
  void refer_vif(uint32_t id, int by) { vifs_.make(id).references += by; }
  void refer(const VifSpec& spec, int by);
  void refer(const NextHopObject& object, int by);
  void refer_member(uint32_t id, int by);
  void bind_port(VifId vif, uint32_t port);
  void unbind_port(VifId vif, uint32_t port);
  void render(NextHopId id, const NextHopObject& object);
  void clear(NextHopId id);
  void render_legs(NextHopId id, const TunnelSpec& spec);
  void add_sender(NextHopId id, uint32_t vif);
  void remove_sender(NextHopId id, uint32_t vif);
  uint32_t& sender_at(NextHopSide& side, uint32_t vif);
  void measure(NextHopId id);  // its mtu, and its legs'
  uint16_t& incarnation(NextHopId id) {
    return kept_incarnations_ != nullptr ? kept_incarnations_[id.value]
                                         : next_hop_sides_.make(id.value).incarnation;
  }
  uint32_t mtu_of(const NextHop& next_hop) const;
  uint32_t intern(const Rewrite& rewrite);
  void release_rewrite(uint32_t index);
  std::optional<uint32_t> exchange_index(NextHopId& slot, std::optional<uint32_t> next_hop);

  RouterSpec spec_;
  Slots<Vif, 6> vifs_;
  Slots<Vrf, 0> vrfs_;  // one by one: a VRF's tries are not small
  Slots<NextHop, 10> next_hops_;
  Slots<NextHopSide, 10> next_hop_sides_;
  Slots<Rewrite, 8> rewrites_;
  RouteStore routes_;
  Slots<NextHopId, 12> labels_;
  Slots<NextHopId, 12> vnis_;
  Slots<FloatingIp, 6> floating_ips_;
  Slots<SourceNat, 6> source_nats_;
  Slots<PolicyTable, 4> policies_;
  std::vector<PortSlot> ports_;

  std::unordered_map<Rewrite, uint32_t, RewriteHash> rewrite_ids_;
  std::vector<uint32_t> rewrite_references_;
  std::vector<uint32_t> free_rewrites_;
  uint32_t route_count_ = 0;
  uint32_t mac_count_ = 0;

  std::vector<uint32_t> vrf_touch_;  // by VRF: router generation of its last touch
  uint32_t all_touch_ = 0;           // … of the last touch_all()
  uint32_t newest_touch_ = 0;        // … of the last touch of any kind
  Journal journal_;
  uint64_t mac_seed_ = 0;
  uint16_t* kept_incarnations_ = nullptr;  // nullptr: they are in next_hop_sides_
};

}  // namespace vrouter
