/* rte_fib, DIR-24-8 with 4-byte next hops: random hits in PREFIXES, looked up 64 at a time.
 *   rte_fib PREFIXES
 * Checked: every address is found. */
#include <rte_fib.h>
#include <rte_lcore.h>

#include "prefixes.h"

enum { kNone = 0x3fffffff };

static double round_clocks(struct rte_fib *table, uint32_t *hits) {
  uint64_t found[kBurst];
  const uint64_t start = rte_rdtsc();
  for (unsigned burst = 0; burst < kBurstsARound; ++burst) {
    rte_fib_lookup_bulk(table, hits + (size_t)burst * kBurst % kHits, found, kBurst);
    for (unsigned i = 0; i < kBurst; ++i) {
      if (found[i] == kNone) peer_fail("an address is not found");
    }
  }
  return (double)(rte_rdtsc() - start) / ((double)kBurstsARound * kBurst);
}

int main(int argc, char **argv) {
  const unsigned count = argc > 1 ? (unsigned)atoi(argv[1]) : 1000000;
  peer_start("rte_fib", "2048");
  struct rte_fib_conf config = {
      .type = RTE_FIB_DIR24_8,
      .default_nh = kNone,
      .max_routes = (int)count + 1,
      .dir24_8 = {.nh_sz = RTE_FIB_DIR24_8_4B, .num_tbl8 = 1 << 16},
  };
  struct rte_fib *table = rte_fib_create("routes", (int)rte_socket_id(), &config);
  struct prefix *prefixes = malloc(count * sizeof *prefixes);
  if (table == NULL || prefixes == NULL) peer_fail("no memory");
  uint64_t state = count;
  for (unsigned i = 0; i < count; ++i) {
    prefixes[i] = random_prefix(&state);
    if (rte_fib_add(table, prefixes[i].address, prefixes[i].length, i & 0xffffff) < 0) {
      peer_fail("a prefix has no room");
    }
  }
  uint32_t *hits = random_hits(prefixes, count, &state);

  round_clocks(table, hits); /* warm */
  double rounds[kRounds];
  for (unsigned i = 0; i < kRounds; ++i) rounds[i] = round_clocks(table, hits);
  peer_print("rte_fib", count, rounds);
  return 0;
}
