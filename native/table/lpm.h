// Longest-prefix match for one family of one VRF: prefix -> 32-bit value (a route id).
// Written by the control side while workers are held; read by workers.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>

#include "base/address.h"

namespace vrouter {

class Lpm {
 public:
  static constexpr uint32_t kNoValue = ~0u;

  explicit Lpm(Family family);
  ~Lpm();
  Lpm(Lpm&&) noexcept;
  Lpm& operator=(Lpm&&) noexcept;

  // Sets or replaces; returns the previous value or kNoValue. value != kNoValue.
  // Precondition: prefix is canonical and of this family.
  uint32_t set(const Prefix& prefix, uint32_t value);
  uint32_t remove(const Prefix& prefix);     // previous value or kNoValue
  uint32_t get(const Prefix& prefix) const;  // exact match

  uint32_t lookup(const uint8_t* address) const;  // network order, 4 or 16 bytes
  // The same for many; out[i] = lookup(addresses[i]). For bursts: overlaps the memory accesses.
  void lookup_burst(const uint8_t* const* addresses, uint32_t* out, uint32_t count) const;

  // In order of address, then length. `visit` returns false to stop. From strictly after `after`
  // when given (for cursors).
  void each(const std::function<bool(const Prefix&, uint32_t)>& visit,
            const Prefix* after = nullptr) const;

  uint32_t size() const;  // prefixes
  size_t bytes() const;   // memory held

 private:
  struct Trie;
  std::unique_ptr<Trie> trie_;
};

}  // namespace vrouter
