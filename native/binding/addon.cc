// The addon's exports, and its state per environment.
// Invariant: nothing here is global to the process, so that each worker thread has its own
// Dataplanes, and those of an environment are shut before it is gone.
#include <napi.h>

#include "binding/captures.h"
#include "binding/channel.h"
#include "binding/dataplane.h"
#include "binding/descriptor.h"
#include "binding/records.h"
#include "binding/tcp.h"
#include "program/program.h"

namespace vrouter {
namespace {

constexpr const char* kVersion = "0.1.0";

Napi::Value layout(const Napi::CallbackInfo& info) {
  return Napi::String::New(info.Env(), layout_json());
}

Napi::Value record_layout(const Napi::CallbackInfo& info) {
  return Napi::String::New(info.Env(), record::layout_json());
}

// The class that errors are made of: called as new (code, message, opIndex, field).
Napi::Value set_error_class(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  auto state = *env.GetInstanceData<std::shared_ptr<AddonState>>();
  if (!info[0].IsFunction()) {
    refuse(env, *state, "errorClass", "a class");
    return {};
  }
  state->error_class = Napi::Persistent(info[0].As<Napi::Function>());
  state->error_class.SuppressDestruct();
  return env.Undefined();
}

Napi::Object initialise(Napi::Env env, Napi::Object exports) {
  auto state = std::make_shared<AddonState>();
  env.SetInstanceData(new std::shared_ptr<AddonState>(state));
  env.AddCleanupHook([state] {
    while (!state->open.empty()) (*state->open.begin())->shut();
    while (!state->descriptors.empty()) (*state->descriptors.begin())->shut();
  });
  exports.Set("Dataplane", Dataplane::define(env, state));
  exports.Set("Descriptor", Descriptor::define(env, state));
  exports.Set("openNetlink", Napi::Function::New(env, open_netlink, "openNetlink"));
  exports.Set("socketPair", Napi::Function::New(env, socket_pair, "socketPair"));
  exports.Set("framePair", Napi::Function::New(env, frame_pair, "framePair"));
  exports.Set("openTcp", Napi::Function::New(env, open_tcp, "openTcp"));
  exports.Set("setTcpHops", Napi::Function::New(env, set_hops, "setTcpHops"));
  exports.Set("setTcpKey", Napi::Function::New(env, set_key, "setTcpKey"));
  exports.Set("Channel", Channel::define(env));
  exports.Set("listenUnix", Napi::Function::New(env, listen_unix_socket, "listenUnix"));
  exports.Set("acceptUnix", Napi::Function::New(env, accept_unix_socket, "acceptUnix"));
  exports.Set("duplicateDescriptor",
              Napi::Function::New(env, duplicate_descriptor, "duplicateDescriptor"));
  exports.Set("closeDescriptor", Napi::Function::New(env, close_descriptor, "closeDescriptor"));
  exports.Set("openPort", Napi::Function::New(env, open_port_descriptor, "openPort"));
  exports.Set("compileFilter", Napi::Function::New(env, compile_filter, "compileFilter"));
  exports.Set("layout", Napi::Function::New(env, layout, "layout"));
  exports.Set("recordLayout", Napi::Function::New(env, record_layout, "recordLayout"));
  exports.Set("setErrorClass", Napi::Function::New(env, set_error_class, "setErrorClass"));
  exports.Set("version", kVersion);
  return exports;
}

}  // namespace

NODE_API_MODULE(vrouter, initialise)

}  // namespace vrouter
