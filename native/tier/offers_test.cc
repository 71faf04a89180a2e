// Which flows the kernel tier takes of those that it is offered.
#include <gtest/gtest.h>

#include "tier/kernel_tier.h"
#include "worker/tier_twin.h"

namespace vrouter::tier_twin {
namespace {

struct Offer {
  const char* name;
  std::function<OfferedFlow(Side&)> make;
  bool taken = false;
};

// The pod's flow with one packet of a tenant.
OfferedFlow after(Side& side, const Ends& ends) {
  side.send(1, tenant_frame(ip_packet(ends)));
  EXPECT_TRUE(side.flow(ends).valid());
  return side.outwards(ends);
}

TEST(TierOffers, OnlyWhatTheProgramsKnowIsTaken) {
  const auto client = [](uint32_t which) {
    return [which](Side& s) { return after(s, to_client(which, kUdp)); };
  };
  const auto tcp = to_client(Plain, kTcp);
  const std::vector<Offer> offers = {
      {"MPLSoUDP", client(Plain), true},
      {"MPLSoUDP by a member of an ECMP set", client(OfSet), true},
      {"MPLSoGRE", client(Gre)},
      {"VXLAN", client(Vxlan)},
      {"MPLSoUDP over IPv6", client(Underlay6)},
      {"two legs", client(TwoLegs)},
      {"to a tenant of this node",
       [](Side& s) {
         return after(s, {kPod, kPodPort, kNeighbour, 2000, kUdp});
       }},
      {"translated",
       [](Side& s) {
         const Ends ends{kClient, 2000, kService, 80, kUdp};
         s.send(0, fabric_frame(ip_packet(ends), kFarNode));
         EXPECT_TRUE(s.flow(ends).valid());
         EXPECT_EQ(s.engine.flows()[s.flow(ends)].action, FlowAction::Nat);
         return OfferedFlow{s.flow(ends), VifId{0}, kLabel, on_wire(kNode)};
       }},
      {"… and what answers it",
       [](Side& s) {
         const Ends ends{kPod, 8080, kClient, 2000, kUdp};
         s.send(0, fabric_frame(ip_packet({kClient, 2000, kService, 80, kUdp}), kFarNode));
         return after(s, ends);
       }},
      {"to the port of DHCP clients",
       [](Side& s) {
         return after(s, {kPod, 1068, kClient, 68, kUdp});
       },
       true},
      {"no such flow",
       [](Side& s) {
         return OfferedFlow{FlowId{77}, s.outwards({}).vif, 0, 0};
       }},
      {"an invalid flow",
       [](Side&) {
         return OfferedFlow{FlowId{}, VifId{1}, 0, 0};
       }},
      {"by a vif that there is not",
       [](Side& s) {
         OfferedFlow o = after(s, to_client(Plain, kUdp));
         o.vif = VifId{9};
         return o;
       }},
      {"by a port that has not joined",
       [](Side& s) {
         const Ends ends{kNeighbour, kPodPort, kClient, 2000, kUdp};
         s.send(2, tenant_frame(ip_packet(ends), 1));
         EXPECT_TRUE(s.flow(ends, 2).valid());
         return OfferedFlow{s.flow(ends, 2), VifId{2}, 0, 0};
       }},
      {"an answer that has not come",
       [](Side& s) {
         const Ends ends = to_client(Plain, kUdp);
         after(s, ends);
         return s.inwards(ends);
       }},
      {"an answer",
       [](Side& s) {
         s.open(to_client(Plain, kUdp), kFarNode);
         return s.inwards(to_client(Plain, kUdp));
       },
       true},
      {"bridged",
       [](Side& s) {
         const Ends ends = to_client(Plain, kUdp);
         s.send(1, in_ethernet(ip_packet(ends), kFarPodMac, kPodMac[0]));
         EXPECT_TRUE(s.flow(ends).valid());
         EXPECT_TRUE((s.engine.flows()[s.flow(ends)].flags & kFlowL2) != 0);
         return s.outwards(ends);
       }},
      {"IPv6",
       [](Side& s) {
         Bytes p(48);
         p[0] = 0x60;
         p[5] = 8;
         p[6] = kUdp;
         p[7] = 64;
         std::copy_n(v6_of(kPod).bytes.data(), 16, &p[8]);
         std::copy_n(v6_of(kClient).bytes.data(), 16, &p[24]);
         store_be16(&p[40], kPodPort);
         store_be16(&p[42], 2000);
         p[45] = 8;
         const uint32_t sum = pseudo_sum_v6(&p[8], &p[24], kUdp, 8);
         store_be16(&p[46], checksum_finish(checksum_add(sum, &p[40], 8)));
         s.send(1, in_ethernet(p, kGatewayMac, kPodMac[0], 0x86dd));
         FlowKey key{};
         std::copy_n(&p[8], 32, key.source);
         key.source_port = kPodPort;
         key.destination_port = 2000;
         key.protocol = kUdp;
         key.family = Family::V6;
         key.scope = s.engine.router().next_hop(NextHopId{11})->scope;
         const FlowId id = s.engine.flows().find(key, s.engine.flows().hash(key));
         EXPECT_TRUE(id.valid());
         return OfferedFlow{id, VifId{1}, 0, 0};
       }},
      {"ICMP echo",
       [](Side& s) {
         Bytes p = ip_packet(to_client(Plain, kUdp));
         p[9] = 1;
         fix_ip(p, 0);
         std::fill(p.begin() + 20, p.begin() + 28, uint8_t{0});
         p[20] = 8;
         store_be16(&p[22], checksum(&p[20], p.size() - 20));
         s.send(1, tenant_frame(p));
         FlowKey key{};
         std::copy_n(&p[12], 4, key.source);
         std::copy_n(&p[16], 4, key.destination);
         key.protocol = 1;
         key.family = Family::V4;
         key.scope = s.engine.router().next_hop(NextHopId{11})->scope;
         const FlowId id = s.engine.flows().find(key, s.engine.flows().hash(key));
         EXPECT_TRUE(id.valid());
         return OfferedFlow{id, VifId{1}, 0, 0};
       }},
      {"without a route", [](Side& s) { return after(s, to_client(99, kUdp)); }},
      {"TCP with a SYN only",
       [tcp](Side& s) {
         s.send(1, tenant_frame(ip_packet(tcp, 0, 0x02)));
         return s.outwards(tcp);
       }},
      {"TCP past its handshake",
       [tcp](Side& s) {
         s.open(tcp, kFarNode);
         return s.outwards(tcp);
       },
       true},
      {"TCP that the other end has finished",
       [tcp](Side& s) {
         s.open(tcp, kFarNode);
         s.send(0, fabric_frame(ip_packet(reversed(tcp), 0, 0x11), kFarNode));
         return s.outwards(tcp);
       }},
      {"TCP that was reset",
       [tcp](Side& s) {
         s.open(tcp, kFarNode);
         Bytes reset = ip_packet(tcp, 0, 0x04);
         store_be32(&reset[24], 1001);  // what the other end has asked for
         s.send(1, tenant_frame(reset));
         EXPECT_TRUE((s.engine.flows()[s.flow(tcp)].tcp & kTcpDead) != 0);
         return s.outwards(tcp);
       }},
      {"decided before the tables changed",
       [](Side& s) {
         const OfferedFlow o = after(s, to_client(Plain, kUdp));
         s.commit([](Router& r) { r.touch_all(); });
         return o;
       }},
      {"a label that is none",
       [](Side& s) {
         s.open(to_client(Plain, kUdp), kFarNode);
         OfferedFlow o = s.inwards(to_client(Plain, kUdp));
         o.label = kMaxLabel + 1;
         return o;
       }},
      {"to an address that is not ours",
       [](Side& s) {
         s.open(to_client(Plain, kUdp), kFarNode);
         OfferedFlow o = s.inwards(to_client(Plain, kUdp));
         o.outer_destination = on_wire(kNode + 1);
         return o;
       }},
  };
  for (const Offer& offer : offers) {
    Twin twin;
    if (const std::string why = twin.make(); !why.empty()) GTEST_SKIP() << why;
    const OfferedFlow made = offer.make(twin.first);
    twin.tier->offer(twin.context(), made);
    EXPECT_EQ(twin.tier->open_lanes(), offer.taken ? 1u : 0u) << offer.name;
  }
}

// What a vif traps is the agent's: also of flows that were made before it did.
TEST(TierOffers, TrapsOfAVifAreNotCarriedPast) {
  Twin twin;
  if (const std::string why = twin.make(); !why.empty()) GTEST_SKIP() << why;
  // Made while the vif has no traps, and offered when it has.
  const Ends dhcp{kPod, 68, kClient, 67, kUdp};
  const Ends gateway{kPod, kPodPort, kGateway, 2000, kUdp};
  const auto traps = [&](bool on) {
    twin.first.commit([&](Router& r) {
      VifSpec vif = twin.first.vif(1);
      if (!on) vif.flags &= ~uint32_t{kVifDhcpTrap | kVifGatewayTrap};
      r.exchange(VifId{1}, vif);
      Side::route(r, 1, kGateway, kTunnel, 88);
    });
  };
  traps(false);
  for (const Ends& ends : {dhcp, gateway}) {
    twin.first.send(1, tenant_frame(ip_packet(ends)));
    ASSERT_TRUE(twin.first.flow(ends).valid());
    twin.tier->offer(twin.context(), twin.first.outwards(ends));
  }
  EXPECT_EQ(twin.tier->open_lanes(), 2u);
  traps(true);
  twin.tier->revise(twin.context());
  EXPECT_EQ(twin.tier->open_lanes(), 0u);
  for (const Ends& ends : {dhcp, gateway}) {
    // As if each had been decided since.
    twin.first.engine.flows()[twin.first.flow(ends)].generation =
        twin.first.engine.router().generation;
    twin.tier->offer(twin.context(), twin.first.outwards(ends));
  }
  EXPECT_EQ(twin.tier->open_lanes(), 0u);
}

}  // namespace
}  // namespace vrouter::tier_twin
