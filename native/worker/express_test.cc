// The express room against the rooms it stands for: two engines with the same tables get the same
// random frames, one of them with the express room closed. What leaves, what is counted and every
// flow must be the same.
//
// Frames are what tenants and the fabric send, IPv4 and IPv6, some with their checksum undone or
// larger than any wire takes, then bent: options and extension headers, fragments, wrong lengths
// and checksums, SYN, FIN and RST among data, last hops, too large, padded, other labels and VNIs,
// other families, undone what is not there, any byte changed.
#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <map>
#include <random>
#include <string>

#include "base/bytes.h"
#include "base/checksum.h"
#include "path/rooms.h"
#include "port/memory_port.h"
#include "worker/engine.h"

namespace vrouter {
namespace {

using Bytes = std::vector<uint8_t>;

constexpr uint32_t kNode = 0xc0000201;       // 192.0.2.1
constexpr uint32_t kFarNode = 0xc0000202;    // and on
constexpr uint32_t kPod = 0x0a000001;        // 10.0.0.1
constexpr uint32_t kNeighbour = 0x0a000002;  // on this node too
constexpr uint32_t kClient = 0x0a010001;     // 10.1.0.1 and on, behind the far nodes
constexpr uint32_t kService = 0x0a630001;    // the pod's floating IP, port 80 only
constexpr uint32_t kGateway = 0x0a0000fe;
constexpr uint32_t kClients = 6;
constexpr Mac kNodeMac{{2, 0, 0, 0, 1, 1}};
constexpr Mac kFarMac{{2, 0, 0, 0, 1, 2}};
constexpr Mac kPodMac[2] = {{{2, 0, 0, 0, 2, 1}}, {{2, 0, 0, 0, 2, 2}}};
constexpr uint32_t kLabel = 40;  // the pod's vif; 41 the neighbour's, 42 the network
constexpr uint32_t kPorts = 3;   // fabric, pod, neighbour
constexpr uint32_t kTagMagic = 0x7a7b7c7d;

// VNIs: a network as the agent makes it, with its bridge; one whose flows are the network's; one
// without either; a tenant.
constexpr uint32_t kVni = 100;
constexpr uint32_t kVnis = 4;

// What the fabric and the tenants' kernels speak, in one run.
struct Setting {
  Encap encap;
  bool underlay6 = false;
  bool takes = false;  // ports take frames undone, and super-packets
};

// 2001:db8::a.b.c.d
Address v6_of(uint32_t v4) {
  Address a;
  a.family = Family::V6;
  a.bytes = {0x20, 0x01, 0x0d, 0xb8};
  store_be32(&a.bytes[12], v4);
  return a;
}
Address address_of(uint32_t v4, bool v6) { return v6 ? v6_of(v4) : Address::from_v4(v4); }

// What a frame leaves undone; offsets count from the frame here.
Offload moved(Offload offload, uint32_t by) {
  for (uint32_t* at : {&offload.transport, &offload.outer_transport, &offload.inner_network}) {
    if (*at != 0) *at += by;
  }
  return offload;
}

struct Frame {
  Bytes bytes;
  Offload undone{};
};

// A memory port whose frames may have something left undone.
class UndonePort : public MemoryPort {
 public:
  explicit UndonePort(bool takes) : MemoryPort(9000), takes_(takes) { coalesces = false; }

  void give(const Frame& frame) {
    ASSERT_TRUE(inject(frame.bytes.data(), static_cast<uint32_t>(frame.bytes.size())));
    undone_.push_back(frame.undone);
  }
  bool take(Frame& out) {
    if (sent_.empty()) return false;
    out = sent_.front();
    sent_.pop_front();
    return true;
  }

