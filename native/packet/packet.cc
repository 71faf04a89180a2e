// PacketPool: one slab of equal buffers, each on its own cache lines, and behind it, in the same huge
// pages where there are any, the packets and a stack of the free ones: a burst's are in as many
// pages of 4 KiB as it has packets, more than a core remembers.
//
// Invariant: a packet is on the free stack exactly if its `base` is null; so freeing twice, or
// freeing what is not ours, stops the program instead of handing one buffer to two owners.
#include "packet/packet.h"

#include <cstdlib>
#include <new>
#include <type_traits>

#if defined(__SANITIZE_ADDRESS__)
#define VROUTER_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define VROUTER_ASAN 1
#endif
#endif

#ifdef VROUTER_ASAN
#include <sanitizer/asan_interface.h>
#endif

namespace vrouter {

namespace {

constexpr size_t kCacheLine = 64;
static_assert(alignof(Packet) <= kCacheLine && std::is_trivially_destructible_v<Packet> &&
              sizeof(Packet) % alignof(Packet*) == 0);
// Copied, not assigned: a few wide stores instead of one for each field.
constinit const PacketMeta kFresh{};  // zero, ids invalid

// An odd number of cache lines: the headers of neighbouring buffers fall into different sets of the
// cache, whatever the size.
size_t stride_of(uint32_t buffer_bytes) {
  const size_t bytes = size_t{kHeadroom} + buffer_bytes + PacketPool::kSpill;
  return ((bytes + kCacheLine - 1) / kCacheLine | 1) * kCacheLine;
}

// Buffers nobody owns are not to be touched; only the address sanitizer can enforce it.
void forbid([[maybe_unused]] uint8_t* p, [[maybe_unused]] size_t n) {
#ifdef VROUTER_ASAN
  __asan_poison_memory_region(p, n);
#endif
}
void permit([[maybe_unused]] uint8_t* p, [[maybe_unused]] size_t n) {
#ifdef VROUTER_ASAN
  __asan_unpoison_memory_region(p, n);
#endif
}

}  // namespace

PacketPool::PacketPool(uint32_t packets, uint32_t buffer_bytes) : buffer_bytes_(buffer_bytes) {
  if (packets == 0 || buffer_bytes > UINT32_MAX / 2) return;
  const size_t stride = stride_of(buffer_bytes);
  const size_t each = stride + sizeof(Packet) + sizeof(Packet*);
  if (packets > SIZE_MAX / each || !memory_.map(packets * each)) return;
  slab_ = static_cast<uint8_t*>(memory_.data());
  uint8_t* behind = slab_ + packets * stride;  // whole lines
  packets_ = reinterpret_cast<Packet*>(behind);
  for (uint32_t i = 0; i < packets; ++i) new (packets_ + i) Packet();
  free_ = reinterpret_cast<Packet**>(packets_ + packets);
  stride_ = stride;
  total_ = packets;
  free_count_ = packets;
  // Low packets on top, so a lightly loaded pool stays in few cache lines.
  for (uint32_t i = 0; i < packets; ++i) free_[packets - 1 - i] = &packets_[i];
  forbid(slab_, packets * stride);
}

PacketPool::~PacketPool() {
  if (slab_ != nullptr) permit(slab_, total_ * stride_);
}

inline Packet* PacketPool::prepare(Packet* packet) {
  packet->base = slab_ + static_cast<size_t>(packet - packets_) * stride_;
  packet->capacity = kHeadroom + buffer_bytes_;
  packet->offset = kHeadroom;
  packet->length = 0;
  packet->offload = Offload{};
  std::memcpy(&packet->meta, &kFresh, sizeof kFresh);
  permit(packet->base, packet->capacity + kSpill);
  return packet;
}

Packet* PacketPool::allocate() {
  return free_count_ != 0 ? prepare(free_[--free_count_]) : nullptr;
}

uint32_t PacketPool::allocate(Packet** out, uint32_t count) {
  if (count > free_count_) count = free_count_;
  for (uint32_t i = 0; i < count; ++i) out[i] = prepare(free_[--free_count_]);
  return count;
}

inline void PacketPool::take_back(Packet* packet) {
  const bool ours = packet >= packets_ && packet < packets_ + total_;
  if (!ours || packet->base == nullptr) std::abort();
  forbid(packet->base, packet->capacity + kSpill);
  packet->base = nullptr;
  free_[free_count_++] = packet;
}

void PacketPool::free(Packet* packet) {
  if (packet != nullptr) take_back(packet);
}

void PacketPool::free(Packet* const* packets, uint32_t count) {
  for (uint32_t i = 0; i < count; ++i) take_back(packets[i]);
}

Packet* PacketPool::copy(const Packet& from) {
  // `from` may be of another pool with other buffers: keep its headroom if it fits, else the usual.
  const uint32_t capacity = kHeadroom + buffer_bytes_;
  uint32_t offset = from.offset;
  if (offset > capacity || from.length > capacity - offset) offset = kHeadroom;
  if (from.length > capacity - offset) return nullptr;
  Packet* packet = allocate();
  if (packet == nullptr) return nullptr;
  packet->offset = offset;
  packet->length = from.length;
  std::memcpy(packet->data(), from.data(), from.length);
  packet->meta = from.meta;
  packet->offload = from.offload;
  const uint32_t moved = offset - from.offset;  // modulo 2^32: offsets may move either way
  if (packet->offload.transport != 0) packet->offload.transport += moved;
  if (packet->offload.outer_transport != 0) packet->offload.outer_transport += moved;
  if (packet->offload.inner_network != 0) packet->offload.inner_network += moved;
  return packet;
}

}  // namespace vrouter
