#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>

#include "worker/kernels/cuda/norm/norm_token.cuh"

// The shapes in which the kernel of small_linear_kernel.cuh is compiled, and which of them a
// product takes.
namespace thinkwire::worker::kernels {

inline constexpr int kBoxColumns = 64;  // of one request to the copy engine
inline constexpr int kBoxRowBytes = kBoxColumns * 2;
inline constexpr int kBoxAlignment = 1024;  // of a swizzled box in shared memory

// How a block shares its work out to warps and its shared memory to stages of the ring.
struct SmallLinearShape {
  int token_tiles;      // of 8 tokens, that a warp multiplies with its 16 rows
  int row_warps;        // warps beside each other along the rows of W
  int boxes;            // of a stage: so many times 64 columns of all the group's rows
  int stages;           // of the ring
  bool single = false;  // for one token: whole behind the ring, or by stages in it
  bool norms = false;   // the block norms the only token itself; the ring has weights alone

  constexpr int warps() const { return row_warps; }      // that multiply
  constexpr int rows() const { return 16 * row_warps; }  // of a group
  constexpr int tokens() const { return 8 * token_tiles; }
  constexpr int producer() const { return norms ? kNormTokenWarps : warps(); }  // the last warp
  constexpr int threads() const { return 32 * (producer() + 1); }
  constexpr int columns() const { return boxes * kBoxColumns; }      // of a stage
  constexpr int row_bytes() const { return rows() * kBoxRowBytes; }  // of a box of W
  constexpr int token_bytes() const {                                // of a box of x
    return norms ? 0 : (single ? 1 : tokens()) * kBoxRowBytes;
  }
  constexpr int stage_bytes() const {
    const int bytes = boxes * (row_bytes() + token_bytes());
    return (bytes + kBoxAlignment - 1) / kBoxAlignment * kBoxAlignment;
  }
  constexpr int ring_bytes() const { return stages * stage_bytes() + kBoxAlignment; }
  constexpr int most_normed_bytes() const { return norms ? 2 * kNormTokenColumns : 0; }
  constexpr int most_bytes() const { return ring_bytes() + most_normed_bytes(); }
  // How many blocks a multiprocessor holds at a time.
  constexpr int blocks() const { return most_bytes() <= 113 * 1024 ? 2 : 1; }
  // With a single token that comes whole behind the ring, which it does if it fits. `beside`: bytes
  // of shared memory that the kernel takes for something else.
  constexpr int limit_bytes(int beside) const {
    if (!single) return most_bytes();
    return std::max(most_bytes(), (blocks() == 2 ? 113 : 226) * 1024 - beside);
  }
  constexpr bool HasRoomFor(std::int64_t row_bytes, int beside) const {
    return single && most_bytes() + row_bytes <= limit_bytes(beside);
  }

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

inline constexpr std::int64_t kAnyRows = std::int64_t{1} << 40;

// In order: of those that norm or do not, the first that a product fits is its own, or one of those
// after it with the same limits (ChooseShape). The norming ones have more stages where tokens took
// much of the ring.
inline constexpr SmallLinearChoice kChoices[] = {
    {1, 32, {.token_tiles = 1, .row_warps = 1, .boxes = 4, .stages = 8, .norms = true}},
    {1, 40, {.token_tiles = 1, .row_warps = 3, .boxes = 4, .stages = 8, .norms = true}},
    {1, 64, {.token_tiles = 1, .row_warps = 4, .boxes = 2, .stages = 12, .norms = true}},
    {1, kAnyRows, {.token_tiles = 1, .row_warps = 3, .boxes = 4, .stages = 8, .norms = true}},
    {1, kAnyRows, {.token_tiles = 1, .row_warps = 2, .boxes = 4, .stages = 12, .norms = true}},
    {1, 32, {.token_tiles = 1, .row_warps = 1, .boxes = 4, .stages = 8, .single = true}},
    {1, 40, {.token_tiles = 1, .row_warps = 3, .boxes = 4, .stages = 8, .single = true}},
    {8, 32, {.token_tiles = 1, .row_warps = 1, .boxes = 4, .stages = 8}},
    {8, 64, {.token_tiles = 1, .row_warps = 4, .boxes = 2, .stages = 12}},
    {8, kAnyRows, {.token_tiles = 1, .row_warps = 2, .boxes = 4, .stages = 10}},
    {16, 16, {.token_tiles = 2, .row_warps = 1, .boxes = 4, .stages = 6}},
    {16, 32, {.token_tiles = 2, .row_warps = 2, .boxes = 4, .stages = 8}},
    {16, 64, {.token_tiles = 2, .row_warps = 4, .boxes = 2, .stages = 10}},
    {16, kAnyRows, {.token_tiles = 2, .row_warps = 2, .boxes = 4, .stages = 8}},
};

// The rows of W of the multiprocessor with the most, where each has one block at a time.
constexpr std::int64_t MostRows(const SmallLinearShape& shape, std::int64_t rows, int num_sms) {
  const std::int64_t groups = (rows + shape.rows() - 1) / shape.rows();
  return (groups + num_sms - 1) / num_sms * shape.rows();
}

constexpr bool HaveSameLimits(const SmallLinearChoice& a, const SmallLinearChoice& b) {
  return a.shape.norms == b.shape.norms && a.tokens == b.tokens && a.rows_an_sm == b.rows_an_sm;
}

// The index of a product's choice. Minimises the time until the multiprocessor with the most rows
// has read them, by two means that pull apart: groups so small that every multiprocessor has one
// and, where all need several, that the last ones are shared out evenly (32 or 48 rows); and stages
// so large that many bytes are on their way. The limits were measured for each shape of the
// distills up to qwen-14b, of a single token within whole steps on an H200, else on an H100.
// REQUIRES: tokens at most the last choice's, and 1 if `norms`.
constexpr std::size_t ChooseShape(bool norms, int tokens, std::int64_t rows, int num_sms) {
  std::size_t at = 0;
  while (kChoices[at].shape.norms != norms || tokens > kChoices[at].tokens ||
         rows > kChoices[at].rows_an_sm * num_sms) {
    ++at;
  }
  for (std::size_t i = at + 1; i < std::size(kChoices) && HaveSameLimits(kChoices[i], kChoices[at]);
       ++i) {
    if (MostRows(kChoices[i].shape, rows, num_sms) < MostRows(kChoices[at].shape, rows, num_sms)) {
      at = i;
    }
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
  return ChooseShape(true, 1, kAnyRows, 1) < std::size(kChoices) &&
         ChooseShape(false, most_tokens, kAnyRows, 1) == std::size(kChoices) - 1;
}
}  // namespace thinkwire::worker::kernels
