#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace thinkwire::worker::text {

// Finds the first of several stop strings in streamed text, in time linear in the text times the
// number of stop strings, whatever these are: each is looked for by itself (Knuth, Morris and
// Pratt, "Fast pattern matching in strings", SIAM J. Comput. 6(2), 1977). One automaton for all
// (Aho, Corasick 1975) would save the factor, which is 16 at most, but has a node and an edge a
// byte: ten times the memory, which whoever asks makes us hold for as long as his stream lives.
//
// 1. The match that is completed first wins; of those completed by the same byte, the longest.
// 2. However the text is cut into pieces, the emitted pieces joined and the match are the same.
// 3. Held back is the longest end of the text that could begin a stop string, and no more.
// Threads: one at a time.
class StopMatcher {
 public:
  struct Result {
    std::string emit;  // text that is surely before any stop string
    int matched = -1;  // index of the stop string that is now complete, or -1
  };

  // An empty stop string never matches; of two equal ones the first is reported.
  // REQUIRES: each has at most 65,535 bytes.
  explicit StopMatcher(const std::vector<std::string>& stops);

  // Takes the next piece. Once a stop string is complete, it and all that follows is swallowed:
  // `emit` has what stood before it, and each later call gives an empty `emit` and the same index.
  Result Push(std::string_view text);

  // The text has ended: returns what was held back, and makes ready for a new text.
  std::string Flush();

  bool has_matched() const { return matched_ >= 0; }
  std::size_t num_held_bytes() const { return held_.size(); }

  // What a matcher of these stop strings holds in memory, beside itself.
  static std::size_t BytesOf(const std::vector<std::string>& stops);

 private:
  struct Stop {
    std::string text;
    // Of its first i + 1 bytes: the length of the longest proper suffix that is a prefix too.
    std::vector<std::uint16_t> borders;
    std::size_t seen = 0;  // bytes of it that the text now ends with: the most, but not all
  };

  static std::size_t NextSeen(const Stop& stop, std::size_t seen, char c);
  // Takes a byte in; the longest stop string that it completes.
  int Step(char c);

  std::vector<Stop> stops_;
  std::string held_;  // as many bytes as the most that any stop string has seen
  int matched_ = -1;
};

}  // namespace thinkwire::worker::text
