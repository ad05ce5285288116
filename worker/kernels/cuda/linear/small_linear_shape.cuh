#pragma once

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <limits>

#include "worker/kernels/cuda/norm/norm_token.cuh"

// The shapes in which the kernel of small_linear_kernel.cuh is compiled, and which of them a
// product takes.
namespace thinkwire::worker::kernels {

inline constexpr int kBoxColumns = 64;  // of one request to the copy engine
inline constexpr int kBoxRowBytes = kBoxColumns * 2;
inline constexpr int kBoxAlignment = 1024;  // of a swizzled box in shared memory

// How a block shares its work out to warps and its shared memory to stages of the ring.
struct SmallLinearShape {
  int token_tiles;     // of 8 tokens, that a warp multiplies with its 16 rows
  int row_warps;       // warps beside each other along the rows of W
  int boxes;           // of a stage: so many times 64 columns of all the group's rows
  int stages;          // of the ring
  bool norms = false;  // the block norms the only token itself; the ring has weights alone

  constexpr int warps() const { return row_warps; }      // that multiply
  constexpr int rows() const { return 16 * row_warps; }  // of a group
  constexpr int tokens() const { return 8 * token_tiles; }
  constexpr int producer() const { return norms ? kNormTokenWarps : warps(); }  // the last warp
  constexpr int threads() const { return 32 * (producer() + 1); }
  constexpr int columns() const { return boxes * kBoxColumns; }      // of a stage
  constexpr int row_bytes() const { return rows() * kBoxRowBytes; }  // of a box of W
  constexpr int token_bytes() const { return norms ? 0 : tokens() * kBoxRowBytes; }  // of x
  constexpr int stage_bytes() const { return boxes * (row_bytes() + token_bytes()); }
  constexpr int ring_bytes() const { return stages * stage_bytes() + kBoxAlignment; }
  constexpr int most_normed_bytes() const { return norms ? 2 * kNormTokenColumns : 0; }
  constexpr int most_bytes() const { return ring_bytes() + most_normed_bytes(); }
  // How many blocks a multiprocessor holds at a time.
  constexpr int blocks() const { return most_bytes() <= 113 * 1024 ? 2 : 1; }

  // Room is left beside the 226 KB for barriers and the tokens' places.
  constexpr bool IsPossible() const {
    return most_bytes() <= 226 * 1024 && (!norms || (tokens() == 8 && warps() <= producer()));
  }

  constexpr bool operator==(const SmallLinearShape&) const = default;
};

// The shape of products with up to `tokens` tokens of which each multiprocessor, were they shared
// out evenly, would get up to `rows_an_sm` rows of W.
struct SmallLinearChoice {
  int tokens;
  std::int64_t rows_an_sm;
  SmallLinearShape shape;
};

inline constexpr std::int64_t kAnyRows = std::numeric_limits<std::int64_t>::max();

// In order: of those that norm or do not, the first that a product fits is its own. The norming
// ones have more stages where tokens took much of the ring.
inline constexpr SmallLinearChoice kChoices[] = {
    {1, 32, {.token_tiles = 1, .row_warps = 1, .boxes = 4, .stages = 8, .norms = true}},
    {1, 64, {.token_tiles = 1, .row_warps = 4, .boxes = 2, .stages = 12, .norms = true}},
    {1, kAnyRows, {.token_tiles = 1, .row_warps = 2, .boxes = 4, .stages = 12, .norms = true}},
    {8, 32, {.token_tiles = 1, .row_warps = 1, .boxes = 4, .stages = 8}},
    {8, 64, {.token_tiles = 1, .row_warps = 4, .boxes = 2, .stages = 12}},
    {8, kAnyRows, {.token_tiles = 1, .row_warps = 2, .boxes = 4, .stages = 10}},
    {16, 16, {.token_tiles = 2, .row_warps = 1, .boxes = 4, .stages = 6}},
    {16, 32, {.token_tiles = 2, .row_warps = 2, .boxes = 4, .stages = 8}},
    {16, 64, {.token_tiles = 2, .row_warps = 4, .boxes = 2, .stages = 10}},
    {16, kAnyRows, {.token_tiles = 2, .row_warps = 2, .boxes = 4, .stages = 8}},
};

// The index of a product's choice. Minimises the time until the multiprocessor with the most rows
// has read them, by two means that pull apart: groups so small that every multiprocessor has one
// and, where all need several, that the last ones are shared out evenly (32 rows); and stages so
// large that many bytes are on their way. The limits were measured for each shape of the distills
// up to qwen-14b on an H100. REQUIRES: tokens at most the last choice's, and 1 if `norms`.
constexpr std::size_t ChooseShape(bool norms, int tokens, std::int64_t rows_an_sm) {
  std::size_t at = 0;
  while (kChoices[at].shape.norms != norms || tokens > kChoices[at].tokens ||
         rows_an_sm > kChoices[at].rows_an_sm) {
    ++at;
  }
  return at;
}

// The first choice of the same shape: the one that the kernel is compiled for.
constexpr std::size_t FirstOfShape(std::size_t choice) {
  std::size_t at = 0;
  while (kChoices[at].shape != kChoices[choice].shape) ++at;
  return at;
}

// Whether every choice can run, and every product of up to `most_tokens` tokens has one.
constexpr bool ChoicesAreComplete(int most_tokens) {
  for (std::size_t i = 0; i < std::size(kChoices); ++i) {
    const SmallLinearChoice& choice = kChoices[i];
    if (!choice.shape.IsPossible() || choice.tokens > choice.shape.tokens()) return false;
  }
  return ChooseShape(true, 1, kAnyRows) < std::size(kChoices) &&
         ChooseShape(false, most_tokens, kAnyRows) == std::size(kChoices) - 1;
}
}  // namespace thinkwire::worker::kernels
