// What TAP and AF_PACKET ports share about Linux network interfaces: names, MTU, errors as text.
// Control side only.
#pragma once
#include <cstdint>
#include <string>

#include "base/status.h"

namespace vrouter {

// 1 to 15 bytes, no '/', no white space, not "." or "..": what the kernel takes (dev_valid_name),
// less its '%' patterns.
bool valid_interface_name(const std::string& name);

// False with errno set. `socket`: any network socket of the right namespace.
bool interface_index(int socket, const std::string& name, int* index);
bool interface_name(int socket, int index, std::string* name);
bool interface_mtu(int socket, const std::string& name, uint32_t* mtu);
bool set_interface_mtu(int socket, const std::string& name, uint32_t mtu);
bool set_interface_queue(int socket, const std::string& name, uint32_t frames);
bool set_interface_up(int socket, const std::string& name);
bool interface_up(int socket, const std::string& name, bool* up);

// Fills status and, if given, detail with "what: reason of system_error".
void fail_port(Status* status, std::string* detail, StatusCode code, const char* field,
               const std::string& what, int system_error);

}  // namespace vrouter
