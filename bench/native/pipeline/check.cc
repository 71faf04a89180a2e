#include "pipeline/check.h"

#include <algorithm>

#include "base/bytes.h"
#include "base/checksum.h"
#include "state/rewrite.h"
#include "wire/udp.h"

namespace vrouter::bench {
namespace {

// Where a frame's inner packet starts, after everything in front of it has been looked at.
size_t check_outer(const Workload& workload, const Bytes& f) {
  const bool gre = workload.encap == Encap::MplsOverGre;
  const bool vxlan = workload.encap == Encap::Vxlan;
  if (!std::equal(kOtherNodeMac.bytes.begin(), kOtherNodeMac.bytes.end(), f.begin()) ||
      load_be16(&f[12]) != 0x0800) {
    fail("Ethernet header");
  }
  const uint8_t* outer = &f[kEthernet];
  const uint32_t node = load_be32(outer + 16) - kOtherNode;
  if (outer[0] != 0x45 || load_be16(outer + 2) != f.size() - 14 || outer[9] != (gre ? 47 : 17) ||
      load_be32(outer + 12) != kThisNode || node >= (many_nodes(workload.kind) ? kFarNodes : 1)) {
    fail("outer IPv4 header");
  }
  if (checksum(outer, 20) != 0) fail("outer IPv4 checksum");
  const uint8_t* p = outer + 20;
  if (gre) {
    if (load_be32(p) != 0x8847) fail("GRE header");
    p += 4;
  } else {
    if (load_be16(p) < kEntropyLow ||
        load_be16(p + 2) != (vxlan ? udp::kPortVxlan : udp::kPortMpls) ||
        load_be16(p + 4) != f.size() - 34 || load_be16(p + 6) != 0) {
      fail("outer UDP header");
    }
    p += 8;
  }
  if (vxlan) {
    if (load_be32(p) != 0x08000000 || load_be32(p + 4) != kLabelOut << 8) fail("VXLAN header");
    return static_cast<size_t>(p - f.data()) + 8;
  }
  const uint32_t label = load_be32(p);
  if (label >> 12 != kLabelOut || (label >> 8 & 1) != 1) fail("label word %08x", label);
  return static_cast<size_t>(p - f.data()) + 4;
}

struct Inner {
  const uint8_t* source;
  const uint8_t* destination;
  const uint8_t* tcp;
  uint32_t tcp_length;
};

Inner check_ipv4(const uint8_t* p, size_t bytes, uint8_t ttl) {
  if (p[0] != 0x45 || load_be16(p + 2) != bytes || p[8] != ttl || p[9] != 6) {
    fail("inner IPv4 header");
  }
  if (checksum(p, 20) != 0) fail("inner IPv4 checksum");
  return {p + 12, p + 16, p + 20, static_cast<uint32_t>(bytes) - 20};
}

Inner check_ipv6(const uint8_t* p, size_t bytes, uint8_t ttl) {
  if (p[0] != 0x60 || load_be16(p + 4) != bytes - 40 || p[6] != 6 || p[7] != ttl) {
    fail("inner IPv6 header");
  }
  return {p + 8, p + 24, p + 40, static_cast<uint32_t>(bytes) - 40};
}

// Of an address as it stands in a packet.
uint32_t number_of(Family family, const uint8_t* address) {
  if (family == Family::V4) return load_be32(address);
  if (!std::equal(kPrefix6, kPrefix6 + sizeof kPrefix6, address)) fail("inner IPv6 prefix");
  return load_be32(address + sizeof kPrefix6);
}

}  // namespace

Clients::Clients(const Workload& workload, uint32_t flows) {
  for (uint32_t flow = 0; flow < flows; ++flow) {
    const Client client = client_of(workload.kind, flow);
    keys_.insert(key(client.number, client.port));
  }
}

void check_frame(const Workload& workload, uint32_t frame_bytes, const Bytes& f,
                 const Clients& clients) {
  const Family family = workload.family;
  const bool deliver = workload.kind == Kind::Deliver;
  const bool bridge = workload.kind == Kind::Bridge;
  size_t at = deliver ? kEthernet : check_outer(workload, f);
  if (deliver && (!std::equal(kPodMac.bytes.begin(), kPodMac.bytes.end(), f.begin()) ||
                  load_be16(&f[12]) != (family == Family::V4 ? 0x0800 : 0x86dd))) {
    fail("Ethernet header");
  }
  if (bridge) {
    if (f[at] != 0x02 || f[at + 1] != 0x11) fail("inner destination MAC");
    at += kEthernet;
  }
  const size_t bytes = f.size() - at;
  if (bytes != frame_bytes - kEthernet) fail("a packet of %zu bytes", bytes);
  const Inner inner =
      (family == Family::V4 ? check_ipv4 : check_ipv6)(&f[at], bytes, bridge ? 64 : 63);

  const uint32_t source = number_of(family, inner.source);
  const uint32_t destination = number_of(family, inner.destination);
  const uint16_t source_port = load_be16(inner.tcp);
  const uint16_t destination_port = load_be16(inner.tcp + 2);
  const bool service = workload.kind == Kind::Nat;
  const uint32_t pod = service ? kService : workload.kind == Kind::NewFlows ? kPublic : kPod;
  if ((deliver ? destination : source) != pod ||
      (deliver ? destination_port : source_port) != (service ? kServicePort : kPodPort)) {
    fail("pod's address: %08x -> %08x", source, destination);
  }
  if (!clients.contains(deliver ? source : destination, deliver ? source_port : destination_port)) {
    fail("a client that does not exist: %08x -> %08x", source, destination);
  }
  const uint32_t sum = family == Family::V4
                           ? pseudo_sum_v4(inner.source, inner.destination, 6, inner.tcp_length)
                           : pseudo_sum_v6(inner.source, inner.destination, 6, inner.tcp_length);
  if (checksum_finish(checksum_add(sum, inner.tcp, inner.tcp_length)) != 0) fail("TCP checksum");
}

}  // namespace vrouter::bench
