#include "state/flow_file.h"

#include <cstddef>
#include <cstring>

#include "base/hash.h"
#include "base/limits.h"
#include "state/next_hop.h"

namespace vrouter {
namespace {

constexpr uint8_t kMagic[8] = {'V', 'R', 'F', 'L', 'O', 'W', 'S', '\n'};
// One more whenever the meaning of a field changes that the digest below does not see.
constexpr uint64_t kVersion = 3;
constexpr size_t kHeaderBytes = 4096;
constexpr size_t kEntryBytes = 1 + sizeof(Flow) + sizeof(FlowCold) + sizeof(FlowAddresses6);
// Later than any clock that began at 0 and counts nanoseconds.
constexpr uint64_t kLatest = uint64_t{1} << 62;

}  // namespace

uint64_t FlowFile::layout() {
  uint64_t digest = kVersion;
  for (const uint64_t part : {uint64_t{sizeof(Flow)},
                              uint64_t{sizeof(FlowCold)},
                              uint64_t{sizeof(FlowAddresses6)},
                              uint64_t{sizeof(FlowFileHeader)},
                              uint64_t{sizeof(FlowKey)},
                              uint64_t{offsetof(Flow, source_port)},
                              uint64_t{offsetof(Flow, protocol)},
                              uint64_t{offsetof(Flow, flags)},
                              uint64_t{offsetof(Flow, action)},
                              uint64_t{offsetof(Flow, tcp)},
                              uint64_t{offsetof(Flow, vrf)},
                              uint64_t{offsetof(Flow, path)},
                              uint64_t{Flow::kNextHopBits},
                              uint64_t{Flow::kHasMember},
                              uint64_t{Flow::kLabelAt},
                              uint64_t{offsetof(Flow, nat_source4)},
                              uint64_t{offsetof(Flow, l3_delta)},
                              uint64_t{offsetof(Flow, generation)},
                              uint64_t{offsetof(Flow, last_seen)},
                              uint64_t{offsetof(Flow, recent)},
                              uint64_t{offsetof(Flow, tcp_ack)},
                              uint64_t{offsetof(FlowCold, tcp_sequence)},
                              uint64_t{offsetof(FlowCold, vif)},
                              uint64_t{static_cast<uint32_t>(FlowDrop::kCount)},
                              uint64_t{kMaxNextHops},
                              uint64_t{kMaxVifs},
                              uint64_t{kScopeIdBits}}) {
    digest = mix64(digest ^ part);
  }
  return digest;
}

uint64_t FlowFile::check(const FlowFileHeader& header) {
  uint64_t magic;
  std::memcpy(&magic, header.magic, sizeof magic);
  uint64_t sum = 0;
  for (const uint64_t part : {magic, header.layout, header.capacity, header.seed}) {
    sum = mix64(sum ^ part);
  }
  return sum;
}

uint8_t* FlowFile::tags() const { return static_cast<uint8_t*>(memory_.data()) + kHeaderBytes; }
FlowMemory FlowFile::flows() const {
  FlowMemory m;
  m.tags = tags();
  m.flows = reinterpret_cast<Flow*>(m.tags + capacity_);
  m.cold = reinterpret_cast<FlowCold*>(m.flows + capacity_);
  m.addresses6 = reinterpret_cast<FlowAddresses6*>(m.cold + capacity_);
  return m;
}
uint16_t* FlowFile::incarnations() const {
  return reinterpret_cast<uint16_t*>(flows().addresses6 + capacity_);
}

const char* FlowFile::wrong(uint32_t capacity, uint64_t seed) const {
  const FlowFileHeader& h = *header();
  if (std::memcmp(h.magic, kMagic, sizeof kMagic) != 0) return "it is no flow table";
  if (h.layout != layout()) return "it is another build's: entries are laid out differently";
  if (h.check != check(h)) return "its header is damaged";
  if (h.capacity != capacity) return "it has another number of entries";
  if (h.seed != seed) return "it was made with another seed";
  if (h.now_ns >= kLatest) return "its clock is damaged";
  return nullptr;
}

void FlowFile::open(const std::string& path, uint32_t capacity, uint64_t seed) {
  const size_t bytes =
      kHeaderBytes + size_t{capacity} * kEntryBytes + size_t{kMaxNextHops} * sizeof(uint16_t);
  capacity_ = capacity;
  bool same_size = false;
  if (!memory_.map_file(path, bytes, &same_size, &reason_)) return;
  const char* why = same_size ? wrong(capacity, seed) : "it is new, or of another size";
  if (why == nullptr) {
    kept_ = true;
  } else {
    reason_ = path + ": " + why;
    memory_.empty_file();
    std::memcpy(header()->magic, kMagic, sizeof kMagic);
    header()->layout = layout();
    header()->capacity = capacity;
    header()->seed = seed;
    header()->check = check(*header());
  }
  ++header()->runs;
  header()->clean = 0;
}

void FlowFile::close() {
  if (file()) header()->clean = 1;
  memory_.unmap();
}

}  // namespace vrouter
