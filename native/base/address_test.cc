#include "base/address.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>

#include <random>

namespace vrouter {
namespace {

TEST(MacText, RoundTripAndStrictness) {
  Mac mac;
  ASSERT_TRUE(Mac::parse("02:e7:03:EA:67:f1", mac));
  EXPECT_EQ(mac, (Mac{{0x02, 0xe7, 0x03, 0xea, 0x67, 0xf1}}));
  EXPECT_EQ(mac.text(), "02:e7:03:ea:67:f1");
  const Mac before = mac;
  for (const char* bad :
       {"", "02", "2:e7:03:ea:67:f1", "02:e7:03:ea:67", "02-e7-03-ea-67-f1", "02:e7:03:ea:67:f1 ",
        " 2:e7:03:ea:67:f1", "02:e7:03:ea:67:g1", "02:e7:03:ea:67:f1:00", "02e7:03:ea:67:f1:"}) {
    EXPECT_FALSE(Mac::parse(bad, mac)) << bad;
  }
  EXPECT_EQ(mac, before) << "a failed parse writes nothing";
  EXPECT_EQ(kGatewayMac.text(), "00:00:5e:00:01:00");
}

TEST(AddressText, Ipv4) {
  Address a;
  ASSERT_TRUE(Address::parse("10.0.255.1", a));
  EXPECT_EQ(a, Address::from_v4(0x0a00ff01));
  EXPECT_EQ(a.v4(), 0x0a00ff01u);
  EXPECT_EQ(a.text(), "10.0.255.1");
  EXPECT_EQ(Address::from_v4(0).text(), "0.0.0.0");
  EXPECT_EQ(Address{}.text(), "-");
  for (const char* bad :
       {"", "-", "1", "1.2.3", "1.2.3.4.5", "1.2.3.", ".1.2.3", "1..2.3", "01.2.3.4", "1.2.3.00",
        "1.2.3.256", "1.2.3.4 ", " 1.2.3.4", "1.2.3.4/32", "+1.2.3.4", "0x1.2.3.4", "1.2.3.-4",
        "1.2.3.99999999999999999999", "a.b.c.d"}) {
    EXPECT_FALSE(Address::parse(bad, a)) << bad;
  }
  EXPECT_FALSE(Address::parse(std::string_view("1.2.3.4\0", 8), a));
}

TEST(AddressText, Ipv6InTheFormOfRfc5952) {
  const struct {
    const char* in;
    const char* out;
  } cases[] = {
      {"::", "::"},
      {"::1", "::1"},
      {"1::", "1::"},
      {"2001:DB8::1", "2001:db8::1"},
      {"2001:0db8:0000:0000:0000:0000:0002:0001", "2001:db8::2:1"},
      {"2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"},  // one group is not shortened
      {"2001:db8::1:1:1:1:1", "2001:db8:0:1:1:1:1:1"},
      {"2001:0:0:1:0:0:0:1", "2001:0:0:1::1"},        // the longest run
      {"2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"},  // the first of equal runs
      {"0:0:1:0:0:0:0:0", "0:0:1::"},
      {"1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"},
      {"::2:3:4:5:6:7:8", "0:2:3:4:5:6:7:8"},
      {"fe80::202:b3ff:fe1e:8329", "fe80::202:b3ff:fe1e:8329"},
      {"::ffff:192.0.2.128", "::ffff:192.0.2.128"},
      {"::ffff:c000:280", "::ffff:192.0.2.128"},
      {"64:ff9b::192.0.2.33", "64:ff9b::c000:221"},
      {"1:2:3:4:5:6:1.2.3.4", "1:2:3:4:5:6:102:304"},
      {"::1.2.3.4", "::102:304"},
  };
  for (const auto& c : cases) {
    Address a;
    ASSERT_TRUE(Address::parse(c.in, a)) << c.in;
    EXPECT_EQ(a.family, Family::V6);
    EXPECT_EQ(a.text(), c.out) << c.in;
  }
  Address a;
  for (const char* bad : {":",
                          ":::",
                          "1:",
                          ":1",
                          "1:2",
                          "1:2:3:4:5:6:7",
                          "1:2:3:4:5:6:7:8:9",
                          "1:2:3:4:5:6:7:8::",
                          "::1:2:3:4:5:6:7:8",
                          "1::2::3",
                          "12345::",
                          "g::",
                          "::1 ",
                          " ::1",
                          "::1%eth0",
                          "::1/64",
                          "::1.2.3",
                          "::1.2.3.4.5",
                          "::01.2.3.4",
                          "1:2:3:4:5:6:7:1.2.3.4",
                          "1.2.3.4::",
                          "::1.2.3.4:5",
                          "1::2:3:4:5:6:7:1.2.3.4",
                          "[::1]",
                          "::-1",
                          "1:2:3:4:5:6:7:8:",
                          ":1:2:3:4:5:6:7:8"}) {
    EXPECT_FALSE(Address::parse(bad, a)) << bad;
  }
}

// The C library as an independent reader and writer.
TEST(AddressText, AgreesWithTheSystem) {
  std::mt19937_64 random(1);
  for (int round = 0; round < 50000; ++round) {
    Address a;
    a.family = Family::V6;
    for (size_t i = 0; i < 16; i += 2) {
      const uint64_t r = random();
      if (r % 3 == 0) continue;
      a.bytes[i] = r % 5 == 0 ? 0 : static_cast<uint8_t>(r >> 8);
      a.bytes[i + 1] = static_cast<uint8_t>(r >> 16);
    }
    char text[INET6_ADDRSTRLEN];
    ASSERT_NE(inet_ntop(AF_INET6, a.bytes.data(), text, sizeof text), nullptr);
    Address back;
    ASSERT_TRUE(Address::parse(text, back)) << text;
    EXPECT_EQ(back, a);
    ASSERT_TRUE(Address::parse(a.text(), back)) << a.text();
    EXPECT_EQ(back, a);
    // The library writes ::1.2.3.4 for compatible addresses, which RFC 5952 does not.
    if (std::string_view(text).find('.') == std::string_view::npos) {
      EXPECT_EQ(a.text(), text);
    }
  }
}

// Junk made from the right alphabet: we accept nothing the system refuses.
TEST(AddressText, AcceptsNoMoreThanTheSystem) {
  std::mt19937_64 random(2);
  constexpr char kAlphabet[] = "0123af::::..";
  int accepted = 0;
  for (int round = 0; round < 300000; ++round) {
    std::string text;
    for (uint64_t n = random() % 14; n > 0; --n)
      text += kAlphabet[random() % (sizeof kAlphabet - 1)];
    Address a;
    uint8_t bytes[16];
    const bool system = inet_pton(AF_INET6, text.c_str(), bytes) == 1 ||
                        inet_pton(AF_INET, text.c_str(), bytes) == 1;
    EXPECT_EQ(Address::parse(text, a), system) << text;
    accepted += system ? 1 : 0;
    if (system) {
      EXPECT_EQ(std::memcmp(a.bytes.data(), bytes, a.size()), 0) << text;
    }
  }
  EXPECT_GT(accepted, 100);
}

Prefix prefix(const char* text) {
  Prefix p;
  EXPECT_TRUE(Prefix::parse(text, p)) << text;
  return p;
}
Address address(const char* text) {
  Address a;
  EXPECT_TRUE(Address::parse(text, a)) << text;
  return a;
}

TEST(PrefixText, RoundTripAndStrictness) {
  for (const char* text :
       {"0.0.0.0/0", "10.0.0.0/8", "10.1.2.3/32", "::/0", "2001:db8::/32", "2001:db8::1/128"}) {
    EXPECT_EQ(prefix(text).text(), text);
    EXPECT_TRUE(prefix(text).canonical()) << text;
  }
  EXPECT_EQ(Prefix{}.text(), "-");
  Prefix p;
  for (const char* bad :
       {"", "/", "10.0.0.0", "10.0.0.0/", "/8", "10.0.0.0/33", "::/129", "10.0.0.0/08",
        "10.0.0.0/8 ", "10.0.0.0/ 8", "10.0.0.0/-1", "10.0.0.0/8/8", "10.0.0.0/4294967304"}) {
    EXPECT_FALSE(Prefix::parse(bad, p)) << bad;
  }
}

TEST(PrefixTest, Canonical) {
  EXPECT_FALSE(Prefix{}.canonical());
  EXPECT_FALSE(prefix("10.0.0.1/31").canonical());
  EXPECT_TRUE(prefix("10.0.0.2/31").canonical());
  EXPECT_FALSE(prefix("128.0.0.0/0").canonical());
  EXPECT_FALSE(prefix("2001:db8::1/127").canonical());
  EXPECT_FALSE(prefix("2001:db8:8000::/32").canonical());
  Prefix wide = prefix("10.0.0.0/8");
  wide.length = 33;
  EXPECT_FALSE(wide.canonical());
  Prefix dirty = prefix("10.0.0.0/32");
  dirty.address.bytes[7] = 1;  // beyond an IPv4 address
  EXPECT_FALSE(dirty.canonical());
}

TEST(PrefixTest, Contains) {
  EXPECT_TRUE(Prefix{}.contains(address("1.2.3.4")));
  EXPECT_TRUE(Prefix{}.contains(address("::1")));
  EXPECT_TRUE(prefix("0.0.0.0/0").contains(address("1.2.3.4")));
  EXPECT_FALSE(prefix("0.0.0.0/0").contains(address("::1")));
  EXPECT_FALSE(prefix("::/0").contains(address("1.2.3.4")));
  EXPECT_FALSE(prefix("::/0").contains(Address{}));
}

TEST(PrefixTest, ContainsEqualsBitByBit) {
  std::mt19937_64 random(3);
  for (int round = 0; round < 20000; ++round) {
    Prefix p;
    p.address.family = random() % 2 == 0 ? Family::V4 : Family::V6;
    p.length = static_cast<uint8_t>(random() % (p.max_length() + 1u));
    Address a = p.address;
    for (uint32_t i = 0; i < a.size(); ++i)
      a.bytes[i] = p.address.bytes[i] = static_cast<uint8_t>(random());
    const uint64_t flip = random() % p.max_length();
    a.bytes[flip / 8] ^= static_cast<uint8_t>(0x80 >> flip % 8);
    EXPECT_EQ(p.contains(a), flip >= p.length);
    EXPECT_TRUE(p.contains(p.address));
  }
}

}  // namespace
}  // namespace vrouter
