// The express room against the rooms it stands for: two engines with the same tables get the same
// random frames, one of them with the express room closed. What leaves, what is counted and every
// flow must be the same.
//
// Frames are what tenants and the fabric send, then bent: options, fragments, wrong lengths and
// checksums, SYN, FIN and RST among data, last hops, too large, padded, other labels, other
// families, any byte changed.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <string>

#include "base/bytes.h"
#include "base/checksum.h"
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
constexpr uint32_t kClients = 6;
constexpr Mac kNodeMac{{2, 0, 0, 0, 1, 1}};
constexpr Mac kFarMac{{2, 0, 0, 0, 1, 2}};
constexpr Mac kPodMac[2] = {{{2, 0, 0, 0, 2, 1}}, {{2, 0, 0, 0, 2, 2}}};
constexpr uint32_t kLabel = 40;  // the pod's vif; 41 the neighbour's, 42 the network
constexpr uint32_t kPorts = 3;   // fabric, pod, neighbour
constexpr uint32_t kTagMagic = 0x7a7b7c7d;

struct Side {
  explicit Side(bool express, Encap encap) : engine(options()) {
    for (uint32_t i = 0; i < kPorts; ++i) {
      auto port = std::make_unique<MemoryPort>(9000);
      ports[i] = port.get();
      ids[i] = engine.add_port(std::move(port));
    }
    engine.context().express = express;
    engine.hold([&] { program(encap); });
  }

  static EngineOptions options() {
    EngineOptions o;
    o.flow_entries = 4096;
    o.buffers = 512;
    return o;
  }

