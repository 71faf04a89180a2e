// Trace: what one packet met, room by room. The same rooms run with and without it; without, it is
// a null pointer tested at the few places that would write a line.
#pragma once
#include <string>
#include <vector>

#include "packet/packet.h"
#include "state/flow.h"

namespace vrouter {

// How one packet ended: the one that came, or one that was made of it or about it.
struct TraceEnd {
  Verdict verdict;
  DropReason drop;             // with Verdict::Drop
  FlowDrop flow_drop;          // with DropReason::FlowActionDrop; otherwise Unknown
  Room room;                   // where it was dropped
  VifId out_vif;               // where it leaves; not valid when dropped
  VrfId vrf;                   // where its addresses were last looked up
  bool generated;              // by the router: an ICMP error, an answer
  bool copy;                   // one of several that the packet left as
  std::vector<uint8_t> frame;  // as it left, or as it was when it was dropped
};

struct Trace {
  std::string text;  // one line per note: "room\tsentence\n"
  std::vector<TraceEnd> ends;
  FlowEntry forward;  // the packet's flow, copied or built here; the table is not touched
  FlowEntry reverse;
  // The pair is one that an earlier frame of this trace would have made: a later one finds it.
  bool pretended = false;
  // printf-style; room is a rooms' file name without ".cc".
  __attribute__((format(printf, 3, 4))) void note(const char* room, const char* format, ...);
};

}  // namespace vrouter
