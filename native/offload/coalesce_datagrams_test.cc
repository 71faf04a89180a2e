// What is coalesced is cut again (offload/segment.h, which has twins of its own) and must be what it was.
#include "offload/coalesce_datagrams.h"

#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <random>
#include <vector>

#include "base/bytes.h"
#include "base/checksum.h"
#include "offload/checksum.h"
#include "offload/segment.h"

namespace vrouter {
namespace {

using Bytes = std::vector<uint8_t>;

struct Shape {
  bool outer6 = false;
  bool vxlan = false;
  bool inner6 = false;
};

void ip_header(Bytes& f, bool v6, uint8_t tail, uint16_t id, uint32_t behind) {
  const size_t at = f.size();
  if (v6) {
    f.insert(f.end(), {0x60, 0, 0, 0, 0, 0, 17, 63});
    for (const uint8_t end : {tail, uint8_t{200}}) {
      f.insert(f.end(), {0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7, end});
    }
    store_be16(&f[at + 4], static_cast<uint16_t>(behind));
  } else {
    f.insert(f.end(), {0x45, 0, 0, 0, 0, 0, 0x40, 0, 63, 17, 0, 0, 10, 1, 2, tail, 10, 3, 4, 200});
    store_be16(&f[at + 2], static_cast<uint16_t>(20 + behind));
    store_be16(&f[at + 4], id);
    store_be16(&f[at + 10], checksum(&f[at], 20));
  }
}

struct Made {
  Bytes frame;
  uint32_t outer_l4 = 0, inner_l3 = 0, l4 = 0;
};

// A datagram of flow `flow` in its tunnel, its checksum to be made.
Made made(const Shape& shape, uint8_t flow, const Bytes& payload, uint16_t id) {
  Made m;
  Bytes& f = m.frame;
  const uint32_t datagram = 8 + static_cast<uint32_t>(payload.size());
  const uint32_t inner = (shape.inner6 ? 40 : 20) + datagram;
  const uint32_t shim = shape.vxlan ? 8 + 14 : 4;
  f = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2};
  f.insert(f.end(), {uint8_t(shape.outer6 ? 0x86 : 8), uint8_t(shape.outer6 ? 0xdd : 0)});
  ip_header(f, shape.outer6, 1, static_cast<uint16_t>(7 * id), 8 + shim + inner);
  m.outer_l4 = static_cast<uint32_t>(f.size());
  f.insert(f.end(),
           {0xc0, flow, uint8_t(shape.vxlan ? 0x12 : 0x19), uint8_t(shape.vxlan ? 0xb5 : 0xeb)});
  f.insert(f.end(), {0, 0, 0, 0});
  store_be16(&f[m.outer_l4 + 4], static_cast<uint16_t>(8 + shim + inner));
  if (shape.vxlan) {
    f.insert(f.end(), {8, 0, 0, 0, 0, 0, 42, 0, 2, 0, 0, 0, 0, 3, 2, 0, 0, 0, 0, 4});
    f.insert(f.end(), {uint8_t(shape.inner6 ? 0x86 : 8), uint8_t(shape.inner6 ? 0xdd : 0)});
  } else {
    f.insert(f.end(), {0, 1, 1, 64});
  }
  m.inner_l3 = static_cast<uint32_t>(f.size());
  ip_header(f, shape.inner6, flow, id, datagram);
  m.l4 = static_cast<uint32_t>(f.size());
  f.insert(f.end(), {0x10, flow, 0x20, 0, 0, 0, 0, 0});
  store_be16(&f[m.l4 + 4], static_cast<uint16_t>(datagram));
  const uint8_t* ip = &f[m.inner_l3];
  const uint32_t sum = shape.inner6 ? pseudo_sum_v6(ip + 8, ip + 24, 17, datagram)
                                    : pseudo_sum_v4(ip + 12, ip + 16, 17, datagram);
  store_be16(&f[m.l4 + 6], checksum_fold(sum));
  f.insert(f.end(), payload.begin(), payload.end());
  return m;
}

class CoalesceDatagrams : public ::testing::Test {
 protected:
  Packet* packet(const Made& m, bool partial = true) {
    Packet* p = pool_.allocate();
    std::memcpy(p->data(), m.frame.data(), m.frame.size());
    p->append(static_cast<uint32_t>(m.frame.size()));
    if (!partial) return p;
    p->offload.checksum = true;
    p->offload.field = 6;
    p->offload.transport = p->offset + m.l4;
    p->offload.outer_transport = p->offset + m.outer_l4;
    p->offload.inner_network = p->offset + m.inner_l3;
    return p;
  }