  void program(Encap encap) {
    Router& r = engine.router();
    RouterSpec spec;
    spec.ipv4 = Address::from_v4(kNode);
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
      vif.flags = id == 0 ? kVifL3 | kVifL2 : kVifL3 | kVifPolicy;
      vif.mtu = 1500;
      if (id != 0) {
        vif.next_hop = 10 + id;
        vif.ipv4 = Address::from_v4(id == 1 ? kPod : kNeighbour);
        vif.gateway4 = Address::from_v4(0x0a0000fe);
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
      tunnel.tunnel.encap = static_cast<uint8_t>(encap);
      tunnel.tunnel.source = Address::from_v4(kNode);
      tunnel.tunnel.destination = Address::from_v4(kFarNode + i);
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
    ++r.generation;
  }

  void route(uint32_t vrf, uint32_t address, uint32_t next_hop, uint32_t label) {
    RouteSpec spec;
    spec.vrf = vrf;
    spec.prefix = {Address::from_v4(address), 32};
    spec.next_hop = next_hop;
    spec.label = label;
    engine.router().exchange(VrfId{vrf}, spec.prefix, spec);
  }

  Engine engine;
  MemoryPort* ports[kPorts];
  PortId ids[kPorts];
};

// ------------------------------------------------------------------------------------------ frames

struct Random {
  std::mt19937 engine;
  uint32_t below(uint32_t n) { return engine() % n; }
  bool one_in(uint32_t n) { return below(n) == 0; }
};

// A packet with its tag at its end: which conversation it is of, and its number in that.
Bytes ip_packet(Random& random, uint32_t source, uint16_t source_port, uint32_t destination,
                uint16_t destination_port, uint8_t protocol, uint32_t tag, uint32_t number) {
  const uint32_t options = random.one_in(40) ? 8 : 0;
  const uint32_t l4 = 20 + options;
  const uint32_t transport = protocol == 6 ? 20 : 8;
  const uint32_t fill = random.one_in(30) ? 1440 + random.below(40) : random.below(60);
  Bytes p(l4 + transport + fill + 12);
  p[0] = static_cast<uint8_t>(0x40 | l4 / 4);
  store_be16(&p[2], static_cast<uint16_t>(p.size()));
  if (random.one_in(3)) store_be16(&p[6], 0x4000);
  p[8] = random.one_in(20) ? static_cast<uint8_t>(random.below(3)) : 64;
  p[9] = protocol;
  store_be32(&p[12], source);
  store_be32(&p[16], destination);
  if (options != 0) std::fill_n(&p[20], options, uint8_t{1});
  for (uint32_t i = l4 + transport; i < p.size() - 12; ++i)
    p[i] = static_cast<uint8_t>(random.engine());
  store_be32(&p[p.size() - 12], kTagMagic);
  store_be32(&p[p.size() - 8], tag);
  store_be32(&p[p.size() - 4], number);
  uint8_t* t = &p[l4];
  store_be16(t, source_port);
  store_be16(t + 2, destination_port);
  const uint32_t length = static_cast<uint32_t>(p.size()) - l4;
  const uint32_t sum = pseudo_sum_v4(&p[12], &p[16], protocol, length);
  if (protocol == 6) {
    constexpr uint8_t kFlags[] = {0x02, 0x12, 0x11, 0x04, 0x14, 0x00, 0x18, 0x29};
    store_be32(t + 4, random.below(4) * 1000);
    store_be32(t + 8, random.below(4) * 1000);
    t[12] = 0x50;
    t[13] = random.one_in(5) ? kFlags[random.below(8)] : 0x10;
    store_be16(t + 16, checksum_finish(checksum_add(sum, t, length)));
  } else {
    store_be16(t + 4, static_cast<uint16_t>(length));
    if (!random.one_in(4)) {
      store_be16(t + 6, udp_checksum_nonzero(checksum_finish(checksum_add(sum, t, length))));
    }
  }
  if (random.one_in(60)) store_be16(&p[6], random.one_in(2) ? 0x2000 : 0x2001);
  store_be16(&p[10], checksum(p.data(), l4));
  return p;
}

Bytes with_ethernet(const Mac& to, const Mac& from, const Bytes& packet) {
  Bytes f(to.bytes.begin(), to.bytes.end());
  f.insert(f.end(), from.bytes.begin(), from.bytes.end());
  f.insert(f.end(), {0x08, 0x00});
  f.insert(f.end(), packet.begin(), packet.end());
  return f;
}

Bytes with_tunnel(Random& random, const Bytes& inner, uint32_t label, uint32_t far_node) {
  const bool gre = random.one_in(3);
  Bytes p(20 + (gre ? 4 : 8) + 4);
  // Now and then the outer packet ends before the inner one: the rest is the wire's padding.
  const uint32_t beyond = random.one_in(30) ? 1 + random.below(12) : 0;
  const uint32_t length = static_cast<uint32_t>(p.size() + inner.size()) - beyond;
  p[0] = 0x45;
  store_be16(&p[2], static_cast<uint16_t>(length));
  p[8] = 64;
  p[9] = gre ? 47 : 17;
  store_be32(&p[12], far_node);
  store_be32(&p[16], random.one_in(60) ? kNode + 7 : kNode);
  store_be16(&p[10], checksum(p.data(), 20));
  if (gre) {
    store_be16(&p[22], 0x8847);
  } else {
    store_be16(&p[20], 50000);
    store_be16(&p[22], random.one_in(10) ? 51234 : 6635);
    store_be16(&p[24], static_cast<uint16_t>(length - 20));
  }
  store_be32(&p[p.size() - 4],
             label << 12 | (random.one_in(50) ? 0 : 0x100) | (random.one_in(50) ? 1 : 64));
  p.insert(p.end(), inner.begin(), inner.end());
  return with_ethernet(kNodeMac, kFarMac, p);
}

// One frame and the port it comes in by. bent: a bit may be wrong, and with it whose frame it is.
std::pair<uint32_t, Bytes> frame(Random& random, uint32_t number, bool bent) {
  const uint8_t protocol = random.one_in(3) ? 17 : 6;
  const uint32_t client = random.below(kClients);
  const uint16_t client_port = static_cast<uint16_t>(2000 + random.below(3));
  const bool service = random.one_in(2);
  // All that makes it a flow of its own.
  const uint32_t tag =
      client << 16 | uint32_t{client_port} << 2 | (protocol == 6 ? 1 : 0) | (service ? 2 : 0);
  uint32_t port = random.below(kPorts);
  Bytes f;
  if (port == 0) {
    const uint32_t towards = random.one_in(20) ? 43 : kLabel + random.below(3);
    const uint32_t far = kFarNode + (random.one_in(20) ? random.below(3) : client % 2);
    f = with_tunnel(random,
                    ip_packet(random, kClient + client, client_port,
                              towards == kLabel + 1 ? kNeighbour
                              : service             ? kService
                                                    : kPod,
                              service ? 80 : 443, protocol, tag | (towards - kLabel) << 29, number),
                    towards, far);
  } else {
    const bool across = random.one_in(4);  // to the other tenant of this node
    const uint32_t own = port == 1 ? kPod : kNeighbour;
    const uint32_t to = !across                ? kClient + client
                        : port == 2 && service ? kService
                        : port == 1            ? kNeighbour
                                               : kPod;
    const uint16_t own_port = service && port == 1 ? 8080 : 443;
    f = with_ethernet(random.one_in(40) ? kPodMac[2 - port] : kGatewayMac, kPodMac[port - 1],
                      ip_packet(random, own, across && port == 2 ? client_port : own_port, to,
                                across && port == 2 ? (service ? 80 : 443) : client_port, protocol,
                                tag | port << 24 | (across ? 1u << 28 : 0), number));
  }
  if (random.one_in(15)) f.resize(f.size() + 1 + random.below(20));  // padding
  if (random.one_in(100)) f.resize(1 + random.below(static_cast<uint32_t>(f.size())));
  if (bent && random.one_in(30))
    f[random.below(static_cast<uint32_t>(f.size()))] ^= 1u << random.below(8);
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
std::map<std::string, std::vector<Bytes>> by_conversation(MemoryPort& port, bool exact) {
  constexpr size_t kOuter = 14, kInner = 46;  // in MPLS over UDP
  std::map<std::string, std::vector<Bytes>> out;
  Bytes f;
  while (port.collect(f)) {
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

void expect_equal_flows(Side& a, Side& b) {
  FlowTable& x = a.engine.flows();
  FlowTable& y = b.engine.flows();
  ASSERT_EQ(x.used(), y.used());
  for (FlowId id{0}; id.value < x.capacity(); ++id.value) {
    ASSERT_EQ(std::memcmp(&x[id], &y[id], sizeof(Flow)), 0) << "flow " << id.value;
    ASSERT_EQ(std::memcmp(&x.cold(id), &y.cold(id), sizeof(FlowCold)), 0) << "flow " << id.value;
    ASSERT_TRUE(x.half(id).key() == y.half(id).key()) << "flow " << id.value;
  }
}

void run(Encap encap, uint32_t seed, uint32_t most_at_once, uint32_t breaths) {
  Side with(true, encap), without(false, encap);
  Random random{std::mt19937(seed)};
  uint32_t number = 0;
  uint64_t now = 0;
  for (uint32_t breath = 0; breath < breaths; ++breath) {
    const uint32_t count = 1 + random.below(most_at_once);
    for (uint32_t i = 0; i < count; ++i) {
      const auto [port, f] = frame(random, number++, most_at_once == 1);
      for (Side* side : {&with, &without}) {
        ASSERT_TRUE(side->ports[port]->inject(f.data(), static_cast<uint32_t>(f.size())));
      }
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
  run(Encap::MplsOverUdp, 1, 1, 6000);
  run(Encap::MplsOverGre, 2, 1, 3000);
  run(Encap::Vxlan, 3, 1, 3000);
}

TEST(Express, InBurstsTheSameFramesInTheSameOrderOfEachFlow) {
  for (uint32_t seed = 10; seed < 16; ++seed) run(Encap::MplsOverUdp, seed, 120, 150);
}

}  // namespace
}  // namespace vrouter
