// The kernel tier's programs against the express room: a packet that they carry leaves as that would have sent it,
// byte for byte but for the outer identification, and what they do not carry they have not touched. Two equal
// routers; the programs, run by the kernel, have the lanes that the tier has made of the first one's flows, and
// the second one has the frames.
#include <gtest/gtest.h>

#include <random>

#include "worker/tier_twin.h"

namespace vrouter::tier_twin {
namespace {

constexpr uint32_t kInner = 46;  // where the packet inside is, in a frame of the fabric
constexpr uint32_t kOuter = 14;

class TierPrograms : public testing::Test {
 protected:
  void SetUp() override {
    if (const std::string why = twin_.make(); !why.empty()) GTEST_SKIP() << why;
    const std::pair<uint32_t, uint8_t> wanted[] = {{Plain, kTcp}, {Plain, kUdp}, {Other, kTcp}};
    for (const auto& [client, protocol] : wanted) {
      const Ends ends = to_client(client, protocol);
      twin_.open(ends, kFarNode + client);
      twin_.offer(ends);
      known_.push_back({ends, client});
    }
    ASSERT_EQ(twin_.tier->open_lanes(), 2 * known_.size());
    for (const auto& [ends, client] : known_) {
      keep_.push_back(twin_.second.flow(ends));
      keep_.push_back(twin_.second.flow(reversed(ends)));
    }
    for (const FlowId id : keep_) {
      ASSERT_TRUE(id.valid());
      saved_.emplace_back().copy(twin_.second.engine.flows().half(id));
    }
  }

  // Whether the programs carry it: all ways of the first port, or that of the fabric. What leaves is as
  // the express room sends it; which is asked only then, for it may end flows.
  bool carried(uint32_t port, const Bytes& frame) {
    std::optional<Bytes> out =
        port == 0 ? twin_.programs.from_fabric(frame) : twin_.programs.by_veth(frame);
    if (port != 0) {
      const std::optional<Bytes> other = twin_.programs.by_tap(frame);
      EXPECT_EQ(other.has_value(), out.has_value());
      if (other && out) {
        EXPECT_EQ(normalised(*other, true), normalised(*out, true));
      }
    }
    if (!out) return false;
    const uint32_t met = twin_.meetings.count;
    const Sent sent = twin_.second.send(port, frame);
    EXPECT_EQ(twin_.meetings.count, met) << "the express room left it to the others";
    EXPECT_EQ(sent.size(), 1u);
    if (sent.size() != 1) return true;
    EXPECT_EQ(sent[0].first, port == 0 ? 1u : 0u);
    EXPECT_EQ(normalised(*out, port != 0), normalised(sent[0].second, port != 0));
    return true;
  }
  // What the express room does with a frame that is not carried, so that a row says what it means to.
  bool express(uint32_t port, const Bytes& frame) {
    const uint32_t met = twin_.meetings.count;
    const uint64_t flows = twin_.second.engine.flows().created();
    const Sent sent = twin_.second.send(port, frame);
    return sent.size() == 1 && sent[0].first == 1 - port && twin_.meetings.count == met &&
           twin_.second.engine.flows().created() == flows;
  }
  void reopen() {
    for (uint32_t i = 0; i < 2 * known_.size(); ++i) twin_.programs.at(i).state = kLaneOpen;
    for (size_t i = 0; i < keep_.size(); ++i) {
      twin_.second.engine.flows()[keep_[i]] = saved_[i].flow;
    }
  }
  uint32_t state(uint32_t index) { return twin_.programs.at(index).state; }

  static Bytes out_frame(const Ends& ends, uint32_t payload = 10) {
    return tenant_frame(ip_packet(ends, payload));
  }
  static Bytes in_frame(const Ends& ends, uint32_t client, uint32_t payload = 10) {
    return fabric_frame(ip_packet(reversed(ends), payload), kFarNode + client);
  }

