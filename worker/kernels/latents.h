#pragma once

#include <cstddef>
#include <cstdint>

#include "worker/kernels/device.h"
#include "worker/kernels/parts_extent.h"
#include "worker/kernels/tensor.h"

// What attention over latents takes (DeepSeek-V2, arXiv:2405.04434, section 2.1, absorbed). Letters
// as in backend.h, and C a latent's width, R what of a key is rotated, P what of a head's query is
// not, U a head's result. Of each token one key [C + R] is kept, which all query heads read: its
// normed latent, and its rotated part; the latent is its value too. A layer has one plane, act
// [N, B * (C + R)], a block's tokens one after another.
namespace thinkwire::worker::kernels {

// How a row's pairs turn by their token's position p:
//   out[i]         = x[a] cos(p, i) - x[b] sin(p, i)
//   out[i + R / 2] = x[b] cos(p, i) + x[a] sin(p, i),  each product rounded before the sum,
// of the pair a = 2i, b = 2i + 1 where they are interleaved, else a = i, b = i + R / 2.
struct PairRotation {
  Tensor table;  // f32 [positions, R]: R/2 cosines, then R/2 sines
  bool is_interleaved = true;
};

// A step's keys as a product made them, and the norm of their latents.
struct LatentKeys {
  Tensor rows;  // act [T, C + R]
  Tensor norm;  // bf16 [C]
  float eps = 0;
};

// One rank's heads, and the widths of each.
struct LatentShape {
  std::int64_t heads = 0;    // H
  std::int64_t plain = 0;    // P
  std::int64_t rotated = 0;  // R
  std::int64_t latent = 0;   // C
  std::int64_t result = 0;   // U

  std::int64_t query() const { return plain + rotated; }
  std::int64_t key() const { return latent + rotated; }
};

// The heads' two matrices in the backend's own layout, bf16 or what becomes it as it is read: of
// each the one that brings its query to the latents, [C, P], and the one that brings what it has
// of the latents to its result, [U, C].
// Threads: any may read it; the backend's own uses it in ops.
class LatentHeads {
 public:
  virtual ~LatentHeads() = default;
  virtual DeviceKind device() const = 0;  // whose ops take it
  virtual const LatentShape& shape() const = 0;
  virtual std::size_t bytes() const = 0;  // read when all of it is applied once
};

}  // namespace thinkwire::worker::kernels
