// What an op may say, whatever the tables hold: ids inside their tables, values inside their
// ranges, lists without doubles. The tables index by these ids without looking again.
#include <algorithm>

#include "program/program.h"

namespace vrouter {
namespace {

constexpr uint32_t kNone = ~0u;           // "no port", "no vif", "all VRFs"
constexpr uint32_t kFirstFreeLabel = 16;  // 0..15 are reserved (RFC 3032 §2.1)
constexpr uint32_t kMinMtu = 576;         // what every IPv4 host must take (RFC 1122)
constexpr uint32_t kMaxMtu = 65535;
constexpr uint32_t kMaxTimeoutSeconds =
    2'000'000;  // below half of what milliseconds in 32 bits count

// The first thing that is wrong; later ones do not overwrite it.
class Check {
 public:
  void that(bool holds, StatusCode code, const char* field) {
    if (!holds && status.ok()) status = Status::fail(code, field);
  }
  void value(bool holds, const char* field) { that(holds, StatusCode::BadValue, field); }
  void below(uint32_t id, uint32_t limit, const char* field) {
    that(id < limit, StatusCode::OutOfRange, field);
  }
  void flags(uint32_t flags, uint32_t known) { value((flags & ~known) == 0, "flags"); }
  void vrf(uint32_t id) { below(id, kMaxVrfs, "vrf"); }
  void vif(uint32_t id) { below(id, kMaxVifs, "vif"); }
  void next_hop(uint32_t id) { below(id, kMaxNextHops, "next_hop"); }
  // Next hop 0 is Discard for good: everything may lead there, nothing may change it.
  void own_next_hop(uint32_t id) {
    next_hop(id);
    value(id != kDiscard.value, "next_hop");
  }
  void group(const std::vector<PolicyRef>& refs, const char* field) {
    that(refs.size() <= kMaxVifPolicies, StatusCode::BadValue, field);
    for (const PolicyRef& ref : refs) below(ref.policy, kMaxPolicies, field);
  }
  // Of a packet to send: a label, a VNI by the tunnel's kind, or kNoLabel.
  void label(uint32_t label) { value(label <= kMaxVni, "label"); }
  void family(const Address& a, Family family, const char* field) {
    value(!a.is_set() || a.family == family, field);
  }
  void any_or_canonical(const Prefix& p, const char* field) {
    value(!p.address.is_set() || p.canonical(), field);
  }

