// Text of addresses. Printing: RFC 5952 for IPv6 (lower case, longest run of zeros as "::", dotted
// tail for IPv4-mapped). Parsing is strict: an octet has no leading zero, nothing stands before or
// after, no zone. `out` is written only on success.
#include "base/address.h"

namespace vrouter {

namespace {

constexpr char kHex[] = "0123456789abcdef";

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// Takes a decimal number without leading zeros, at most `most`, from the front of text.
bool take_decimal(std::string_view& text, uint32_t most, uint32_t& out) {
  uint32_t value = 0;
  size_t digits = 0;
  while (digits < text.size() && text[digits] >= '0' && text[digits] <= '9') {
    if (digits > 0 && value == 0) return false;  // leading zero: octal to some, so to nobody
    value = value * 10 + static_cast<uint32_t>(text[digits] - '0');
    if (value > most) return false;
    ++digits;
  }
  if (digits == 0) return false;
  text.remove_prefix(digits);
  out = value;
  return true;
}

bool take(std::string_view& text, char c) {
  if (text.empty() || text.front() != c) return false;
  text.remove_prefix(1);
  return true;
}

bool parse_v4(std::string_view text, uint8_t* out) {
  for (int i = 0; i < 4; ++i) {
    uint32_t octet = 0;
    if (i > 0 && !take(text, '.')) return false;
    if (!take_decimal(text, 255, octet)) return false;
    out[i] = static_cast<uint8_t>(octet);
  }
  return text.empty();
}

// Takes a group of one to four hex digits from the front of text.
bool take_group(std::string_view& text, uint8_t* out) {
  uint32_t value = 0;
  size_t digits = 0;
  while (digits < text.size() && hex_value(text[digits]) >= 0) {
    if (++digits > 4) return false;
    value = value << 4 | static_cast<uint32_t>(hex_value(text[digits - 1]));
  }
  if (digits == 0) return false;
  text.remove_prefix(digits);
  out[0] = static_cast<uint8_t>(value >> 8);
  out[1] = static_cast<uint8_t>(value);
  return true;
}

bool parse_v6(std::string_view text, uint8_t* out) {
  uint8_t bytes[16] = {};
  int filled = 0;
  int gap = -1;  // where "::" stands, in bytes
  if (text.substr(0, 2) == "::") {
    gap = 0;
    text.remove_prefix(2);
  }
  while (!text.empty()) {
    if (filled == 16) return false;
    // A dotted tail stands for the last two groups.
    if (filled <= 12 && text.find(':') == std::string_view::npos &&
        text.find('.') != std::string_view::npos) {
      if (!parse_v4(text, bytes + filled)) return false;
      filled += 4;
      break;
    }
    if (!take_group(text, bytes + filled)) return false;
    filled += 2;
    if (text.empty()) break;
    if (!take(text, ':')) return false;
    if (take(text, ':')) {
      if (gap >= 0) return false;
      gap = filled;
    } else if (text.empty()) {
      return false;  // ends in a single colon
    }
  }
  if (gap < 0) {
    if (filled != 16) return false;
    std::memcpy(out, bytes, 16);
    return true;
  }
  if (filled > 14) return false;  // "::" stands for at least one group
  std::memset(out, 0, 16);
  std::memcpy(out, bytes, static_cast<size_t>(gap));
  std::memcpy(out + 16 - (filled - gap), bytes + gap, static_cast<size_t>(filled - gap));
  return true;
}

void append_decimal(std::string& out, uint32_t value) {
  char digits[10];
  int n = 0;
  do {
    digits[n++] = static_cast<char>('0' + value % 10);
    value /= 10;
  } while (value != 0);
  while (n > 0) out += digits[--n];
}

void append_v4(std::string& out, const uint8_t* p) {
  for (int i = 0; i < 4; ++i) {
    if (i > 0) out += '.';
    append_decimal(out, p[i]);
  }
}

void append_v6(std::string& out, const uint8_t* p) {
  uint32_t groups[8];
  for (int i = 0; i < 8; ++i) groups[i] = uint32_t{p[2 * i]} << 8 | p[2 * i + 1];
  bool mapped = groups[5] == 0xffff;
  for (int i = 0; i < 5; ++i) mapped = mapped && groups[i] == 0;
  if (mapped) {
    out += "::ffff:";
    append_v4(out, p + 12);
    return;
  }
  int best = -1;
  int best_length = 1;  // a single group of zeros is not shortened
  for (int i = 0; i < 8;) {
    int end = i;
    while (end < 8 && groups[end] == 0) ++end;
    if (end - i > best_length) {  // the first of equals
      best = i;
      best_length = end - i;
    }
    i = end == i ? i + 1 : end;
  }
  for (int i = 0; i < 8; ++i) {
    if (i == best) {
      out += "::";
      i += best_length - 1;
      continue;
    }
    if (i > 0 && out.back() != ':') out += ':';
    bool started = false;
    for (int shift = 12; shift >= 0; shift -= 4) {
      const uint32_t digit = groups[i] >> shift & 0xf;
      if (digit == 0 && !started && shift > 0) continue;
      started = true;
      out += kHex[digit];
    }
  }
}

}  // namespace

std::string Mac::text() const {
  std::string out;
  out.reserve(17);
  for (size_t i = 0; i < bytes.size(); ++i) {
    if (i > 0) out += ':';
    out += kHex[bytes[i] >> 4];
    out += kHex[bytes[i] & 0xf];
  }
  return out;
}

bool Mac::parse(std::string_view text, Mac& out) {
  if (text.size() != 17) return false;
  Mac mac;
  for (size_t i = 0; i < 6; ++i) {
    const int high = hex_value(text[i * 3]);
    const int low = hex_value(text[i * 3 + 1]);
    if (high < 0 || low < 0 || (i > 0 && text[i * 3 - 1] != ':')) return false;
    mac.bytes[i] = static_cast<uint8_t>(high << 4 | low);
  }
  out = mac;
  return true;
}

std::string Address::text() const {
  std::string out;
  switch (family) {
    case Family::V4:
      append_v4(out, bytes.data());
      break;
    case Family::V6:
      append_v6(out, bytes.data());
      break;
    default:
      out = "-";
  }
  return out;
}

bool Address::parse(std::string_view text, Address& out) {
  Address a;
  if (text.find(':') != std::string_view::npos) {
    a.family = Family::V6;
    if (!parse_v6(text, a.bytes.data())) return false;
  } else {
    a.family = Family::V4;
    if (!parse_v4(text, a.bytes.data())) return false;
  }
  out = a;
  return true;
}

bool Prefix::canonical() const {
  if (!address.is_set() || length > max_length()) return false;
  for (uint32_t i = 0; i < address.bytes.size(); ++i) {
    const uint32_t first_bit = i * 8;
    if (first_bit + 8 <= length) continue;
    const uint32_t kept = first_bit >= length ? 0 : length - first_bit;
    if ((address.bytes[i] & (0xffu >> kept)) != 0) return false;
  }
  return true;
}

bool Prefix::contains(const Address& a) const {
  if (!address.is_set()) return true;
  if (a.family != address.family || length > max_length()) return false;
  const uint32_t whole = length / 8;
  if (std::memcmp(address.bytes.data(), a.bytes.data(), whole) != 0) return false;
  const uint32_t rest = length % 8;
  if (rest == 0) return true;
  const uint32_t mask = 0xff00u >> rest & 0xffu;
  return ((address.bytes[whole] ^ a.bytes[whole]) & mask) == 0;
}

std::string Prefix::text() const {
  if (!address.is_set()) return "-";
  std::string out = address.text();
  out += '/';
  append_decimal(out, length);
  return out;
}

// Host bits may be set; canonical() tells.
bool Prefix::parse(std::string_view text, Prefix& out) {
  const size_t slash = text.find('/');
  if (slash == std::string_view::npos) return false;
  Prefix prefix;
  if (!Address::parse(text.substr(0, slash), prefix.address)) return false;
  std::string_view digits = text.substr(slash + 1);
  uint32_t length = 0;
  if (!take_decimal(digits, prefix.max_length(), length) || !digits.empty()) return false;
  prefix.length = static_cast<uint8_t>(length);
  out = prefix;
  return true;
}

}  // namespace vrouter
