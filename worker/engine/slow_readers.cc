#include "worker/engine/slow_readers.h"

#include <algorithm>

#include "common/check.h"

namespace thinkwire::worker::engine {

void SlowReaders::Forget(Sequence& sequence) {
  behind_.erase(sequence.handle());
  if (sequence.state() == SequenceState::kParked) std::erase(parked_, &sequence);
}

void SlowReaders::Park(Sequence& sequence) {
  sequence.Park();
  parked_.push_back(&sequence);
}

std::vector<Sequence*> SlowReaders::TakeReturned() {
  std::vector<Sequence*> returned;
  std::vector<Sequence*> parked;
  parked.swap(parked_);
  for (Sequence* const sequence : parked) {
    if (sequence->reading().half_free()) {
      sequence->Return();
      returned.push_back(sequence);
    } else {
      parked_.push_back(sequence);
    }
  }
  return returned;
}

std::vector<RequestHandle> SlowReaders::Look(Clock::TimePoint now) {
  std::vector<RequestHandle> ends;
  for (auto next = behind_.begin(); next != behind_.end();) {
    const auto [handle, sequence] = *next++;  // which may go
    const ReaderPace::Verdict verdict = sequence->LookAtReader(timeout_, now);
    if (verdict == ReaderPace::Verdict::kKeepsUp) behind_.erase(handle);
    if (verdict == ReaderPace::Verdict::kTooSlow) ends.push_back(handle);
  }
  for (std::size_t i = 0; i + max_parked_ < parked_.size(); ++i) {
    ends.push_back(parked_[i]->handle());
  }
  return ends;
}

std::optional<Clock::TimePoint> SlowReaders::next_look() const {
  std::optional<Clock::TimePoint> next;
  for (const auto& [handle, sequence] : behind_) {
    const auto since = sequence->behind_since();
    if (since && (!next || *since + timeout_ < *next)) next = *since + timeout_;
  }
  return next;
}

std::int32_t SlowReaders::paused() const {
  const auto is_paused = [](const auto& entry) { return entry.second->paused(); };
  return static_cast<std::int32_t>(std::ranges::count_if(behind_, is_paused));
}

Sequence* SlowReaders::LongestPaused(const Sequence* other) const {
  const auto since = [](const Sequence& sequence) {
    return sequence.behind_since().value_or(Clock::TimePoint::max());
  };
  Sequence* longest = nullptr;
  for (const auto& [handle, sequence] : behind_) {
    if (sequence == other || !sequence->paused()) continue;
    if (longest == nullptr || since(*sequence) < since(*longest)) longest = sequence;
  }
  return longest;
}

void SlowReaders::CheckInvariants(const Sequence& sequence) const {
  const bool parked = sequence.state() == SequenceState::kParked;
  if (sequence.paused() || (parked && !sequence.reading().half_free())) {
    CHECK(behind_.contains(sequence.handle()), "who is held up by its reader is known");
  }
}

}  // namespace thinkwire::worker::engine
