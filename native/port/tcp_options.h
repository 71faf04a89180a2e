// TCP sockets with the options that routing protocols want and Node has no words for: how far
// packets go and may have come (RFC 5082), and MD5 signatures (RFC 2385). Control side only.
//
// Every function answers -1 or false with errno set; none closes a socket it did not open.
#pragma once
#include <cstdint>
#include <span>

namespace vrouter {

// What the kernel keeps of a key (TCP_MD5SIG_MAXKEYLEN).
inline constexpr size_t kMaxTcpKey = 80;

// Not connected, non-blocking, its packets marked as those of a routing protocol (CS6). `address`
// has 4 or 16 bytes and decides the family; `bound`: the socket is bound to it and `port`, to be
// listened on, and an IPv6 one hears IPv6 alone.
int open_tcp_socket(std::span<const uint8_t> address, uint16_t port, bool bound);

// Of a connected socket, one that is to be connected, or one that listens, for its connections.
// 0: left as it is.
bool set_tcp_hops(int fd, uint8_t ttl, uint8_t min_ttl);

// Segments from and to addresses under the prefix must be signed; an empty key takes that back.
bool set_tcp_key(int fd, std::span<const uint8_t> address, uint8_t length,
                 std::span<const uint8_t> key);

}  // namespace vrouter
