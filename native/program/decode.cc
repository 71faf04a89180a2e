// Bytes of a Program to ops. The functions that read a struct or an op are made from objects.def;
// what they stand on is Reader, which checks every length before it touches a byte.
#include <cstring>

#include "base/bytes.h"
#include "program/program.h"

namespace vrouter {
namespace {

// Bytes of a type on the wire. A list's elements all have fixed size, so that its count can be held
// against the bytes that are there before anything is allocated.
template <class T>
constexpr uint32_t kWireBytes = sizeof(T);  // integers, Mac
template <>
constexpr uint32_t kWireBytes<Address> = 17;
template <>
constexpr uint32_t kWireBytes<Prefix> = 18;

#define STRUCT(Name) \
  template <>        \
  constexpr uint32_t kWireBytes<Name> = 0
#define FIELD(Type, name) +kWireBytes<Type>
#define LIST(Element, name)
#define END(Name) ;
#define OP(code, Name, wire) [[maybe_unused]] constexpr uint32_t kFixedBytes##Name = 0
// Names have no fixed size; only ops have them, and no one asks for the size of an op.
template <>
constexpr uint32_t kWireBytes<NameField> = 2;
#include "state/objects.def"
#undef STRUCT
#undef FIELD
#undef LIST
#undef END
#undef OP

class Reader {
 public:
  explicit Reader(std::span<const uint8_t> bytes) : at_(bytes.data()), left_(bytes.size()) {}

  size_t left() const { return left_; }
  const Status& status() const { return status_; }

  bool fail(StatusCode code, const char* field) {
    status_ = Status::fail(code, field);
    return false;
  }

  // nullptr, and BadLength for the field, if they are not there.
  const uint8_t* take(size_t bytes, const char* field) {
    if (bytes > left_) {
      fail(StatusCode::BadLength, field);
      return nullptr;
    }
    const uint8_t* p = at_;
    at_ += bytes;
    left_ -= bytes;
    return p;
  }

  bool field(const char* name, uint8_t& out) {
    const uint8_t* p = take(1, name);
    if (p != nullptr) out = *p;
    return p != nullptr;
  }
  bool field(const char* name, uint16_t& out) {
    const uint8_t* p = take(2, name);
    if (p != nullptr) out = load_le16(p);
    return p != nullptr;
  }
  bool field(const char* name, uint32_t& out) {
    const uint8_t* p = take(4, name);
    if (p != nullptr) out = load_le32(p);
    return p != nullptr;
  }
  bool field(const char* name, uint64_t& out) {
    const uint8_t* p = take(8, name);
    if (p != nullptr) out = load_le64(p);
    return p != nullptr;
  }
  bool field(const char* name, Mac& out) {
    const uint8_t* p = take(6, name);
    if (p != nullptr) std::memcpy(out.bytes.data(), p, 6);
    return p != nullptr;
  }
  bool field(const char* name, Address& out) {
    const uint8_t* p = take(kWireBytes<Address>, name);
    return p != nullptr && address(name, p[0], p + 1, out);
  }
  bool field(const char* name, Prefix& out) {
    const uint8_t* p = take(kWireBytes<Prefix>, name);
    if (p == nullptr) return false;
    out.length = p[1];
    if (!address(name, p[0], p + 2, out.address)) return false;
    if (!out.address.is_set() && out.length != 0) return fail(StatusCode::BadValue, name);
    return true;
  }
  bool field(const char* name, std::string& out) {
    const uint8_t* p = take(2, name);
    if (p == nullptr) return false;
    const uint16_t length = load_le16(p);
    if (length > kMaxNameLength) return fail(StatusCode::BadValue, name);
    p = take(length, name);
    if (p != nullptr) out.assign(reinterpret_cast<const char*>(p), length);
    return p != nullptr;
  }

  template <class Element>
  bool list(const char* name, std::vector<Element>& out);

 private:
  // One address has one form, or equal tables would not dump to equal bytes.
  bool address(const char* name, uint8_t family, const uint8_t* bytes, Address& out) {
    if (family != 0 && family != 4 && family != 6) return fail(StatusCode::BadValue, name);
    out.family = static_cast<Family>(family);
    for (uint32_t i = out.size(); i < 16; ++i) {
      if (bytes[i] != 0) return fail(StatusCode::BadValue, name);
    }
    std::memcpy(out.bytes.data(), bytes, 16);
    return true;
  }

