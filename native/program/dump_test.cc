// Order, resumption and bounds of dumps; that they are complete and right is in property_test.cc.
#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "program/program.h"

namespace vrouter {
namespace {

using Bytes = std::vector<uint8_t>;

struct Step {
  Bytes bytes;
  std::string cursor;
};

Step step(Router& router, DumpTable table, std::string cursor, size_t limit, VrfId vrf = VrfId{}) {
  Step s;
  s.cursor = std::move(cursor);
  EXPECT_TRUE(dump(router, table, vrf, s.cursor, limit, s.bytes).ok());
  return s;
}

std::vector<Op> ops_of(const Bytes& bytes) {
  std::vector<Op> all;
  for (size_t at = 0; at < bytes.size();) {
    const uint32_t length = 8 + (bytes[at + 4] | bytes[at + 5] << 8 | bytes[at + 6] << 16);
    Bytes program = encode_program({});
    program[4] = 1;
    program.insert(program.end(), bytes.begin() + static_cast<ptrdiff_t>(at),
                   bytes.begin() + static_cast<ptrdiff_t>(at + length));
    std::vector<Op> one;
    EXPECT_TRUE(decode(program, one).ok());
    all.push_back(one.at(0));
    at += length;
  }
  return all;
}

Prefix prefix(const char* text) {
  Prefix p;
  EXPECT_TRUE(Prefix::parse(text, p));
  return p;
}

void add_route(Router& r, uint32_t vrf, const char* text) {
  const Prefix p = prefix(text);
  r.exchange(VrfId{vrf}, p, RouteSpec{vrf, p, 0, kNoLabel, 0, 0, {}});
}

class Dump : public testing::Test {
 protected:
  Dump() {
    for (uint32_t vrf : {3u, 1u, 2u}) r.exchange(VrfId{vrf}, VrfSpec{vrf, "", 0});
    for (const char* text : {"fd00::/16", "10.0.0.0/16", "::/0", "10.0.0.0/8", "9.0.0.0/8",
                             "0.0.0.0/0", "10.0.0.0/32"}) {
      add_route(r, 3, text);
    }
    add_route(r, 1, "10.0.0.0/8");
  }
  std::vector<std::string> routes(const Bytes& bytes) {
    std::vector<std::string> out;
    for (const Op& op : ops_of(bytes)) {
      const RouteSpec& s = std::get<RouteSpec>(op);
      out.push_back(std::to_string(s.vrf) + " " + s.prefix.text());
    }
    return out;
  }
  Router r;
};

const std::vector<std::string> kInOrder = {"1 10.0.0.0/8", "3 0.0.0.0/0",   "3 9.0.0.0/8",
                                           "3 10.0.0.0/8", "3 10.0.0.0/16", "3 10.0.0.0/32",
                                           "3 ::/0",       "3 fd00::/16"};

TEST_F(Dump, RoutesAreInOrder) {
  const Step all = step(r, DumpTable::Routes, "", 1 << 20);
  EXPECT_EQ(routes(all.bytes), kInOrder);
  EXPECT_EQ(all.cursor, "");
}

TEST_F(Dump, OneVrfAlone) {
  const Step three = step(r, DumpTable::Routes, "", 1 << 20, VrfId{3});
  EXPECT_EQ(routes(three.bytes), std::vector<std::string>(kInOrder.begin() + 1, kInOrder.end()));
  EXPECT_TRUE(step(r, DumpTable::Routes, "", 1 << 20, VrfId{2}).bytes.empty());
  EXPECT_TRUE(step(r, DumpTable::Routes, "", 1 << 20, VrfId{77}).bytes.empty());
  for (size_t limit : {1u, 50u, 100u}) {
    std::vector<std::string> seen;
    std::string cursor;
    do {
      const Step s = step(r, DumpTable::Routes, cursor, limit, VrfId{3});
      for (const std::string& text : routes(s.bytes)) seen.push_back(text);
      cursor = s.cursor;
    } while (!cursor.empty());
    EXPECT_EQ(seen, std::vector<std::string>(kInOrder.begin() + 1, kInOrder.end()));
  }
}

TEST_F(Dump, EveryStepGetsOn) {
  for (size_t limit : {0u, 1u, 46u, 47u, 92u, 93u, 200u}) {
    std::vector<std::string> seen;
    std::string cursor;
    uint32_t steps = 0;
    do {
      const Step s = step(r, DumpTable::Routes, cursor, limit);
      for (const std::string& text : routes(s.bytes)) seen.push_back(text);
      cursor = s.cursor;
      ASSERT_LT(++steps, 20u);
    } while (!cursor.empty());
    EXPECT_EQ(seen, kInOrder) << limit;
    if (limit <= 46) {
      EXPECT_GE(steps, 8u);
    }
  }
}

TEST_F(Dump, WhatStandsIsSeenOnceThoughOthersComeAndGo) {
  Step s = step(r, DumpTable::Routes, "", 46 * 3);
  ASSERT_EQ(routes(s.bytes), std::vector<std::string>(kInOrder.begin(), kInOrder.begin() + 3));
  // The entry the cursor stands on goes, one before it and one after it come.
  r.exchange(VrfId{3}, prefix("9.0.0.0/8"), std::nullopt);
  add_route(r, 2, "1.0.0.0/8");
  add_route(r, 3, "9.128.0.0/9");
  s = step(r, DumpTable::Routes, s.cursor, 1 << 20);
  EXPECT_EQ(routes(s.bytes),
            (std::vector<std::string>{"3 9.128.0.0/9", "3 10.0.0.0/8", "3 10.0.0.0/16",
                                      "3 10.0.0.0/32", "3 ::/0", "3 fd00::/16"}));
}

TEST_F(Dump, AVrfThatGoesInBetweenIsNoError) {
  Step s = step(r, DumpTable::Routes, "", 46 * 3);
  for (const char* text : {"fd00::/16", "10.0.0.0/16", "::/0", "10.0.0.0/8", "9.0.0.0/8",
                           "0.0.0.0/0", "10.0.0.0/32"}) {
    r.exchange(VrfId{3}, prefix(text), std::nullopt);
  }
  r.exchange(VrfId{3}, std::nullopt);
  s = step(r, DumpTable::Routes, s.cursor, 1 << 20);
  EXPECT_TRUE(s.bytes.empty());
  EXPECT_EQ(s.cursor, "");
}

TEST_F(Dump, MacsAreInOrderWhateverTheSteps) {
  std::mt19937 random(7);
  std::vector<Mac> macs;
  for (uint32_t i = 0; i < 500; ++i) {
    Mac mac{{2, 0, 0, 0, static_cast<uint8_t>(random()), static_cast<uint8_t>(random())}};
    r.exchange(VrfId{2}, mac, MacSpec{2, mac, 0, i, 0});
    macs.push_back(mac);
  }
  std::sort(macs.begin(), macs.end(), [](const Mac& a, const Mac& b) { return a.bytes < b.bytes; });
  macs.erase(std::unique(macs.begin(), macs.end()), macs.end());
  for (size_t limit : {1u, 100u, 1000u, 1000000u}) {
    std::vector<Mac> seen;
    std::string cursor;
    do {
      const Step s = step(r, DumpTable::Macs, cursor, limit);
      for (const Op& op : ops_of(s.bytes)) seen.push_back(std::get<MacSpec>(op).mac);
      EXPECT_LT(s.bytes.size(), limit + 27);
      cursor = s.cursor;
    } while (!cursor.empty());
    EXPECT_EQ(seen, macs) << limit;
  }
}

TEST_F(Dump, SparseTablesByLabelAndVni) {
  for (uint32_t label : {16u, 4095u, 4096u, 900000u}) r.exchange_label(label, LabelSpec{label, 0});
  for (uint32_t vni : {1u, 70000u, kMaxVni}) r.exchange_vni(vni, VniSpec{vni, 0});
  for (auto [table, count] : {std::pair{DumpTable::Labels, 4u}, {DumpTable::Vnis, 3u}}) {
    std::vector<Op> seen;
    std::string cursor;
    do {
      const Step s = step(r, table, cursor, 1);
      const std::vector<Op> ops = ops_of(s.bytes);
      ASSERT_LE(ops.size(), 1u);
      seen.insert(seen.end(), ops.begin(), ops.end());
      cursor = s.cursor;
    } while (!cursor.empty());
    EXPECT_EQ(seen.size(), count);
  }
}

TEST_F(Dump, LimitCountsWhatIsInTheBufferAlready) {
  Bytes out(100);
  std::string cursor;
  ASSERT_TRUE(dump(r, DumpTable::Vrfs, VrfId{}, cursor, 110, out).ok());
  EXPECT_EQ(out.size(), 118u);  // one op of 18 bytes reaches it
  EXPECT_NE(cursor, "");
}

TEST_F(Dump, AnEmptyRouterHasOnlyItself) {
  Router empty;
  for (uint32_t t = 0; t < static_cast<uint32_t>(DumpTable::kCount); ++t) {
    const Step s = step(empty, static_cast<DumpTable>(t), "", 1 << 20);
    EXPECT_EQ(s.cursor, "");
    if (t == 0) {
      EXPECT_EQ(ops_of(s.bytes), std::vector<Op>{RouterSpec{}});
    } else {
      EXPECT_TRUE(s.bytes.empty()) << t;
    }
  }
}

TEST_F(Dump, CursorsThatAreNotOursAreRefused) {
  Bytes out;
  std::string cursor = "x";
  Status status = dump(r, DumpTable::Routes, VrfId{}, cursor, 100, out);
  EXPECT_EQ(status.code, StatusCode::BadValue);
  EXPECT_STREQ(status.field, "cursor");
  cursor.clear();
  status = dump(r, DumpTable::kCount, VrfId{}, cursor, 100, out);
  EXPECT_EQ(status.code, StatusCode::BadValue);
  EXPECT_STREQ(status.field, "table");
  // Of the right length but any content: no crash, no endless loop.
  std::mt19937 random(9);
  for (uint32_t i = 0; i < 2000; ++i) {
    const Step s = step(r, DumpTable::Routes, "", 46 * (1 + i % 7));
    std::string spoilt = s.cursor;
    if (spoilt.empty()) continue;
    spoilt[random() % spoilt.size()] = static_cast<char>(random());
    step(r, static_cast<DumpTable>(i % static_cast<uint32_t>(DumpTable::kCount)), spoilt, 1 << 20);
  }
  EXPECT_TRUE(out.empty());
}

}  // namespace
}  // namespace vrouter
