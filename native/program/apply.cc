// A Program becomes the tables' new content, or nothing happens.
//
// Each op is one exchange(), which yields the op that undoes it. References are looked at after the
// last op, so the order of ops does not matter to them; every op is then held against the table as
// it stands, and one that a later op has replaced has nothing to answer for. If anything is wrong
// the undoing ops run backwards.
#include <algorithm>
#include <optional>
#include <unordered_map>

#include "program/program.h"

namespace vrouter {
namespace {

constexpr uint32_t kNone = ~0u;  // "no port", "no vif"

// --- one op --------------------------------------------------------------------------------------

template <class Delete, class Previous>
Op undo_of_set(const Previous& previous, Delete absent) {
  return previous ? Op{*previous} : Op{absent};
}

// An op that deletes what is not there yields monostate, and has changed nothing.
template <class Previous>
Op undo_of_delete(const Previous& previous) {
  return previous ? Op{*previous} : Op{};
}

struct Perform {
  Router& router;

  Op operator()(const std::monostate&) { return {}; }
  Op operator()(const RouterSpec& s) { return *router.exchange(s); }
  Op operator()(const VrfSpec& s) {
    return undo_of_set(router.exchange(VrfId{s.vrf}, s), VrfDelete{s.vrf});
  }
  Op operator()(const VrfDelete& s) {
    return undo_of_delete(router.exchange(VrfId{s.vrf}, std::nullopt));
  }
  Op operator()(const VifSpec& s) {
    return undo_of_set(router.exchange(VifId{s.vif}, s), VifDelete{s.vif});
  }
  Op operator()(const VifDelete& s) {
    return undo_of_delete(router.exchange(VifId{s.vif}, std::nullopt));
  }
  Op operator()(const NextHopDelete& s) {
    const auto previous = router.exchange(NextHopId{s.next_hop}, std::nullopt);
    return previous ? next_hop_op(*previous) : Op{};
  }
  Op operator()(const RouteSpec& s) {
    return undo_of_set(router.exchange(VrfId{s.vrf}, s.prefix, s), RouteDelete{s.vrf, s.prefix});
  }
  Op operator()(const RouteDelete& s) {
    return undo_of_delete(router.exchange(VrfId{s.vrf}, s.prefix, std::nullopt));
  }
  Op operator()(const MacSpec& s) {
    return undo_of_set(router.exchange(VrfId{s.vrf}, s.mac, s), MacDelete{s.vrf, s.mac});
  }
  Op operator()(const MacDelete& s) {
    return undo_of_delete(router.exchange(VrfId{s.vrf}, s.mac, std::nullopt));
  }
  Op operator()(const LabelSpec& s) {
    return undo_of_set(router.exchange_label(s.label, s), LabelDelete{s.label});
  }
  Op operator()(const LabelDelete& s) {
    return undo_of_delete(router.exchange_label(s.label, std::nullopt));
  }
  Op operator()(const VniSpec& s) {
    return undo_of_set(router.exchange_vni(s.vni, s), VniDelete{s.vni});
  }
  Op operator()(const VniDelete& s) {
    return undo_of_delete(router.exchange_vni(s.vni, std::nullopt));
  }
  Op operator()(const FloatingIpSpec& s) {
    return undo_of_set(router.exchange_floating_ip(s.floating_ip, s),
                       FloatingIpDelete{s.floating_ip});
  }
  Op operator()(const FloatingIpDelete& s) {
    return undo_of_delete(router.exchange_floating_ip(s.floating_ip, std::nullopt));
  }
  Op operator()(const SourceNatSpec& s) {
    return undo_of_set(router.exchange_source_nat(s.source_nat, s), SourceNatDelete{s.source_nat});
  }
  Op operator()(const SourceNatDelete& s) {
    return undo_of_delete(router.exchange_source_nat(s.source_nat, std::nullopt));
  }
  Op operator()(const PolicySpec& s) {
    return undo_of_set(router.exchange(PolicyId{s.policy}, s), PolicyDelete{s.policy});
  }
  Op operator()(const PolicyDelete& s) {
    return undo_of_delete(router.exchange(PolicyId{s.policy}, std::nullopt));
  }
  Op operator()(const FlowFlush& s) { return s; }  // the tables know nothing of it
  template <class NextHopSpec>
  Op operator()(const NextHopSpec& s) {
    const auto previous = router.exchange(NextHopId{s.next_hop}, next_hop_object(Op{s}));
    return previous ? next_hop_op(*previous) : Op{NextHopDelete{s.next_hop}};
  }
};

// Tables without a slot for every id: is there room for one more?
Status room(const Router& router, const Op& op) {
  if (const auto* route = std::get_if<RouteSpec>(&op)) {
    if (router.route_count() < kMaxRoutes ||
        router.route_at(VrfId{route->vrf}, route->prefix) != nullptr) {
      return Status::done();
    }
    return Status::fail(StatusCode::TableFull, "prefix");
  }
  if (const auto* mac = std::get_if<MacSpec>(&op)) {
    if (router.mac_count() < kMaxMacs || router.mac(VrfId{mac->vrf}, mac->mac) != nullptr) {
      return Status::done();
    }
    return Status::fail(StatusCode::TableFull, "mac");
  }
  return Status::done();
}

// --- what sets refer to --------------------------------------------------------------------------

class References {
 public:
  References(const Router& router, bool (*port_exists)(void*, PortId), void* port_context)
      : router_(router), port_exists_(port_exists), port_context_(port_context) {}

