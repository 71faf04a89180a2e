// The tables behind the .def lists: each row where its enum says, no name twice.
#include <gtest/gtest.h>

#include <set>
#include <string>

#include "base/drop.h"
#include "base/status.h"

namespace vrouter {
namespace {

TEST(StatusNames, CodesAreDistinctAndUpperCase) {
  std::set<std::string> codes;
#define STATUS(name, code, text)                     \
  EXPECT_STREQ(status_code(StatusCode::name), code); \
  EXPECT_STREQ(status_text(StatusCode::name), text); \
  EXPECT_TRUE(codes.insert(code).second) << code;    \
  EXPECT_EQ(std::string(code).find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZ_"), std::string::npos);
#include "base/status.def"
#undef STATUS
  EXPECT_STREQ(status_code(StatusCode::Ok), "OK");
  EXPECT_STREQ(status_code(StatusCode::UnknownOp), "UNKNOWN_OP");
  EXPECT_STREQ(status_code(static_cast<StatusCode>(9999)), "UNKNOWN");
  EXPECT_STRNE(status_text(static_cast<StatusCode>(9999)), "");
}

TEST(StatusNames, AtKeepsTheFirstIndex) {
  const Status s = Status::fail(StatusCode::BadValue, "label").at(7).at(9);
  EXPECT_EQ(s.op_index, 7u);
  EXPECT_STREQ(s.field, "label");
  EXPECT_FALSE(s.ok());
  EXPECT_TRUE(Status::done().ok());
}

TEST(DropNames, AsPrinted) {
  std::set<std::string> names;
#define DROP(name, printed, why)                      \
  EXPECT_STREQ(drop_name(DropReason::name), printed); \
  EXPECT_STREQ(drop_why(DropReason::name), why);      \
  EXPECT_TRUE(names.insert(printed).second) << printed;
#include "base/drop_reasons.def"
#undef DROP
  EXPECT_EQ(names.size(), kDropReasons);
  EXPECT_STREQ(drop_name(DropReason::FlowActionDrop), "Flow Action Drop");
  EXPECT_STREQ(drop_name(DropReason::kCount), "Unknown");
  EXPECT_STRNE(drop_why(DropReason::kCount), "");
}

TEST(FlowDropNames, KeepTheNumbersOfTheAncestor) {
  EXPECT_STREQ(flow_drop_name(FlowDrop::Unknown), "Unknown");
  EXPECT_EQ(static_cast<int>(FlowDrop::NoFipPortMap), 0x12);
  EXPECT_STREQ(flow_drop_name(FlowDrop::NoFipPortMap), "NoFipPortMap");
  EXPECT_EQ(static_cast<int>(FlowDrop::RevOutFWAASPolicy), 0x22);
  EXPECT_STREQ(flow_drop_name(FlowDrop::kCount), "Unknown");
}

}  // namespace
}  // namespace vrouter
