/* Prefixes shaped like the Internet's, as lpm_bench.cc has them, and addresses within them in
 * random order. */
#ifndef PREFIXES_H
#define PREFIXES_H

#include "peer.h"

enum { kHits = 1 << 20 };

struct prefix {
  uint32_t address;
  uint8_t length;
};

/* Shares of lengths 16 ... 32 in hundredths of a percent. */
static inline struct prefix random_prefix(uint64_t *state) {
  static const uint32_t shares[17] = {150, 100, 150, 250, 450, 500, 1150, 1050, 5900,
                                      20,  20,  20,  20,  40,  40,  10,   130};
  uint32_t pick = (uint32_t)(peer_random(state) % 10000);
  uint8_t length = 16;
  while (length < 32 && pick >= shares[length - 16]) pick -= shares[length++ - 16];
  const struct prefix p = {(uint32_t)peer_random(state) & ~0u << (32 - length), length};
  return p;
}

static inline uint32_t *random_hits(const struct prefix *prefixes, unsigned count,
                                    uint64_t *state) {
  uint32_t *hits = malloc(kHits * sizeof *hits);
  if (hits == NULL) peer_fail("no memory");
  for (unsigned i = 0; i < kHits; ++i) {
    const struct prefix p = prefixes[peer_random(state) % count];
    const uint32_t host = p.length == 32 ? 0 : ~0u >> p.length;
    hits[i] = p.address | ((uint32_t)peer_random(state) & host);
  }
  return hits;
}

#endif
