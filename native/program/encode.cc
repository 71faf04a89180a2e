// Ops to bytes: the mirror of decode.cc, from the same list; and the way between next hop ops and
// the one object that Router keeps for them.
#include "base/bytes.h"
#include "program/program.h"

namespace vrouter {
namespace {

struct Writer {
  std::vector<uint8_t>& out;
  void raw(const uint8_t* bytes, size_t count) { out.insert(out.end(), bytes, bytes + count); }
};

void write(Writer& w, uint8_t v) { w.out.push_back(v); }
void write(Writer& w, uint16_t v) {
  uint8_t bytes[2];
  store_le16(bytes, v);
  w.raw(bytes, sizeof bytes);
}
void write(Writer& w, uint32_t v) {
  uint8_t bytes[4];
  store_le32(bytes, v);
  w.raw(bytes, sizeof bytes);
}
[[maybe_unused]] void write(Writer& w, uint64_t v) {
  uint8_t bytes[8];
  store_le64(bytes, v);
  w.raw(bytes, sizeof bytes);
}
void write(Writer& w, const Mac& v) { w.raw(v.bytes.data(), 6); }
void write(Writer& w, const Address& v) {
  write(w, static_cast<uint8_t>(v.family));
  w.raw(v.bytes.data(), 16);
}
void write(Writer& w, const Prefix& v) {
  write(w, static_cast<uint8_t>(v.address.family));
  write(w, v.length);
  w.raw(v.address.bytes.data(), 16);
}
void write(Writer& w, const std::string& v) {
  write(w, static_cast<uint16_t>(v.size()));
  w.raw(reinterpret_cast<const uint8_t*>(v.data()), v.size());
}
template <class Element>
void write(Writer& w, const std::vector<Element>& list) {
  write(w, static_cast<uint32_t>(list.size()));
  for (const Element& element : list) write(w, element);
}

#define STRUCT(Name) void write(Writer& w, const Name& v) {
#define OP(code, Name, wire)                               \
  constexpr uint16_t op_code(const Name*) { return code; } \
  void write(Writer& w, const Name& v) {
#define FIELD(Type, name) write(w, v.name);
#define LIST(Element, name) write(w, v.name);
#define END(Name) }
#include "state/objects.def"
#undef STRUCT
#undef OP
#undef FIELD
#undef LIST
#undef END

}  // namespace

void encode(const Op& op, std::vector<uint8_t>& out) {
  std::visit(
      [&](const auto& spec) {
        using Spec = std::decay_t<decltype(spec)>;
        if constexpr (!std::is_same_v<Spec, std::monostate>) {
          Writer w{out};
          write(w, op_code(static_cast<const Spec*>(nullptr)));
          write(w, uint16_t{0});
          const size_t length_at = out.size();
          write(w, uint32_t{0});
          write(w, spec);
          store_le32(out.data() + length_at, static_cast<uint32_t>(out.size() - length_at - 4));
        }
      },
      op);
}

std::vector<uint8_t> encode_program(const std::vector<Op>& ops) {
  std::vector<uint8_t> out;
  Writer w{out};
  write(w, kProgramMagic);
  write(w, static_cast<uint32_t>(ops.size()));
  for (const Op& op : ops) encode(op, out);
  return out;
}

NextHopObject next_hop_object(const Op& op) {
  NextHopObject object;
  const auto take = [&](NextHopKind kind, const auto* spec, auto& member) {
    if (spec == nullptr) return;
    object.kind = kind;
    member = *spec;
  };
  take(NextHopKind::Discard, std::get_if<DiscardSpec>(&op), object.discard);
  take(NextHopKind::Receive, std::get_if<ReceiveSpec>(&op), object.receive);
  take(NextHopKind::L2Receive, std::get_if<L2ReceiveSpec>(&op), object.l2_receive);
  take(NextHopKind::Interface, std::get_if<InterfaceSpec>(&op), object.interface);
  take(NextHopKind::Tunnel, std::get_if<TunnelSpec>(&op), object.tunnel);
  take(NextHopKind::Ecmp, std::get_if<EcmpSpec>(&op), object.ecmp);
  take(NextHopKind::Replicate, std::get_if<ReplicateSpec>(&op), object.replicate);
  take(NextHopKind::VrfTranslate, std::get_if<VrfTranslateSpec>(&op), object.vrf_translate);
  return object;
}

Op next_hop_op(const NextHopObject& object) {
  switch (object.kind) {
    case NextHopKind::None:
      break;
    case NextHopKind::Discard:
      return object.discard;
    case NextHopKind::Receive:
      return object.receive;
    case NextHopKind::L2Receive:
      return object.l2_receive;
    case NextHopKind::Interface:
      return object.interface;
    case NextHopKind::Tunnel:
      return object.tunnel;
    case NextHopKind::Ecmp:
      return object.ecmp;
    case NextHopKind::Replicate:
      return object.replicate;
    case NextHopKind::VrfTranslate:
      return object.vrf_translate;
  }
  return {};
}

}  // namespace vrouter
