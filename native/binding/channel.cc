#include "binding/channel.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace vrouter {
namespace {

constexpr uint32_t kMaxDescriptor = 1u << 20;
constexpr uint32_t kMaxTimeoutMs = 600'000;
constexpr uint32_t kMaxSocketPath = 107;

AddonState& state_of(Napi::Env env) { return **env.GetInstanceData<std::shared_ptr<AddonState>>(); }

bool read_fd(Napi::Env env, AddonState& state, Napi::Value value, int& out) {
  uint32_t fd = 0;
  if (!read_u32(env, state, value, "fd", 0, kMaxDescriptor, fd)) return false;
  out = static_cast<int>(fd);
  return true;
}

bool read_fds(Napi::Env env, AddonState& state, Napi::Value value, std::vector<int>& out) {
  if (value.IsUndefined()) return true;
  if (!value.IsArray()) return refuse(env, state, "fds", "an array of descriptors");
  const Napi::Array list = value.As<Napi::Array>();
  for (uint32_t i = 0; i < list.Length(); ++i) {
    int fd;
    if (!read_fd(env, state, list.Get(i), fd)) return false;
    out.push_back(fd);
  }
  return true;
}

Napi::Value fail_errno(Napi::Env env, const std::string& what) {
  throw_error(env, state_of(env), "PORT_FAILED", what + ": " + std::strerror(errno));
  return {};
}

}  // namespace

Napi::Function Channel::define(Napi::Env env) {
  return DefineClass(env, "Channel",
                     {
                         InstanceAccessor<&Channel::number>("fd"),
                         InstanceMethod<&Channel::call>("call"),
                         InstanceMethod<&Channel::receive>("receive"),
                         InstanceMethod<&Channel::send>("send"),
                         InstanceMethod<&Channel::close>("close"),
                     });
}

Channel::Channel(const Napi::CallbackInfo& info)
    : ObjectWrap(info), state_(*info.Env().GetInstanceData<std::shared_ptr<AddonState>>()) {
  Napi::Env env = info.Env();
  int fd = -1;
  if (info[0].IsString()) {
    std::string path;
    if (!read_text(env, *state_, info[0], "path", kMaxSocketPath, path)) return;
    fd = connect_unix(path);
    if (fd < 0) {
      throw_error(env, *state_, "CLOSED", path + ": " + std::strerror(errno));
      return;
    }
  } else if (!read_fd(env, *state_, info[0], fd)) {
    return;
  }
  channel_ = std::make_unique<UnixChannel>(fd);
}

Napi::Value Channel::number(Info info) {
  return Napi::Number::New(info.Env(), channel_ != nullptr ? channel_->fd() : -1);
}

bool Channel::ready(Napi::Env env) {
  if (channel_ != nullptr && channel_->fd() >= 0) return true;
  throw_error(env, *state_, "CLOSED", "the channel has been closed");
  return false;
}

bool Channel::check(Napi::Env env, ChannelStatus status) {
  const int error = errno;
  if (status == ChannelStatus::Ok) return true;
  channel_->close();
  switch (status) {
    case ChannelStatus::Timeout:
      throw_error(env, *state_, "TIMEOUT", "the other side does not answer");
      break;
    case ChannelStatus::TooLarge:
      throw_error(env, *state_, "BAD_MESSAGE",
                  "a message is longer than " + std::to_string(kMaxMessageBytes) +
                      " bytes, or has more than " + std::to_string(kMaxMessageFds) +
                      " descriptors");
      break;
    case ChannelStatus::Malformed:
      throw_error(env, *state_, "BAD_MESSAGE", "the descriptors of a message are not with it");
      break;
    case ChannelStatus::Failed:
      throw_error(env, *state_, "CLOSED", std::strerror(error));
      break;
    default:
      throw_error(env, *state_, "CLOSED", "the other side has gone");
  }
  return false;
}

