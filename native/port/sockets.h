// Sockets that are no ports: netlink, and pairs of Unix sockets. Control side only.
#pragma once
#include <cstdint>

namespace vrouter {

// An AF_NETLINK socket of the calling thread's network namespace, non-blocking, bound to the
// multicast groups in the mask (RTMGRP_*). -1 with errno set.
int open_netlink_socket(int protocol, uint32_t groups);

// Two ends that keep message bounds and see each other's end (SOCK_SEQPACKET), non-blocking.
bool open_socket_pair(int (&fds)[2]);
// Two ends for frames (port/socket_port.h): SOCK_DGRAM, non-blocking, with room for
// kSocketQueueBytes in each direction.
bool open_frame_pair(int (&fds)[2]);

}  // namespace vrouter
