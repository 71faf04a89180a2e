#include "port/batch_io.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <string>
#include <thread>

namespace vrouter {
namespace {

class BatchIoTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!batch().ok()) GTEST_SKIP() << "no io_uring here";
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends_), 0);
  }
  void TearDown() override {
    for (const int fd : ends_) {
      if (fd >= 0) close(fd);
    }
  }
  static BatchIo& batch() { return BatchIo::of_this_thread(); }

  int ends_[2] = {-1, -1};  // blocking ones: an op that waited would hang here
  int32_t results_[BatchIo::kMost];
};

TEST_F(BatchIoTest, ReadsEachForItselfAndInOrder) {
  for (const char* text : {"one", "second"}) {
    ASSERT_GT(write(ends_[0], text, std::string(text).size()), 0);
  }
  char buffers[4][16] = {};
  for (char* buffer : buffers) batch().read(ends_[1], buffer, 16);
  batch().run(results_);
  EXPECT_EQ(results_[0], 3);
  EXPECT_EQ(std::string(buffers[0]), "one");
  EXPECT_EQ(results_[1], 6);
  EXPECT_EQ(std::string(buffers[1]), "second");
  EXPECT_EQ(results_[2], -EAGAIN);
  EXPECT_EQ(results_[3], -EAGAIN);
}

TEST_F(BatchIoTest, WritesInOrderRunAfterRun) {
  for (uint32_t round = 0; round < 100; ++round) {
    uint32_t numbers[BatchIo::kMost];
    const uint32_t count = round % BatchIo::kMost + 1;
    for (uint32_t i = 0; i < count; ++i) {
      numbers[i] = round * 1000 + i;
      batch().write(ends_[0], &numbers[i], sizeof numbers[i]);
    }
    batch().run(results_);
    for (uint32_t i = 0; i < count; ++i) {
      ASSERT_EQ(results_[i], 4) << i;
      uint32_t got = 0;
      ASSERT_EQ(recv(ends_[1], &got, sizeof got, MSG_DONTWAIT), 4);
      ASSERT_EQ(got, round * 1000 + i);
    }
  }
}

TEST_F(BatchIoTest, TheFirstWriteThatFailsEndsThem) {
  const int nowhere = open("/dev/full", O_WRONLY | O_CLOEXEC);
  ASSERT_GE(nowhere, 0);
  const char text[] = "text";
  batch().write(ends_[0], text, 4);
  batch().write(nowhere, text, 4);
  batch().write(ends_[0], text, 4);
  batch().run(results_);
  EXPECT_EQ(results_[0], 4);
  EXPECT_LT(results_[1], 0);
  EXPECT_EQ(results_[2], -ECANCELED);
  char buffer[8];
  EXPECT_EQ(recv(ends_[1], buffer, sizeof buffer, MSG_DONTWAIT), 4);
  EXPECT_LT(recv(ends_[1], buffer, sizeof buffer, MSG_DONTWAIT), 0);
  close(nowhere);
}

TEST_F(BatchIoTest, AFullDescriptorIsNotWaitedFor) {
  const std::string large(16'384, 'x');
  uint32_t went = 0;
  for (bool full = false; !full && went < 100'000;) {
    for (uint32_t i = 0; i < 8; ++i) {
      batch().write(ends_[0], large.data(), static_cast<uint32_t>(large.size()));
    }
    batch().run(results_);
    for (uint32_t i = 0; i < 8 && !full; ++i) {
      full = results_[i] != 16'384;
      if (full) {
        EXPECT_EQ(results_[i], -EAGAIN);
      } else {
        ++went;
      }
    }
  }
  EXPECT_GT(went, 0u);
  EXPECT_LT(went, 100'000u);
}

TEST_F(BatchIoTest, AnEmptyRunIsNothing) { batch().run(results_); }

TEST_F(BatchIoTest, EachThreadHasItsOwn) {
  BatchIo* other = nullptr;
  bool ok = false;
  std::thread([&] {
    other = &batch();
    ok = other->ok();
  }).join();
  EXPECT_TRUE(ok);
  EXPECT_NE(other, &batch());
}

// As where a container forbids it: a filter of one thread's.
TEST(BatchIo, IsNotThereWhereItIsForbidden) {
  bool filtered = false;
  bool ok = true;
  std::thread([&] {
    sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_io_uring_setup, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const sock_fprog program{4, code};
    filtered = prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
               prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
    ok = BatchIo::of_this_thread().ok();
  }).join();
  if (!filtered) GTEST_SKIP() << "no seccomp filters here";
  EXPECT_FALSE(ok);
}

}  // namespace
}  // namespace vrouter
