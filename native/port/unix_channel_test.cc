// Messages and descriptors between two ends, and what an end that means harm can do.
#include "port/unix_channel.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <random>
#include <thread>

namespace vrouter {
namespace {

using Bytes = std::vector<uint8_t>;

size_t open_descriptors() {
  size_t count = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    ++count;
  }
  return count;
}

struct Pair {
  Pair() {
    int fds[2];
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    a = std::make_unique<UnixChannel>(fds[0]);
    b = std::make_unique<UnixChannel>(fds[1]);
  }
  // Bytes as they are, with `count` descriptors.
  void raw(const Bytes& bytes, int count = 0) {
    Bytes control(CMSG_SPACE(sizeof(int) * 256));
    iovec part{const_cast<uint8_t*>(bytes.data()), bytes.size()};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    if (count > 0) {
      message.msg_control = control.data();
      message.msg_controllen = CMSG_SPACE(sizeof(int) * static_cast<size_t>(count));
      cmsghdr* c = CMSG_FIRSTHDR(&message);
      c->cmsg_level = SOL_SOCKET;
      c->cmsg_type = SCM_RIGHTS;
      c->cmsg_len = CMSG_LEN(sizeof(int) * static_cast<size_t>(count));
      for (int i = 0; i < count; ++i) {
        const int fd = a->fd();
        std::memcpy(CMSG_DATA(c) + static_cast<size_t>(i) * sizeof fd, &fd, sizeof fd);
      }
    }
    ASSERT_EQ(sendmsg(a->fd(), &message, 0), static_cast<ssize_t>(bytes.size()));
  }
  std::unique_ptr<UnixChannel> a, b;
  Bytes got;
  std::vector<int> fds;
};

Bytes header(uint32_t length, uint32_t fds) {
  Bytes out(8);
  std::memcpy(out.data(), &length, 4);
  std::memcpy(out.data() + 4, &fds, 4);
  return out;
}

TEST(UnixChannel, KeepsMessagesApartWhateverTheirSize) {
  Pair p;
  std::mt19937 random(1);
  std::vector<Bytes> sent;
  for (const size_t size : {0u, 1u, 7u, 70'000u, 3u, 2'000'000u, 0u}) {
    Bytes bytes(size);
    for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random());
    sent.push_back(bytes);
  }
  // The socket's buffer takes less than all this: the sender waits for the reader.
  std::thread sender([&] {
    for (const Bytes& bytes : sent) ASSERT_EQ(p.a->send(bytes, {}, 5000), ChannelStatus::Ok);
  });
  for (const Bytes& bytes : sent) {
    ASSERT_EQ(p.b->receive(p.got, p.fds, 5000), ChannelStatus::Ok);
    ASSERT_EQ(p.got, bytes);
  }
  sender.join();
  EXPECT_EQ(p.b->receive(p.got, p.fds), ChannelStatus::Waiting);
}

TEST(UnixChannel, AMessageMayComeByteByByte) {
  Pair p;
  Bytes whole = header(3, 0);
  whole.insert(whole.end(), {9, 8, 7});
  for (const uint8_t byte : whole) {
    EXPECT_EQ(p.b->receive(p.got, p.fds), ChannelStatus::Waiting);
    p.raw({byte});
  }
  EXPECT_EQ(p.b->receive(p.got, p.fds), ChannelStatus::Ok);
  EXPECT_EQ(p.got, (Bytes{9, 8, 7}));
}

TEST(UnixChannel, DescriptorsStayWithTheirMessage) {
  Pair p;
  int pipe_fds[2];
  ASSERT_EQ(pipe2(pipe_fds, O_CLOEXEC), 0);
  const Bytes one{1};
  ASSERT_EQ(p.a->send(one, {}, 1000), ChannelStatus::Ok);
  ASSERT_EQ(p.a->send(one, std::vector<int>{pipe_fds[1], pipe_fds[0]}, 1000), ChannelStatus::Ok);
  ASSERT_EQ(p.a->send(one, {}, 1000), ChannelStatus::Ok);
  ASSERT_EQ(p.b->receive(p.got, p.fds), ChannelStatus::Ok);
  EXPECT_TRUE(p.fds.empty());
  ASSERT_EQ(p.b->receive(p.got, p.fds), ChannelStatus::Ok);
  ASSERT_EQ(p.fds.size(), 2u);
  EXPECT_NE(fcntl(p.fds[0], F_GETFD) & FD_CLOEXEC, 0);
  ASSERT_EQ(write(p.fds[0], "x", 1), 1);
  char byte = 0;
  EXPECT_EQ(read(pipe_fds[0], &byte, 1), 1);
  EXPECT_EQ(byte, 'x');
  for (const int fd : {p.fds[0], p.fds[1], pipe_fds[0], pipe_fds[1]}) close(fd);
  p.fds.clear();
  ASSERT_EQ(p.b->receive(p.got, p.fds), ChannelStatus::Ok);
  EXPECT_TRUE(p.fds.empty());
}

TEST(UnixChannel, TellsAnEndFromASilence) {
  Pair p;
  EXPECT_EQ(p.b->receive(p.got, p.fds, 10), ChannelStatus::Timeout);
  p.raw({1, 2, 3});
  p.a->close();
  EXPECT_EQ(p.b->receive(p.got, p.fds, 1000), ChannelStatus::Closed);
  EXPECT_EQ(p.b->send(Bytes(10), {}, 1000), ChannelStatus::Closed);
}

TEST(UnixChannel, AReaderThatDoesNotReadIsATimeout) {
  Pair p;
  EXPECT_EQ(p.a->send(Bytes(8 << 20), {}, 20), ChannelStatus::Timeout);
}

TEST(UnixChannel, RefusesMoreThanItCarries) {
  Pair p;
  EXPECT_EQ(p.a->send(Bytes(kMaxMessageBytes + 1), {}, 10), ChannelStatus::TooLarge);
  EXPECT_EQ(p.a->send({}, std::vector<int>(kMaxMessageFds + 1, 0), 10), ChannelStatus::TooLarge);
  EXPECT_EQ(p.b->receive(p.got, p.fds), ChannelStatus::Waiting) << "nothing was sent";
  p.raw(header(kMaxMessageBytes + 1, 0));
  EXPECT_EQ(p.b->receive(p.got, p.fds), ChannelStatus::TooLarge);
  Pair q;
  q.raw(header(0, kMaxMessageFds + 1));
  EXPECT_EQ(q.b->receive(q.got, q.fds), ChannelStatus::TooLarge);
}

TEST(UnixChannel, LeaksNoDescriptorOfAMessageItDoesNotHandOver) {
  const size_t before = open_descriptors();
  {
    Pair more;
    more.raw(header(0, 1), 2);
    EXPECT_EQ(more.b->receive(more.got, more.fds), ChannelStatus::Malformed);
    Pair fewer;
    fewer.raw(header(0, 2), 1);
    EXPECT_EQ(fewer.b->receive(fewer.got, fewer.fds), ChannelStatus::Malformed);
    Pair many;
    many.raw(header(0, 64), 200);
    EXPECT_EQ(many.b->receive(many.got, many.fds), ChannelStatus::Malformed);
    Pair half;
    half.raw(header(100, 3), 3);
    EXPECT_EQ(half.b->receive(half.got, half.fds), ChannelStatus::Waiting);
  }
  EXPECT_EQ(open_descriptors(), before);
}

TEST(UnixChannel, NoBytesMakeItDoMoreThanEnd) {
  std::mt19937 random(3);
  for (int round = 0; round < 300; ++round) {
    Pair p;
    Bytes noise(random() % 200);
    for (uint8_t& byte : noise) byte = static_cast<uint8_t>(random() % 3 == 0 ? random() : 0);
    p.raw(noise);
    p.a->close();
    ChannelStatus status = ChannelStatus::Ok;
    for (int i = 0; i < 200 && status == ChannelStatus::Ok; ++i) {
      status = p.b->receive(p.got, p.fds);
    }
    ASSERT_NE(status, ChannelStatus::Ok);
    ASSERT_NE(status, ChannelStatus::Waiting);
  }
}

TEST(UnixChannel, ListensOnceAtAPathForItsOwnerOnly) {
  std::string name = testing::TempDir() + "vrouter-channel-XXXXXX";
  const std::string directory = mkdtemp(name.data());
  const std::string path = directory + "/socket";
  EXPECT_EQ(connect_unix(path), -1);
  const int listener = listen_unix(path);
  ASSERT_GE(listener, 0);
  EXPECT_EQ(std::filesystem::status(path).permissions(), std::filesystem::perms(0600));
  EXPECT_EQ(listen_unix(path), -1);
  EXPECT_EQ(accept_unix(listener), -1);
  const int near = connect_unix(path);
  const int far = accept_unix(listener);
  EXPECT_GE(near, 0);
  EXPECT_GE(far, 0);
  EXPECT_EQ(listen_unix(std::string(200, 'x')), -1);
  for (const int fd : {listener, near, far}) close(fd);
  std::filesystem::remove_all(directory);
}

}  // namespace
}  // namespace vrouter
