// Segmenter and coalescer against slow, independent twins: frames are built and checked here byte
// by byte, with nothing of what is tested.
#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <vector>

#include "base/bytes.h"
#include "offload/checksum.h"
#include "offload/coalesce.h"
#include "offload/segment.h"

namespace vrouter {
namespace {

using Bytes = std::vector<uint8_t>;

// --- the twin: headers as bytes
// -------------------------------------------------------------------

uint16_t naive_sum(const Bytes& pseudo, const uint8_t* p, size_t n) {
  Bytes all = pseudo;
  all.insert(all.end(), p, p + n);
  if (all.size() % 2 != 0) all.push_back(0);
  uint32_t sum = 0;
  for (size_t i = 0; i < all.size(); i += 2) {
    sum += static_cast<uint32_t>(all[i] << 8 | all[i + 1]);
    if (sum > 0xffff) sum = (sum & 0xffff) + 1;
  }
  return static_cast<uint16_t>(sum);
}

Bytes pseudo(const uint8_t* l3, uint8_t protocol, uint32_t length) {
  Bytes out;
  const bool v4 = l3[0] >> 4 == 4;
  out.insert(out.end(), l3 + (v4 ? 12 : 8), l3 + (v4 ? 20 : 40));
  for (const int shift : {24, 16, 8, 0}) out.push_back(static_cast<uint8_t>(length >> shift));
  out.insert(out.end(), {0, 0, 0, protocol});
  return out;
}

enum class Outer { None, Tagged, Udp4, Udp6, Gre4, Vxlan4, Vxlan6 };
struct Shape {
  Outer outer;
  bool v6;
  bool udp;
  uint32_t options;  // bytes of TCP options
};

void ip_header(Bytes& out, bool v6, uint8_t protocol, uint8_t tail) {
  if (v6) {
    out.insert(out.end(), {0x60, 0, 0, 0, 0, 0, protocol, 64});
    for (const uint8_t end : {tail, static_cast<uint8_t>(tail + 1)}) {
      out.insert(out.end(), {0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7, end});
    }
  } else {
    out.insert(out.end(), {0x45, 0x10, 0, 0, 0x12, 0xfe, 0, 0, 64, protocol, 0, 0});
    out.insert(out.end(), {10, 1, 2, tail, 10, 3, 4, static_cast<uint8_t>(tail + 1)});
  }
}

// A frame of this shape with `payload`, lengths and checksums of the headers zero: see seal().
struct Built {
  Bytes frame;
  uint32_t outer_l3 = 0, outer_l4 = 0, inner_l3 = 0, l4 = 0, payload = 0;
};
Built build(const Shape& shape, const Bytes& payload, uint32_t sequence, uint8_t flags) {
  Built b;
  Bytes& f = b.frame;
  f = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2};
  const bool tunnel = shape.outer != Outer::None && shape.outer != Outer::Tagged;
  const bool outer6 = shape.outer == Outer::Udp6 || shape.outer == Outer::Vxlan6;
  if (shape.outer == Outer::Tagged) f.insert(f.end(), {0x81, 0, 0, 5});
  const bool first6 = tunnel ? outer6 : shape.v6;
  f.insert(f.end(),
           {static_cast<uint8_t>(first6 ? 0x86 : 8), static_cast<uint8_t>(first6 ? 0xdd : 0)});
  b.outer_l3 = static_cast<uint32_t>(f.size());
  if (tunnel) {
    const bool gre = shape.outer == Outer::Gre4;
    ip_header(f, outer6, gre ? 47 : 17, 50);
    b.outer_l4 = static_cast<uint32_t>(f.size());
    const bool vxlan = shape.outer == Outer::Vxlan4 || shape.outer == Outer::Vxlan6;
    if (gre) {
      f.insert(f.end(), {0, 0, 0x88, 0x47});
    } else {
      f.insert(f.end(), {0xc3, 0x50, static_cast<uint8_t>(vxlan ? 0x12 : 0x19),
                         static_cast<uint8_t>(vxlan ? 0xb5 : 0xeb), 0, 0, 0, 0});
    }
    if (vxlan) {
      f.insert(f.end(), {8, 0, 0, 0, 0, 0, 42, 0, 6, 5, 4, 3, 2, 1, 1, 2, 3, 4, 5, 6});
      f.insert(f.end(), {static_cast<uint8_t>(shape.v6 ? 0x86 : 8),
                         static_cast<uint8_t>(shape.v6 ? 0xdd : 0)});
    } else {
      f.insert(f.end(), {0, 1, 1, 64});
    }
  }
  b.inner_l3 = static_cast<uint32_t>(f.size());
  ip_header(f, shape.v6, shape.udp ? 17 : 6, 9);
  b.l4 = static_cast<uint32_t>(f.size());
  if (shape.udp) {
    f.insert(f.end(), {0x11, 0x22, 0x33, 0x44, 0, 0, 0, 0});
  } else {
    f.insert(f.end(), {0x11, 0x22, 0x33, 0x44});
    for (const int s : {24, 16, 8, 0}) f.push_back(static_cast<uint8_t>(sequence >> s));
    f.insert(f.end(), {9, 8, 7, 6, static_cast<uint8_t>((20 + shape.options) / 4 << 4), flags});
    f.insert(f.end(), {0x20, 0, 0, 0, 0, 0});
    for (uint32_t i = 0; i < shape.options; ++i) f.push_back(static_cast<uint8_t>(1 + i % 1));
  }
  b.payload = static_cast<uint32_t>(f.size());
  f.insert(f.end(), payload.begin(), payload.end());
  return b;
}

// Lengths, identification and checksums, for the frame as it stands.
void seal(Built& b, bool udp, uint32_t number, bool outer_checksum = false) {
  Bytes& f = b.frame;
  const auto ip = [&](uint32_t at) {
    const uint32_t length = static_cast<uint32_t>(f.size()) - at;
    if (f[at] >> 4 == 6) return store_be16(&f[at + 4], static_cast<uint16_t>(length - 40));
    store_be16(&f[at + 2], static_cast<uint16_t>(length));
    store_be16(&f[at + 4], static_cast<uint16_t>(0x12fe + number));
    store_be16(&f[at + 10], 0);
    store_be16(&f[at + 10], static_cast<uint16_t>(~naive_sum({}, &f[at], 20)));
  };
  ip(b.inner_l3);
  const uint32_t l4_length = static_cast<uint32_t>(f.size()) - b.l4;
  if (udp) store_be16(&f[b.l4 + 4], static_cast<uint16_t>(l4_length));
  const uint32_t field = b.l4 + (udp ? 6u : 16u);
  store_be16(&f[field], 0);
  const uint16_t sum = static_cast<uint16_t>(
      ~naive_sum(pseudo(&f[b.inner_l3], udp ? 17 : 6, l4_length), &f[b.l4], l4_length));
  // Zero means "none" to UDP alone.
  store_be16(&f[field], udp && sum == 0 ? uint16_t{0xffff} : sum);
  if (b.outer_l4 == 0) return;
  ip(b.outer_l3);
  if (f[b.outer_l3 + (f[b.outer_l3] >> 4 == 4 ? 9u : 6u)] == 17) {
    const uint32_t length = static_cast<uint32_t>(f.size()) - b.outer_l4;
    store_be16(&f[b.outer_l4 + 4], static_cast<uint16_t>(length));
    if (!outer_checksum) return;
    store_be16(&f[b.outer_l4 + 6], 0);
    const uint16_t outer = static_cast<uint16_t>(
        ~naive_sum(pseudo(&f[b.outer_l3], 17, length), &f[b.outer_l4], length));
    store_be16(&f[b.outer_l4 + 6], outer == 0 ? uint16_t{0xffff} : outer);
  }
}

Packet* packet_of(PacketPool& pool, const Bytes& frame) {
  Packet* packet = pool.allocate();
  std::memcpy(packet->data(), frame.data(), frame.size());
  packet->append(static_cast<uint32_t>(frame.size()));
  return packet;
}
Bytes bytes(const Packet& packet) { return {packet.data(), packet.data() + packet.length}; }

Packet* super_of(PacketPool& pool, const Shape& shape, const Built& b, uint16_t segment) {
  Packet* packet = packet_of(pool, b.frame);
  Offload& o = packet->offload;
  o.segmentation = shape.udp  ? Segmentation::Udp
                   : shape.v6 ? Segmentation::TcpV6
                              : Segmentation::TcpV4;
  o.checksum = true;
  o.segment = segment;
  o.field = shape.udp ? 6 : 16;
  o.transport = packet->offset + b.l4;
  if (b.outer_l4 != 0) {
    o.outer_transport = packet->offset + b.outer_l4;
    o.inner_network = packet->offset + b.inner_l3;
  }
  return packet;
}

Bytes random_bytes(std::mt19937& random, size_t n) {
  Bytes out(n);
  for (uint8_t& b : out) b = static_cast<uint8_t>(random());
  return out;
}

// --- segmenter -----------------------------------------------------------------------------------

TEST(Segmenter, CutsEveryShapeAsItsTwinDoes) {
  std::mt19937 random(1);
  PacketPool pool(300, 66048);
  for (const Outer outer : {Outer::None, Outer::Tagged, Outer::Udp4, Outer::Udp6, Outer::Gre4,
                            Outer::Vxlan4, Outer::Vxlan6}) {
    for (const bool v6 : {false, true}) {
      for (const bool udp : {false, true}) {
        for (const uint32_t length : {1u, 999u, 1000u, 1001u, 12'345u, 64'990u, 65'000u}) {
          const Shape shape{outer, v6, udp, udp ? 0u : 12u};
          const Bytes payload = random_bytes(random, length);
          const uint32_t sequence = 0xffffff00u;
          constexpr uint8_t kAll = 0x10 | 0x08 | 0x01 | 0x80;
          Built whole = build(shape, payload, sequence, kAll);
          Packet* super = super_of(pool, shape, whole, 1000);
          if (whole.outer_l4 != 0 &&
              length % 10 == 0) {  // a tenant's tunnel: nobody has said where it ends
            seal(whole, udp, 0);
            std::memcpy(super->data(), whole.frame.data(), whole.frame.size());
            super->offload.inner_network = 0;
          }
          Segmenter segmenter(*super);
          const uint32_t wanted = (length + 999) / 1000;
          ASSERT_EQ(segmenter.count(), wanted);
          for (uint32_t number = 0; number < wanted; ++number) {
            Packet* out = nullptr;
            ASSERT_EQ(segmenter.next(pool, &out, 1), 1u);
            const auto from = payload.begin() + number * 1000;
            const Bytes part(from, from + std::min<long>(1000, payload.end() - from));
            const bool last = number + 1 == wanted;
            Built twin =
                build(shape, part, sequence + number * 1000,
                      static_cast<uint8_t>((number == 0 ? 0x80 : 0) | 0x10 | (last ? 0x09 : 0)));
            seal(twin, udp, number);
            ASSERT_EQ(bytes(*out), twin.frame) << int(outer) << v6 << udp << " " << number;
            EXPECT_EQ(out->offload.segmentation, Segmentation::None);
            EXPECT_FALSE(out->offload.checksum);
            EXPECT_TRUE(out->meta.copy);
            pool.free(out);
          }
          EXPECT_TRUE(segmenter.done());
          pool.free(super);
        }
      }
    }
  }
  EXPECT_EQ(pool.available(), pool.total());
}

// What is in a tunnel of which nobody has said where it ends is looked for, and only what is certain is taken.
TEST(Segmenter, CutsNoTunnelThatIsNotPlain) {
  std::mt19937 random(4);
  PacketPool pool(8, 66048);
  const Bytes payload = random_bytes(random, 3000);
  struct Case {
    const char* what;
    Outer outer;
    bool v6;
    void (*change)(Built&, Offload&);
  };
  const Case cases[] = {
      {"", Outer::Vxlan4, false, [](Built&, Offload&) {}},
      {"", Outer::Vxlan6, true, [](Built&, Offload&) {}},
      {"", Outer::Gre4, false, [](Built&, Offload&) {}},
      {"GRE with a sum over it all", Outer::Gre4, false,
       [](Built& b, Offload&) { b.frame[b.outer_l4] = 0x80; }},
      {"a tunnel over neither UDP nor GRE", Outer::Vxlan4, false,
       [](Built& b, Offload&) { b.frame[b.outer_l3 + 9] = 4; }},
      {"a header in front of it", Outer::Vxlan6, true,
       [](Built& b, Offload&) { b.frame[b.outer_l3 + 6] = 60; }},
      {"an outer transport elsewhere", Outer::Vxlan4, false,
       [](Built&, Offload& o) { ++o.outer_transport; }},
      {"no room for a tunnel", Outer::Udp4, false,
       [](Built& b, Offload& o) { o.transport -= b.l4 - b.outer_l4 - 2; }},
      {"an inner header that is wrong", Outer::Vxlan4, false,
       [](Built& b, Offload&) { b.frame[b.inner_l3 + 10] ^= 1; }},
      {"an inner header of another packet", Outer::Vxlan4, false,
       [](Built& b, Offload&) {
         uint8_t* inner = &b.frame[b.inner_l3];
         ++inner[3];
         store_be16(inner + 10, 0);
         store_be16(inner + 10, static_cast<uint16_t>(~naive_sum({}, inner, 20)));
       }},
      {"another protocol", Outer::Vxlan6, true,
       [](Built& b, Offload&) { b.frame[b.inner_l3 + 6] = 17; }},
      {"more of it than there is", Outer::Vxlan6, true,
       [](Built& b, Offload&) { ++b.frame[b.inner_l3 + 5]; }},
      {"another family", Outer::Vxlan6, true,
       [](Built&, Offload& o) { o.segmentation = Segmentation::TcpV4; }},
      {"another family", Outer::Vxlan4, false,
       [](Built&, Offload& o) { o.segmentation = Segmentation::TcpV6; }},
  };
  for (const Case& c : cases) {
    const Shape shape{c.outer, c.v6, false, 12};
    Built whole = build(shape, payload, 1, 0x10);
    seal(whole, false, 0);
    Packet* super = super_of(pool, shape, whole, 1000);
    super->offload.inner_network = 0;
    c.change(whole, super->offload);
    std::memcpy(super->data(), whole.frame.data(), whole.frame.size());
    EXPECT_EQ(Segmenter(*super).count(), *c.what == '\0' ? 3u : 0u) << c.what;
    pool.free(super);
  }
}

// A tunnel that has an outer UDP checksum keeps one, over each frame; and outer lengths that have
// wrapped say nothing.
TEST(Segmenter, WritesOuterLengthsAndChecksumsAnew) {
  std::mt19937 random(3);
  PacketPool pool(80, 70000);
  for (const Outer outer : {Outer::Udp4, Outer::Udp6, Outer::Vxlan4, Outer::Vxlan6}) {
    const Shape shape{outer, false, false, 0};
    const Bytes payload = random_bytes(random, 65'480);
    Built whole = build(shape, payload, 5, 0x10);
    ASSERT_GT(whole.frame.size() - whole.outer_l3, size_t{UINT16_MAX});
    seal(whole, false, 0, true);
    Packet* super = super_of(pool, shape, whole, 1398);
    Segmenter segmenter(*super);
    ASSERT_EQ(segmenter.count(), 47u);
    for (uint32_t number = 0; number < 47; ++number) {
      Packet* out = nullptr;
      ASSERT_EQ(segmenter.next(pool, &out, 1), 1u);
      const auto from = payload.begin() + number * 1398;
      const Bytes part(from, from + std::min<long>(1398, payload.end() - from));
      Built twin = build(shape, part, 5 + number * 1398, 0x10);
      seal(twin, false, number, true);
      EXPECT_EQ(bytes(*out), twin.frame) << int(outer) << " " << number;
      pool.free(out);
    }
    pool.free(super);
  }
}

// The one checksum in 65,536 that is zero: UDP must not show it, TCP does.
TEST(Segmenter, AZeroChecksumIsZeroForTcp) {
  PacketPool pool(8, 2048);
  for (const bool udp : {false, true}) {
    const Shape shape{Outer::None, false, udp, 0};
    Bytes payload(200, 0);
    Built b = build(shape, payload, 1, 0x10);
    seal(b, udp, 0);
    const uint32_t field = b.l4 + (udp ? 6u : 16u);
    store_be16(&payload[100], load_be16(&b.frame[field]));  // now the sum is all ones
    b = build(shape, payload, 1, 0x10);
    Packet* super = super_of(pool, shape, b, 200);
    super->meta.merged = 3;
    Packet* out = nullptr;
    ASSERT_EQ(Segmenter(*super).next(pool, &out, 1), 1u);
    EXPECT_EQ(load_be16(out->data() + field), udp ? 0xffff : 0);
    EXPECT_EQ(out->meta.merged, 0u) << "it is one frame";
    pool.free(out);
    pool.free(super);
  }
}

TEST(Segmenter, RefusesWhatDoesNotFitTogether) {
  PacketPool pool(8, 66048);
  const Shape shape{Outer::Udp4, false, false, 0};
  const Built b = build(shape, Bytes(5000, 7), 1, 0x10);
  const auto count = [&](auto change) {
    Packet* super = super_of(pool, shape, b, 1000);
    change(*super);
    const uint32_t made = Segmenter(*super).count();
    pool.free(super);
    return made;
  };
  EXPECT_EQ(count([](Packet&) {}), 5u);
  EXPECT_EQ(count([](Packet& p) { p.offload.segment = 0; }), 0u);
  EXPECT_EQ(count([](Packet& p) { p.offload.segment = 1; }), 0u) << "5,000 frames from one";
  EXPECT_EQ(count([](Packet& p) { p.offload.segmentation = Segmentation::None; }), 0u);
  EXPECT_EQ(count([](Packet& p) { p.offload.segmentation = Segmentation::TcpV6; }), 0u);
  EXPECT_EQ(count([](Packet& p) { p.offload.transport = 0; }), 0u);
  EXPECT_EQ(count([](Packet& p) { p.offload.transport = p.offset + p.length - 10; }), 0u);
  EXPECT_EQ(count([](Packet& p) { p.offload.transport = ~0u; }), 0u);
  EXPECT_EQ(count([](Packet& p) { p.offload.inner_network = p.offload.transport; }), 0u);
  EXPECT_EQ(count([](Packet& p) { p.offload.outer_transport = p.offset; }), 0u);
  EXPECT_EQ(count([](Packet& p) { p.offload.inner_network = 0; }), 0u);
  EXPECT_EQ(count([](Packet& p) { p.data()[14] = 0x55; }), 0u);
  EXPECT_EQ(count([&](Packet& p) { p.data()[b.l4 + 12] = 0x10; }), 0u) << "TCP header too short";
  EXPECT_EQ(count([&](Packet& p) { p.trim(b.payload); }), 0u) << "nothing to cut";
}

TEST(Segmenter, GoesOnWhenThereAreBuffersAgain) {
  PacketPool big(1, 66048);
  PacketPool pool(2, 2048);
  const Shape shape{Outer::None, false, false, 0};
  const Built b = build(shape, Bytes(5000, 7), 1, 0x10);
  Packet* super = super_of(big, shape, b, 1000);
  Segmenter segmenter(*super);
  Packet* out[8];
  EXPECT_EQ(segmenter.next(pool, out, 8), 2u);
  EXPECT_EQ(segmenter.next(pool, out + 2, 8), 0u);
  EXPECT_FALSE(segmenter.done());
  pool.free(out[0]);
  pool.free(out[1]);
  EXPECT_EQ(segmenter.next(pool, out, 8), 2u);
  pool.free(out[0]);
  pool.free(out[1]);
  EXPECT_EQ(segmenter.next(pool, out, 8), 1u);
  EXPECT_TRUE(segmenter.done());
  pool.free(out[0]);
  big.free(super);
}

// --- coalescer -----------------------------------------------------------------------------------

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
}  // namespace vrouter
