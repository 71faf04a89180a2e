#include "table/lpm.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <utility>
#include <vector>

namespace vrouter {
namespace {

using Random = std::mt19937_64;

bool bit_of(const Address& a, uint32_t n) { return (a.bytes[n / 8] >> (7 - n % 8) & 1) != 0; }

Prefix make_prefix(Address address, uint32_t length) {
  for (uint32_t n = length; n < address.size() * 8; ++n) {
    address.bytes[n / 8] = static_cast<uint8_t>(address.bytes[n / 8] & ~(0x80u >> n % 8));
  }
  Prefix p;
  p.address = address;
  p.length = static_cast<uint8_t>(length);
  return p;
}

Prefix v4(uint32_t a, uint32_t b, uint32_t c, uint32_t d, uint32_t length) {
  return make_prefix(Address::from_v4(a << 24 | b << 16 | c << 8 | d), length);
}

Prefix v6(std::initializer_list<uint16_t> groups, uint32_t length) {
  Address a;
  a.family = Family::V6;
  uint32_t at = 0;
  for (const uint16_t g : groups) {
    a.bytes[at++] = static_cast<uint8_t>(g >> 8);
    a.bytes[at++] = static_cast<uint8_t>(g);
  }
  return make_prefix(a, length);
}

struct Order {
  bool operator()(const Prefix& a, const Prefix& b) const {
    return std::pair(a.address.bytes, a.length) < std::pair(b.address.bytes, b.length);
  }
};

// The naive twin: tries every length, longest first.
struct Twin {
  std::map<Prefix, uint32_t, Order> prefixes;

