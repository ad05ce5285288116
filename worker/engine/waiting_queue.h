#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <tuple>
#include <unordered_map>

#include "common/clock.h"
#include "worker/engine/sequence.h"

namespace thinkwire::worker::engine {

// The sequences that wait for a slot and blocks: those that were preempted first, in order of
// arrival, as they were running already; then the others by PrefillOrder's rank, which is fixed
// when they come. Tells readers their positions.
// Owns: the order alone. Threads: the engine thread.
class WaitingQueue {
 public:
  // How often the readers of a moving queue are told: one report costs a pass over the queue.
  static constexpr Clock::Duration kReportInterval = std::chrono::milliseconds(250);

  // `rank` is of no account where the sequence was preempted.
  void Add(Sequence& sequence, std::int64_t rank);
  void Remove(const Sequence& sequence);  // REQUIRES: it is in the queue

  bool empty() const { return sequences_.empty(); }
  std::int32_t size() const { return static_cast<std::int32_t>(sequences_.size()); }
  Sequence& front() const { return *sequences_.begin()->second; }
  // Whether its first comes before one that runs already, and has that rank and handle.
  bool ComesBefore(std::int64_t rank, RequestHandle handle) const;

  // Tells a position to each new reader at once, and changed ones every kReportInterval. A
  // sequence that ran before has started and is told nothing.
  void Report(Clock::TimePoint now);

  // When Report has something to say next, if time is all that it waits for.
  std::optional<Clock::TimePoint> next_report() const;

 private:
  struct Place {
    bool fresh = false;  // was not preempted
    std::int64_t rank = 0;
    RequestHandle handle = 0;

    bool operator<(const Place& other) const {
      return std::tie(fresh, rank, handle) < std::tie(other.fresh, other.rank, other.handle);
    }
  };
  using Line = std::map<Place, Sequence*>;

  void ReportNew();
  void ReportAll();

  Line sequences_;
  std::unordered_map<RequestHandle, Line::iterator> places_;
  bool new_ = false;    // someone may not know its position
  bool moved_ = false;  // someone's position changed since the last pass
  Clock::TimePoint last_pass_ = Clock::TimePoint::min();
};

}  // namespace thinkwire::worker::engine
