// One table: an op, spoilt in one way, and what it is refused for.
#include <gtest/gtest.h>

#include <functional>

#include "program/program.h"

namespace vrouter {
namespace {

Prefix prefix(const char* text) {
  Prefix p;
  EXPECT_TRUE(Prefix::parse(text, p));
  return p;
}
Address address(const char* text) {
  Address a;
  EXPECT_TRUE(Address::parse(text, a));
  return a;
}

VifSpec good_vif() {
  VifSpec s;
  s.vif = 1;
  s.name = "tap1";
  s.type = static_cast<uint8_t>(VifType::Virtual);
  s.port = 0;
  s.mtu = 1500;
  return s;
}
TunnelSpec good_tunnel() {
  TunnelSpec s;
  s.next_hop = 1;
  s.encap = static_cast<uint8_t>(Encap::MplsOverUdp);
  s.source = address("10.0.0.1");
  s.destination = address("10.0.0.2");
  return s;
}
EcmpSpec good_ecmp() { return {1, 0, 0, 0, {{1, 5, kNoLabel, 1}, {2, 5, 20, 0}}}; }
RouteSpec good_route() { return {1, prefix("10.0.0.0/8"), 1, kNoLabel, 0, 0, {}}; }
FloatingIpSpec good_floating_ip() {
  return {0, 1, 1, address("1.2.3.4"), address("10.0.0.1"), 0, 1, {{6, 80, 8080}, {17, 80, 8080}}};
}
SourceNatSpec good_source_nat() {
  return {0, 1, 2, prefix("10.0.0.0/8"), address("1.2.3.4"), 1024, 65535};
}
PolicySpec good_policy() { return {1, "p", {{1, 6, prefix("10.0.0.0/8"), 0, 65535, {}, 80, 80}}}; }

struct Case {
  const char* what;
  Op op;
  StatusCode code;
  const char* field;
};

// `good` with one thing changed.
template <class Spec>
Case spoilt(const char* what, Spec good, std::function<void(Spec&)> spoil, StatusCode code,
            const char* field) {
  spoil(good);
  return {what, good, code, field};
}

TEST(Validate, GoodOps) {
  VifSpec host = good_vif();
  host.type = static_cast<uint8_t>(VifType::Host);
  host.mtu = 0;
  host.port = ~0u;
  RouteSpec vni = good_route();
  vni.label = kMaxVni;
  FloatingIpSpec plain = good_floating_ip();
  plain.port_map = 0;
  plain.ports.clear();
  const std::vector<Op> good = {
      RouterSpec{address("10.0.0.1"), address("fd00::1"), 100, 3, {{6, 0, 30}, {6, 1, 180}}},
      RouterSpec{},
      VrfSpec{kMaxVrfs - 1, "r\u00e9seau", 0},
      good_vif(),
      host,
      DiscardSpec{1},
      DiscardSpec{0},
      ReceiveSpec{1, 0, ~0u, kNhPolicy},
      L2ReceiveSpec{1, 0},
      InterfaceSpec{1, 0, 1, kNhBridge, {}, {}},
      good_tunnel(),
      good_ecmp(),
      EcmpSpec{1, 0, 0, 0, {}},
      ReplicateSpec{1, 0, 0, 4, {{2, kMaxVni}}},
      VrfTranslateSpec{1, 2, 0},
      NextHopDelete{1},
      good_route(),
      vni,
      RouteSpec{0, prefix("::/0"), 0, kNoLabel, 0, 0, {}},
      MacSpec{1, kBroadcastMac, 1, kNoLabel, kMacDhcpFlood},
      LabelSpec{16, 1},
      LabelSpec{kMaxLabel - 1, 1},
      VniSpec{1, 1},
      VniSpec{kMaxVni, 1},
      good_floating_ip(),
      plain,
      good_source_nat(),
      good_policy(),
      PolicySpec{},
      FlowFlush{~0u},
      FlowFlush{0},
      VrfDelete{0},
      VifDelete{0},
      PolicyDelete{0}};
  for (size_t i = 0; i < good.size(); ++i) {
    const Status s = validate(good[i]);
    EXPECT_TRUE(s.ok()) << "case " << i << ": " << status_code(s.code) << " " << s.field;
  }
}

TEST(Validate, BadOps) {
  constexpr StatusCode kValue = StatusCode::BadValue, kRange = StatusCode::OutOfRange;
  using Vif = VifSpec;
  const std::vector<Case> cases = {
      {"nothing", Op{}, StatusCode::UnknownOp, "code"},
      // router
      {"IPv6 as ipv4", RouterSpec{address("::1"), {}, 0, 0, {}}, kValue, "ipv4"},
      {"IPv4 as ipv6", RouterSpec{{}, address("1.1.1.1"), 0, 0, {}}, kValue, "ipv6"},
      {"router flag", RouterSpec{{}, {}, 0, 4, {}}, kValue, "flags"},
      {"timeout state", RouterSpec{{}, {}, 0, 0, {{6, 3, 30}}}, kValue, "state"},
      {"no timeout", RouterSpec{{}, {}, 0, 0, {{6, 0, 0}}}, kValue, "seconds"},
      {"timeout beyond the clock", RouterSpec{{}, {}, 0, 0, {{6, 0, 2'000'001}}}, kValue,
       "seconds"},
      {"timeout twice", RouterSpec{{}, {}, 0, 0, {{6, 0, 1}, {6, 0, 2}}}, kValue, "timeouts"},
      // VRFs
      {"VRF id", VrfSpec{kMaxVrfs, "", 0}, kRange, "vrf"},
      {"VRF id", VrfDelete{~0u}, kRange, "vrf"},
      {"control character", VrfSpec{1, "a\nb", 0}, kValue, "name"},
      {"escape", VrfSpec{1, "\x1b[2J", 0}, kValue, "name"},
      {"C1 control", VrfSpec{1, "\xc2\x9b", 0}, kValue, "name"},
      {"half a character", VrfSpec{1, "\xc3", 0}, kValue, "name"},
      {"overlong slash", VrfSpec{1, "\xc0\xaf", 0}, kValue, "name"},
      {"overlong of three", VrfSpec{1, "\xe0\x80\xaf", 0}, kValue, "name"},
      {"surrogate", VrfSpec{1, "\xed\xa0\x80", 0}, kValue, "name"},
      {"beyond Unicode", VrfSpec{1, "\xf4\x90\x80\x80", 0}, kValue, "name"},
      {"stray continuation", VrfSpec{1, "\x80", 0}, kValue, "name"},
      {"long name", VrfSpec{1, std::string(kMaxNameLength + 1, 'x'), 0}, kValue, "name"},
      // vifs
      spoilt<Vif>(
          "vif id", good_vif(), [](Vif& s) { s.vif = kMaxVifs; }, kRange, "vif"),
      spoilt<Vif>(
          "vif type", good_vif(), [](Vif& s) { s.type = 4; }, kValue, "type"),
      spoilt<Vif>(
          "port", good_vif(), [](Vif& s) { s.port = kMaxPorts; }, kRange, "port"),
      spoilt<Vif>(
          "group MAC", good_vif(), [](Vif& s) { s.mac = kBroadcastMac; }, kValue, "mac"),
      spoilt<Vif>(
          "vrf", good_vif(), [](Vif& s) { s.vrf = kMaxVrfs; }, kRange, "vrf"),
      spoilt<Vif>(
          "flags", good_vif(), [](Vif& s) { s.flags = 2; }, kValue, "flags"),
      spoilt<Vif>(
          "small MTU", good_vif(), [](Vif& s) { s.mtu = 575; }, kValue, "mtu"),
      spoilt<Vif>(
          "large MTU", good_vif(), [](Vif& s) { s.mtu = 65536; }, kValue, "mtu"),
      spoilt<Vif>(
          "no MTU", good_vif(), [](Vif& s) { s.mtu = 0; }, kValue, "mtu"),
      spoilt<Vif>(
          "next hop", good_vif(), [](Vif& s) { s.next_hop = kMaxNextHops; }, kRange, "next_hop"),
      spoilt<Vif>(
          "gateway", good_vif(), [](Vif& s) { s.gateway4 = address("::1"); }, kValue, "gateway4"),
      spoilt<Vif>(
          "policy", good_vif(), [](Vif& s) { s.egress_groups = {{kMaxPolicies}}; }, kRange,
          "egress_groups"),
      spoilt<Vif>(
          "policies", good_vif(), [](Vif& s) { s.ingress_groups.resize(17); }, kValue,
          "ingress_groups"),
      {"vif id", VifDelete{kMaxVifs}, kRange, "vif"},
      // next hops
      {"next hop 0", ReceiveSpec{0, 0, ~0u, 0}, kValue, "next_hop"},
      {"next hop 0", NextHopDelete{0}, kValue, "next_hop"},
      {"next hop id", DiscardSpec{kMaxNextHops}, kRange, "next_hop"},
      {"receive vif", ReceiveSpec{1, 0, kMaxVifs, 0}, kRange, "vif"},
      {"no interface", InterfaceSpec{1, 0, ~0u, 0, {}, {}}, kRange, "vif"},
      {"next hop flag", VrfTranslateSpec{1, 0, 1}, kValue, "flags"},
      spoilt<TunnelSpec>(
          "no encap", good_tunnel(), [](auto& s) { s.encap = 0; }, kValue, "encap"),
      spoilt<TunnelSpec>(
          "encap", good_tunnel(), [](auto& s) { s.encap = 4; }, kValue, "encap"),
      spoilt<TunnelSpec>(
          "no source", good_tunnel(), [](auto& s) { s.source = {}; }, kValue, "source"),
      spoilt<TunnelSpec>(
          "no far end", good_tunnel(), [](auto& s) { s.destination = {}; }, kValue, "destination"),
      spoilt<TunnelSpec>(
          "families", good_tunnel(), [](auto& s) { s.destination = address("::1"); }, kValue,
          "destination"),
      spoilt<EcmpSpec>(
          "member twice", good_ecmp(), [](auto& s) { s.members[1].member = 1; }, kValue, "member"),
      spoilt<EcmpSpec>(
          "no member id", good_ecmp(), [](auto& s) { s.members[1].member = kNoMember; }, kValue,
          "member"),
      spoilt<EcmpSpec>(
          "member's next hop", good_ecmp(), [](auto& s) { s.members[1].next_hop = kMaxNextHops; },
          kRange, "next_hop"),
      spoilt<EcmpSpec>(
          "member's label", good_ecmp(), [](auto& s) { s.members[1].label = kMaxVni + 1; }, kValue,
          "label"),
      spoilt<EcmpSpec>(
          "hash fields", good_ecmp(), [](auto& s) { s.hash_fields = 32; }, kValue, "hash_fields"),
      {"replicate kind", ReplicateSpec{1, 0, 0, 5, {}}, kValue, "kind"},
      {"replicas", ReplicateSpec{1, 0, 0, 0, std::vector<Replica>(kMaxReplicas + 1)}, kValue,
       "replicas"},
      // routes and the like
      spoilt<RouteSpec>(
          "host bits", good_route(),
          [](auto& s) {
            s.prefix = {address("10.0.0.1"), 8};
          },
          kValue, "prefix"),
      spoilt<RouteSpec>(
          "no prefix", good_route(), [](auto& s) { s.prefix = {}; }, kValue, "prefix"),
      spoilt<RouteSpec>(
          "length", good_route(), [](auto& s) { s.prefix.length = 33; }, kValue, "prefix"),
      spoilt<RouteSpec>(
          "flags", good_route(), [](auto& s) { s.flags = 16; }, kValue, "flags"),
      spoilt<RouteSpec>(
          "label", good_route(), [](auto& s) { s.label = ~0u; }, kValue, "label"),
      {"prefix to delete", RouteDelete{1, {address("10.0.0.1"), 8}}, kValue, "prefix"},
      {"no MAC", MacSpec{1, {}, 1, kNoLabel, 0}, kValue, "mac"},
      {"MAC flags", MacSpec{1, kBroadcastMac, 1, kNoLabel, 1}, kValue, "flags"},
      {"reserved label", LabelSpec{15, 1}, kValue, "label"},
      {"the label for none", LabelSpec{kNoLabel, 1}, kValue, "label"},
      {"label", LabelSpec{kMaxLabel + 1, 1}, kRange, "label"},
      {"label", LabelDelete{kMaxLabel + 1}, kRange, "label"},
      {"VNI 0", VniSpec{0, 1}, kValue, "vni"},
      {"VNI", VniSpec{kMaxVni + 1, 1}, kRange, "vni"},
      // NAT and policy
      spoilt<FloatingIpSpec>(
          "no address", good_floating_ip(), [](auto& s) { s.address = {}; }, kValue, "address"),
      spoilt<FloatingIpSpec>(
          "families", good_floating_ip(), [](auto& s) { s.fixed = address("::1"); }, kValue,
          "fixed"),
      spoilt<FloatingIpSpec>(
          "direction", good_floating_ip(), [](auto& s) { s.direction = 3; }, kValue, "direction"),
      spoilt<FloatingIpSpec>(
          "ports without a map", good_floating_ip(), [](auto& s) { s.port_map = 0; }, kValue,
          "ports"),
      spoilt<FloatingIpSpec>(
          "port twice", good_floating_ip(), [](auto& s) { s.ports[1] = s.ports[0]; }, kValue,
          "ports"),
      spoilt<FloatingIpSpec>(
          "port 0", good_floating_ip(), [](auto& s) { s.ports[1].port = 0; }, kValue, "port"),
      spoilt<FloatingIpSpec>(
          "id", good_floating_ip(), [](auto& s) { s.floating_ip = kMaxFloatingIps; }, kRange,
          "floating_ip"),
      spoilt<SourceNatSpec>(
          "port 0", good_source_nat(), [](auto& s) { s.port_low = 0; }, kValue, "port_low"),
      spoilt<SourceNatSpec>(
          "port range", good_source_nat(), [](auto& s) { s.port_high = 1023; }, kValue,
          "port_high"),
      spoilt<SourceNatSpec>(
          "source", good_source_nat(), [](auto& s) { s.source = prefix("::/0"); }, kValue,
          "source"),
      spoilt<SourceNatSpec>(
          "to_vrf", good_source_nat(), [](auto& s) { s.to_vrf = kMaxVrfs; }, kRange, "to_vrf"),
      spoilt<PolicySpec>(
          "action", good_policy(), [](auto& s) { s.rules[0].action = 2; }, kValue, "action"),
      spoilt<PolicySpec>(
          "port range", good_policy(), [](auto& s) { s.rules[0].destination_port_high = 79; },
          kValue, "destination_port_high"),
      spoilt<PolicySpec>(
          "host bits", good_policy(), [](auto& s) { s.rules[0].source.address.bytes[3] = 1; },
          kValue, "source"),
      spoilt<PolicySpec>(
          "families", good_policy(), [](auto& s) { s.rules[0].destination = prefix("::/0"); },
          kValue, "destination"),
      spoilt<PolicySpec>(
          "rules", good_policy(), [](auto& s) { s.rules.resize(kMaxPolicyRules + 1); }, kValue,
          "rules"),
      {"flush", FlowFlush{kMaxVrfs}, kRange, "vrf"},
  };
  for (const Case& c : cases) {
    const Status s = validate(c.op);
    EXPECT_EQ(status_code(s.code), std::string(status_code(c.code))) << c.what;
    EXPECT_STREQ(s.field, c.field) << c.what;
    EXPECT_EQ(s.op_index, kNoOp);
  }
}

}  // namespace
}  // namespace vrouter
