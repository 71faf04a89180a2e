// Every header's accessors against bytes written out by hand from its RFC, and its writers into
// buffers that start dirty, so that a forgotten bit shows.
#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "wire/arp.h"
#include "wire/ethernet.h"
#include "wire/gre.h"
#include "wire/ip.h"
#include "wire/ipv4.h"
#include "wire/mpls.h"
#include "wire/sctp.h"
#include "wire/udp.h"
#include "wire/vxlan.h"

namespace vrouter {
namespace {

using Frame = std::vector<uint8_t>;

Frame dirty(size_t n) { return Frame(n, 0xa5); }

// check() must take exactly the whole header: run it on copies of every shorter length, each in its
// own allocation so that the address sanitizer sees a read beyond the end.
template <class Check>
void expect_needs_all(const Frame& whole, size_t needed, Check check) {
  for (size_t n = 0; n <= whole.size(); ++n) {
    const Frame part(whole.begin(), whole.begin() + static_cast<long>(n));
    EXPECT_EQ(check(part.data(), part.size()), n >= needed) << n << " bytes";
  }
}

constexpr Mac kA{{0x02, 0, 0, 0, 0, 0x0a}};
constexpr Mac kB{{0x02, 0, 0, 0, 0, 0x0b}};
constexpr uint8_t kIp1[] = {10, 0, 0, 1};
constexpr uint8_t kIp2[] = {10, 0, 0, 2};

TEST(Ethernet, ReadAndWrite) {
  const Frame bytes = {0x02, 0, 0, 0, 0, 0x0a, 0x02, 0, 0, 0, 0, 0x0b, 0x86, 0xdd};
  expect_needs_all(bytes, 14, ethernet::check);
  EXPECT_EQ(ethernet::destination(bytes.data()), kA);
  EXPECT_EQ(ethernet::source(bytes.data()), kB);
  EXPECT_EQ(ethernet::ether_type(bytes.data()), ethernet::kTypeIpv6);
  EXPECT_FALSE(ethernet::is_group(bytes.data()));
  Frame out = dirty(14);
  ethernet::write(out.data(), kA, kB, ethernet::kTypeIpv6);
  EXPECT_EQ(out, bytes);
}

TEST(Ethernet, Tags) {
  Frame b = dirty(12);
  ethernet::Payload payload;
  const auto append = [&b](std::initializer_list<uint8_t> more) { b.insert(b.end(), more); };
  append({0x08, 0x00});
  ASSERT_TRUE(ethernet::find_payload(b.data(), b.size(), payload));
  EXPECT_EQ(payload.offset, 14u);
  EXPECT_EQ(payload.tags, 0);
  EXPECT_EQ(payload.vlan, 0);

  b.resize(12);
  append({0x88, 0xa8, 0x60, 0x64, 0x81, 0x00, 0x0f, 0xff, 0x08, 0x06});
  ASSERT_TRUE(ethernet::find_payload(b.data(), b.size(), payload));
  EXPECT_EQ(payload.offset, 22u);
  EXPECT_EQ(payload.vlan, 100) << "the outer tag, without its priority";
  EXPECT_EQ(payload.tags, 2);
  EXPECT_EQ(payload.ether_type, ethernet::kTypeArp);
  for (size_t n = 0; n < b.size(); ++n) {
    const Frame part(b.begin(), b.begin() + static_cast<long>(n));
    EXPECT_FALSE(ethernet::find_payload(part.data(), part.size(), payload)) << n;
  }

  b.resize(12);
  append({0x81, 0, 0, 1, 0x81, 0, 0, 2, 0x81, 0, 0, 3, 0x08, 0});
  ASSERT_TRUE(ethernet::find_payload(b.data(), b.size(), payload));
  EXPECT_EQ(payload.ether_type, ethernet::kTypeVlan) << "a third tag is not stepped over";
  EXPECT_EQ(payload.offset, 22u);
}

TEST(Arp, ReadAndWrite) {
  const Frame bytes = {0,  1, 8, 0, 6, 4, 0, 1, 0x02, 0, 0,  0, 0, 0x0a,
                       10, 0, 0, 1, 0, 0, 0, 0, 0,    0, 10, 0, 0, 2};
  ASSERT_EQ(bytes.size(), arp::kHeaderLength);
  expect_needs_all(bytes, 28, arp::check);
  EXPECT_EQ(arp::operation(bytes.data()), arp::kRequest);
  EXPECT_EQ(arp::sender_mac(bytes.data()), kA);
  EXPECT_EQ(std::memcmp(arp::sender_ip(bytes.data()), kIp1, 4), 0);
  EXPECT_TRUE(arp::target_mac(bytes.data()).is_zero());
  EXPECT_EQ(std::memcmp(arp::target_ip(bytes.data()), kIp2, 4), 0);
  Frame out = dirty(28);
  arp::write(out.data(), arp::kRequest, kA, kIp1, Mac{}, kIp2);
  EXPECT_EQ(out, bytes);
  // Anything but IPv4 over Ethernet is refused.
  for (size_t at : {0, 1, 2, 3, 4, 5}) {
    Frame other = bytes;
    other[at] ^= 1;
    EXPECT_FALSE(arp::check(other.data(), other.size())) << at;
  }
}

TEST(Arp, RequestBecomesReply) {
  Frame b = dirty(28);
  arp::write(b.data(), arp::kRequest, kA, kIp1, Mac{}, kIp2);
  arp::turn_into_reply(b.data(), kB);
  Frame expected = dirty(28);
  arp::write(expected.data(), arp::kReply, kB, kIp2, kA, kIp1);
  EXPECT_EQ(b, expected);
}

// A header with options, from RFC 791's own field order.
Frame ipv4_bytes() {
  return {0x46, 0xb9, 0x00, 0x20, 0x12, 0x34, 0x60, 0xb9, 0x3f, 0x11, 0x00, 0x00, 10, 0, 0, 1,
          10,   0,    0,    2,    0x94, 0x04, 0x00, 0x00, 1,    2,    3,    4,    5,  6, 7, 8};
}

TEST(Ipv4, Read) {
  const Frame b = ipv4_bytes();
  expect_needs_all(b, 32, ipv4::check);
  expect_needs_all(b, 24, ipv4::check_header);
  const uint8_t* p = b.data();
  EXPECT_EQ(ipv4::header_length(p), 24u);
  EXPECT_EQ(ipv4::options_length(p), 4u);
  EXPECT_EQ(ipv4::tos(p), 0xb9);
  EXPECT_EQ(ipv4::dscp(p), 46);
  EXPECT_EQ(ipv4::ecn(p), 1);
  EXPECT_EQ(ipv4::total_length(p), 32);
  EXPECT_EQ(ipv4::identification(p), 0x1234);
  EXPECT_TRUE(ipv4::dont_fragment(p));
  EXPECT_TRUE(ipv4::more_fragments(p));
  EXPECT_EQ(ipv4::fragment_offset(p), 1480u);
  EXPECT_TRUE(ipv4::is_fragment(p));
  EXPECT_EQ(ipv4::ttl(p), 63);
  EXPECT_EQ(ipv4::protocol(p), ip::kUdp);
  EXPECT_EQ(std::memcmp(ipv4::source(p), kIp1, 4), 0);
  EXPECT_EQ(std::memcmp(ipv4::destination(p), kIp2, 4), 0);
}

TEST(Ipv4, RefusesLengthsThatLie) {
  const auto with = [](size_t at, uint8_t value) {
    Frame b = ipv4_bytes();
    b[at] = value;
    return ipv4::check(b.data(), b.size());
  };
  EXPECT_TRUE(with(0, 0x46));
  EXPECT_FALSE(with(0, 0x66)) << "version";
  EXPECT_FALSE(with(0, 0x44)) << "header shorter than 20";
  EXPECT_FALSE(with(0, 0x40));
  EXPECT_FALSE(with(0, 0x4f)) << "header longer than the packet";
  EXPECT_FALSE(with(0, 0x49)) << "header longer than the total length";
  EXPECT_FALSE(with(3, 23)) << "total length shorter than the header";
  EXPECT_TRUE(with(3, 24));
  EXPECT_FALSE(with(3, 33)) << "total length beyond the bytes";
  EXPECT_FALSE(with(2, 0xff));
}

TEST(Ipv4, WriteIntoDirtyBuffer) {
  Frame b = dirty(20);
  ipv4::write(b.data(), 0xb8, 1500, 0xbeef, ipv4::kDontFragment, 64, ip::kGre, kIp1, kIp2);
  const Frame expected = {0x45, 0xb8, 0x05, 0xdc, 0xbe, 0xef, 0x40, 0x00, 0x40, 0x2f,
                          0x61, 0x49, 10,   0,    0,    1,    10,   0,    0,    2};
  EXPECT_EQ(b, expected);
  EXPECT_TRUE(ipv4::checksum_ok(b.data()));
  b[15] ^= 0x10;
  EXPECT_FALSE(ipv4::checksum_ok(b.data()));
}

TEST(Ipv4, TtlTakesTheChecksumAlong) {
  Frame b = ipv4_bytes();
  ipv4::write_checksum(b.data());
  ASSERT_TRUE(ipv4::checksum_ok(b.data()));
  for (int ttl = 62; ttl >= 0; --ttl) {
    ipv4::decrement_ttl(b.data());
    EXPECT_EQ(ipv4::ttl(b.data()), ttl);
    const uint16_t incremental = ipv4::checksum(b.data());
    ipv4::write_checksum(b.data());
    EXPECT_EQ(incremental, ipv4::checksum(b.data()));
  }
}

TEST(Udp, ReadAndWrite) {
  const Frame b = {0xc0, 0x00, 0x12, 0xb5, 0x00, 0x0a, 0xab, 0xcd, 1, 2};
  expect_needs_all(b, 10, udp::check);
  expect_needs_all(b, 8, udp::check_quoted);
  EXPECT_EQ(udp::source_port(b.data()), 49152);
  EXPECT_EQ(udp::destination_port(b.data()), udp::kPortVxlan);
  EXPECT_EQ(udp::length(b.data()), 10);
  EXPECT_EQ(udp::checksum(b.data()), 0xabcd);
  Frame out = dirty(10);
  udp::write(out.data(), 49152, 4789, 10, 0xabcd);
  out[8] = 1;
  out[9] = 2;
  EXPECT_EQ(out, b);
  Frame short_length = b;
  short_length[5] = 7;
  EXPECT_FALSE(udp::check(short_length.data(), short_length.size()));
}

TEST(Sctp, Read) {
  const Frame b = {0x27, 0x10, 0x27, 0x11, 0xde, 0xad, 0xbe, 0xef, 1, 2, 3, 4};
  expect_needs_all(b, 12, sctp::check);
  EXPECT_EQ(sctp::source_port(b.data()), 10000);
  EXPECT_EQ(sctp::destination_port(b.data()), 10001);
  EXPECT_EQ(sctp::verification_tag(b.data()), 0xdeadbeefu);
  EXPECT_EQ(sctp::checksum(b.data()), 0x01020304u);
}

TEST(Mpls, ReadAndWrite) {
  const struct {
    mpls::Entry entry;
    Frame bytes;
  } cases[] = {
      {{16, 0, true, 64}, {0x00, 0x01, 0x01, 0x40}},
      {{0xfffff, 7, false, 255}, {0xff, 0xff, 0xfe, 0xff}},
      {{0xabcde, 5, true, 1}, {0xab, 0xcd, 0xeb, 0x01}},
      {{0, 0, false, 0}, {0, 0, 0, 0}},
  };
  for (const auto& c : cases) {
    expect_needs_all(c.bytes, 4, mpls::check);
    EXPECT_EQ(mpls::decode(c.bytes.data()), c.entry);
    Frame out = dirty(4);
    mpls::encode(out.data(), c.entry);
    EXPECT_EQ(out, c.bytes);
  }
}

TEST(Gre, LengthFollowsTheFlags) {
  const auto header = [](uint8_t high, uint8_t low) {
    return Frame{high, low, 0x88, 0x47, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
  };
  expect_needs_all(header(0x00, 0), 4, gre::check);
  expect_needs_all(header(0x80, 0), 8, gre::check);
  expect_needs_all(header(0x20, 0), 8, gre::check);
  expect_needs_all(header(0x10, 0), 8, gre::check);
  expect_needs_all(header(0x30, 0), 12, gre::check);
  expect_needs_all(header(0xb0, 0), 16, gre::check);
  EXPECT_EQ(gre::protocol(header(0, 0).data()), ethernet::kTypeMpls);
  EXPECT_EQ(gre::key(header(0x20, 0).data()), 0x01020304u);
  EXPECT_EQ(gre::key(header(0xb0, 0).data()), 0x05060708u) << "behind the checksum";
  EXPECT_FALSE(gre::has_key(header(0x90, 0).data()));
  for (const Frame& bad :
       {header(0x40, 0), header(0x08, 0), header(0x04, 0), header(0, 1), header(0, 7)}) {
    EXPECT_FALSE(gre::check(bad.data(), bad.size()));
  }
  const Frame reserved = header(0x03, 0xf8);  // RFC 2784: bits 6-12 are ignored on receipt
  EXPECT_TRUE(gre::check(reserved.data(), reserved.size()));
  Frame out = dirty(4);
  gre::write(out.data(), ethernet::kTypeMpls);
  EXPECT_EQ(out, (Frame{0, 0, 0x88, 0x47}));
}

TEST(Vxlan, ReadAndWrite) {
  const Frame b = {0x08, 0, 0, 0, 0xab, 0xcd, 0xef, 0};
  expect_needs_all(b, 8, vxlan::check);
  EXPECT_EQ(vxlan::vni(b.data()), 0xabcdefu);
  Frame out = dirty(8);
  vxlan::write(out.data(), 0xabcdef);
  EXPECT_EQ(out, b);
  Frame without = b;
  without[0] = 0xf7;
  EXPECT_FALSE(vxlan::check(without.data(), without.size()));
  Frame reserved = {0xff, 1, 2, 3, 0, 0, 7, 0xff};
  EXPECT_TRUE(vxlan::check(reserved.data(), reserved.size()));
  EXPECT_EQ(vxlan::vni(reserved.data()), 7u);
}

}  // namespace
}  // namespace vrouter