  const uint8_t* at_;
  size_t left_;
  Status status_;
};

#define READ(Name) \
  [[maybe_unused]] bool read([[maybe_unused]] Reader& in, [[maybe_unused]] Name& out) {
#define STRUCT(Name) READ(Name)
#define OP(code, Name, wire) READ(Name)
#define FIELD(Type, name) \
  if (!in.field(#name, out.name)) return false;
#define LIST(Element, name) \
  if (!in.list(#name, out.name)) return false;
#define END(Name) \
  return true;    \
  }
#include "state/objects.def"
#undef READ
#undef STRUCT
#undef OP
#undef FIELD
#undef LIST
#undef END

template <class Element>
bool Reader::list(const char* name, std::vector<Element>& out) {
  const uint8_t* p = take(4, name);
  if (p == nullptr) return false;
  const uint32_t count = load_le32(p);
  if (count > kMaxElements<Element>) return fail(StatusCode::BadValue, name);
  if (count > left_ / kWireBytes<Element>) return fail(StatusCode::BadLength, name);
  out.resize(count);
  for (Element& element : out) {
    if (!read(*this, element)) return false;
  }
  return true;
}

template <class Spec>
Status read_body(std::span<const uint8_t> body, Op& out) {
  Reader in(body);
  if (!read(in, out.emplace<Spec>())) return in.status();
  if (in.left() != 0) return Status::fail(StatusCode::BadLength, "length");
  return Status::done();
}

Status read_op(uint16_t code, std::span<const uint8_t> body, Op& out) {
  switch (code) {
#define STRUCT(Name)
#define OP(code, Name, wire) \
  case code:                 \
    return read_body<Name>(body, out);
#define FIELD(Type, name)
#define LIST(Element, name)
#define END(Name)
#include "state/objects.def"
#undef STRUCT
#undef OP
#undef FIELD
#undef LIST
#undef END
    default:
      return Status::fail(StatusCode::UnknownOp, "code");
  }
}

constexpr size_t kHeaderBytes = 8;  // of a Program, and of an op

Status read_ops(std::span<const uint8_t> bytes, std::vector<Op>& out) {
  if (bytes.size() > kMaxProgramBytes) return Status::fail(StatusCode::BadLength, "program");
  if (bytes.size() < kHeaderBytes) return Status::fail(StatusCode::Truncated, "magic");
  if (load_le32(bytes.data()) != kProgramMagic) return Status::fail(StatusCode::BadMagic, "magic");
  const uint32_t count = load_le32(bytes.data() + 4);
  if (count > kMaxProgramOps) return Status::fail(StatusCode::TooManyOps, "count");
  bytes = bytes.subspan(kHeaderBytes);
  // A count that lies must not cost memory: an op is at least its header.
  if (count <= bytes.size() / kHeaderBytes) out.reserve(count);
  for (uint32_t i = 0; i < count; ++i) {
    if (bytes.size() < kHeaderBytes) return Status::fail(StatusCode::Truncated, "code").at(i);
    const uint16_t code = load_le16(bytes.data());
    const uint16_t zero = load_le16(bytes.data() + 2);
    const uint32_t length = load_le32(bytes.data() + 4);
    bytes = bytes.subspan(kHeaderBytes);
    if (length > bytes.size()) return Status::fail(StatusCode::Truncated, "length").at(i);
    if (zero != 0) return Status::fail(StatusCode::BadValue, "zero").at(i);
    const Status status = read_op(code, bytes.first(length), out.emplace_back());
    if (!status.ok()) return status.at(i);
    bytes = bytes.subspan(length);
  }
  if (!bytes.empty()) return Status::fail(StatusCode::BadLength, "program");
  return Status::done();
}

}  // namespace

Status decode(std::span<const uint8_t> bytes, std::vector<Op>& out) {
  out.clear();
  const Status status = read_ops(bytes, out);
  if (!status.ok()) out.clear();
  return status;
}

}  // namespace vrouter
