#include "port/packet_filter.h"

#include <dlfcn.h>

#include <cstring>

namespace vrouter {
namespace {

// Debian and its like; the others; a developer's.
constexpr const char* kLibraries[] = {"libpcap.so.0.8", "libpcap.so.1", "libpcap.so"};
constexpr int kEthernet = 1;            // DLT_EN10MB
constexpr int kSnapBytes = 262144;      // accepted frames count as whole
constexpr uint32_t kUnknownMask = ~0u;  // PCAP_NETMASK_UNKNOWN
constexpr uint16_t kJumpAlways = 0x05;  // BPF_JMP | BPF_JA

// As <pcap/bpf.h> has them; its ABI is kept since 1993.
struct Instruction {
  uint16_t code;
  uint8_t if_true;
  uint8_t if_false;
  uint32_t operand;
};
static_assert(sizeof(Instruction) == kFilterInstructionBytes);
struct Program {
  unsigned count;
  Instruction* instructions;
};

struct Library {
  void* (*open_dead)(int link, int snap);
  int (*compile)(void* handle, Program* out, const char* text, int optimise, uint32_t mask);
  char* (*error_of)(void* handle);
  void (*free_code)(Program* program);
  void (*close)(void* handle);
  int (*validate)(const Instruction* program, int count);
  unsigned (*run)(const void* program, const uint8_t* frame, unsigned wire_length, unsigned length);
  bool complete;
};

template <class Function>
bool find(void* library, const char* name, Function& out) {
  out = reinterpret_cast<Function>(dlsym(library, name));
  return out != nullptr;
}

Library open_library() {
  Library found{};
  void* at = nullptr;
  for (const char* name : kLibraries) {
    if (at == nullptr) at = dlopen(name, RTLD_NOW | RTLD_LOCAL);
  }
  found.complete =
      at != nullptr && find(at, "pcap_open_dead", found.open_dead) &&
      find(at, "pcap_compile", found.compile) && find(at, "pcap_geterr", found.error_of) &&
      find(at, "pcap_freecode", found.free_code) && find(at, "pcap_close", found.close) &&
      find(at, "bpf_validate", found.validate) && find(at, "bpf_filter", found.run);
  return found;
}

const Library* library() {
  static const Library loaded = open_library();  // for as long as the process lives
  return loaded.complete ? &loaded : nullptr;
}

FilterFault no_library(std::string& why) {
  why = "a filter needs libpcap (Debian: libpcap0.8), which is not installed here";
  return FilterFault::NoLibrary;
}

FilterFault bad(std::string& why, std::string text) {
  why = std::move(text);
  return FilterFault::BadFilter;
}

}  // namespace

FilterFault PacketFilter::compile(const std::string& text, std::vector<uint8_t>& program,
                                  std::string& why) {
  const Library* pcap = library();
  if (pcap == nullptr) return no_library(why);
  void* handle = pcap->open_dead(kEthernet, kSnapBytes);
  if (handle == nullptr) return bad(why, "libpcap could not be set up");
  Program out{};
  FilterFault fault = FilterFault::None;
  if (pcap->compile(handle, &out, text.c_str(), 1, kUnknownMask) != 0) {
    fault = bad(why, pcap->error_of(handle));
  } else {
    if (out.count > kMaxFilterInstructions) {
      fault = bad(why, "more than " + std::to_string(kMaxFilterInstructions) + " instructions");
    } else {
      program.resize(out.count * sizeof(Instruction));
      std::memcpy(program.data(), out.instructions, program.size());
    }
    pcap->free_code(&out);
  }
  pcap->close(handle);
  return fault;
}

std::unique_ptr<PacketFilter> PacketFilter::load(std::span<const uint8_t> program,
                                                 FilterFault& fault, std::string& why) {
  const Library* pcap = library();
  if (pcap == nullptr) {
    fault = no_library(why);
    return nullptr;
  }
  const size_t count = program.size() / sizeof(Instruction);
  if (count == 0 || count > kMaxFilterInstructions || program.size() % sizeof(Instruction) != 0) {
    fault = bad(why, "1 to " + std::to_string(kMaxFilterInstructions) + " instructions are needed");
    return nullptr;
  }
  std::unique_ptr<PacketFilter> made(new PacketFilter(pcap->run, program));
  const Instruction* first = reinterpret_cast<const Instruction*>(made->instructions_.data());
  if (pcap->validate(first, static_cast<int>(count)) == 0) {
    fault = bad(why, "not a valid program");
    return nullptr;
  }
  for (size_t at = 0; at < count; ++at) {
    // libpcap lets programs loop (`protochain`); a worker does not.
    if (first[at].code == kJumpAlways && first[at].operand >= count - at) {
      fault = bad(why, "a program that may loop (protochain) is not run");
      return nullptr;
    }
  }
  fault = FilterFault::None;
  return made;
}

PacketFilter::PacketFilter(Run run, std::span<const uint8_t> program)
    : run_(run), instructions_(program.size() / sizeof(Instruction)) {
  std::memcpy(instructions_.data(), program.data(), program.size());
}

}  // namespace vrouter
