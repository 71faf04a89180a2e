#include "offload/coalesce_datagrams.h"

#include <cstring>

#include "base/bytes.h"
#include "base/checksum.h"
#include "offload/coalesce.h"
#include "wire/ip.h"
#include "wire/ipv4.h"
#include "wire/ipv6.h"
#include "wire/udp.h"

namespace vrouter {

namespace {

constexpr uint32_t kL3 = 14;  // frames with tags are left alone
constexpr uint32_t kHeader4 = 20;
constexpr uint32_t kHeader6 = 40;
constexpr uint16_t kDontFragment = 0x4000;
constexpr uint16_t kMoreOrOffset = 0x3fff;

// Where things are, from data(). outer_l4 == 0: it is in no UDP tunnel that can be seen.
struct Datagram {
  uint32_t outer_l4 = 0;
  uint32_t inner_l3 = 0;
  uint32_t l4 = 0;
  uint32_t payload = 0;
  bool mergeable = false;

  bool outer4() const { return outer_l4 == kL3 + kHeader4; }
  bool inner4() const { return l4 == inner_l3 + kHeader4; }
};

struct Run {
  Packet* head = nullptr;  // nullptr: free
  Datagram first;
  uint32_t datagrams = 0;
  bool ended = false;  // a shorter one was the last
};

uint32_t outer_transport(const uint8_t* frame, uint32_t length) {
  const uint16_t type = load_be16(frame + 12);
  const uint8_t* l3 = frame + kL3;
  if (type == 0x0800 && length > kL3 + kHeader4 + udp::kHeaderLength && l3[0] == 0x45 &&
      ipv4::protocol(l3) == ip::kUdp && !ipv4::is_fragment(l3)) {
    return kL3 + kHeader4;
  }
  if (type == 0x86dd && length > kL3 + kHeader6 + udp::kHeaderLength && l3[0] >> 4 == 6 &&
      l3[6] == ip::kUdp) {
    return kL3 + kHeader6;
  }
  return 0;
}

// Whether the IP header at l3, `bytes` from it to the end of the frame, is plain and of a whole UDP datagram.
bool whole_datagram(const uint8_t* l3, uint32_t header, uint32_t bytes) {
  if (header == kHeader4) {
    return l3[0] == 0x45 && ipv4::protocol(l3) == ip::kUdp && ipv4::total_length(l3) == bytes &&
           load_be16(l3 + 6) == kDontFragment && ipv4::checksum_ok(l3);
  }
  return header == kHeader6 && l3[0] >> 4 == 6 && l3[6] == ip::kUdp &&
         load_be16(l3 + 4) == bytes - kHeader6;
}

Datagram look(const Packet& packet) {
  Datagram d;
  const Offload& offload = packet.offload;
  const uint8_t* frame = packet.data();
  if (packet.length < kL3 + kHeader4) return d;
  d.outer_l4 = outer_transport(frame, packet.length);
  // Made by push_rewrite(), here the same for all: what says otherwise is left alone.
  if (d.outer_l4 == 0 || !offload.checksum || offload.segmentation != Segmentation::None ||
      offload.field != udp::kChecksumAt || offload.outer_transport != packet.offset + d.outer_l4 ||
      offload.inner_network < packet.offset || offload.transport < offload.inner_network) {
    return d;
  }
  d.inner_l3 = offload.inner_network - packet.offset;
  d.l4 = offload.transport - packet.offset;
  if (d.inner_l3 < d.outer_l4 + udp::kHeaderLength || d.l4 + udp::kHeaderLength >= packet.length) {
    return d;
  }
  d.payload = packet.length - d.l4 - udp::kHeaderLength;
  d.mergeable = udp::checksum(frame + d.outer_l4) == 0 &&
                udp::length(frame + d.l4) == packet.length - d.l4 &&
                whole_datagram(frame + d.inner_l3, d.l4 - d.inner_l3, packet.length - d.inner_l3);
  return d;
}

// Addresses and ports of the tunnel: of our own encapsulation, one connection's are always the same.
bool same_outer_flow(const Packet& a, const Datagram& of_a, const Packet& b, const Datagram& of_b) {
  if (of_a.outer_l4 != of_b.outer_l4) return false;
  const uint32_t addresses = kL3 + (of_a.outer4() ? 12 : 8);
  return std::memcmp(a.data() + addresses, b.data() + addresses, of_a.outer_l4 + 4 - addresses) ==
         0;
}

bool same(const uint8_t* a, const uint8_t* b, uint32_t from, uint32_t to) {
  return std::memcmp(a + from, b + from, to - from) == 0;
}

// All of an IP header but length, identification and checksum.
bool same_ip(const uint8_t* a, const uint8_t* b, uint32_t at, bool v4) {
  return v4 ? same(a, b, at, at + 2) && same(a, b, at + 6, at + 10) &&
                  same(a, b, at + 12, at + kHeader4)
            : same(a, b, at, at + 4) && same(a, b, at + 6, at + kHeader6);
}

bool continues(const Run& run, const Packet& packet, const Datagram& d) {
  const uint8_t* a = run.head->data();
  const uint8_t* b = packet.data();
  return d.inner_l3 == run.first.inner_l3 && d.l4 == run.first.l4 && same(a, b, 0, kL3) &&
         same_ip(a, b, kL3, d.outer4()) && same(a, b, d.outer_l4, d.outer_l4 + 4) &&
         same(a, b, d.outer_l4 + udp::kHeaderLength, d.inner_l3) &&
         same_ip(a, b, d.inner_l3, d.inner4()) && same(a, b, d.l4, d.l4 + 4);
}

bool merge(Run& run, Packet& packet, const Datagram& d) {
  Packet& head = *run.head;
  if (run.ended || run.datagrams == kMaxDatagrams || d.payload > run.first.payload ||
      d.payload > UINT16_MAX - (head.length - kL3) || head.tailroom() < d.payload ||
      !continues(run, packet, d)) {
    return false;
  }
  std::memcpy(head.data() + head.length, packet.data() + d.l4 + udp::kHeaderLength, d.payload);
  head.append(d.payload);
  head.meta.merged = static_cast<uint16_t>(head.meta.merged + 1 + packet.meta.merged);
  ++run.datagrams;
  run.ended = d.payload != run.first.payload;
  return true;
}

void write_ip_length(uint8_t* l3, bool v4, uint32_t bytes) {
  if (v4) {
    ipv4::set_total_length(l3, static_cast<uint16_t>(bytes));
    ipv4::write_checksum(l3);
  } else {
    store_be16(l3 + 4, static_cast<uint16_t>(bytes - kHeader6));
  }
}

// Makes a super-packet of what has grown.
void close_run(Run& run) {
  Packet* const head = run.head;
  run.head = nullptr;
  if (head == nullptr || run.datagrams < 2) return;
  const Datagram& d = run.first;
  uint8_t* frame = head->data();
  uint8_t* inner = frame + d.inner_l3;
  uint8_t* l4 = frame + d.l4;
  const uint32_t datagram = head->length - d.l4;
  write_ip_length(frame + kL3, d.outer4(), head->length - kL3);
  store_be16(frame + d.outer_l4 + udp::kLengthAt, static_cast<uint16_t>(head->length - d.outer_l4));
  write_ip_length(inner, d.inner4(), head->length - d.inner_l3);
  store_be16(l4 + udp::kLengthAt, static_cast<uint16_t>(datagram));
  const uint32_t sum =
      d.inner4() ? pseudo_sum_v4(ipv4::source(inner), ipv4::destination(inner), ip::kUdp, datagram)
                 : pseudo_sum_v6(ipv6::source(inner), ipv6::destination(inner), ip::kUdp, datagram);
  store_be16(l4 + udp::kChecksumAt, checksum_fold(sum));
  head->offload.segmentation = Segmentation::Udp;
  head->offload.segment = static_cast<uint16_t>(d.payload);
}

}  // namespace

uint32_t coalesce_datagrams(PacketPool& pool, Packet** packets, uint32_t count) {
  Run runs[kOpenRuns];
  uint32_t oldest = 0;
  uint32_t kept = 0;
  for (uint32_t i = 0; i < count; ++i) {
    Packet* packet = packets[i];
    const Datagram d = look(*packet);
    Run* run = nullptr;
    for (Run& open : runs) {
      if (open.head == nullptr) continue;
      // What is in no tunnel to be seen may be of any flow.
      if (d.outer_l4 == 0) {
        close_run(open);
      } else if (same_outer_flow(*open.head, open.first, *packet, d)) {
        run = &open;
        break;
      }
    }
    if (run != nullptr && d.mergeable && merge(*run, *packet, d)) {
      pool.free(packet);
      continue;
    }
    packets[kept++] = packet;
    if (run != nullptr) close_run(*run);
    if (!d.mergeable) continue;
    if (run == nullptr) {
      run = &runs[oldest];
      oldest = (oldest + 1) % kOpenRuns;
      close_run(*run);
    }
    *run = Run{packet, d, 1, false};
  }
  for (Run& run : runs) close_run(run);
  return kept;
}

}  // namespace vrouter
