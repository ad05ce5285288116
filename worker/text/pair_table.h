#pragma once

#include <cstddef>
#include <cstdint>

#include "common/input_limits.h"
#include "worker/text/huge_page_allocator.h"

namespace thinkwire::worker::text {

// The ranks of pairs of tokens that merge: a hash table with open addressing, eight slots to a
// cache line and at most half of them taken, as most searches are for pairs that are not there.
// Threads: immutable once the last Set call has been made.
class PairTable {
 public:
  static constexpr std::int32_t kMaxRank = kMaxMerges - 1;
  static constexpr std::int32_t kNoRank = kMaxRank + 1;
  static constexpr std::int32_t kNoToken = -1;  // merges with none

  // Room for so many pairs. REQUIRES: there is none yet.
  void Reserve(std::size_t num_pairs);

  // A pair that is there already takes the later rank. REQUIRES: ids from 0 to kMaxTokenIds - 1,
  // 0 <= rank <= kMaxRank.
  void Set(std::int32_t left, std::int32_t right, std::int32_t rank);

  // kNoRank if the two do not merge. Either may be kNoToken: no slot has a key with such high bits.
  std::int32_t Find(std::int32_t left, std::int32_t right) const {
    const std::uint64_t key = Key(left, right);
    for (std::size_t at = Home(key);; at = (at + 1) & (slots_.size() - 1)) {
      const std::uint64_t slot = slots_[at];
      if (slot >> kRankBits == key || slot == kEmpty) {
        return static_cast<std::int32_t>(slot & ((1 << kRankBits) - 1));
      }
    }
  }

 private:
  static constexpr int kIdBits = 22;
  static constexpr int kRankBits = 20;
  static_assert(kMaxTokenIds == 1 << kIdBits && kNoRank == (1 << kRankBits) - 1 &&
                2 * kIdBits + kRankBits == 64);
  // Its lowest bits are kNoRank.
  static constexpr std::uint64_t kEmpty = ~std::uint64_t{0};

  static std::uint64_t Key(std::int32_t left, std::int32_t right) {
    return static_cast<std::uint64_t>(left) << kIdBits | static_cast<std::uint64_t>(right);
  }
  // The bits of both, mixed by 2^64 / the golden ratio; the highest are the place.
  std::size_t Home(std::uint64_t key) const {
    constexpr std::uint64_t kOdd = 0x9E3779B97F4A7C15;
    return (key ^ key >> 29) * kOdd >> shift_;
  }
  void Grow(std::size_t num_slots);

  std::size_t num_pairs_ = 0;
  int shift_ = 63;
  HugePageVector<std::uint64_t> slots_{kEmpty, kEmpty};  // key << kRankBits | rank; a power of two
};

}  // namespace thinkwire::worker::text
