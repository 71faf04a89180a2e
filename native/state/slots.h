// Slots: objects by a dense id, in chunks that are made when first needed and never move, so that a
// pointer to an object stays good while others come and go.
// Written by the control side while workers are held; read by workers.
#pragma once
#include <cstdint>
#include <memory>
#include <vector>

namespace vrouter {

template <class T, uint32_t kChunkBits>
class Slots {
 public:
  static constexpr uint32_t kChunk = 1u << kChunkBits;

  T* find(uint32_t id) const {  // nullptr: the id has never been made
    const uint32_t chunk = id >> kChunkBits;
    if (chunk >= chunks_.size() || !chunks_[chunk]) return nullptr;
    return &chunks_[chunk][id & (kChunk - 1)];
  }

  T& make(uint32_t id) {
    const uint32_t chunk = id >> kChunkBits;
    if (chunk >= chunks_.size()) chunks_.resize(chunk + 1);
    if (!chunks_[chunk]) chunks_[chunk] = std::make_unique<T[]>(kChunk);
    return chunks_[chunk][id & (kChunk - 1)];
  }

  uint32_t limit() const { return static_cast<uint32_t>(chunks_.size()) << kChunkBits; }

  // The first id from `from` on whose object `wanted(object)`; limit() if there is none. Chunks
  // that were never made are stepped over.
  template <class Wanted>
  uint32_t next(uint32_t from, Wanted wanted) const {
    for (uint32_t id = from; id < limit();) {
      const T* object = find(id);
      if (object == nullptr) {
        id = ((id >> kChunkBits) + 1) << kChunkBits;
      } else if (wanted(*object)) {
        return id;
      } else {
        ++id;
      }
    }
    return limit();
  }

 private:
  std::vector<std::unique_ptr<T[]>> chunks_;
};

}  // namespace vrouter
