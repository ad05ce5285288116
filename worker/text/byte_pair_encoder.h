#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"

namespace thinkwire::worker::text {

// Byte pair encoding of one piece: begins with the ids of its bytes and merges, again and again,
// the adjacent pair of lowest rank, of equal ones the leftmost (Sennrich, Haddow, Birch 2016).
// Time: O(n log n) for n bytes. Threads: immutable once the last Add call has been made.
class BytePairEncoder {
 public:
  static constexpr std::int32_t kNoId = -1;

  BytePairEncoder() { byte_ids_.fill(kNoId); }

  // A byte without an id yields nothing.
  void SetByteId(std::uint8_t byte, std::int32_t id) { byte_ids_[byte] = id; }
  std::int32_t byte_id(std::uint8_t byte) const { return byte_ids_[byte]; }

  // Lower ranks merge first. A pair that is added again takes the later rank and id.
  void AddMerge(std::int32_t left, std::int32_t right, std::int32_t rank, std::int32_t merged);

  void ReserveMerges(std::size_t num_merges) { merges_.reserve(num_merges); }

  // Appends the ids of `piece`.
  void Encode(std::string_view piece, std::vector<std::int32_t>* ids) const;

 private:
  struct Merge {
    std::int32_t rank;
    std::int32_t id;
  };
  static constexpr Merge kNoMerge = {INT32_MAX, kNoId};

  Merge FindMerge(std::int32_t left, std::int32_t right) const;
  void EncodeShort(std::string_view piece, std::vector<std::int32_t>* ids) const;
  void EncodeLong(std::string_view piece, std::vector<std::int32_t>* ids) const;

  std::array<std::int32_t, 256> byte_ids_;
  absl::flat_hash_map<std::uint64_t, Merge> merges_;  // left << 32 | right
};

}  // namespace thinkwire::worker::text
