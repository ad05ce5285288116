#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "worker/kernels/cuda/linear/linear_output.h"
#include "worker/kernels/cuda/linear/unit_layout.h"

namespace thinkwire::worker::kernels {

inline constexpr int kUnitProductTokens = 64;

// Rows of a weight in one format (unit_layout.h). Device memory, aligned to 16 bytes.
struct UnitRows {
  const void* tiles = nullptr;
  UnitFormat format = UnitFormat::kQ4K;
  Int4Tiling tiling = Int4Tiling::kWide;
  std::int64_t first_row = 0;  // of the weight's, in eights
  std::int64_t rows = 0;       // whole tiles, but for the weight's last rows
  std::int64_t columns = 0;    // in 128s
};

// The weights and tokens of y = x W^T for few tokens and some of W's rows. Device pointers, aligned
// to 16 bytes.
struct UnitProduct {
  UnitRows weights;
  std::int64_t all_rows = 0;   // of W, and so of the output
  const void* bias = nullptr;  // bf16 [all_rows] or null, for QkvOutput alone
  const void* x = nullptr;     // bf16 [tokens, columns]
  int tokens = 0;              // [1, kUnitProductTokens]
  int num_sms = 0;
};

// Needs compute capability 9.0, and code for sm_90a. Threads: the stream's.
// REQUIRES: the weights' rows lie in the output's layout (row_order.h), and the output fits the
// product of all rows.
void LaunchUnitProduct(const UnitProduct& op, const LinearOutput& output, cudaStream_t stream);

// The weights as bf16, to rows [first_row, first_row + rows) of out [any, columns]: the numbers
// that the product multiplies with. Threads: the stream's.
void LaunchUnitExpand(const UnitRows& rows, void* out, cudaStream_t stream);

}  // namespace thinkwire::worker::kernels
