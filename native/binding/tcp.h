// TCP sockets with options (port/tcp_options.h), for Node's own sockets to take over by descriptor.
#pragma once
#include <napi.h>

namespace vrouter {

// openTcp(address, port) -> fd: bound to them, to be listened on; openTcp(address): to be connected
// to it. The caller's to close.
Napi::Value open_tcp(const Napi::CallbackInfo& info);
// setTcpHops(fd, ttl, minTtl); 0: left as it is.
Napi::Value set_hops(const Napi::CallbackInfo& info);
// setTcpKey(fd, address, length, key); an empty key takes it back.
Napi::Value set_key(const Napi::CallbackInfo& info);

}  // namespace vrouter
