// Bytes that are a Program, bytes that nearly are, and bytes that are not.
#include <gtest/gtest.h>

#include <random>

#include "base/bytes.h"
#include "program/arbitrary_op.h"

namespace vrouter {
namespace {

using Bytes = std::vector<uint8_t>;

struct Random {
  std::mt19937 engine;
  uint32_t below(uint32_t n) { return static_cast<uint32_t>(engine() % n); }
};

void expect_refused(const Bytes& bytes, StatusCode code, uint32_t op_index, const char* field) {
  std::vector<Op> ops(3);
  const Status status = decode(bytes, ops);
  EXPECT_EQ(status_code(status.code), std::string(status_code(code)));
  EXPECT_EQ(status.op_index, op_index);
  EXPECT_STREQ(status.field, field);
  EXPECT_TRUE(ops.empty());
}

// A Program of one op given as its body; header and lengths are right.
Bytes program(uint16_t code, const Bytes& body) {
  Bytes out = encode_program({});
  out[4] = 1;
  out.resize(16);
  store_le16(out.data() + 8, code);
  store_le32(out.data() + 12, static_cast<uint32_t>(body.size()));
  out.insert(out.end(), body.begin(), body.end());
  return out;
}

Bytes body_of(const Op& op) {
  Bytes out;
  encode(op, out);
  return {out.begin() + 8, out.end()};
}

TEST(Decode, AProgramByHand) {
  // Independent of encode(): route_set 10.0.0.0/8 in VRF 1 to next hop 7, label 77; then
  // nh_delete 9.
  const Bytes bytes = {
      'V', 'R', 'P', '1', 2, 0, 0, 0, 0x30, 0, 0,    0, 38, 0, 0, 0, 1, 0, 0, 0, 4,  8,
      10,  0,   0,   0,   0, 0, 0, 0, 0,    0, 0,    0, 0,  0, 0, 0, 7, 0, 0, 0, 77, 0,
      0,   0,   2,   3,   2, 0, 0, 0, 0,    1, 0x2f, 0, 0,  0, 4, 0, 0, 0, 9, 0, 0,  0,
  };
  std::vector<Op> ops;
  const Status status = decode(bytes, ops);
  ASSERT_TRUE(status.ok()) << status_code(status.code) << status.field;
  ASSERT_EQ(ops.size(), 2u);
  const RouteSpec route{1, {Address::from_v4(0x0a000000), 8}, 7, 77, 2, 3, Mac{{2, 0, 0, 0, 0, 1}}};
  EXPECT_EQ(ops[0], Op{route});
  EXPECT_EQ(ops[1], Op{NextHopDelete{9}});
  EXPECT_EQ(encode_program(ops), bytes);
}

TEST(Decode, NoOpsAreAProgram) {
  std::vector<Op> ops;
  EXPECT_TRUE(decode(encode_program({}), ops).ok());
  EXPECT_TRUE(ops.empty());
}

TEST(Decode, EveryOpComesBack) {
  Random random{std::mt19937(1)};
  ArbitraryOp<Random> arbitrary(random);
  std::vector<bool> seen(std::variant_size_v<Op>);
  for (int i = 0; i < 3000; ++i) {
    const std::vector<Op> ops = {arbitrary.next(), arbitrary.next()};
    std::vector<Op> decoded;
    const Status status = decode(encode_program(ops), decoded);
    ASSERT_TRUE(status.ok()) << status.field;
    ASSERT_EQ(decoded, ops);
    seen[ops[0].index()] = true;
  }
  for (size_t kind = 1; kind < seen.size(); ++kind) EXPECT_TRUE(seen[kind]) << "op kind " << kind;
}

TEST(Decode, EveryCutIsRefused) {
  Random random{std::mt19937(2)};
  ArbitraryOp<Random> arbitrary(random);
  for (int i = 0; i < 200; ++i) {
    const Bytes whole = encode_program({arbitrary.next(), arbitrary.next()});
    for (size_t length = 0; length < whole.size(); ++length) {
      const Bytes cut(whole.begin(), whole.begin() + static_cast<ptrdiff_t>(length));
      std::vector<Op> ops;
      ASSERT_EQ(decode(cut, ops).code, StatusCode::Truncated) << length;
    }
    Bytes longer = whole;
    longer.push_back(0);
    expect_refused(longer, StatusCode::BadLength, kNoOp, "program");
  }
}

TEST(Decode, EveryBodyOfAnotherLengthIsRefused) {
  Random random{std::mt19937(3)};
  ArbitraryOp<Random> arbitrary(random);
  for (int i = 0; i < 300; ++i) {
    Bytes whole;
    const Op op = arbitrary.next();
    encode(op, whole);
    Bytes body = body_of(op);
    const uint16_t code = load_le16(whole.data());
    std::vector<Op> ops;
    body.push_back(0);
    expect_refused(program(code, body), StatusCode::BadLength, 0, "length");
    body.pop_back();
    body.pop_back();
    ASSERT_EQ(decode(program(code, body), ops).code, StatusCode::BadLength);
  }
}

TEST(Decode, NotAProgram) {
  expect_refused({}, StatusCode::Truncated, kNoOp, "magic");
  expect_refused({'V', 'R', 'P', '1', 0, 0, 0}, StatusCode::Truncated, kNoOp, "magic");
  expect_refused({'V', 'R', 'P', '2', 0, 0, 0, 0}, StatusCode::BadMagic, kNoOp, "magic");
}

TEST(Decode, CountsAreBoundedBeforeMemoryIsTaken) {
  Bytes bytes = encode_program({});
  store_le32(bytes.data() + 4, kMaxProgramOps + 1);
  expect_refused(bytes, StatusCode::TooManyOps, kNoOp, "count");
  store_le32(bytes.data() + 4, kMaxProgramOps);
  expect_refused(bytes, StatusCode::Truncated, 0, "code");
  bytes.resize(kMaxProgramBytes + 1);
  expect_refused(bytes, StatusCode::BadLength, kNoOp, "program");

  Bytes body = body_of(EcmpSpec{});
  store_le32(body.data() + body.size() - 4, kMaxEcmpMembers + 1);
  expect_refused(program(0x25, body), StatusCode::BadValue, 0, "members");
  store_le32(body.data() + body.size() - 4, ~0u);
  expect_refused(program(0x25, body), StatusCode::BadValue, 0, "members");
  store_le32(body.data() + body.size() - 4, 2);
  expect_refused(program(0x25, body), StatusCode::BadLength, 0, "members");
}

TEST(Decode, ListsMayBeAsLongAsTheirLimit) {
  EcmpSpec spec;
  for (uint16_t i = 0; i < kMaxEcmpMembers; ++i) spec.members.push_back({i, 1, kNoLabel, 1});
  std::vector<Op> ops;
  EXPECT_TRUE(decode(encode_program({spec}), ops).ok());
  spec.members.push_back({kMaxEcmpMembers, 1, kNoLabel, 1});
  expect_refused(encode_program({spec}), StatusCode::BadValue, 0, "members");
}

TEST(Decode, UnknownOpsAreNamedByPosition) {
  Bytes bytes = encode_program({VrfDelete{1}, VrfDelete{2}});
  store_le16(bytes.data() + 20, 0x7777);
  expect_refused(bytes, StatusCode::UnknownOp, 1, "code");
  store_le16(bytes.data() + 20, 0);
  expect_refused(bytes, StatusCode::UnknownOp, 1, "code");
}

TEST(Decode, ReservedBytesAreZero) {
  Bytes bytes = encode_program({VrfDelete{1}});
  bytes[10] = 1;
  expect_refused(bytes, StatusCode::BadValue, 0, "zero");
}

TEST(Decode, AddressesHaveOneForm) {
  RouterSpec spec;
  spec.ipv4 = Address::from_v4(0x0a000001);
  const Bytes good = body_of(spec);
  std::vector<Op> ops;
  ASSERT_TRUE(decode(program(0x01, good), ops).ok());
  for (uint8_t family : {1, 5, 7, 255}) {
    Bytes body = good;
    body[0] = family;
    expect_refused(program(0x01, body), StatusCode::BadValue, 0, "ipv4");
  }
  for (size_t i = 5; i < 17; ++i) {  // behind the four bytes of IPv4
    Bytes body = good;
    body[i] = 1;
    expect_refused(program(0x01, body), StatusCode::BadValue, 0, "ipv4");
  }
  Bytes none = good;
  none[0] = 0;
  expect_refused(program(0x01, none), StatusCode::BadValue, 0, "ipv4");
}

TEST(Decode, NoPrefixHasNoLength) {
  SourceNatSpec spec;
  spec.source.length = 8;
  expect_refused(encode_program({spec}), StatusCode::BadValue, 0, "source");
}

TEST(Decode, NamesAreBounded) {
  std::vector<Op> ops;
  EXPECT_TRUE(decode(encode_program({VrfSpec{1, std::string(kMaxNameLength, 'x'), 0}}), ops).ok());
  expect_refused(encode_program({VrfSpec{1, std::string(kMaxNameLength + 1, 'x'), 0}}),
                 StatusCode::BadValue, 0, "name");
  Bytes body = body_of(VrfSpec{1, "four", 0});
  store_le16(body.data() + 4, 9);  // reaches beyond the body
  expect_refused(program(0x10, body), StatusCode::BadLength, 0, "name");
}

}  // namespace
}  // namespace vrouter
