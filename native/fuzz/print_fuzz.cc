// Any bytes as a frame and as a packet: the printer runs every check and walker of wire/.
#include <cstddef>
#include <cstdint>

#include "wire/print.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  vrouter::print_frame(data, size);
  vrouter::print_packet(data, size);
  return 0;
}
