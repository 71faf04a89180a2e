// Policy: what a vif's compiled rules say of a new flow; asked once per flow (decide.cc).
//
// Each vif judges what its own tenant sees: the sender's egress side sees the service address, the
// receiver's ingress side sees the translated one (docs/decisions). Replies of an allowed flow are
// allowed: the reverse entry is made with it.
//  * network policies: first match over all of them in order; none matches = deny.
//  * security groups: a pass rule in any group allows; none matches = deny.
//  * no policy and no group: everything passes.
#include "base/bytes.h"
#include "path/rooms.h"

namespace vrouter {
namespace {

bool port_in(uint16_t low, uint16_t high, uint16_t port) { return low <= port && port <= high; }

// Prefix::contains, of an address as it stands in a key: no Address is made, and a short prefix of
// IPv4 is one word compared.
bool covers(const Prefix& prefix, Family family, const uint8_t* address) {
  if (!prefix.address.is_set()) return true;
  if (family != Family::V4) return prefix.contains(Address::from_bytes(family, address));
  if (prefix.address.family != Family::V4 || prefix.length > 32) return false;
  const uint64_t differs =
      load_be32(prefix.address.bytes.data()) ^ load_be32(address);  // shifted by up to 32
  return differs >> (32 - prefix.length) == 0;
}

// What most rules differ in comes first.
bool rule_matches(const PolicyRule& rule, const FlowKey& key, bool ports) {
  if (rule.protocol != 0 && rule.protocol != key.protocol) return false;
  if (ports) {
    if (!port_in(rule.destination_port_low, rule.destination_port_high, key.destination_port) ||
        !port_in(rule.source_port_low, rule.source_port_high, key.source_port)) {
      return false;
    }
  } else if (rule.source_port_low != 0 || rule.destination_port_low != 0) {
    // Ports of ICMP are identifiers and types: a port range says nothing about them.
    return false;
  }
  return covers(rule.source, key.family, key.source) &&
         covers(rule.destination, key.family, key.destination);
}

enum class Match { None, Pass, Deny };

Match first_match(const Router& router, const std::vector<PolicyRef>& policies,
                  const FlowKey& key) {
  const bool ports = has_ports(key.protocol);
  for (const PolicyRef& ref : policies) {
    const PolicyTable* policy = router.policy(PolicyId{ref.policy});
    if (policy == nullptr) continue;
    for (const PolicyRule& rule : policy->spec.rules) {
      if (rule_matches(rule, key, ports)) return rule.action != 0 ? Match::Pass : Match::Deny;
    }
  }
  return Match::None;
}

}  // namespace

FlowDrop judge(Context& context, const Vif& vif, const FlowKey& key, bool towards) {
  const VifSpec& spec = vif.spec;
  if (!spec.network_policies.empty() &&
      first_match(context.router, spec.network_policies, key) != Match::Pass) {
    return towards ? FlowDrop::Policy : FlowDrop::OutPolicy;
  }
  const std::vector<PolicyRef>& groups = towards ? spec.ingress_groups : spec.egress_groups;
  if (!groups.empty() && first_match(context.router, groups, key) != Match::Pass) {
    return towards ? FlowDrop::SG : FlowDrop::OutSG;
  }
  return FlowDrop::Unknown;
}

}  // namespace vrouter
