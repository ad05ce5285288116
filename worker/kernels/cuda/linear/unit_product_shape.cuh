#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>

#include "worker/kernels/cuda/linear/small_linear_shape.cuh"
#include "worker/kernels/cuda/linear/unit_layout.h"

// The shapes in which the kernel of unit_product_kernel.cuh is compiled, and which of them a
// product takes.
namespace thinkwire::worker::kernels {

// As Int4Shape: how a block shares its work out to warps and its shared memory to stages. It fills
// a multiprocessor by itself.
struct UnitShape {
  UnitFormat format;
  int token_tiles;  // of 8 tokens, all that a block multiplies with: 1, 2, 4 or 8
  Int4Tiling tiling;
  int tiles;   // at most, that a block multiplies at a time; four warps each
  int blocks;  // of a stage: so many times 128 columns of all the tiles

  constexpr int tokens() const { return 8 * token_tiles; }
  constexpr int units() const { return Int4WarpUnits(tiling); }
  constexpr int unit_bytes() const { return UnitBytes(format); }
  constexpr int block_bytes() const { return Int4TileUnits(tiling) * unit_bytes(); }
  constexpr int tile_bytes() const { return blocks * block_bytes(); }
  constexpr int warps() const { return kInt4TileWarps * tiles; }  // that multiply
  constexpr int threads() const { return 32 * (warps() + 2); }
  // Of a stage's blocks, so many in a row without a jump.
  constexpr int unrolled() const { return std::min(blocks, tiles > 1 ? 2 : 4); }
  constexpr int box_bytes() const { return tokens() * kBoxRowBytes; }
  constexpr int token_bytes() const { return 2 * blocks * box_bytes(); }
  constexpr int stage_bytes() const {
    const int bytes = token_bytes() + tiles * tile_bytes();
    return (bytes + kBoxAlignment - 1) / kBoxAlignment * kBoxAlignment;
  }
  constexpr int stages_that_fit() const {
    constexpr int kMemory = 224 * 1024;
    return (kMemory - kBoxAlignment) / stage_bytes();
  }

  // The rest is what the ring asks for.
  int stages = 0;
  constexpr int shared_bytes() const { return stages * stage_bytes() + kBoxAlignment; }

  constexpr bool operator==(const UnitShape&) const = default;
};

// With as many blocks a stage, up to `most`, as leave four stages.
constexpr UnitShape MakeUnitShape(UnitFormat format, int token_tiles, Int4Tiling tiling, int tiles,
                                  int most) {
  UnitShape shape = {format, token_tiles, tiling, tiles, most};
  while (shape.blocks > 1 && shape.stages_that_fit() < 4) shape.blocks /= 2;
  shape.stages = std::min(8, shape.stages_that_fit());
  return shape;
}

// How many tiles W gives each multiprocessor: of 32 rows one at most, of 64 one, up to five, or
// more. Up to five are multiplied all at once, by warps of fewer registers.
enum class UnitSpread { kNarrow, kOneWide, kFiveWide, kManyWide };

inline constexpr int kUnitTokenTiles[] = {1, 2, 4, 8};
inline constexpr int kUnitSpreads = 4;
inline constexpr std::size_t kUnitChoices = std::size(kUnitTokenTiles) * kUnitSpreads;

constexpr UnitShape UnitShapeOf(UnitFormat format, std::size_t choice) {
  const int token_tiles = kUnitTokenTiles[choice / kUnitSpreads];
  const auto spread = static_cast<UnitSpread>(choice % kUnitSpreads);
  if (spread == UnitSpread::kNarrow) {
    return MakeUnitShape(format, token_tiles, Int4Tiling::kNarrow, 1, 8);
  }
  if (spread == UnitSpread::kOneWide) {
    return MakeUnitShape(format, token_tiles, Int4Tiling::kWide, 1, 4);
  }
  const bool takes_five = spread == UnitSpread::kFiveWide && token_tiles <= 2;
  const int tiles = takes_five ? 5 : token_tiles < 8 ? 4 : 3;
  return MakeUnitShape(format, token_tiles, Int4Tiling::kWide, tiles, 2);
}

// The first choice of the same shape: the one that the kernel is compiled for.
constexpr std::size_t FirstOfUnitShape(UnitFormat format, std::size_t choice) {
  std::size_t at = 0;
  while (UnitShapeOf(format, at) != UnitShapeOf(format, choice)) ++at;
  return at;
}

// The choice for so many tokens. REQUIRES: at most 64.
constexpr std::size_t ChooseUnitShape(int tokens, std::int64_t tiles, int num_sms,
                                      Int4Tiling tiling) {
  std::size_t at = 0;
  while (8 * kUnitTokenTiles[at] < tokens) ++at;
  const UnitSpread spread = tiling == Int4Tiling::kNarrow ? UnitSpread::kNarrow
                            : tiles <= num_sms            ? UnitSpread::kOneWide
                            : tiles <= 5 * num_sms        ? UnitSpread::kFiveWide
                                                          : UnitSpread::kManyWide;
  return at * kUnitSpreads + static_cast<std::size_t>(spread);
}

// Whether all can run.
constexpr bool UnitShapesFit(UnitFormat format) {
  for (std::size_t i = 0; i < kUnitChoices; ++i) {
    if (UnitShapeOf(format, i).stages < 3) return false;
  }
  return true;
}

}  // namespace thinkwire::worker::kernels
