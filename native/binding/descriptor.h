// Descriptor: a file descriptor that the environment's event loop watches: netlink sockets, Unix
// sockets and pairs, for which Node has nothing of its own. Datagram-shaped: one read, one message.
//
// Invariants
//  * All methods run on the thread of their environment; the listener is called there, while the
//    descriptor is readable (level-triggered: a listener that does not read is called again).
//  * fd_ is -1 exactly after close(); then every method but close() throws CLOSED.
//  * It does not keep the process alive.
#pragma once
#include <napi.h>
#include <uv.h>

#include <memory>

#include "binding/convert.h"

namespace vrouter {

class Descriptor : public Napi::ObjectWrap<Descriptor> {
 public:
  static Napi::Function define(Napi::Env env, const std::shared_ptr<AddonState>& state);

  // new Descriptor(fd): takes the descriptor over and makes it non-blocking.
  explicit Descriptor(const Napi::CallbackInfo& info);
  ~Descriptor() override;
  // Closes the descriptor and forgets the listener. Also at the environment's end.
  void shut();

 private:
  using Info = const Napi::CallbackInfo&;

  Napi::Value number(Info info);
  Napi::Value on_readable(Info info);
  Napi::Value read(Info info);
  Napi::Value write(Info info);
  Napi::Value close(Info info);

  bool ready(Napi::Env env);
  void readable();

  std::shared_ptr<AddonState> state_;
  int fd_ = -1;
  uv_poll_t* poll_ = nullptr;  // freed by the loop once it is closed
  Napi::FunctionReference listener_;
};

// openNetlink(protocol, groups) -> fd: an AF_NETLINK socket of the current network namespace, bound
// to the multicast groups in the bit mask.
Napi::Value open_netlink(const Napi::CallbackInfo& info);
// socketPair() -> [fd, fd]: Unix, SOCK_SEQPACKET: messages keep their bounds, the end is seen.
Napi::Value socket_pair(const Napi::CallbackInfo& info);
// framePair() -> [fd, fd]: Unix, SOCK_DGRAM: for a port of kind socket, and who is behind it.
Napi::Value frame_pair(const Napi::CallbackInfo& info);

}  // namespace vrouter
