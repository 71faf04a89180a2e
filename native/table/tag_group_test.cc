#include "table/tag_group.h"

#include <gtest/gtest.h>

#include <random>

namespace vrouter {
namespace {

TEST(TagGroup, NamesTheSlotsThatHoldTheTag) {
  alignas(16) const uint8_t group[16] = {0, 7, 255, 7, 0, 0, 128, 127, 1, 2, 3, 4, 5, 6, 8, 7};
  EXPECT_EQ(match_tags(group, 7), 0x800au);
  EXPECT_EQ(match_tags(group, 0), 0x0031u);
  EXPECT_EQ(match_tags(group, 255), 0x0004u);
  EXPECT_EQ(match_tags(group, 128), 0x0040u);
  EXPECT_EQ(match_tags(group, 99), 0u);
}

TEST(TagGroup, AgreesWithScalarTwin) {
  std::mt19937 random(1);
  alignas(16) uint8_t group[16];
  for (uint32_t i = 0; i < 20000; ++i) {
    const uint32_t kinds = 1u << random() % 9;
    for (uint8_t& tag : group) tag = static_cast<uint8_t>(random() % kinds * (256 / kinds));
    const uint8_t tag = random() % 2 != 0 ? group[random() % 16] : static_cast<uint8_t>(random());
    ASSERT_EQ(match_tags(group, tag), match_tags_scalar(group, tag));
  }
}

}  // namespace
}  // namespace vrouter
