// Any bytes, twice: as a Program as they stand, and as choices of ops that nearly make sense.
// Applied to a router; then what must hold whatever came in: a refused Program changes nothing, a
// dump is a Program that makes the same tables.
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include "program/arbitrary_op.h"

namespace {

using namespace vrouter;

// Choices out of the input; when it is used up, the first of each.
struct Choices {
  const uint8_t* data;
  size_t size;
  size_t at = 0;
  uint32_t below(uint32_t n) {
    if (at >= size) return 0;
    if (n <= 256) return data[at++] % n;
    const uint32_t high = data[at++];
    return (high << 8 | (at < size ? data[at++] : 0)) % n;
  }
  bool left() const { return at < size; }
};

void require(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "program_fuzz: %s\n", what);
  std::abort();
}

std::vector<uint8_t> tables(Router& router, size_t step) {
  std::vector<uint8_t> out;
  for (uint32_t t = 0; t < static_cast<uint32_t>(DumpTable::kCount); ++t) {
    std::string cursor;
    do {
      const size_t limit = step > ~size_t{0} - out.size() ? ~size_t{0} : out.size() + step;
      require(dump(router, static_cast<DumpTable>(t), VrfId{}, cursor, limit, out).ok(),
              "dump failed");
    } while (!cursor.empty());
  }
  return out;
}

bool port_exists(void*, PortId port) { return port.value < 4; }

void apply_checked(const std::vector<Op>& ops, Router& router) {
  const std::vector<uint8_t> before = tables(router, ~size_t{0});
  const uint32_t generation = router.generation;
  const ApplyResult result = apply(ops, router, port_exists, nullptr);
  const std::vector<uint8_t> after = tables(router, ~size_t{0});
  if (!result.status.ok()) {
    require(after == before && router.generation == generation,
            "a refused Program changed a table");
    return;
  }
  require(router.generation == generation + 1, "a commit without a generation");
  require(tables(router, 64) == after, "a dump in steps differs");
}

void make_again(Router& router) {
  const std::vector<uint8_t> body = tables(router, ~size_t{0});
  std::vector<uint8_t> bytes = encode_program({});
  uint32_t count = 0;
  for (size_t at = 0; at < body.size(); ++count) {
    at += 8 + (body[at + 4] | body[at + 5] << 8 | body[at + 6] << 16);
  }
  for (int i = 0; i < 4; ++i) bytes[4 + i] = static_cast<uint8_t>(count >> 8 * i);
  bytes.insert(bytes.end(), body.begin(), body.end());
  std::vector<Op> ops;
  require(decode(bytes, ops).ok(), "a dump that does not decode");
  Router other;
  require(apply(ops, other, port_exists, nullptr).status.ok(), "a dump that is refused");
  require(tables(other, ~size_t{0}) == body, "a dump that makes other tables");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Router router;
  std::vector<Op> ops;
  if (decode({data, size}, ops).ok()) {
    require(encode_program(ops) == std::vector<uint8_t>(data, data + size), "encoding differs");
    apply_checked(ops, router);
  }
  Choices choices{data, size};
  ArbitraryOp<Choices> arbitrary(choices);
  while (choices.left()) {
    ops.clear();
    for (uint32_t n = 1 + choices.below(16); n > 0 && choices.left(); --n) {
      ops.push_back(arbitrary.next());
    }
    apply_checked(ops, router);
  }
  make_again(router);
  return 0;
}
