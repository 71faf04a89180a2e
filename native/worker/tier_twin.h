// For tests: two equal routers with a pod and its connections, one of which (`first`) has the kernel tier beside it.
// What the tier's programs make of a frame (tier/test_run.h) is held against what the other router (`second`)
// sends for it.
#pragma once
#include <algorithm>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "base/checksum.h"
#include "port/memory_port.h"
#include "tier/test_run.h"
#include "worker/engine.h"

namespace vrouter::tier_twin {

constexpr uint32_t kNode = 0xc0000201;       // 192.0.2.1
constexpr uint32_t kFarNode = 0xc0000202;    // and on
constexpr uint32_t kPod = 0x0a000001;        // 10.0.0.1
constexpr uint32_t kNeighbour = 0x0a000002;  // on this node too
constexpr uint32_t kClient = 0x0a010001;     // 10.1.0.1 and on, behind the far nodes
constexpr uint32_t kService = 0x0a630001;    // the pod's floating IP
constexpr uint32_t kGateway = 0x0a0000fe;
constexpr Mac kNodeMac{{2, 0, 0, 0, 1, 1}};
constexpr Mac kFarMac{{2, 0, 0, 0, 1, 2}};
constexpr Mac kPodMac[2] = {{{2, 0, 0, 0, 2, 1}}, {{2, 0, 0, 0, 2, 2}}};
constexpr Mac kVifMac{{2, 0, 0, 0, 3, 1}};     // the router's own towards the pods
constexpr Mac kFarPodMac{{2, 0, 0, 0, 4, 1}};  // bridged to
constexpr uint32_t kLabel = 40;                // the pod's; 41 the neighbour's
constexpr uint32_t kClientLabel = 50;          // and on
constexpr uint32_t kTunnel = 20;               // next hop of the first client, and on
constexpr uint16_t kPodPort = 443;
constexpr uint8_t kTcp = 6;
constexpr uint8_t kUdp = 17;
constexpr uint64_t kStart = 1'000'000'000;

// How clients are reached: client i by next hop kTunnel + i, with label kClientLabel + i.
enum Client : uint32_t { Plain, Other, Gre, Vxlan, Underlay6, TwoLegs, OfSet, kClients };
constexpr uint32_t kSet = 30;
constexpr uint32_t kPorts = 4;  // fabric, pod, neighbour, a second fabric

inline Address v6_of(uint32_t v4) {
  Address a;
  a.family = Family::V6;
  a.bytes = {0x20, 0x01, 0x0d, 0xb8};
  store_be32(&a.bytes[12], v4);
  return a;
}
inline uint32_t on_wire(uint32_t address) {
  uint8_t bytes[4];
  store_be32(bytes, address);
  return load_native<uint32_t>(bytes);
}

// ------------------------------------------------------------------------------------------ frames

struct Ends {
  uint32_t source;
  uint16_t source_port;
  uint32_t destination;
  uint16_t destination_port;
  uint8_t protocol;
};
inline Ends reversed(const Ends& e) {
  return {e.destination, e.destination_port, e.source, e.source_port, e.protocol};
}
// From the pod to a client.
inline Ends to_client(uint32_t client, uint8_t protocol, uint16_t client_port = 2000) {
  return {kPod, kPodPort, kClient + client, client_port, protocol};
}

inline void fix_ip(Bytes& frame, uint32_t at) {
  if (frame.size() < at + 20) return;
  const uint32_t length = (frame[at] & 15u) * 4;
  if (length < 20 || at + length > frame.size()) return;
  store_be16(&frame[at + 10], 0);
  store_be16(&frame[at + 10], checksum(&frame[at], length));
}

inline Bytes ip_packet(const Ends& ends, uint32_t payload = 10, uint8_t flags = 0x10,
                       uint32_t ack = 5000) {
  const uint32_t transport = ends.protocol == kTcp ? 20 : 8;
  Bytes p(20 + transport + payload);
  p[0] = 0x45;
  store_be16(&p[2], static_cast<uint16_t>(p.size()));
  p[8] = 64;
  p[9] = ends.protocol;
  store_be32(&p[12], ends.source);
  store_be32(&p[16], ends.destination);
  fix_ip(p, 0);
  uint8_t* t = &p[20];
  store_be16(t, ends.source_port);
  store_be16(t + 2, ends.destination_port);
  if (ends.protocol == kTcp) {
    store_be32(t + 4, 1000);
    store_be32(t + 8, ack);
    t[12] = 0x50;
    t[13] = flags;
  } else {
    store_be16(t + 4, static_cast<uint16_t>(8 + payload));
  }
  for (uint32_t i = 20 + transport; i < p.size(); ++i) p[i] = static_cast<uint8_t>(i);
  const uint32_t length = static_cast<uint32_t>(p.size()) - 20;
  const uint32_t pseudo = pseudo_sum_v4(&p[12], &p[16], ends.protocol, length);
  store_be16(t + (ends.protocol == kTcp ? 16 : 6),
             udp_checksum_nonzero(checksum_finish(checksum_add(pseudo, t, length))));
  return p;
}

inline Bytes in_ethernet(const Bytes& packet, const Mac& to, const Mac& from,
                         uint16_t type = 0x0800) {
  Bytes f(to.bytes.begin(), to.bytes.end());
  f.insert(f.end(), from.bytes.begin(), from.bytes.end());
  f.insert(f.end(), {static_cast<uint8_t>(type >> 8), static_cast<uint8_t>(type)});
  f.insert(f.end(), packet.begin(), packet.end());
  return f;
}

// As a pod sends it, and as the fabric brings it.
inline Bytes tenant_frame(const Bytes& packet, uint32_t pod = 0) {
  return in_ethernet(packet, kGatewayMac, kPodMac[pod]);
}
inline Bytes fabric_frame(const Bytes& packet, uint32_t far_node, uint32_t label = kLabel) {
  Bytes p(32);
  const uint32_t total = static_cast<uint32_t>(p.size() + packet.size());
  p[0] = 0x45;
  store_be16(&p[2], static_cast<uint16_t>(total));
  p[8] = 64;
  p[9] = kUdp;
  store_be32(&p[12], far_node);
  store_be32(&p[16], kNode);
  fix_ip(p, 0);
  store_be16(&p[20], 50000);
  store_be16(&p[22], 6635);
  store_be16(&p[24], static_cast<uint16_t>(total - 20));
  store_be32(&p[28], label << 12 | 0x100 | 64);
  p.insert(p.end(), packet.begin(), packet.end());
  return in_ethernet(p, kNodeMac, kFarMac);
}

// As the tier and the express room must send it alike: without the outer identification, once its checksum has
// been seen to be right.
inline Bytes normalised(Bytes frame, bool tunnel) {
  if (!tunnel || frame.size() < 34) return frame;
  EXPECT_EQ(checksum(&frame[14], 20), 0) << "outer checksum";
  store_be16(&frame[18], 0);
  store_be16(&frame[24], 0);
  return frame;
}

// -------------------------------------------------------------------------------------- a router

using Sent = std::vector<std::pair<uint32_t, Bytes>>;  // port, frame

struct Side {
  explicit Side(bool kernel_tier = false, uint32_t flow_entries = 4096)
      : engine(options(kernel_tier, flow_entries)) {
    for (uint32_t i = 0; i < kPorts; ++i) {
      auto port = std::make_unique<MemoryPort>(9000);
      ports[i] = port.get();
      ids[i] = engine.add_port(std::move(port));
    }
    engine.hold([&] { program(); });
  }

