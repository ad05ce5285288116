#pragma once

#include <cstddef>
#include <vector>

#include "thinkwire/v1/reasoning.pb.h"

namespace thinkwire::router {

// Events of a stream that its reader has not taken yet, first in, first out. Deltas that follow
// each other become one where they are of the same output and phase and both forced or not, so that
// a reader who lags gets fewer messages instead of older ones: text, ids and log-probabilities are
// those of both, in order. Threads: one at a time.
class WaitingEvents {
 public:
  // Of one delta that others were added to: fewer than what a client takes (kMaxEventTokens), and
  // as serialised.
  static constexpr int kMaxTokens = 64;
  static constexpr std::size_t kMaxBytes = 8 << 10;

  void Add(v1::GenerateResponse&& event);

  bool empty() const { return events_.empty(); }
  // Whether the next may be asked for: nothing waits, or one delta that may grow. Whoever adds
  // without being asked (an attempt's first event) is not refused.
  bool has_room() const;

  // REQUIRES of both: not empty.
  v1::GenerateResponse& front() { return events_.front(); }
  void Pop() { events_.erase(events_.begin()); }

 private:
  std::vector<v1::GenerateResponse> events_;  // seldom more than two
  std::size_t last_bytes_ = 0;                // at most so many has the last of them, as serialised
};

}  // namespace thinkwire::router
