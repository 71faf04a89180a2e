// MSS clamp: a SYN must not promise segments that do not fit the tunnel (RFC 6691 §5.1 arithmetic:
// MTU less fixed headers, options not counted).
#include "path/rooms.h"
#include "wire/ipv4.h"
#include "wire/ipv6.h"
#include "wire/tcp.h"

namespace vrouter {

void clamp_mss(Packet& packet, uint32_t mtu) {
  const PacketMeta& meta = packet.meta;
  if ((meta.tcp_flags & tcp::kSyn) == 0 || meta.icmp_error) return;
  const uint32_t headers =
      tcp::kHeaderLength + (meta.family == Family::V4 ? ipv4::kHeaderLength : ipv6::kHeaderLength);
  if (mtu <= headers) return;
  const uint32_t most = mtu - headers;
  uint8_t* p = packet.data() + meta.l4;
  const uint16_t partial = load_be16(p + tcp::kChecksumAt);
  tcp::clamp_mss(p, static_cast<uint16_t>(most > 65535 ? 65535 : most));
  // A checksum left undone does not have the options in it yet.
  if (packet.offload.checksum) store_be16(p + tcp::kChecksumAt, partial);
}

}  // namespace vrouter
