// What is merged is cut again (offload/segment.h, which has a test of its own) and must be what it was.
#include "offload/coalesce.h"

#include <gtest/gtest.h>

#include "offload/checksum.h"
#include "offload/offload_twin.h"
#include "offload/segment.h"

namespace vrouter::offload_twin {
namespace {

// Segments of one connection as a plain wire would bring them.
std::vector<Bytes> stream(const Shape& shape, uint32_t segments, uint32_t size, uint8_t port) {
  std::vector<Bytes> out;
  for (uint32_t i = 0; i < segments; ++i) {
    Built b = build(shape, Bytes(size, static_cast<uint8_t>(port + i)), 1000 + i * size, 0x10);
    b.frame[b.l4 + 1] = port;
    seal(b, false, i);
    out.push_back(b.frame);
  }
  return out;
}

// What comes out when everything is cut again.
std::vector<Bytes> cut_again(PacketPool& pool, Packet** packets, uint32_t count) {
  std::vector<Bytes> out;
  for (uint32_t i = 0; i < count; ++i) {
    if (packets[i]->offload.segmentation == Segmentation::None) {
      out.push_back(bytes(*packets[i]));
    } else {
      Segmenter segmenter(*packets[i]);
      EXPECT_EQ(segmenter.count(), packets[i]->meta.merged + 1u);
      while (!segmenter.done()) {
        Packet* piece = nullptr;
        if (segmenter.next(pool, &piece, 1) != 1) break;
        out.push_back(bytes(*piece));
        pool.free(piece);
      }
    }
    pool.free(packets[i]);
  }
  return out;
}

uint32_t run(PacketPool& pool, const std::vector<Bytes>& in, std::vector<Bytes>* out) {
  std::vector<Packet*> packets;
  for (const Bytes& frame : in) packets.push_back(packet_of(pool, frame));
  const uint32_t kept = coalesce(pool, packets.data(), static_cast<uint32_t>(packets.size()));
  *out = cut_again(pool, packets.data(), kept);
  EXPECT_EQ(pool.available(), pool.total());
  return kept;
}

TEST(Coalesce, ARunBecomesOnePacketAndIsTheSameCutAgain) {
  PacketPool pool(200, 66048);
  std::vector<Bytes> out;
  for (const bool v6 : {false, true}) {
    for (const uint32_t options : {0u, 12u}) {
      std::vector<Bytes> in = stream({Outer::None, v6, false, options}, 40, 1398, 1);
      EXPECT_EQ(run(pool, in, &out), 1u);
      EXPECT_EQ(out, in);
      in = stream({Outer::None, v6, false, options}, 60, 1398, 1);
      EXPECT_EQ(run(pool, in, &out), 2u) << "64 KiB are full";
      EXPECT_EQ(out, in);
    }
  }
}

TEST(Coalesce, MixedConnectionsKeepTheirOrderEach) {
  PacketPool pool(200, 66048);
  std::mt19937 random(7);
  for (int round = 0; round < 200; ++round) {
    std::vector<std::vector<Bytes>> streams;
    for (uint8_t c = 1; c <= 1 + round % 12; ++c) {
      streams.push_back(stream({Outer::None, c % 3 == 0, false, c % 2 * 12u}, 6, 100 + c, c));
    }
    std::vector<Bytes> in;
    std::vector<size_t> at(streams.size());
    while (in.size() < streams.size() * 6) {
      const size_t c = random() % streams.size();
      if (at[c] < 6) in.push_back(streams[c][at[c]++]);
    }
    std::vector<Bytes> out;
    const uint32_t kept = run(pool, in, &out);
    ASSERT_EQ(out.size(), in.size());
    if (streams.size() <= kOpenRuns) {
      EXPECT_EQ(kept, streams.size());
    }
    for (const std::vector<Bytes>& wanted : streams) {
      std::vector<Bytes> got;
      for (const Bytes& frame : out) {
        if (std::find(wanted.begin(), wanted.end(), frame) != wanted.end()) got.push_back(frame);
      }
      ASSERT_EQ(got, wanted);
    }
  }
}

// Each change at frame 3 of 6 must keep it from being merged into what is before it.
TEST(Coalesce, WhatDoesNotContinueTheRunIsLeftAlone) {
  PacketPool pool(64, 66048);
  const Shape shape{Outer::None, false, false, 12};
  struct Case {
    const char* what;
    void (*change)(Bytes&);
    bool sealed;  // checksums are made right again
    uint32_t kept;
  };
  const Case cases[] = {
      {"nothing", [](Bytes&) {}, true, 1},
      {"a hole", [](Bytes& f) { f[34 + 7] ^= 1; }, true, 3},
      {"another acknowledgement", [](Bytes& f) { f[34 + 8] ^= 1; }, true, 3},
      {"another window", [](Bytes& f) { f[34 + 14] ^= 1; }, true, 3},
      {"another option", [](Bytes& f) { f[34 + 20] ^= 2; }, true, 3},
      {"FIN", [](Bytes& f) { f[34 + 13] |= 1; }, true, 3},
      {"CWR", [](Bytes& f) { f[34 + 13] |= 0x80; }, true, 3},
      {"PSH ends a run", [](Bytes& f) { f[34 + 13] |= 8; }, true, 2},
      {"another TTL", [](Bytes& f) { f[14 + 8] = 63; }, true, 3},
      {"ECN", [](Bytes& f) { f[14 + 1] |= 3; }, true, 3},
      {"another MAC", [](Bytes& f) { f[5] ^= 1; }, true, 3},
      {"a fragment", [](Bytes& f) { f[14 + 6] = 0x20; }, true, 3},
      {"a wrong checksum", [](Bytes& f) { f[60] ^= 1; }, false, 3},
      {"a wrong header checksum", [](Bytes& f) { f[14 + 10] ^= 1; }, false, 3},
      {"a tag", [](Bytes& f) { f[12] = 0x81; }, false, 3},
      {"padding behind", [](Bytes& f) { f.push_back(0); }, false, 3},
  };
  for (const Case& c : cases) {
    std::vector<Bytes> in = stream(shape, 6, 200, 1);
    c.change(in[3]);
    if (c.sealed) {
      Built b;
      b.frame = in[3];
      b.inner_l3 = b.outer_l3 = 14;
      b.l4 = 34;
      seal(b, false, 3);
      in[3] = b.frame;
    }
    std::vector<Bytes> out;
    EXPECT_EQ(run(pool, in, &out), c.kept) << c.what;
    EXPECT_EQ(out, in) << c.what;
  }
}

// Streams with everything that happens to them: whatever comes, each connection gets its own frames
// in their order, once they are cut again.
TEST(Coalesce, RandomTroubleChangesNothing) {
  PacketPool pool(200, 66048);
  std::mt19937 random(11);
  uint32_t merged = 0;
  for (int round = 0; round < 3000; ++round) {
    std::vector<std::vector<Bytes>> streams;
    const uint32_t connections = 1 + static_cast<uint32_t>(random() % 10);
    for (uint8_t c = 1; c <= connections; ++c) {
      const uint32_t size = 1 + static_cast<uint32_t>(random() % 120);
      std::vector<Bytes> all =
          stream({Outer::None, random() % 2 == 0, false, random() % 2 == 0 ? 12u : 0u}, 8, size, c);
      for (uint32_t hits = static_cast<uint32_t>(random() % 3); hits > 0; --hits) {
        const size_t at = random() % all.size();
        Bytes& f = all[at];
        switch (random() % 7) {
          case 0:  // lost
            if (all.size() > 1) all.erase(all.begin() + static_cast<long>(at));
            break;
          case 1:  // overtaken
            std::swap(f, all[random() % all.size()]);
            break;
          case 2:  // twice
            all.insert(all.begin() + static_cast<long>(at), Bytes(f));
            break;
          case 3: {  // a bit turned over, not in what tells connections apart
            const bool v6 = f[12] == 0x86;
            const size_t byte = 14 + random() % (f.size() - 14);
            if (byte == (v6 ? 20u : 23u) || (byte >= (v6 ? 22u : 26u) && byte < (v6 ? 58u : 38u))) {
              break;
            }
            f[byte] ^= static_cast<uint8_t>(1u << random() % 8);
            break;
          }
          case 4:  // padded
            f.insert(f.end(), 1 + random() % 20, 0);
            break;
          case 5:  // an acknowledgement alone, as an Ethernet NIC pads it
          case 6: {
            Bytes ack(f);
            const bool v6 = ack[12] == 0x86;
            Built b;
            b.inner_l3 = b.outer_l3 = 14;
            b.l4 = v6 ? 54 : 34;
            b.frame = ack;
            b.frame.resize(b.l4 + uint32_t{ack[b.l4 + 12]} / 16 * 4);
            seal(b, false, 0);
            b.frame.insert(b.frame.end(), random() % 2 * 6, 0);
            all.insert(all.begin() + static_cast<long>(at), b.frame);
            break;
          }
        }
      }
      streams.push_back(all);
    }
    // Each frame's source MAC says whose it is.
    std::vector<Bytes> in;
    std::vector<size_t> at(streams.size());
    for (size_t c = 0; c < streams.size(); ++c) {
      for (Bytes& f : streams[c]) f[11] = static_cast<uint8_t>(c);
    }
    for (size_t left = streams.size(); left > 0;) {
      const size_t c = random() % streams.size();
      if (at[c] < streams[c].size()) in.push_back(streams[c][at[c]++]);
      left = 0;
      for (size_t i = 0; i < streams.size(); ++i) left += at[i] < streams[i].size() ? 1 : 0;
    }
    std::vector<Bytes> out;
    merged += static_cast<uint32_t>(in.size()) - run(pool, in, &out);
    ASSERT_EQ(out.size(), in.size()) << round;
    for (size_t c = 0; c < streams.size(); ++c) {
      std::vector<Bytes> got;
      for (const Bytes& f : out) {
        if (f[11] == c) got.push_back(f);
      }
      ASSERT_EQ(got, streams[c]) << round << ": connection " << c;
    }
  }
  EXPECT_GT(merged, 20'000u) << "there was something to merge";
}

// What a frame claims to leave undone must be about the TCP header that is there.
TEST(Coalesce, ClaimsThatDoNotFitAreNotTrusted) {
  PacketPool pool(64, 66048);
  const Shape shape{Outer::None, false, false, 0};
  const std::vector<Bytes> in = stream(shape, 3, 200, 1);
  struct Case {
    const char* what;
    Offload claim;
  };
  const uint32_t tcp = kHeadroom + 34;
  const Case cases[] = {
      {"segments of nothing", {Segmentation::TcpV4, true, false, 0, 16, tcp, 0, 0}},
      {"another family", {Segmentation::TcpV6, true, false, 200, 16, tcp, 0, 0}},
      {"datagrams", {Segmentation::Udp, true, false, 200, 16, tcp, 0, 0}},
      {"another header", {Segmentation::None, true, false, 0, 16, tcp + 20, 0, 0}},
      {"another field", {Segmentation::None, true, false, 0, 4, tcp, 0, 0}},
      {"inside a tunnel", {Segmentation::TcpV4, true, false, 200, 16, tcp, tcp, tcp}},
      {"no checksum", {Segmentation::TcpV4, false, false, 200, 16, tcp, 0, 0}},
  };
  for (const Case& c : cases) {
    for (const size_t at : {size_t{0}, size_t{1}, size_t{2}}) {
      std::vector<Packet*> packets;
      for (const Bytes& frame : in) packets.push_back(packet_of(pool, frame));
      packets[at]->offload = c.claim;
      Packet* claims = packets[at];
      EXPECT_EQ(coalesce(pool, packets.data(), 3), at == 1 ? 3u : 2u) << c.what << at;
      EXPECT_EQ(bytes(*claims), in[at]) << c.what << at;
      for (uint32_t i = 0; i < (at == 1 ? 3u : 2u); ++i) pool.free(packets[i]);
      ASSERT_EQ(pool.available(), pool.total());
    }
  }
}

// The kernel's own super-packets grow, and are continued, when their segments are as long.
TEST(Coalesce, SuperPacketsStartAndContinueRuns) {
  PacketPool pool(64, 66048);
  const Shape shape{Outer::None, false, false, 12};
  const std::vector<Bytes> in = stream(shape, 9, 300, 1);
  for (const uint16_t segment : {uint16_t{300}, uint16_t{299}}) {
    std::vector<Packet*> packets;
    for (uint32_t at = 0; at < 9; at += 3) {
      if (at == 3) {
        for (uint32_t i = 3; i < 6; ++i) packets.push_back(packet_of(pool, in[i]));
        continue;
      }
      Bytes payload;
      for (uint32_t i = at; i < at + 3; ++i) {
        payload.insert(payload.end(), in[i].end() - 300, in[i].end());
      }
      Built b = build(shape, payload, 1000 + at * 300, 0x10);
      b.frame[b.l4 + 1] = 1;
      seal(b, false, at);
      packets.push_back(super_of(pool, shape, b, segment));
      packets.back()->meta.merged = 2;
    }
    const uint32_t kept = coalesce(pool, packets.data(), 5);
    if (segment == 300) {
      ASSERT_EQ(kept, 1u);
      EXPECT_EQ(packets[0]->meta.merged, 8u);
      EXPECT_EQ(cut_again(pool, packets.data(), kept), in);
    } else {
      EXPECT_EQ(kept, 3u) << "only the plain ones between them are one";
      for (uint32_t i = 0; i < kept; ++i) pool.free(packets[i]);
    }
    EXPECT_EQ(pool.available(), pool.total());
  }
}

TEST(Coalesce, AShorterSegmentIsTheLastOfARunALongerOneIsNone) {
  PacketPool pool(64, 66048);
  const Shape shape{Outer::None, false, false, 0};
  for (const uint32_t size : {50u, 300u}) {
    std::vector<Bytes> in = stream(shape, 3, 200, 1);
    Built odd = build(shape, Bytes(size, 9), 1000 + 600, 0x10);
    odd.frame[odd.l4 + 1] = 1;
    seal(odd, false, 3);
    Built next = build(shape, Bytes(size, 9), 1000 + 600 + size, 0x10);
    next.frame[next.l4 + 1] = 1;
    seal(next, false, 4);
    in.push_back(odd.frame);
    in.push_back(next.frame);
    std::vector<Bytes> out;
    EXPECT_EQ(run(pool, in, &out), 2u) << size;
    std::vector<Bytes> wanted = in;
    EXPECT_EQ(out, wanted) << size;
  }
}

TEST(Coalesce, PartialChecksumsCountAsRight) {
  PacketPool pool(64, 66048);
  const Shape shape{Outer::None, false, false, 0};
  const std::vector<Bytes> in = stream(shape, 4, 200, 1);
  std::vector<Packet*> packets;
  for (const Bytes& frame : in) {
    packets.push_back(packet_of(pool, frame));
    Packet& p = *packets.back();
    store_be16(p.data() + 34 + 16, naive_sum(pseudo(&frame[14], 6, 220), nullptr, 0));
    p.offload.checksum = true;
    p.offload.field = 16;
    p.offload.transport = p.offset + 34;
  }
  ASSERT_EQ(coalesce(pool, packets.data(), 4), 1u);
  EXPECT_EQ(cut_again(pool, packets.data(), 1), in);
}

}  // namespace
}  // namespace vrouter::offload_twin
