#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace thinkwire::worker::model {

// Whole numbers of a table [N, K] that are packed into words of 32 bits, least byte first. A word
// holds neighbours along N or along K, each in so many bits.
// Points into what somebody else keeps alive.
struct PackedNumbers {
  const std::byte* words = nullptr;  // any alignment
  int bits = 4;                      // 4 or 8
  bool along_rows = false;           // neighbours along N share a word, else along K
  std::int64_t row_stride = 0;       // words from one to the next along N
  std::int64_t col_stride = 0;       // and along K
  std::uint32_t add = 0;             // to each word, before it is taken apart
  std::uint32_t flip = 0;            // bits of each word that are stored inverted
  // The place in its word of each neighbour.
  std::array<std::uint8_t, 8> places = {0, 1, 2, 3, 4, 5, 6, 7};

  std::uint32_t most() const { return (1U << bits) - 1; }

  std::uint32_t At(std::int64_t row, std::int64_t col) const {
    const int shift = bits == 4 ? 3 : 2;
    const std::int64_t packed = along_rows ? row : col;
    const std::int64_t word_row = along_rows ? row >> shift : row;
    const std::int64_t word_col = along_rows ? col : col >> shift;
    std::uint32_t word = 0;
    std::memcpy(&word, words + 4 * (word_row * row_stride + word_col * col_stride), sizeof(word));
    const int place = places[static_cast<std::size_t>(packed & ((1 << shift) - 1))];
    return ((word + add) ^ flip) >> (place * bits) & most();
  }
};

}  // namespace thinkwire::worker::model
