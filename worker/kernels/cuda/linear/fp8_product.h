#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "worker/kernels/cuda/linear/linear_output.h"

// y = x W^T of e4m3 numbers on both sides, their scales beside them.
//
// Canonical order, whatever the number of tokens: of each 128 columns of K a chain of four k32
// steps of the tensor cores (warpgroup_fp8.cuh), its result times the scale that the weight's row
// has there added in float, parts in ascending order, each multiply and add fused; then times the
// token's scale.
namespace thinkwire::worker::kernels {

inline constexpr int kFp8Part = 128;     // columns of a part, and bytes
inline constexpr int kFp8TileRows = 64;  // whose scales lie together
inline constexpr int kFp8StageParts = 4;

// A weight as the product reads it. Device memory, aligned to 16 bytes.
struct Fp8Rows {
  const void* codes = nullptr;  // e4m3 [rows, columns]
  // f32 [tiles, parts, 64], zeros where W has no row or no such part; Fp8ScaleTiles,
  // Fp8ScaleParts.
  const float* scales = nullptr;
  std::int64_t rows = 0;
  std::int64_t columns = 0;  // in 128s
};

// With two more than there are, as up to three tiles are read as one.
constexpr std::int64_t Fp8ScaleTiles(std::int64_t rows) {
  return (rows + kFp8TileRows - 1) / kFp8TileRows + 2;
}
// In fours, as that many may be read as one.
constexpr std::int64_t Fp8ScaleParts(std::int64_t columns) {
  constexpr std::int64_t kColumns = kFp8StageParts * kFp8Part;
  return (columns + kColumns - 1) / kColumns * kFp8StageParts;
}

// Tokens whose numbers were rounded (quantize_rows.h). Device memory, aligned to 16 bytes.
struct Fp8Tokens {
  const void* codes = nullptr;    // e4m3 [tokens, columns]
  const float* scales = nullptr;  // [tokens]
  int count = 0;
};

struct Fp8Product {
  Fp8Rows weights;
  const void* bias = nullptr;  // bf16 [rows] or null, for QkvOutput alone
  Fp8Tokens x;
  int num_sms = 0;
};

// Needs compute capability 9.0, and code for sm_90a. Threads: the stream's.
// REQUIRES: the weights lie in the output's layout (row_order.h), and the output fits the product.
void LaunchFp8Product(const Fp8Product& op, const LinearOutput& output, cudaStream_t stream);

}  // namespace thinkwire::worker::kernels