  uint32_t run(std::vector<Packet*>& packets) {
    const uint32_t kept =
        coalesce_datagrams(pool_, packets.data(), static_cast<uint32_t>(packets.size()));
    packets.resize(kept);
    return kept;
  }

  // The frames that leave at last, identifications and the checksums over them taken out; by the outer source port, which
  // is the flow here.
  std::map<uint16_t, std::vector<Bytes>> cut(std::vector<Packet*>& packets) {
    std::map<uint16_t, std::vector<Bytes>> out;
    for (Packet* p : packets) {
      if (p->offload.segmentation == Segmentation::None) {
        EXPECT_TRUE(complete_checksum(*p));
        add(out, *p);
      } else {
        EXPECT_LE(p->meta.merged + 1u, kMaxDatagrams);
        Segmenter segments(*p);
        EXPECT_EQ(segments.count(), p->meta.merged + 1u);
        while (!segments.done()) {
          Packet* one = nullptr;
          if (segments.next(pool_, &one, 1) != 1) {
            ADD_FAILURE() << "no buffer";
            break;
          }
          add(out, *one);
          pool_.free(one);
        }
      }
      pool_.free(p);
    }
    return out;
  }

  static void add(std::map<uint16_t, std::vector<Bytes>>& out, const Packet& p) {
    Bytes f(p.data(), p.data() + p.length);
    const bool outer4 = f[12] == 8;
    const size_t outer_l4 = outer4 ? 34 : 54;
    const auto blank = [&](size_t l3) {
      EXPECT_EQ(checksum(&f[l3], 20), 0);
      for (const size_t at : {4u, 5u, 10u, 11u}) f[l3 + at] = 0;
    };
    if (outer4) blank(14);
    const bool vxlan = load_be16(&f[outer_l4 + 2]) == 4789;
    const size_t inner = outer_l4 + 8 + (vxlan ? 22 : 4);
    if (f[inner] == 0x45) blank(inner);
    out[load_be16(&f[outer_l4])].push_back(f);
  }

