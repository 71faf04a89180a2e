// The kernel tier's programs against the express room: a packet that they carry leaves as that would have sent it,
// byte for byte but for the outer identification, and what they do not carry they have not touched. Two equal
// routers; the programs, run by the kernel, have the lanes that the tier has made of the first one's flows, and
// the second one has the frames.
#include <gtest/gtest.h>

#include <random>

#include "worker/twin_programs.h"

namespace vrouter::tier_twin {
namespace {

class TierPrograms : public TwinPrograms {};

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
  EXPECT_EQ(run(program, frame).result, kNext) << "there has been no filter yet";
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
