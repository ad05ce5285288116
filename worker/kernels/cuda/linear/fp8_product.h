#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "worker/kernels/cuda/linear/linear_output.h"

namespace thinkwire::worker::kernels {

inline constexpr int kFp8ProductTokens = 64;

// A weight of FP8 in tiles (tile_layout.h). Device memory, aligned to 16 bytes.
struct Fp8Tiles {
  const void* data = nullptr;
  std::int64_t rows = 0;     // in 16s
  std::int64_t columns = 0;  // in 128s
};

// y = x W^T for 1 to kFp8ProductTokens tokens of x, bf16 [T, columns]. Threads: the stream's.
// REQUIRES: rows lie in the output's layout (row_order.h), which is not kQkv.
void LaunchFp8Product(const Fp8Tiles& weights, const Tensor& x, const LinearOutput& output,
                      cudaStream_t stream);

// The weights as bf16 to out [rows, columns]: the numbers that the product multiplies with.
void LaunchFp8Expand(const Fp8Tiles& weights, void* out, cudaStream_t stream);

}  // namespace thinkwire::worker::kernels
