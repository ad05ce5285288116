#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "worker/kernels/backend.h"

namespace thinkwire::worker::kernels {

inline constexpr int kSmallLinearTokens = 64;

// The weights and tokens of y = x W^T for few tokens. Device pointers, aligned to 16 bytes.
struct SmallLinear {
  const void* weights = nullptr;  // bf16 [rows, columns]
  std::int64_t rows = 0;
  std::int64_t columns = 0;
  const void* x = nullptr;  // bf16 [tokens, columns]
  int tokens = 0;           // [1, kSmallLinearTokens]
  int num_sms = 0;
  // If not null: makes x, and is yet to be done, which the product does on the way. Not for
  // LaunchSmallLinearBf16.
  const ResidualNorm* norm = nullptr;
};

// Whether a product can do it on the way: one token, E a multiple of 8 up to 8,192, and a sum of
// its own.
bool CanNorm(const ResidualNorm& norm);

// What becomes of the sums; out [tokens, rows] unless said. All need compute capability 9.0.
// Threads: the stream's.
void LaunchSmallLinear(const SmallLinear& op, float* out, cudaStream_t stream);
// Rounded once to bf16.
void LaunchSmallLinearBf16(const SmallLinear& op, void* out, cudaStream_t stream);
// out bf16 [tokens, rows / 2] = SwiGlu of a kGateUp weight's sums.
void LaunchSmallLinearSwiGlu(const SmallLinear& op, void* out, cudaStream_t stream);
// The rest of QkvRopeWriteKv of a kQkv weight's sums; bias bf16 [rows] or null.
void LaunchSmallLinearQkv(const SmallLinear& op, const void* bias, const Tensor& rope,
                          const BatchView& batch, const KvLayer& kv, const Tensor& q,
                          cudaStream_t stream);

}  // namespace thinkwire::worker::kernels
