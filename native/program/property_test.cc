// Random Programs against a naive model: tables as plain maps, references found by looking at
// everything. After every Program: the same verdict; the same dump, byte for byte; every derived
// form (counts, MTUs, rewrites, maps) as worked out from scratch; and flows marked for a new
// decision wherever what they would meet is not what it was.
#include <gtest/gtest.h>

#include <map>
#include <random>
#include <set>
#include <tuple>

#include "program/arbitrary_op.h"

namespace vrouter {
namespace {

struct Random {
  std::mt19937 engine;
  uint32_t below(uint32_t n) { return static_cast<uint32_t>(engine() % n); }
};
using Arbitrary = ArbitraryOp<Random>;

bool port_exists(void*, PortId port) { return port.value < Arbitrary::kPorts; }

using RouteKey = std::tuple<uint32_t, Family, std::array<uint8_t, 16>, uint8_t>;
using MacKey = std::pair<uint32_t, std::array<uint8_t, 6>>;

RouteKey key_of(uint32_t vrf, const Prefix& p) {
  return {vrf, p.address.family, p.address.bytes, p.length};
}

struct Model {
  RouterSpec router;
  std::map<uint32_t, VrfSpec> vrfs;
  std::map<uint32_t, VifSpec> vifs;
  std::map<uint32_t, NextHopObject> next_hops;
  std::map<RouteKey, RouteSpec> routes;
  std::map<MacKey, MacSpec> macs;
  std::map<uint32_t, LabelSpec> labels;
  std::map<uint32_t, VniSpec> vnis;
  std::map<uint32_t, FloatingIpSpec> floating_ips;
  std::map<uint32_t, SourceNatSpec> source_nats;
  std::map<uint32_t, PolicySpec> policies;

  // False: nothing to delete.
  bool perform(const Op& op) {
    return std::visit([&](const auto& s) { return one(s); }, op);
  }

  bool one(const std::monostate&) { return false; }
  bool one(const RouterSpec& s) { return router = s, true; }
  bool one(const VrfSpec& s) { return vrfs[s.vrf] = s, true; }
  bool one(const VrfDelete& s) { return vrfs.erase(s.vrf) == 1; }
  bool one(const VifSpec& s) { return vifs[s.vif] = s, true; }
  bool one(const VifDelete& s) { return vifs.erase(s.vif) == 1; }
  bool one(const NextHopDelete& s) { return next_hops.erase(s.next_hop) == 1; }
  bool one(const RouteSpec& s) { return routes[key_of(s.vrf, s.prefix)] = s, true; }
  bool one(const RouteDelete& s) { return routes.erase(key_of(s.vrf, s.prefix)) == 1; }
  bool one(const MacSpec& s) { return macs[{s.vrf, s.mac.bytes}] = s, true; }
  bool one(const MacDelete& s) { return macs.erase({s.vrf, s.mac.bytes}) == 1; }
  bool one(const LabelSpec& s) { return labels[s.label] = s, true; }
  bool one(const LabelDelete& s) { return labels.erase(s.label) == 1; }
  bool one(const VniSpec& s) { return vnis[s.vni] = s, true; }
  bool one(const VniDelete& s) { return vnis.erase(s.vni) == 1; }
  bool one(const FloatingIpSpec& s) { return floating_ips[s.floating_ip] = s, true; }
  bool one(const FloatingIpDelete& s) { return floating_ips.erase(s.floating_ip) == 1; }
  bool one(const SourceNatSpec& s) { return source_nats[s.source_nat] = s, true; }
  bool one(const SourceNatDelete& s) { return source_nats.erase(s.source_nat) == 1; }
  bool one(const PolicySpec& s) { return policies[s.policy] = s, true; }
  bool one(const PolicyDelete& s) { return policies.erase(s.policy) == 1; }
  bool one(const FlowFlush&) { return true; }
  template <class Spec>
  bool one(const Spec& s) {
    if (s.next_hop != 0) next_hops[s.next_hop] = next_hop_object(Op{s});
    return true;
  }

