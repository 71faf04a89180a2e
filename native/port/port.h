// Port: where frames enter and leave. Implementations: memory, pcap file, TAP, AF_PACKET, socket; all pass
// one compliance suite (port/port_compliance.h). A port is owned by a worker; opening and closing
// happen on the control side while the worker is held.
//
// Invariants
//  * Nothing blocks and nothing is lost without a number: a frame is handed over, or counted.
//  * A packet that rx_burst hands over has kHeadroom bytes in front (less what a port had to put
//    back there: an AF_PACKET VLAN tag) and cleared metadata.
//  * tx_burst leaves the packets as they were.
#pragma once
#include <cstdint>

#include "offload/segment_size.h"
#include "packet/packet.h"

namespace vrouter {

// What a port takes undone (Packet::offload), as bits. Everything else must be finished before it is
// sent (worker/transmit.h does that).
enum PortFeature : uint32_t {
  kTakesChecksum = 0x1,  // partial transport checksums
  kTakesTcp4 = 0x2,      // super-packets of TCP over IPv4
  kTakesTcp6 = 0x4,
  kTakesUdp = 0x8,      // … of UDP datagrams
  kTakesTunnel = 0x10,  // … that are inside a UDP tunnel
};

// Bytes that one rx_burst moves at most, give or take a frame: super-packets of a burst of 64 would
// go through every cache and leave it cold.
inline constexpr uint32_t kBurstBytes = 192u << 10;

struct RxLosses {
  uint64_t discards = 0;
  uint64_t errors = 0;
};

class Port {
 public:
  virtual ~Port() = default;
  // Takes up to `max` frames into packets of `pool`; returns how many. Frames too large for a
  // buffer, or without a buffer, are counted in rx_discards. Never blocks.
  virtual uint32_t rx_burst(PacketPool& pool, Packet** out, uint32_t max) = 0;
  // Sends frames; copies what it keeps. Returns how many went, from the front; the caller frees
  // all. A short count with tx_errors grown by one: the frame at that place can never go (too long,
  // too short, device gone), those behind it may. Short without: the port is full for now.
  virtual uint32_t tx_burst(Packet* const* packets, uint32_t count) = 0;
  virtual int fd() const { return -1; }            // readable when rx_burst has work; -1: poll it
  virtual const char* kind() const = 0;            // "memory", "tap", "af_packet", …
  virtual uint32_t mtu() const = 0;                // bytes of an Ethernet payload
  virtual uint32_t features() const { return 0; }  // PortFeature
  virtual bool up() const { return true; }      // the device behind it takes frames; control side
  virtual void set_now(uint64_t /*now_ns*/) {}  // the time of this breath, before rx_burst
  // Whether rx_burst in one thread and tx_burst in another may run at the same time; else they take
  // turns. Two threads never receive from one queue at a time, nor send.
  virtual bool apart() const { return false; }
  // Several queues of what comes in, each for one worker; all packets of a connection are in one.
  virtual uint32_t rx_queues() const { return 1; }
  virtual uint32_t rx_burst_of(uint32_t /*queue*/, PacketPool& pool, Packet** out, uint32_t max) {
    return rx_burst(pool, out, max);
  }
  virtual int queue_fd(uint32_t /*queue*/) const { return fd(); }
  virtual RxLosses rx_losses(uint32_t /*queue*/) const { return {rx_discards, rx_errors}; }
  bool plain = false;  // frames leave as they are on a wire, whatever the port would take undone
  bool coalesces =
      true;  // segments of a connection are merged before they are sent, if it takes them
  uint64_t rx_discards = 0;
  uint64_t rx_errors = 0;
  uint64_t tx_errors = 0;

  // Whether the frame is an Ethernet frame whose payload, that of each segment of a super-packet, is
  // within mtu(); up to two VLAN tags count as header.
  bool fits(const Packet& packet) const {
    if (packet.length < 14) return false;
    const uint8_t* frame = packet.data();
    uint32_t header = 14;
    while (header < 22 && packet.length >= header + 4) {
      const uint32_t type = uint32_t{frame[header - 2]} << 8 | frame[header - 1];
      if (type != 0x8100 && type != 0x88a8) break;
      header += 4;
    }
    return wire_length(packet) - header <= mtu();
  }
};

}  // namespace vrouter
