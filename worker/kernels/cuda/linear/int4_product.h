#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "worker/kernels/cuda/linear/int4_layout.h"
#include "worker/kernels/cuda/linear/linear_output.h"

namespace thinkwire::worker::kernels {

inline constexpr int kInt4ProductTokens = 64;

// The weights and tokens of y = x W^T for few tokens and weights of 4 bits. Device pointers,
// aligned to 16 bytes.
struct Int4Product {
  const void* weights = nullptr;  // int4_layout.h
  Int4Tiling tiling = Int4Tiling::kWide;
  const void* bias = nullptr;  // bf16 [rows] or null, for QkvOutput alone
  std::int64_t rows = 0;
  std::int64_t columns = 0;  // in 128s
  const void* x = nullptr;   // bf16 [tokens, columns]
  int tokens = 0;            // [1, kInt4ProductTokens]
  int num_sms = 0;
};

// Needs compute capability 9.0, and code for sm_90a. Threads: the stream's.
// REQUIRES: the weights' rows lie in the output's layout (row_order.h), and the output fits the
// product.
void LaunchInt4Product(const Int4Product& op, const LinearOutput& output, cudaStream_t stream);

// The weights as bf16 [rows, columns], rows in the same order: the numbers that the product
// multiplies with. Threads: the stream's.
void LaunchInt4Expand(const void* weights, Int4Tiling tiling, std::int64_t rows,
                      std::int64_t columns, void* out, cudaStream_t stream);

}  // namespace thinkwire::worker::kernels