  Status status;
};

// No name may break a line of a table or be read as a terminal's command.
bool printable_utf8(const std::string& text) {
  for (size_t i = 0; i < text.size();) {
    const auto lead = static_cast<uint8_t>(text[i]);
    const uint32_t extra = lead < 0x80 ? 0 : lead < 0xe0 ? 1 : lead < 0xf0 ? 2 : 3;
    if (lead < 0x20 || lead == 0x7f || (lead >= 0x80 && lead < 0xc2) || lead > 0xf4) return false;
    if (text.size() - i <= extra) return false;
    uint32_t code = extra == 0 ? lead : lead & (0x3fu >> extra);
    for (uint32_t k = 1; k <= extra; ++k) {
      const auto byte = static_cast<uint8_t>(text[i + k]);
      if ((byte & 0xc0) != 0x80) return false;
      code = code << 6 | (byte & 0x3f);
    }
    constexpr uint32_t kShortest[] = {0, 0x80, 0x800, 0x10000};
    if (code < kShortest[extra] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000))
      return false;
    if (code >= 0x80 && code < 0xa0) return false;  // C1 controls
    i += extra + 1;
  }
  return true;
}

template <class List, class Key>
bool distinct(const List& list, Key key) {
  std::vector<uint32_t> keys;
  keys.reserve(list.size());
  for (const auto& element : list) keys.push_back(key(element));
  std::sort(keys.begin(), keys.end());
  return std::adjacent_find(keys.begin(), keys.end()) == keys.end();
}

void check(Check& c, const std::monostate&) { c.that(false, StatusCode::UnknownOp, "code"); }

void check(Check& c, const RouterSpec& s) {
  c.family(s.ipv4, Family::V4, "ipv4");
  c.family(s.ipv6, Family::V6, "ipv6");
  c.flags(s.flags, kRouterKnownFlags);
  c.value(s.timeouts.size() <= kMaxElements<Timeout>, "timeouts");
  for (const Timeout& t : s.timeouts) {
    c.value(t.state <= 2, "state");
    c.value(t.seconds >= 1 && t.seconds <= kMaxTimeoutSeconds, "seconds");
  }
  c.value(distinct(s.timeouts, [](const Timeout& t) { return t.protocol << 8 | t.state; }),
          "timeouts");
}

void check(Check& c, const VrfSpec& s) {
  c.vrf(s.vrf);
  c.value(s.name.size() <= kMaxNameLength && printable_utf8(s.name), "name");
}

void check(Check& c, const VrfDelete& s) { c.vrf(s.vrf); }

void check(Check& c, const VifSpec& s) {
  c.vif(s.vif);
  c.value(s.name.size() <= kMaxNameLength && printable_utf8(s.name), "name");
  c.value(s.type <= static_cast<uint8_t>(VifType::Virtual), "type");
  if (s.port != kNone) c.below(s.port, kMaxPorts, "port");
  c.value(!s.mac.is_group(), "mac");
  c.vrf(s.vrf);
  c.flags(s.flags, kVifKnownFlags);
  // Host and agent may leave it at 0: whatever the host takes.
  const bool own_mtu = s.type == static_cast<uint8_t>(VifType::Physical) ||
                       s.type == static_cast<uint8_t>(VifType::Virtual) || s.mtu != 0;
  c.value(!own_mtu || (s.mtu >= kMinMtu && s.mtu <= kMaxMtu), "mtu");
  c.next_hop(s.next_hop);
  c.family(s.ipv4, Family::V4, "ipv4");
  c.family(s.ipv6, Family::V6, "ipv6");
  c.family(s.gateway4, Family::V4, "gateway4");
  c.family(s.gateway6, Family::V6, "gateway6");
  c.group(s.network_policies, "network_policies");
  c.group(s.ingress_groups, "ingress_groups");
  c.group(s.egress_groups, "egress_groups");
}

void check(Check& c, const VifDelete& s) { c.vif(s.vif); }

void check(Check& c, const DiscardSpec& s) { c.next_hop(s.next_hop); }  // 0 too: it says what is

void check(Check& c, const ReceiveSpec& s) {
  c.own_next_hop(s.next_hop);
  c.vrf(s.vrf);
  if (s.vif != kNone) c.vif(s.vif);
  c.flags(s.flags, kNhKnownFlags);
}

void check(Check& c, const L2ReceiveSpec& s) {
  c.own_next_hop(s.next_hop);
  c.vrf(s.vrf);
}

void check(Check& c, const InterfaceSpec& s) {
  c.own_next_hop(s.next_hop);
  c.vrf(s.vrf);
  c.vif(s.vif);
  c.flags(s.flags, kNhKnownFlags);
}

void check(Check& c, const TunnelSpec& s) {
  c.own_next_hop(s.next_hop);
  c.vrf(s.vrf);
  c.vif(s.vif);
  c.flags(s.flags, kNhKnownFlags);
  c.value(s.encap >= static_cast<uint8_t>(Encap::MplsOverGre) &&
              s.encap <= static_cast<uint8_t>(Encap::Vxlan),
          "encap");
  c.value(s.source.is_set(), "source");
  c.value(s.destination.is_set() && s.destination.family == s.source.family, "destination");
  c.value(!s.l3_vxlan_mac.is_group(), "l3_vxlan_mac");
  c.value(s.more_legs.size() < kMaxTunnelLegs, "more_legs");
  c.value(s.legs_down >> (1 + s.more_legs.size()) == 0, "legs_down");
  bool own_vifs = distinct(s.more_legs, [](const TunnelLeg& leg) { return leg.vif; });
  for (const TunnelLeg& leg : s.more_legs) {
    c.vif(leg.vif);
    own_vifs = own_vifs && leg.vif != s.vif;
  }
  c.value(own_vifs, "more_legs");
}

void check(Check& c, const EcmpSpec& s) {
  c.own_next_hop(s.next_hop);
  c.vrf(s.vrf);
  c.flags(s.flags, kNhKnownFlags);
  c.value(s.hash_fields <= kHashAll, "hash_fields");
  c.value(s.members.size() <= kMaxEcmpMembers, "members");
  for (const EcmpMember& m : s.members) {
    c.value(m.member != kNoMember, "member");
    c.next_hop(m.next_hop);
    c.label(m.label);
  }
  c.value(distinct(s.members, [](const EcmpMember& m) { return m.member; }), "member");
}

void check(Check& c, const ReplicateSpec& s) {
  c.own_next_hop(s.next_hop);
  c.vrf(s.vrf);
  c.flags(s.flags, kNhKnownFlags);
  c.value(s.kind <= static_cast<uint8_t>(ReplicateKind::Tor), "kind");
  c.value(s.replicas.size() <= kMaxReplicas, "replicas");
  for (const Replica& r : s.replicas) {
    c.next_hop(r.next_hop);
    c.label(r.label);
  }
}

void check(Check& c, const VrfTranslateSpec& s) {
  c.own_next_hop(s.next_hop);
  c.vrf(s.vrf);
  c.flags(s.flags, kNhKnownFlags);
}

void check(Check& c, const NextHopDelete& s) { c.own_next_hop(s.next_hop); }

void check(Check& c, const RouteSpec& s) {
  c.vrf(s.vrf);
  c.value(s.prefix.canonical(), "prefix");
  c.next_hop(s.next_hop);
  c.label(s.label);
  c.flags(s.flags, kRouteKnownFlags);
  c.value(s.hash_fields <= kHashAll, "hash_fields");
}

void check(Check& c, const RouteDelete& s) {
  c.vrf(s.vrf);
  c.value(s.prefix.canonical(), "prefix");
}

void check(Check& c, const MacSpec& s) {
  c.vrf(s.vrf);
  c.value(!s.mac.is_zero(), "mac");
  c.next_hop(s.next_hop);
  c.label(s.label);
  c.flags(s.flags, kMacKnownFlags);
}

void check(Check& c, const MacDelete& s) { c.vrf(s.vrf); }

void check(Check& c, const LabelSpec& s) {
  c.below(s.label, kMaxLabel + 1, "label");
  c.value(s.label >= kFirstFreeLabel && s.label != kNoLabel, "label");
  c.next_hop(s.next_hop);
}

void check(Check& c, const LabelDelete& s) { c.below(s.label, kMaxLabel + 1, "label"); }

void check(Check& c, const VniSpec& s) {
  c.below(s.vni, kMaxVni + 1, "vni");
  c.value(s.vni != 0, "vni");
  c.next_hop(s.next_hop);
}

void check(Check& c, const VniDelete& s) { c.below(s.vni, kMaxVni + 1, "vni"); }

void check(Check& c, const FloatingIpSpec& s) {
  c.below(s.floating_ip, kMaxFloatingIps, "floating_ip");
  c.vif(s.vif);
  c.vrf(s.vrf);
  c.value(s.address.is_set(), "address");
  c.value(s.fixed.is_set() && s.fixed.family == s.address.family, "fixed");
  c.value(s.direction <= static_cast<uint8_t>(NatDirection::Egress), "direction");
  c.value(s.port_map <= 1, "port_map");
  // Ports that would not count are a mistake, not a wish.
  c.value(s.ports.size() <= kMaxPortMaps && (s.port_map == 1 || s.ports.empty()), "ports");
  for (const PortMap& p : s.ports) {
    c.value(p.protocol != 0, "protocol");
    c.value(p.port != 0, "port");
    c.value(p.to_port != 0, "to_port");
  }
  c.value(distinct(s.ports, [](const PortMap& p) { return uint32_t{p.protocol} << 16 | p.port; }),
          "ports");
}

void check(Check& c, const FloatingIpDelete& s) {
  c.below(s.floating_ip, kMaxFloatingIps, "floating_ip");
}

void check(Check& c, const SourceNatSpec& s) {
  c.below(s.source_nat, kMaxSourceNats, "source_nat");
  c.vrf(s.vrf);
  c.below(s.to_vrf, kMaxVrfs, "to_vrf");
  c.any_or_canonical(s.source, "source");
  c.value(s.address.is_set(), "address");
  c.value(!s.source.address.is_set() || s.source.address.family == s.address.family, "source");
  c.value(s.port_low >= 1, "port_low");
  c.value(s.port_low <= s.port_high, "port_high");
}

void check(Check& c, const SourceNatDelete& s) {
  c.below(s.source_nat, kMaxSourceNats, "source_nat");
}

void check(Check& c, const PolicySpec& s) {
  c.below(s.policy, kMaxPolicies, "policy");
  c.value(s.name.size() <= kMaxNameLength && printable_utf8(s.name), "name");
  c.value(s.rules.size() <= kMaxPolicyRules, "rules");
  for (const PolicyRule& r : s.rules) {
    c.value(r.action <= 1, "action");
    c.any_or_canonical(r.source, "source");
    c.any_or_canonical(r.destination, "destination");
    c.value(!r.source.address.is_set() || !r.destination.address.is_set() ||
                r.source.address.family == r.destination.address.family,
            "destination");
    // Any port is 0..65535.
    c.value(r.source_port_low <= r.source_port_high, "source_port_high");
    c.value(r.destination_port_low <= r.destination_port_high, "destination_port_high");
  }
}

void check(Check& c, const PolicyDelete& s) { c.below(s.policy, kMaxPolicies, "policy"); }

void check(Check& c, const FlowFlush& s) {
  if (s.vrf != kNone) c.vrf(s.vrf);
}

}  // namespace

Status validate(const Op& op) {
  Check c;
  std::visit([&](const auto& spec) { check(c, spec); }, op);
  return c.status;
}

}  // namespace vrouter
