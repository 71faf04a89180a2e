// Arbitrary ops for property tests and fuzzing: ids from small ranges, so that ops meet each
// other's objects, and now and then a value that must be refused. Random is anything with `uint32_t
// below(uint32_t n)`: a generator, or the bytes of a fuzzer's input.
#pragma once
#include "program/program.h"

namespace vrouter {

template <class Random>
class ArbitraryOp {
 public:
  static constexpr uint32_t kVrfs = 5;
  static constexpr uint32_t kVifs = 6;
  static constexpr uint32_t kNextHops = 14;
  static constexpr uint32_t kPolicies = 4;
  static constexpr uint32_t kPorts = 4;

  explicit ArbitraryOp(Random& random) : random_(random) {}

  Op next() {
    switch (pick(30)) {
      case 0:
        return router_set();
      case 1:
      case 2:
        return VrfSpec{vrf(), name(), pick(3) * 10};
      case 3:
        return VrfDelete{vrf()};
      case 4:
      case 5:
        return vif_set();
      case 6:
        return VifDelete{vif()};
      case 7:
        return DiscardSpec{next_hop()};
      case 8:
        return ReceiveSpec{next_hop(), vrf(), one_in(2) ? vif() : ~0u, flags()};
      case 9:
        return L2ReceiveSpec{next_hop(), vrf()};
      case 10:
      case 11:
        return InterfaceSpec{next_hop(), vrf(), vif(), flags(), mac(), mac()};
      case 12:
      case 13:
        return tunnel_set();
      case 14:
        return ecmp_set();
      case 15:
        return replicate_set();
      case 16:
        return VrfTranslateSpec{next_hop(), vrf(), flags()};
      case 17:
        return NextHopDelete{next_hop()};
      case 18:
      case 19:
        return RouteSpec{vrf(), prefix(), next_hop(), label(), byte(16), byte(32), mac()};
      case 20:
        return RouteDelete{vrf(), prefix()};
      case 21:
        return MacSpec{vrf(), mac(), next_hop(), label(), static_cast<uint8_t>(byte(2) * 4)};
      case 22:
        return MacDelete{vrf(), mac()};
      case 23:
        return one_in(3) ? Op{LabelDelete{16 + pick(4)}} : LabelSpec{16 + pick(4), next_hop()};
      case 24:
        return one_in(3) ? Op{VniDelete{vni()}} : VniSpec{vni(), next_hop()};
      case 25:
        return floating_ip_set();
      case 26:
        return one_in(2) ? Op{FloatingIpDelete{pick(6)}} : source_nat_set();
      case 27:
        return one_in(2) ? Op{SourceNatDelete{pick(4)}} : FlowFlush{one_in(2) ? vrf() : ~0u};
      case 28:
        return policy_set();
      default:
        return PolicyDelete{pick(kPolicies)};
    }
  }

 private:
  uint32_t pick(uint32_t n) { return random_.below(n); }
  bool one_in(uint32_t n) { return pick(n) == 0; }
  uint8_t byte(uint32_t n) { return static_cast<uint8_t>(pick(n)); }
  uint16_t word(uint32_t n) { return static_cast<uint16_t>(pick(n)); }
  uint32_t vrf() { return one_in(500) ? kMaxVrfs : pick(kVrfs); }
  uint32_t vif() { return one_in(500) ? kMaxVifs : pick(kVifs); }
  uint32_t next_hop() { return one_in(500) ? kMaxNextHops - 1 + pick(2) : pick(kNextHops); }
  uint32_t flags() { return one_in(200) ? 1 : pick(2) * kNhPolicy | pick(2) * kNhBridge; }
  uint32_t label() { return one_in(3) ? kNoLabel : 16 + pick(4); }
  uint32_t vni() { return one_in(100) ? pick(2) * (kMaxVni + 1) : 5000 + pick(3); }
  std::string name() {
    return one_in(200) ? "\xff" : std::string(pick(3), static_cast<char>('a' + pick(3)));
  }

  Mac mac() {
    Mac m{{2, 0, 0, 0, byte(2), byte(4)}};
    return one_in(10) ? kBroadcastMac : m;
  }
  Address address(Family family) {
    uint8_t bytes[16] = {};
    if (family == Family::V4) {
      bytes[0] = 10;
      bytes[3] = byte(4);
    } else {
      bytes[0] = 0xfd;
      bytes[15] = byte(4);
    }
    return Address::from_bytes(family, bytes);
  }
  Family family() { return one_in(3) ? Family::V6 : Family::V4; }
  Address maybe(Family f) { return one_in(2) ? address(f) : Address{}; }