  Status check(const Op& op) {
    status_ = Status::done();
    std::visit([&](const auto& spec) { look(spec); }, op);
    return status_;
  }

 private:
  void fail(StatusCode code, const char* field) {
    if (status_.ok()) status_ = Status::fail(code, field);
  }
  void vrf(uint32_t id, const char* field = "vrf") {
    if (router_.vrf(VrfId{id}) == nullptr) fail(StatusCode::DanglingVrf, field);
  }
  void vif(uint32_t id) {
    if (router_.vif(VifId{id}) == nullptr) fail(StatusCode::DanglingVif, "vif");
  }
  void next_hop(uint32_t id) {
    if (router_.next_hop(NextHopId{id}) == nullptr) fail(StatusCode::DanglingNextHop, "next_hop");
  }
  void policies(const std::vector<PolicyRef>& refs, const char* field) {
    for (const PolicyRef& ref : refs) {
      if (router_.policy(PolicyId{ref.policy}) == nullptr) fail(StatusCode::DanglingPolicy, field);
    }
  }
  // To send through a tunnel with MPLS takes 20 bits; only a VNI may have more.
  void sent_label(uint32_t next_hop, uint32_t label) {
    const NextHop* n = router_.next_hop(NextHopId{next_hop});
    if (n != nullptr && n->kind == NextHopKind::Tunnel && n->encap != Encap::Vxlan &&
        label > kMaxLabel) {
      fail(StatusCode::BadValue, "label");
    }
  }
  void target(uint32_t id, uint32_t label) {
    next_hop(id);
    sent_label(id, label);
  }

  void look(const VifSpec& s) {
    const Vif* current = router_.vif(VifId{s.vif});
    if (current == nullptr || current->spec != s) return;
    vrf(s.vrf);
    next_hop(s.next_hop);
    policies(s.network_policies, "network_policies");
    policies(s.ingress_groups, "ingress_groups");
    policies(s.egress_groups, "egress_groups");
    if (s.port == kNone) return;
    const PortId port{s.port};
    if (port_exists_ != nullptr && !port_exists_(port_context_, port)) {
      fail(StatusCode::DanglingPort, "port");
    }
    if (router_.port_bindings(port) > 1) fail(StatusCode::Conflict, "port");
  }

  // False if the next hop is no longer what this op made of it.
  template <class Spec>
  bool stands(const Spec& s) const {
    const NextHopObject* object = router_.next_hop_object(NextHopId{s.next_hop});
    return object != nullptr && *object == next_hop_object(Op{s});
  }

  void look(const ReceiveSpec& s) {
    if (!stands(s)) return;
    vrf(s.vrf);
    if (s.vif != kNone) vif(s.vif);
  }
  void look(const L2ReceiveSpec& s) {
    if (stands(s)) vrf(s.vrf);
  }
  void look(const VrfTranslateSpec& s) {
    if (stands(s)) vrf(s.vrf);
  }
  void look(const InterfaceSpec& s) {
    if (!stands(s)) return;
    vrf(s.vrf);
    vif(s.vif);
  }
  void look(const TunnelSpec& s) {
    if (!stands(s)) return;
    vrf(s.vrf);
    vif(s.vif);
    for (const TunnelLeg& leg : s.more_legs) vif(leg.vif);
  }
  void look(const EcmpSpec& s) {
    if (!stands(s)) return;
    vrf(s.vrf);
    for (const EcmpMember& m : s.members) target(m.next_hop, m.label);
  }
  void look(const ReplicateSpec& s) {
    if (!stands(s)) return;
    vrf(s.vrf);
    for (const Replica& r : s.replicas) target(r.next_hop, r.label);
  }

