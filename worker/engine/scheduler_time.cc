// Scheduler: whose rows the next step has time for.
#include <algorithm>

#include "worker/engine/scheduler.h"

namespace thinkwire::worker::engine {

bool Scheduler::OthersCome() const { return peers_.size() + time_share_.remembered() > 1; }

bool Scheduler::PlansTooEarly() const {
  return OthersCome() && !in_flight_.empty() && time_share_.TooLong(in_flight_.back().work);
}

void Scheduler::ShareTime(Round& round) {
  time_share_.ForgetSome(round.now);
  time_share_.ExpectOthers(OthersCome());
  std::vector<TimeShare::Want> wants;
  if (peers_.size() > 1 && time_share_.cost().known()) {
    const auto starts = [this] { return !queue_.empty() && queue_.front().peer().running == 0; };
    while (starts() && MayAdmit(round) && AdmitNext(round, false)) {
    }
    wants = Wants(round.builder.budget());
    // Someone gives it the place: the sooner their steps are over, the sooner it begins.
    if (starts() && AnyoneLeaves()) wants.push_back({.peer = &queue_.front().peer()});
  }
  const bool more = !queue_.empty() && !free_slots_.empty();  // to be admitted in this step
  time_share_.Divide(wants, more, round.now);
}

std::vector<TimeShare::Want> Scheduler::Wants(std::int32_t budget) const {
  std::vector<TimeShare::Want> wants;
  for (const Sequence* const sequence : running_) {
    const std::int64_t left = std::max(1, sequence->committed() - sequence->computed());
    const bool ready = left > budget || sequence->ReadyToDraw() > 0;
    const bool soon = sequence->draws_in_flight() > 0 && !sequence->reading().full();
    if (!ready && !soon) continue;
    auto want = std::ranges::find(wants, &sequence->peer(), &TimeShare::Want::peer);
    if (want == wants.end()) want = wants.insert(want, {.peer = &sequence->peer()});
    const std::int64_t room = budget - want->work.rows - want->work.more_inputs;
    want->work += StepWork::OfRow(sequence->computed(), std::clamp<std::int64_t>(room, 1, left));
    want->ready |= ready;
  }
  return wants;
}

std::vector<Sequence*> Scheduler::InTurn() const {
  std::vector<Sequence*> turn = running_;
  if (!OthersCome()) return turn;
  const auto place = [this](const Sequence* sequence) {
    const Peer& peer = sequence->peer();
    const int had_one_last = sequence->handle() > peer.time.last_row ? 0 : 1;
    return time_share_.Holds(peer) ? 2 + had_one_last : had_one_last;
  };
  std::ranges::stable_sort(turn, {}, place);
  return turn;
}

std::int32_t Scheduler::InTime(const Sequence& sequence, std::int32_t count,
                               const Round& round) const {
  const Peer& peer = sequence.peer();
  if (time_share_.Holds(peer)) {
    return time_share_.Affordable(peer, sequence.computed(), count);
  }
  const bool progress = sequence.decoding() ? round.work.rows == 0 : !round.has_prompt;
  return time_share_.Timely(round.work, sequence.computed(), count, progress);
}

bool Scheduler::TakesPrompts(const Round& round) const {
  if (round.builder.budget() == 0) return false;
  return time_share_.Timely(round.work, 0, TimeShare::kLeastChunk, !round.has_prompt) > 0;
}

Peer& Scheduler::PeerOf(const std::string& name) {
  const auto [found, is_new] = peers_.try_emplace(name);
  if (is_new) found->second.time = time_share_.Recall(name);
  return found->second;
}

void Scheduler::LetGo(const std::string& name) {
  const auto peer = peers_.find(name);
  time_share_.Remember(name, peer->second.time);
  peers_.erase(peer);
}

}  // namespace thinkwire::worker::engine
