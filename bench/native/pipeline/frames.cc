#include "pipeline/frames.h"

#include "base/bytes.h"
#include "base/checksum.h"
#include "wire/udp.h"

namespace vrouter::bench {
namespace {

struct End {
  Address address;
  uint16_t port;
};

uint32_t pseudo_sum(Family family, const uint8_t* source, const uint8_t* destination,
                    uint32_t length) {
  return family == Family::V4 ? pseudo_sum_v4(source, destination, 6, length)
                              : pseudo_sum_v6(source, destination, 6, length);
}

void write_ipv4(uint8_t* p, uint32_t length, const Address& source, const Address& destination) {
  p[0] = 0x45;
  store_be16(p + 2, static_cast<uint16_t>(length));
  p[8] = 64;
  p[9] = 6;
  std::memcpy(p + 12, source.bytes.data(), 4);
  std::memcpy(p + 16, destination.bytes.data(), 4);
  store_be16(p + 10, checksum(p, 20));
}

void write_ipv6(uint8_t* p, uint32_t length, const Address& source, const Address& destination) {
  p[0] = 0x60;
  store_be16(p + 4, static_cast<uint16_t>(length - 40));
  p[6] = 6;
  p[7] = 64;
  std::memcpy(p + 8, source.bytes.data(), 16);
  std::memcpy(p + 24, destination.bytes.data(), 16);
}

Bytes tcp_packet(const End& from, const End& to, const Segment& segment) {
  const Family family = from.address.family;
  const uint32_t header = ip_header(family);
  const uint32_t length = header + kTcp + segment.payload;
  Bytes packet(length);
  (family == Family::V4 ? write_ipv4 : write_ipv6)(packet.data(), length, from.address, to.address);
  uint8_t* tcp = packet.data() + header;
  store_be16(tcp, from.port);
  store_be16(tcp + 2, to.port);
  store_be32(tcp + 4, segment.sequence);
  store_be32(tcp + 8, segment.ack);
  tcp[12] = 0x50;
  tcp[13] = segment.flags;
  store_be16(tcp + 14, 65535);
  for (uint32_t i = 0; i < segment.payload; ++i) {
    tcp[kTcp + i] = static_cast<uint8_t>(i * 17 + from.port);
  }
  const uint32_t sum =
      pseudo_sum(family, from.address.bytes.data(), to.address.bytes.data(), length - header);
  store_be16(tcp + 16, checksum_finish(checksum_add(sum, tcp, length - header)));
  return packet;
}

Bytes ethernet(const Mac& destination, const Mac& source, uint16_t type, const Bytes& packet) {
  Bytes f(destination.bytes.begin(), destination.bytes.end());
  f.insert(f.end(), source.bytes.begin(), source.bytes.end());
  f.insert(f.end(), {static_cast<uint8_t>(type >> 8), static_cast<uint8_t>(type)});
  f.insert(f.end(), packet.begin(), packet.end());
  return f;
}

// As the other node sends it: MPLS over UDP.
Bytes from_fabric(const Bytes& inner) {
  Bytes p(32);
  const uint32_t length = 32 + static_cast<uint32_t>(inner.size());
  p[0] = 0x45;
  store_be16(&p[2], static_cast<uint16_t>(length));
  p[8] = 64;
  p[9] = 17;
  store_be32(&p[12], kOtherNode);
  store_be32(&p[16], kThisNode);
  store_be16(&p[10], checksum(p.data(), 20));
  store_be16(&p[20], 50000);
  store_be16(&p[22], udp::kPortMpls);
  store_be16(&p[24], static_cast<uint16_t>(length - 20));
  store_be32(&p[28], kLabelIn << 12 | 1u << 8 | 64);
  p.insert(p.end(), inner.begin(), inner.end());
  return ethernet(kNodeMac, kOtherNodeMac, 0x0800, p);
}

End client_end(const Workload& workload, uint32_t flow) {
  const Client client = client_of(workload.kind, flow);
  return {address_of(workload.family, client.number), client.port};
}

}  // namespace

Bytes from_client(const Workload& workload, uint32_t flow, const Segment& segment) {
  const bool service = as_service(workload.kind);
  const End to{address_of(workload.family, service ? kService : kPod),
               service ? kServicePort : kPodPort};
  return from_fabric(tcp_packet(client_end(workload, flow), to, segment));
}

Bytes from_pod(const Workload& workload, uint32_t flow, const Segment& segment) {
  const End pod{address_of(workload.family, kPod), kPodPort};
  return ethernet(workload.kind == Kind::Bridge ? host_mac(flow) : kGatewayMac, kPodMac,
                  workload.family == Family::V4 ? 0x0800 : 0x86dd,
                  tcp_packet(pod, client_end(workload, flow), segment));
}

}  // namespace vrouter::bench
