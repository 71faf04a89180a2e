// Status: the outcome of a control-side call. Values come from status.def, the only list.
// Written by the code that refuses, read by binding/ (which throws) and by tests.
// Invariant: a call that returns !ok() has changed nothing.
#pragma once
#include <cstdint>

namespace vrouter {

enum class StatusCode : uint16_t {
#define STATUS(name, code, text) name,
#include "base/status.def"
#undef STATUS
};

const char* status_code(StatusCode code);  // stable upper-case code, e.g. "UNKNOWN_OP"
const char* status_text(StatusCode code);  // one sentence for people

inline constexpr uint32_t kNoOp = ~0u;

struct Status {
  StatusCode code = StatusCode::Ok;
  uint32_t op_index = kNoOp;  // position in the Program, where one is to blame
  const char* field = "";     // name of the field at fault; a string literal, never freed

  bool ok() const { return code == StatusCode::Ok; }
  static Status done() { return {}; }
  static Status fail(StatusCode c, const char* field = "") { return {c, kNoOp, field}; }
  Status at(uint32_t index) const { return {code, op_index == kNoOp ? index : op_index, field}; }
};

}  // namespace vrouter
