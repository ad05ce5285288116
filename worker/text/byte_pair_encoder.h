#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "worker/text/pair_table.h"

namespace thinkwire::worker::text {

// Byte pair encoding of one piece: begins with the ids of its bytes and merges, again and again,
// the adjacent pair of lowest rank, of equal ones the leftmost (Sennrich, Haddow, Birch 2016).
// Time: O(n log n) for n bytes. Threads: immutable once Finish has returned.
class BytePairEncoder {
 public:
  static constexpr std::int32_t kNoId = PairTable::kNoToken;

  BytePairEncoder() { byte_ids_.fill(kNoId); }

  // A byte without an id yields nothing.
  void SetByteId(std::uint8_t byte, std::int32_t id) { byte_ids_[byte] = id; }
  std::int32_t byte_id(std::uint8_t byte) const { return byte_ids_[byte]; }

  // Lower ranks merge first. A pair that is added again takes the later rank and id.
  // REQUIRES: 0 <= rank <= PairTable::kMaxRank, each rank once.
  void AddMerge(std::int32_t left, std::int32_t right, std::int32_t rank, std::int32_t merged);

  // Of the merge of two tokens; PairTable::kNoRank if they do not merge.
  std::int32_t rank(std::int32_t left, std::int32_t right) const {
    return ranks_.Find(left, right);
  }

  void ReserveMerges(std::size_t num_merges) { ranks_.Reserve(num_merges); }

  // REQUIRES: every byte has its id, every merge is there.
  void Finish();

  // Appends the ids of `piece`. REQUIRES: Finish was called.
  void Encode(std::string_view piece, std::vector<std::int32_t>* ids) const;

 private:
  void EncodeShort(std::string_view piece, std::vector<std::int32_t>* ids) const;
  void EncodeLong(std::string_view piece, std::vector<std::int32_t>* ids) const;

  std::array<std::int32_t, 256> byte_ids_;
  PairTable ranks_;
  std::vector<std::int32_t> merged_;      // ids by rank
  std::vector<std::int32_t> byte_ranks_;  // of two bytes' tokens, by left << 8 | right
};

}  // namespace thinkwire::worker::text
