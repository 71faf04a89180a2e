// prefetch(): asks for the cache line at an address that will be touched soon; nothing waits for it
// and no address is wrong. All prefetches are this one: a compiler takes __builtin_prefetch() for
// nothing, so a function that does no more than that is taken for one without effect, and calls of it
// that it has not inlined by then vanish. The empty statement beside it is an effect.
#pragma once

namespace vrouter {

[[gnu::always_inline]] inline void prefetch(const void* address) {
  __builtin_prefetch(address);
  asm volatile("");
}

}  // namespace vrouter
