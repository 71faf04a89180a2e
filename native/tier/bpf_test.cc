#include "tier/bpf.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <cstring>
#include <vector>

namespace vrouter {
namespace {

constexpr uint64_t kExit = 0x95;
constexpr uint64_t kZero = 0xb7;  // r0 = 0

class TierBpf : public testing::Test {
 protected:
  void SetUp() override {
    map_ = bpf::make_map(bpf::MapKind::Hash, 4, 8, 2, false, "test");
    if (!map_.ok()) GTEST_SKIP() << "no BPF maps here: " << std::strerror(errno);
  }
  bpf::Handle load(std::span<const uint64_t> program, const bpf::Fills& fills = {}) {
    why_.clear();
    return bpf::load_program(bpf::ProgramKind::Classifier, program, fills, "test", &why_);
  }

  bpf::Handle map_;
  std::string why_;
};

TEST_F(TierBpf, AProgramThatIsRefusedComesBackWithTheVerifiersWords) {
  const uint64_t nothing_returned[] = {kExit};
  EXPECT_FALSE(load(nothing_returned).ok());
  EXPECT_EQ(errno, EACCES);
  EXPECT_NE(why_.find("R0 !read_ok"), std::string::npos) << why_;
  EXPECT_NE(why_.back(), '\n');
  EXPECT_FALSE(
      bpf::load_program(bpf::ProgramKind::Classifier, nothing_returned, {}, "test", nullptr).ok());
}

TEST_F(TierBpf, AProgramThatIsTakenHasNoWords) {
  const uint64_t fine[] = {kZero, kExit};
  EXPECT_TRUE(load(fine).ok());
  EXPECT_EQ(why_, "");
}

TEST_F(TierBpf, PlaceholdersAreFilledIn) {
  const auto with = [](uint64_t number) {
    return std::vector<uint64_t>{number << 32 | 0x118, 0x71e70000ull << 32, kZero, kExit};
  };
  bpf::Fills fills;
  fills.flows = map_.fd();
  EXPECT_TRUE(load(with(1), fills).ok()) << why_;
  EXPECT_TRUE(load(with(0x11), fills).ok()) << why_;
  EXPECT_TRUE(load(with(0x12), fills).ok()) << why_;
  EXPECT_FALSE(load(with(2), fills).ok()) << "a map that there is not";
  EXPECT_FALSE(load(with(0x13), fills).ok());
  EXPECT_EQ(errno, EINVAL);
}

TEST_F(TierBpf, MapsKeepWhatTheyAreGiven) {
  const uint32_t keys[] = {1, 2, 3};
  const uint64_t value = 77;
  uint64_t found = 0;
  EXPECT_FALSE(bpf::map_find(map_, &keys[0], &found));
  EXPECT_TRUE(bpf::map_update(map_, &keys[0], &value));
  EXPECT_TRUE(bpf::map_update(map_, &keys[1], &value));
  EXPECT_FALSE(bpf::map_update(map_, &keys[2], &value)) << "full";
  EXPECT_TRUE(bpf::map_find(map_, &keys[0], &found));
  EXPECT_EQ(found, value);
  EXPECT_TRUE(bpf::map_delete(map_, &keys[0]));
  EXPECT_FALSE(bpf::map_delete(map_, &keys[0]));
  EXPECT_EQ(bpf::map_memory(map_, 4096), nullptr) << "a hash is none";
}

TEST_F(TierBpf, NothingIsAttachedToADeviceThatThereIsNot) {
  const uint64_t fine[] = {kZero, kExit};
  EXPECT_FALSE(bpf::attach(load(fine), 0x7ffffff0, bpf::Hook::Ingress).ok());
}

}  // namespace
}  // namespace vrouter
