#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "worker/text/huge_page_allocator.h"

namespace thinkwire::worker::text {

// The entries of a vocabulary by their bytes: a hash table with open addressing. A slot has 16
// bytes and holds keys of up to 8 bytes (nine of ten pieces of English and of code) itself, so that
// a search costs about one cache line.
// Threads: immutable once the last Insert call has been made.
class PieceTable {
 public:
  struct Entry {
    std::uint32_t id : 30 = 0;
    // A piece with these bytes is this token, and merging need not be tried: in any text, and in
    // message text, where no added token may come out.
    std::uint32_t direct : 1 = 0;
    std::uint32_t direct_in_message : 1 = 0;
  };

  explicit PieceTable(std::size_t max_entries = 0);

  // REQUIRES: `bytes` are not empty and not there yet; all entries together have less than 4 GiB.
  void Insert(std::string_view bytes, const Entry& entry);

  // Null if there is none; valid as long as the table.
  const Entry* Find(std::string_view bytes) const;

 private:
  struct Slot {
    std::uint64_t word = 0;    // of up to 8 bytes: these; else their hash << 32 | where in bytes_
    std::uint32_t length = 0;  // 0: an empty slot
    Entry entry;
  };
  static_assert(sizeof(Slot) == 16);

  bool Holds(const Slot& slot, std::uint64_t word, std::string_view bytes) const;

  std::size_t max_entries_;
  std::size_t num_entries_ = 0;
  int shift_;                   // the highest bits of a hash are its place
  HugePageVector<Slot> slots_;  // a power of two, never full
  std::string bytes_;           // of keys longer than 8, one after the other
};

}  // namespace thinkwire::worker::text
