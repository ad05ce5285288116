#pragma once

#include <chrono>
#include <cstddef>
#include <map>
#include <memory>
#include <thread>
#include <vector>

#include "common/clock.h"
#include "common/mutex.h"
#include "common/peer_limits.h"

namespace thinkwire::router {

// When streams that have lost their worker go on elsewhere. Each costs the next worker a prompt and
// an output to compute, so that they are spread: kMovesAtOnce at once, kMovesASecond after that, in
// the order of their asking (a virtual scheduling clock, as ATM's GCRA). Those that must wait, for
// that or for a worker, hold no thread: they are called.
// Owns: a thread, from Start to Stop. Threads: any.
class MoveSchedule {
 public:
  // A stream that waits.
  class Waiter {
   public:
    virtual ~Waiter() = default;
    // The time has come. On the schedule's thread, without a lock held.
    virtual void OnTurn() = 0;
  };

  // `clock` outlives this.
  explicit MoveSchedule(const Clock& clock) : clock_(clock) {}
  ~MoveSchedule() { Stop(); }

  // Runs Tick, as long as anybody waits, every kTick of real time until Stop.
  void Start();
  // Nobody is called any more. Idempotent.
  void Stop();

  // Takes the next place for a move: it may begin at this time, which may be now or past.
  Clock::TimePoint TakePlace();
  // The same for a stream that may be what its workers were lost of (Suspicion): kBetweenSuspects
  // after the one before, so that those before have come further, or been lost, when it begins;
  // kLongestSuspectWait from now at most.
  static constexpr Clock::Duration kBetweenSuspects = std::chrono::seconds(1);
  static constexpr Clock::Duration kLongestSuspectWait = std::chrono::seconds(10);
  Clock::TimePoint TakePlaceOfSuspect();

  // Calls the waiter once, at `time` or soon after it, if it still lives.
  void CallAt(Clock::TimePoint time, std::weak_ptr<Waiter> waiter);

  // Calls those whose time has come.
  void Tick();

  // Who is to be called.
  std::size_t num_waiting() const {
    MutexLock lock(mu_);
    return waiters_.size();
  }

 private:
  std::vector<std::weak_ptr<Waiter>> TakeDue();

  const Clock& clock_;
  mutable Mutex mu_;
  CondVar changed_;
  Clock::TimePoint next_place_ ABSL_GUARDED_BY(mu_);
  Clock::TimePoint next_suspect_ ABSL_GUARDED_BY(mu_);
  std::multimap<Clock::TimePoint, std::weak_ptr<Waiter>> waiters_ ABSL_GUARDED_BY(mu_);
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  std::thread thread_;
};

}  // namespace thinkwire::router
