// Dataplane: the native class JavaScript sees. Batch-shaped: one call moves one batch, never one
// packet or one route. It checks every argument, holds the worker where tables are read or changed,
// and throws VRouterError; it decides nothing.
//
// Invariants
//  * All methods run on the thread of their environment; worker threads never enter here.
//  * engine_ is null exactly after close(); then every method but close() throws CLOSED.
//  * Bytes from JavaScript are used during the call only; bytes to JavaScript are copies.
#pragma once
#include <napi.h>

#include <memory>

#include "binding/convert.h"
#include "worker/engine.h"

namespace vrouter {

class MemoryPort;

class Dataplane : public Napi::ObjectWrap<Dataplane> {
 public:
  static Napi::Function define(Napi::Env env, const std::shared_ptr<AddonState>& state);

  explicit Dataplane(const Napi::CallbackInfo& info);
  ~Dataplane() override;
  // Stops the worker, closes the ports, frees the tables. Also at the environment's end.
  void shut();

 private:
  using Info = const Napi::CallbackInfo&;

  Napi::Value add_port(Info info);
  Napi::Value remove_port(Info info);
  Napi::Value port_info(Info info);
  Napi::Value port_descriptor(Info info);
  Napi::Value flow_file(Info info);
  Napi::Value claim_flows(Info info);
  Napi::Value start(Info info);
  Napi::Value stop(Info info);
  Napi::Value step(Info info);
  Napi::Value commit(Info info);
  Napi::Value dump_table(Info info);
  Napi::Value dump_flows(Info info);
  Napi::Value delete_flow(Info info);
  Napi::Value counter_shape(Info info);
  Napi::Value read_counters(Info info);
  Napi::Value clear_counters(Info info);
  Napi::Value drop_log(Info info);
  Napi::Value start_capture(Info info);  // captures.cc
  Napi::Value read_capture(Info info);
  Napi::Value stop_capture(Info info);
  Napi::Value drain_events(Info info);
  Napi::Value inject(Info info);
  Napi::Value collect(Info info);
  Napi::Value explain_frame(Info info);  // explain.cc
  Napi::Value info_object(Info info);
  Napi::Object tier_info(Napi::Env env);
  Napi::Value close(Info info);

  bool ready(Napi::Env env);  // false: closed, and CLOSED has been thrown
  bool find_port(Napi::Env env, Napi::Value value, PortId& out);
  MemoryPort* memory_port(Napi::Env env, PortId id);
  Napi::Value outcome(Napi::Env env, const Status& status);

  std::shared_ptr<AddonState> state_;
  std::unique_ptr<Engine> engine_;
};

// openPort(spec) -> {fd, mtu}: a kernel port (tap, af_packet) opened and set up for whoever
// addPort()s it, perhaps another process. The caller closes the descriptor.
Napi::Value open_port_descriptor(const Napi::CallbackInfo& info);

}  // namespace vrouter
