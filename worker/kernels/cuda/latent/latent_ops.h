#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

#include "worker/kernels/cuda/latent/cuda_latent_heads.h"
#include "worker/kernels/kv.h"
#include "worker/kernels/latents.h"
#include "worker/kernels/tensor.h"

// Launchers of the ops over latents; backend.h says what each computes, latents.h the letters. All
// but LaunchRotateQueries check their shapes; they run on `stream`. C is 512 and R 64. A KV block
// holds its tokens' keys one after another, bf16 [B, C + R].
namespace thinkwire::worker::kernels {

void LaunchWriteLatents(const LatentKeys& keys, const PairRotation& rotation,
                        const BatchView& batch, const KvLayer& kv, cudaStream_t stream);

// Writes out's last R of each head alone.
void LaunchRotateQueries(const Tensor& q, const LatentShape& shape, const PairRotation& rotation,
                         const BatchView& batch, const Tensor& out, cudaStream_t stream);

// One product a head: out[t, h * out_stride + r] = x[t, h * x_stride ..] times row r of the head's
// matrix, of `count` heads from `first` on; h counts from 0 for out, from `first` for x.
struct HeadProduct {
  const HeadMatrices& matrices;
  std::int64_t first = 0;
  std::int64_t count = 0;
  Tensor x;                   // bf16 [T, any]
  std::int64_t x_stride = 0;  // columns from one head to the next, in fours
  Tensor out;                 // bf16 [T, any]
  std::int64_t out_stride = 0;
};
void LaunchHeadProduct(const HeadProduct& op, cudaStream_t stream);

// What attention over latents is computed with.
struct LatentMeans {
  void* workspace = nullptr;  // LatentWorkspaceBytes
  int num_sms = 0;
  bool has_wgmma = false;  // compute capability 9.0; no bit depends on it
};

// Not first while a stream is recorded: call PrepareLatentAttention before.
void PrepareLatentAttention(bool has_wgmma);
// Whether a block of this GPU has room for it.
bool CanAttendLatents(std::size_t shared_bytes);
void LaunchAttendLatents(const Tensor& queries, const BatchView& batch, const KvLayer& kv,
                         float scale, const Tensor& out, const LatentMeans& means,
                         cudaStream_t stream);

}  // namespace thinkwire::worker::kernels
