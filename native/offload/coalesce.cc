#include "offload/coalesce.h"

#include "base/bytes.h"
#include "base/checksum.h"
#include "offload/segment.h"
#include "wire/ip.h"
#include "wire/ipv4.h"
#include "wire/ipv6.h"
#include "wire/tcp.h"

namespace vrouter {

namespace {

constexpr uint32_t kL3 = 14;  // frames with tags are left alone
constexpr uint32_t kTcpHeader = 20;
constexpr uint8_t kAck = 0x10;
constexpr uint8_t kPsh = 0x08;
constexpr uint16_t kDontFragment = 0x4000;

// A TCP segment as far as merging it needs to be known. l4 == 0: it is no TCP segment, or one whose
// ports are not where they usually are.
struct Segment {
  uint32_t l4 = 0;
  uint32_t payload_at = 0;
  uint32_t payload = 0;
  bool v4 = false;
  bool mergeable = false;  // nothing but data and an acknowledgement, to the end of the frame
  bool hidden = false;     // l4 == 0, and it may be of any connection
};

struct Run {
  Packet* head = nullptr;  // nullptr: free
  Segment first;
  uint32_t segment = 0;   // bytes of each full segment
  uint32_t payload = 0;   // bytes so far
  bool verified = false;  // head's own checksum
  bool grown = false;
  bool ended = false;  // no more may follow: a short segment, or PSH
};

// What the frame leaves undone is about its TCP header at `l4`, or nothing is. Ports and parse see
// to it; here it is what "verified" and every division rest on.
bool fits(const Offload& offload, uint32_t l4, bool v4) {
  if (!offload.checksum) return offload.segmentation == Segmentation::None;
  const bool right_kind =
      offload.segmentation == Segmentation::None ||
      (offload.segment != 0 &&
       offload.segmentation == (v4 ? Segmentation::TcpV4 : Segmentation::TcpV6));
  return right_kind && offload.transport == l4 && offload.field == tcp::kChecksumAt &&
         offload.outer_transport == 0;
}

// Protocols that are certainly not TCP with something in front of it.
bool other_protocol(uint8_t next) {
  return next == ip::kUdp || next == ip::kIcmp || next == ip::kIcmpv6;
}

Segment look(const Packet& packet) {
  Segment s;
  if (packet.length < kL3 + 40) return s;
  const uint8_t* frame = packet.data();
  const uint16_t type = load_be16(frame + 12);
  const uint8_t* l3 = frame + kL3;
  uint32_t end = 0;
  bool whole = true;
  if (type == 0x0800) {
    if (ipv4::protocol(l3) != ip::kTcp) return s;
    s.hidden = l3[0] != 0x45 || ipv4::is_fragment(l3);
    if (s.hidden) return s;
    s.l4 = kL3 + 20;
    s.v4 = true;
    end = kL3 + ipv4::total_length(l3);
    whole = ipv4::checksum_ok(l3);
  } else if (type == 0x86dd) {
    s.hidden = l3[0] >> 4 != 6 || (l3[6] != ip::kTcp && !other_protocol(l3[6]));
    if (s.hidden || l3[6] != ip::kTcp || packet.length < kL3 + 40 + kTcpHeader) return s;
    s.l4 = kL3 + 40;
    end = kL3 + 40 + load_be16(l3 + 4);
  } else {
    return s;
  }
  if (!whole || end != packet.length || end < s.l4 + kTcpHeader) return s;
  const uint8_t* tcp = frame + s.l4;
  const uint32_t header = tcp::header_length(tcp);
  if (header < kTcpHeader || s.l4 + header > end) return s;
  s.payload_at = s.l4 + header;
  s.payload = end - s.payload_at;
  s.mergeable = s.payload != 0 && (tcp::flags(tcp) & ~kPsh) == kAck &&
                fits(packet.offload, packet.offset + s.l4, s.v4);
  return s;
}

bool same_connection(const Packet& a, const Segment& of_a, const Packet& b, const Segment& of_b) {
  if (of_a.l4 != of_b.l4 || of_a.v4 != of_b.v4) return false;
  const uint8_t* p = a.data();
  const uint8_t* q = b.data();
  const uint32_t addresses = of_a.v4 ? kL3 + 12 : kL3 + 8;
  return std::memcmp(p + addresses, q + addresses, of_a.l4 + 4 - addresses) == 0;
}

// All headers agree but for what counts on from segment to segment. `number`: of segments in the
// run.
bool continues(const Run& run, const Packet& packet, const Segment& s) {
  const uint8_t* a = run.head->data();
  const uint8_t* b = packet.data();
  if (s.payload_at != run.first.payload_at || std::memcmp(a, b, kL3) != 0) return false;
  if (s.v4) {
    const uint16_t fragment = load_be16(a + kL3 + 6);
    const uint32_t number = (run.payload + run.segment - 1) / run.segment;
    if (a[kL3 + 1] != b[kL3 + 1] || a[kL3 + 8] != b[kL3 + 8] ||
        fragment != load_be16(b + kL3 + 6)) {
      return false;
    }
    const uint16_t id = static_cast<uint16_t>(load_be16(a + kL3 + 4) + number);
    if ((fragment & kDontFragment) == 0 && load_be16(b + kL3 + 4) != id) return false;
  } else if (load_be32(a + kL3) != load_be32(b + kL3) || a[kL3 + 7] != b[kL3 + 7]) {
    return false;  // traffic class, flow label; hop limit
  }
  const uint8_t* p = a + s.l4;
  const uint8_t* q = b + s.l4;
  return tcp::sequence(q) == tcp::sequence(p) + run.payload && tcp::ack(p) == tcp::ack(q) &&
         p[12] == q[12] && load_be16(p + 14) == load_be16(q + 14) &&  // header length; window
         std::memcmp(p + 18, q + 18, s.payload_at - s.l4 - 18) == 0;  // urgent pointer, options
}

uint32_t pseudo(const Packet& packet, const Segment& s, uint32_t length) {
  const uint8_t* l3 = packet.data() + kL3;
  return s.v4 ? pseudo_sum_v4(ipv4::source(l3), ipv4::destination(l3), ip::kTcp, length)
              : pseudo_sum_v6(ipv6::source(l3), ipv6::destination(l3), ip::kTcp, length);
}

bool verified(const Packet& packet, const Segment& s) {
  if (packet.offload.checksum) return true;
  const uint32_t length = packet.length - s.l4;
  const uint32_t sum = checksum_add(pseudo(packet, s, length), packet.data() + s.l4, length);
  return checksum_fold(sum) == 0xffff;
}

bool is_super(const Packet& packet) { return packet.offload.segmentation != Segmentation::None; }

uint32_t full_segment(const Packet& packet, const Segment& s) {
  return is_super(packet) ? packet.offload.segment : s.payload;
}

// Whether nothing may follow behind this one in a run of `segment` bytes each.
bool ends_run(const Packet& packet, const Segment& s, uint32_t segment) {
  return s.payload % segment != 0 || (packet.data()[s.l4 + 13] & kPsh) != 0;
}

void open_run(Run& run, Packet* packet, const Segment& s) {
  const uint32_t segment = full_segment(*packet, s);
  run = Run{packet, s, segment, s.payload, false, false, ends_run(*packet, s, segment)};
}

bool merge(Run& run, Packet& packet, const Segment& s) {
  Packet& head = *run.head;
  if (run.ended || s.payload > UINT16_MAX - (head.length - kL3) || head.tailroom() < s.payload ||
      (is_super(packet) ? packet.offload.segment != run.segment : s.payload > run.segment) ||
      (run.payload + s.payload + run.segment - 1) / run.segment > kMaxSegments ||
      !continues(run, packet, s)) {
    return false;
  }
  if (!run.verified && !verified(head, run.first)) return false;
  run.verified = true;
  if (!verified(packet, s)) return false;
  std::memcpy(head.data() + head.length, packet.data() + s.payload_at, s.payload);
  head.append(s.payload);
  head.data()[s.l4 + 13] |= packet.data()[s.l4 + 13] & kPsh;
  head.meta.merged = static_cast<uint16_t>(head.meta.merged + 1 + packet.meta.merged);
  run.payload += s.payload;
  run.grown = true;
  run.ended = ends_run(packet, s, run.segment);
  return true;
}

// Makes a super-packet of what has grown.
void close_run(Run& run) {
  if (run.head == nullptr) return;
  if (run.grown) {
    Packet& head = *run.head;
    uint8_t* l3 = head.data() + kL3;
    const uint32_t length = head.length - kL3;
    if (run.first.v4) {
      ipv4::set_total_length(l3, static_cast<uint16_t>(length));
      ipv4::write_checksum(l3);
    } else {
      store_be16(l3 + 4, static_cast<uint16_t>(length - 40));
    }
    const uint32_t sum = pseudo(head, run.first, head.length - run.first.l4);
    store_be16(head.data() + run.first.l4 + tcp::kChecksumAt, checksum_fold(sum));
    head.meta.l3_length = static_cast<uint16_t>(length);
    Offload& offload = head.offload;
    offload = Offload{};
    offload.segmentation = run.first.v4 ? Segmentation::TcpV4 : Segmentation::TcpV6;
    offload.checksum = true;
    offload.segment = static_cast<uint16_t>(run.segment);
    offload.field = tcp::kChecksumAt;
    offload.transport = head.offset + run.first.l4;
  }
  run.head = nullptr;
}

}  // namespace

uint32_t coalesce(PacketPool& pool, Packet** packets, uint32_t count) {
  Run runs[kOpenRuns];
  uint32_t oldest = 0;
  uint32_t kept = 0;
  for (uint32_t i = 0; i < count; ++i) {
    Packet* packet = packets[i];
    const Segment s = look(*packet);
    Run* run = nullptr;
    if (s.hidden) {
      for (Run& open : runs) close_run(open);
    }
    if (s.l4 != 0) {
      for (Run& open : runs) {
        if (open.head == nullptr || !same_connection(*open.head, open.first, *packet, s)) continue;
        run = &open;
        break;
      }
      if (run != nullptr && s.mergeable && merge(*run, *packet, s)) {
        pool.free(packet);
        continue;
      }
    }
    packets[kept++] = packet;
    if (run != nullptr) close_run(*run);
    if (!s.mergeable) continue;
    if (run == nullptr) {
      run = &runs[oldest];
      oldest = (oldest + 1) % kOpenRuns;
      close_run(*run);
    }
    open_run(*run, packet, s);
  }
  for (Run& run : runs) close_run(run);
  return kept;
}

}  // namespace vrouter
