#pragma once

#include <bit>
#include <cstddef>

namespace thinkwire::worker::kernels {

// Adds up `count` terms in the one order that sums of ranks have on the CPU: each with its
// neighbour, then each two such sums, and so on; what has no neighbour waits for the next round.
//
//   ((0 + 1) + (2 + 3)) + (4 + 5)
//
// So where ranks hold as many neighbouring terms each, a power of two, and add these up in this
// order and then their sums, the bits do not depend on the number of ranks.
//
// take(i, at) writes term i, ascending, to sum `at`, one of at most SumsOfPairs(count);
// add(to, from) adds sum `from` to sum `to`, which is before it. The whole is then in sum 0.
// REQUIRES: count >= 1.
template <class Take, class Add>
void AddPairwise(std::size_t count, const Take& take, const Add& add) {
  for (std::size_t i = 0; i < count; ++i) {
    // A sum for each bit of i: of as many terms as the bit is worth.
    auto at = static_cast<std::size_t>(std::popcount(i));
    take(i, at);
    const auto adds = i + 1 < count ? static_cast<std::size_t>(std::countr_zero(i + 1)) : at;
    for (std::size_t n = 0; n < adds; ++n, --at) add(at - 1, at);
  }
}

// The sums that AddPairwise has at once, at most.
constexpr std::size_t SumsOfPairs(std::size_t count) {
  return static_cast<std::size_t>(std::bit_width(count - 1)) + 1;
}

}  // namespace thinkwire::worker::kernels
