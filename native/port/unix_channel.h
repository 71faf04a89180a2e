// Messages with descriptors over a Unix stream socket: u32 length, u32 count of descriptors, then
// `length` bytes; the descriptors travel with the header (SCM_RIGHTS).
//
// Invariants
//  * A length or count beyond its limit is refused before anything of that size is had, and so is a
//    message whose descriptors did not all arrive. After any failure but Timeout before the first
//    byte, the stream is of no use and must be closed.
//  * Descriptors received belong to the message; those of a message that is not handed over are
//    closed here.
//  * The descriptor may be non-blocking or not: everything waits in poll, up to a deadline.
// Control side only, one thread.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace vrouter {

inline constexpr uint32_t kMaxMessageBytes = 32u << 20;  // twice the longest Program
inline constexpr uint32_t kMaxMessageFds = 64;           // Linux takes 253 at a time (SCM_MAX_FD)

enum class ChannelStatus : uint8_t {
  Ok,
  Waiting,  // receive() only: no whole message yet
  Closed,   // the other side has gone
  Timeout,
  TooLarge,
  Malformed,
  Failed,  // errno says why
};

class UnixChannel {
 public:
  // Takes the connected socket over.
  explicit UnixChannel(int fd) : fd_(fd) {}
  ~UnixChannel() { close(); }
  UnixChannel(const UnixChannel&) = delete;
  UnixChannel& operator=(const UnixChannel&) = delete;

  int fd() const { return fd_; }  // -1: closed
  void close();

  // The whole message, or the stream is broken. The descriptors stay the caller's.
  ChannelStatus send(std::span<const uint8_t> bytes, std::span<const int> fds, uint32_t timeout_ms);
  // Takes what is there; Ok: `bytes` and `fds` are the next message, and the fds the caller's.
  ChannelStatus receive(std::vector<uint8_t>& bytes, std::vector<int>& fds);
  // The same, but waits.
  ChannelStatus receive(std::vector<uint8_t>& bytes, std::vector<int>& fds, uint32_t timeout_ms);

 private:
  ChannelStatus fill(uint8_t* into, size_t wanted, size_t& have);
  void forget();

  int fd_;
  // The message under way.
  uint8_t header_[8] = {};
  size_t header_have_ = 0;
  std::vector<uint8_t> body_;
  size_t body_have_ = 0;
  std::vector<int> fds_;
};

// -1 with errno set. connect: the other side may be about to listen (ECONNREFUSED, ENOENT).
int connect_unix(const std::string& path);
int listen_unix(const std::string& path);  // mode 0600; EADDRINUSE if the path exists
int accept_unix(int listener);             // EAGAIN: nobody waits

}  // namespace vrouter
