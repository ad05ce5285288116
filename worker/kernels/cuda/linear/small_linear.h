#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "worker/kernels/cuda/linear/linear_output.h"
#include "worker/kernels/norm.h"

namespace thinkwire::worker::kernels {

inline constexpr int kSmallLinearTokens = 16;

// The weights and tokens of y = x W^T for few tokens. Device pointers, aligned to 16 bytes.
struct SmallLinear {
  const void* weights = nullptr;  // bf16 [rows, columns]
  const void* bias = nullptr;     // bf16 [rows] or null, for QkvOutput alone
  std::int64_t rows = 0;
  std::int64_t columns = 0;
  const void* x = nullptr;  // bf16 [tokens, columns]
  int tokens = 0;           // [1, kSmallLinearTokens]
  int num_sms = 0;
  // If not null: makes x, and is yet to be done, which the product does on the way. For outputs
  // with kFollowsNorm.
  const ResidualNorm* norm = nullptr;
};

// Whether a product can do it on the way: one token, E a multiple of 8 up to 8,192, and a sum of
// its own.
bool CanNorm(const ResidualNorm& norm);

// Needs compute capability 9.0. Threads: the stream's.
// REQUIRES: the weights lie in the output's layout (row_order.h), and the output fits the product.
void LaunchSmallLinear(const SmallLinear& op, const LinearOutput& output, cudaStream_t stream);

}  // namespace thinkwire::worker::kernels
