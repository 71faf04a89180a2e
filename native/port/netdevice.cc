#include "port/netdevice.h"

#include <net/if.h>
#include <sys/ioctl.h>

#include <cstring>

namespace vrouter {

namespace {

ifreq request_for(const std::string& name) {
  ifreq request{};
  std::memcpy(request.ifr_name, name.data(), name.size());  // valid_interface_name: it fits
  return request;
}

}  // namespace

bool valid_interface_name(const std::string& name) {
  if (name.empty() || name.size() >= IFNAMSIZ || name == "." || name == "..") return false;
  for (const char c : name) {
    const unsigned char u = static_cast<unsigned char>(c);
    if (u <= ' ' || u == 0x7f || c == '/' || c == ':' || c == '%') return false;
  }
  return true;
}

bool interface_index(int socket, const std::string& name, int* index) {
  ifreq request = request_for(name);
  if (ioctl(socket, SIOCGIFINDEX, &request) != 0) return false;
  *index = request.ifr_ifindex;
  return true;
}

bool interface_name(int socket, int index, std::string* name) {
  ifreq request{};
  request.ifr_ifindex = index;
  if (ioctl(socket, SIOCGIFNAME, &request) != 0) return false;
  name->assign(request.ifr_name, strnlen(request.ifr_name, IFNAMSIZ));
  return true;
}

bool interface_mtu(int socket, const std::string& name, uint32_t* mtu) {
  ifreq request = request_for(name);
  if (ioctl(socket, SIOCGIFMTU, &request) != 0) return false;
  *mtu = static_cast<uint32_t>(request.ifr_mtu);
  return true;
}

bool set_interface_mtu(int socket, const std::string& name, uint32_t mtu) {
  ifreq request = request_for(name);
  request.ifr_mtu = static_cast<int>(mtu);
  return ioctl(socket, SIOCSIFMTU, &request) == 0;
}

bool set_interface_queue(int socket, const std::string& name, uint32_t frames) {
  ifreq request = request_for(name);
  request.ifr_qlen = static_cast<int>(frames);
  return ioctl(socket, SIOCSIFTXQLEN, &request) == 0;
}

bool set_interface_up(int socket, const std::string& name) {
  ifreq request = request_for(name);
  if (ioctl(socket, SIOCGIFFLAGS, &request) != 0) return false;
  request.ifr_flags = static_cast<short>(request.ifr_flags | IFF_UP);
  return ioctl(socket, SIOCSIFFLAGS, &request) == 0;
}

bool interface_up(int socket, const std::string& name, bool* up) {
  ifreq request = request_for(name);
  if (ioctl(socket, SIOCGIFFLAGS, &request) != 0) return false;
  *up = (request.ifr_flags & IFF_UP) != 0;
  return true;
}

void fail_port(Status* status, std::string* detail, StatusCode code, const char* field,
               const std::string& what, int system_error) {
  *status = Status::fail(code, field);
  if (detail == nullptr) return;
  *detail = what;
  if (system_error != 0) *detail += std::string(": ") + std::strerror(system_error);
}

}  // namespace vrouter