  static EngineOptions options(bool kernel_tier, uint32_t flow_entries) {
    EngineOptions o;
    o.flow_entries = flow_entries;
    o.buffers = 512;
    o.buffer_bytes = 9000;
    o.kernel_tier = kernel_tier;
    return o;
  }

  // Whatever has been committed, as one Program.
  void commit(const std::function<void(Router&)>& f) {
    engine.hold([&] {
      engine.router().begin_program();
      f(engine.router());
      engine.router().end_program();
    });
  }

  void program() {
    Router& r = engine.router();
    r.begin_program();
    RouterSpec spec;
    spec.ipv4 = Address::from_v4(kNode);
    spec.ipv6 = v6_of(kNode);
    r.exchange(spec);
    for (uint32_t id = 0; id < 3; ++id) {
      VrfSpec vrf;
      vrf.vrf = id;
      vrf.name = id == 0 ? "fabric" : id == 1 ? "red" : "blue";
      r.exchange(VrfId{id}, vrf);
    }
    for (uint32_t id = 0; id < kPorts; ++id) r.exchange(VifId{id}, vif(id));
    NextHopObject here;
    here.kind = NextHopKind::Receive;
    here.receive.next_hop = 5;
    here.receive.vif = 0;
    r.exchange(NextHopId{5}, here);
    for (uint32_t i = 0; i < 2; ++i) {
      NextHopObject to;
      to.kind = NextHopKind::Interface;
      to.interface.next_hop = 11 + i;
      to.interface.vrf = 1;
      to.interface.vif = 1 + i;
      to.interface.flags = kNhPolicy;
      to.interface.destination_mac = kPodMac[i];
      to.interface.source_mac = kVifMac;
      r.exchange(NextHopId{11 + i}, to);
      r.exchange_label(kLabel + i, LabelSpec{kLabel + i, 11 + i});
    }
    for (uint32_t i = 0; i < OfSet; ++i) r.exchange(NextHopId{kTunnel + i}, tunnel(i));
    NextHopObject both;
    both.kind = NextHopKind::Ecmp;
    both.ecmp.next_hop = kSet;
    both.ecmp.members = {{0, kTunnel, 60, 1}, {1, kTunnel + 1, 61, 1}};
    r.exchange(NextHopId{kSet}, both);
    route(r, 0, kNode, 5, kNoLabel);
    route(r, 1, kPod, 11, kNoLabel);
    route(r, 1, kNeighbour, 12, kNoLabel);
    route(r, 1, kService, 11, kNoLabel);
    for (uint32_t i = 0; i < OfSet; ++i) route(r, 1, kClient + i, kTunnel + i, kClientLabel + i);
    route(r, 1, kClient + OfSet, kSet, kNoLabel);
    MacSpec mac;
    mac.vrf = 1;
    mac.mac = kFarPodMac;
    mac.next_hop = kTunnel;
    mac.label = kClientLabel + 9;
    r.exchange(VrfId{1}, kFarPodMac, mac);
    FloatingIpSpec fip;
    fip.floating_ip = 1;
    fip.vif = 1;
    fip.vrf = 1;
    fip.address = Address::from_v4(kService);
    fip.fixed = Address::from_v4(kPod);
    fip.port_map = 1;
    fip.ports = {{kTcp, 80, 8080}, {kUdp, 80, 8080}};
    r.exchange_floating_ip(1, fip);
    r.end_program();
  }

