#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "worker/engine/near_repetition.h"
#include "worker/engine/thinking.h"

namespace thinkwire::worker::engine {

// Finds exact repetition at the end of a sequence of ids: a passage of p ids, 1 <= p <=
// max_period_tokens, that came max_repeats times in a row, at least kMinRepeated ids in all.
//
// For each period p it counts how many of the last ids equal the one p before them: the run of that
// period, which is what a maximal repetition of the field is (Main and Lorentz, "An O(n log n)
// algorithm for finding all repetitions in a string", 1984; Kolpakov and Kucherov, 1999), less its
// first p ids. A run of r ids is a passage of p that came (r + p) / p times. An id goes on with the
// runs of those periods alone at which it stood before, which a chain through equal ids finds, as
// zlib's matcher does (Deutsch, RFC 1951, 4): in text those are few, and never more than
// max_period_tokens. Runs that it breaks off are known by where they ended. No hash can be
// deceived, as the ids themselves are compared.
//
// With near_share it finds near repetition too (NearRepetition).
//
// Memory: up to 50 bytes a period. Threads: one at a time.
class LoopDetector {
 public:
  static constexpr std::int32_t kMinRepeated = 64;

  explicit LoopDetector(const LoopLimits& limits);

  // The next id, >= 0. Whether the ids go in circles now.
  bool Add(std::int32_t id);

  // What came before counts no more.
  void Restart();

 private:
  struct Run {
    std::int32_t length = 0;
    std::int32_t last = -1;  // the place of its last id
  };
  struct Place {
    std::int32_t id = 0;
    std::int32_t before = -1;  // the last place before of an id of the same hash; -1: none
  };

  bool Repeats(std::int32_t id);
  // The id at `place` equals the one `period` before. Whether that run is too long now.
  bool Extend(std::int32_t period, std::int32_t place);
  std::int32_t& LastOf(std::int32_t id);
  Place& At(std::int32_t place) { return places_[static_cast<std::size_t>(place) & mask_]; }

  const std::int32_t max_period_;
  const std::size_t mask_;            // places_.size() - 1
  std::vector<std::int32_t> needed_;  // by period - 1: the run that is too long
  std::vector<Run> runs_;             // likewise, as they are
  std::vector<Place> places_;         // more than max_period_ of the last ones, by place & mask_
  std::vector<std::int32_t> last_;    // by an id's hash: the last place; -1: none
  std::int32_t count_ = 0;            // ids
  std::optional<NearRepetition> near_;
};

}  // namespace thinkwire::worker::engine
