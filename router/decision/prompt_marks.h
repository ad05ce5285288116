#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace thinkwire::router::decision {

// A place of a prompt where a later one may part from it: the end of a message, or of a piece of
// one.
struct PromptMark {
  std::uint64_t hash = 0;  // of all before it, and of who may share that
  std::size_t bytes = 0;   // of the prompt before it, counted as Query::prompt_bytes
};

// The marks of one prompt, the shortest first.
struct PromptMarks {
  std::string peer{};  // whose request it is; empty: a trusted peer's
  std::size_t bytes = 0;
  std::vector<PromptMark> list{};
};

// Whether the place is worth a mark in a prompt that has `last` of them, counted from 1: the last
// sixteen are, and the farther from the end the fewer, one in d/16 to d/8 at the distance d. So a
// prompt has O(log last) marks. Each distance keeps the multiples of a power of two, so that a
// place that is kept for a longer prompt was kept for the shorter one too; and a prompt that goes
// on finds the one before but for a seventh of the places that it is longer by. REQUIRES: 1 <=
// place <= last.
inline bool KeepsMark(std::size_t place, std::size_t last) {
  const std::size_t distance = last - place;
  return place % std::bit_floor(std::max<std::size_t>(1, distance / 8)) == 0;
}

}  // namespace thinkwire::router::decision