  void look(const RouteSpec& s) {
    const Route* r = router_.route_at(VrfId{s.vrf}, s.prefix);
    if (r == nullptr || r->next_hop.value != s.next_hop || r->label != s.label) return;
    vrf(s.vrf);
    target(s.next_hop, s.label);
  }
  void look(const MacSpec& s) {
    const MacEntry* m = router_.mac(VrfId{s.vrf}, s.mac);
    if (m == nullptr || m->next_hop.value != s.next_hop || m->label != s.label) return;
    vrf(s.vrf);
    target(s.next_hop, s.label);
  }
  void look(const LabelSpec& s) {
    if (router_.label(s.label).value == s.next_hop) next_hop(s.next_hop);
  }
  void look(const VniSpec& s) {
    if (router_.vni(s.vni).value == s.next_hop) next_hop(s.next_hop);
  }

  void look(const FloatingIpSpec& s) {
    const FloatingIp* current = router_.floating_ip(s.floating_ip);
    if (current == nullptr || current->spec != s) return;
    vrf(s.vrf);
    vif(s.vif);
    if (!status_.ok()) return;
    const std::vector<uint32_t>& siblings = router_.vif(VifId{s.vif})->floating_ips;
    if (siblings.size() > kMaxFloatingIpsPerVif) return fail(StatusCode::TableFull, "floating_ip");
    for (uint32_t id : siblings) {
      const FloatingIpSpec& other = router_.floating_ip(id)->spec;
      if (id != s.floating_ip && other.vrf == s.vrf && other.address == s.address) {
        return fail(StatusCode::Conflict, "address");
      }
    }
  }
  void look(const SourceNatSpec& s) {
    const SourceNat* current = router_.source_nat(s.source_nat);
    if (current == nullptr || current->spec != s) return;
    vrf(s.vrf);
    vrf(s.to_vrf, "to_vrf");
  }

  template <class NoReference>
  void look(const NoReference&) {}

  const Router& router_;
  bool (*port_exists_)(void*, PortId);
  void* port_context_;
  Status status_;
};

// --- what deletes leave behind -------------------------------------------------------------------

Status check_unused(const Router& router, const Op& op) {
  const auto in_use = [](uint32_t references, const char* field) {
    return references > 0 ? Status::fail(StatusCode::InUse, field) : Status::done();
  };
  if (const auto* s = std::get_if<VrfDelete>(&op)) {
    const VrfId id{s->vrf};
    if (router.vrf(id) == nullptr) return in_use(router.vrf_references(id), "vrf");
  } else if (const auto* s = std::get_if<VifDelete>(&op)) {
    const VifId id{s->vif};
    if (router.vif(id) == nullptr) return in_use(router.vif_references(id), "vif");
  } else if (const auto* s = std::get_if<NextHopDelete>(&op)) {
    const NextHopId id{s->next_hop};
    if (router.next_hop(id) == nullptr) return in_use(router.next_hop_references(id), "next_hop");
  } else if (const auto* s = std::get_if<PolicyDelete>(&op)) {
    const PolicyId id{s->policy};
    if (router.policy(id) == nullptr) return in_use(router.policy_references(id), "policy");
  }
  return Status::done();
}

// --- composites in composites --------------------------------------------------------------------

// How deep composites nest below a next hop: 0 if it is none itself. Asked as "at most so deep?", a
// circle needs no care: no number is enough for it, and the way down ends with the question's.
class Nesting {
 public:
  explicit Nesting(const Router& router) : router_(router) {}

  bool at_most(uint32_t id, uint32_t levels) {
    const NextHop* n = router_.next_hop(NextHopId{id});
    if (n == nullptr || (n->ecmp == nullptr && n->replicas == nullptr)) return true;
    if (levels == 0) return false;
    const Known known = known_[id];
    if (levels >= known.enough) return true;
    if (levels <= known.too_few) return false;
    const bool answer = !member_deeper_than(*n, levels - 1).has_value();
    if (answer) {
      known_[id].enough = levels;
    } else {
      known_[id].too_few = levels;
    }
    return answer;
  }

  // Calls f for each composite on a way down that makes this one deeper than kMaxNextHopDepth.
  template <class F>
  void too_deep_way(uint32_t id, F f) {
    for (uint32_t levels = kMaxNextHopDepth;; --levels) {
      f(id);
      if (levels == 0) return;
      const auto member = member_deeper_than(*router_.next_hop(NextHopId{id}), levels - 1);
      if (!member) return;
      id = *member;
    }
  }

 private:
  struct Known {
    uint32_t enough = kMaxNextHopDepth + 1;
    uint32_t too_few = 0;
  };

