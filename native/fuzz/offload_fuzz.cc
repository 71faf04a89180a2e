// Segmenter and coalescer on bytes that mean nothing or nearly something: input is a list of
// frames, each with what it claims to leave undone. Nothing may be read or written outside of a
// buffer (ASan watches the pool), and no buffer may be lost.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "offload/checksum.h"
#include "offload/coalesce.h"
#include "offload/coalesce_datagrams.h"
#include "offload/segment.h"

namespace {

using namespace vrouter;

constexpr uint32_t kFrames = 16;
constexpr uint32_t kHeader = 12;  // bytes of input in front of each frame

uint32_t u16(const uint8_t* p) { return static_cast<uint32_t>(p[0] | p[1] << 8); }

void claim(Packet& packet, const uint8_t* p) {
  Offload& o = packet.offload;
  if ((p[2] & 3) == 0) return;
  o.segmentation = static_cast<Segmentation>(p[2] >> 2 & 3);
  o.checksum = true;
  o.segment = static_cast<uint16_t>(u16(p + 3));
  o.field = static_cast<uint16_t>(p[5] & 31);
  o.transport = packet.offset + u16(p + 6) % 2048;
  if ((p[2] & 16) == 0) return;
  o.outer_transport = packet.offset + u16(p + 8) % 256;
  if ((p[2] & 32) == 0) o.inner_network = packet.offset + u16(p + 10) % 256;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static PacketPool pool(kFrames + kMaxSegments + 8, 4096);
  Packet* packets[kFrames];
  uint32_t count = 0;
  while (count < kFrames && size > kHeader) {
    const uint32_t wanted = u16(data) % 2048;
    const uint8_t* header = data;
    data += kHeader;
    size -= kHeader;
    const uint32_t length = wanted < size ? wanted : static_cast<uint32_t>(size);
    Packet* packet = pool.allocate();
    packet->append(length);
    std::memcpy(packet->data(), data, length);
    claim(*packet, header);
    data += length;
    size -= length;
    packets[count++] = packet;
  }
  count = coalesce(pool, packets, count);
  count = coalesce_datagrams(pool, packets, count);
  for (uint32_t i = 0; i < count; ++i) {
    Segmenter segmenter(*packets[i]);
    while (!segmenter.done()) {
      Packet* pieces[8];
      const uint32_t made = segmenter.next(pool, pieces, 8);
      if (made == 0) std::abort();
      for (uint32_t k = 0; k < made; ++k) pool.free(pieces[k]);
    }
    complete_checksum(*packets[i]);
    pool.free(packets[i]);
  }
  if (pool.available() != pool.total()) std::abort();
  return 0;
}
