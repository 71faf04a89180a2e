// A worker's frames on their way out: gathered a port, then flushed: merged, seen by captures,
// finished or cut for what the port takes, sent, and what it does not take counted back.
#include "offload/checksum.h"
#include "offload/coalesce.h"
#include "offload/coalesce_datagrams.h"
#include "offload/segment.h"
#include "wire/ip.h"
#include "worker/worker.h"

namespace vrouter {
namespace {

constexpr uint32_t kOuterIp = 14;  // of frames that we encapsulated: no tag in front

// Whether a port can be told of this super-packet.
bool takes_super(uint32_t features, const Packet& packet) {
  const Offload& offload = packet.offload;
  const uint32_t kind = offload.segmentation == Segmentation::Udp     ? kTakesUdp
                        : offload.segmentation == Segmentation::TcpV4 ? kTakesTcp4
                                                                      : kTakesTcp6;
  if ((features & kind) == 0) return false;
  if (offload.outer_transport == 0) return true;
  const uint8_t* outer = packet.data() + kOuterIp;
  const uint8_t protocol = outer[0] >> 4 == 4 ? outer[9] : outer[6];
  return (features & kTakesTunnel) != 0 && protocol == ip::kUdp &&
         packet.length - kOuterIp <= UINT16_MAX;
}

// Whether a frame can go to a port with these features, after its checksum has been finished where
// the port does not take it undone.
bool finish_for(uint32_t features, Packet& packet) {
  const Offload& offload = packet.offload;
  if (!offload.checksum) return true;
  if (offload.segmentation == Segmentation::None) {
    return (features & kTakesChecksum) != 0 || complete_checksum(packet);
  }
  return takes_super(features, packet);
}

}  // namespace

inline void Worker::queue(Link& to, Packet* packet) {
  if (!to.dirty) {
    to.dirty = true;
    dirty_.push_back(packet->meta.out_port.value);
  }
  to.packets[to.count++] = packet;
  if (to.count == kQueue) flush(to);
}

void Worker::transmit(Packet* packet) {
  Link* to = link(packet->meta.out_port);
  if (to == nullptr) {
    unsent(packet, DropReason::NowhereToGo);
    return;
  }
  queue(*to, packet);
}

// Mostly to one port: it is looked up where it changes.
void Worker::transmit(Packet* const* packets, uint32_t count) {
  for (uint32_t i = 0; i < count;) {
    const PortId port = packets[i]->meta.out_port;
    Link* to = link(port);
    for (; i < count && packets[i]->meta.out_port == port; ++i) {
      if (to == nullptr) {
        unsent(packets[i], DropReason::NowhereToGo);
      } else {
        queue(*to, packets[i]);
      }
    }
  }
}

void Worker::flush_dirty() {
  for (const uint32_t id : dirty_) {
    Link& to = *links_[id];
    flush(to);
    to.dirty = false;
  }
  dirty_.clear();
}

// Out of the port, as late as can be: what it takes whole goes whole, the rest is cut or finished.
void Worker::flush(Link& to) {
  const uint32_t features = to.port->plain ? 0 : to.port->features();
  // Towards a tenant's stack segments, towards the fabric datagrams: there, segments have come whole.
  if (to.port->coalesces && to.count > 1) {
    if ((features & (kTakesTcp4 | kTakesTunnel)) == kTakesTcp4) {
      to.count = coalesce(pool, to.packets, to.count);
    } else if ((features & kTakesUdp) != 0 && (features & kTakesTunnel) != 0) {
      to.count = coalesce_datagrams(pool, to.packets, to.count);
    }
  }
  if (house.captures.any()) {
    const InRooms in_rooms(context);
    for (uint32_t i = 0; i < to.count; ++i) {
      house.captures.see(*to.packets[i], to.packets[i]->meta.out_vif, Way::Out, context.now_ns);
    }
  }
  uint32_t at = 0;
  while (at < to.count) {
    uint32_t end = at;
    while (end < to.count && finish_for(features, *to.packets[end])) ++end;
    send(to, to.packets + at, end - at);
    at = end;
    if (at < to.count) cut(to, to.packets[at++]);
  }
  to.count = 0;
}

// A super-packet, in segments; counted as one when it came, and on the vif as many from now on.
void Worker::cut(Link& to, Packet* super) {
  Segmenter segments(*super);
  if (segments.count() == 0) return unsent(super, DropReason::InvalidPacket);
  VifCounters* out = counters_of(super->meta.out_vif);
  if (out != nullptr) {
    --out->tx_packets;
    out->tx_bytes -= super->length;
  }
  while (!segments.done()) {
    Packet* frames[kBurst];
    const uint32_t count = segments.next(pool, frames, kBurst);
    for (uint32_t i = 0; i < count && out != nullptr; ++i) {
      ++out->tx_packets;
      out->tx_bytes += frames[i]->length;
    }
    if (count == 0) {
      ++counters.drops[static_cast<uint32_t>(DropReason::HeadAllocFail)];
      break;
    }
    if (send(to, frames, count) < count) break;  // the rest of it would find no room either
  }
  pool.free(super);
}

// Frames as they are; what does not go is counted and freed. Returns how many went.
uint32_t Worker::send(Link& to, Packet** packets, uint32_t count) {
  uint32_t at = 0;
  uint32_t went = 0;
  while (at < count) {
    // Only the port is locked, and nothing else is taken meanwhile.
    if (!alone()) to.slot->lock.lock();
    const uint64_t errors = to.port->tx_errors;
    const uint32_t sent = to.port->tx_burst(packets + at, count - at);
    const bool at_fault = to.port->tx_errors != errors;
    if (!alone()) to.slot->lock.unlock();
    pool.free(packets + at, sent);
    at += sent;
    went += sent;
    if (at == count) break;
    // A frame at fault goes alone; a full port takes none of the rest.
    const uint32_t lost = at_fault ? at + 1 : count;
    for (; at < lost; ++at) unsent(packets[at], DropReason::IfTxDiscard);
  }
  return went;
}

// Moves a packet that finish() counted as gone into the drops; see engine.h.
void Worker::unsent(Packet* packet, DropReason reason) {
  const PacketMeta& meta = packet->meta;
  uint64_t* counted = meta.verdict == Verdict::Reply  ? &counters.replied
                      : meta.verdict == Verdict::Punt ? &counters.punted
                      : !meta.generated && !meta.copy ? &counters.forwarded
                                                      : nullptr;  // made here: stays made
  const uint64_t packets = uint64_t{1} + meta.merged;
  {
    const InRooms in_rooms(context);
    house.drop_log.add(*packet, reason, Room::Port, context.now_ns);
  }
  if (counted != nullptr) {
    *counted -= packets;
    counters.dropped += packets;
  }
  counters.drops[static_cast<uint32_t>(reason)] += packets;
  if (VifCounters* out = counters_of(meta.out_vif)) {
    out->tx_packets -= packets;
    out->tx_bytes -= packet->length;
    out->tx_errors += packets;
    out->drops += packets;
  }
  pool.free(packet);
}

}  // namespace vrouter