bool Channel::read_message(Info info, std::span<uint8_t>& bytes, std::vector<int>& fds,
                           uint32_t& timeout) {
  Napi::Env env = info.Env();
  if (!read_bytes(env, *state_, info[0], "bytes", bytes) || !read_fds(env, *state_, info[1], fds) ||
      !read_u32(env, *state_, info[2], "timeoutMs", 0, kMaxTimeoutMs, timeout) || !ready(env)) {
    return false;
  }
  // Refused before anything is sent: the stream stays whole.
  if (bytes.size() <= kMaxMessageBytes && fds.size() <= kMaxMessageFds) return true;
  throw_error(env, *state_, "TOO_LARGE",
              "a message of " + std::to_string(bytes.size()) + " bytes and " +
                  std::to_string(fds.size()) + " descriptors is more than a channel carries");
  return false;
}

Napi::Value Channel::message(Napi::Env env, const std::vector<uint8_t>& bytes,
                             const std::vector<int>& fds) {
  Napi::Array numbers = Napi::Array::New(env, fds.size());
  for (uint32_t i = 0; i < fds.size(); ++i) numbers.Set(i, Napi::Number::New(env, fds[i]));
  Napi::Object out = Napi::Object::New(env);
  out.Set("bytes", new_bytes(env, bytes.data(), bytes.size()));
  out.Set("fds", numbers);
  return out;
}

Napi::Value Channel::call(Info info) {
  Napi::Env env = info.Env();
  std::span<uint8_t> bytes;
  std::vector<int> fds;
  uint32_t timeout = 0;
  if (!read_message(info, bytes, fds, timeout)) return {};
  if (!check(env, channel_->send(bytes, fds, timeout))) return {};
  std::vector<uint8_t> answer;
  std::vector<int> answered;
  if (!check(env, channel_->receive(answer, answered, timeout))) return {};
  return message(env, answer, answered);
}

Napi::Value Channel::receive(Info info) {
  Napi::Env env = info.Env();
  if (!ready(env)) return {};
  std::vector<uint8_t> bytes;
  std::vector<int> fds;
  const ChannelStatus got = channel_->receive(bytes, fds);
  if (got == ChannelStatus::Waiting) return env.Undefined();
  return check(env, got) ? message(env, bytes, fds) : Napi::Value();
}

Napi::Value Channel::send(Info info) {
  Napi::Env env = info.Env();
  std::span<uint8_t> bytes;
  std::vector<int> fds;
  uint32_t timeout = 0;
  if (!read_message(info, bytes, fds, timeout)) return {};
  if (!check(env, channel_->send(bytes, fds, timeout))) return {};
  return env.Undefined();
}

Napi::Value Channel::close(Info info) {
  if (channel_ != nullptr) channel_->close();
  return info.Env().Undefined();
}

Napi::Value listen_unix_socket(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  std::string path;
  if (!read_text(env, state_of(env), info[0], "path", kMaxSocketPath, path)) return {};
  const int fd = listen_unix(path);
  return fd < 0 ? fail_errno(env, path) : Napi::Number::New(env, fd);
}

Napi::Value accept_unix_socket(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  int listener;
  if (!read_fd(env, state_of(env), info[0], listener)) return {};
  const int fd = accept_unix(listener);
  if (fd < 0 && errno != EAGAIN && errno != EWOULDBLOCK) return fail_errno(env, "accept");
  return Napi::Number::New(env, fd);
}

Napi::Value duplicate_descriptor(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  int fd;
  if (!read_fd(env, state_of(env), info[0], fd)) return {};
  const int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
  return copy < 0 ? fail_errno(env, "descriptor") : Napi::Number::New(env, copy);
}

Napi::Value close_descriptor(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  int fd;
  if (!read_fd(env, state_of(env), info[0], fd)) return {};
  if (::close(fd) != 0) return fail_errno(env, "descriptor");
  return env.Undefined();
}

}  // namespace vrouter
