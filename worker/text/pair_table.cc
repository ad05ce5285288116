#include "worker/text/pair_table.h"

#include <algorithm>
#include <bit>
#include <utility>

namespace thinkwire::worker::text {

void PairTable::Reserve(std::size_t num_pairs) {
  Grow(std::bit_ceil(2 * std::max<std::size_t>(num_pairs, 1)));
}

void PairTable::Grow(std::size_t num_slots) {
  const auto old = std::exchange(slots_, HugePageVector<std::uint64_t>(num_slots, kEmpty));
  shift_ = 64 - std::countr_zero(num_slots);
  for (const std::uint64_t slot : old) {
    if (slot == kEmpty) continue;
    std::size_t at = Home(slot >> kRankBits);
    while (slots_[at] != kEmpty) at = (at + 1) & (slots_.size() - 1);
    slots_[at] = slot;
  }
}

void PairTable::Set(std::int32_t left, std::int32_t right, std::int32_t rank) {
  const std::uint64_t key = Key(left, right);
  std::size_t at = Home(key);
  while (slots_[at] >> kRankBits != key && slots_[at] != kEmpty)
    at = (at + 1) & (slots_.size() - 1);
  num_pairs_ += slots_[at] == kEmpty ? 1 : 0;
  slots_[at] = key << kRankBits | static_cast<std::uint64_t>(rank);
  if (2 * num_pairs_ > slots_.size()) Grow(2 * slots_.size());
}

}  // namespace thinkwire::worker::text
