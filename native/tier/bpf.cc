#include "tier/bpf.h"

#include <linux/bpf.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>
#include <vector>

namespace vrouter::bpf {
namespace {

// Newer than some kernel headers (Linux 6.6).
constexpr uint32_t kTcxIngress = 46;
constexpr uint32_t kTcxEgress = 47;

constexpr uint8_t kLoad64 = 0x18;               // BPF_LD | BPF_IMM | BPF_DW, two words
constexpr uint32_t kPlaceholder = 0x71e70000u;  // upper half of its value
constexpr uint32_t kLogBytes = 64 << 10;

struct Union {
  bpf_attr attr;
  Union() { std::memset(&attr, 0, sizeof attr); }
};

long call(int command, const void* attr, size_t bytes) {
  return syscall(__NR_bpf, command, attr, bytes);
}

uint64_t address(const void* p) { return reinterpret_cast<uintptr_t>(p); }

void set_name(char (&to)[BPF_OBJ_NAME_LEN], const char* name) {
  std::strncpy(to, name, sizeof to - 1);
}

// The value a placeholder stands for, and whether it is a map.
bool fill(uint32_t which, const Fills& fills, uint32_t* value, bool* map) {
  const std::pair<uint32_t, int> maps[] = {{1, fills.flows}, {2, fills.lanes}, {3, fills.verdict}};
  for (const auto& [number, fd] : maps) {
    if (which != number) continue;
    *value = static_cast<uint32_t>(fd);
    *map = true;
    return true;
  }
  *map = false;
  *value = which == 0x11 ? fills.port : fills.device;
  return which == 0x11 || which == 0x12;
}

// Puts maps and constants in where the compiler has left placeholders.
bool link(std::vector<bpf_insn>& code, const Fills& fills) {
  for (size_t i = 0; i + 1 < code.size(); ++i) {
    if (code[i].code != kLoad64) continue;
    if (static_cast<uint32_t>(code[i + 1].imm) == kPlaceholder) {
      uint32_t value = 0;
      bool map = false;
      if (!fill(static_cast<uint32_t>(code[i].imm), fills, &value, &map)) return false;
      code[i].imm = static_cast<int32_t>(value);
      code[i + 1].imm = 0;
      if (map) code[i].src_reg = BPF_PSEUDO_MAP_FD;
    }
    ++i;
  }
  return true;
}

}  // namespace

Handle& Handle::operator=(Handle&& o) noexcept {
  std::swap(fd_, o.fd_);
  return *this;
}

Handle::~Handle() {
  if (fd_ >= 0) ::close(fd_);
}

Handle make_map(MapKind kind, uint32_t key_bytes, uint32_t value_bytes, uint32_t entries,
                bool mappable, const char* name) {
  Union u;
  u.attr.map_type = kind == MapKind::Hash    ? BPF_MAP_TYPE_HASH
                    : kind == MapKind::Array ? BPF_MAP_TYPE_ARRAY
                                             : BPF_MAP_TYPE_PERCPU_ARRAY;
  u.attr.key_size = key_bytes;
  u.attr.value_size = value_bytes;
  u.attr.max_entries = entries;
  u.attr.map_flags = mappable ? BPF_F_MMAPABLE : 0;
  set_name(u.attr.map_name, name);
  return Handle(static_cast<int>(call(BPF_MAP_CREATE, &u.attr, sizeof u.attr)));
}

Handle load_program(ProgramKind kind, std::span<const uint64_t> instructions, const Fills& fills,
                    const char* name, std::string* why) {
  static_assert(sizeof(bpf_insn) == sizeof(uint64_t));
  std::vector<bpf_insn> code(instructions.size());
  std::memcpy(code.data(), instructions.data(), instructions.size_bytes());
  if (!link(code, fills)) {
    errno = EINVAL;
    return {};
  }
  const auto load = [&](char* log, uint32_t bytes) {
    Union u;
    u.attr.prog_type =
        kind == ProgramKind::SocketFilter ? BPF_PROG_TYPE_SOCKET_FILTER : BPF_PROG_TYPE_SCHED_CLS;
    u.attr.insns = address(code.data());
    u.attr.insn_cnt = static_cast<uint32_t>(code.size());
    u.attr.license = address("Apache-2.0");
    u.attr.log_level = log != nullptr ? 1 : 0;
    u.attr.log_buf = address(log);
    u.attr.log_size = bytes;
    set_name(u.attr.prog_name, name);
    return static_cast<int>(call(BPF_PROG_LOAD, &u.attr, sizeof u.attr));
  };
  Handle made(load(nullptr, 0));
  if (made.ok() || why == nullptr) return made;
  const int error = errno;
  std::vector<char> log(kLogBytes);
  load(log.data(), kLogBytes);
  std::string words(log.data());
  while (!words.empty() && words.back() == '\n') words.pop_back();
  // The verifier ends with what it counted; the line before says what was wrong.
  *why = words.size() > 600 ? words.substr(words.size() - 600) : words;
  errno = error;
  return made;
}

Handle attach(const Handle& program, uint32_t device, Hook hook) {
  // The part of bpf_attr for BPF_LINK_CREATE, as long as TCX has it: the headers here may be older.
  struct {
    uint32_t program, device, hook, flags;
    uint64_t relative, revision;
  } wanted = {static_cast<uint32_t>(program.fd()),
              device,
              hook == Hook::Ingress ? kTcxIngress : kTcxEgress,
              0,
              0,
              0};
  return Handle(static_cast<int>(call(BPF_LINK_CREATE, &wanted, sizeof wanted)));
}

bool map_update(const Handle& map, const void* key, const void* value) {
  Union u;
  u.attr.map_fd = static_cast<uint32_t>(map.fd());
  u.attr.key = address(key);
  u.attr.value = address(value);
  return call(BPF_MAP_UPDATE_ELEM, &u.attr, sizeof u.attr) == 0;
}

bool map_find(const Handle& map, const void* key, void* value) {
  Union u;
  u.attr.map_fd = static_cast<uint32_t>(map.fd());
  u.attr.key = address(key);
  u.attr.value = address(value);
  return call(BPF_MAP_LOOKUP_ELEM, &u.attr, sizeof u.attr) == 0;
}

bool map_delete(const Handle& map, const void* key) {
  Union u;
  u.attr.map_fd = static_cast<uint32_t>(map.fd());
  u.attr.key = address(key);
  return call(BPF_MAP_DELETE_ELEM, &u.attr, sizeof u.attr) == 0;
}

void* map_memory(const Handle& map, size_t bytes) {
  void* at = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, map.fd(), 0);
  return at == MAP_FAILED ? nullptr : at;
}

}  // namespace vrouter::bpf
