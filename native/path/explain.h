// Trace: what one packet met, room by room. The same rooms run with and without it; without, it is
// a null pointer tested at the few places that would write a line.
#pragma once
#include <string>

#include "state/flow.h"

namespace vrouter {

struct Trace {
  std::string text;  // one line per note: "room\tsentence\n"
  Flow forward{};    // the packet's flow, copied or built here; the table is not touched
  Flow reverse{};
  // printf-style; room is a rooms' file name without ".cc".
  __attribute__((format(printf, 3, 4))) void note(const char* room, const char* format, ...);
};

}  // namespace vrouter