  std::optional<uint32_t> member_deeper_than(const NextHop& n, uint32_t levels) {
    if (n.ecmp != nullptr) {
      for (const EcmpMember& m : n.ecmp->members) {
        if (!at_most(m.next_hop, levels)) return m.next_hop;
      }
    } else if (n.replicas != nullptr) {
      for (const Replica& r : n.replicas->replicas) {
        if (!at_most(r.next_hop, levels)) return r.next_hop;
      }
    }
    return std::nullopt;
  }

  const Router& router_;
  std::unordered_map<uint32_t, Known> known_;
};

// A circle or a nesting too deep goes through a composite that this Program has set. Down from it
// is quick; up from it means looking at all composites, and only if it is a member of any.
Status check_nesting(const Router& router, const std::vector<Op>& ops) {
  Nesting nesting(router);
  std::unordered_map<uint32_t, uint32_t> set_by;  // next hop -> the last op that set it
  bool upwards = false;
  for (uint32_t i = 0; i < ops.size(); ++i) {
    const auto* ecmp = std::get_if<EcmpSpec>(&ops[i]);
    const auto* replicate = std::get_if<ReplicateSpec>(&ops[i]);
    if (ecmp == nullptr && replicate == nullptr) continue;
    const uint32_t id = ecmp != nullptr ? ecmp->next_hop : replicate->next_hop;
    set_by[id] = i;
    if (!nesting.at_most(id, kMaxNextHopDepth)) {
      return Status::fail(StatusCode::LoopingNextHop, "next_hop").at(i);
    }
    upwards = upwards || router.in_composite(NextHopId{id});
  }
  if (!upwards) return Status::done();
  const uint32_t limit = router.next_hop_limit();
  for (uint32_t id = router.next_next_hop(0); id < limit; id = router.next_next_hop(id + 1)) {
    if (nesting.at_most(id, kMaxNextHopDepth)) continue;
    uint32_t blamed = kNoOp;
    nesting.too_deep_way(id, [&](uint32_t on_way) {
      const auto op = set_by.find(on_way);
      if (op != set_by.end()) blamed = std::min(blamed, op->second);
    });
    return Status::fail(StatusCode::LoopingNextHop, "next_hop").at(blamed);
  }
  return Status::done();
}

// --- all of it -----------------------------------------------------------------------------------

Status check_result(const std::vector<Op>& ops, const Router& router, References& references) {
  for (uint32_t i = 0; i < ops.size(); ++i) {
    const Status status = references.check(ops[i]);
    if (!status.ok()) return status.at(i);
  }
  for (uint32_t i = 0; i < ops.size(); ++i) {
    const Status status = check_unused(router, ops[i]);
    if (!status.ok()) return status.at(i);
  }
  return check_nesting(router, ops);
}

Status perform_all(const std::vector<Op>& ops, Router& router, std::vector<Op>& undo) {
  undo.reserve(ops.size());
  for (uint32_t i = 0; i < ops.size(); ++i) {
    const Status status = room(router, ops[i]);
    if (!status.ok()) return status.at(i);
    Op inverse = std::visit(Perform{router}, ops[i]);
    if (std::holds_alternative<std::monostate>(inverse)) {
      return Status::fail(StatusCode::NotFound).at(i);
    }
    undo.push_back(std::move(inverse));
  }
  return Status::done();
}

}  // namespace

ApplyResult apply(const std::vector<Op>& ops, Router& router,
                  bool (*port_exists)(void* context, PortId port), void* port_context) {
  ApplyResult result;
  result.generation = router.generation;
  if (ops.size() > kMaxProgramOps) {
    result.status = Status::fail(StatusCode::TooManyOps, "count");
    return result;
  }
  for (uint32_t i = 0; i < ops.size(); ++i) {
    const Status status = validate(ops[i]);
    if (!status.ok()) {
      result.status = status.at(i);
      return result;
    }
  }

  router.begin_program();
  std::vector<Op> undo;
  Status status = perform_all(ops, router, undo);
  if (status.ok()) {
    References references(router, port_exists, port_context);
    status = check_result(ops, router, references);
  }
  if (!status.ok()) {
    router.begin_undo();
    for (size_t i = undo.size(); i > 0; --i) std::visit(Perform{router}, undo[i - 1]);
  }
  router.end_program();

  result.status = status;
  result.generation = router.generation;
  if (status.ok()) {
    for (const Op& op : ops) {
      const auto* flush = std::get_if<FlowFlush>(&op);
      if (flush != nullptr) result.flushed_vrfs.push_back(flush->vrf);
    }
  }
  return result;
}

}  // namespace vrouter
