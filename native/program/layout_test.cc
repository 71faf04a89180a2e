// The description is well-formed JSON, follows the lists it is made from, and the parts written by
// hand agree with their sources.
#include <gtest/gtest.h>

#include <cctype>
#include <map>

#include "base/drop.h"
#include "program/program.h"
#include "state/counters.h"

namespace vrouter {
namespace {

// As much JSON as the description uses.
struct Value {
  char kind = 0;  // { [ " n
  std::string text;
  uint64_t number = 0;
  std::vector<Value> items;
  std::vector<std::string> keys;

  const Value& operator[](const std::string& key) const {
    static const Value none;
    for (size_t i = 0; i < keys.size(); ++i)
      if (keys[i] == key) return items[i];
    ADD_FAILURE() << "no key " << key;
    return none;
  }
};

class Parser {
 public:
  explicit Parser(const std::string& text) : text_(text) {}
  bool whole(Value& out) { return value(out) && at_ == text_.size(); }

 private:
  bool take(char c) {
    if (at_ >= text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  bool string(std::string& out) {
    if (!take('"')) return false;
    while (at_ < text_.size() && text_[at_] != '"') {
      if (static_cast<uint8_t>(text_[at_]) < 0x20) return false;
      if (text_[at_] == '\\' && ++at_ >= text_.size()) return false;
      out += text_[at_++];
    }
    return take('"');
  }
  bool value(Value& out) {
    if (at_ >= text_.size()) return false;
    out.kind = text_[at_];
    if (out.kind == '"') return string(out.text);
    if (out.kind == '{' || out.kind == '[') {
      const char end = out.kind == '{' ? '}' : ']';
      ++at_;
      if (take(end)) return true;
      do {
        if (end == '}') {
          out.keys.emplace_back();
          if (!string(out.keys.back()) || !take(':')) return false;
        }
        out.items.emplace_back();
        if (!value(out.items.back())) return false;
      } while (take(','));
      return take(end);
    }
    out.kind = 'n';
    const size_t start = at_;
    while (at_ < text_.size() && std::isdigit(static_cast<uint8_t>(text_[at_]))) {
      out.number = out.number * 10 + static_cast<uint64_t>(text_[at_++] - '0');
    }
    return at_ > start;
  }

  const std::string& text_;
  size_t at_ = 0;
};

class Layout : public testing::Test {
 protected:
  Layout() {
    text = layout_json();
    EXPECT_TRUE(Parser(text).whole(json));
  }
  const Value& op(const std::string& wire) {
    static const Value none;
    for (const Value& o : json["ops"].items)
      if (o["wire"].text == wire) return o;
    ADD_FAILURE() << "no op " << wire;
    return none;
  }
  uint64_t all_bits(const char* key) {
    uint64_t bits = 0;
    for (const Value& b : json[key].items) {
      EXPECT_EQ(bits & b["bit"].number, 0u) << key;
      bits |= b["bit"].number;
    }
    return bits;
  }
  // Bytes on the wire of an object without names and with empty lists.
  uint64_t bytes(const Value& object) {
    uint64_t sum = 0;
    for (const Value& f : object["fields"].items) {
      const Value& type = f["type"];
      sum += type.kind == '{' ? 4 : type.text == "name" ? 2 : json["types"][type.text].number;
    }
    return sum;
  }
  std::string text;
  Value json;
};

TEST_F(Layout, NamesItsVersion) {
  EXPECT_EQ(json["version"].number, 1u);
  EXPECT_EQ(json["magic"].number, kProgramMagic);
}

TEST_F(Layout, OpsAndTheirFieldsAreInWireOrder) {
  EXPECT_EQ(json["ops"].items.size(), std::variant_size_v<Op> - 1);
  const Value& route = op("route_set");
  EXPECT_EQ(route["code"].number, 0x30u);
  EXPECT_EQ(route["name"].text, "RouteSpec");
  std::string fields;
  for (const Value& f : route["fields"].items)
    fields += f["name"].text + ":" + f["type"].text + " ";
  EXPECT_EQ(fields,
            "vrf:u32 prefix:prefix next_hop:u32 label:u32 flags:u8 hash_fields:u8 mac:mac ");
  EXPECT_EQ(op("nh_ecmp_set")["fields"].items[4]["type"]["list"].text, "EcmpMember");
}

// What encode() writes has the size that the description says, for every op.
TEST_F(Layout, SizesAreThoseOfTheEncoder) {
  std::map<uint64_t, const Value*> by_code;
  for (const Value& o : json["ops"].items) by_code[o["code"].number] = &o;
  const auto check = [&](const Op& op) {
    std::vector<uint8_t> out;
    encode(op, out);
    const uint64_t code = out[0] | out[1] << 8;
    ASSERT_TRUE(by_code.contains(code));
    EXPECT_EQ(out.size() - 8, bytes(*by_code[code])) << (*by_code[code])["wire"].text;
  };
#define STRUCT(Name)
#define OP(code, Name, wire) check(Name{});
#define FIELD(Type, name)
#define LIST(Element, name)
#define END(Name)
#include "state/objects.def"
#undef STRUCT
#undef OP
#undef FIELD
#undef LIST
#undef END
}

TEST_F(Layout, ListsNameStructs) {
  for (const Value& o : json["ops"].items) {
    for (const Value& f : o["fields"].items) {
      if (f["type"].kind != '{') continue;
      bool found = false;
      for (const Value& s : json["structs"].items)
        found |= s["name"].text == f["type"]["list"].text;
      EXPECT_TRUE(found) << f["name"].text;
    }
  }
}

TEST_F(Layout, ReasonsAndCountersAreComplete) {
  ASSERT_EQ(json["dropReasons"].items.size(), kDropReasons);
  EXPECT_EQ(json["dropReasons"].items[10]["printed"].text, "Flow Action Drop");
  ASSERT_EQ(json["flowDrops"].items.size(), static_cast<size_t>(FlowDrop::kCount));
  EXPECT_EQ(json["flowDrops"].items[18]["name"].text, "NoFipPortMap");
  EXPECT_EQ(json["status"].items[0]["code"].text, "OK");
  EXPECT_EQ(json["status"].items[static_cast<size_t>(StatusCode::BadFile)]["code"].text,
            "BAD_FILE");
  EXPECT_EQ(json["vifCounters"].items.size(), kVifCounters);
  EXPECT_EQ(json["vrfCounters"].items.size(), kVrfCounters);
  EXPECT_EQ(json["totals"].items.size(), 8u);
  EXPECT_EQ(json["tables"].items.size(), static_cast<size_t>(DumpTable::kCount));
  EXPECT_EQ(json["tables"].items[static_cast<size_t>(DumpTable::FloatingIps)].text, "floating_ips");
}

TEST_F(Layout, FlagsAreAllThatControlMaySet) {
  EXPECT_EQ(all_bits("vifFlags"), kVifKnownFlags);
  EXPECT_EQ(all_bits("nextHopFlags"), kNhKnownFlags);
  EXPECT_EQ(all_bits("routeFlags"), kRouteKnownFlags);
  EXPECT_EQ(all_bits("macFlags"), kMacKnownFlags);
  EXPECT_EQ(all_bits("routerFlags"), kRouterKnownFlags);
  EXPECT_EQ(all_bits("hashFields"), kHashAll);
  EXPECT_EQ(json["encaps"].items[static_cast<size_t>(Encap::Vxlan)].text, "vxlan");
  EXPECT_EQ(json["vifTypes"].items[static_cast<size_t>(VifType::Virtual)].text, "virtual");
  EXPECT_EQ(json["replicateKinds"].items[static_cast<size_t>(ReplicateKind::Tor)].text, "tor");
  EXPECT_EQ(json["natDirections"].items[static_cast<size_t>(NatDirection::Egress)].text, "egress");
}

TEST_F(Layout, LimitsAreThoseInForce) {
  EXPECT_EQ(json["limits"]["maxVifs"].number, kMaxVifs);
  EXPECT_EQ(json["limits"]["noLabel"].number, kNoLabel);
  EXPECT_EQ(json["limits"]["maxProgramBytes"].number, kMaxProgramBytes);
}

}  // namespace
}  // namespace vrouter
