#include "binding/tcp.h"

#include <cerrno>
#include <cstring>

#include "binding/convert.h"
#include "port/tcp_options.h"

namespace vrouter {
namespace {

constexpr uint32_t kMaxDescriptor = 1u << 20;

AddonState& state_of(Napi::Env env) { return **env.GetInstanceData<std::shared_ptr<AddonState>>(); }

Napi::Value failed(Napi::Env env, const char* what) {
  throw_error(env, state_of(env), "PORT_FAILED", std::string(what) + ": " + std::strerror(errno));
  return {};
}

}  // namespace

Napi::Value open_tcp(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  AddonState& state = state_of(env);
  std::span<uint8_t> address;
  uint32_t port = 0;
  const bool bound = !info[1].IsUndefined();
  if (!read_bytes(env, state, info[0], "address", address)) return {};
  if (bound && !read_u32(env, state, info[1], "port", 0, UINT16_MAX, port)) return {};
  const int fd = open_tcp_socket(address, static_cast<uint16_t>(port), bound);
  if (fd < 0) return failed(env, "TCP socket");
  return Napi::Number::New(env, fd);
}

Napi::Value set_hops(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  AddonState& state = state_of(env);
  uint32_t fd = 0;
  uint32_t ttl = 0;
  uint32_t min_ttl = 0;
  if (!read_u32(env, state, info[0], "fd", 0, kMaxDescriptor, fd) ||
      !read_u32(env, state, info[1], "ttl", 0, UINT8_MAX, ttl) ||
      !read_u32(env, state, info[2], "minTtl", 0, UINT8_MAX, min_ttl)) {
    return {};
  }
  if (!set_tcp_hops(static_cast<int>(fd), static_cast<uint8_t>(ttl),
                    static_cast<uint8_t>(min_ttl))) {
    return failed(env, "TTL");
  }
  return env.Undefined();
}

Napi::Value set_key(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  AddonState& state = state_of(env);
  uint32_t fd = 0;
  uint32_t length = 0;
  std::span<uint8_t> address;
  std::span<uint8_t> key;
  if (!read_u32(env, state, info[0], "fd", 0, kMaxDescriptor, fd) ||
      !read_bytes(env, state, info[1], "address", address) ||
      !read_u32(env, state, info[2], "length", 0, 128, length) ||
      !read_bytes(env, state, info[3], "key", key)) {
    return {};
  }
  if (!set_tcp_key(static_cast<int>(fd), address, static_cast<uint8_t>(length), key)) {
    return failed(env, "TCP MD5 signature");
  }
  return env.Undefined();
}

}  // namespace vrouter
