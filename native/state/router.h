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
#pragma once
#include <memory>
#include <optional>
#include <unordered_map>
#include <vector>

#include "base/limits.h"
#include "base/status.h"
#include "state/ecmp.h"
#include "state/next_hop.h"
#include "state/objects.h"
#include "state/rewrite.h"
#include "table/lpm.h"

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
};

struct Route {          // what an Lpm value names (Router::routes)
  NextHopId next_hop = kDiscard;
  uint32_t label = kNoLabel;
  uint8_t flags = 0;
  uint8_t hash_fields = 0;
  uint8_t length = 0;   // of its prefix
  Mac mac;
};

struct MacEntry {
  NextHopId next_hop = kDiscard;
  uint32_t label = kNoLabel;
  uint8_t flags = 0;
  uint64_t packets = 0; // `rt --family bridge` Stats
};

struct PolicyTable {    // a compiled policy: rules in order
  PolicySpec spec;
  uint32_t references = 0;
};

struct FloatingIp {
  FloatingIpSpec spec;
};

struct SourceNat {
  SourceNatSpec spec;
  uint32_t next_port = 0;  // where the search for a free port goes on
};

struct Vif {
  VifSpec spec;
  bool in_use = false;
  uint32_t references = 0;               // next hops that send through it
  std::vector<uint32_t> floating_ips;    // ids, in order of id
  uint32_t flows = 0;                    // entries that entered here (quota); survives delete
};

struct MacKeyHash {
  size_t operator()(const Mac& m) const;
};

struct Vrf {
  VrfSpec spec;
  bool in_use = false;
  uint32_t references = 0;
  uint32_t generation = 0;               // router generation of the last change that matters to it
  bool translation_target = false;       // some VrfTranslate next hop leads here
  Lpm routes4{Family::V4};
  Lpm routes6{Family::V6};
  std::unordered_map<Mac, MacEntry, MacKeyHash> macs;
  std::vector<uint32_t> source_nats;     // ids of rules with vrf = this
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
  std::optional<FloatingIpSpec> exchange_floating_ip(uint32_t id, std::optional<FloatingIpSpec> spec);
  std::optional<SourceNatSpec> exchange_source_nat(uint32_t id, std::optional<SourceNatSpec> spec);
  std::optional<PolicySpec> exchange(PolicyId id, std::optional<PolicySpec> spec);

  void touch(VrfId vrf);   // flows of this VRF decide again (all, if others translate into it)
  void touch_all();
  uint32_t generation = 1; // set by program/apply.cc, one more per commit

  // --- workers ----------------------------------------------------------------------------------
  const RouterSpec& spec() const { return spec_; }
  Vif* vif(VifId id);                        // nullptr if not in use
  Vrf* vrf(VrfId id);
  const NextHop* next_hop(NextHopId id) const;  // nullptr if None; kDiscard always exists
  const NextHopObject* next_hop_object(NextHopId id) const;
  const Rewrite& rewrite(uint32_t index) const;
  const Route* route(VrfId vrf, Family family, const uint8_t* address);  // nullptr: no route
  const Route* route_by_id(uint32_t route_id) const;
  MacEntry* mac(VrfId vrf, const Mac& mac);
  NextHopId label(uint32_t label) const;     // invalid if unknown
  NextHopId vni(uint32_t vni) const;
  FloatingIp* floating_ip(uint32_t id);
  SourceNat* source_nat(uint32_t id);
  const PolicyTable* policy(PolicyId id) const;
  VifId vif_of_port(PortId port) const;      // invalid if none
  // The newest of what a flow of this VRF depends on; `any` for flows that cross VRFs.
  uint32_t generation_for(uint32_t vrf, bool any) const;

  // --- display, workers held ---------------------------------------------------------------------
  uint32_t vif_limit() const;                // ids in use are below these
  uint32_t vrf_limit() const;
  uint32_t next_hop_limit() const;
  uint32_t next_hop_references(NextHopId id) const;
  std::vector<uint32_t> labels() const;      // in order
  std::vector<uint32_t> vnis() const;
  std::vector<uint32_t> floating_ips() const;
  std::vector<uint32_t> source_nats() const;
  std::vector<uint32_t> policies() const;
  uint32_t route_count() const;
  uint32_t mac_count() const;

 private:
  struct Tables;                             // storage; router.cc
  RouterSpec spec_;
  std::unique_ptr<Tables> tables_;
};

}  // namespace vrouter
