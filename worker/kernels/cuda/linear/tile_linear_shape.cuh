#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>

#include "worker/kernels/cuda/linear/rope.cuh"
#include "worker/kernels/cuda/linear/small_linear_shape.cuh"

// The shapes in which the kernel of tile_linear_kernel.cuh is compiled, and which of them a product
// takes.
namespace thinkwire::worker::kernels {

inline constexpr int kTileLinearTokens = 256;
inline constexpr int kWarpgroupTokens = 64;  // what one step of four warps takes

// What a block computes at a time, and how it shares its memory out to stages of the ring.
struct TileShape {
  int rows;          // of W, by
  int token_groups;  // times 64 tokens, each of four warps
  int boxes;         // of a stage: so many times 64 columns of all the tile's rows and tokens
  int stages;        // of the ring
  int sharers = 1;   // blocks of a cluster, side by side along the tokens, which share weights

  constexpr int tokens() const { return kWarpgroupTokens * token_groups; }
  constexpr int warps() const { return 4 * token_groups; }  // that multiply
  constexpr int threads() const { return 32 * (warps() + 1); }
  constexpr int columns() const { return boxes * kBoxColumns; }  // of a stage
  constexpr int row_bytes() const { return rows * kBoxRowBytes; }
  constexpr int token_bytes() const { return tokens() * kBoxRowBytes; }
  constexpr int stage_bytes() const { return boxes * (row_bytes() + token_bytes()); }
  constexpr int ring_bytes() const { return stages * stage_bytes() + kBoxAlignment; }