  // Everything that is referred to, once for each reference.
  struct Wanted {
    std::map<uint32_t, uint32_t> vrfs, vifs, next_hops, policies, members;
  };
  Wanted wanted() const {
    Wanted w;
    for (const auto& [id, s] : vifs) {
      ++w.vrfs[s.vrf];
      ++w.next_hops[s.next_hop];
      for (const auto* list : {&s.network_policies, &s.ingress_groups, &s.egress_groups}) {
        for (const PolicyRef& r : *list) ++w.policies[r.policy];
      }
    }
    for (const auto& [id, o] : next_hops) {
      switch (o.kind) {
        case NextHopKind::None:
        case NextHopKind::Discard:
          break;
        case NextHopKind::Receive:
          ++w.vrfs[o.receive.vrf];
          if (o.receive.vif != ~0u) ++w.vifs[o.receive.vif];
          break;
        case NextHopKind::L2Receive:
          ++w.vrfs[o.l2_receive.vrf];
          break;
        case NextHopKind::Interface:
          ++w.vrfs[o.interface.vrf];
          ++w.vifs[o.interface.vif];
          break;
        case NextHopKind::Tunnel:
          ++w.vrfs[o.tunnel.vrf];
          ++w.vifs[o.tunnel.vif];
          for (const TunnelLeg& leg : o.tunnel.more_legs) ++w.vifs[leg.vif];
          break;
        case NextHopKind::Ecmp:
          ++w.vrfs[o.ecmp.vrf];
          break;
        case NextHopKind::Replicate:
          ++w.vrfs[o.replicate.vrf];
          break;
        case NextHopKind::VrfTranslate:
          ++w.vrfs[o.vrf_translate.vrf];
          break;
      }
      for (uint32_t m : members(o)) ++w.members[m];
    }
    for (const auto& [id, n] : w.members) w.next_hops[id] += n;
    for (const auto& [key, s] : routes) {
      ++w.vrfs[s.vrf];
      ++w.next_hops[s.next_hop];
    }
    for (const auto& [key, s] : macs) {
      ++w.vrfs[s.vrf];
      ++w.next_hops[s.next_hop];
    }
    for (const auto& [id, s] : labels) ++w.next_hops[s.next_hop];
    for (const auto& [id, s] : vnis) ++w.next_hops[s.next_hop];
    for (const auto& [id, s] : floating_ips) {
      ++w.vifs[s.vif];
      ++w.vrfs[s.vrf];
    }
    for (const auto& [id, s] : source_nats) {
      ++w.vrfs[s.vrf];
      ++w.vrfs[s.to_vrf];
    }
    return w;
  }

  static std::vector<uint32_t> members(const NextHopObject& o) {
    std::vector<uint32_t> out;
    if (o.kind == NextHopKind::Ecmp) {
      for (const EcmpMember& m : o.ecmp.members) out.push_back(m.next_hop);
    } else if (o.kind == NextHopKind::Replicate) {
      for (const Replica& r : o.replicate.replicas) out.push_back(r.next_hop);
    }
    return out;
  }

  // Composites one below the other; stops counting where it is too much anyway.
  uint32_t depth(uint32_t id, uint32_t above = 0) const {
    const auto it = next_hops.find(id);
    if (it == next_hops.end() || above > kMaxNextHopDepth) return 0;
    const bool composite =
        it->second.kind == NextHopKind::Ecmp || it->second.kind == NextHopKind::Replicate;
    if (!composite) return 0;
    uint32_t deepest = 0;
    for (uint32_t m : members(it->second)) deepest = std::max(deepest, depth(m, above + 1));
    return deepest + 1;
  }

