// What is cut is, byte by byte, what the twin makes of each part by itself.
#include "offload/segment.h"

#include <gtest/gtest.h>

#include "offload/offload_twin.h"

namespace vrouter::offload_twin {
namespace {

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

}  // namespace
}  // namespace vrouter::offload_twin