  PacketPool pool_{512, 65536};
};

Bytes payload_of(uint32_t length, uint32_t salt) {
  Bytes out(length);
  for (uint32_t i = 0; i < length; ++i) out[i] = static_cast<uint8_t>(salt * 31 + i * 7);
  return out;
}

TEST_F(CoalesceDatagrams, ARunBecomesOnePacketOfEveryShape) {
  for (uint32_t bits = 0; bits < 8; ++bits) {
    const Shape shape{(bits & 1) != 0, (bits & 2) != 0, (bits & 4) != 0};
    std::vector<Packet*> packets, alone;
    for (uint32_t i = 0; i < 40; ++i) {
      const Made m =
          made(shape, 1, payload_of(i == 39 ? 5 : 18, i), static_cast<uint16_t>(900 * i));
      packets.push_back(packet(m));
      alone.push_back(packet(m));
    }
    EXPECT_EQ(run(packets), 1u) << bits;
    EXPECT_EQ(packets[0]->offload.segmentation, Segmentation::Udp);
    EXPECT_EQ(packets[0]->offload.segment, 18);
    EXPECT_EQ(cut(packets), cut(alone)) << bits;
  }
}

TEST_F(CoalesceDatagrams, AtMostSoManyAndNoMoreThanAnIpPacketHolds) {
  std::vector<Packet*> packets, alone;
  for (uint32_t i = 0; i < 200; ++i) {
    const Made m = made({}, 1, payload_of(3000, i), 1);
    packets.push_back(packet(m));
    alone.push_back(packet(m));
  }
  EXPECT_EQ(run(packets), 10u);  // 21 of 3,000 bytes each
  for (const Packet* p : packets) EXPECT_LE(p->length, 14u + UINT16_MAX);
  EXPECT_EQ(cut(packets), cut(alone));
  packets.clear();
  for (uint32_t i = 0; i < 130; ++i) packets.push_back(packet(made({}, 1, payload_of(10, i), 1)));
  EXPECT_EQ(run(packets), 3u);
  cut(packets);
}

// One thing after another that forbids it, in the middle of a run: three packets are left.
TEST_F(CoalesceDatagrams, WhatDiffersIsLeftAlone) {
  const auto at = [](size_t where, uint8_t value) {
    return [=](Made& m, Packet*) { m.frame[where] = value; };
  };
  const Made plain = made({}, 1, payload_of(18, 0), 1);
  const uint32_t inner = plain.inner_l3;
  struct Case {
    const char* what;
    std::function<void(Made&, Packet*)> change;
    bool reseal_inner = false;
  };
  const std::vector<Case> cases = {
      {"Ethernet source", at(6, 9)},
      {"outer type of service", at(15, 4)},
      {"outer TTL", at(22, 9)},
      {"label", at(plain.outer_l4 + 8, 9)},
      {"inner type of service", at(inner + 1, 4), true},
      {"inner TTL", at(inner + 8, 9), true},
      {"inner destination", at(inner + 19, 9), true},
      {"inner may be fragmented", at(inner + 6, 0), true},
      {"inner checksum is wrong", at(inner + 10, 0x5a)},
      {"inner port", at(plain.l4 + 3, 9)},
      {"inner length", at(plain.l4 + 5, 9)},
      {"outer UDP checksum", at(plain.outer_l4 + 6, 9)},
      {"its checksum has been made", [](Made&, Packet* p) { p->offload = Offload{}; }},
      {"it is TCP, it says", [](Made&, Packet* p) { p->offload.field = 16; }},
      {"its header is elsewhere, it says", [](Made&, Packet* p) { p->offload.transport += 2; }},
      {"its header is behind it, it says", [](Made&, Packet* p) { p->offload.transport += 4000; }},
      {"its IP header is elsewhere, it says", [](Made&, Packet* p) { --p->offload.inner_network; }},
      {"its tunnel is elsewhere, it says", [](Made&, Packet* p) { ++p->offload.outer_transport; }},
      {"it is a super-packet",
       [](Made&, Packet* p) {
         p->offload.segmentation = Segmentation::Udp;
         p->offload.segment = 9;
       }},
  };
  for (const Case& one : cases) {
    std::vector<Packet*> packets;
    for (uint32_t i = 0; i < 9; ++i) {
      Made m = made({}, 1, payload_of(18, i), 1);
      Packet* p = packet(m);
      if (i == 4) {
        one.change(m, p);
        if (one.reseal_inner) {
          store_be16(&m.frame[inner + 10], 0);
          store_be16(&m.frame[inner + 10], checksum(&m.frame[inner], 20));
        }
        std::memcpy(p->data(), m.frame.data(), m.frame.size());
      }
      packets.push_back(p);
    }
    Packet* const odd = packets[4];
    const Bytes before(odd->data(), odd->data() + odd->length);
    EXPECT_EQ(run(packets), 3u) << one.what;
    if (packets.size() == 3) {
      EXPECT_EQ(packets[1], odd) << one.what;
      EXPECT_EQ(Bytes(odd->data(), odd->data() + odd->length), before) << one.what;
      EXPECT_EQ(packets[0]->meta.merged, 3) << one.what;
      EXPECT_EQ(packets[2]->meta.merged, 3) << one.what;
    }
    for (Packet* p : packets) pool_.free(p);
  }
}

TEST_F(CoalesceDatagrams, AFrameOfAnyFlowEndsEveryRunAndOneOfAnotherNone) {
  for (const bool any : {false, true}) {
    std::vector<Packet*> packets;
    for (uint32_t i = 0; i < 6; ++i) {
      packets.push_back(packet(made({}, 1, payload_of(18, i), 1)));
      packets.push_back(packet(made({}, 2, payload_of(18, i), 1)));
      if (i != 2) continue;
      Made other = made({}, 3, payload_of(18, 0), 1);
      if (any) other.frame[14] = 0x46;  // options: where its ports are is not looked for
      packets.push_back(packet(other, !any));
    }
    EXPECT_EQ(run(packets), any ? 5u : 3u);
    for (Packet* p : packets) pool_.free(p);
  }
}

TEST_F(CoalesceDatagrams, RandomTrafficKeepsEveryFrameAndItsOrder) {
  std::mt19937 random(1);
  uint32_t fewer = 0;
  for (uint32_t round = 0; round < 400; ++round) {
    std::vector<Packet*> packets, alone;
    const uint32_t count = 1 + random() % 100;
    const uint32_t flows = 1 + random() % 12;
    Shape shape{random() % 2 == 0, random() % 2 == 0, random() % 2 == 0};
    for (uint32_t i = 0; i < count; ++i) {
      if (random() % 40 == 0) shape.inner6 = !shape.inner6;
      const uint32_t size = random() % 5 == 0 ? 1 + random() % 40 : 18;
      const Made m = made(shape, static_cast<uint8_t>(random() % flows), payload_of(size, random()),
                          static_cast<uint16_t>(random()));
      packets.push_back(packet(m));
      alone.push_back(packet(m));
    }
    const uint32_t kept = run(packets);
    fewer += count - kept;
    ASSERT_EQ(cut(packets), cut(alone)) << round;
  }
  EXPECT_GT(fewer, 5'000u);
}

}  // namespace
}  // namespace vrouter