  bool consistent() const {
    const Wanted w = wanted();
    for (const auto& [id, n] : w.vrfs)
      if (!vrfs.contains(id)) return false;
    for (const auto& [id, n] : w.vifs)
      if (!vifs.contains(id)) return false;
    for (const auto& [id, n] : w.policies)
      if (!policies.contains(id)) return false;
    for (const auto& [id, n] : w.next_hops)
      if (id != 0 && !next_hops.contains(id)) return false;
    std::set<uint32_t> ports;
    for (const auto& [id, s] : vifs) {
      if (s.port == ~0u) continue;
      if (!port_exists(nullptr, PortId{s.port}) || !ports.insert(s.port).second) return false;
    }
    std::set<std::tuple<uint32_t, uint32_t, Family, std::array<uint8_t, 16>>> floating;
    for (const auto& [id, s] : floating_ips) {
      if (!floating.insert({s.vif, s.vrf, s.address.family, s.address.bytes}).second) return false;
    }
    for (const auto& [id, o] : next_hops)
      if (depth(id) > kMaxNextHopDepth) return false;
    return true;
  }

  bool apply(const std::vector<Op>& ops) {
    Model after = *this;
    for (const Op& op : ops)
      if (!validate(op).ok()) return false;
    for (const Op& op : ops)
      if (!after.perform(op)) return false;
    if (!after.consistent()) return false;
    *this = std::move(after);
    return true;
  }

  std::vector<uint8_t> dump() const {
    std::vector<uint8_t> out;
    encode(router, out);
    for (const auto& [id, s] : vrfs) encode(s, out);
    for (const auto& [id, s] : vifs) encode(s, out);
    for (const auto& [id, o] : next_hops) encode(next_hop_op(o), out);
    for (const auto& [key, s] : routes) encode(s, out);
    for (const auto& [key, s] : macs) encode(s, out);
    for (const auto& [id, s] : labels) encode(s, out);
    for (const auto& [id, s] : vnis) encode(s, out);
    for (const auto& [id, s] : floating_ips) encode(s, out);
    for (const auto& [id, s] : source_nats) encode(s, out);
    for (const auto& [id, s] : policies) encode(s, out);
    return out;
  }

