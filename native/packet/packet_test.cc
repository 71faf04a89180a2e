#include "packet/packet.h"

#include <gtest/gtest.h>

#include <random>
#include <set>
#include <vector>

namespace vrouter {
namespace {

TEST(PacketPool, FreshPacket) {
  PacketPool pool(4, 1600);
  ASSERT_TRUE(pool.ok());
  EXPECT_EQ(pool.total(), 4u);
  EXPECT_EQ(pool.available(), 4u);
  Packet* p = pool.allocate();
  ASSERT_NE(p, nullptr);
  EXPECT_EQ(p->length, 0u);
  EXPECT_EQ(p->headroom(), kHeadroom);
  EXPECT_EQ(p->tailroom(), 1600u);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(p->base) % 64, 0u);
  EXPECT_FALSE(p->meta.vif.valid());
  EXPECT_FALSE(p->meta.flow.valid());
  EXPECT_EQ(p->meta.l3, 0);
  EXPECT_EQ(p->meta.family, Family::None);
  EXPECT_TRUE(p->alive());
  pool.free(p);
}

TEST(PacketPool, MetaIsCleanAgainAfterUse) {
  PacketPool pool(1, 256);
  Packet* p = pool.allocate();
  p->meta.vif = VifId{3};
  p->meta.key.source_port = 9;
  p->meta.in_label = 17;
  p->push(10);
  p->drop(DropReason::InvalidPacket);
  EXPECT_FALSE(p->alive());
  pool.free(p);
  p = pool.allocate();
  EXPECT_TRUE(p->alive());
  EXPECT_FALSE(p->meta.vif.valid());
  EXPECT_EQ(p->meta.key.source_port, 0);
  EXPECT_EQ(p->meta.in_label, 0u);
  EXPECT_EQ(p->headroom(), kHeadroom);
  EXPECT_EQ(p->length, 0u);
  pool.free(p);
}

TEST(PacketPool, EmptiesAndFills) {
  PacketPool pool(100, 128);
  std::vector<Packet*> taken;
  std::set<uint8_t*> bases;
  while (Packet* p = pool.allocate()) {
    taken.push_back(p);
    bases.insert(p->base);
    std::memset(p->base, static_cast<int>(taken.size()), p->capacity);
  }
  EXPECT_EQ(taken.size(), 100u);
  EXPECT_EQ(bases.size(), 100u);
  EXPECT_EQ(pool.available(), 0u);
  for (size_t i = 0; i < taken.size(); ++i) {  // no buffer reaches into another
    EXPECT_EQ(taken[i]->base[0], i + 1);
    EXPECT_EQ(taken[i]->base[taken[i]->capacity - 1], i + 1);
  }
  for (Packet* p : taken) pool.free(p);
  EXPECT_EQ(pool.available(), 100u);
}

TEST(PacketPool, OwnsEachBufferOnce) {
  PacketPool pool(32, 64);
  std::mt19937_64 random(1);
  std::vector<Packet*> out;
  for (int round = 0; round < 20000; ++round) {
    if (random() % 2 == 0) {
      Packet* p = pool.allocate();
      ASSERT_EQ(p == nullptr, out.size() == 32);
      if (p != nullptr) out.push_back(p);
    } else if (!out.empty()) {
      std::swap(out[random() % out.size()], out.back());
      pool.free(out.back());
      out.pop_back();
    }
    ASSERT_EQ(pool.available() + out.size(), 32u);
    ASSERT_EQ(std::set<Packet*>(out.begin(), out.end()).size(), out.size());
  }
  for (Packet* p : out) pool.free(p);
}

TEST(PacketPool, CopyHasBytesAndMeta) {
  PacketPool pool(3, 512);
  Packet* p = pool.allocate();
  p->append(100);
  for (uint32_t i = 0; i < 100; ++i) p->data()[i] = static_cast<uint8_t>(i);
  p->push(20);
  std::memset(p->data(), 0xee, 20);
  p->meta.vif = VifId{5};
  p->meta.label = 77;
  Packet* copy = pool.copy(*p);
  ASSERT_NE(copy, nullptr);
  EXPECT_NE(copy->base, p->base);
  EXPECT_EQ(copy->length, 120u);
  EXPECT_EQ(copy->headroom(), kHeadroom - 20);
  EXPECT_EQ(std::memcmp(copy->data(), p->data(), 120), 0);
  EXPECT_EQ(copy->meta.vif, VifId{5});
  EXPECT_EQ(copy->meta.label, 77u);
  copy->data()[0] = 1;
  EXPECT_EQ(p->data()[0], 0xee);
  Packet* last = pool.copy(*p);
  ASSERT_NE(last, nullptr);
  EXPECT_EQ(pool.copy(*p), nullptr) << "empty";
  for (Packet* q : {p, copy, last}) pool.free(q);
}

TEST(PacketPool, CopyFromAnotherPool) {
  PacketPool large(1, 4000);
  PacketPool small(1, 512);
  Packet* p = large.allocate();
  p->append(600);
  EXPECT_EQ(small.copy(*p), nullptr) << "does not fit";
  EXPECT_EQ(small.available(), 1u);
  p->trim(512);
  std::memset(p->data(), 0x5a, 512);
  p->pull(12);  // 500 bytes at an offset that would still fit
  Packet* copy = small.copy(*p);
  ASSERT_NE(copy, nullptr);
  EXPECT_EQ(copy->length, 500u);
  EXPECT_EQ(copy->headroom(), kHeadroom + 12);
  EXPECT_EQ(copy->data()[499], 0x5a);
  small.free(copy);
  p->append(12);
  p->offset += 1000;  // an offset that does not fit
  std::memset(p->data(), 0x5b, 512);
  copy = small.copy(*p);
  ASSERT_NE(copy, nullptr);
  EXPECT_EQ(copy->headroom(), kHeadroom);
  EXPECT_EQ(copy->data()[511], 0x5b);
  small.free(copy);
  large.free(p);
}

TEST(PacketPool, ImpossibleSizes) {
  PacketPool none(0, 2048);
  EXPECT_FALSE(none.ok());
  EXPECT_EQ(none.allocate(), nullptr);
  PacketPool huge(1, 0xffffffff);
  EXPECT_FALSE(huge.ok());
  EXPECT_EQ(huge.total(), 0u);
}

using PacketPoolDeathTest = testing::Test;

TEST(PacketPoolDeathTest, StopsRatherThanOwnTwice) {
  PacketPool pool(2, 64);
  PacketPool other(2, 64);
  Packet* p = pool.allocate();
  pool.free(p);
  EXPECT_DEATH(pool.free(p), "");
  Packet* q = other.allocate();
  EXPECT_DEATH(pool.free(q), "");
  other.free(q);
  pool.free(nullptr);
}

}  // namespace
}  // namespace vrouter
