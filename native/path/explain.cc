// explain(): the same rooms, with a trace and without effect. Flows are copied, not touched
// (flows.cc), counters and the few words of state in Context are put back, nothing is transmitted.
#include "path/explain.h"

#include <cstdarg>
#include <cstdio>

#include "path/pipeline.h"
#include "path/rooms.h"

namespace vrouter {

void Trace::note(const char* room, const char* format, ...) {
  char line[2048];
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(line, sizeof line, format, arguments);
  va_end(arguments);
  text += room;
  text += '\t';
  text += line;
  text += '\n';
}

namespace {

// Takes the packet over.
void follow(Context& context, Packet* packet, Trace& trace) {
  const Counters counters = context.counters;
  const uint16_t identification = context.ip_identification;
  context.trace = &trace;
  Burst one;
  one.packets[one.count++] = packet;
  forward(context, one);
  context.trace = nullptr;
  context.ip_identification = identification;
  context.counters = counters;
}

}  // namespace

void explain(Context& context, VifId vif, const uint8_t* frame, uint32_t length, Trace& trace) {
  Packet* packet = context.pool.allocate();
  if (packet == nullptr || packet->tailroom() < length) {
    trace.note("explain", "no buffer for a frame of %u bytes", length);
    if (packet != nullptr) context.pool.free(packet);
    return;
  }
  if (length != 0) std::memcpy(packet->data(), frame, length);
  packet->append(length);
  packet->meta.vif = vif;
  follow(context, packet, trace);
}

void explain(Context& context, const Packet& packet, Trace& trace) {
  Packet* copy = context.pool.copy(packet);
  if (copy == nullptr) {
    trace.note("explain", "no buffer for a frame of %u bytes", packet.length);
  } else {
    follow(context, copy, trace);
  }
}

}  // namespace vrouter
