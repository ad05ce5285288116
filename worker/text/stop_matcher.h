#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"

namespace thinkwire::worker::text {

// Finds the first of several stop strings in streamed text (Aho-Corasick; Aho, Corasick 1975), in
// time linear in the text, whatever the stop strings are.
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
  explicit StopMatcher(std::vector<std::string> stops);

  // Takes the next piece. Once a stop string is complete, it and all that follows is swallowed:
  // `emit` has what stood before it, and each later call gives an empty `emit` and the same index.
  Result Push(std::string_view text);

  // The text has ended: returns what was held back, and makes ready for a new text.
  std::string Flush();

  bool has_matched() const { return matched_ >= 0; }
  std::size_t num_held_bytes() const { return held_.size(); }

 private:
  struct Node {
    std::uint32_t failure = 0;     // the longest proper suffix that is a node
    std::uint32_t depth = 0;       // bytes of a stop string that this node stands for
    int stop = -1;                 // the longest stop string that ends here
    std::uint32_t stop_depth = 0;  // its length
  };

  void Insert(int index);
  void LinkFailures();
  std::uint32_t Child(std::uint32_t node, std::uint8_t byte) const;  // 0 = none
  std::uint32_t Next(std::uint32_t node, std::uint8_t byte) const;

  // Constant after construction.
  const std::vector<std::string> stops_;
  std::vector<Node> nodes_;
  absl::flat_hash_map<std::uint64_t, std::uint32_t> children_;  // node << 8 | byte

  std::uint32_t node_ = 0;
  std::string held_;  // always nodes_[node_].depth bytes
  int matched_ = -1;
};

}  // namespace thinkwire::worker::text
