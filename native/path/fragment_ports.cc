// Ports of fragments: a first fragment leaves its ports behind, later ones borrow them, and those
// that come before their first wait, bounded (path/fragments.h). Both families.
#include "path/rooms.h"
#include "wire/ipv4.h"
#include "wire/ipv6.h"

namespace vrouter {
namespace {

FragmentKey key_of(const Packet& packet) {
  const PacketMeta& meta = packet.meta;
  const uint8_t* l3 = packet.data() + meta.l3;
  FragmentKey key{};
  std::memcpy(key.source, meta.key.source, 16);
  std::memcpy(key.destination, meta.key.destination, 16);
  if (meta.family == Family::V4) {
    key.identification = ipv4::identification(l3);
  } else {
    ipv6::Upper upper;
    ipv6::walk(l3, meta.l3_length, upper);
    key.identification = upper.identification;
  }
  key.scope = meta.key.scope;
  key.protocol = meta.protocol;
  key.family = meta.family;
  return key;
}

}  // namespace

void borrow_ports(Context& context, Packet& packet) {
  PacketMeta& meta = packet.meta;
  const FragmentKey key = key_of(packet);
  if (meta.first_fragment) {
    if (context.trace != nullptr) return;
    context.fragments.learn(key, meta.key.source_port, meta.key.destination_port, context.now_ns);
    while (context.released.count < kBurst) {
      Packet* waiting = context.fragments.take_held(key);
      if (waiting == nullptr) break;
      waiting->meta.verdict = Verdict::Continue;
      waiting->meta.key.source_port = meta.key.source_port;
      waiting->meta.key.destination_port = meta.key.destination_port;
      context.released.packets[context.released.count++] = waiting;
    }
    return;
  }
  if (context.fragments.find(key, context.now_ns, &meta.key.source_port,
                             &meta.key.destination_port)) {
    return;
  }
  if (context.trace != nullptr) {
    context.trace->note("fragments", "the first fragment has not been seen; would wait for it");
    return packet.drop(DropReason::NoFragEntry);
  }
  if (!context.fragments.hold(key, &packet, context.now_ns)) {
    return packet.drop(DropReason::FragmentQueueFail);
  }
  meta.verdict = Verdict::Hold;
}

void match_fragments(Context& context, Burst& burst) {
  for (uint32_t i = 0; i < burst.count; ++i) {
    Packet& packet = *burst.packets[i];
    if (packet.alive() && packet.meta.wants_flow && packet.meta.fragment) {
      borrow_ports(context, packet);
    }
  }
}

}  // namespace vrouter