  VifSpec vif(uint32_t id) const {
    const bool fabric = id == 0 || id == 3;
    VifSpec vif;
    vif.vif = id;
    vif.name = "vif";
    vif.type = static_cast<uint8_t>(fabric ? VifType::Physical : VifType::Virtual);
    vif.port = ids[id].value;
    vif.mac = fabric ? kNodeMac : kVifMac;
    vif.vrf = fabric ? 0 : 1;
    vif.flags = kVifL3 | kVifL2 | (fabric ? 0u : kVifPolicy) |
                (id == 1 ? kVifDhcpTrap | kVifGatewayTrap : 0u);
    vif.mtu = 1500;
    if (fabric) return vif;
    vif.next_hop = 10 + id;
    vif.ipv4 = Address::from_v4(id == 1 ? kPod : kNeighbour);
    vif.gateway4 = Address::from_v4(kGateway);
    return vif;
  }

  static NextHopObject tunnel(uint32_t client) {
    NextHopObject t;
    t.kind = NextHopKind::Tunnel;
    t.tunnel.next_hop = kTunnel + client;
    t.tunnel.vif = 0;
    t.tunnel.encap = static_cast<uint8_t>(client == Gre     ? Encap::MplsOverGre
                                          : client == Vxlan ? Encap::Vxlan
                                                            : Encap::MplsOverUdp);
    const bool v6 = client == Underlay6;
    t.tunnel.source = v6 ? v6_of(kNode) : Address::from_v4(kNode);
    t.tunnel.destination = v6 ? v6_of(kFarNode + client) : Address::from_v4(kFarNode + client);
    t.tunnel.destination_mac = kFarMac;
    t.tunnel.source_mac = kNodeMac;
    if (client == TwoLegs) t.tunnel.more_legs = {{3, kFarMac, kNodeMac}};
    return t;
  }

