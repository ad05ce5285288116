#pragma once

#include <cstdint>

#include "worker/kernels/backend.h"

// Attention over latents, of which a CPU is the one device so far: what Backend has no op for.
// Letters as in backend.h, and C a latent's width, R what of a key is rotated. Of each token one
// key [C + R] is kept, which all query heads read: its latent, and its rotated part; the latent is
// its value too. A layer has one plane, act [N, B * (C + R)], a block's tokens one after another.
// Rows of padding tokens are neither read nor written.
namespace thinkwire::worker::kernels {

// How a row's pairs turn by their token's position p:
//   out[i]         = x[a] cos(p, i) - x[b] sin(p, i)
//   out[i + R / 2] = x[b] cos(p, i) + x[a] sin(p, i),  each product rounded before the sum,
// of the pair a = 2i, b = 2i + 1 where they are interleaved, else a = i, b = i + R / 2.
struct PairRotation {
  Tensor table;  // f32 [positions, R]: R/2 cosines, then R/2 sines
  bool is_interleaved = true;
};

// Columns [first, first + R) of rows act [T, any].
struct RotatedColumns {
  Tensor rows;
  std::int64_t first = 0;
};

// Writes each token's key to its block: latents act [T, C] as they are, and keys' columns rotated.
// REQUIRES: device memory is the host's, as a CPU's is.
void WriteLatents(const Tensor& latents, const RotatedColumns& keys, const PairRotation& rotation,
                  const BatchView& batch, const KvLayer& kv);

// out[h, t] = q's columns of head h, rotated; the heads' columns stand `stride` apart. out act
// [H, T, R].
void RotateQueries(const RotatedColumns& q, std::int64_t stride, const PairRotation& rotation,
                   const BatchView& batch, const Tensor& out);

// Queries by head: what meets the latents, and what the rotated parts.
struct LatentQueries {
  Tensor latent;   // act [H, T, C]
  Tensor rotated;  // act [H, T, R]
};

// Causal attention of each token over positions 0 .. its own, which all lie in kv, in the order of
// Backend::PagedAttention. out act [H, T, C]: weighted latents. REQUIRES: a CpuBackend.
void AttendLatents(const LatentQueries& queries, const BatchView& batch, const KvLayer& kv,
                   float scale, const Tensor& out, Backend& backend);

}  // namespace thinkwire::worker::kernels
