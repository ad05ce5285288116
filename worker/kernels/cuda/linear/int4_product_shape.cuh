#pragma once

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
  int tiles;        // of 64 rows, each of four warps
  int blocks;       // of a stage: so many times 128 columns of all the block's tiles
  int stages;       // of the ring
  // Two times four warps take turns along the columns of the only tile, so that some make weights
  // while the others multiply; the sums go from one to the other through shared memory.
  bool turns = false;

  constexpr int tokens() const { return 8 * token_tiles; }
  constexpr int warps() const {
    return kInt4TileStrips * tiles * (turns ? 2 : 1);
  }  // that multiply
  constexpr int threads() const { return 32 * (warps() + 1); }
  // Of 64 columns of x, of which a stage has two a block. Tokens come first.
  constexpr int box_bytes() const { return tokens() * kBoxRowBytes; }
  constexpr int token_bytes() const { return 2 * blocks * box_bytes(); }
  constexpr int tile_bytes() const { return blocks * kInt4BlockBytes; }
  constexpr int stage_bytes() const {
    const int bytes = token_bytes() + tiles * tile_bytes();
    return (bytes + kBoxAlignment - 1) / kBoxAlignment * kBoxAlignment;
  }
  constexpr int ring_bytes() const { return stages * stage_bytes() + kBoxAlignment; }
  constexpr int sum_bytes() const { return kInt4TileRows * tokens() * 4; }
  constexpr int shared_bytes() const { return ring_bytes() + (turns ? sum_bytes() : 0); }
  // How many blocks a multiprocessor holds at a time: by shared memory, and by registers, of which
  // a lane needs some 80 and four a tile of tokens.
  constexpr int residents() const {
    const int by_memory = 226 * 1024 / (shared_bytes() + 1024);
    const int by_registers = 65536 / (threads() * (76 + 4 * token_tiles));
    return by_memory < by_registers ? by_memory : by_registers;
  }
  constexpr bool IsPossible() const { return residents() >= 1 && (!turns || tiles == 1); }

  constexpr bool operator==(const Int4Shape&) const = default;
};

// The shape of products with up to `tokens` tokens of which each multiprocessor, were they shared
// out evenly, would get up to `tiles_an_sm` tiles of W.
struct Int4Choice {
  int tokens;
  std::int64_t tiles_an_sm;
  Int4Shape shape;
};

// In order: the first that a product fits is its own.
inline constexpr Int4Choice kInt4Choices[] = {
    {8, 1, {.token_tiles = 1, .tiles = 1, .blocks = 8, .stages = 3, .turns = true}},
    {8, 3, {.token_tiles = 1, .tiles = 1, .blocks = 4, .stages = 3, .turns = true}},
    {8, kAnyRows, {.token_tiles = 1, .tiles = 1, .blocks = 2, .stages = 4}},
    {16, 1, {.token_tiles = 2, .tiles = 1, .blocks = 4, .stages = 4, .turns = true}},
    {16, 3, {.token_tiles = 2, .tiles = 1, .blocks = 2, .stages = 4}},
    {16, 5, {.token_tiles = 2, .tiles = 1, .blocks = 2, .stages = 3}},
    {16, kAnyRows, {.token_tiles = 2, .tiles = 1, .blocks = 2, .stages = 4}},
    {32, 1, {.token_tiles = 4, .tiles = 1, .blocks = 4, .stages = 4}},
    {32, kAnyRows, {.token_tiles = 4, .tiles = 2, .blocks = 2, .stages = 3}},
    {64, 1, {.token_tiles = 8, .tiles = 1, .blocks = 2, .stages = 5}},
    {64, 3, {.token_tiles = 8, .tiles = 3, .blocks = 1, .stages = 5}},
    {64, kAnyRows, {.token_tiles = 8, .tiles = 1, .blocks = 2, .stages = 2}},
};

// The index of a product's choice: with one tile a multiprocessor its warps wait for what they
// compute, so that turns pay; with more, warps of other tiles run meanwhile. The limits were
// measured for qwen-1.5b, -7b and -32b on an H200. REQUIRES: tokens at most the last choice's.
constexpr std::size_t ChooseInt4Shape(int tokens, std::int64_t tiles_an_sm) {
  std::size_t at = 0;
  while (tokens > kInt4Choices[at].tokens || tiles_an_sm > kInt4Choices[at].tiles_an_sm) ++at;
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
  for (std::size_t i = 0; i < std::size(kInt4Choices); ++i) {
    const Int4Choice& choice = kInt4Choices[i];
    if (!choice.shape.IsPossible() || choice.tokens > choice.shape.tokens()) return false;
  }
  return ChooseInt4Shape(most_tokens, kAnyRows) == std::size(kInt4Choices) - 1;
}

}  // namespace thinkwire::worker::kernels
