// From an address to the one next hop a packet leaves by: longest match, then composites and VRF
// translations followed until something concrete is left. Reads tables only.
// Bounded: kMaxLookups VRFs, kMaxNextHopDepth composites.
#include <cstring>

#include "base/hash.h"
#include "path/rooms.h"

namespace vrouter {
namespace {

bool is_local(const NextHop& next_hop) { return next_hop.kind == NextHopKind::Interface; }

bool same_far_end(Context& context, NextHopId id, const Address& outer_source) {
  const NextHopObject* object = context.router.next_hop_object(id);
  return object != nullptr && object->kind == NextHopKind::Tunnel &&
         object->tunnel.destination == outer_source;
}

// Whether packets can leave by it now.
bool usable(Context& context, NextHopId id) {
  const NextHop* next_hop = context.router.next_hop(id);
  if (next_hop == nullptr) return false;
  switch (next_hop->kind) {
    case NextHopKind::None:
    case NextHopKind::Discard:
      return false;
    case NextHopKind::Interface:
    case NextHopKind::Tunnel: {
      const Vif* vif = context.router.vif(next_hop->vif);
      return vif != nullptr && PortId{vif->spec.port}.valid();
    }
    default:
      return true;
  }
}

bool has_local_member(Context& context, const EcmpSet& set) {
  for (const EcmpMember& member : set.members) {
    const NextHop* next_hop = context.router.next_hop(NextHopId{member.next_hop});
    if (next_hop != nullptr && is_local(*next_hop) && usable(context, NextHopId{member.next_hop})) {
      return true;
    }
  }
  return false;
}

int pick_member(Context& context, const NextHop& composite, uint8_t hash_fields, const FlowKey& key,
                const ResolveOptions& options) {
  const EcmpSet& set = *composite.ecmp;
  auto member_hop = [&](int i) { return NextHopId{set.members[static_cast<size_t>(i)].next_hop}; };
  auto allowed = [&](int i) {
    if (!usable(context, member_hop(i))) return false;
    return !options.local_only || is_local(*context.router.next_hop(member_hop(i)));
  };
  if (options.pinned != kNoMember) {
    const int i = find_member(set, options.pinned);
    if (i >= 0 && allowed(i)) return i;
  }
  // A route that had one next hop when the flow was made and has several now.
  if (options.kept.valid()) {
    for (size_t i = 0; i < set.members.size(); ++i) {
      if (set.members[i].next_hop == options.kept.value &&
          (set.members[i].label == kNoLabel || set.members[i].label == options.kept_label) &&
          allowed(static_cast<int>(i))) {
        return static_cast<int>(i);
      }
    }
  }
  // The way back of a flow goes where its packets come from, if that is a member.
  const Address* far_end = options.prefer_tunnel;
  if (far_end != nullptr && !far_end->is_set()) far_end = nullptr;
  if (far_end != nullptr || options.prefer_vif.valid()) {
    for (size_t i = 0; i < set.members.size(); ++i) {
      const NextHopId hop{set.members[i].next_hop};
      if (far_end != nullptr && same_far_end(context, hop, *far_end)) return static_cast<int>(i);
      if (options.prefer_vif.valid()) {
        const NextHop* next_hop = context.router.next_hop(hop);
        if (next_hop != nullptr && is_local(*next_hop) && next_hop->vif == options.prefer_vif) {
          return static_cast<int>(i);
        }
      }
    }
  }
  const uint8_t fields = hash_fields != 0 ? hash_fields : composite.hash_fields;
  const uint64_t hash = choice_hash(key, fields == 0 ? uint8_t{kHashAll} : fields, context.seed);
  const int first = choose_among_all(set, hash);
  return first < 0 || allowed(first) ? first : choose_member(set, hash, allowed);
}

void note_route(Context& context, VrfId vrf, Family family, const uint8_t* address,
                const Route* route) {
  if (context.trace == nullptr) return;
  const std::string text = Address::from_bytes(family, address).text();
  if (route == nullptr) {
    context.trace->note("route", "VRF %u has no route for %s", vrf.value, text.c_str());
    return;
  }
  const std::string label =
      route->label == kNoLabel ? "" : ", label " + std::to_string(route->label);
  context.trace->note("route", "VRF %u: %s matches a /%u, next hop %u%s", vrf.value, text.c_str(),
                      route->length, route->next_hop.value, label.c_str());
}

}  // namespace

uint64_t choice_hash(const FlowKey& key, uint8_t fields, uint64_t seed) {
  uint64_t words[6] = {};
  if (fields & kHashSource) std::memcpy(&words[0], key.source, 16);
  if (fields & kHashDestination) std::memcpy(&words[2], key.destination, 16);
  if (fields & kHashSourcePort) words[4] |= key.source_port;
  if (fields & kHashDestinationPort) words[4] |= uint64_t{key.destination_port} << 16;
  if (fields & kHashProtocol) words[4] |= uint64_t{key.protocol} << 32;
  return hash_words<sizeof words>(seed, words[0], words[1], words[2], words[3], words[4], words[5]);
}

Resolved resolve_next_hop(Context& context, NextHopId id, uint32_t label, uint8_t hash_fields,
                          const FlowKey& key, const ResolveOptions& options) {
  Resolved out;
  out.found = true;
  ResolveOptions inner = options;
  for (uint32_t depth = 0; depth <= kMaxNextHopDepth + kMaxLookups; ++depth) {
    const NextHop* next_hop = context.router.next_hop(id);
    if (next_hop == nullptr) {
      out.drop = DropReason::InvalidNh;
      return out;
    }
    switch (next_hop->kind) {
      case NextHopKind::Ecmp: {
        if (inner.local_only && !has_local_member(context, *next_hop->ecmp)) {
          out.drop = DropReason::NoLivePath;
          return out;
        }
        const int i = pick_member(context, *next_hop, hash_fields, key, inner);
        if (i < 0) {
          out.drop = DropReason::NoLivePath;
          return out;
        }
        const EcmpMember& member = next_hop->ecmp->members[static_cast<size_t>(i)];
        if (context.trace != nullptr) {
          context.trace->note("choose_path", "ECMP next hop %u: member %u of %zu, next hop %u",
                              id.value, member.member, next_hop->ecmp->members.size(),
                              member.next_hop);
        }
        if (out.member == kNoMember) out.member = member.member;
        inner.pinned = kNoMember;  // name a member of the outermost set only
        inner.kept = NextHopId{};
        id = NextHopId{member.next_hop};
        if (member.label != kNoLabel) label = member.label;
        break;
      }
      case NextHopKind::VrfTranslate: {
        // A bridging one too: a frame to the router's own MAC leaves the bridge and is routed in
        // the same network (decap.cc).
        const Route* route = context.router.route(next_hop->vrf, key.family, key.destination);
        note_route(context, next_hop->vrf, key.family, key.destination, route);
        out.crossed = true;
        out.vrf = next_hop->vrf;
        if (route == nullptr) {
          out.found = false;
          out.drop = DropReason::Discards;
          return out;
        }
        id = route->next_hop;
        label = route->label;
        hash_fields = route->hash_fields;
        break;
      }
      case NextHopKind::Discard:
        out.drop = DropReason::Discards;
        return out;
      case NextHopKind::None:
        out.drop = DropReason::InvalidNh;
        return out;
      default:
        out.next_hop = id;
        out.label = label;
        return out;
    }
  }
  out.drop = DropReason::PktLoop;
  return out;
}

Resolved resolve_address(Context& context, VrfId vrf, Family family, const uint8_t* destination,
                         const FlowKey& key, const ResolveOptions& options) {
  return resolve_route(context, vrf, context.router.route(vrf, family, destination), family,
                       destination, key, options);
}

Resolved resolve_route(Context& context, VrfId vrf, const Route* route, Family family,
                       const uint8_t* destination, const FlowKey& key,
                       const ResolveOptions& options) {
  note_route(context, vrf, family, destination, route);
  if (route == nullptr) {
    Resolved none;
    none.vrf = vrf;
    return none;
  }
  Resolved out =
      resolve_next_hop(context, route->next_hop, route->label, route->hash_fields, key, options);
  if (!out.crossed) out.vrf = vrf;
  out.route_length = route->length;
  return out;
}

bool source_matches(Context& context, NextHopId id, VifId vif, const Address& outer_source) {
  const NextHop* next_hop = context.router.next_hop(id);
  if (next_hop == nullptr) return false;
  switch (next_hop->kind) {
    case NextHopKind::Interface:
    case NextHopKind::Receive:
      return vif.valid() && next_hop->vif == vif;
    case NextHopKind::Tunnel:
      return !vif.valid() && same_far_end(context, id, outer_source);
    case NextHopKind::Ecmp:
      for (const EcmpMember& member : next_hop->ecmp->members) {
        if (source_matches(context, NextHopId{member.next_hop}, vif, outer_source)) return true;
      }
      return false;
    default:
      return false;
  }
}

NextHopId reverse_next_hop(Context& context, VrfId vrf, Family family, const uint8_t* source,
                           VifId vif, const Address& outer_source, bool* has_route) {
  return reverse_next_hop_by(context, context.router.route(vrf, family, source), family, source,
                             vif, outer_source, has_route);
}

NextHopId reverse_next_hop_by(Context& context, const Route* route, Family family,
                              const uint8_t* source, VifId vif, const Address& outer_source,
                              bool* has_route) {
  *has_route = false;
  for (uint32_t lookups = 0; lookups < kMaxLookups; ++lookups) {
    if (route == nullptr) return kDiscard;
    *has_route = true;
    const NextHop* next_hop = context.router.next_hop(route->next_hop);
    if (next_hop == nullptr) return kDiscard;
    if (next_hop->kind == NextHopKind::VrfTranslate && !next_hop->bridge()) {
      route = context.router.route(next_hop->vrf, family, source);
      continue;
    }
    if (next_hop->kind == NextHopKind::Ecmp) {
      for (const EcmpMember& member : next_hop->ecmp->members) {
        if (source_matches(context, NextHopId{member.next_hop}, vif, outer_source)) {
          return NextHopId{member.next_hop};
        }
      }
      return kDiscard;
    }
    return source_matches(context, route->next_hop, vif, outer_source) ? route->next_hop : kDiscard;
  }
  return kDiscard;
}

}  // namespace vrouter
