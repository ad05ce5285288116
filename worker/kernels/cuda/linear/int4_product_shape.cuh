#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>

#include "worker/kernels/cuda/linear/int4_layout.h"
#include "worker/kernels/cuda/linear/small_linear_shape.cuh"

// The shapes in which the kernel of int4_product_kernel.cuh is compiled, and which of them a
// product takes.
namespace thinkwire::worker::kernels {

// How a block shares its work out to warps and its shared memory to stages of the ring.
struct Int4Shape {
  int token_tiles;  // of 8 tokens, all that a block multiplies with: 1, 2, 4 or 8
  Int4Tiling tiling;
  int tiles;   // at most, that a block multiplies at a time; four warps each
  int blocks;  // of a stage: so many times 128 columns of all the tiles
  int stages;  // of the ring, at least 2

  constexpr int tokens() const { return 8 * token_tiles; }
  constexpr int units() const { return Int4WarpUnits(tiling); }
  constexpr int unit_bytes() const { return kInt4UnitBytes; }
  constexpr int block_bytes() const { return Int4BlockBytes(tiling); }
  constexpr int tile_bytes() const { return blocks * block_bytes(); }
  constexpr int warps() const { return kInt4TileWarps * tiles; }  // that multiply
  constexpr int threads() const { return 32 * (warps() + 2); }
  // Of a stage's blocks, so many in a row without a jump, as registers allow.
  constexpr int unrolled() const { return std::min(blocks, tiles > 3 ? 2 : 8); }
  // Of 64 columns of x, of which a stage has two a block. Tokens come first.
  constexpr int box_bytes() const { return tokens() * kBoxRowBytes; }
  constexpr int token_bytes() const { return 2 * blocks * box_bytes(); }
  constexpr int stage_bytes() const {
    const int bytes = token_bytes() + tiles * tile_bytes();
    return (bytes + kBoxAlignment - 1) / kBoxAlignment * kBoxAlignment;
  }
  constexpr int shared_bytes() const { return stages * stage_bytes() + kBoxAlignment; }
  // How many blocks a multiprocessor holds at a time: by shared memory, and by registers, of which
  // a lane needs some 68 and four a tile of tokens, but more where half of them are not written.
  constexpr int residents() const {
    const int by_memory = 226 * 1024 / (shared_bytes() + 1024);
    const int by_registers = 65536 / (threads() * (64 + 4 * token_tiles));
    const int most = tiling == Int4Tiling::kWide ? by_registers : std::min(by_registers, 2);
    return std::min(by_memory, most);
  }
  constexpr bool IsPossible() const { return residents() >= 1 && stages >= 2; }

  constexpr bool operator==(const Int4Shape&) const = default;
};

// The shape of products with up to `tokens` tokens of which each multiprocessor, were they shared
// out evenly, would get up to `tiles_an_sm` tiles of W.
struct Int4Choice {
  int tokens;
  std::int64_t tiles_an_sm;
  Int4Shape shape;
};

inline constexpr Int4Tiling kWide = Int4Tiling::kWide;
inline constexpr Int4Tiling kNarrow = Int4Tiling::kNarrow;

// In order: the first of its tiling that a product fits is its own. What has one tile a
// multiprocessor or none fills its memory, or two tiles meet on one while another has none.
inline constexpr Int4Choice kInt4Choices[] = {
    {8, kAnyRows, {.token_tiles = 1, .tiling = kNarrow, .tiles = 1, .blocks = 8, .stages = 4}},
    {8, 1, {.token_tiles = 1, .tiling = kWide, .tiles = 1, .blocks = 8, .stages = 3}},
    {8, kAnyRows, {.token_tiles = 1, .tiling = kWide, .tiles = 5, .blocks = 2, .stages = 4}},
    {16, kAnyRows, {.token_tiles = 2, .tiling = kNarrow, .tiles = 1, .blocks = 8, .stages = 4}},
    {16, 1, {.token_tiles = 2, .tiling = kWide, .tiles = 1, .blocks = 4, .stages = 5}},
    {16, kAnyRows, {.token_tiles = 2, .tiling = kWide, .tiles = 5, .blocks = 2, .stages = 4}},
    {32, kAnyRows, {.token_tiles = 4, .tiling = kNarrow, .tiles = 1, .blocks = 4, .stages = 5}},
    {32, 1, {.token_tiles = 4, .tiling = kWide, .tiles = 1, .blocks = 4, .stages = 4}},
    {32, kAnyRows, {.token_tiles = 4, .tiling = kWide, .tiles = 5, .blocks = 2, .stages = 3}},
    {64, kAnyRows, {.token_tiles = 8, .tiling = kNarrow, .tiles = 1, .blocks = 4, .stages = 3}},
    {64, 1, {.token_tiles = 8, .tiling = kWide, .tiles = 1, .blocks = 2, .stages = 5}},
    {64, 5, {.token_tiles = 8, .tiling = kWide, .tiles = 3, .blocks = 2, .stages = 3}},
    {64, kAnyRows, {.token_tiles = 8, .tiling = kWide, .tiles = 4, .blocks = 2, .stages = 3}},
};

// The index of a product's choice. REQUIRES: tokens at most the last choice's.
constexpr std::size_t ChooseInt4Shape(int tokens, std::int64_t tiles_an_sm, Int4Tiling tiling) {
  std::size_t at = 0;
  while (tiling != kInt4Choices[at].shape.tiling || tokens > kInt4Choices[at].tokens ||
         tiles_an_sm > kInt4Choices[at].tiles_an_sm) {
    ++at;
  }
  return at;
}

// The first choice of the same shape: the one that the kernel is compiled for.
constexpr std::size_t FirstOfInt4Shape(std::size_t choice) {
  std::size_t at = 0;
  while (kInt4Choices[at].shape != kInt4Choices[choice].shape) ++at;
  return at;
}

// Whether every choice can run, and every product of up to `most_tokens` tokens has one.
constexpr bool Int4ChoicesAreComplete(int most_tokens) {
  for (const Int4Choice& choice : kInt4Choices) {
    if (!choice.shape.IsPossible() || choice.tokens > choice.shape.tokens()) return false;
  }
  bool has_wide = false;
  bool has_narrow = false;
  for (const Int4Choice& choice : kInt4Choices) {
    if (choice.tokens < most_tokens || choice.tiles_an_sm != kAnyRows) continue;
    (choice.shape.tiling == kWide ? has_wide : has_narrow) = true;
  }
  return has_wide && has_narrow;
}

}  // namespace thinkwire::worker::kernels
