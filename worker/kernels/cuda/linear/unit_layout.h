#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "worker/kernels/cuda/linear/int4_layout.h"
#include "worker/kernels/weights.h"

// How llama.cpp's commonest formats, and FP8 in blocks, lie on the GPU: in tiles, blocks of 128
// columns and units of eight rows as int4_layout.h says, each unit's block with what its own 128
// columns need.
//
// A unit's block, with g = lane / 4, t = lane % 4, and q unsigned (Q6_K: q + 32, Q8_0: q + 128;
// FP8: the byte of e4m3):
//   nibbles  512 bytes, a word j of 4 of lane l for k16 steps 2 j and 2 j + 1: with c = 32 j + 2t
//            the low four bits of the pairs at c, c + 8, c + 16 and c + 24, from the low bits of
//            both halves up; the even column of each pair in the lower half of the word
//   Q5_K     then 128 bytes, a word a lane: the fifth bits of its 16 pairs
//   Q6_K     then 256 bytes, two words a lane, each the upper two bits of 8 pairs
//   Q8_0, FP8  instead 1,024 bytes: in each half four words a lane, one a k16 step: the bytes of
//            the pairs at c = 16 step + 2t and c + 8
// and for each of the eight rows one after another
//   Q4_K, Q5_K  8 bytes: for groups 0 and 1, then 2 and 3, sc, sc, m, m; then 4 bytes: d, dmin
//   Q6_K        8 bytes: sc + 128 of each k16 step; then 2 bytes: d
//   Q8_0        8 bytes: d of each group of 32
//   FP8         4 bytes: the scale as f32
// unit_values.cuh has the places of fifth and upper bits.
namespace thinkwire::worker::kernels {

enum class UnitFormat : std::uint8_t { kQ4K, kQ5K, kQ6K, kQ8_0, kFp8 };

constexpr std::optional<UnitFormat> UnitFormatOf(Encoding encoding) {
  if (encoding == Encoding::kQ4K) return UnitFormat::kQ4K;
  if (encoding == Encoding::kQ5K) return UnitFormat::kQ5K;
  if (encoding == Encoding::kQ6K) return UnitFormat::kQ6K;
  if (encoding == Encoding::kQ8_0) return UnitFormat::kQ8_0;
  if (encoding == Encoding::kFp8) return UnitFormat::kFp8;
  return std::nullopt;
}

inline constexpr int kUnitColumns = kInt4Columns;

// Where the parts of a unit's block begin, in bytes.
struct UnitPlaces {
  int upper;   // fifth or upper bits
  int groups;  // scales of groups, 8 bytes a row, if there are
  int rows;    // scales of whole rows
  int end;
};
constexpr UnitPlaces PlacesOf(UnitFormat format) {
  if (format == UnitFormat::kQ4K) return {512, 512, 576, 608};
  if (format == UnitFormat::kQ5K) return {512, 640, 704, 736};
  if (format == UnitFormat::kQ6K) return {512, 768, 832, 848};
  if (format == UnitFormat::kFp8) return {1024, 1024, 1024, 1056};
  return {1024, 1024, 1088, 1088};
}

constexpr int UnitBytes(UnitFormat format) { return PlacesOf(format).end; }
constexpr std::int64_t UnitTileBytes(UnitFormat format, std::int64_t columns, Int4Tiling tiling) {
  return columns / kUnitColumns * Int4TileUnits(tiling) * UnitBytes(format);
}

// Writes a tile of `columns` columns to `to`, UnitTileBytes long. Rows are as a slice of the
// format's encoding has them, or null: zeros. REQUIRES: a tile's rows; columns in 128s, and whole
// blocks of the encoding.
void PackUnitTile(UnitFormat format, std::span<const char* const> rows, std::int64_t columns,
                  Int4Tiling tiling, std::uint8_t* to);

}  // namespace thinkwire::worker::kernels
