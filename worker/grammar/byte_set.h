#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <utility>

namespace thinkwire::worker::grammar {

// A set of byte values.
class ByteSet {
 public:
  ByteSet() = default;
  // The bytes first..last.
  ByteSet(std::uint8_t first, std::uint8_t last) { Add(first, last); }

  void Add(std::uint8_t first, std::uint8_t last) {
    for (int byte = first; byte <= last; ++byte)
      words_[byte >> 6] |= std::uint64_t{1} << (byte & 63);
  }

  bool Has(std::uint8_t byte) const { return (words_[byte >> 6] >> (byte & 63) & 1) != 0; }
  bool empty() const { return (words_[0] | words_[1] | words_[2] | words_[3]) == 0; }
  int size() const {
    int size = 0;
    for (const std::uint64_t word : words_) size += std::popcount(word);
    return size;
  }

  // Calls `visit` with each byte, ascending.
  template <class Visit>
  void ForEach(Visit visit) const {
    for (int i = 0; i < 4; ++i) {
      for (std::uint64_t word = words_[i]; word != 0; word &= word - 1) {
        visit(static_cast<std::uint8_t>(i * 64 + std::countr_zero(word)));
      }
    }
  }

  friend ByteSet operator&(const ByteSet& a, const ByteSet& b) {
    ByteSet both;
    for (int i = 0; i < 4; ++i) both.words_[i] = a.words_[i] & b.words_[i];
    return both;
  }
  friend ByteSet operator|(const ByteSet& a, const ByteSet& b) {
    ByteSet all;
    for (int i = 0; i < 4; ++i) all.words_[i] = a.words_[i] | b.words_[i];
    return all;
  }
  friend ByteSet operator-(const ByteSet& a, const ByteSet& b) {
    ByteSet rest;
    for (int i = 0; i < 4; ++i) rest.words_[i] = a.words_[i] & ~b.words_[i];
    return rest;
  }
  friend auto operator<=>(const ByteSet&, const ByteSet&) = default;

  template <class Hash>
  friend Hash AbslHashValue(Hash state, const ByteSet& set) {
    return Hash::combine(std::move(state), set.words_);
  }

 private:
  std::array<std::uint64_t, 4> words_{};
};

}  // namespace thinkwire::worker::grammar
