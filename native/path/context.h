// Context: all that the rooms of the pipeline may touch besides the packets. One per worker; lives
// as long as the worker. Time, randomness and output are in here, so a run is a function of its
// inputs.
#pragma once
#include <cstdint>

#include "packet/packet.h"
#include "path/explain.h"
#include "path/fragments.h"
#include "path/tier.h"
#include "state/counters.h"
#include "state/drop_log.h"
#include "state/events.h"
#include "state/flow.h"
#include "state/punt_limit.h"
#include "state/quota.h"
#include "state/router.h"

namespace vrouter {

struct Together;

// Token bucket of generated ICMP errors.
struct IcmpLimit {
  uint64_t at_ns = 0;  // 0: nothing has been earned yet
  uint32_t tokens = 0;
};

struct Context {
  Router& router;
  FlowTable& flows;
  FragmentTable& fragments;
  PacketPool& pool;
  Counters& counters;
  EventRing& events;
  FlowTimeouts& timeouts;
  FlowQuota& quota;
  PuntLimit& punts;
  IcmpLimit& icmp_limit;
  uint64_t now_ns = 0;             // since the router started
  uint64_t seed = 0;               // of ECMP and entropy; fixed per run
  uint16_t ip_identification = 0;  // of the outer IPv4 headers we make
  uint64_t aged_at_ns = 0;         // how far in time the sweep of the flow table has paid for
  Burst released{};                // fragments whose first has come; next through the rooms
  bool express = true;             // false: every packet goes room by room (express_test.cc)
  bool in_groups = true;           // false: new flows are decided one by one (new_flows_test.cc)
  Trace* trace = nullptr;          // explain only
  DropLog* drop_log = nullptr;
  // Takes ownership of a finished packet for meta.out_port; set by the worker.
  void (*transmit)(void* sink, Packet* packet) = nullptr;
  // The same for several, in order; nullptr: one by one.
  void (*transmit_all)(void* sink, Packet* const* packets, uint32_t count) = nullptr;
  void* sink = nullptr;
  // Of several workers (path/together.h); nullptr: it is alone.
  Together* together = nullptr;
  uint32_t worker = 0;    // which of them
  uint32_t in_rooms = 0;  // it has the rooms: how many scopes say so
  // Who carries flows past this process, and those of this breath it might; nullptr: nobody.
  Tier* tier = nullptr;
  uint32_t offers = 0;
  OfferedFlow offered[kMaxOffered] = {};
};

}  // namespace vrouter
