// What cutting and merging cost: bytes a second, data in the cache.
#include <benchmark/benchmark.h>

#include <cstring>

#include "base/bytes.h"
#include "base/checksum.h"
#include "offload/coalesce.h"
#include "offload/segment.h"

namespace vrouter {
namespace {

constexpr uint32_t kSegment = 1448;
constexpr uint32_t kSegments = 44;

// Ethernet, IPv4, TCP and `payload` bytes.
Packet* tcp_packet(PacketPool& pool, uint32_t payload, uint32_t sequence) {
  Packet* packet = pool.allocate();
  packet->append(54 + payload);
  uint8_t* p = packet->data();
  std::memset(p, 0x5a, packet->length);
  store_be16(p + 12, 0x0800);
  uint8_t* l3 = p + 14;
  std::memset(l3, 0, 40);
  l3[0] = 0x45;
  store_be16(l3 + 2, static_cast<uint16_t>(40 + payload));
  l3[6] = 0x40;
  l3[8] = 64;
  l3[9] = 6;
  store_be16(l3 + 10, checksum(l3, 20));
  uint8_t* tcp = l3 + 20;
  store_be32(tcp + 4, sequence);
  tcp[12] = 0x50;
  tcp[13] = 0x10;
  const uint32_t sum = pseudo_sum_v4(l3 + 12, l3 + 16, 6, 20 + payload);
  store_be16(tcp + 16, checksum_finish(checksum_add(sum, tcp, 20 + payload)));
  return packet;
}

void segment(benchmark::State& state) {
  PacketPool pool(128, 66048);
  Packet* super = tcp_packet(pool, kSegment * kSegments, 1);
  super->offload = {Segmentation::TcpV4, true, false, kSegment, 16, super->offset + 34, 0, 0};
  for (auto _ : state) {
    Segmenter segmenter(*super);
    Packet* out[kSegments];
    const uint32_t made = segmenter.next(pool, out, kSegments);
    for (uint32_t i = 0; i < made; ++i) pool.free(out[i]);
  }
  state.SetBytesProcessed(state.iterations() * kSegment * kSegments);
  pool.free(super);
}
BENCHMARK(segment)->Name("a super-packet cut into 44 segments");

void merge(benchmark::State& state) {
  PacketPool pool(128, 66048);
  Packet* frames[kSegments];
  for (uint32_t i = 0; i < kSegments; ++i) frames[i] = tcp_packet(pool, kSegment, 1 + i * kSegment);
  for (auto _ : state) {
    Packet* packets[kSegments];
    for (uint32_t i = 0; i < kSegments; ++i) packets[i] = pool.copy(*frames[i]);
    const uint32_t kept = coalesce(pool, packets, kSegments);
    for (uint32_t i = 0; i < kept; ++i) pool.free(packets[i]);
  }
  state.SetBytesProcessed(state.iterations() * kSegment * kSegments);
}
BENCHMARK(merge)->Name("44 segments copied and merged");

}  // namespace
}  // namespace vrouter
BENCHMARK_MAIN();