  uint32_t set(const Prefix& p, uint32_t value) {
    const auto [at, fresh] = prefixes.try_emplace(p, value);
    return fresh ? Lpm::kNoValue : std::exchange(at->second, value);
  }
  uint32_t remove(const Prefix& p) {
    const auto at = prefixes.find(p);
    if (at == prefixes.end()) return Lpm::kNoValue;
    const uint32_t value = at->second;
    prefixes.erase(at);
    return value;
  }
  uint32_t get(const Prefix& p) const {
    const auto at = prefixes.find(p);
    return at == prefixes.end() ? Lpm::kNoValue : at->second;
  }
  uint32_t lookup(const Address& a) const {
    for (uint32_t length = a.size() * 8 + 1; length-- > 0;) {
      const uint32_t value = get(make_prefix(a, length));
      if (value != Lpm::kNoValue) return value;
    }
    return Lpm::kNoValue;
  }
};

// Addresses that share long beginnings, so that prefixes nest and ways part everywhere.
Address random_address(Random& random, Family family, const std::vector<Address>& known) {
  Address a;
  a.family = family;
  for (uint32_t i = 0; i < a.size(); ++i) a.bytes[i] = static_cast<uint8_t>(random());
  if (!known.empty() && random() % 4 != 0) {
    const Address& like = known[random() % known.size()];
    const uint32_t same = static_cast<uint32_t>(random() % (a.size() * 8 + 1));
    for (uint32_t n = 0; n < same; ++n) {
      if (bit_of(a, n) != bit_of(like, n)) a.bytes[n / 8] ^= static_cast<uint8_t>(0x80u >> n % 8);
    }
  }
  return a;
}

uint32_t random_length(Random& random, Family family) {
  const uint32_t width = family == Family::V4 ? 32 : 128;
  switch (random() % 8) {
    case 0:
      return width;
    case 1:
      return width == 32 ? 24 : 64;
    case 2:
      return static_cast<uint32_t>(random() % 20);
    default:
      return static_cast<uint32_t>(random() % (width + 1));
  }
}

std::vector<std::pair<Prefix, uint32_t>> all(const Lpm& lpm, const Prefix* after = nullptr) {
  std::vector<std::pair<Prefix, uint32_t>> out;
  lpm.each(
      [&](const Prefix& p, uint32_t value) {
        out.emplace_back(p, value);
        return true;
      },
      after);
  return out;
}

void expect_same_walk(const Lpm& lpm, const Twin& twin) {
  const auto walked = all(lpm);
  ASSERT_EQ(walked.size(), twin.prefixes.size());
  size_t i = 0;
  for (const auto& [prefix, value] : twin.prefixes) {
    ASSERT_TRUE(walked[i].first == prefix) << "entry " << i;
    ASSERT_EQ(walked[i].second, value);
    ++i;
  }
}

void expect_same_walk_after(const Lpm& lpm, const Twin& twin, const Prefix& after) {
  const auto walked = all(lpm, &after);
  auto expected = twin.prefixes.upper_bound(after);
  for (const auto& [prefix, value] : walked) {
    ASSERT_NE(expected, twin.prefixes.end());
    ASSERT_TRUE(prefix == expected->first);
    ASSERT_EQ(value, expected->second);
    ++expected;
  }
  ASSERT_EQ(expected, twin.prefixes.end());
}

void expect_same_lookups(const Lpm& lpm, const Twin& twin, const std::vector<Address>& asked) {
  std::vector<const uint8_t*> pointers;
  for (const Address& a : asked) pointers.push_back(a.bytes.data());
  std::vector<uint32_t> found(asked.size());
  lpm.lookup_burst(pointers.data(), found.data(), static_cast<uint32_t>(asked.size()));
  for (size_t i = 0; i < asked.size(); ++i) {
    const uint32_t expected = twin.lookup(asked[i]);
    ASSERT_EQ(lpm.lookup(asked[i].bytes.data()), expected) << "address " << i;
    ASSERT_EQ(found[i], expected) << "address " << i << " of the burst";
  }
}

void mixed_work(Family family, uint64_t seed, uint32_t steps, uint32_t live) {
  Random random(seed);
  Lpm lpm(family);
  Twin twin;
  std::vector<Address> known;
  for (uint32_t i = 0; i < 16; ++i) known.push_back(random_address(random, family, known));
  for (uint32_t i = 0; i < steps; ++i) {
    // Removals follow the population, so that it rises to `live` and now and then falls to nothing.
    const bool shrink = (i / (4 * live)) % 3 == 2;
    const uint32_t what = static_cast<uint32_t>(random() % 8);
    if (what < 3 || (what < 5 && !shrink)) {
      const Address a = random_address(random, family, known);
      if (known.size() < live) known.push_back(a);
      const Prefix p = make_prefix(a, random_length(random, family));
      const uint32_t value = static_cast<uint32_t>(random() % 1000);
      ASSERT_EQ(lpm.set(p, value), twin.set(p, value));
    } else if (what < 7) {
      Prefix p = make_prefix(random_address(random, family, known), random_length(random, family));
      if (!twin.prefixes.empty() && random() % 4 != 0) {
        const auto at = twin.prefixes.lower_bound(p);
        p = at == twin.prefixes.end() ? twin.prefixes.begin()->first : at->first;
      }
      ASSERT_EQ(lpm.get(p), twin.get(p));
      ASSERT_EQ(lpm.remove(p), twin.remove(p));
      ASSERT_EQ(lpm.get(p), Lpm::kNoValue);
    } else {
      std::vector<Address> asked;
      for (uint32_t n = 0; n < 3; ++n) asked.push_back(random_address(random, family, known));
      expect_same_lookups(lpm, twin, asked);
    }
    ASSERT_EQ(lpm.size(), twin.prefixes.size());
    if (i % 2000 == 0) {
      expect_same_walk(lpm, twin);
      const Prefix after =
          make_prefix(random_address(random, family, known), random_length(random, family));
      expect_same_walk_after(lpm, twin, after);
    }
    if (testing::Test::HasFatalFailure()) FAIL() << "at step " << i;
  }
  // All out, in random order: what is left must be an empty table's worth.
  std::vector<Prefix> left;
  for (const auto& entry : twin.prefixes) left.push_back(entry.first);
  std::shuffle(left.begin(), left.end(), random);
  for (const Prefix& p : left) {
    ASSERT_EQ(lpm.remove(p), twin.remove(p));
    std::vector<Address> asked;
    asked.push_back(random_address(random, family, known));
    expect_same_lookups(lpm, twin, asked);
    if (testing::Test::HasFatalFailure()) FAIL();
  }
  EXPECT_EQ(lpm.size(), 0u);
  EXPECT_EQ(lpm.bytes(), Lpm(family).bytes());
}

TEST(Lpm, AgreesWithTwinOnMixedWorkV4) { mixed_work(Family::V4, 1, 100000, 3000); }
TEST(Lpm, AgreesWithTwinOnMixedWorkV6) { mixed_work(Family::V6, 2, 100000, 3000); }
TEST(Lpm, AgreesWithTwinWhenOftenEmptyV4) { mixed_work(Family::V4, 3, 20000, 6); }
TEST(Lpm, AgreesWithTwinWhenOftenEmptyV6) { mixed_work(Family::V6, 4, 20000, 6); }

// Enough prefixes for the index of the first bits, then few enough to lose it again.
void with_index(Family family, uint64_t seed) {
  Random random(seed);
  Lpm lpm(family);
  Twin twin;
  std::vector<Address> known;
  for (uint32_t i = 0; i < 64; ++i) known.push_back(random_address(random, family, known));
  const auto change = [&] {
    const Address a = random_address(random, family, known);
    if (known.size() < 5000) known.push_back(a);
    const Prefix p = make_prefix(a, random_length(random, family));
    const uint32_t value = static_cast<uint32_t>(random() % 100000);
    ASSERT_EQ(lpm.set(p, value), twin.set(p, value));
  };
  const auto check = [&](uint32_t lookups) {
    std::vector<Address> asked;
    for (uint32_t n = 0; n < lookups; ++n) asked.push_back(random_address(random, family, known));
    expect_same_lookups(lpm, twin, asked);
  };
  while (lpm.size() < 40000) change();
  ASSERT_GT(lpm.bytes(), size_t{2} << 20) << "the index is in use";
  check(2000);
  for (uint32_t i = 0; i < 8000; ++i) {
    if (i % 2 == 0) {
      change();
    } else {
      const Prefix near =
          make_prefix(random_address(random, family, known), random_length(random, family));
      const auto at = twin.prefixes.lower_bound(near);
      const Prefix p = at == twin.prefixes.end() ? twin.prefixes.begin()->first : at->first;
      ASSERT_EQ(lpm.remove(p), twin.remove(p));
    }
    check(2);
    if (testing::Test::HasFatalFailure()) FAIL() << "at step " << i;
  }
  expect_same_walk(lpm, twin);
  const size_t big = lpm.bytes();
  while (lpm.size() > 4000) {
    const Prefix near = make_prefix(random_address(random, family, known), 32);
    const auto at = twin.prefixes.lower_bound(near);
    const Prefix p = at == twin.prefixes.end() ? twin.prefixes.begin()->first : at->first;
    ASSERT_EQ(lpm.remove(p), twin.remove(p));
    if (lpm.size() % 64 == 0) check(2);
  }
  EXPECT_LT(lpm.bytes() + (size_t{2} << 20) - 4096, big) << "the index is gone";
  check(2000);
  expect_same_walk(lpm, twin);
}

TEST(Lpm, AgreesWithTwinWithIndexV4) { with_index(Family::V4, 5); }
TEST(Lpm, AgreesWithTwinWithIndexV6) { with_index(Family::V6, 6); }

TEST(Lpm, LongestOfNestedPrefixesWins) {
  for (const bool upwards : {true, false}) {
    Lpm lpm(Family::V4);
    for (uint32_t n = 0; n <= 32; ++n) {
      const uint32_t length = upwards ? n : 32 - n;
      lpm.set(v4(10, 1, 2, 3, length), length);
    }
    for (uint32_t length = 32; length > 0; --length) {
      // An address that shares exactly `length` bits with 10.1.2.3.
      Address a = Address::from_v4(0x0a010203);
      if (length < 32) a.bytes[length / 8] ^= static_cast<uint8_t>(0x80u >> length % 8);
      EXPECT_EQ(lpm.lookup(a.bytes.data()), length);
    }
    for (uint32_t length = 32; length > 0; --length) {
      EXPECT_EQ(lpm.remove(v4(10, 1, 2, 3, length)), length);
      EXPECT_EQ(lpm.lookup(v4(10, 1, 2, 3, 32).address.bytes.data()), length - 1);
    }
  }
}

TEST(Lpm, LongestOfNestedPrefixesWinsV6) {
  Lpm lpm(Family::V6);
  const auto at = [](uint32_t length) {
    return v6({0x2001, 0xdb8, 0x1234, 0x5678, 0x9abc, 0xdef0, 0x1357, 0x9bdf}, length);
  };
  for (uint32_t n = 0; n <= 128; ++n) lpm.set(at(n * 37 % 129), n * 37 % 129);
  ASSERT_EQ(lpm.size(), 129u);
  for (uint32_t length = 128; length > 0; --length) {
    EXPECT_EQ(lpm.lookup(at(128).address.bytes.data()), length);
    EXPECT_EQ(lpm.remove(at(length)), length);
  }
  EXPECT_EQ(lpm.lookup(at(128).address.bytes.data()), 0u);
}

TEST(Lpm, DefaultRouteIsLikeAnyOther) {
  for (const Family family : {Family::V4, Family::V6}) {
    Lpm lpm(family);
    Address zero;
    zero.family = family;
    const Prefix any = make_prefix(zero, 0);
    const Prefix one = make_prefix(zero, 1);
    EXPECT_EQ(lpm.lookup(zero.bytes.data()), Lpm::kNoValue);
    EXPECT_EQ(lpm.set(any, 7), Lpm::kNoValue);
    EXPECT_EQ(lpm.set(any, 8), 7u);
    EXPECT_EQ(lpm.size(), 1u);
    EXPECT_EQ(lpm.get(any), 8u);
    EXPECT_EQ(lpm.lookup(zero.bytes.data()), 8u);
    EXPECT_EQ(lpm.set(one, 9), Lpm::kNoValue);
    EXPECT_EQ(all(lpm).size(), 2u);
    EXPECT_TRUE(all(lpm)[0].first == any);
    EXPECT_TRUE(all(lpm, &any)[0].first == one);
    EXPECT_EQ(all(lpm, &any).size(), 1u);
    EXPECT_EQ(lpm.remove(any), 8u);
    EXPECT_EQ(lpm.remove(any), Lpm::kNoValue);
    EXPECT_EQ(lpm.lookup(zero.bytes.data()), 9u);
  }
}

TEST(Lpm, HostRouteIsOneAddress) {
  Lpm lpm(Family::V6);
  lpm.set(v6({0x2001, 0xdb8, 0, 0, 0, 0, 0, 1}, 128), 1);
  lpm.set(v6({0x2001, 0xdb8, 0, 0, 0, 0, 0, 3}, 128), 3);
  EXPECT_EQ(lpm.lookup(v6({0x2001, 0xdb8, 0, 0, 0, 0, 0, 1}, 128).address.bytes.data()), 1u);
  EXPECT_EQ(lpm.lookup(v6({0x2001, 0xdb8, 0, 0, 0, 0, 0, 2}, 128).address.bytes.data()),
            Lpm::kNoValue);
  EXPECT_EQ(lpm.lookup(v6({0x2001, 0xdb8, 0, 0, 0, 0, 0, 3}, 128).address.bytes.data()), 3u);
  EXPECT_EQ(lpm.lookup(v6({0x2001, 0xdb8, 0, 1, 0, 0, 0, 1}, 128).address.bytes.data()),
            Lpm::kNoValue);
}

TEST(Lpm, WalkStopsWhenToldAndGoesOnAfterAPrefixThatHasGone) {
  Lpm lpm(Family::V4);
  for (uint32_t i = 0; i < 100; ++i) lpm.set(v4(10, 0, i, 0, 24), i);
  Prefix last;
  std::vector<uint32_t> seen;
  const auto page = [&](const Prefix* after) {
    uint32_t taken = 0;
    lpm.each(
        [&](const Prefix& p, uint32_t value) {
          seen.push_back(value);
          last = p;
          return ++taken < 7;
        },
        after);
    return taken;
  };
  uint32_t taken = page(nullptr);
  while (taken == 7) {
    const Prefix cursor = last;
    lpm.remove(cursor);
    taken = page(&cursor);
  }
  ASSERT_EQ(seen.size(), 100u);
  for (uint32_t i = 0; i < 100; ++i) EXPECT_EQ(seen[i], i);
}

TEST(Lpm, SmallTablesAreSmall) {
  EXPECT_LT(Lpm(Family::V4).bytes(), 1024u);
  EXPECT_LT(Lpm(Family::V6).bytes(), 1024u);
  Random random(9);
  Lpm near4(Family::V4), far4(Family::V4), near6(Family::V6), far6(Family::V6);
  for (uint32_t i = 0; i < 10; ++i) {
    near4.set(v4(10, 32, 0, i + 2, 32), i);
    far4.set(make_prefix(random_address(random, Family::V4, {}), 32), i);
    near6.set(v6({0xfd00, 1, 2, 3, 0, 0, 0, static_cast<uint16_t>(i + 2)}, 128), i);
    far6.set(make_prefix(random_address(random, Family::V6, {}), 128), i);
  }
  EXPECT_LT(near4.bytes(), 2048u);
  EXPECT_LT(far4.bytes(), 4096u);
  EXPECT_LT(near6.bytes(), 2048u);
  EXPECT_LT(far6.bytes(), 4096u);
}

// The same prefixes in and out in other orders: what was freed is used again.
TEST(Lpm, ChurnDoesNotGrow) {
  for (const Family family : {Family::V4, Family::V6}) {
    Random random(11);
    Lpm lpm(family);
    std::vector<Address> known;
    std::vector<Prefix> prefixes;
    for (uint32_t i = 0; i < 2000; ++i) {
      known.push_back(random_address(random, family, known));
      prefixes.push_back(make_prefix(known.back(), random_length(random, family)));
    }
    lpm.set(prefixes[0], 0);  // so that it is never empty
    const auto round = [&] {
      std::shuffle(prefixes.begin() + 1, prefixes.end(), random);
      for (uint32_t i = 1; i < prefixes.size(); ++i) lpm.set(prefixes[i], i);
      std::shuffle(prefixes.begin() + 1, prefixes.end(), random);
      for (uint32_t i = 1; i < prefixes.size(); ++i) {
        if (!(prefixes[i] == prefixes[0])) lpm.remove(prefixes[i]);
      }
      ASSERT_EQ(lpm.size(), 1u);
    };
    for (uint32_t i = 0; i < 10; ++i) round();
    const size_t settled = lpm.bytes();
    for (uint32_t i = 0; i < 40; ++i) round();
    EXPECT_LE(lpm.bytes(), settled + settled / 2);  // one step of growth: orders differ
  }
}

// A way that was split for a neighbour is joined again when the neighbour goes.
TEST(Lpm, NeighboursLeaveNoTrace) {
  Random random(12);
  Lpm lpm(Family::V6);
  const Address home = random_address(random, Family::V6, {});
  const size_t empty = lpm.bytes();
  lpm.set(make_prefix(home, 128), 1);
  for (uint32_t round = 0; round < 500; ++round) {
    Address other = random_address(random, Family::V6, {});
    const uint32_t same = static_cast<uint32_t>(random() % 128);
    for (uint32_t n = 0; n < same; ++n) {
      if (bit_of(other, n) != bit_of(home, n)) {
        other.bytes[n / 8] ^= static_cast<uint8_t>(0x80u >> n % 8);
      }
    }
    if (other == home) continue;
    lpm.set(make_prefix(other, 128), 2);
    lpm.remove(make_prefix(other, 128));
  }
  EXPECT_EQ(lpm.lookup(home.bytes.data()), 1u);
  EXPECT_LT(lpm.bytes(), empty + 448);
}

TEST(Lpm, MovesWithItsContent) {
  Lpm a(Family::V4);
  a.set(v4(10, 0, 0, 0, 8), 5);
  Lpm b(std::move(a));
  Lpm c(Family::V4);
  c = std::move(b);
  EXPECT_EQ(c.lookup(v4(10, 1, 2, 3, 32).address.bytes.data()), 5u);
}

// Hosts of one subnet, few and so many that there is an index; a prefix before the subnet's end, which
// comes and goes, and a default route.
TEST(Lpm, BurstsAgreeWhereAllPrefixesBeginAlike) {
  Random random(11);
  for (const Family family : {Family::V4, Family::V6}) {
    for (const uint32_t hosts : {1u, 5u, 300u, 40'000u}) {
      const bool is4 = family == Family::V4;
      const uint32_t bits = is4 ? 32 : 128;
      const auto host = [&](uint32_t n) {
        Prefix p = is4 ? v4(10, 1, n >> 8, n & 255, bits)
                       : v6({0xfd00, 0x64, 0xff9b, 1, 0, 0, 7, static_cast<uint16_t>(n)}, bits);
        return p;
      };
      Lpm lpm(family);
      for (uint32_t n = 0; n < hosts; ++n) lpm.set(host(n * 65'535 / hosts), n);
      const auto agree = [&] {
        std::vector<Address> asked;
        for (uint32_t i = 0; i < 500; ++i) {
          Address a = host(random() % 65'536).address;
          // Another bit than the subnet's, in half of them.
          if (i % 2 == 0) a.bytes[random() % a.size()] ^= static_cast<uint8_t>(1u << random() % 8);
          asked.push_back(a);
        }
        std::vector<const uint8_t*> pointers;
        for (const Address& a : asked) pointers.push_back(a.bytes.data());
        std::vector<uint32_t> found(asked.size());
        lpm.lookup_burst(pointers.data(), found.data(), static_cast<uint32_t>(asked.size()));
        for (size_t i = 0; i < asked.size(); ++i) {
          ASSERT_EQ(found[i], lpm.lookup(asked[i].bytes.data())) << asked[i].text();
        }
      };
      agree();
      lpm.set(make_prefix(host(0).address, 0), 70'000);
      agree();
      for (const uint32_t length : {8u, 13u, bits - 16, bits - 20}) {
        lpm.set(make_prefix(host(0).address, length), 70'000 + length);
        agree();
        lpm.remove(make_prefix(host(0).address, length));
        agree();
      }
    }
  }
}

TEST(Lpm, BurstsOfAnyLength) {
  Lpm lpm(Family::V4);
  for (uint32_t i = 0; i < 256; ++i) lpm.set(v4(i, 0, 0, 0, 8), i);
  std::vector<Address> addresses;
  std::vector<const uint8_t*> pointers;
  for (uint32_t i = 0; i < 200; ++i) addresses.push_back(Address::from_v4(i << 24 | i));
  for (const Address& a : addresses) pointers.push_back(a.bytes.data());
  for (uint32_t n = 0; n <= 200; ++n) {
    std::vector<uint32_t> out(201, 12345);
    lpm.lookup_burst(pointers.data(), out.data(), n);
    for (uint32_t i = 0; i < n; ++i) ASSERT_EQ(out[i], i);
    ASSERT_EQ(out[n], 12345u);
  }
}

}  // namespace
}  // namespace vrouter
