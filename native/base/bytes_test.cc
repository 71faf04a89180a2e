#include "base/bytes.h"

#include <gtest/gtest.h>

namespace vrouter {
namespace {

TEST(Bytes, LoadsAtAnyAlignment) {
  const uint8_t p[] = {0xff, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08};
  EXPECT_EQ(load_be16(p + 1), 0x0102);
  EXPECT_EQ(load_be24(p + 1), 0x010203u);
  EXPECT_EQ(load_be32(p + 1), 0x01020304u);
  EXPECT_EQ(load_be64(p + 1), 0x0102030405060708u);
  EXPECT_EQ(load_le16(p + 1), 0x0201);
  EXPECT_EQ(load_le32(p + 1), 0x04030201u);
  EXPECT_EQ(load_le64(p + 1), 0x0807060504030201u);
}

TEST(Bytes, StoresTouchOnlyTheirBytes) {
  const auto stored = [](auto store, auto value, std::initializer_list<int> expected) {
    uint8_t p[10];
    std::memset(p, 0xa5, sizeof p);
    store(p + 1, value);
    size_t i = 1;
    for (int byte : expected) EXPECT_EQ(p[i++], byte);
    EXPECT_EQ(p[0], 0xa5);
    EXPECT_EQ(p[i], 0xa5);
  };
  stored(store_be16, uint16_t{0x0102}, {1, 2});
  stored(store_be24, 0x010203u, {1, 2, 3});
  stored(store_be32, 0x01020304u, {1, 2, 3, 4});
  stored(store_be64, uint64_t{0x0102030405060708}, {1, 2, 3, 4, 5, 6, 7, 8});
  stored(store_le16, uint16_t{0x0102}, {2, 1});
  stored(store_le32, 0x01020304u, {4, 3, 2, 1});
  stored(store_le64, uint64_t{0x0102030405060708}, {8, 7, 6, 5, 4, 3, 2, 1});
}

}  // namespace
}  // namespace vrouter