  uint32_t rx_burst(PacketPool& pool, Packet** out, uint32_t max) override {
    const uint32_t count = MemoryPort::rx_burst(pool, out, max);
    for (uint32_t i = 0; i < count; ++i) {
      out[i]->offload = moved(undone_.front(), out[i]->offset);
      undone_.pop_front();
    }
    return count;
  }
  uint32_t tx_burst(Packet* const* packets, uint32_t count) override {
    for (uint32_t i = 0; i < count; ++i) {
      const Packet& packet = *packets[i];
      if (!fits(packet)) {
        ++tx_errors;
        return i;
      }
      sent_.push_back({Bytes(packet.data(), packet.data() + packet.length),
                       moved(packet.offload, 0u - packet.offset)});
    }
    return count;
  }
  uint32_t features() const override {
    return takes_ ? kTakesChecksum | kTakesTcp4 | kTakesTcp6 | kTakesUdp | kTakesTunnel : 0;
  }

 private:
  bool takes_;
  std::deque<Offload> undone_;
  std::deque<Frame> sent_;
};

struct Side {
  explicit Side(bool express, const Setting& setting) : engine(options()) {
    for (uint32_t i = 0; i < kPorts; ++i) {
      auto port = std::make_unique<UndonePort>(setting.takes);
      ports[i] = port.get();
      ids[i] = engine.add_port(std::move(port));
    }
    engine.context().express = express;
    engine.hold([&] { program(setting); });
  }

  static EngineOptions options() {
    EngineOptions o;
    o.flow_entries = 4096;
    o.buffers = 512;
    o.buffer_bytes = 9000;
    return o;
  }

  void program(const Setting& setting) {
    Router& r = engine.router();
    RouterSpec spec;
    spec.ipv4 = Address::from_v4(kNode);
    spec.ipv6 = v6_of(kNode);
    spec.icmp_errors_per_second = 1000;
    r.exchange(spec);
    for (uint32_t id = 0; id < 2; ++id) {
      VrfSpec vrf;
      vrf.vrf = id;
      vrf.name = id == 0 ? "fabric" : "red";
      r.exchange(VrfId{id}, vrf);
    }
    for (uint32_t id = 0; id < kPorts; ++id) {
      VifSpec vif;
      vif.vif = id;
      vif.name = "vif";
      vif.type = static_cast<uint8_t>(id == 0 ? VifType::Physical : VifType::Virtual);
      vif.port = ids[id].value;
      vif.mac = id == 0 ? kNodeMac : kGatewayMac;
      vif.vrf = id == 0 ? 0 : 1;
      vif.flags = id == 0 ? kVifL3 | kVifL2
                          : kVifL3 | kVifPolicy | (id == 1 ? kVifDhcpTrap | kVifGatewayTrap : 0u);
      vif.mtu = 1500;
      if (id != 0) {
        vif.next_hop = 10 + id;
        vif.ipv4 = Address::from_v4(id == 1 ? kPod : kNeighbour);
        vif.ipv6 = v6_of(id == 1 ? kPod : kNeighbour);
        vif.gateway4 = Address::from_v4(kGateway);
        vif.gateway6 = v6_of(kGateway);
      }
      r.exchange(VifId{id}, vif);
    }
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
      to.interface.source_mac = kGatewayMac;
      r.exchange(NextHopId{11 + i}, to);
      r.exchange_label(kLabel + i, LabelSpec{kLabel + i, 11 + i});
      NextHopObject tunnel;
      tunnel.kind = NextHopKind::Tunnel;
      tunnel.tunnel.next_hop = 20 + i;
      tunnel.tunnel.vif = 0;
      tunnel.tunnel.encap = static_cast<uint8_t>(setting.encap);
      tunnel.tunnel.source = address_of(kNode, setting.underlay6);
      tunnel.tunnel.destination = address_of(kFarNode + i, setting.underlay6);
      tunnel.tunnel.destination_mac = kFarMac;
      tunnel.tunnel.source_mac = kNodeMac;
      r.exchange(NextHopId{20 + i}, tunnel);
    }
    NextHopObject network;
    network.kind = NextHopKind::VrfTranslate;
    network.vrf_translate.next_hop = 30;
    network.vrf_translate.vrf = 1;
    network.vrf_translate.flags = kNhPolicy;
    r.exchange(NextHopId{30}, network);
    r.exchange_label(kLabel + 2, LabelSpec{kLabel + 2, 30});
    for (uint32_t i = 0; i < 2; ++i) {
      network.vrf_translate.next_hop = 32 + i;
      network.vrf_translate.flags = i == 0 ? uint32_t{kNhBridge} : 0;
      r.exchange(NextHopId{32 + i}, network);
    }
    for (uint32_t i = 0; i < kVnis; ++i) {
      constexpr uint32_t kNames[kVnis] = {32, 30, 33, 11};
      r.exchange_vni(kVni + i, VniSpec{kVni + i, kNames[i]});
    }
    NextHopObject both;
    both.kind = NextHopKind::Ecmp;
    both.ecmp.next_hop = 31;
    both.ecmp.members = {{0, 20, 50, 1}, {1, 21, 51, 1}};
    r.exchange(NextHopId{31}, both);
    route(0, kNode, 5, kNoLabel);
    route(1, kPod, 11, kNoLabel);
    route(1, kNeighbour, 12, kNoLabel);
    route(1, kService, 11, kNoLabel);
    for (uint32_t i = 0; i < kClients; ++i) {
      if (i < 4) {
        route(1, kClient + i, 20 + i % 2, 50 + i);
      } else {
        route(1, kClient + i, 31, kNoLabel);
      }
    }
    FloatingIpSpec fip;
    fip.floating_ip = 1;
    fip.vif = 1;
    fip.vrf = 1;
    fip.address = Address::from_v4(kService);
    fip.fixed = Address::from_v4(kPod);
    fip.port_map = 1;
    fip.ports = {{6, 80, 8080}, {17, 80, 8080}};
    r.exchange_floating_ip(1, fip);
    fip.floating_ip = 2;
    fip.address = v6_of(kService);
    fip.fixed = v6_of(kPod);
    r.exchange_floating_ip(2, fip);
    ++r.generation;
  }

