#include "offload/segment.h"

#include <algorithm>

#include "base/bytes.h"
#include "base/checksum.h"
#include "wire/ip.h"
#include "wire/ipv4.h"
#include "wire/ipv6.h"
#include "wire/tcp.h"
#include "wire/udp.h"

namespace vrouter {

namespace {

constexpr uint32_t kEthernet = 14;
constexpr uint32_t kTag = 4;
constexpr uint32_t kMaxTags = 2;
constexpr uint8_t kFin = 0x01;
constexpr uint8_t kPsh = 0x08;
constexpr uint8_t kCwr = 0x80;
constexpr uint32_t kTcpSequenceAt = 4;
constexpr uint32_t kTcpFlagsAt = 13;
constexpr uint32_t kUdpLengthAt = 4;

// Behind Ethernet and its tags; 0: the frame is too short for it.
uint32_t network_offset(const Packet& packet) {
  uint32_t at = kEthernet;
  for (uint32_t tags = 0; tags < kMaxTags && packet.length >= at + kTag; ++tags) {
    const uint16_t type = load_be16(packet.data() + at - 2);
    if (type != 0x8100 && type != 0x88a8) break;
    at += kTag;
  }
  return packet.length > at ? at : 0;
}

// Bytes that an IP header at `at` takes at least; 0: there is none before `end`.
uint32_t ip_header(const Packet& packet, uint32_t at, uint32_t end) {
  if (at >= end) return 0;
  const uint8_t* p = packet.data() + at;
  const uint8_t version = p[0] >> 4;
  const uint32_t length = version == 4 ? (p[0] & 15u) * 4 : version == 6 ? 40 : 0;
  const uint32_t least = version == 4 ? 20 : 40;
  return length >= least && at + length <= end ? length : 0;
}

uint32_t pseudo_sum(const uint8_t* l3, uint8_t protocol, uint32_t length) {
  return l3[0] >> 4 == 4 ? pseudo_sum_v4(ipv4::source(l3), ipv4::destination(l3), protocol, length)
                         : pseudo_sum_v6(ipv6::source(l3), ipv6::destination(l3), protocol, length);
}

// Whether `at` is the IPv4 header in front of a transport header, of all that is left of the frame.
bool is_ipv4_of(const Packet& packet, uint32_t at, uint32_t transport, uint8_t protocol) {
  const uint8_t* p = packet.data() + at;
  return p[0] == (0x40 | (transport - at) / 4) && ipv4::protocol(p) == protocol &&
         ipv4::total_length(p) == packet.length - at && ipv4::checksum_ok(p);
}

bool is_ipv6_of(const Packet& packet, uint32_t at, uint32_t transport, uint8_t protocol) {
  const uint8_t* p = packet.data() + at;
  return p[0] >> 4 == 6 && p[6] == protocol &&
         uint32_t{load_be16(p + 4)} == packet.length - transport;
}

// Where the IP header is whose transport header is at `transport`, not before `from`: for a tunnel whose kind nobody
// has told. 0: there is none.
uint32_t network_before(const Packet& packet, uint32_t from, uint32_t transport) {
  const uint8_t protocol = packet.offload.segmentation == Segmentation::Udp ? ip::kUdp : ip::kTcp;
  const uint32_t room = from < transport ? transport - from : 0;
  const uint32_t most = std::min(room, ipv4::kMaxHeaderLength);
  for (uint32_t header = ipv4::kHeaderLength; header <= most; header += 4) {
    if (is_ipv4_of(packet, transport - header, transport, protocol)) return transport - header;
  }
  const uint32_t at = transport - ipv6::kHeaderLength;
  return ipv6::kHeaderLength <= room && is_ipv6_of(packet, at, transport, protocol) ? at : 0;
}

// Bytes of a tunnel's header behind the outer IP header at least; 0: a tunnel that cannot be cut (GRE that sums up
// what is in it, RFC 2784 §2.3; extension headers).
uint32_t tunnel_header(const Packet& packet, uint32_t l3, uint32_t l4) {
  const uint8_t* p = packet.data();
  const uint8_t protocol = p[l3 + (p[l3] >> 4 == 4 ? 9 : 6)];
  if (protocol == ip::kUdp) return 8;
  constexpr uint8_t kGreChecksum = 0x80;
  return protocol == ip::kGre && (p[l4] & kGreChecksum) == 0 ? 4 : 0;
}

// Length fields of an IP header whose packet ends with the frame; the identification goes on with
// each segment, as Linux has it.
void write_ip(uint8_t* l3, uint32_t length, uint32_t number) {
  if (l3[0] >> 4 == 6) {
    store_be16(l3 + 4, static_cast<uint16_t>(length - 40));
    return;
  }
  ipv4::set_total_length(l3, static_cast<uint16_t>(length));
  store_be16(l3 + 4, static_cast<uint16_t>(load_be16(l3 + 4) + number));
  ipv4::write_checksum(l3);
}

}  // namespace

Segmenter::Segmenter(const Packet& super) : super_(super) {
  const Offload& offload = super.offload;
  const bool udp = offload.segmentation == Segmentation::Udp;
  const uint32_t least = udp ? 8 : 20;
  if (offload.segmentation == Segmentation::None || offload.segment == 0) return;
  if (offload.transport < super.offset) return;
  transport_ = offload.transport - super.offset;
  if (transport_ > super.length || super.length - transport_ < least) return;
  outer_l3_ = inner_l3_ = network_offset(super);
  if (outer_l3_ == 0 || ip_header(super, outer_l3_, transport_) == 0) return;
  if (offload.outer_transport != 0) {
    if (offload.outer_transport < super.offset) return;
    outer_l4_ = offload.outer_transport - super.offset;
    if (outer_l4_ != outer_l3_ + ip_header(super, outer_l3_, transport_)) return;
    const uint32_t tunnel = tunnel_header(super, outer_l3_, outer_l4_);
    if (tunnel == 0) return;
    if (offload.inner_network == 0) {
      inner_l3_ = network_before(super, outer_l4_ + tunnel, transport_);
    } else {
      if (offload.inner_network < super.offset) return;
      inner_l3_ = offload.inner_network - super.offset;
    }
    if (inner_l3_ < outer_l4_ + tunnel || ip_header(super, inner_l3_, transport_) == 0) return;
  }
  const uint8_t inner_version = super.data()[inner_l3_] >> 4;
  const uint8_t wanted = offload.segmentation == Segmentation::TcpV4   ? 4
                         : offload.segmentation == Segmentation::TcpV6 ? 6
                                                                       : inner_version;
  if (inner_version != wanted) return;
  const uint32_t header = udp ? 8 : uint32_t{super.data()[transport_ + 12]} >> 4 << 2;
  if (header < least || super.length - transport_ <= header) return;
  headers_ = transport_ + header;
  payload_ = super.length - headers_;
  const uint32_t segments = (payload_ + offload.segment - 1) / offload.segment;
  if (segments > kMaxSegments || headers_ + offload.segment - outer_l3_ > UINT16_MAX) return;
  count_ = segments;
}

uint32_t Segmenter::next(PacketPool& pool, Packet** out, uint32_t max) {
  uint32_t made = 0;
  const uint32_t segment = super_.offload.segment;
  while (made < max && made_ < count_) {
    const uint32_t from = made_ * segment;
    const uint32_t bytes = payload_ - from < segment ? payload_ - from : segment;
    Packet* frame = pool.allocate();
    if (frame == nullptr) break;
    if (frame->tailroom() < headers_ + bytes) {
      pool.free(frame);
      break;
    }
    frame->append(headers_ + bytes);
    std::memcpy(frame->data(), super_.data(), headers_);
    std::memcpy(frame->data() + headers_, super_.data() + headers_ + from, bytes);
    finish(*frame, bytes);
    ++made_;
    out[made++] = frame;
  }
  return made;
}

// The headers of frame number made_, which has `bytes` of payload.
void Segmenter::finish(Packet& frame, uint32_t bytes) const {
  uint8_t* p = frame.data();
  const bool udp = super_.offload.segmentation == Segmentation::Udp;
  const uint8_t protocol = udp ? ip::kUdp : ip::kTcp;
  const uint32_t length = headers_ + bytes - transport_;  // of the transport header and payload
  uint8_t* transport = p + transport_;
  write_ip(p + inner_l3_, frame.length - inner_l3_, made_);
  if (udp) {
    store_be16(transport + kUdpLengthAt, static_cast<uint16_t>(length));
  } else {
    const uint32_t sequence = load_be32(transport + kTcpSequenceAt);
    store_be32(transport + kTcpSequenceAt, sequence + made_ * super_.offload.segment);
    if (made_ + 1 != count_) transport[kTcpFlagsAt] &= static_cast<uint8_t>(~(kFin | kPsh));
    if (made_ != 0) transport[kTcpFlagsAt] &= static_cast<uint8_t>(~kCwr);
  }
  uint8_t* field = transport + (udp ? udp::kChecksumAt : tcp::kChecksumAt);
  store_be16(field, 0);
  const uint32_t sum = checksum_add(pseudo_sum(p + inner_l3_, protocol, length), transport, length);
  const uint16_t complete = checksum_finish(sum);
  store_be16(field, udp ? udp_checksum_nonzero(complete) : complete);
  if (outer_l3_ != inner_l3_) {
    write_ip(p + outer_l3_, frame.length - outer_l3_, made_);
    const bool v4 = p[outer_l3_] >> 4 == 4;
    if (p[outer_l3_ + (v4 ? 9 : 6)] == ip::kUdp) {
      uint8_t* outer = p + outer_l4_;
      const uint32_t outer_length = frame.length - outer_l4_;
      store_be16(outer + kUdpLengthAt, static_cast<uint16_t>(outer_length));
      if (udp::checksum(outer) != 0) {
        udp::set_checksum(outer, 0);
        const uint32_t all =
            checksum_add(pseudo_sum(p + outer_l3_, ip::kUdp, outer_length), outer, outer_length);
        udp::set_checksum(outer, udp_checksum_nonzero(checksum_finish(all)));
      }
    }
  }
  frame.meta = super_.meta;
  frame.meta.copy = true;
  frame.meta.merged = 0;
  frame.meta.l3_length = static_cast<uint16_t>(frame.length - inner_l3_);
}

}  // namespace vrouter
