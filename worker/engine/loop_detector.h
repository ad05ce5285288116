#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "worker/engine/thinking.h"

namespace thinkwire::worker::engine {

// Finds exact repetition at the end of a sequence of ids: a passage of p ids, 1 <= p <=
// max_period_tokens, that came max_repeats times in a row, at least kMinRepeated ids in all.
//
// For each period p it counts how many of the last ids equal the one p before them: the run of that
// period, which is what a maximal repetition of the field is (Main and Lorentz, "An O(n log n)
// algorithm for finding all repetitions in a string", 1984; Kolpakov and Kucherov, 1999), less its
// first p ids. A run of r ids is a passage of p that came (r + p) / p times. One addition a period
// and id, over arrays that lie in order, so that a compiler makes vectors of it: the cost is the
// same whatever the ids are, which a suffix automaton's is not, and no hash can be deceived.
//
// Memory: 16 bytes a period. Threads: one at a time.
class LoopDetector {
 public:
  static constexpr std::int32_t kMinRepeated = 64;

  explicit LoopDetector(const LoopLimits& limits);

  // The next id, >= 0. Whether the ids go in circles now.
  bool Add(std::int32_t id);

  // What came before counts no more.
  void Restart();

 private:
  const std::int32_t max_period_;
  std::vector<std::int32_t> needed_;  // by period - 1: the run that is too long
  std::vector<std::int32_t> runs_;    // likewise, as they are
  // The last max_period ids, the latest first, from newest_ on; -1 where there were not as many.
  std::vector<std::int32_t> recent_;
  std::size_t newest_ = 0;
};

}  // namespace thinkwire::worker::engine
