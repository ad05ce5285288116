#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace thinkwire::worker::engine {

// Finds that a sequence of ids says too much of what it has said before, though never the same
// passage in a row: of the kWindow - kLength + 1 passages of kLength ids that end within the last
// kWindow ids, a given share came before. Passages that have yet to come count as new, so that few
// ids are never too many.
//
// A passage is known by its hash, which the next id turns into the next one's (Karp and Rabin,
// "Efficient randomized pattern-matching algorithms", 1987), and looked up in a table of one place
// for each value, where the newer passage takes the place of the older: the last
// kNearRepetitionWords / 4 are nearly all found, older ones more and more seldom. Two that differ
// pass for equal once in 2^31 comparisons. Constant work an id, and a pure function of the ids.
//
// Memory: 4 bytes * kNearRepetitionWords. Threads: one at a time.
class NearRepetition {
 public:
  static constexpr std::size_t kLength = 16;
  static constexpr std::size_t kWindow = 2048;

  // `share`: in (0, 1].
  explicit NearRepetition(float share);

  // The next id, >= 0. Whether it is too much now.
  bool Add(std::int32_t id);

  // What came before counts no more.
  void Restart();

 private:
  static constexpr std::size_t kPassages = kWindow - kLength + 1;

  std::uint64_t HashWith(std::int32_t id);
  bool WasSeen(std::uint64_t hash);

  const std::size_t needed_;          // passages seen before that are too many
  std::vector<std::uint32_t> table_;  // by the hash's lower bits: its upper ones; 0: none yet
  std::vector<bool> seen_;            // of the last kPassages passages, by number
  std::array<std::uint64_t, kLength> last_ = {};  // ids + 1, by number
  std::uint64_t hash_ = 0;                        // of the last kLength ids
  std::size_t count_ = 0;                         // ids
  std::size_t num_seen_ = 0;                      // of seen_, those that are
};

}  // namespace thinkwire::worker::engine
