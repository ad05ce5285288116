#pragma once

#include <cstdint>
#include <map>
#include <optional>

#include "common/clock.h"
#include "worker/engine/sequence.h"

namespace thinkwire::worker::engine {

// The sequences that wait for a slot and blocks, in order of arrival: a preempted sequence arrived
// before all that were never admitted, so it comes back to the front. Tells readers their
// positions.
// Owns: the order alone. Threads: the engine thread.
class WaitingQueue {
 public:
  // How often the readers of a moving queue are told: one report costs a pass over the queue.
  static constexpr Clock::Duration kReportInterval = std::chrono::milliseconds(250);

  void Add(Sequence& sequence);
  void Remove(const Sequence& sequence);  // REQUIRES: it is in the queue

  bool empty() const { return sequences_.empty(); }
  std::int32_t size() const { return static_cast<std::int32_t>(sequences_.size()); }
  Sequence& front() const { return *sequences_.begin()->second; }

  // Tells a position to each new reader at once, and changed ones every kReportInterval. A
  // preempted sequence has started and is told nothing.
  void Report(Clock::TimePoint now);

  // When Report has something to say next, if time is all that it waits for.
  std::optional<Clock::TimePoint> next_report() const;

 private:
  void ReportNewest();
  void ReportAll();

  std::map<RequestHandle, Sequence*> sequences_;
  bool moved_ = false;  // someone's position changed since the last pass
  Clock::TimePoint last_pass_ = Clock::TimePoint::min();
};

}  // namespace thinkwire::worker::engine
