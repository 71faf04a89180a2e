// Tables to ops. A cursor names the last entry that was given, so a dump goes on rightly whatever
// was committed in between; each call costs what it returns, except that the MACs of one VRF, which
// are in no order, are looked through once a call.
#include <algorithm>

#include "base/bytes.h"
#include "program/program.h"

namespace vrouter {
namespace {

// Where a dump goes on. Tables by id: the next id. Routes and MACs: the VRF, and the last key in
// it.
struct Cursor {
  uint32_t id = 0;  // or VRF
  bool has_key = false;
  uint8_t key[18] = {};

  static constexpr size_t kBytes = 4 + 1 + sizeof key;

  std::string bytes() const {
    uint8_t out[kBytes];
    store_le32(out, id);
    out[4] = has_key;
    std::memcpy(out + 5, key, sizeof key);
    return {reinterpret_cast<const char*>(out), kBytes};
  }
  static bool parse(const std::string& text, Cursor& out) {
    if (text.empty()) return true;
    if (text.size() != kBytes) return false;
    const auto* bytes = reinterpret_cast<const uint8_t*>(text.data());
    out.id = load_le32(bytes);
    out.has_key = bytes[4] != 0;
    std::memcpy(out.key, bytes + 5, sizeof out.key);
    return true;
  }

  void set_prefix(const Prefix& prefix) {
    has_key = true;
    key[0] = static_cast<uint8_t>(prefix.address.family);
    key[1] = prefix.length;
    std::memcpy(key + 2, prefix.address.bytes.data(), 16);
  }
  bool prefix(Prefix& out) const {
    if (key[0] != 4 && key[0] != 6) return false;
    out.address.family = static_cast<Family>(key[0]);
    out.length = key[1];
    std::memcpy(out.address.bytes.data(), key + 2, 16);
    return out.canonical();
  }
  void set_mac(const Mac& mac) {
    has_key = true;
    std::memcpy(key, mac.bytes.data(), 6);
  }
  Mac mac() const {
    Mac mac;
    std::memcpy(mac.bytes.data(), key, 6);
    return mac;
  }
  void next_vrf() {
    ++id;
    has_key = false;
    std::memset(key, 0, sizeof key);
  }
};

class Dump {
 public:
  Dump(Router& router, Cursor& cursor, size_t limit, std::vector<uint8_t>& out)
      : router_(router), cursor_(cursor), limit_(limit), out_(out) {}

  // Each returns true when the table has ended.
  bool router() {
    add(router_.spec());
    return true;
  }
  bool vrfs() {
    return by_id(router_.vrf_limit(), &Router::next_vrf,
                 [&](uint32_t id) { add(router_.vrf(VrfId{id})->spec); });
  }
  bool vifs() {
    return by_id(router_.vif_limit(), &Router::next_vif,
                 [&](uint32_t id) { add(router_.vif(VifId{id})->spec); });
  }
  bool next_hops() {
    if (cursor_.id == kDiscard.value) ++cursor_.id;
    return by_id(router_.next_hop_limit(), &Router::next_next_hop,
                 [&](uint32_t id) { add(next_hop_op(*router_.next_hop_object(NextHopId{id}))); });
  }
  bool labels() {
    return by_id(router_.label_limit(), &Router::next_label, [&](uint32_t label) {
      add(LabelSpec{label, router_.label(label).value});
    });
  }
  bool vnis() {
    return by_id(router_.vni_limit(), &Router::next_vni, [&](uint32_t vni) {
      add(VniSpec{vni, router_.vni(vni).value});
    });
  }
  bool floating_ips() {
    return by_id(router_.floating_ip_limit(), &Router::next_floating_ip,
                 [&](uint32_t id) { add(router_.floating_ip(id)->spec); });
  }
  bool source_nats() {
    return by_id(router_.source_nat_limit(), &Router::next_source_nat,
                 [&](uint32_t id) { add(router_.source_nat(id)->spec); });
  }
  bool policies() {
    return by_id(router_.policy_limit(), &Router::next_policy,
                 [&](uint32_t id) { add(router_.policy(PolicyId{id})->spec); });
  }

  bool routes(VrfId only) {
    return by_vrf(only, [&](uint32_t vrf, const Vrf& v) {
      Prefix last;
      const Prefix* after = cursor_.has_key && cursor_.prefix(last) ? &last : nullptr;
      const bool in_v6 = after != nullptr && last.address.family == Family::V6;
      if (!in_v6 && !routes_of(vrf, v.routes4, after)) return false;
      return routes_of(vrf, v.routes6, in_v6 ? after : nullptr);
    });
  }

