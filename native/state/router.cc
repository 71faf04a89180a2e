// exchange() for every table, with the reference counts, rendered forms and touches that go with
// it.
#include "state/router.h"

#include <algorithm>

namespace vrouter {
namespace {

constexpr uint32_t kUnboundPort = ~0u;
constexpr uint32_t kNoVif = ~0u;
constexpr uint32_t kUnlimitedMtu = 65535;  // a host or agent vif without an MTU of its own

void insert_sorted(std::vector<uint32_t>& ids, uint32_t id) {
  ids.insert(std::lower_bound(ids.begin(), ids.end(), id), id);
}

void erase_sorted(std::vector<uint32_t>& ids, uint32_t id) {
  ids.erase(std::lower_bound(ids.begin(), ids.end(), id));
}

// The next hop's spec that is in force: every kind has its id under the same name.
template <class F>
void with_members(const NextHopObject& object, F f) {
  if (object.kind == NextHopKind::Ecmp) {
    for (const EcmpMember& m : object.ecmp.members) f(m.next_hop);
  } else if (object.kind == NextHopKind::Replicate) {
    for (const Replica& r : object.replicate.replicas) f(r.next_hop);
  }
}

// By which way the packets go is all that differs: nothing of it is in a flow.
bool same_but_for_legs(const std::optional<NextHopObject>& a,
                       const std::optional<NextHopObject>& b) {
  if (!a || !b || a->kind != NextHopKind::Tunnel || b->kind != NextHopKind::Tunnel) return false;
  TunnelSpec other = b->tunnel;
  other.vif = a->tunnel.vif;
  other.destination_mac = a->tunnel.destination_mac;
  other.source_mac = a->tunnel.source_mac;
  other.legs_down = a->tunnel.legs_down;
  other.more_legs = a->tunnel.more_legs;
  return a->tunnel == other;
}

bool equal_weights(const std::vector<EcmpMember>& members) {
  uint16_t weight = 0;
  for (const EcmpMember& m : members) {
    if (m.weight == 0) continue;
    if (weight == 0) weight = m.weight;
    if (weight != m.weight) return false;
  }
  return true;
}

RouteSpec route_spec(VrfId vrf, const Prefix& prefix, const Route& route) {
  return {vrf.value,         prefix,   route.next_hop.value, route.label, route.flags,
          route.hash_fields, route.mac};
}

MacSpec mac_spec(VrfId vrf, const Mac& mac, const MacEntry& entry) {
  return {vrf.value, mac, entry.next_hop.value, entry.label, entry.flags};
}

template <class Table>
std::vector<uint32_t> all_ids(uint32_t limit, Table next) {
  std::vector<uint32_t> ids;
  for (uint32_t id = next(0); id < limit; id = next(id + 1)) ids.push_back(id);
  return ids;
}

}  // namespace

size_t Router::RewriteHash::operator()(const Rewrite& r) const {
  const auto* bytes = reinterpret_cast<const uint8_t*>(&r);
  uint64_t h = 0xcbf29ce484222325u;  // FNV-1a
  for (size_t i = 0; i < sizeof r; ++i) h = (h ^ bytes[i]) * 0x100000001b3u;
  return static_cast<size_t>(h);
}

Router::Router() : ports_(kMaxPorts), vrf_touch_(kMaxVrfs) {
  next_hops_.make(kDiscard.value).kind = NextHopKind::Discard;
  auto discard = std::make_unique<NextHopObject>();
  discard->kind = NextHopKind::Discard;
  next_hop_sides_.make(kDiscard.value).object = std::move(discard);

  rewrites_.make(0) = build_bare();  // never released: rewrite_references_[0] starts at one
  rewrite_ids_.emplace(rewrites_.make(0), 0);
  rewrite_references_.push_back(1);
}

Router::~Router() = default;

// --- generations -------------------------------------------------------------------------------

void Router::touch(VrfId vrf) {
  if (journal_.undoing) return;
  const Vrf* v = vrfs_.find(vrf.value);
  if (v != nullptr && v->translation_target) return touch_all();
  uint32_t& own = vrf_touch_[vrf.value];
  if (own != generation) {
    if (journal_.open) journal_.vrf_touch.emplace_back(vrf.value, own);
    own = generation;
  }
  newest_touch_ = generation;
}

void Router::touch_all() {
  if (journal_.undoing) return;
  all_touch_ = newest_touch_ = generation;
}

void Router::begin_program() {
  ++generation;
  journal_.open = true;
  journal_.all_touch = all_touch_;
  journal_.newest_touch = newest_touch_;
}

void Router::begin_undo() { journal_.undoing = true; }

void Router::end_program() {
  if (journal_.undoing) {
    --generation;
    all_touch_ = journal_.all_touch;
    newest_touch_ = journal_.newest_touch;
    for (const auto& [vrf, before] : journal_.vrf_touch) vrf_touch_[vrf] = before;
  }
  journal_.open = journal_.undoing = false;
  journal_.vrf_touch.clear();
  journal_.mac_packets.clear();
}

// --- router, VRFs ------------------------------------------------------------------------------

std::optional<RouterSpec> Router::exchange(const RouterSpec& spec) {
  RouterSpec previous = spec_;
  if (previous == spec) return previous;
  spec_ = spec;
  touch_all();
  return previous;
}

std::optional<VrfSpec> Router::exchange(VrfId id, std::optional<VrfSpec> spec) {
  Vrf& vrf = vrfs_.make(id.value);
  std::optional<VrfSpec> previous;
  if (vrf.in_use) previous = vrf.spec;
  if (previous == spec) return previous;
  // Name and quota decide nothing about a flow that exists; only coming and going may.
  if (previous.has_value() != spec.has_value() && vrf_references(id) > 0) touch_all();
  vrf.in_use = spec.has_value();
  vrf.spec = spec ? std::move(*spec) : VrfSpec{};
  return previous;
}

uint32_t Router::vrf_references(VrfId id) const {
  const Vrf* v = vrfs_.find(id.value);
  if (v == nullptr) return 0;
  return v->references + v->routes4.size() + v->routes6.size() + v->macs.size();
}

// --- vifs --------------------------------------------------------------------------------------

std::optional<VifSpec> Router::exchange(VifId id, std::optional<VifSpec> spec) {
  Vif& vif = vifs_.make(id.value);
  std::optional<VifSpec> previous;
  if (vif.in_use) previous = vif.spec;
  if (previous == spec) return previous;
  if (previous) {
    refer(*previous, -1);
    unbind_port(id, previous->port);
  }
  if (previous || vif.references > 0) touch_all();
  vif.in_use = spec.has_value();
  vif.spec = spec ? std::move(*spec) : VifSpec{};
  if (vif.in_use) {
    refer(vif.spec, +1);
    bind_port(id, vif.spec.port);
  }
  const uint32_t mtu_before = previous ? previous->mtu : 0;
  if (previous.has_value() != vif.in_use || mtu_before != vif.spec.mtu) {
    for (uint32_t sender : vif.senders) measure(NextHopId{sender});
  }
  return previous;
}

void Router::refer(const VifSpec& spec, int by) {
  refer_vrf(spec.vrf, by);
  refer_next_hop(spec.next_hop, by);
  for (const auto* list : {&spec.network_policies, &spec.ingress_groups, &spec.egress_groups}) {
    for (const PolicyRef& ref : *list) policies_.make(ref.policy).references += by;
  }
}

void Router::bind_port(VifId vif, uint32_t port) {
  if (port == kUnboundPort) return;
  ports_[port].vif = vif;
  ++ports_[port].bindings;
}

// Inside a Program two vifs may be bound to one port for a while (when they swap ports).
void Router::unbind_port(VifId vif, uint32_t port) {
  if (port == kUnboundPort) return;
  PortSlot& slot = ports_[port];
  --slot.bindings;
  if (slot.vif != vif) return;
  slot.vif = VifId{};
  if (slot.bindings == 0) return;
  const uint32_t other = vifs_.next(
      0, [&](const Vif& v) { return v.in_use && v.spec.port == port && v.spec.vif != vif.value; });
  if (other < vifs_.limit()) slot.vif = VifId{other};
}

uint32_t Router::vif_references(VifId id) const {
  const Vif* v = vifs_.find(id.value);
  return v != nullptr ? v->references : 0;
}

uint32_t Router::port_bindings(PortId id) const {
  return id.value < ports_.size() ? ports_[id.value].bindings : 0;
}

// --- next hops ---------------------------------------------------------------------------------

std::optional<NextHopObject> Router::exchange(NextHopId id, std::optional<NextHopObject> object) {
  NextHopSide& side = next_hop_sides_.make(id.value);
  NextHop& next_hop = next_hops_.make(id.value);
  std::optional<NextHopObject> previous;
  if (side.object) previous = *side.object;
  if (id == kDiscard || previous == object) return previous;
  const bool decides_alike = same_but_for_legs(previous, object);

  if (previous) {
    refer(*previous, -1);
    clear(id);
    side.object.reset();
    // Whoever uses this id next is another next hop; unless that is the undoing of this delete.
    if (!object && !journal_.undoing) ++incarnation(id);
  } else if (journal_.undoing) {
    --incarnation(id);
  }
  if (object) {
    refer(*object, +1);
    side.object = std::make_unique<NextHopObject>(std::move(*object));
    render(id, *side.object);
  }
  if (next_hop.references > 0 && !decides_alike) touch_all();
  return previous;
}

const NextHopObject* Router::next_hop_object(NextHopId id) const {
  const NextHopSide* side = next_hop_sides_.find(id.value);
  return side != nullptr ? side->object.get() : nullptr;
}

uint32_t Router::next_hop_references(NextHopId id) const {
  const NextHop* next_hop = next_hops_.find(id.value);
  return next_hop != nullptr ? next_hop->references : 0;
}

bool Router::in_composite(NextHopId id) const {
  const NextHopSide* side = next_hop_sides_.find(id.value);
  return side != nullptr && side->composites > 0;
}

void Router::refer_member(uint32_t id, int by) {
  refer_next_hop(id, by);
  next_hop_sides_.make(id).composites += by;
}

void Router::refer(const NextHopObject& object, int by) {
  switch (object.kind) {
    case NextHopKind::None:
    case NextHopKind::Discard:
      break;
    case NextHopKind::Receive:
      refer_vrf(object.receive.vrf, by);
      if (object.receive.vif != kNoVif) refer_vif(object.receive.vif, by);
      break;
    case NextHopKind::L2Receive:
      refer_vrf(object.l2_receive.vrf, by);
      break;
    case NextHopKind::Interface:
      refer_vrf(object.interface.vrf, by);
      refer_vif(object.interface.vif, by);
      break;
    case NextHopKind::Tunnel:
      refer_vrf(object.tunnel.vrf, by);
      refer_vif(object.tunnel.vif, by);
      for (const TunnelLeg& leg : object.tunnel.more_legs) refer_vif(leg.vif, by);
      break;
    case NextHopKind::Ecmp:
      refer_vrf(object.ecmp.vrf, by);
      break;
    case NextHopKind::Replicate:
      refer_vrf(object.replicate.vrf, by);
      break;
    case NextHopKind::VrfTranslate: {
      refer_vrf(object.vrf_translate.vrf, by);
      Vrf& target = vrfs_.make(object.vrf_translate.vrf);
      target.translators += by;
      target.translation_target = target.translators > 0;
      break;
    }
  }
  with_members(object, [&](uint32_t member) { refer_member(member, by); });
}

// Takes back what render() took: its place among the vif's senders and its rewrites.
void Router::clear(NextHopId id) {
  NextHop& next_hop = next_hops_.make(id.value);
  NextHopSide& side = next_hop_sides_.make(id.value);
  const auto leaves = [&](const NextHop& way) {
    remove_sender(id, way.vif.value);
    release_rewrite(way.rewrite);
    release_rewrite(way.rewrite_l2);
  };
  if (side.legs) {
    for (uint32_t i = 0; i < side.legs->count; ++i) leaves(side.legs->legs[i]);
    side.legs.reset();
  } else if (next_hop.kind == NextHopKind::Interface || next_hop.kind == NextHopKind::Tunnel) {
    leaves(next_hop);
  }
  side.ecmp = {};
  side.replicas = {};
  const uint32_t references = next_hop.references;
  next_hop = NextHop{};
  next_hop.references = references;
}

void Router::render(NextHopId id, const NextHopObject& object) {
  NextHop& n = next_hops_.make(id.value);
  NextHopSide& side = next_hop_sides_.make(id.value);
  n.kind = object.kind;
  n.scope = id.value | uint32_t{incarnation(id)} << kScopeIdBits;
  switch (object.kind) {
    case NextHopKind::None:
    case NextHopKind::Discard:
      break;
    case NextHopKind::Receive:
      n.vrf = VrfId{object.receive.vrf};
      n.vif = VifId{object.receive.vif};
      n.flags = object.receive.flags;
      break;
    case NextHopKind::L2Receive:
      n.vrf = VrfId{object.l2_receive.vrf};
      break;
    case NextHopKind::Interface:
      n.vrf = VrfId{object.interface.vrf};
      n.flags = object.interface.flags;
      n.rewrite = intern(build_interface(object.interface));
      n.rewrite_l2 = intern(build_bare());
      add_sender(id, object.interface.vif);
      break;
    case NextHopKind::Tunnel: {
      const TunnelSpec& spec = object.tunnel;
      n.vrf = VrfId{spec.vrf};
      n.flags = spec.flags;
      n.encap = static_cast<Encap>(spec.encap);
      if (spec.destination.family == Family::V4) {
        std::memcpy(&n.destination4, spec.destination.bytes.data(), sizeof n.destination4);
      }
      if (spec.legs_down != 0 || !spec.more_legs.empty()) {
        render_legs(id, spec);
        break;
      }
      n.rewrite = intern(build_tunnel(spec, Payload::Routed));
      n.rewrite_l2 = intern(build_tunnel(spec, Payload::Bridged));
      add_sender(id, spec.vif);
      break;
    }
    case NextHopKind::Ecmp:
      n.vrf = VrfId{object.ecmp.vrf};
      n.flags = object.ecmp.flags;
      n.hash_fields = object.ecmp.hash_fields != 0 ? object.ecmp.hash_fields : uint8_t{kHashAll};
      side.ecmp.members = object.ecmp.members;
      side.ecmp.equal_weights = equal_weights(object.ecmp.members);
      render_choices(side.ecmp);
      n.ecmp = &side.ecmp;
      break;
    case NextHopKind::Replicate:
      n.vrf = VrfId{object.replicate.vrf};
      n.flags = object.replicate.flags;
      n.replicate_kind = static_cast<ReplicateKind>(object.replicate.kind);
      side.replicas.replicas = object.replicate.replicas;
      n.replicas = &side.replicas;
      break;
    case NextHopKind::VrfTranslate:
      n.vrf = VrfId{object.vrf_translate.vrf};
      n.flags = object.vrf_translate.flags;
      break;
  }
}

void Router::render_legs(NextHopId id, const TunnelSpec& spec) {
  NextHop& n = next_hops_.make(id.value);
  NextHopSide& side = next_hop_sides_.make(id.value);
  side.legs = std::make_unique<LegSet>();
  LegSet& set = *side.legs;
  TunnelSpec one = spec;
  const auto add = [&](uint32_t vif) {
    NextHop& leg = set.legs[set.count] = n;
    leg.vif = VifId{vif};
    leg.rewrite = intern(build_tunnel(one, Payload::Routed));
    leg.rewrite_l2 = intern(build_tunnel(one, Payload::Bridged));
    ++set.count;
  };
  add(spec.vif);
  for (const TunnelLeg& leg : spec.more_legs) {
    one.destination_mac = leg.destination_mac;
    one.source_mac = leg.source_mac;
    add(leg.vif);
  }
  set.up = ~uint32_t{spec.legs_down} & ((1u << set.count) - 1);
  n.legs = &set;
  for (uint32_t i = 0; i < set.count; ++i) add_sender(id, set.legs[i].vif.value);
}

void Router::add_sender(NextHopId id, uint32_t vif) {
  NextHopSide& side = next_hop_sides_.make(id.value);
  std::vector<uint32_t>& senders = vifs_.make(vif).senders;
  if (!side.legs) next_hops_.make(id.value).vif = VifId{vif};
  sender_at(side, vif) = static_cast<uint32_t>(senders.size());
  senders.push_back(id.value);
  measure(id);
}

uint32_t& Router::sender_at(NextHopSide& side, uint32_t vif) {
  if (!side.legs) return side.sender_at;
  uint32_t i = 0;
  while (i + 1 < side.legs->count && side.legs->legs[i].vif.value != vif) ++i;
  return side.legs->sender_at[i];
}

void Router::remove_sender(NextHopId id, uint32_t vif) {
  std::vector<uint32_t>& senders = vifs_.make(vif).senders;
  const uint32_t at = sender_at(next_hop_sides_.make(id.value), vif);
  senders[at] = senders.back();
  sender_at(next_hop_sides_.make(senders[at]), vif) = at;
  senders.pop_back();
}

// A packet for a tunnel must fit whichever leg it takes.
void Router::measure(NextHopId id) {
  NextHop& next_hop = next_hops_.make(id.value);
  LegSet* set = next_hop_sides_.make(id.value).legs.get();
  if (set == nullptr) {
    next_hop.mtu = mtu_of(next_hop);
    return;
  }
  next_hop.mtu = ~0u;
  for (uint32_t i = 0; i < set->count; ++i) {
    set->legs[i].mtu = mtu_of(set->legs[i]);
    next_hop.mtu = std::min(next_hop.mtu, set->legs[i].mtu);
  }
  for (uint32_t i = 0; i < set->count; ++i) set->legs[i].mtu = next_hop.mtu;
}

uint32_t Router::mtu_of(const NextHop& next_hop) const {
  const Vif* v = vif(next_hop.vif);
  if (v == nullptr) return 0;
  const uint32_t mtu = v->spec.mtu != 0 ? v->spec.mtu : kUnlimitedMtu;
  const uint32_t overhead = tunnel_overhead(rewrite(next_hop.rewrite));
  return mtu > overhead ? mtu - overhead : 0;
}

uint32_t Router::intern(const Rewrite& rewrite) {
  const auto [it, inserted] = rewrite_ids_.try_emplace(rewrite, 0);
  if (inserted) {
    if (free_rewrites_.empty()) {
      it->second = static_cast<uint32_t>(rewrite_references_.size());
      rewrite_references_.push_back(0);
    } else {
      it->second = free_rewrites_.back();
      free_rewrites_.pop_back();
    }
    rewrites_.make(it->second) = rewrite;
  }
  ++rewrite_references_[it->second];
  return it->second;
}

void Router::release_rewrite(uint32_t index) {
  if (--rewrite_references_[index] > 0) return;
  rewrite_ids_.erase(rewrite(index));
  free_rewrites_.push_back(index);
}

// --- routes, MACs, labels, VNIs ----------------------------------------------------------------

std::optional<RouteSpec> Router::exchange(VrfId id, const Prefix& prefix,
                                          std::optional<RouteSpec> spec) {
  Vrf& vrf = vrfs_.make(id.value);
  Lpm& lpm = prefix.address.family == Family::V4 ? vrf.routes4 : vrf.routes6;
  const uint32_t route_id = lpm.get(prefix);
  std::optional<RouteSpec> previous;
  if (route_id != Lpm::kNoValue) previous = route_spec(id, prefix, *routes_.find(route_id));
  if (previous == spec) return previous;

  if (!spec) {
    lpm.remove(prefix);
    --route_count_;
  } else {
    if (!previous) ++route_count_;
    lpm.set(prefix, routes_.hold({NextHopId{spec->next_hop}, spec->label, spec->flags,
                                  spec->hash_fields, prefix.length, spec->mac}));
    refer_next_hop(spec->next_hop, +1);
  }
  if (previous) routes_.release(route_id);
  if (previous) refer_next_hop(previous->next_hop, -1);
  touch(id);
  return previous;
}

std::optional<MacSpec> Router::exchange(VrfId id, const Mac& mac, std::optional<MacSpec> spec) {
  Vrf& vrf = vrfs_.make(id.value);
  const MacEntry* found = vrf.macs.find(mac);
  std::optional<MacSpec> previous;
  if (found != nullptr) previous = mac_spec(id, mac, *found);
  if (previous == spec) return previous;

  if (!spec) {
    if (journal_.open && !journal_.undoing) journal_.mac_packets.push_back(found->packets);
    vrf.macs.erase(mac);
    --mac_count_;
  } else {
    if (vrf.macs.size() == 0) vrf.macs.use_seed(mac_seed_);
    MacEntry& entry = vrf.macs.insert(mac);
    entry.next_hop = NextHopId{spec->next_hop};
    entry.label = spec->label;
    entry.flags = spec->flags;
    if (!previous) {
      ++mac_count_;
      if (journal_.undoing) {  // undone last first, so the top is this entry's
        entry.packets = journal_.mac_packets.back();
        journal_.mac_packets.pop_back();
      }
    }
    refer_next_hop(spec->next_hop, +1);
  }
  if (previous) refer_next_hop(previous->next_hop, -1);
  touch(id);
  return previous;
}

// Labels and VNIs are both an index with a next hop in each slot.
std::optional<uint32_t> Router::exchange_index(NextHopId& slot, std::optional<uint32_t> next_hop) {
  std::optional<uint32_t> previous;
  if (slot.valid()) previous = slot.value;
  if (previous == next_hop) return previous;
  slot = next_hop ? NextHopId{*next_hop} : NextHopId{};
  if (next_hop) refer_next_hop(*next_hop, +1);
  if (previous) {
    refer_next_hop(*previous, -1);
    touch_all();
  }
  return previous;
}

std::optional<LabelSpec> Router::exchange_label(uint32_t label, std::optional<LabelSpec> spec) {
  std::optional<uint32_t> next_hop;
  if (spec) next_hop = spec->next_hop;
  const auto previous = exchange_index(labels_.make(label), next_hop);
  if (!previous) return std::nullopt;
  return LabelSpec{label, *previous};
}

std::optional<VniSpec> Router::exchange_vni(uint32_t vni, std::optional<VniSpec> spec) {
  std::optional<uint32_t> next_hop;
  if (spec) next_hop = spec->next_hop;
  const auto previous = exchange_index(vnis_.make(vni), next_hop);
  if (!previous) return std::nullopt;
  return VniSpec{vni, *previous};
}

// --- NAT, policy -------------------------------------------------------------------------------

std::optional<FloatingIpSpec> Router::exchange_floating_ip(uint32_t id,
                                                           std::optional<FloatingIpSpec> spec) {
  FloatingIp& floating = floating_ips_.make(id);
  std::optional<FloatingIpSpec> previous;
  if (floating.in_use) previous = floating.spec;
  if (previous == spec) return previous;
  if (previous) {
    erase_sorted(vifs_.make(previous->vif).floating_ips, id);
    refer_vif(previous->vif, -1);
    refer_vrf(previous->vrf, -1);
  }
  floating.in_use = spec.has_value();
  floating.spec = spec ? std::move(*spec) : FloatingIpSpec{};
  if (floating.in_use) {
    insert_sorted(vifs_.make(floating.spec.vif).floating_ips, id);
    refer_vif(floating.spec.vif, +1);
    refer_vrf(floating.spec.vrf, +1);
  }
  touch_all();
  return previous;
}

std::optional<SourceNatSpec> Router::exchange_source_nat(uint32_t id,
                                                         std::optional<SourceNatSpec> spec) {
  SourceNat& nat = source_nats_.make(id);
  std::optional<SourceNatSpec> previous;
  if (nat.in_use) previous = nat.spec;
  if (previous == spec) return previous;
  if (previous) {
    erase_sorted(vrfs_.make(previous->vrf).source_nats, id);
    refer_vrf(previous->vrf, -1);
    refer_vrf(previous->to_vrf, -1);
  }
  nat.in_use = spec.has_value();
  nat.spec = spec.value_or(SourceNatSpec{});
  nat.next_port = 0;
  if (nat.in_use) {
    insert_sorted(vrfs_.make(nat.spec.vrf).source_nats, id);
    refer_vrf(nat.spec.vrf, +1);
    refer_vrf(nat.spec.to_vrf, +1);
  }
  touch_all();
  return previous;
}

std::optional<PolicySpec> Router::exchange(PolicyId id, std::optional<PolicySpec> spec) {
  PolicyTable& policy = policies_.make(id.value);
  std::optional<PolicySpec> previous;
  if (policy.in_use) previous = policy.spec;
  if (previous == spec) return previous;
  policy.in_use = spec.has_value();
  policy.spec = spec ? std::move(*spec) : PolicySpec{};
  if (policy.references > 0) touch_all();
  return previous;
}

uint32_t Router::policy_references(PolicyId id) const {
  const PolicyTable* policy = policies_.find(id.value);
  return policy != nullptr ? policy->references : 0;
}

// --- display -----------------------------------------------------------------------------------

// Counter blocks are sized by this, so a slot that a failed Program has left must not count.
uint32_t Router::vrf_limit() const {
  uint32_t limit = vrfs_.limit();
  while (limit > 0 && vrf(VrfId{limit - 1}) == nullptr) --limit;
  return limit;
}

uint32_t Router::next_vif(uint32_t from) const {
  return vifs_.next(from, [](const Vif& v) { return v.in_use; });
}
uint32_t Router::next_vrf(uint32_t from) const {
  return vrfs_.next(from, [](const Vrf& v) { return v.in_use; });
}
uint32_t Router::next_next_hop(uint32_t from) const {
  return next_hops_.next(from, [](const NextHop& n) { return n.kind != NextHopKind::None; });
}
uint32_t Router::next_label(uint32_t from) const {
  return labels_.next(from, [](NextHopId slot) { return slot.valid(); });
}
uint32_t Router::next_vni(uint32_t from) const {
  return vnis_.next(from, [](NextHopId slot) { return slot.valid(); });
}
uint32_t Router::next_floating_ip(uint32_t from) const {
  return floating_ips_.next(from, [](const FloatingIp& f) { return f.in_use; });
}
uint32_t Router::next_source_nat(uint32_t from) const {
  return source_nats_.next(from, [](const SourceNat& s) { return s.in_use; });
}
uint32_t Router::next_policy(uint32_t from) const {
  return policies_.next(from, [](const PolicyTable& p) { return p.in_use; });
}

std::vector<uint32_t> Router::labels() const {
  return all_ids(labels_.limit(), [&](uint32_t from) { return next_label(from); });
}
std::vector<uint32_t> Router::vnis() const {
  return all_ids(vnis_.limit(), [&](uint32_t from) { return next_vni(from); });
}
std::vector<uint32_t> Router::floating_ips() const {
  return all_ids(floating_ips_.limit(), [&](uint32_t from) { return next_floating_ip(from); });
}
std::vector<uint32_t> Router::source_nats() const {
  return all_ids(source_nats_.limit(), [&](uint32_t from) { return next_source_nat(from); });
}
std::vector<uint32_t> Router::policies() const {
  return all_ids(policies_.limit(), [&](uint32_t from) { return next_policy(from); });
}

}  // namespace vrouter
