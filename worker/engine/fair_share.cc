#include "worker/engine/fair_share.h"

#include <algorithm>
#include <unordered_map>

#include "common/peer_limits.h"

namespace thinkwire::worker::engine {
namespace {

struct Part {
  std::int32_t sequences = 0;  // r
  std::int32_t blocks = 0;     // b
};
using Parts = std::unordered_map<const Peer*, Part>;

Parts PartsOf(const std::vector<Sequence*>& running) {
  Parts parts;
  for (const Sequence* const sequence : running) {
    Part& part = parts[&sequence->peer()];
    ++part.sequences;
    part.blocks += sequence->num_blocks();
  }
  return parts;
}

bool HadTurn(const Sequence& sequence, std::int32_t tokens) {
  return !sequence.began() || sequence.grown() >= tokens;
}

// Whether `sequence`, whose peer has `theirs`, may go for `lack`, whose peer has `ours`.
bool MayGo(const Sequence& sequence, const Part& theirs, const FairShare::Lack& lack,
           const Part& ours) {
  if (&sequence.peer() == &lack.sequence.peer()) return false;
  const std::int32_t surplus = theirs.sequences - 1 - ours.sequences;
  const bool stays_before = surplus > 0 || (surplus == 0 && lack.before_preempted);
  if (!stays_before) return false;
  const bool has_none = ours.sequences == 0;
  const bool more_slots = surplus > 0 && (lack.slots > 0 || has_none);
  const bool more_blocks =
      lack.blocks > 0 && theirs.blocks - sequence.num_blocks() >= ours.blocks + lack.starts_with;
  if (more_slots || more_blocks) return HadTurn(sequence, kTurnTokens);
  return has_none && HadTurn(sequence, kLongTurnTokens);
}

// The newest that may go of whoever has most of what is missing; null if there is none.
Sequence* NextToGo(const FairShare::Lack& lack, const std::vector<Sequence*>& running,
                   Parts& parts) {
  const auto most = [&lack](const Part& part) {
    return lack.slots > 0 ? part.sequences : part.blocks;
  };
  const Part ours = parts[&lack.sequence.peer()];
  Sequence* next = nullptr;
  for (auto newest = running.rbegin(); newest != running.rend(); ++newest) {
    const Part& theirs = parts[&(*newest)->peer()];
    if (!MayGo(**newest, theirs, lack, ours)) continue;
    if (next == nullptr || most(theirs) > most(parts[&next->peer()])) next = *newest;
  }
  return next;
}

}  // namespace

std::vector<Sequence*> FairShare::Displaced(Lack lack, const std::vector<Sequence*>& running) {
  std::vector<Sequence*> left = running;
  Parts parts = PartsOf(left);
  std::vector<Sequence*> displaced;
  while (lack.slots > 0 || lack.blocks > 0) {
    Sequence* const next = NextToGo(lack, left, parts);
    if (next == nullptr) return {};
    displaced.push_back(next);
    std::erase(left, next);
    Part& part = parts[&next->peer()];
    --part.sequences;
    part.blocks -= next->num_blocks();
    --lack.slots;
    lack.blocks -= next->num_blocks();
  }
  return displaced;
}

void FairShare::OnDisplaced(std::int64_t inputs, std::uint64_t step) {
  next_step_ = step + static_cast<std::uint64_t>((kPayback * inputs + budget_ - 1) / budget_);
}

Sequence& FairShare::ToGrow(const std::vector<Sequence*>& running) {
  const Parts parts = PartsOf(running);
  const auto blocks = [&parts](const Sequence* sequence) {
    return parts.at(&sequence->peer()).blocks;
  };
  return **std::ranges::max_element(running.rbegin(), running.rend(), {}, blocks);
}

}  // namespace thinkwire::worker::engine
