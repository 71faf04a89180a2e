// The way of a packet; pipeline.cc is its table of contents.
#pragma once
#include "path/context.h"

namespace vrouter {

// Takes a burst that a port filled (meta.vif set, counted as received by the caller) through all
// rooms. Every packet is transmitted, held, or freed when it returns, and its way out is counted
// once.
void forward(Context& context, Burst& burst);

// Housekeeping between bursts: ages flows, drops fragments held too long. Bounded work.
void tick(Context& context);

// Runs one frame as if it came in on `vif`, notes every room into trace, and leaves every table and
// counter as it was. The frame is copied. With the trace of an earlier frame it meets the flow that
// one would have made: so replies are explained.
void explain(Context& context, VifId vif, const uint8_t* frame, uint32_t length, Trace& trace);
// The same for a packet that is just about to go through the rooms; it stays as it is.
void explain(Context& context, const Packet& packet, Trace& trace);

}  // namespace vrouter
