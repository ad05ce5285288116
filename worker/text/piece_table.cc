#include "worker/text/piece_table.h"

#include <bit>
#include <cstring>

#include "common/check.h"
#include "worker/text/byte_words.h"

namespace thinkwire::worker::text {
namespace {

// Of more than 8 bytes.
std::uint64_t LongHash(std::string_view bytes) {
  std::uint64_t hash = bytes.size();
  for (std::size_t at = 0; at + kWordBytes < bytes.size(); at += kWordBytes) {
    hash = HashWords(LoadWord(bytes.data() + at), hash);
  }
  return HashWords(LoadWord(bytes.data() + bytes.size() - kWordBytes), hash);
}

// As in a slot, with 0 for the place in bytes_. REQUIRES: bytes are not empty.
std::uint64_t Word(std::string_view bytes) {
  return bytes.size() <= kWordBytes ? ShortWord(bytes) : LongHash(bytes) >> 32 << 32;
}

}  // namespace

PieceTable::PieceTable(std::size_t max_entries)
    : max_entries_(max_entries), slots_(std::bit_ceil(max_entries + max_entries / 2 + 2)) {
  shift_ = 64 - std::countr_zero(slots_.size());
}

void PieceTable::Insert(std::string_view bytes, const Entry& entry) {
  CHECK(!bytes.empty() && num_entries_ < max_entries_, "an entry has bytes and room");
  ++num_entries_;
  std::uint64_t word = Word(bytes);
  std::size_t at = HashWords(word, bytes.size()) >> shift_;
  while (slots_[at].length != 0) at = (at + 1) & (slots_.size() - 1);
  if (bytes.size() > kWordBytes) {
    CHECK(bytes_.size() + bytes.size() <= UINT32_MAX, "places have 32 bits");
    word |= bytes_.size();
    bytes_.append(bytes);
  }
  slots_[at] = {word, static_cast<std::uint32_t>(bytes.size()), entry};
}

inline bool PieceTable::Holds(const Slot& slot, std::uint64_t word, std::string_view bytes) const {
  if (slot.length != bytes.size()) return false;
  if (bytes.size() <= kWordBytes) return slot.word == word;
  return slot.word >> 32 == word >> 32 &&
         std::memcmp(bytes_.data() + static_cast<std::uint32_t>(slot.word), bytes.data(),
                     bytes.size()) == 0;
}

const PieceTable::Entry* PieceTable::Find(std::string_view bytes) const {
  if (bytes.empty()) return nullptr;
  const std::uint64_t word = Word(bytes);
  for (std::size_t at = HashWords(word, bytes.size()) >> shift_; slots_[at].length != 0;
       at = (at + 1) & (slots_.size() - 1)) {
    if (Holds(slots_[at], word, bytes)) return &slots_[at].entry;
  }
  return nullptr;
}

}  // namespace thinkwire::worker::text