  bool macs(VrfId only) {
    return by_vrf(only, [&](uint32_t vrf, const Vrf& v) {
      std::vector<const MacEntry*> rest;
      const Mac last = cursor_.mac();
      v.macs.each([&](const MacEntry& entry) {
        if (!cursor_.has_key || entry.mac.bytes > last.bytes) rest.push_back(&entry);
      });
      // Only as many need their order as fit before the limit.
      constexpr size_t kOpBytes = 8 + 4 + 6 + 4 + 4 + 1;
      const size_t room = limit_ > out_.size() ? (limit_ - out_.size()) / kOpBytes + 2 : 2;
      const size_t wanted = std::min(rest.size(), room);
      std::partial_sort(
          rest.begin(), rest.begin() + static_cast<ptrdiff_t>(wanted), rest.end(),
          [](const MacEntry* a, const MacEntry* b) { return a->mac.bytes < b->mac.bytes; });
      for (size_t i = 0; i < wanted; ++i) {
        if (full()) return false;
        const MacEntry& m = *rest[i];
        add(MacSpec{vrf, m.mac, m.next_hop.value, m.label, m.flags});
        cursor_.set_mac(m.mac);
      }
      return wanted == rest.size();
    });
  }

 private:
  // At least one entry a call, or a small limit would never get anywhere.
  bool full() const { return any_ && out_.size() >= limit_; }

  void add(const Op& op) {
    encode(op, out_);
    any_ = true;
  }

  template <class Add>
  bool by_id(uint32_t limit, uint32_t (Router::*next)(uint32_t) const, Add add_one) {
    for (uint32_t id = (router_.*next)(cursor_.id); id < limit; id = (router_.*next)(id + 1)) {
      cursor_.id = id;
      if (full()) return false;
      add_one(id);
    }
    return true;
  }

  // one(vrf, object) returns false when `out` was full before its end.
  template <class One>
  bool by_vrf(VrfId only, One one) {
    if (only.valid() && !cursor_.has_key) cursor_.id = only.value;
    const uint32_t limit = only.valid() ? only.value + 1 : router_.vrf_limit();
    for (; cursor_.id < limit; cursor_.next_vrf()) {
      const Vrf* v = router_.vrf(VrfId{cursor_.id});
      if (v != nullptr && !one(cursor_.id, *v)) return false;
    }
    return true;
  }

  bool routes_of(uint32_t vrf, const Lpm& lpm, const Prefix* after) {
    bool ended = true;
    lpm.each(
        [&](const Prefix& prefix, uint32_t id) {
          if (full()) return ended = false;
          const Route& r = *router_.route_by_id(id);
          add(RouteSpec{vrf, prefix, r.next_hop.value, r.label, r.flags, r.hash_fields, r.mac});
          cursor_.set_prefix(prefix);
          return true;
        },
        after);
    return ended;
  }

  Router& router_;
  Cursor& cursor_;
  size_t limit_;
  std::vector<uint8_t>& out_;
  bool any_ = false;
};

}  // namespace

Status dump(Router& router, DumpTable table, VrfId vrf, std::string& cursor, size_t limit,
            std::vector<uint8_t>& out) {
  Cursor at;
  if (!Cursor::parse(cursor, at)) return Status::fail(StatusCode::BadValue, "cursor");
  Dump d(router, at, limit, out);
  bool ended = true;
  switch (table) {
    case DumpTable::Router:
      ended = d.router();
      break;
    case DumpTable::Vrfs:
      ended = d.vrfs();
      break;
    case DumpTable::Vifs:
      ended = d.vifs();
      break;
    case DumpTable::NextHops:
      ended = d.next_hops();
      break;
    case DumpTable::Routes:
      ended = d.routes(vrf);
      break;
    case DumpTable::Macs:
      ended = d.macs(vrf);
      break;
    case DumpTable::Labels:
      ended = d.labels();
      break;
    case DumpTable::Vnis:
      ended = d.vnis();
      break;
    case DumpTable::FloatingIps:
      ended = d.floating_ips();
      break;
    case DumpTable::SourceNats:
      ended = d.source_nats();
      break;
    case DumpTable::Policies:
      ended = d.policies();
      break;
    case DumpTable::kCount:
      return Status::fail(StatusCode::BadValue, "table");
  }
  cursor = ended ? std::string() : at.bytes();
  return Status::done();
}

}  // namespace vrouter
