// compileFilter(text) -> instructions: for whoever asks a router for a capture with a filter, in
// its own process, because a filter may name a host. NO_PACKAGE without libpcap.
#pragma once
#include <napi.h>

namespace vrouter {

Napi::Value compile_filter(const Napi::CallbackInfo& info);

}  // namespace vrouter
