#include "port/socket_port.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/limits.h"
#include "port/sockets.h"

namespace vrouter {
namespace {

struct Pair {
  Pair() {
    int fds[2] = {-1, -1};
    EXPECT_TRUE(open_frame_pair(fds));
    far = fds[1];
    port = SocketPort::adopt(fds[0], 1500, &status);
  }
  ~Pair() {
    if (far >= 0) close(far);
  }
  Status status;
  std::unique_ptr<SocketPort> port;
  int far = -1;
};

TEST(SocketPort, TakesNothingButOneEndOfAFramePair) {
  int stream[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, stream), 0);
  int packets[2];
  ASSERT_TRUE(open_socket_pair(packets));
  const int inet = socket(AF_INET, SOCK_DGRAM, 0);
  for (const int fd : {stream[0], packets[0], inet, -1}) {
    Status status;
    std::string detail;
    EXPECT_EQ(SocketPort::adopt(fd, 1500, &status, &detail), nullptr);
    EXPECT_EQ(status.code, StatusCode::BadValue);
    EXPECT_STREQ(status.field, "fd");
    EXPECT_EQ(write(fd, "", 0), -1) << "it was taken over, also when refused";
  }
  close(stream[1]);
  close(packets[1]);
}

TEST(SocketPort, WhatNobodyReadsIsBoundedAndNothingOfItIsAnError) {
  Pair pair;
  PacketPool pool(4, 2048);
  Packet* packet = pool.allocate();
  packet->append(1000);
  std::memset(packet->data(), 0xff, 1000);
  uint32_t sent = 0;
  while (sent < 10'000 && pair.port->tx_burst(&packet, 1) == 1) ++sent;
  EXPECT_GE(sent, 100u);
  EXPECT_LE(sent, 2 * kSocketQueueBytes / 1000);
  EXPECT_EQ(pair.port->tx_errors, 0u) << "full for now";
  uint8_t buffer[2048];
  EXPECT_EQ(recv(pair.far, buffer, sizeof buffer, 0), 1000);
  EXPECT_EQ(pair.port->tx_burst(&packet, 1), 1u);
  pool.free(packet);
}

TEST(SocketPort, AnEndThatIsGoneDoesNotKeepTheWorkerAwake) {
  Pair pair;
  const uint8_t frame[64] = {};
  ASSERT_EQ(send(pair.far, frame, sizeof frame, 0), 64);
  close(pair.far);
  pair.far = -1;
  PacketPool pool(4, 2048);
  Packet* out[4];
  EXPECT_EQ(pair.port->rx_burst(pool, out, 4), 1u) << "what came before is still there";
  pool.free(out[0]);
  Packet* packet = pool.allocate();
  packet->append(64);
  std::memset(packet->data(), 0xff, 64);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(pair.port->tx_burst(&packet, 1), 0u);
  EXPECT_EQ(pair.port->tx_errors, 3u);
  pool.free(packet);
  pollfd waiting{pair.port->fd(), POLLIN, 0};
  EXPECT_EQ(poll(&waiting, 1, 0), 0);
  EXPECT_EQ(pair.port->rx_burst(pool, out, 4), 0u);
}

TEST(SocketPort, AnEmptyDatagramIsNoFrame) {
  Pair pair;
  const uint8_t frame[64] = {};
  ASSERT_EQ(send(pair.far, frame, 0, 0), 0);
  ASSERT_EQ(send(pair.far, frame, sizeof frame, 0), 64);
  PacketPool pool(4, 2048);
  Packet* out[4];
  EXPECT_EQ(pair.port->rx_burst(pool, out, 4), 1u);
  EXPECT_EQ(pair.port->rx_errors, 1u);
  pool.free(out[0]);
}

}  // namespace
}  // namespace vrouter
