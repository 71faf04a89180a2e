// The few calls of bpf(2) that the kernel tier makes: maps, programs, and where programs are attached. Raw, for
// a program of ours is a list of instructions without relocations (tier.bpf.c), and libbpf would be a library
// more that a plain user has to have. What is made lives as long as its descriptor: when the process
// ends, however it does, nothing of it stays attached.
// Control side only, but for what is done to a map's elements.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace vrouter::bpf {

// A descriptor that is closed with its owner. -1: none.
class Handle {
 public:
  Handle() = default;
  explicit Handle(int fd) : fd_(fd) {}
  Handle(Handle&& o) noexcept : fd_(o.fd_) { o.fd_ = -1; }
  Handle& operator=(Handle&& o) noexcept;
  ~Handle();
  int fd() const { return fd_; }
  bool ok() const { return fd_ >= 0; }

 private:
  int fd_ = -1;
};

enum class MapKind : uint8_t { Hash, Array, PerCpuArray };
enum class ProgramKind : uint8_t { SocketFilter, Classifier };
enum class Hook : uint8_t { Ingress, Egress };

// What a program's placeholders are filled in with (tier.bpf.c, PLACEHOLDER).
struct Fills {
  int flows = -1;  // descriptors of maps
  int lanes = -1;
  int verdict = -1;
  uint32_t port = 0;
  uint32_t device = 0;
};

// All return a handle that is not ok() and set errno where the kernel refuses.
Handle make_map(MapKind kind, uint32_t key_bytes, uint32_t value_bytes, uint32_t entries,
                bool mappable, const char* name);
// why: the verifier's last words, if it has refused.
Handle load_program(ProgramKind kind, std::span<const uint64_t> instructions, const Fills& fills,
                    const char* name, std::string* why);
// At a device of the calling thread's network namespace, behind what is there (TCX, Linux 6.6).
Handle attach(const Handle& program, uint32_t device, Hook hook);
bool map_update(const Handle& map, const void* key, const void* value);
bool map_find(const Handle& map, const void* key, void* value);
bool map_delete(const Handle& map, const void* key);
void* map_memory(const Handle& map, size_t bytes);  // nullptr: errno

}  // namespace vrouter::bpf
