#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace thinkwire::worker::text {

// Byte pair encoding of one piece: begins with the ids of its bytes and merges, again and again,
// the adjacent pair of lowest rank, of equal ones the leftmost (Sennrich, Haddow, Birch 2016).
//
// Time: O(n log n) for n bytes. Threads: immutable once the last Add call has been made.
class BytePairEncoder {
 public:
  static constexpr int32_t kNoId = -1;

  BytePairEncoder();

  // A byte without an id yields nothing.
  void SetByteId(uint8_t byte, int32_t id) { byte_ids_[byte] = id; }
  int32_t byte_id(uint8_t byte) const { return byte_ids_[byte]; }

  // Lower ranks merge first. A pair that is added again takes the later rank and id.
  void AddMerge(int32_t left, int32_t right, int32_t rank, int32_t merged);

  void ReserveMerges(size_t num_merges);

  // Appends the ids of `piece`.
  void Encode(std::string_view piece, std::vector<int32_t>* ids) const;

 private:
  // The merge of a pair; one that no table holds has id kNoId and the highest rank.
  struct Merge {
    int32_t rank;
    int32_t id;
  };
  // Of a hash table with open addressing: a cache line holds four.
  struct Slot {
    uint64_t pair;  // kNoPair: empty
    Merge merge;
  };
  static constexpr Merge kNoMerge = {INT32_MAX, kNoId};
  static constexpr uint64_t kNoPair = UINT64_MAX;

  Merge FindMerge(int32_t left, int32_t right) const;
  Slot* FindSlot(uint64_t pair);
  void EncodeShort(std::string_view piece, std::vector<int32_t>* ids) const;
  void EncodeLong(std::string_view piece, std::vector<int32_t>* ids) const;

  std::array<int32_t, 256> byte_ids_;
  std::vector<Slot> slots_;  // a power of two, at least a third of them empty
  size_t num_merges_ = 0;
  int shift_ = 0;  // the highest bits of a hash are its place
};

}  // namespace thinkwire::worker::text
