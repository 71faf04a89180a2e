// Checked readers of JavaScript arguments, and the one way an error is thrown.
//
// Invariant: a reader that returns false has thrown, and the caller returns at once. Readers run
// before anything is touched, because reading an object's property may run JavaScript (a getter, a
// proxy) that calls back into the same object, even close() it.
// Used by binding/ only; nothing here keeps a pointer into JavaScript memory past the call.
#pragma once
#include <napi.h>

#include <cmath>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <unordered_set>

#include "base/status.h"

namespace vrouter {

class Dataplane;
class Descriptor;

// One per environment (main thread or worker): never process-global. Dataplanes share it, because
// at teardown their finalizers may run after the environment's own.
struct AddonState {
  Napi::FunctionReference constructor;
  Napi::FunctionReference descriptor_constructor;
  Napi::FunctionReference error_class;  // VRouterError, handed in by src/dataplane/binding.ts
  std::unordered_set<Dataplane*> open;
  std::unordered_set<Descriptor*> descriptors;
};

// Throws new VRouterError(code, message, opIndex, field), or, before the class has been handed in,
// a plain Error with the same properties.
inline void throw_error(Napi::Env env, AddonState& state, const char* code,
                        const std::string& message, uint32_t op_index = kNoOp,
                        const char* field = "") {
  if (env.IsExceptionPending()) return;
  Napi::Value index = op_index == kNoOp ? env.Undefined() : Napi::Number::New(env, op_index);
  Napi::Value name = field[0] == '\0' ? env.Undefined() : Napi::String::New(env, field);
  if (!state.error_class.IsEmpty()) {
    Napi::Object error = state.error_class.New(
        {Napi::String::New(env, code), Napi::String::New(env, message), index, name});
    if (!env.IsExceptionPending()) napi_throw(env, error);
    return;
  }
  Napi::Error error = Napi::Error::New(env, message);
  error.Set("code", Napi::String::New(env, code));
  error.Set("opIndex", index);
  error.Set("field", name);
  error.ThrowAsJavaScriptException();
}

inline void throw_status(Napi::Env env, AddonState& state, const Status& status) {
  std::string message = status_text(status.code);
  if (status.field[0] != '\0') message = std::string(status.field) + ": " + message;
  if (status.op_index != kNoOp) message = "op " + std::to_string(status.op_index) + ": " + message;
  throw_error(env, state, status_code(status.code), message, status.op_index, status.field);
}

inline bool refuse(Napi::Env env, AddonState& state, const char* name, const std::string& wanted) {
  throw_error(env, state, "BAD_ARGUMENT", std::string(name) + " must be " + wanted, kNoOp, name);
  return false;
}

inline bool read_u32(Napi::Env env, AddonState& state, Napi::Value value, const char* name,
                     uint32_t low, uint32_t high, uint32_t& out) {
  const double number = value.IsNumber() ? value.As<Napi::Number>().DoubleValue() : -1;
  if (!(number >= low && number <= high) || number != std::floor(number)) {
    return refuse(env, state, name,
                  "an integer from " + std::to_string(low) + " to " + std::to_string(high));
  }
  out = static_cast<uint32_t>(number);
  return true;
}

inline bool read_u64(Napi::Env env, AddonState& state, Napi::Value value, const char* name,
                     uint64_t& out) {
  bool lossless = false;
  if (value.IsBigInt()) out = value.As<Napi::BigInt>().Uint64Value(&lossless);
  return lossless || refuse(env, state, name, "a BigInt from 0 to 2^64 - 1");
}

inline bool read_text(Napi::Env env, AddonState& state, Napi::Value value, const char* name,
                      size_t max_bytes, std::string& out) {
  if (!value.IsString()) return refuse(env, state, name, "a string");
  out = value.As<Napi::String>().Utf8Value();
  // A NUL would silently end the name for the system calls it is handed to.
  if (out.empty() || out.size() > max_bytes || out.find('\0') != std::string::npos) {
    return refuse(env, state, name, "a string of 1 to " + std::to_string(max_bytes) + " bytes");
  }
  return true;
}

// Bytes JavaScript owns, valid during this call. Shared memory is refused: another thread could
// change it between the check of a bound and its use.
template <class Element>
inline bool read_array(Napi::Env env, AddonState& state, Napi::Value value, const char* name,
                       napi_typedarray_type type, const char* wanted, std::span<Element>& out) {
  napi_typedarray_type got;
  size_t length = 0;
  void* data = nullptr;
  napi_value buffer = nullptr;
  bool plain = false;
  if (!value.IsTypedArray() ||
      napi_get_typedarray_info(env, value, &got, &length, &data, &buffer, nullptr) != napi_ok ||
      got != type || napi_is_arraybuffer(env, buffer, &plain) != napi_ok || !plain) {
    return refuse(env, state, name, wanted);
  }
  out = {static_cast<Element*>(data), length};
  return true;
}

inline bool read_bytes(Napi::Env env, AddonState& state, Napi::Value value, const char* name,
                       std::span<uint8_t>& out) {
  return read_array(env, state, value, name, napi_uint8_array, "a Uint8Array of unshared memory",
                    out);
}

inline bool read_object(Napi::Env env, AddonState& state, Napi::Value value, const char* name,
                        Napi::Object& out) {
  if (!value.IsObject() || value.IsFunction()) return refuse(env, state, name, "an object");
  out = value.As<Napi::Object>();
  return true;
}

// Reads a property that may be missing; false: its getter threw.
inline bool read_property(Napi::Env env, Napi::Object object, const char* name, Napi::Value& out) {
  napi_value value = nullptr;
  if (napi_get_named_property(env, object, name, &value) != napi_ok || env.IsExceptionPending()) {
    return false;
  }
  out = Napi::Value(env, value);
  return true;
}

// An optional integer property; `out` keeps its default where it is undefined.
inline bool read_option(Napi::Env env, AddonState& state, Napi::Object object, const char* name,
                        uint32_t low, uint32_t high, uint32_t& out) {
  Napi::Value value;
  if (!read_property(env, object, name, value)) return false;
  return value.IsUndefined() || read_u32(env, state, value, name, low, high, out);
}

// The same for text; `out` stays empty where it is undefined.
inline bool read_option(Napi::Env env, AddonState& state, Napi::Object object, const char* name,
                        size_t max_bytes, std::string& out) {
  Napi::Value value;
  if (!read_property(env, object, name, value)) return false;
  return value.IsUndefined() || read_text(env, state, value, name, max_bytes, out);
}

inline Napi::Uint8Array new_bytes(Napi::Env env, const uint8_t* data, size_t size) {
  Napi::Uint8Array out = Napi::Uint8Array::New(env, size);
  if (size > 0 && !env.IsExceptionPending()) std::memcpy(out.Data(), data, size);
  return out;
}

// An optional flag; absent, `out` stays.
inline bool read_flag(Napi::Env env, AddonState& state, Napi::Object spec, const char* name,
                      bool& out) {
  Napi::Value value;
  if (!read_property(env, spec, name, value)) return false;
  if (value.IsUndefined()) return true;
  if (!value.IsBoolean()) return refuse(env, state, name, "true or false");
  out = value.As<Napi::Boolean>().Value();
  return true;
}

}  // namespace vrouter
