/* rte_hash as a flow table: 20-byte keys (addresses, ports, protocol, scope), found in bulk, 64 at
 * a time, in an order that has nothing to do with how they came in. A hit names a slot; what a flow
 * holds is not read. rte_hash KEYS Checked: every key that is asked for is found. */
#include <rte_hash.h>
#include <rte_hash_crc.h>
#include <rte_lcore.h>
#include <string.h>

#include "peer.h"

struct key {
  uint32_t scope, source, destination;
  uint16_t source_port, destination_port;
  uint32_t protocol;
};

static double round_clocks(const struct rte_hash *table, const struct key *asked) {
  const void *keys[kBurst];
  int32_t found[kBurst];
  const uint64_t start = rte_rdtsc();
  for (unsigned burst = 0; burst < kBurstsARound; ++burst) {
    const struct key *first = asked + (size_t)burst * kBurst % kAsked;
    for (unsigned i = 0; i < kBurst; ++i) keys[i] = first + i;
    rte_hash_lookup_bulk(table, keys, kBurst, found);
    for (unsigned i = 0; i < kBurst; ++i) {
      if (found[i] < 0) peer_fail("a key is not found");
    }
  }
  return (double)(rte_rdtsc() - start) / ((double)kBurstsARound * kBurst);
}

int main(int argc, char **argv) {
  const unsigned keys = argc > 1 ? (unsigned)atoi(argv[1]) : 100000;
  peer_start("rte_hash", "1024");
  struct rte_hash_parameters parameters = {
      .name = "flows",
      .entries = keys * 2,
      .key_len = sizeof(struct key),
      .hash_func = rte_hash_crc,
      .socket_id = (int)rte_socket_id(),
  };
  struct rte_hash *table = rte_hash_create(&parameters);
  struct key *all = malloc(keys * sizeof *all);
  struct key *asked = malloc(kAsked * sizeof *asked);
  if (table == NULL || all == NULL || asked == NULL) peer_fail("no memory");
  uint64_t state = keys;
  for (unsigned i = 0; i < keys; ++i) {
    const uint64_t number = peer_random(&state);
    all[i] = (struct key){.scope = 9,
                          .source = (uint32_t)number,
                          .destination = 0x0a000001,
                          .source_port = (uint16_t)(number >> 32),
                          .destination_port = 80,
                          .protocol = 6};
    if (rte_hash_add_key(table, &all[i]) < 0) peer_fail("a key has no room");
  }
  for (unsigned i = 0; i < kAsked; ++i) asked[i] = all[peer_random(&state) % keys];

  round_clocks(table, asked); /* warm */
  double rounds[kRounds];
  for (unsigned i = 0; i < kRounds; ++i) rounds[i] = round_clocks(table, asked);
  peer_print("rte_hash", keys, rounds);
  return 0;
}
