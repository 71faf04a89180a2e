#include "state/route_store.h"

#include <gtest/gtest.h>

#include <map>
#include <random>

namespace vrouter {
namespace {

Route to(uint32_t next_hop, uint32_t label = kNoLabel, uint8_t length = 32) {
  Route route;
  route.next_hop = NextHopId{next_hop};
  route.label = label;
  route.length = length;
  return route;
}

TEST(RouteStore, WhatLeadsToTheSameIsOneObject) {
  RouteStore store;
  const uint32_t first = store.hold(to(30));
  EXPECT_EQ(store.hold(to(30)), first);
  EXPECT_EQ(store.size(), 1u);
  Route others[] = {to(31), to(30, 17), to(30, kNoLabel, 24), to(30), to(30), to(30)};
  others[3].flags = 1;
  others[4].hash_fields = 1;
  others[5].mac = Mac{{2, 0, 0, 0, 0, 1}};
  for (const Route& other : others) {
    EXPECT_NE(store.hold(other), first);
  }
  EXPECT_EQ(store.size(), 7u);
}

TEST(RouteStore, AnObjectStaysUntilItIsLetGoAsOftenAsItWasHeld) {
  RouteStore store;
  const uint32_t id = store.hold(to(30));
  store.hold(to(30));
  store.release(id);
  const uint32_t other = store.hold(to(31));
  EXPECT_NE(other, id);
  EXPECT_EQ(*store.find(id), to(30));
  store.release(id);
  EXPECT_EQ(store.size(), 1u);
  EXPECT_EQ(store.hold(to(32)), id) << "its place is used again";
  EXPECT_NE(store.hold(to(30)), id) << "and what was there is not remembered";
}

// Against what is held, by count: far more objects than are remembered.
TEST(RouteStore, IdsLeadToWhatWasHeldUnderThem) {
  std::mt19937 random(7);
  RouteStore store;
  std::multimap<uint32_t, Route> held;
  for (int step = 0; step < 200'000; ++step) {
    if (held.size() < 20'000 || random() % 2 == 0) {
      const Route route = to(random() % 4, random() % 8192, static_cast<uint8_t>(random() % 2));
      held.emplace(store.hold(route), route);
    } else {
      const auto it = held.lower_bound(random() % (held.rbegin()->first + 1));
      ASSERT_EQ(*store.find(it->first), it->second);
      store.release(it->first);
      held.erase(it);
    }
  }
  for (const auto& [id, route] : held) ASSERT_EQ(*store.find(id), route);
  EXPECT_LT(store.size(), held.size());
  for (const auto& [id, route] : held) store.release(id);
  EXPECT_EQ(store.size(), 0u);
}

}  // namespace
}  // namespace vrouter
