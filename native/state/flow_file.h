// FlowFile: the memory of a flow table as a file, normally on a tmpfs, so that flows outlive the
// process that forwards. One page of header, then tags, the three arrays of entries, and the
// incarnations of next hops that the entries' scopes contain (next_hop.h).
//
// Invariants
//  * open() always ends with memory: what the file holds if its header is this build's, of the
//    capacity and the seed asked for; else zeros, with the reason. Where there can be no file at
//    all, reason() says so and file() is false; the caller does without.
//  * The header says whose ids the entries speak of (`owner`: a number the agent drew at its start).
//    An agent that is not the owner must claim(), which forgets what was there: its ids mean other
//    things.
//  * Nothing in the file is a pointer, and nothing in it is believed: the header here, entries by
//    FlowTable::adopt().
// Written by the worker (entries, clock) and the control side (header, while the worker is held).
#pragma once
#include <cstdint>
#include <string>

#include "base/mapped_memory.h"
#include "state/flow.h"

namespace vrouter {

struct FlowFileHeader {
  uint8_t magic[8];
  uint64_t layout;    // digest of all that must be equal for the bytes to mean the same
  uint64_t capacity;  // entries
  uint64_t seed;
  uint64_t check;   // of the four above
  uint64_t runs;    // processes that have had it, the present one included
  uint64_t clean;   // 1: the last one closed it; it changes nothing about what is checked
  uint64_t owner;   // 0: nobody's
  uint64_t now_ns;  // the clock of the last breath: last_seen counts on it
};

class FlowFile {
 public:
  FlowFile() = default;
  ~FlowFile() { close(); }
  FlowFile(const FlowFile&) = delete;
  FlowFile& operator=(const FlowFile&) = delete;

  // capacity: a power of two, as FlowTable wants it.
  void open(const std::string& path, uint32_t capacity, uint64_t seed);
  // Says that it was left in order.
  void close();

  bool file() const { return memory_.data() != nullptr; }
  bool kept() const { return kept_; }                    // there may be entries to adopt
  const std::string& reason() const { return reason_; }  // why not; "" if kept
  FlowFileHeader* header() const { return static_cast<FlowFileHeader*>(memory_.data()); }
  FlowMemory flows() const;
  uint16_t* incarnations() const;  // kMaxNextHops

  static uint64_t layout();
  static uint64_t check(const FlowFileHeader& header);

 private:
  uint8_t* tags() const;
  const char* wrong(uint32_t capacity, uint64_t seed) const;

  MappedMemory memory_;
  uint32_t capacity_ = 0;
  bool kept_ = false;
  std::string reason_;
};

}  // namespace vrouter
