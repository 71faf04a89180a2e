#include "base/status.h"

namespace vrouter {

namespace {

struct Row {
  const char* code;
  const char* text;
};

constexpr Row kRows[] = {
#define STATUS(name, code, text) {code, text},
#include "base/status.def"
#undef STATUS
};
constexpr uint32_t kRowCount = sizeof kRows / sizeof kRows[0];

}  // namespace

const char* status_code(StatusCode code) {
  const auto i = static_cast<uint32_t>(code);
  return i < kRowCount ? kRows[i].code : "UNKNOWN";
}

const char* status_text(StatusCode code) {
  const auto i = static_cast<uint32_t>(code);
  return i < kRowCount ? kRows[i].text : "no such status";
}

}  // namespace vrouter
