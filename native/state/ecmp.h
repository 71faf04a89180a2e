// ECMP choice: weighted rendezvous hashing over stable member ids (each member scores
// hash(flow, member id), highest score / weight wins).
// Invariant: removing one member moves only the flows that were its own; adding one moves only the
// flows it wins. Order of the list, next hop ids and labels do not matter.
#pragma once
#include <cstdint>
#include <vector>

#include "base/ids.h"
#include "state/objects.h"

namespace vrouter {

inline constexpr uint16_t kNoMember = 0xffff;

struct EcmpSet {
  std::vector<EcmpMember> members;
  bool equal_weights = true;   // of those with weight > 0
};

// Position of the member for a flow hash, or -1 if no member has a weight.
// `usable(position)` says whether a member may be taken (local only, next hop alive, …).
template <class Usable>
int choose_member(const EcmpSet& set, uint64_t hash, Usable usable);

// Position of a member id, or -1.
int find_member(const EcmpSet& set, uint16_t member);

// Score of a member for a flow hash: larger is better; weight >= 1.
uint64_t member_score(uint64_t hash, uint16_t member, uint16_t weight);

template <class Usable>
int choose_member(const EcmpSet& set, uint64_t hash, Usable usable) {
  int best = -1;
  uint64_t best_score = 0;
  for (size_t i = 0; i < set.members.size(); ++i) {
    const EcmpMember& m = set.members[i];
    if (m.weight == 0 || !usable(static_cast<int>(i))) continue;
    const uint64_t score = member_score(hash, m.member, set.equal_weights ? 1 : m.weight);
    // Ties go to the lower id, never to the position.
    if (best < 0 || score > best_score ||
        (score == best_score && m.member < set.members[best].member)) {
      best = static_cast<int>(i);
      best_score = score;
    }
  }
  return best;
}

}  // namespace vrouter
