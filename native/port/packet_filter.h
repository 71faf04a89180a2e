// PacketFilter: which packets, in libpcap's language. The language, its compiler and its machine
// are libpcap's, loaded when the first filter is asked for; where it is not installed, filters are
// refused and nothing else is.
//
// Invariants
//  * compile() is for the process of whoever asks: it may ask the resolver for a name, and wait. A
//    router takes compiled programs only.
//  * load() refuses what libpcap's own check refuses, and jumps backwards besides, so a program
//    ends after as many steps as it has instructions, kMaxFilterInstructions at most.
#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace vrouter {

inline constexpr uint32_t kMaxFilterInstructions = 4096;  // BPF_MAXINSNS of Linux
inline constexpr uint32_t kFilterInstructionBytes = 8;
inline constexpr uint32_t kMaxFilterText = 4096;

enum class FilterFault : uint8_t { None, NoLibrary, BadFilter };

class PacketFilter {
 public:
  // Text -> instructions for Ethernet frames. `why` is libpcap's word where it says no.
  static FilterFault compile(const std::string& text, std::vector<uint8_t>& program,
                             std::string& why);
  // nullptr: fault and why say it.
  static std::unique_ptr<PacketFilter> load(std::span<const uint8_t> program, FilterFault& fault,
                                            std::string& why);

  bool matches(const uint8_t* frame, uint32_t length) const {
    return run_(instructions_.data(), frame, length, length) != 0;
  }

 private:
  using Run = unsigned (*)(const void* program, const uint8_t* frame, unsigned wire_length,
                           unsigned length);
  PacketFilter(Run run, std::span<const uint8_t> program);

  Run run_;
  std::vector<uint64_t> instructions_;  // aligned as struct bpf_insn wants to be
};

}  // namespace vrouter
