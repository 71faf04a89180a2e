// ECMP choice: weighted rendezvous hashing over stable member ids. A member's hash is mixed from
// the flow's hash and its id; with equal weights the highest hash wins, with different ones the
// highest score -weight / log(hash), which wins in proportion to the weight. Invariant: removing
// one member moves only the flows that were its own; adding one moves only the flows it wins;
// raising a weight only moves flows to that member. Order of the list, next hop ids and labels do
// not matter. All of it is integer arithmetic: the same choice on every machine.
#pragma once
#include <cstdint>
#include <vector>

#include "base/ids.h"
#include "state/objects.h"

namespace vrouter {

inline constexpr uint16_t kNoMember = 0xffff;

// A member as a choice among all of them looks at it.
struct EcmpChoice {
  uint64_t constant;  // of its id, in member_hash()
  uint16_t position;  // among the members
  uint16_t weight;    // above 0
};

struct EcmpSet {
  std::vector<EcmpMember> members;
  bool equal_weights = true;        // of those with weight > 0
  std::vector<EcmpChoice> choices;  // render_choices(); of those with weight > 0
};

// What choose_among_all() reads; after any change of the members.
void render_choices(EcmpSet& set);

// choose_member() where every member may be taken. Whoever may not take the one it gets must ask
// choose_member(); one that may be taken is what that would say, for it wins against more.
int choose_among_all(const EcmpSet& set, uint64_t hash);

// Position of the member for a flow hash, or -1 if no member has a weight.
// `usable(position)` says whether a member may be taken (local only, next hop alive, …).
template <class Usable>
int choose_member(const EcmpSet& set, uint64_t hash, Usable usable);

// Position of a member id, or -1.
int find_member(const EcmpSet& set, uint16_t member);

// What decides between members of equal weight: larger is better.
uint64_t member_hash(uint64_t hash, uint16_t member);

// Between members of different weights: larger is better; weight >= 1. Never falls as `hash`
// (member_hash) rises, so both ways of choosing agree where weights are equal.
uint64_t member_score(uint64_t hash, uint16_t weight);

template <class Usable>
int choose_member(const EcmpSet& set, uint64_t hash, Usable usable) {
  int best = -1;
  uint64_t best_score = 0;
  uint64_t best_hash = 0;
  for (size_t i = 0; i < set.members.size(); ++i) {
    const EcmpMember& m = set.members[i];
    if (m.weight == 0 || !usable(static_cast<int>(i))) continue;
    const uint64_t own = member_hash(hash, m.member);
    const uint64_t score = set.equal_weights ? 0 : member_score(own, m.weight);
    // Ties go to the higher hash, then to the lower id, never to the position.
    const bool better =
        best < 0 || score > best_score ||
        (score == best_score &&
         (own > best_hash || (own == best_hash && m.member < set.members[best].member)));
    if (!better) continue;
    best = static_cast<int>(i);
    best_score = score;
    best_hash = own;
  }
  return best;
}

}  // namespace vrouter
