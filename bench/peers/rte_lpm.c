/* rte_lpm: random hits in PREFIXES, looked up 64 at a time.
 *   rte_lpm PREFIXES
 * Checked: every address is found. To add a rule rte_lpm reads all of the same length: a million
 * takes minutes, so that size is rte_fib's. */
#include <rte_lcore.h>
#include <rte_lpm.h>

#include "prefixes.h"

static double round_clocks(const struct rte_lpm *table, const uint32_t *hits) {
  uint32_t found[kBurst];
  const uint64_t start = rte_rdtsc();
  for (unsigned burst = 0; burst < kBurstsARound; ++burst) {
    rte_lpm_lookup_bulk(table, hits + (size_t)burst * kBurst % kHits, found, kBurst);
    for (unsigned i = 0; i < kBurst; ++i) {
      if (!(found[i] & RTE_LPM_LOOKUP_SUCCESS)) peer_fail("an address is not found");
    }
  }
  return (double)(rte_rdtsc() - start) / ((double)kBurstsARound * kBurst);
}

int main(int argc, char **argv) {
  const unsigned count = argc > 1 ? (unsigned)atoi(argv[1]) : 100000;
  peer_start("rte_lpm", "1024");
  const struct rte_lpm_config config = {.max_rules = count, .number_tbl8s = 1 << 16};
  struct rte_lpm *table = rte_lpm_create("routes", (int)rte_socket_id(), &config);
  struct prefix *prefixes = malloc(count * sizeof *prefixes);
  if (table == NULL || prefixes == NULL) peer_fail("no memory");
  uint64_t state = count;
  for (unsigned i = 0; i < count; ++i) {
    prefixes[i] = random_prefix(&state);
    if (rte_lpm_add(table, prefixes[i].address, prefixes[i].length, i & 0xffffff) < 0) {
      peer_fail("a prefix has no room");
    }
  }
  const uint32_t *hits = random_hits(prefixes, count, &state);

  round_clocks(table, hits); /* warm */
  double rounds[kRounds];
  for (unsigned i = 0; i < kRounds; ++i) rounds[i] = round_clocks(table, hits);
  peer_print("rte_lpm", count, rounds);
  return 0;
}
