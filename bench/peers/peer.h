/* What the micro-peers have in common: DPDK without huge pages or devices, clocks, a generator of
 * random numbers, and one JSON line. Memory is asked for with transparent huge pages, as our own
 * tables' is: on small pages a table of this size would pay for its TLB misses, and the comparison
 * would be of pages. */
#ifndef PEER_H
#define PEER_H

#include <rte_cycles.h>
#include <rte_eal.h>
#include <rte_memory.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

enum { kBurst = 64, kAsked = 1 << 18, kRounds = 5, kBurstsARound = 32768 };

static inline void peer_fail(const char *what) {
  fprintf(stderr, "%s\n", what);
  exit(1);
}

static int huge(const struct rte_memseg_list *list, const struct rte_memseg *segment, size_t length,
                void *unused) {
  (void)list;
  (void)unused;
  madvise(segment->addr, length, MADV_HUGEPAGE);
  return 0;
}

static inline void peer_start(const char *name, char *megabytes) {
  char *arguments[] = {
      (char *)name, "--no-huge", "--no-shconf", "--no-pci",       "-m",
      megabytes,    "-l",        "0",           "--no-telemetry", "--log-level=error"};
  if (rte_eal_init(sizeof arguments / sizeof arguments[0], arguments) < 0)
    peer_fail("rte_eal_init");
  rte_memseg_contig_walk(huge, NULL);
}

/* splitmix64 */
static inline uint64_t peer_random(uint64_t *state) {
  uint64_t z = (*state += 0x9e3779b97f4a7c15);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

static int by_value(const void *a, const void *b) {
  const double x = *(const double *)a, y = *(const double *)b;
  return x < y ? -1 : x > y;
}

static inline void peer_print(const char *name, unsigned size, double rounds[kRounds]) {
  qsort(rounds, kRounds, sizeof rounds[0], by_value);
  printf("{\"peer\":\"%s\",\"size\":%u,\"clk\":%.2f}\n", name, size, rounds[kRounds / 2]);
}

#endif
