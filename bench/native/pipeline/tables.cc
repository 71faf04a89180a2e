#include "pipeline/tables.h"

#include <algorithm>

namespace vrouter::bench {

std::vector<Op> tables(const Workload& workload, uint32_t flows, PortId fabric, PortId pod) {
  const Kind kind = workload.kind;
  const auto address = [&](uint32_t number) { return address_of(workload.family, number); };
  std::vector<Op> ops;
  RouterSpec router;
  router.ipv4 = Address::from_v4(kThisNode);
  ops.push_back(router);
  for (const char* name : {"fabric", "k8s-default-pod-network", "public"}) {
    VrfSpec vrf;
    vrf.vrf = static_cast<uint32_t>(ops.size()) - 1;
    vrf.name = name;
    ops.push_back(vrf);
  }
  VifSpec uplink;
  uplink.vif = 0;
  uplink.name = "eth0";
  uplink.type = static_cast<uint8_t>(VifType::Physical);
  uplink.port = fabric.value;
  uplink.mac = kNodeMac;
  uplink.vrf = 0;
  uplink.flags = kVifL3 | kVifL2;
  uplink.mtu = 9000;
  uplink.ipv4 = Address::from_v4(kThisNode);
  ops.push_back(uplink);
  VifSpec tenant;
  tenant.vif = 1;
  tenant.name = "tapeth0-backend";
  tenant.type = static_cast<uint8_t>(VifType::Virtual);
  tenant.port = pod.value;
  tenant.mac = kGatewayMac;
  tenant.vrf = 1;
  tenant.flags = kVifL3;
  if (has_flows(kind)) tenant.flags |= kVifPolicy;
  if (kind == Kind::Bridge) tenant.flags |= kVifL2;
  tenant.mtu = 1500;
  tenant.next_hop = 10;
  (workload.family == Family::V4 ? tenant.ipv4 : tenant.ipv6) = address(kPod);
  if (has_flows(kind)) tenant.network_policies = {{1}};
  ops.push_back(tenant);
  PolicySpec policy;
  policy.policy = 1;
  policy.name = "web";
  for (const uint8_t protocol : {uint8_t{17}, uint8_t{6}}) {  // the second matches
    PolicyRule rule;
    rule.action = 1;
    rule.protocol = protocol;
    rule.source_port_high = rule.destination_port_high = 65535;
    policy.rules.push_back(rule);
  }
  ops.push_back(policy);
  ReceiveSpec here;  // tunnels to this node's address end here
  here.next_hop = 5;
  here.vrf = 0;
  here.vif = 0;
  ops.push_back(here);
  InterfaceSpec to_pod;
  to_pod.next_hop = 10;
  to_pod.vrf = 1;
  to_pod.vif = 1;
  if (has_flows(kind)) to_pod.flags = kNhPolicy;
  to_pod.destination_mac = kPodMac;
  to_pod.source_mac = kGatewayMac;
  ops.push_back(to_pod);
  EcmpSpec any_node;
  any_node.next_hop = 30;
  any_node.vrf = 0;
  for (uint32_t i = 0; i < kFarNodes; ++i) {
    TunnelSpec tunnel;
    tunnel.next_hop = 20 + i;
    tunnel.vrf = 0;
    tunnel.vif = 0;
    tunnel.encap = static_cast<uint8_t>(workload.encap);
    tunnel.source = Address::from_v4(kThisNode);
    tunnel.destination = Address::from_v4(kOtherNode + i);
    tunnel.destination_mac = kOtherNodeMac;
    tunnel.source_mac = kNodeMac;
    ops.push_back(tunnel);
    any_node.members.push_back({static_cast<uint16_t>(i), 20 + i, kLabelOut, 1});
  }
  ops.push_back(any_node);
  LabelSpec label;
  label.label = kLabelIn;
  label.next_hop = 10;
  ops.push_back(label);
  const auto route = [&](uint32_t vrf, const Address& to, uint32_t next_hop, uint32_t with_label) {
    RouteSpec r;
    r.vrf = vrf;
    r.prefix = {to, static_cast<uint8_t>(8 * to.size())};
    r.next_hop = next_hop;
    r.label = with_label;
    ops.push_back(r);
  };
  route(0, Address::from_v4(kThisNode), 5, kNoLabel);
  route(1, address(kPod), 10, kNoLabel);
  route(1, address(kService), 10, kNoLabel);
  const uint32_t far = many_nodes(kind) ? 30 : 20;
  const uint32_t far_label = many_nodes(kind) ? kNoLabel : kLabelOut;
  for (uint32_t i = 0; i < clients_of(kind, flows); ++i) {
    route(kind == Kind::NewFlows ? 2 : 1, address(kFirstClient + i), far, far_label);
  }
  if (kind == Kind::Bridge) {
    for (uint32_t i = 0; i < flows; ++i) {
      MacSpec mac;
      mac.vrf = 1;
      mac.mac = host_mac(i);
      mac.next_hop = 20;
      mac.label = kLabelOut;
      ops.push_back(mac);
    }
  }
  if (kind == Kind::NewFlows) {
    FloatingIpSpec own;
    own.floating_ip = 2;
    own.vif = 1;
    own.vrf = 2;
    own.address = address(kPublic);
    own.fixed = address(kPod);
    own.direction = static_cast<uint8_t>(NatDirection::Both);
    ops.push_back(own);
  }
  FloatingIpSpec service;
  service.floating_ip = 1;
  service.vif = 1;
  service.vrf = 1;
  service.address = address(kService);
  service.fixed = address(kPod);
  service.direction = static_cast<uint8_t>(NatDirection::Both);
  service.port_map = 1;
  service.ports = {{6, kServicePort, kPodPort}};
  ops.push_back(service);
  return ops;
}

void commit(Engine& engine, const std::vector<Op>& all) {
  for (size_t from = 0; from < all.size(); from += kMaxProgramOps) {
    const size_t to = std::min<size_t>(all.size(), from + kMaxProgramOps);
    std::vector<Op> ops;
    const Status decoded =
        decode(encode_program(std::vector<Op>(all.begin() + static_cast<ptrdiff_t>(from),
                                              all.begin() + static_cast<ptrdiff_t>(to))),
               ops);
    if (!decoded.ok()) fail("decode: %s, op %u", status_code(decoded.code), decoded.op_index);
    engine.hold([&] {
      const ApplyResult applied = apply(
          ops, engine.router(),
          [](void* e, PortId port) { return static_cast<Engine*>(e)->port_exists(port); }, &engine);
      if (!applied.status.ok()) {
        fail("apply: %s, op %u, field %s", status_code(applied.status.code),
             applied.status.op_index, applied.status.field);
      }
    });
  }
}

}  // namespace vrouter::bench
