#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "common/clock.h"
#include "worker/engine/sequence.h"

namespace thinkwire::worker::engine {

// The sequences whose readers are behind, and among them those that are parked.
//
// A sequence whose stream is full is paused. It keeps slot and blocks while nobody else wants them,
// but before anyone waits for either or is preempted, those that are paused are put out, the one
// first whose reader is behind for longest. Who was put out is parked: it holds its ids and nothing
// else (the prefix cache may still have its blocks), for nobody knows when its reader comes back,
// and it keeps nobody waiting. Once half of its stream is free it gets back in line: not for any
// room, lest it were computed anew for each token of a reader who takes single ones.
//
// While a reader is behind it must keep a least pace (ReaderPace), whatever becomes of its
// sequence. And so that those who never read cost no more than some memory: where more than
// `max_parked` are parked, the one parked first is given up.
// Owns: the lists alone. Threads: the engine thread.
class SlowReaders {
 public:
  SlowReaders(Clock::Duration timeout, std::size_t max_parked)
      : timeout_(timeout), max_parked_(max_parked) {}

  // The stream of `sequence` is full, or was since the last look.
  void Watch(Sequence& sequence) { behind_.emplace(sequence.handle(), &sequence); }
  // `sequence` is about to end.
  void Forget(Sequence& sequence);

  // Parks `sequence`. REQUIRES: it is kQueued, but not in the queue.
  void Park(Sequence& sequence);
  // Those that were parked and whose readers came back, kQueued now.
  std::vector<Sequence*> TakeReturned();
  std::int32_t parked() const { return static_cast<std::int32_t>(parked_.size()); }

  std::int32_t paused() const;  // that run: a pass over those whose readers are behind

  // Who is to end, as its reader is too slow or too many are parked.
  std::vector<RequestHandle> Look(Clock::TimePoint now);
  // When Look has something to say next, if time is all that it waits for.
  std::optional<Clock::TimePoint> next_look() const;

  // The paused sequence whose reader is behind for longest, but for `other`; null if there is none.
  Sequence* LongestPaused(const Sequence* other = nullptr) const;

  void CheckInvariants(const Sequence& sequence) const;  // for tests: who is held up is known

 private:
  const Clock::Duration timeout_;
  const std::size_t max_parked_;
  std::map<RequestHandle, Sequence*> behind_;  // their streams were full, and not seen empty since
  std::vector<Sequence*> parked_;              // in the order in which they were parked
};

}  // namespace thinkwire::worker::engine