  struct Known {
    Ends ends;
    uint32_t client;
  };
  Twin twin_;
  std::vector<Known> known_;
  std::vector<FlowId> keep_;
  std::vector<FlowEntry> saved_;
};

TEST_F(TierPrograms, PlainPacketsLeaveAsTheExpressRoomSendsThem) {
  for (const auto& [ends, client] : known_) {
    SCOPED_TRACE(testing::Message() << "protocol " << int{ends.protocol} << ", client " << client);
    for (uint32_t payload : {0u, 1u, 2u, 17u, 500u, 1399u}) {
      EXPECT_TRUE(carried(1, out_frame(ends, payload))) << payload;
      EXPECT_TRUE(carried(0, in_frame(ends, client, payload))) << payload;
    }
    // Every TTL and many checksums: one hop less is right for all of them.
    for (uint32_t ttl = 2; ttl < 256; ++ttl) {
      Bytes out = out_frame(ends);
      out[kOuter + 8] = static_cast<uint8_t>(ttl);
      store_be16(&out[kOuter + 4], static_cast<uint16_t>(ttl * 257));
      fix_ip(out, kOuter);
      EXPECT_TRUE(carried(1, out)) << ttl;
      Bytes in = in_frame(ends, client);
      in[kInner + 8] = static_cast<uint8_t>(ttl);
      store_be16(&in[kInner + 4], static_cast<uint16_t>(ttl * 257));
      fix_ip(in, kInner);
      EXPECT_TRUE(carried(0, in)) << ttl;
    }
  }
}

// The identification of a lane's outer headers goes round without a wrong checksum.
TEST_F(TierPrograms, OuterIdentificationsGoRound) {
  const Bytes frame = out_frame(known_[0].ends);
  for (const uint64_t packets : {0xfffeu, 0xffffu, 0x10000u, 0x1fffeu}) {
    twin_.programs.at(0).packets = packets;
    const std::optional<Bytes> out = twin_.programs.by_veth(frame);
    ASSERT_TRUE(out.has_value());
    EXPECT_EQ(load_be16(&(*out)[18]), packets & 0xffff);
    EXPECT_EQ(checksum(&(*out)[14], 20), 0);
  }
}

struct Row {
  const char* name;
  std::function<void(Bytes&)> bend;
  bool carried = false;
  bool express = false;  // the express room takes it, where the programs need not
};

void resize_ip(Bytes& frame, uint32_t at, int by) {
  store_be16(&frame[at + 2], static_cast<uint16_t>(load_be16(&frame[at + 2]) + by));
  fix_ip(frame, at);
}

// Rows about the packet itself, wherever it stands; TCP.
std::vector<Row> rows_of_packet(uint32_t at) {
  return {
      {"as it is", [](Bytes&) {}, true, true},
      {"DF",
       [at](Bytes& f) {
         f[at + 6] = 0x40;
         fix_ip(f, at);
       },
       true, true},
      {"DSCP and ECN",
       [at](Bytes& f) {
         f[at + 1] = 0xff;
         fix_ip(f, at);
       },
       true, true},
      {"PSH, URG, ECE, CWR", [at](Bytes& f) { f[at + 33] |= 0xe8; }, true, true},
      {"version 6",
       [at](Bytes& f) {
         f[at] = 0x65;
         fix_ip(f, at);
       }},
      {"options",
       [at](Bytes& f) {
         f[at] = 0x46;
         fix_ip(f, at);
       }},
      {"more fragments",
       [at](Bytes& f) {
         f[at + 6] = 0x20;
         fix_ip(f, at);
       }},
      {"a later fragment",
       [at](Bytes& f) {
         f[at + 7] = 1;
         fix_ip(f, at);
       }},
      {"a late fragment",
       [at](Bytes& f) {
         f[at + 6] = 0x10;
         fix_ip(f, at);
       }},
      {"TTL 1",
       [at](Bytes& f) {
         f[at + 8] = 1;
         fix_ip(f, at);
       }},
      {"TTL 0",
       [at](Bytes& f) {
         f[at + 8] = 0;
         fix_ip(f, at);
       }},
      {"a wrong IP checksum", [at](Bytes& f) { f[at + 10] ^= 1; }},
      {"a byte longer than the frame", [at](Bytes& f) { resize_ip(f, at, 1); }},
      {"shorter than its headers",
       [at](Bytes& f) {
         f.resize(at + 30);
         store_be16(&f[at + 2], 30);
         fix_ip(f, at);
       }},
      {"total length 0",
       [at](Bytes& f) {
         store_be16(&f[at + 2], 0);
         fix_ip(f, at);
       }},
      {"no ACK", [at](Bytes& f) { f[at + 33] = 0; }, false, true},
      {"a TCP header of 16 bytes", [at](Bytes& f) { f[at + 32] = 0x40; }},
      {"a TCP header of 0 bytes", [at](Bytes& f) { f[at + 32] = 0; }},
      {"a TCP header longer than the packet", [at](Bytes& f) { f[at + 32] = 0xf0; }},
      {"a TCP header as long as the packet",
       [at](Bytes& f) {
         f[at + 32] = 0x70;
         f.resize(f.size() - 2);
         resize_ip(f, at, -2);
         if (at == kOuter) return;
         resize_ip(f, kOuter, -2);
         store_be16(&f[38], static_cast<uint16_t>(load_be16(&f[38]) - 2));
       },
       true, true},
      {"another protocol",
       [at](Bytes& f) {
         f[at + 9] = 132;
         fix_ip(f, at);
       }},
      {"an unknown source",
       [at](Bytes& f) {
         f[at + 15] ^= 0x40;
         fix_ip(f, at);
       }},
      {"an unknown destination",
       [at](Bytes& f) {
         f[at + 19] ^= 0x40;
         fix_ip(f, at);
       }},
      {"an unknown port", [at](Bytes& f) { f[at + 21] ^= 0x40; }},
      {"the other unknown port", [at](Bytes& f) { f[at + 23] ^= 0x40; }},
      {"the flow of the other protocol, which there is not",
       [at](Bytes& f) {
         f[at + 9] = kUdp;
         store_be16(&f[at + 24], static_cast<uint16_t>(f.size() - at - 20));
         fix_ip(f, at);
       }},
  };
}

std::vector<Row> rows_of_tenant() {
  std::vector<Row> rows = rows_of_packet(kOuter);
  const std::vector<Row> more = {
      {"to the vif's MAC", [](Bytes& f) { std::copy_n(kVifMac.bytes.data(), 6, f.data()); }, true,
       true},
      {"to the pod's own MAC", [](Bytes& f) { std::copy_n(kPodMac[0].bytes.data(), 6, f.data()); }},
      {"to a MAC that is not the gateway's by its last byte", [](Bytes& f) { f[5] = 1; }},
      {"… by its first", [](Bytes& f) { f[0] = 2; }},
      {"… by its third", [](Bytes& f) { f[2] = 0; }},
      {"from any MAC", [](Bytes& f) { f[11] = 9; }, true, true},
      {"padding", [](Bytes& f) { f.resize(f.size() + 6); }, false, true},
      {"ARP", [](Bytes& f) { store_be16(&f[12], 0x0806); }},
      {"IPv6", [](Bytes& f) { store_be16(&f[12], 0x86dd); }},
      {"a VLAN tag",
       [](Bytes& f) {
         const uint8_t tag[] = {0x81, 0, 0, 5};
         f.insert(f.begin() + 12, tag, tag + 4);
       }},
      {"a packet that fits just",
       [](Bytes& f) {
         f.resize(14 + 1468);
         resize_ip(f, kOuter, 1468 - load_be16(&f[16]));
       },
       true, true},
      {"a byte too large",
       [](Bytes& f) {
         f.resize(14 + 1469);
         resize_ip(f, kOuter, 1469 - load_be16(&f[16]));
       }},
  };
  rows.insert(rows.end(), more.begin(), more.end());
  return rows;
}

std::vector<Row> rows_of_fabric() {
  std::vector<Row> rows = rows_of_packet(kInner);
  const std::vector<Row> more = {
      {"to the gateway's MAC",
       [](Bytes& f) { std::copy_n(kGatewayMac.bytes.data(), 6, f.data()); }},
      {"to another MAC", [](Bytes& f) { f[5] ^= 1; }},
      {"from any MAC", [](Bytes& f) { f[11] = 9; }, true, true},
      {"padding", [](Bytes& f) { f.resize(f.size() + 6); }, false, true},
      {"padding inside",
       [](Bytes& f) {
         f.resize(f.size() + 6);
         resize_ip(f, kOuter, 6);
         store_be16(&f[38], static_cast<uint16_t>(load_be16(&f[38]) + 6));
       },
       false, true},
      {"ARP", [](Bytes& f) { store_be16(&f[12], 0x0806); }},
      {"IPv6", [](Bytes& f) { store_be16(&f[12], 0x86dd); }},
      {"a VLAN tag",
       [](Bytes& f) {
         const uint8_t tag[] = {0x81, 0, 0, 5};
         f.insert(f.begin() + 12, tag, tag + 4);
       }},
      {"the old port", [](Bytes& f) { store_be16(&f[36], 51234); }, true, true},
      {"another port", [](Bytes& f) { store_be16(&f[36], 6636); }},
      {"VXLAN's port", [](Bytes& f) { store_be16(&f[36], 4789); }},
      {"any source port", [](Bytes& f) { store_be16(&f[34], 1); }, true, true},
      {"another label", [](Bytes& f) { store_be32(&f[42], 41 << 12 | 0x140); }},
      {"an unknown label", [](Bytes& f) { store_be32(&f[42], 99 << 12 | 0x140); }},
      {"not the bottom of the stack", [](Bytes& f) { f[44] &= 0xfe; }},
      {"traffic class", [](Bytes& f) { f[44] |= 0x0e; }, true, true},
      {"label TTL 1", [](Bytes& f) { f[45] = 1; }},
      {"label TTL 0", [](Bytes& f) { f[45] = 0; }},
      {"label TTL 2", [](Bytes& f) { f[45] = 2; }, true, true},
      {"another outer source",
       [](Bytes& f) {
         f[29] ^= 1;
         fix_ip(f, kOuter);
       }},
      {"another outer destination",
       [](Bytes& f) {
         f[33] ^= 0x80;
         fix_ip(f, kOuter);
       }},
      {"an outer UDP checksum", [](Bytes& f) { f[40] = 1; }, false, true},
      {"outer options",
       [](Bytes& f) {
         f[14] = 0x46;
         fix_ip(f, kOuter);
       }},
      {"an outer fragment",
       [](Bytes& f) {
         f[20] = 0x20;
         fix_ip(f, kOuter);
       }},
      {"a later outer fragment",
       [](Bytes& f) {
         f[21] = 1;
         fix_ip(f, kOuter);
       }},
      {"a wrong outer checksum", [](Bytes& f) { f[24] ^= 1; }},
      {"outer TTL 1",
       [](Bytes& f) {
         f[22] = 1;
         fix_ip(f, kOuter);
       },
       true, true},
      {"another outer protocol",
       [](Bytes& f) {
         f[23] = 6;
         fix_ip(f, kOuter);
       }},
      {"an outer UDP length that is too short",
       [](Bytes& f) { store_be16(&f[38], static_cast<uint16_t>(load_be16(&f[38]) - 1)); }, false,
       true},
      {"an outer UDP length that is too long",
       [](Bytes& f) { store_be16(&f[38], static_cast<uint16_t>(load_be16(&f[38]) + 1)); }},
      {"a packet that fits just",
       [](Bytes& f) {
         f.resize(kInner + 1500);
         resize_ip(f, kInner, 1500 - load_be16(&f[kInner + 2]));
         resize_ip(f, kOuter, 1532 - load_be16(&f[16]));
         store_be16(&f[38], 1512);
       },
       true, true},
      {"a byte too large",
       [](Bytes& f) {
         f.resize(kInner + 1501);
         resize_ip(f, kInner, 1501 - load_be16(&f[kInner + 2]));
         resize_ip(f, kOuter, 1533 - load_be16(&f[16]));
         store_be16(&f[38], 1513);
       }},
  };
  rows.insert(rows.end(), more.begin(), more.end());
  return rows;
}

TEST_F(TierPrograms, RowsOfATenantsFrames) {
  const Ends ends = to_client(Other, kTcp);
  for (const Row& row : rows_of_tenant()) {
    SCOPED_TRACE(row.name);
    Bytes frame = out_frame(ends);
    row.bend(frame);
    EXPECT_EQ(carried(1, frame), row.carried);
    EXPECT_EQ(express(1, frame), row.express);
    reopen();
  }
}

TEST_F(TierPrograms, RowsOfTheFabricsFrames) {
  const Ends ends = to_client(Other, kTcp);
  for (const Row& row : rows_of_fabric()) {
    SCOPED_TRACE(row.name);
    Bytes frame = in_frame(ends, Other);
    row.bend(frame);
    EXPECT_EQ(carried(0, frame), row.carried);
    EXPECT_EQ(express(0, frame), row.express);
    reopen();
  }
}

TEST_F(TierPrograms, RowsOfUdp) {
  const Ends ends = to_client(Plain, kUdp);
  for (const uint32_t port : {0u, 1u}) {
    const uint32_t at = port == 0 ? kInner : kOuter;
    const std::vector<Row> rows = {
        {"as it is", [](Bytes&) {}, true, true},
        {"no checksum", [at](Bytes& f) { store_be16(&f[at + 26], 0); }, true, true},
        {"a wrong checksum", [at](Bytes& f) { f[at + 26] ^= 1; }, true, true},
        {"length 7", [at](Bytes& f) { store_be16(&f[at + 24], 7); }},
        {"length 0", [at](Bytes& f) { store_be16(&f[at + 24], 0); }},
        {"length 8", [at](Bytes& f) { store_be16(&f[at + 24], 8); }, true, true},
        {"a byte too long", [at](Bytes& f) { store_be16(&f[at + 24], 19); }},
        {"a header cut short",
         [at, port](Bytes& f) {
           f.resize(at + 27);
           resize_ip(f, at, -11);
           if (port != 0) return;
           resize_ip(f, kOuter, -11);
           store_be16(&f[38], static_cast<uint16_t>(load_be16(&f[38]) - 11));
         }},
    };
    for (const Row& row : rows) {
      SCOPED_TRACE(testing::Message() << row.name << ", port " << port);
      Bytes frame = port == 0 ? in_frame(ends, Plain) : out_frame(ends);
      row.bend(frame);
      EXPECT_EQ(carried(port, frame), row.carried);
      EXPECT_EQ(express(port, frame), row.express);
      reopen();
    }
  }
}

// SYN, FIN and RST are for the rooms, and with them all that comes behind, either way; other flows go on.
TEST_F(TierPrograms, WhatOpensOrEndsClosesBothLanes) {
  const Ends ends = to_client(Plain, kTcp);
  for (const uint8_t flags : {0x02, 0x12, 0x01, 0x11, 0x04, 0x14, 0x07}) {
    for (const uint32_t port : {0u, 1u}) {
      SCOPED_TRACE(testing::Message() << "flags " << int{flags} << ", port " << port);
      const Bytes packet = ip_packet(port == 0 ? reversed(ends) : ends, 10, flags);
      EXPECT_FALSE(
          carried(port, port == 0 ? fabric_frame(packet, kFarNode) : tenant_frame(packet)));
      EXPECT_EQ(state(0), uint32_t{kLaneClosing});
      EXPECT_EQ(state(1), uint32_t{kLaneClosing});
      for (uint32_t i = 2; i < 6; ++i) EXPECT_EQ(state(i), uint32_t{kLaneOpen});
      EXPECT_FALSE(carried(1, out_frame(ends)));
      EXPECT_FALSE(carried(0, in_frame(ends, Plain)));
      EXPECT_TRUE(carried(1, out_frame(to_client(Other, kTcp))));
      // What the first of two programs has taken still goes.
      EXPECT_EQ(twin_.programs.companion(out_frame(ends)).result, kRedirected);
      reopen();
    }
  }
  twin_.programs.at(0).state = kLaneClosed;
  EXPECT_FALSE(carried(1, out_frame(ends)));
  EXPECT_EQ(twin_.programs.companion(out_frame(ends)).result, kDropped) << "nobody's: dropped";
}

// Of a super-packet its segments must fit. Whether it is taken is the filter's word: what follows needs more of a
// super-packet than a test run can say.
TEST_F(TierPrograms, SegmentsOfASuperPacketMustFit) {
  const Ends ends = to_client(Plain, kTcp);
  const Bytes frame = out_frame(ends, 3000);
  EXPECT_FALSE(twin_.programs.filter(frame));
  EXPECT_TRUE(twin_.programs.filter(frame, 1428));  // 40 of headers: 1468
  EXPECT_FALSE(twin_.programs.filter(frame, 1429));
  Bytes with_options = frame;
  with_options[kOuter + 32] = 0x80;  // 12 bytes more
  EXPECT_TRUE(twin_.programs.filter(with_options, 1416));
  EXPECT_FALSE(twin_.programs.filter(with_options, 1417));
  const Bytes datagrams = out_frame(to_client(Plain, kUdp), 3000);
  EXPECT_FALSE(twin_.programs.filter(datagrams));
  EXPECT_TRUE(twin_.programs.filter(datagrams, 1440));
  EXPECT_FALSE(twin_.programs.filter(datagrams, 1441));
}

TEST_F(TierPrograms, WhatIsCutShortIsNotCarried) {
  for (const auto& [ends, client] : known_) {
    const Bytes out = out_frame(ends);
    for (size_t n = 1; n < out.size(); ++n) {
      EXPECT_FALSE(carried(1, Bytes(out.begin(), out.begin() + static_cast<long>(n)))) << n;
    }
    const Bytes in = in_frame(ends, client);
    for (size_t n = 1; n < in.size(); ++n) {
      EXPECT_FALSE(carried(0, Bytes(in.begin(), in.begin() + static_cast<long>(n)))) << n;
    }
    EXPECT_TRUE(carried(1, out));
    EXPECT_TRUE(carried(0, in));
  }
}

// A flow whose packets may come from anywhere takes them from any far end, but not from none.
TEST_F(TierPrograms, AnyFarEndIsOne) {
  const Ends ends = to_client(Plain, kUdp);
  twin_.programs.at(3).outer_source = 0;
  twin_.second.engine.flows()[twin_.second.flow(reversed(ends))].set_rpf_next_hop(kDiscard.value);
  EXPECT_TRUE(carried(0, in_frame(ends, 77)));
  const Bytes frame = fabric_frame(ip_packet(reversed(ends)), 0);
  EXPECT_FALSE(carried(0, frame));
  EXPECT_FALSE(express(0, frame));
}

// A verdict is for the packet behind the filter and for no other.
TEST_F(TierPrograms, AVerdictIsUsedOnce) {
  const Bytes frame = out_frame(known_[0].ends);
  const bpf::Handle program =
      bpf::load_program(bpf::ProgramKind::Classifier, programs::tenant_in,
                        twin_.tier->fills(twin_.first.ids[1]), "again", nullptr);
  ASSERT_TRUE(program.ok());
  EXPECT_TRUE(twin_.programs.filter(frame));
  EXPECT_EQ(run(program, frame).result, kRedirected);
  EXPECT_EQ(run(program, frame).result, kNext);
  EXPECT_TRUE(twin_.programs.filter(frame));
  Bytes other = frame;
  other[5] = 1;
  EXPECT_FALSE(twin_.programs.filter(other));
  EXPECT_EQ(run(program, frame).result, kNext);
}

// Any byte of a valid frame changed, its length too, and checksums made right again or not.
TEST_F(TierPrograms, CarriedIsWhatTheExpressRoomCarries) {
  const uint32_t seed = std::random_device{}();
  std::mt19937 random(seed);
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  const auto below = [&](size_t n) { return static_cast<uint32_t>(random() % n); };
  uint32_t were_carried = 0;
  constexpr uint32_t kFrames = 6000;
  for (uint32_t i = 0; i < kFrames && !HasFailure(); ++i) {
    const Known& known = known_[below(known_.size())];
    const uint32_t port = below(2);
    const uint32_t at = port == 0 ? kInner : kOuter;
    Bytes frame = port == 0 ? in_frame(known.ends, known.client, below(100))
                            : out_frame(known.ends, below(100));
    for (uint32_t changes = below(4); changes > 0; --changes) {
      const uint32_t where = below(std::min<size_t>(frame.size(), at + 44));
      constexpr uint8_t kOdd[] = {0, 1, 0xff, 0x80, 0x45, 0x7f};
      switch (below(5)) {
        case 0:
          frame[where] = static_cast<uint8_t>(random());
          break;
        case 1:
          frame[where] = kOdd[below(6)];
          break;
        case 2:
          if (below(4) == 0) frame.resize(14 + below(frame.size()));
          break;
        default:
          frame[where] ^= 1u << below(8);
      }
    }
    if (below(4) != 0) {
      if (port == 0) fix_ip(frame, kInner);
      fix_ip(frame, kOuter);
    }
    SCOPED_TRACE(testing::Message()
                 << "frame " << i << " by port " << port << ": " << testing::PrintToString(frame));
    were_carried += carried(port, frame) ? 1 : 0;
    reopen();
  }
  EXPECT_GT(were_carried, kFrames / 5) << "hardly any: nothing was compared";
}

}  // namespace
}  // namespace vrouter::tier_twin