  // Beside the ring are barriers and the tokens' places.
  constexpr bool IsPossible() const {
    return rows % 8 == 0 && boxes % sharers == 0 &&
           ring_bytes() + static_cast<int>(sizeof(TokenPlace)) * tokens() + 16 * stages <=
               227 * 1024;
  }
};

// Rows in sixteens fit every output; the others, those that leave rows alone.
inline constexpr TileShape kTileShapes[] = {
    {.rows = 16, .token_groups = 1, .boxes = 4, .stages = 5},
    {.rows = 32, .token_groups = 1, .boxes = 2, .stages = 9},
    {.rows = 40, .token_groups = 1, .boxes = 2, .stages = 8},
    {.rows = 48, .token_groups = 1, .boxes = 2, .stages = 7},
    {.rows = 64, .token_groups = 1, .boxes = 2, .stages = 6},
    {.rows = 80, .token_groups = 1, .boxes = 2, .stages = 6},
    {.rows = 96, .token_groups = 1, .boxes = 2, .stages = 5},
    {.rows = 112, .token_groups = 1, .boxes = 1, .stages = 9},
    {.rows = 144, .token_groups = 1, .boxes = 1, .stages = 8},
    {.rows = 48, .token_groups = 1, .boxes = 2, .stages = 7, .sharers = 2},
    {.rows = 56, .token_groups = 1, .boxes = 2, .stages = 7, .sharers = 2},
    {.rows = 64, .token_groups = 1, .boxes = 2, .stages = 6, .sharers = 2},
    {.rows = 80, .token_groups = 1, .boxes = 2, .stages = 6, .sharers = 2},
    {.rows = 48, .token_groups = 2, .boxes = 2, .stages = 5},
    {.rows = 56, .token_groups = 2, .boxes = 1, .stages = 9},
    {.rows = 64, .token_groups = 2, .boxes = 1, .stages = 9},
    {.rows = 80, .token_groups = 2, .boxes = 1, .stages = 8},
    {.rows = 96, .token_groups = 2, .boxes = 1, .stages = 7},
    {.rows = 112, .token_groups = 2, .boxes = 1, .stages = 7},
    {.rows = 144, .token_groups = 2, .boxes = 1, .stages = 6},
    {.rows = 64, .token_groups = 3, .boxes = 1, .stages = 6},
    {.rows = 80, .token_groups = 3, .boxes = 1, .stages = 6},
    {.rows = 96, .token_groups = 3, .boxes = 1, .stages = 6},
    {.rows = 112, .token_groups = 3, .boxes = 1, .stages = 5},
    {.rows = 144, .token_groups = 3, .boxes = 1, .stages = 5},
    {.rows = 96, .token_groups = 4, .boxes = 1, .stages = 5},
    {.rows = 112, .token_groups = 4, .boxes = 1, .stages = 4},
};

// A product to be shared out.
struct TileProduct {
  std::int64_t rows;
  std::int64_t columns;
  int tokens;
  int num_sms;
};

// How a shape's tiles cover a product. Tokens are shared out evenly: what lies beyond the matrix
// costs the copy engine more time than what it reads.
struct TileGrid {
  int token_tiles;
  int tile_tokens;  // at most the shape's
  int row_tiles;
  int row_clusters;  // side by side along the rows, each of one block a token tile
  constexpr int waves() const { return (row_tiles + row_clusters - 1) / row_clusters; }
};

constexpr int Ceil(std::int64_t a, std::int64_t b) { return static_cast<int>((a + b - 1) / b); }

constexpr TileGrid GridOf(const TileShape& shape, const TileProduct& product) {
  TileGrid grid = {};
  grid.token_tiles = Ceil(Ceil(product.tokens, shape.tokens()), shape.sharers) * shape.sharers;
  grid.tile_tokens = Ceil(product.tokens, grid.token_tiles);
  grid.row_tiles = Ceil(product.rows, shape.rows);
  grid.row_clusters = std::clamp(product.num_sms / grid.token_tiles, 1, grid.row_tiles);
  return grid;
}

// What one H200 does in a microsecond, fitted to times of 19 weights at 33 to 256 tokens.
struct TileRates {
  double memory_bytes = 4.2e6;
  double block_bytes = 125e3;  // that one multiprocessor takes in from the second-level cache
  double block_cycles = 1600;  // of tensor cores, less what is lost between stages
  double reread = 1.15;        // as if so much from memory where clusters share no weights
  double cluster = 0.3;        // microseconds until two blocks wait for each other no more
  double row_store = 0.01;     // microseconds until the last tile's row is stored
  double overlap = 0.4;        // of the second longest that shows beside the longest
};

// Microseconds that a product takes in a shape: until memory has delivered the weights, the busiest
// block has taken its rows and tokens in, and its tensor cores are done.
constexpr double TileCost(const TileShape& shape, const TileProduct& product,
                          const TileRates& rates = {}) {
  const TileGrid grid = GridOf(shape, product);
  const auto bytes_a_row = static_cast<double>(2 * product.columns);
  const double step_cycles =
      shape.token_groups * std::max(shape.rows / 2.0, 16 + shape.rows / 4.0);  // of 16 columns
  double memory = static_cast<double>(product.rows) * bytes_a_row / rates.memory_bytes;
  if (grid.token_tiles > shape.sharers) memory *= rates.reread;
  const double block =
      grid.waves() * (shape.rows + grid.tile_tokens) * bytes_a_row / rates.block_bytes;
  const double steps = grid.waves() * static_cast<double>(product.columns) / 16;
  const double multiply = steps * step_cycles / rates.block_cycles;
  const double low = std::min(memory, block);
  const double high = std::max(memory, block);
  const double ends = shape.rows * rates.row_store + (shape.sharers > 1 ? rates.cluster : 0);
  return std::max(high, multiply) + rates.overlap * std::max(low, std::min(high, multiply)) + ends;
}

// The index of the shape of least cost.
constexpr std::size_t ChooseTile(const TileProduct& product, bool pairs_rows) {
  std::size_t best = std::size(kTileShapes);
  double least = 0;
  for (std::size_t i = 0; i < std::size(kTileShapes); ++i) {
    const TileShape& shape = kTileShapes[i];
    if (pairs_rows && shape.rows % 16 != 0) continue;
    if (shape.sharers > Ceil(product.tokens, shape.tokens())) continue;  // one block could do
    const double cost = TileCost(shape, product);
    if (best < std::size(kTileShapes) && cost >= least) continue;
    best = i;
    least = cost;
  }
  return best;
}

constexpr bool TilesArePossible() {
  return std::ranges::all_of(kTileShapes, [](const TileShape& s) { return s.IsPossible(); });
}

}  // namespace thinkwire::worker::kernels
