#include "offload/checksum.h"

#include "base/bytes.h"
#include "base/checksum.h"

namespace vrouter {

bool complete_checksum(Packet& packet) {
  Offload& offload = packet.offload;
  if (!offload.checksum) return true;
  if (offload.segmentation != Segmentation::None || offload.transport < packet.offset) return false;
  const uint32_t start = offload.transport - packet.offset;
  if (start >= packet.length || packet.length - start < uint32_t{offload.field} + 2) return false;
  uint8_t* from = packet.data() + start;
  const uint16_t sum = checksum(from, packet.length - start);
  store_be16(from + offload.field, udp_checksum_nonzero(sum));  // right for TCP too: both are zero
  offload = Offload{};
  return true;
}

}  // namespace vrouter
