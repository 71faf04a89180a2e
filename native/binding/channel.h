// Channel: one end of a connection between agent and forwarder (port/unix_channel.h) as JavaScript
// sees it. The agent calls, and waits, because what it calls is the data plane, which answers in
// microseconds or is gone; the forwarder takes requests when its event loop says they are there.
//
// Invariants
//  * All methods run on the thread of their environment.
//  * After CLOSED, TIMEOUT or BAD_MESSAGE the channel is closed: a late answer must not be taken
//    for that to another question.
//  * Descriptors in a result are the caller's to close (closeDescriptor).
#pragma once
#include <napi.h>

#include <memory>

#include "binding/convert.h"
#include "port/unix_channel.h"

namespace vrouter {

class Channel : public Napi::ObjectWrap<Channel> {
 public:
  static Napi::Function define(Napi::Env env);

  // new Channel(path): connects; or (fd): takes a connected socket over.
  explicit Channel(const Napi::CallbackInfo& info);

 private:
  using Info = const Napi::CallbackInfo&;

  Napi::Value number(Info info);   // fd, -1 when closed
  Napi::Value call(Info info);     // (bytes, fds, timeoutMs) -> {bytes, fds}
  Napi::Value receive(Info info);  // () -> {bytes, fds} | undefined
  Napi::Value send(Info info);     // (bytes, fds, timeoutMs)
  Napi::Value close(Info info);

  bool ready(Napi::Env env);
  bool read_message(Info info, std::span<uint8_t>& bytes, std::vector<int>& fds, uint32_t& timeout);
  bool check(Napi::Env env, ChannelStatus status);  // false: closed, and thrown
  Napi::Value message(Napi::Env env, const std::vector<uint8_t>& bytes,
                      const std::vector<int>& fds);

  std::shared_ptr<AddonState> state_;
  std::unique_ptr<UnixChannel> channel_;
};

// listenUnix(path) -> fd, acceptUnix(fd) -> fd or -1, duplicateDescriptor(fd) -> fd,
// closeDescriptor(fd).
Napi::Value listen_unix_socket(const Napi::CallbackInfo& info);
Napi::Value accept_unix_socket(const Napi::CallbackInfo& info);
Napi::Value duplicate_descriptor(const Napi::CallbackInfo& info);
Napi::Value close_descriptor(const Napi::CallbackInfo& info);

}  // namespace vrouter