  // What a packet to this address in this VRF meets, spelled out in bytes. `crosses` is set when it
  // goes through more than one VRF.
  void meet_next_hop(uint32_t id, uint32_t lookups, const Address& to, std::vector<uint8_t>& out,
                     bool& crosses) const {
    if (out.size() > 1000) return;  // composites of translations branch without end
    const auto it = next_hops.find(id);
    if (it == next_hops.end()) return out.push_back(0);
    const NextHopObject& o = it->second;
    encode(next_hop_op(o), out);
    for (uint32_t m : members(o)) meet_next_hop(m, lookups, to, out, crosses);
    const uint32_t vif = o.kind == NextHopKind::Interface ? o.interface.vif
                         : o.kind == NextHopKind::Tunnel  ? o.tunnel.vif
                         : o.kind == NextHopKind::Receive ? o.receive.vif
                                                          : ~0u;
    if (vifs.contains(vif)) {
      const VifSpec& s = vifs.at(vif);
      encode(s, out);
      for (const auto* list : {&s.network_policies, &s.ingress_groups, &s.egress_groups}) {
        for (const PolicyRef& r : *list) encode(policies.at(r.policy), out);
      }
      for (const auto& [fid, f] : floating_ips)
        if (f.vif == vif) encode(f, out);
    }
    if (o.kind == NextHopKind::VrfTranslate && lookups < kMaxLookups) {
      crosses = true;
      meet(o.vrf_translate.vrf, to, lookups + 1, out, crosses);
    }
  }
  const RouteSpec* lookup(uint32_t vrf, const Address& to) const {
    const RouteSpec* best = nullptr;
    for (const auto& [key, s] : routes) {
      if (s.vrf == vrf && s.prefix.contains(to) &&
          (best == nullptr || s.prefix.length > best->prefix.length)) {
        best = &s;
      }
    }
    return best;
  }
  void meet(uint32_t vrf, const Address& to, uint32_t lookups, std::vector<uint8_t>& out,
            bool& crosses) const {
    const RouteSpec* route = lookup(vrf, to);
    if (route == nullptr) return out.push_back(1);
    encode(*route, out);
    meet_next_hop(route->next_hop, lookups, to, out, crosses);
  }
};

constexpr uint32_t kTables = static_cast<uint32_t>(DumpTable::kCount);

std::vector<uint8_t> dump_all(Router& router, size_t limit) {
  std::vector<uint8_t> out;
  for (uint32_t table = 0; table < kTables; ++table) {
    std::string cursor;
    do {
      EXPECT_TRUE(
          dump(router, static_cast<DumpTable>(table), VrfId{}, cursor, out.size() + limit, out)
              .ok());
    } while (!cursor.empty());
  }
  return out;
}

template <class Count>
void expect_counts(const std::map<uint32_t, uint32_t>& wanted, uint32_t limit, Count count) {
  for (uint32_t id = 0; id < limit; ++id) {
    const auto it = wanted.find(id);
    ASSERT_EQ(count(id), it == wanted.end() ? 0 : it->second) << "id " << id;
  }
}

std::vector<Address> probes() {
  std::vector<Address> out;
  for (uint8_t i = 0; i < 5; ++i) {
    const uint8_t v4[4] = {10, 0, 0, i};
    const uint8_t v6[16] = {0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, i};
    out.push_back(Address::from_bytes(Family::V4, v4));
    out.push_back(Address::from_bytes(Family::V6, v6));
  }
  return out;
}

void expect_derived(const Model& model, Router& router) {
  const Model::Wanted w = model.wanted();
  expect_counts(w.vrfs, Arbitrary::kVrfs,
                [&](uint32_t id) { return router.vrf_references(VrfId{id}); });
  expect_counts(w.vifs, Arbitrary::kVifs,
                [&](uint32_t id) { return router.vif_references(VifId{id}); });
  expect_counts(w.next_hops, Arbitrary::kNextHops,
                [&](uint32_t id) { return router.next_hop_references(NextHopId{id}); });
  expect_counts(w.policies, Arbitrary::kPolicies,
                [&](uint32_t id) { return router.policy_references(PolicyId{id}); });

  std::set<std::vector<uint8_t>> rewrites;
  const auto note = [&](const Rewrite& r) {
    const auto* p = reinterpret_cast<const uint8_t*>(&r);
    rewrites.insert({p, p + sizeof r});
  };
  note(build_bare());
  for (const auto& [id, o] : model.next_hops) {
    const NextHop* n = router.next_hop(NextHopId{id});
    ASSERT_NE(n, nullptr);
    ASSERT_EQ(n->kind, o.kind);
    ASSERT_EQ(scope_next_hop(n->scope), NextHopId{id});
    ASSERT_EQ(router.in_composite(NextHopId{id}), w.members.contains(id));
    if (o.kind == NextHopKind::Interface) {
      const Rewrite expected = build_interface(o.interface);
      ASSERT_EQ(router.rewrite(n->rewrite), expected);
      ASSERT_EQ(n->rewrite_l2, 0u);
      ASSERT_EQ(n->mtu, model.vifs.at(o.interface.vif).mtu);
      note(expected);
    } else if (o.kind == NextHopKind::Tunnel) {
      TunnelSpec one = o.tunnel;
      uint32_t mtu = ~0u;
      const bool set = !one.more_legs.empty() || one.legs_down != 0;
      ASSERT_EQ(n->legs != nullptr, set);
      ASSERT_EQ(n->vif.valid(), !set);
      for (uint32_t i = 0; i <= o.tunnel.more_legs.size(); ++i) {
        if (i > 0) {
          const TunnelLeg& leg = o.tunnel.more_legs[i - 1];
          one.vif = leg.vif;
          one.destination_mac = leg.destination_mac;
          one.source_mac = leg.source_mac;
        }
        const NextHop& way = set ? n->legs->legs[i] : *n;
        const Rewrite routed = build_tunnel(one, Payload::Routed);
        const Rewrite bridged = build_tunnel(one, Payload::Bridged);
        ASSERT_EQ(way.vif.value, one.vif);
        ASSERT_EQ(router.rewrite(way.rewrite), routed);
        ASSERT_EQ(router.rewrite(way.rewrite_l2), bridged);
        mtu = std::min(mtu, model.vifs.at(one.vif).mtu - tunnel_overhead(routed));
        note(routed);
        note(bridged);
      }
      ASSERT_EQ(n->mtu, mtu);
    } else if (o.kind == NextHopKind::Ecmp) {
      ASSERT_EQ(n->ecmp->members, o.ecmp.members);
      std::set<uint16_t> weights;
      for (const EcmpMember& m : o.ecmp.members)
        if (m.weight != 0) weights.insert(m.weight);
      ASSERT_EQ(n->ecmp->equal_weights, weights.size() <= 1);
      ASSERT_NE(n->hash_fields, 0);
    } else if (o.kind == NextHopKind::Replicate) {
      ASSERT_EQ(n->replicas->replicas, o.replicate.replicas);
    }
  }
  ASSERT_EQ(router.rewrite_count(), rewrites.size());
  ASSERT_EQ(router.route_count(), model.routes.size());
  ASSERT_EQ(router.mac_count(), model.macs.size());

  for (uint32_t port = 0; port < Arbitrary::kPorts; ++port) {
    VifId bound;
    for (const auto& [id, s] : model.vifs)
      if (s.port == port) bound = VifId{id};
    ASSERT_EQ(router.vif_of_port(PortId{port}), bound);
    ASSERT_EQ(router.port_bindings(PortId{port}), bound.valid() ? 1u : 0u);
  }
  for (const auto& [id, s] : model.vifs) {
    std::vector<uint32_t> ids;
    for (const auto& [fid, f] : model.floating_ips)
      if (f.vif == id) ids.push_back(fid);
    ASSERT_EQ(router.vif(VifId{id})->floating_ips, ids);
  }
  ASSERT_EQ(router.vrf_limit(), model.vrfs.empty() ? 0 : model.vrfs.rbegin()->first + 1);
  for (const auto& [id, s] : model.vrfs) {
    const Vrf& vrf = *router.vrf(VrfId{id});
    std::vector<uint32_t> ids;
    for (const auto& [nid, nat] : model.source_nats)
      if (nat.vrf == id) ids.push_back(nid);
    ASSERT_EQ(vrf.source_nats, ids);
    bool target = false;
    for (const auto& [hid, o] : model.next_hops) {
      target = target || (o.kind == NextHopKind::VrfTranslate && o.vrf_translate.vrf == id);
    }
    ASSERT_EQ(vrf.translation_target, target);
    for (const Address& to : probes()) {
      const RouteSpec* expected = model.lookup(id, to);
      const Route* route = router.route(VrfId{id}, to.family, to.bytes.data());
      ASSERT_EQ(route != nullptr, expected != nullptr) << to.text();
      if (route == nullptr) continue;
      ASSERT_EQ(route->next_hop.value, expected->next_hop);
      ASSERT_EQ(route->label, expected->label);
      ASSERT_EQ(route->length, expected->prefix.length);
    }
  }
}

struct Generations {
  uint32_t router;
  std::vector<uint32_t> of_vrf;
  std::map<uint32_t, uint32_t> scopes;
  bool operator==(const Generations&) const = default;
};
Generations generations(const Router& router) {
  Generations g;
  g.router = router.generation;
  for (uint32_t vrf = 0; vrf < Arbitrary::kVrfs; ++vrf) {
    for (bool any : {false, true}) g.of_vrf.push_back(router.generation_for(vrf, any));
  }
  for (uint32_t id = 0; id < Arbitrary::kNextHops; ++id) {
    const NextHop* n = router.next_hop(NextHopId{id});
    if (n != nullptr) g.scopes[id] = n->scope;
  }
  return g;
}

// A next hop that was there before and is there now is the same to flows unless it was deleted.
void expect_scopes(const Generations& before, const Generations& now, const std::vector<Op>& ops) {
  std::set<uint32_t> deleted;
  for (const Op& op : ops) {
    if (const auto* s = std::get_if<NextHopDelete>(&op)) deleted.insert(s->next_hop);
  }
  for (const auto& [id, scope] : before.scopes) {
    const auto it = now.scopes.find(id);
    if (it == now.scopes.end()) continue;
    ASSERT_EQ(it->second == scope, !deleted.contains(id)) << "next hop " << id;
  }
}

void expect_touched(const Model& before, const Model& now, const Router& router, Random& random) {
  const std::vector<Address> addresses = probes();
  for (const auto& [vrf, spec] : before.vrfs) {
    for (uint32_t n = 0; n < 3; ++n) {
      const Address& to = addresses[random.below(static_cast<uint32_t>(addresses.size()))];
      std::vector<uint8_t> then_met, now_met;
      bool crossed = false, crosses = false;
      before.meet(vrf, to, 1, then_met, crossed);
      now.meet(vrf, to, 1, now_met, crosses);
      if (then_met == now_met) continue;
      ASSERT_EQ(router.generation_for(vrf, crossed), router.generation)
          << "vrf " << vrf << " to " << to.text();
    }
  }
}

class Programs : public testing::TestWithParam<uint32_t> {};

TEST_P(Programs, MatchTheModel) {
  Random random{std::mt19937(GetParam())};
  Arbitrary arbitrary(random);
  Router router;
  Model model;
  uint32_t committed = 0;
  for (uint32_t round = 0; round < 600; ++round) {
    // Small Programs mostly pass, large ones mostly do not; the first ones lay a ground.
    std::vector<Op> ops;
    if (round == 0) {
      for (uint32_t vrf = 0; vrf < Arbitrary::kVrfs; ++vrf) ops.push_back(VrfSpec{vrf, "v", 0});
      for (uint32_t vif = 0; vif < Arbitrary::kVifs; ++vif) {
        VifSpec s;
        s.vif = vif;
        s.type = 3;
        s.port = ~0u;
        s.mtu = 1500;
        ops.push_back(s);
      }
    } else {
      for (uint32_t n = 1 + random.below(random.below(4) == 0 ? 12 : 3); n > 0; --n) {
        ops.push_back(arbitrary.next());
      }
    }
    const std::vector<uint8_t> dump_before = dump_all(router, 1 << 20);
    const Generations before = generations(router);
    const Model model_before = model;

    // The way a Program takes for real: through bytes.
    std::vector<Op> decoded;
    const Status status = decode(encode_program(ops), decoded);
    ASSERT_TRUE(status.ok()) << status_code(status.code) << " " << status.field;
    ASSERT_EQ(decoded, ops);

    const bool expected = model.apply(ops);
    const ApplyResult result = apply(decoded, router, port_exists, nullptr);
    ASSERT_EQ(result.status.ok(), expected)
        << "round " << round << ": " << status_code(result.status.code) << " op "
        << result.status.op_index << " " << result.status.field;
    ASSERT_EQ(result.generation, router.generation);
    if (expected) {
      ++committed;
      ASSERT_EQ(router.generation, before.router + 1);
      ASSERT_EQ(dump_all(router, 1 + random.below(300)), model.dump()) << "round " << round;
      expect_scopes(before, generations(router), ops);
      expect_touched(model_before, model, router, random);
    } else {
      ASSERT_LT(result.status.op_index, ops.size());
      ASSERT_EQ(dump_all(router, 1 << 20), dump_before);
      ASSERT_EQ(generations(router), before);
    }
    expect_derived(model, router);
    if (HasFatalFailure()) FAIL() << "round " << round;
  }
  EXPECT_GT(committed, 100u);
  EXPECT_LT(committed, 550u);

  // A dump is a Program: in another router it makes the same tables.
  std::vector<uint8_t> bytes = encode_program({});
  const std::vector<uint8_t> body = dump_all(router, 1 << 20);
  uint32_t count = 0;
  for (size_t at = 0; at < body.size(); ++count) at += 8 + (body[at + 4] | body[at + 5] << 8);
  bytes[4] = static_cast<uint8_t>(count);
  bytes.insert(bytes.end(), body.begin(), body.end());
  std::vector<Op> ops;
  ASSERT_TRUE(decode(bytes, ops).ok());
  Router other;
  ASSERT_TRUE(apply(ops, other, port_exists, nullptr).status.ok());
  ASSERT_EQ(dump_all(other, 1 << 20), body);
  expect_derived(model, other);
}

INSTANTIATE_TEST_SUITE_P(Seeds, Programs, testing::Range(1u, 9u));

}  // namespace
}  // namespace vrouter
