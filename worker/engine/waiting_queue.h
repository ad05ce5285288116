#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <tuple>
#include <unordered_map>
#include <vector>

#include "common/clock.h"
#include "worker/engine/prefill_order.h"
#include "worker/engine/sequence.h"

namespace thinkwire::worker::engine {

// The sequences that wait for a slot and blocks, and who of them is next.
//
// Of one peer: those that were preempted first, in order of arrival, as they were running already;
// then the others by PrefillOrder's rank, which is fixed when they come.
// Between peers: whoever has fewest running. Of equals the one whose first has the least rank, if
// its age is counted from when its peer last had a slot (Peer::served_step), and a preempted one
// ranks as if it had nothing left to compute. So a peer that was served comes after those that
// waited then, but for prompts that are longer by so much that PrefillOrder would let it pass; and
// as that age grows with every step, nobody waits for ever.
//
// Tells readers their positions: who would be admitted before, if nobody ended or came.
// Cost: a pass over the peers that wait for front(), and a sort of all for Report's passes.
// Owns: the order alone. Threads: the engine thread.
class WaitingQueue {
 public:
  // How often the readers of a moving queue are told: one report costs a pass over the queue.
  static constexpr Clock::Duration kReportInterval = std::chrono::milliseconds(250);

  explicit WaitingQueue(const PrefillOrder& order = {}) : order_(order) {}

  // `rank` is of no account where the sequence was preempted. REQUIRES: it has a peer.
  void Add(Sequence& sequence, std::int64_t rank);
  void Remove(const Sequence& sequence);  // REQUIRES: it is in the queue

  bool empty() const { return places_.empty(); }
  std::int32_t size() const { return static_cast<std::int32_t>(places_.size()); }
  Sequence& front() const;  // REQUIRES: not empty
  // Whether its first comes before one that runs already, and has that rank and handle.
  bool ComesBefore(std::int64_t rank, RequestHandle handle) const;
  // Whether its first also comes before one that is preempted after `step`, of a peer that then has
  // as many running.
  bool FrontComesBeforePreempted(std::uint64_t step) const;

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
  // Between the peers, the least first: how many run, rank, handle.
  using Turn = std::tuple<std::int32_t, std::int64_t, RequestHandle>;

  // Of one that has `ahead` more of its peer before it.
  Turn TurnOf(const Line::value_type& waiting, std::int32_t ahead) const;
  const Line::value_type& Front() const;
  std::vector<Sequence*> InOrder() const;
  void ReportNew();
  void ReportAll();

  const PrefillOrder order_;
  std::unordered_map<const Peer*, Line> lines_;  // none is empty
  std::unordered_map<RequestHandle, Line::iterator> places_;
  bool new_ = false;    // someone may not know its position
  bool moved_ = false;  // someone's position changed since the last pass
  Clock::TimePoint last_pass_ = Clock::TimePoint::min();
};

}  // namespace thinkwire::worker::engine