  void route(uint32_t vrf, uint32_t address, uint32_t next_hop, uint32_t label) {
    for (const bool v6 : {false, true}) {
      RouteSpec spec;
      spec.vrf = vrf;
      spec.prefix = {address_of(address, v6), static_cast<uint8_t>(v6 ? 128 : 32)};
      spec.next_hop = next_hop;
      spec.label = label;
      engine.router().exchange(VrfId{vrf}, spec.prefix, spec);
    }
  }

  Engine engine;
  UndonePort* ports[kPorts];
  PortId ids[kPorts];
};

// ------------------------------------------------------------------------------------------ frames

struct Random {
  std::mt19937 engine;
  uint32_t below(uint32_t n) { return engine() % n; }
  bool one_in(uint32_t n) { return below(n) == 0; }
  bool plain = false;  // nothing is odd
  bool odd(uint32_t n) { return one_in(n) && !plain; }
};

struct Ends {
  uint32_t source;
  uint16_t source_port;
  uint32_t destination;
  uint16_t destination_port;
  uint8_t protocol;
  bool v6;
};

// The IP header, with `room` for options or extension headers behind it.
void write_ip(Random& random, Bytes& p, const Ends& ends, uint32_t room) {
  const uint8_t hops = random.odd(20) ? static_cast<uint8_t>(random.below(3)) : 64;
  if (ends.v6) {
    store_be32(&p[0], 6u << 28 | random.below(1 << 20));
    store_be16(&p[4], static_cast<uint16_t>(p.size() - 40));
    p[6] = ends.protocol;
    p[7] = hops;
    std::copy_n(v6_of(ends.source).bytes.data(), 16, &p[8]);
    std::copy_n(v6_of(ends.destination).bytes.data(), 16, &p[24]);
    if (room == 0) return;
    constexpr uint8_t kExtensions[] = {0, 60, 44, 44};  // hop by hop, destination, fragment
    p[6] = kExtensions[random.below(4)];
    p[40] = ends.protocol;
    if (p[6] == 44 && random.one_in(2)) p[43] = 1;  // else atomic
    if (p[6] != 44) p[42] = 1, p[43] = 4;           // PadN
    return;
  }
  p[0] = static_cast<uint8_t>(0x40 | (20 + room) / 4);
  store_be16(&p[2], static_cast<uint16_t>(p.size()));
  if (random.one_in(3)) store_be16(&p[6], 0x4000);
  p[8] = hops;
  p[9] = ends.protocol;
  store_be32(&p[12], ends.source);
  store_be32(&p[16], ends.destination);
  std::fill_n(&p[20], room, uint8_t{1});
  if (random.odd(60)) store_be16(&p[6], random.one_in(2) ? 0x2000 : 0x2001);
  store_be16(&p[10], checksum(p.data(), 20 + room));
}

// A packet with its tag at its end: which conversation it is of, and its number in that.
Frame ip_packet(Random& random, const Ends& ends, uint32_t tag, uint32_t number) {
  const uint32_t room = random.odd(40) ? 8 : 0;
  const uint32_t l4 = (ends.v6 ? 40 : 20) + room;
  const uint32_t transport = ends.protocol == 6 ? 20 : 8;
  const bool undone = random.one_in(4);
  const bool super = undone && random.one_in(2);
  const uint32_t fill = super            ? random.below(6000)
                        : random.odd(30) ? 1420 + random.below(60)
                                         : random.below(60);
  Frame frame{Bytes(l4 + transport + fill + 12)};
  Bytes& p = frame.bytes;
  write_ip(random, p, ends, room);
  for (uint32_t i = l4 + transport; i < p.size() - 12; ++i)
    p[i] = static_cast<uint8_t>(random.engine());
  store_be32(&p[p.size() - 12], kTagMagic);
  store_be32(&p[p.size() - 8], tag);
  store_be32(&p[p.size() - 4], number);
  uint8_t* t = &p[l4];
  store_be16(t, ends.source_port);
  store_be16(t + 2, ends.destination_port);
  const uint32_t length = static_cast<uint32_t>(p.size()) - l4;
  const uint32_t pseudo = ends.v6 ? pseudo_sum_v6(&p[8], &p[24], ends.protocol, length)
                                  : pseudo_sum_v4(&p[12], &p[16], ends.protocol, length);
  const uint32_t field = ends.protocol == 6 ? 16 : 6;
  if (ends.protocol == 6) {
    constexpr uint8_t kFlags[] = {0x02, 0x12, 0x11, 0x04, 0x14, 0x00, 0x18, 0x29};
    store_be32(t + 4, random.below(4) * 1000);
    store_be32(t + 8, random.below(4) * 1000);
    t[12] = 0x50;
    t[13] = random.odd(5) ? kFlags[random.below(8)] : 0x10;
  } else {
    store_be16(t + 4, static_cast<uint16_t>(length));
  }
  const uint16_t whole = checksum_finish(checksum_add(pseudo, t, length));
  if (undone) {
    store_be16(t + field, checksum_fold(pseudo));
  } else if (ends.protocol == 6) {
    store_be16(t + field, whole);
  } else if (!random.one_in(4)) {
    store_be16(t + field, udp_checksum_nonzero(whole));
  }
  if (!undone) return frame;
  Offload& offload = frame.undone;
  offload.checksum = true;
  offload.transport = l4;
  offload.field = static_cast<uint16_t>(field);
  if (super) {
    offload.segmentation = ends.protocol == 17 ? Segmentation::Udp
                           : ends.v6           ? Segmentation::TcpV6
                                               : Segmentation::TcpV4;
    offload.segment =
        static_cast<uint16_t>(random.plain ? 500 + random.below(500) : 1 + random.below(1440));
    offload.ecn = random.one_in(10);
  }
  if (!random.odd(25)) return frame;
  switch (random.below(4)) {  // about something else
    case 0:
      offload.transport += 2;
      break;
    case 1:
      offload.field = 16 + 6 - offload.field;
      break;
    case 2:
      offload.outer_transport = 2 + random.below(40);
      break;
    default:
      if (super) offload.segmentation = static_cast<Segmentation>(1 + random.below(3));
      break;
  }
  return frame;
}

// In front of a packet.
void put_in_front(Frame& frame, const Bytes& header) {
  frame.bytes.insert(frame.bytes.begin(), header.begin(), header.end());
  frame.undone = moved(frame.undone, static_cast<uint32_t>(header.size()));
}

void put_in_ethernet(Frame& frame, const Mac& to, const Mac& from) {
  const bool v6 = frame.bytes[0] >> 4 == 6;
  Bytes h(to.bytes.begin(), to.bytes.end());
  h.insert(h.end(), from.bytes.begin(), from.bytes.end());
  h.insert(h.end(), {static_cast<uint8_t>(v6 ? 0x86 : 0x08), static_cast<uint8_t>(v6 ? 0xdd : 0)});
  put_in_front(frame, h);
}

// name: a label, or a VNI.
void put_in_tunnel(Random& random, Frame& frame, uint32_t name, uint32_t far_node, bool v6) {
  const bool vxlan = name >= kVni;
  const bool gre = !vxlan && random.one_in(3);
  if (vxlan && !(name == kVni ? random.odd(20) : random.one_in(5))) {
    put_in_ethernet(frame,
                    random.odd(20)     ? kPodMac[0]
                    : random.one_in(3) ? kNodeMac
                                       : kGatewayMac,
                    kFarMac);
  }
  const uint32_t ip = v6 ? 40 : 20;
  Bytes p(ip + (gre ? 4 : 8) + (vxlan ? 8 : 4));
  // Now and then the outer packet ends before the inner one: the rest is the wire's padding.
  const uint32_t beyond = random.odd(30) ? 1 + random.below(12) : 0;
  const uint32_t length = static_cast<uint32_t>(p.size() + frame.bytes.size()) - beyond;
  const uint32_t own = random.odd(60) ? kNode + 7 : kNode;
  const uint8_t protocol = gre ? 47 : 17;
  if (v6) {
    store_be32(&p[0], 6u << 28);
    store_be16(&p[4], static_cast<uint16_t>(length - ip));
    p[6] = protocol;
    p[7] = 64;
    std::copy_n(v6_of(far_node).bytes.data(), 16, &p[8]);
    std::copy_n(v6_of(own).bytes.data(), 16, &p[24]);
  } else {
    p[0] = 0x45;
    store_be16(&p[2], static_cast<uint16_t>(length));
    p[8] = 64;
    p[9] = protocol;
    store_be32(&p[12], far_node);
    store_be32(&p[16], own);
    store_be16(&p[10], checksum(p.data(), 20));
  }
  if (gre) {
    store_be16(&p[ip + 2], 0x8847);
  } else {
    store_be16(&p[ip], 50000);
    store_be16(&p[ip + 2], vxlan ? 4789 : random.one_in(10) ? 51234 : 6635);
    store_be16(&p[ip + 4], static_cast<uint16_t>(length - ip));
  }
  if (vxlan) {
    p[p.size() - 8] = random.odd(50) ? 0 : 8;
    store_be32(&p[p.size() - 4], name << 8);
  } else {
    store_be32(&p[p.size() - 4],
               name << 12 | (random.odd(50) ? 0 : 0x100) | (random.odd(50) ? 1 : 64));
  }
  put_in_front(frame, p);
  if (frame.undone.checksum && random.odd(10)) {
    frame.undone.outer_transport = ip + (random.one_in(5) ? 2 : 0);
    if (random.one_in(3)) frame.undone.transport = ip;
  }
  put_in_ethernet(frame, kNodeMac, kFarMac);
}

// One frame and the port it comes in by. bent: a bit may be wrong, and with it whose frame it is.
std::pair<uint32_t, Frame> make_frame(Random& random, uint32_t number, bool bent, bool underlay6) {
  const uint8_t protocol = random.one_in(3) ? 17 : 6;
  const bool v6 = random.one_in(2);
  const uint32_t client = random.below(kClients);
  const uint16_t client_port = static_cast<uint16_t>(2000 + random.below(3));
  const bool service = random.one_in(2);
  // All that makes it a flow of its own.
  const uint32_t tag = client << 16 | uint32_t{client_port} << 2 | (protocol == 6 ? 1 : 0) |
                       (service ? 2 : 0) | (v6 ? 1u << 23 : 0);
  uint32_t port = random.below(kPorts);
  Frame f;
  if (port == 0) {
    // In the rooms a packet behind some VNIs meets its flow a room later than one behind a label,
    // so a burst with both of one flow has no order to compare.
    const bool any = bent || random.plain;
    const bool by_vni = any ? random.one_in(3) : client % 3 == 0;
    const uint32_t vni = any           ? random.below(random.plain ? kVnis : kVnis + 1)
                         : client == 0 ? random.below(3)
                                       : 3;
    const uint32_t name = random.odd(20) ? 43 : by_vni ? kVni + vni : kLabel + random.below(3);
    const uint32_t far = kFarNode + (random.odd(20) ? random.below(3) : client % 2);
    // Behind a VNI the flow is the tenant's or the network's, as behind the label of either.
    const uint32_t whose = name == kVni + 1 ? 2 : name >= kVni ? 0 : name - kLabel;
    f = ip_packet(random,
                  {kClient + client, client_port,
                   name == kLabel + 1 ? kNeighbour
                   : service          ? kService
                                      : kPod,
                   static_cast<uint16_t>(service ? 80 : 443), protocol, v6},
                  tag | whose << 29, number);
    put_in_tunnel(random, f, name, far, underlay6 != random.odd(8));
  } else {
    const bool across = random.one_in(4);  // to the other tenant of this node
    const uint32_t own = port == 1 ? kPod : kNeighbour;
    const bool gateway = random.odd(80);
    const bool dhcp = random.odd(80);
    const uint32_t to = gateway                ? kGateway
                        : !across              ? kClient + client
                        : port == 2 && service ? kService
                        : port == 1            ? kNeighbour
                                               : kPod;
    const uint16_t own_port = dhcp ? (v6 ? 546 : 68) : service && port == 1 ? 8080 : 443;
    f = ip_packet(random,
                  {own, across && port == 2 ? client_port : own_port, to,
                   across && port == 2 ? static_cast<uint16_t>(service ? 80 : 443) : client_port,
                   protocol, v6},
                  tag | port << 24 | (across ? 1u << 28 : 0) | (gateway ? 1u << 19 : 0) |
                      (dhcp ? 1u << 20 : 0),
                  number);
    put_in_ethernet(f, random.odd(40) ? kPodMac[2 - port] : kGatewayMac, kPodMac[port - 1]);
  }
  Bytes& bytes = f.bytes;
  if (random.odd(15)) bytes.resize(bytes.size() + 1 + random.below(20));  // padding
  if (random.odd(100)) bytes.resize(1 + random.below(static_cast<uint32_t>(bytes.size())));
  if (bent && random.odd(30))
    bytes[random.below(static_cast<uint32_t>(bytes.size()))] ^= 1u << random.below(8);
  return {port, f};
}

// ----------------------------------------------------------------------------------------
// comparing

// Identification and checksum of the IPv4 header there: of what the router makes they are the
// node's, not the conversation's.
void forget_identification(Bytes& f, size_t ip) {
  if (f.size() < ip + 20 || f[ip] != 0x45) return;
  store_be16(&f[ip + 4], 0);
  store_be16(&f[ip + 10], 0);
}

bool is_piece(const Bytes& f, size_t ip) {
  return f.size() >= ip + 20 && f[ip] == 0x45 && (load_be16(&f[ip + 6]) & 0x3fff) != 0;
}

// Frames by conversation, each in the order it left.
std::map<std::string, std::vector<Bytes>> by_conversation(UndonePort& port, bool exact) {
  constexpr size_t kOuter = 14, kInner = 46;  // in MPLS over UDP
  std::map<std::string, std::vector<Bytes>> out;
  Frame frame;
  while (port.take(frame)) {
    Bytes& f = frame.bytes;
    std::string whose;
    if (f.size() >= 26 && load_be32(&f[f.size() - 12]) == kTagMagic) {
      whose.assign(f.end() - 8, f.end() - 4);
    }
    if (!exact) {
      // The pieces of a packet that is split leave ahead of what came in the same burst
      // (fragment_ip.cc).
      if (is_piece(f, kOuter) || is_piece(f, kInner)) whose.clear();
      forget_identification(f, kOuter);
      if (whose.empty()) forget_identification(f, kInner);
    }
    const Offload& undone = frame.undone;
    for (const uint32_t what :
         {static_cast<uint32_t>(undone.segmentation), uint32_t{undone.checksum},
          uint32_t{undone.ecn}, uint32_t{undone.segment}, uint32_t{undone.field}, undone.transport,
          undone.outer_transport, undone.inner_network}) {
      f.resize(f.size() + 4);
      store_be32(&f[f.size() - 4], what);
    }
    out[whose].push_back(f);
  }
  std::sort(out[""].begin(), out[""].end());  // answers and the like
  return out;
}

std::string hex(const Bytes& f) {
  std::string text;
  for (const uint8_t byte : f) {
    text += "0123456789abcdef"[byte >> 4];
    text += "0123456789abcdef"[byte & 15];
  }
  return text;
}

void expect_equal(Side& a, Side& b, bool exact) {
  for (uint32_t i = 0; i < kPorts; ++i) {
    const auto from_a = by_conversation(*a.ports[i], exact);
    const auto from_b = by_conversation(*b.ports[i], exact);
    ASSERT_EQ(from_a.size(), from_b.size()) << "conversations, port " << i;
    for (const auto& [whose, frames] : from_a) {
      const auto other = from_b.find(whose);
      ASSERT_NE(other, from_b.end());
      ASSERT_EQ(frames.size(), other->second.size()) << "frames, port " << i;
      for (size_t n = 0; n < frames.size(); ++n) {
        ASSERT_EQ(hex(frames[n]), hex(other->second[n])) << "port " << i << ", frame " << n;
      }
    }
  }
  const Counters& x = a.engine.counters();
  const Counters& y = b.engine.counters();
  for (uint32_t i = 0; i < kDropReasons; ++i) {
    ASSERT_EQ(x.drops[i], y.drops[i]) << drop_name(static_cast<DropReason>(i));
  }
  ASSERT_EQ(x.received, y.received);
  ASSERT_EQ(x.forwarded, y.forwarded);
  ASSERT_EQ(x.replied, y.replied);
  ASSERT_EQ(x.punted, y.punted);
  ASSERT_EQ(x.dropped, y.dropped);
  ASSERT_EQ(x.consumed, y.consumed);
  ASSERT_EQ(x.generated, y.generated);
  ASSERT_EQ(std::memcmp(x.vifs.data(), y.vifs.data(), kPorts * sizeof(VifCounters)), 0);
  ASSERT_EQ(x.vrfs.size(), y.vrfs.size());
  ASSERT_EQ(std::memcmp(x.vrfs.data(), y.vrfs.data(), x.vrfs.size() * sizeof(VrfCounters)), 0);
  ASSERT_EQ(a.engine.pool().available(), b.engine.pool().available());
}

Bytes bytes_of(const Flow& flow) {
  const uint8_t* p = reinterpret_cast<const uint8_t*>(&flow);
  return Bytes(p, p + sizeof flow);
}

void expect_equal_flows(Side& a, Side& b) {
  FlowTable& x = a.engine.flows();
  FlowTable& y = b.engine.flows();
  ASSERT_EQ(x.used(), y.used());
  for (FlowId id{0}; id.value < x.capacity(); ++id.value) {
    ASSERT_EQ(std::memcmp(&x.cold(id), &y.cold(id), sizeof(FlowCold)), 0) << "flow " << id.value;
    ASSERT_TRUE(x.half(id).key() == y.half(id).key()) << "flow " << id.value;
    if (std::memcmp(&x[id], &y[id], sizeof(Flow)) == 0) continue;
    ASSERT_EQ(hex(bytes_of(x[id])), hex(bytes_of(y[id]))) << "flow " << id.value;
  }
}

void run(const Setting& setting, uint32_t seed, uint32_t most_at_once, uint32_t breaths) {
  Side with(true, setting), without(false, setting);
  Random random{std::mt19937(seed)};
  uint32_t number = 0;
  uint64_t now = 0;
  for (uint32_t breath = 0; breath < breaths; ++breath) {
    const uint32_t count = 1 + random.below(most_at_once);
    for (uint32_t i = 0; i < count; ++i) {
      const auto [port, f] = make_frame(random, number++, most_at_once == 1, setting.underlay6);
      for (Side* side : {&with, &without}) side->ports[port]->give(f);
    }
    // Now and then something changes, and flows are decided again.
    if (random.one_in(50)) {
      const uint32_t client = random.below(kClients);
      const uint32_t tunnel = 20 + random.below(2);
      for (Side* side : {&with, &without}) {
        side->engine.hold([&] {
          ++side->engine.router().generation;
          side->route(1, kClient + client, tunnel, 60 + client);
        });
      }
    }
    now += 1'000'000 + random.below(100) * 1'000'000;
    with.engine.step(now);
    without.engine.step(now);
    expect_equal(with, without, most_at_once == 1);
    if (breath % 32 == 0) expect_equal_flows(with, without);
    if (testing::Test::HasFatalFailure()) {
      FAIL() << "seed " << seed << ", breath " << breath;
    }
  }
  expect_equal_flows(with, without);
  // Or nothing has been compared.
  ASSERT_GT(with.engine.counters().forwarded, number / 3);
}

TEST(Express, OneByOneTheSameBytes) {
  run({Encap::MplsOverUdp}, 1, 1, 6000);
  run({Encap::MplsOverGre}, 2, 1, 3000);
  run({Encap::Vxlan}, 3, 1, 3000);
  run({.encap = Encap::MplsOverUdp, .takes = true}, 4, 1, 6000);
  run({.encap = Encap::MplsOverUdp, .underlay6 = true}, 5, 1, 6000);
  run({.encap = Encap::Vxlan, .underlay6 = true, .takes = true}, 6, 1, 3000);
}

TEST(Express, InBurstsTheSameFramesInTheSameOrderOfEachFlow) {
  for (uint32_t seed = 10; seed < 16; ++seed) {
    run({.encap = Encap::MplsOverUdp, .takes = seed % 2 == 0}, seed, 120, 150);
  }
}

// What is left to the rooms is never wrong, only slow: so a twin does not see it. Nothing odd about
// a packet, its flow known: it must be taken.
void expect_carried(const Setting& setting, uint32_t seed) {
  Random random{.engine = std::mt19937(seed), .plain = true};
  for (uint32_t number = 0; number < 150; ++number) {
    Side side(true, setting);
    Engine& engine = side.engine;
    const auto [port, f] = make_frame(random, number, false, setting.underlay6);
    for (uint32_t i = 1; i <= 3; ++i) {
      side.ports[port]->give(f);
      engine.step(i * 1'000'000);
    }
    ASSERT_EQ(engine.counters().forwarded, 3u) << "port " << port << " " << hex(f.bytes);
    Burst burst, done;
    burst.count = engine.pool().allocate(burst.packets, 1);
    ASSERT_EQ(burst.count, 1u);
    Packet& packet = *burst.packets[0];
    std::copy(f.bytes.begin(), f.bytes.end(), packet.data());
    packet.append(static_cast<uint32_t>(f.bytes.size()));
    packet.offload = moved(f.undone, packet.offset);
    packet.meta.vif = VifId{port};
    express(engine.context(), burst, done);
    EXPECT_EQ(done.count, 1u) << "seed " << seed << " port " << port << " undone "
                              << f.undone.checksum << " " << hex(f.bytes);
    engine.pool().free(&packet);
  }
}

TEST(Express, CarriesWhatItIsFor) {
  expect_carried({.encap = Encap::MplsOverUdp}, 21);
  expect_carried({.encap = Encap::Vxlan, .takes = true}, 22);
  expect_carried({.encap = Encap::MplsOverGre, .underlay6 = true}, 23);
}

}  // namespace
}  // namespace vrouter
