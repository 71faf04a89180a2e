#include "binding/descriptor.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "port/sockets.h"

namespace vrouter {
namespace {

constexpr uint32_t kMaxDescriptor = 1u << 20;

AddonState& state_of(Napi::Env env) { return **env.GetInstanceData<std::shared_ptr<AddonState>>(); }

void throw_errno(Napi::Env env, AddonState& state, const char* what, int error) {
  throw_error(env, state, "PORT_FAILED", std::string(what) + ": " + std::strerror(error));
}

}  // namespace

Napi::Function Descriptor::define(Napi::Env env, const std::shared_ptr<AddonState>& state) {
  Napi::Function constructor =
      DefineClass(env, "Descriptor",
                  {
                      InstanceAccessor<&Descriptor::number>("fd"),
                      InstanceMethod<&Descriptor::on_readable>("onReadable"),
                      InstanceMethod<&Descriptor::read>("read"),
                      InstanceMethod<&Descriptor::write>("write"),
                      InstanceMethod<&Descriptor::close>("close"),
                  });
  state->descriptor_constructor = Napi::Persistent(constructor);
  state->descriptor_constructor.SuppressDestruct();
  return constructor;
}

Descriptor::Descriptor(const Napi::CallbackInfo& info)
    : ObjectWrap(info), state_(*info.Env().GetInstanceData<std::shared_ptr<AddonState>>()) {
  Napi::Env env = info.Env();
  uint32_t fd = 0;
  if (!read_u32(env, *state_, info[0], "fd", 0, kMaxDescriptor, fd)) return;
  const int flags = fcntl(static_cast<int>(fd), F_GETFL);
  if (flags < 0 || fcntl(static_cast<int>(fd), F_SETFL, flags | O_NONBLOCK) < 0) {
    throw_errno(env, *state_, "descriptor", errno);
    return;
  }
  fd_ = static_cast<int>(fd);
  state_->descriptors.insert(this);
}

Descriptor::~Descriptor() { shut(); }

void Descriptor::shut() {
  if (fd_ < 0) return;
  state_->descriptors.erase(this);
  if (poll_ != nullptr) {
    uv_poll_stop(poll_);
    poll_->data = nullptr;
    uv_close(reinterpret_cast<uv_handle_t*>(poll_),
             [](uv_handle_t* handle) { delete reinterpret_cast<uv_poll_t*>(handle); });
    poll_ = nullptr;
  }
  listener_.Reset();
  ::close(fd_);
  fd_ = -1;
}

bool Descriptor::ready(Napi::Env env) {
  if (fd_ >= 0) return true;
  throw_error(env, *state_, "CLOSED", "the descriptor has been closed");
  return false;
}

Napi::Value Descriptor::number(Info info) { return Napi::Number::New(info.Env(), fd_); }

Napi::Value Descriptor::on_readable(Info info) {
  Napi::Env env = info.Env();
  if (!ready(env)) return {};
  if (!info[0].IsFunction()) {
    refuse(env, *state_, "listener", "a function");
    return {};
  }
  listener_ = Napi::Persistent(info[0].As<Napi::Function>());
  if (poll_ != nullptr) return env.Undefined();
  uv_loop_t* loop = nullptr;
  if (napi_get_uv_event_loop(env, &loop) != napi_ok) {
    throw_error(env, *state_, "PORT_FAILED", "there is no event loop");
    return {};
  }
  auto* poll = new uv_poll_t;
  if (const int failed = uv_poll_init(loop, poll, fd_); failed != 0) {
    delete poll;
    throw_errno(env, *state_, "descriptor cannot be watched", -failed);
    return {};
  }
  poll_ = poll;
  poll_->data = this;
  uv_unref(reinterpret_cast<uv_handle_t*>(poll_));
  uv_poll_start(poll_, UV_READABLE | UV_DISCONNECT, [](uv_poll_t* handle, int, int) {
    if (handle->data != nullptr) static_cast<Descriptor*>(handle->data)->readable();
  });
  return env.Undefined();
}

void Descriptor::readable() {
  Napi::Env env = Env();
  Napi::HandleScope scope(env);
  // The listener may close us, and JavaScript may then let go of us.
  Napi::Value self = Value();
  listener_.Value().MakeCallback(self, 0, nullptr, nullptr);
}

// Bytes read; 0: the other side has closed; -1: nothing there now.
Napi::Value Descriptor::read(Info info) {
  Napi::Env env = info.Env();
  std::span<uint8_t> into;
  if (!ready(env) || !read_bytes(env, *state_, info[0], "into", into)) return {};
  for (;;) {
    const ssize_t got = ::read(fd_, into.data(), into.size());
    if (got >= 0) return Napi::Number::New(env, static_cast<double>(got));
    if (errno == EINTR) continue;
    if (errno == EAGAIN || errno == EWOULDBLOCK) return Napi::Number::New(env, -1);
    throw_errno(env, *state_, errno == ENOBUFS ? "overrun" : "read", errno);
    return {};
  }
}

// Bytes written; -1: no room now.
Napi::Value Descriptor::write(Info info) {
  Napi::Env env = info.Env();
  std::span<uint8_t> bytes;
  if (!ready(env) || !read_bytes(env, *state_, info[0], "bytes", bytes)) return {};
  for (;;) {
    const ssize_t sent = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent >= 0) return Napi::Number::New(env, static_cast<double>(sent));
    if (errno == EINTR) continue;
    if (errno == EAGAIN || errno == EWOULDBLOCK) return Napi::Number::New(env, -1);
    throw_errno(env, *state_, "write", errno);
    return {};
  }
}

Napi::Value Descriptor::close(Info info) {
  shut();
  return info.Env().Undefined();
}

Napi::Value open_netlink(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  AddonState& state = state_of(env);
  uint32_t protocol = 0;
  uint32_t groups = 0;
  if (!read_u32(env, state, info[0], "protocol", 0, 31, protocol) ||
      !read_u32(env, state, info[1], "groups", 0, UINT32_MAX, groups)) {
    return {};
  }
  const int fd = open_netlink_socket(static_cast<int>(protocol), groups);
  if (fd < 0) {
    throw_errno(env, state, "netlink socket", errno);
    return {};
  }
  return Napi::Number::New(env, fd);
}

namespace {

Napi::Value new_pair(Napi::Env env, bool (*open)(int (&fds)[2])) {
  int fds[2];
  if (!open(fds)) {
    throw_errno(env, state_of(env), "socketpair", errno);
    return {};
  }
  Napi::Array pair = Napi::Array::New(env, 2);
  pair.Set(0u, Napi::Number::New(env, fds[0]));
  pair.Set(1u, Napi::Number::New(env, fds[1]));
  return pair;
}

}  // namespace

Napi::Value socket_pair(const Napi::CallbackInfo& info) {
  return new_pair(info.Env(), open_socket_pair);
}

Napi::Value frame_pair(const Napi::CallbackInfo& info) {
  return new_pair(info.Env(), open_frame_pair);
}

}  // namespace vrouter