  Prefix prefix() {
    static constexpr uint8_t kLengths[] = {0, 8, 24, 30, 31, 32};
    Prefix p{address(family()), kLengths[pick(6)]};
    if (p.address.family == Family::V6) p.length = static_cast<uint8_t>(p.length * 4);
    if (one_in(300)) return p;  // host bits may stand
    for (uint32_t bit = p.length; bit < 128; ++bit) {
      p.address.bytes[bit / 8] &= static_cast<uint8_t>(~(0x80u >> bit % 8));
    }
    return p;
  }
  Prefix any_or_prefix() { return one_in(2) ? Prefix{} : prefix(); }

  Op router_set() {
    RouterSpec s{maybe(Family::V4), maybe(Family::V6), pick(100), pick(4), {}};
    for (uint32_t n = pick(3), i = 0; i < n; ++i) {
      s.timeouts.push_back({static_cast<uint8_t>(6 + i), byte(3), 1 + pick(100)});
    }
    return s;
  }

  std::vector<PolicyRef> refs() {
    std::vector<PolicyRef> out;
    for (uint32_t n = one_in(3) ? pick(3) : 0, i = 0; i < n; ++i) out.push_back({pick(kPolicies)});
    return out;
  }

  Op vif_set() {
    VifSpec s;
    s.vif = vif();
    s.name = name();
    s.type = byte(4);
    s.port = one_in(2) ? ~0u : pick(kPorts + (one_in(20) ? 1 : 0));
    s.mac = {{0, 0, 0x5e, 0, 1, byte(2)}};
    s.vrf = vrf();
    s.flags = pick(2) * kVifPolicy | pick(2) * kVifL3;
    s.mtu = one_in(200) ? 100 : 1400 + pick(3) * 100;
    s.next_hop = next_hop();
    s.ipv4 = maybe(Family::V4);
    s.gateway6 = maybe(Family::V6);
    s.network_policies = refs();
    s.ingress_groups = refs();
    s.egress_groups = refs();
    return s;
  }

  Op tunnel_set() {
    const Family f = family();
    TunnelSpec s{next_hop(), vrf(),      vif(), flags(), static_cast<uint8_t>(1 + pick(3)),
                 address(f), address(f), mac(), mac(),   {},
                 0,          {}};
    if (one_in(2)) s.l3_vxlan_mac = {{2, 1, 1, 1, 1, byte(2)}};
    for (uint32_t n = pick(kMaxTunnelLegs), i = 0; i < n; ++i) {
      s.more_legs.push_back({vif(), mac(), mac()});
    }
    s.legs_down = byte(4);
    return s;
  }

  Op ecmp_set() {
    EcmpSpec s{next_hop(), vrf(), flags(), byte(32), {}};
    for (uint32_t n = pick(4), i = 0; i < n; ++i) {
      s.members.push_back({static_cast<uint16_t>(i), next_hop(), label(), word(3)});
    }
    if (one_in(50)) s.members.push_back({0, 0, kNoLabel, 1});
    return s;
  }

  Op replicate_set() {
    ReplicateSpec s{next_hop(), vrf(), flags(), byte(5), {}};
    for (uint32_t n = pick(4), i = 0; i < n; ++i) s.replicas.push_back({next_hop(), label()});
    return s;
  }

  Op floating_ip_set() {
    const Family f = family();
    FloatingIpSpec s{pick(6), vif(), vrf(), address(f), address(f), byte(3), byte(2), {}};
    if (s.port_map == 1) s.ports.push_back({6, 80, static_cast<uint16_t>(8080 + pick(2))});
    return s;
  }

  Op source_nat_set() {
    const uint16_t low = static_cast<uint16_t>(one_in(100) ? 0 : 1024 + pick(100));
    return SourceNatSpec{
        pick(4), vrf(), vrf(), {}, address(family()), low, static_cast<uint16_t>(low + pick(100))};
  }

  Op policy_set() {
    PolicySpec s{pick(kPolicies), name(), {}};
    for (uint32_t n = pick(3), i = 0; i < n; ++i) {
      s.rules.push_back({byte(2), byte(3), any_or_prefix(), 0, 65535, {}, word(2), 65535});
    }
    return s;
  }

  Random& random_;
};

}  // namespace vrouter
