#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>

#include "worker/kernels/cuda/linear/fp8_product.h"
#include "worker/kernels/cuda/linear/rope.cuh"
#include "worker/kernels/cuda/linear/small_linear_shape.cuh"

// The shapes in which the kernel of fp8_product_kernel.cuh is compiled, and which of them a product
// takes.
namespace thinkwire::worker::kernels {

// What a block computes at a time, and how it shares its memory out to stages of the ring.
struct Fp8Shape {
  int groups;  // of four warps, each with 64 rows of W, by
  int tokens;  // so many tokens
  int parts;   // of a stage: so many times 128 columns

  constexpr int rows() const { return groups * kFp8TileRows; }
  constexpr int warps() const { return 4 * groups; }  // that multiply
  // Several groups take registers from the warp that fills the ring, which then is one of four.
  constexpr bool trades_registers() const { return groups > 1; }
  constexpr int registers() const { return groups == 2 ? 240 : 160; }
  constexpr int threads() const { return 32 * (warps() + (trades_registers() ? 4 : 1)); }
  constexpr int row_bytes() const { return rows() * kFp8Part; }     // of a part
  constexpr int token_bytes() const { return tokens * kFp8Part; }   // of a part
  constexpr int scale_bytes() const { return parts * rows() * 4; }  // of a stage
  constexpr int box_bytes() const { return parts * (row_bytes() + token_bytes()); }
  constexpr int stages() const {
    constexpr int kMemory = 219 * 1024;  // beside it are barriers and what tiles' ends need
    return std::min(8, kMemory / (box_bytes() + scale_bytes()));
  }
  constexpr int ring_bytes() const {
    return stages() * (box_bytes() + scale_bytes()) + kBoxAlignment;
  }
};

inline constexpr Fp8Shape kFp8Shapes[] = {
    {.groups = 1, .tokens = 8, .parts = 4},   {.groups = 1, .tokens = 16, .parts = 4},
    {.groups = 1, .tokens = 32, .parts = 4},  {.groups = 1, .tokens = 64, .parts = 4},
    {.groups = 1, .tokens = 128, .parts = 2}, {.groups = 2, .tokens = 128, .parts = 2},
    {.groups = 3, .tokens = 128, .parts = 1},
};

// How a shape's tiles cover a product. Tokens are shared out evenly: what lies beyond the matrix
// costs the copy engine more time than what it reads.
struct Fp8Grid {
  int token_tiles;
  int tile_tokens;  // at most the shape's
  int tiles;        // of rows and tokens
  int blocks;
};

constexpr int CeilOf(std::int64_t a, std::int64_t b) { return static_cast<int>((a + b - 1) / b); }

constexpr Fp8Grid GridOf(const Fp8Shape& shape, std::int64_t rows, int tokens, int num_sms) {
  Fp8Grid grid = {};
  grid.token_tiles = CeilOf(tokens, shape.tokens);
  grid.tile_tokens = CeilOf(tokens, grid.token_tiles);
  grid.tiles = CeilOf(rows, shape.rows()) * grid.token_tiles;
  grid.blocks = std::min(grid.tiles, num_sms);
  return grid;
}

// Nanoseconds that the busiest block takes for 128 columns of all its tiles, as measured on an
// H200.
constexpr int Fp8Cost(const Fp8Shape& shape, std::int64_t rows, int tokens, int num_sms) {
  constexpr int kTile[] = {0, 330, 500, 760};  // by groups
  const Fp8Grid grid = GridOf(shape, rows, tokens, num_sms);
  return CeilOf(grid.tiles, grid.blocks) * kTile[shape.groups];
}

// The index of the shape for so many tokens: up to 64 the narrowest that takes all, else the one of
// least cost.
constexpr std::size_t ChooseFp8Shape(std::int64_t rows, int tokens, int num_sms) {
  constexpr std::size_t kFew = 4;
  for (std::size_t i = 0; i < kFew; ++i) {
    if (kFp8Shapes[i].tokens >= tokens) return i;
  }
  std::size_t best = kFew;
  for (std::size_t i = kFew + 1; i < std::size(kFp8Shapes); ++i) {
    const int cost = Fp8Cost(kFp8Shapes[i], rows, tokens, num_sms);
    if (cost < Fp8Cost(kFp8Shapes[best], rows, tokens, num_sms)) best = i;
  }
  return best;
}

}  // namespace thinkwire::worker::kernels
