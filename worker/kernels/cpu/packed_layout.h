#pragma once

#include <cstdint>

#include "worker/kernels/weights.h"

// How eight rows of packed weights of one encoding lie in a panel: one stream, and what a vector of
// sixteen lanes takes in one load. Rows are cut into chunks of 256 columns, one after another; the
// last may be shorter where blocks have 32. A chunk is
//   Q8_0    8 rows of i8 [columns], then for each 32 columns d [8 rows] f16
//   Q4_K    8 rows of nibbles (below, 2 x 64 B), sc [8 groups, 8 rows] u8, m [8, 8] u8,
//           d [8 rows] f16, dmin [8 rows] f16
//   Q6_K    8 rows of nibbles (2 x 64 B) and upper two bits (64 B), sc [16 groups, 8 rows] i8,
//           d [8 rows] f16
//   kInt4   8 rows of nibbles (64 B for each 128 columns), then for each 128 columns the word of
//           int4_block.h [8 rows] u32
//   others  8 rows of their blocks as files have them
// Nibbles of 128 columns are sixteen words: of word j bits 4k to 4k + 3 are those of column 32k +
// j, bits 16 + 4k to 19 + 4k those of column 32k + 16 + j. Upper bits of 256 columns likewise, two
// of each: 2k and 2k + 1, 16 + 2k and 17 + 2k. Sizes are those of the file but for Q4_K's, 2.8 %
// more, of which scales and mins have a byte each.
namespace thinkwire::worker::kernels {

inline constexpr int kChunkColumns = 256;

struct Q4KChunkLayout {
  static constexpr int kRowBytes = 128;
  static constexpr int kScales = 8 * kRowBytes;
  static constexpr int kMins = kScales + 64;
  static constexpr int kD = kMins + 64;
  static constexpr int kDmin = kD + 16;
  static constexpr int kBytes = kDmin + 16;
};

struct Q6KChunkLayout {
  static constexpr int kRowBytes = 192;
  static constexpr int kUpper = 128;  // in a row
  static constexpr int kScales = 8 * kRowBytes;
  static constexpr int kD = kScales + 128;
  static constexpr int kBytes = kD + 16;
};

// Whether few rows of x are multiplied by a panel of this encoding as it is; else it is unpacked
// for each product.
bool IsReadInPlace(Encoding encoding);

// Of a panel of packed rows. REQUIRES: whole blocks.
std::int64_t PackedPanelBytes(Encoding encoding, std::int64_t cols);

// Lays out eight rows, each as its file packs it or null, which makes a row of zeros.
void LayOutPackedPanel(Encoding encoding, const std::uint8_t* const* rows, std::int64_t cols,
                       std::uint8_t* panel);

}  // namespace thinkwire::worker::kernels