  static void route(Router& r, uint32_t vrf, uint32_t address, uint32_t next_hop, uint32_t label) {
    for (const bool v6 : {false, true}) {
      RouteSpec spec;
      spec.vrf = vrf;
      spec.prefix = {v6 ? v6_of(address) : Address::from_v4(address),
                     static_cast<uint8_t>(v6 ? 128 : 32)};
      spec.next_hop = next_hop;
      spec.label = label;
      r.exchange(VrfId{vrf}, spec.prefix, spec);
    }
  }

  Sent send(uint32_t port, const Bytes& frame) {
    Sent sent;
    ports[port]->inject(frame.data(), static_cast<uint32_t>(frame.size()));
    engine.step(now_ns);
    Bytes out;
    for (uint32_t i = 0; i < kPorts; ++i) {
      while (ports[i]->collect(out)) sent.emplace_back(i, out);
    }
    return sent;
  }

  // A connection past its handshake, opened by the pod; of a client that is reached by MPLSoUDP over IPv4.
  void open(const Ends& ends, uint32_t far_node) {
    const auto both = [&](uint8_t flags, uint8_t answer) {
      send(1, tenant_frame(ip_packet(ends, 0, flags, 4000)));
      send(0, fabric_frame(ip_packet(reversed(ends), 0, answer, 1001), far_node));
    };
    if (ends.protocol == kTcp) both(0x02, 0x12);
    both(0x10, 0x10);
    both(0x10, 0x10);
  }

  FlowId flow(const Ends& ends, uint32_t vif = 1) {
    FlowKey key{};
    store_be32(key.source, ends.source);
    store_be32(key.destination, ends.destination);
    key.source_port = ends.source_port;
    key.destination_port = ends.destination_port;
    key.protocol = ends.protocol;
    key.family = Family::V4;
    const NextHop* own = engine.router().next_hop(NextHopId{10 + vif});
    key.scope = own != nullptr ? own->scope : 0;
    return engine.flows().find(key, engine.flows().hash(key));
  }
  OfferedFlow outwards(const Ends& ends) { return {flow(ends), VifId{1}, 0, 0}; }
  OfferedFlow inwards(const Ends& ends) {
    return {flow(reversed(ends)), VifId{0}, kLabel, on_wire(kNode)};
  }

  Engine engine;
  MemoryPort* ports[kPorts];
  PortId ids[kPorts];
  uint64_t now_ns = kStart;
};

// Whoever asks whether a router's rooms have met a flow: it was not the express room's then.
struct Meetings : Tier {
  void offer(Context&, const OfferedFlow&) override {}
  void met(Context&, FlowId) override { ++count; }
  uint32_t count = 0;
};

// Two that are equal, and the tier beside the first. Whoever uses it asks ready() first.
struct Twin {
  explicit Twin(uint32_t flow_entries = 4096)
      : first(false, flow_entries), second(false, flow_entries) {}
  ~Twin() {
    first.engine.context().tier = nullptr;
    second.engine.context().tier = nullptr;
    tier.reset();
    devices.leave();
  }
  // "" or why not, for GTEST_SKIP.
  std::string make() {
    if (std::string why = devices.make(); !why.empty()) return why;
    std::string why;
    tier = KernelTier::open(&why);
    if (tier == nullptr) return why;
    for (const auto& [port, device] : {std::pair{0, devices.fabric()}, {1, devices.tenant()}}) {
      why = tier->join(first.ids[port], device);
      if (why.find("no TCX") != std::string::npos) return why;
      EXPECT_EQ(why, "");
    }
    first.engine.context().tier = tier.get();
    second.engine.context().tier = &meetings;
    EXPECT_EQ(programs.load(*tier, first.ids[1]), "");
    return "";
  }
  Context& context() { return first.engine.context(); }
  void open(const Ends& ends, uint32_t far_node) {
    first.open(ends, far_node);
    second.open(ends, far_node);
  }
  // Both halves.
  void offer(const Ends& ends) {
    tier->offer(context(), first.outwards(ends));
    tier->offer(context(), first.inwards(ends));
  }

  Devices devices;
  Side first;
  Side second;
  Meetings meetings;
  std::unique_ptr<KernelTier> tier;
  Programs programs;
};

}  // namespace vrouter::tier_twin
