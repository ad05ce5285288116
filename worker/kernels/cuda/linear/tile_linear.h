#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <string>

#include "worker/kernels/cuda/linear/linear_output.h"

namespace thinkwire::worker::kernels {

// The weights and tokens of y = x W^T for some tokens. Device pointers, aligned to 16 bytes.
struct TileLinear {
  const void* weights = nullptr;  // bf16 [rows, columns]
  const void* bias = nullptr;     // bf16 [rows] or null, for QkvOutput alone
  std::int64_t rows = 0;          // a multiple of 8
  std::int64_t columns = 0;       // a multiple of 8
  const void* x = nullptr;        // bf16 [tokens, columns]
  int tokens = 0;
  int num_sms = 0;
};

// The most tokens for which this way is faster than large_linear.h's, 256 at most: 64 for logits,
// whose stores are what takes time; 0 for rows that are no multiple of 8. Measured on an H200
// (tests/bench/RESULTS.md).
std::int64_t MostTileTokens(const LinearOutput& output, std::int64_t rows);

// Needs compute capability 9.0, and code for sm_90a. Threads: the stream's.
// REQUIRES: the weights lie in the output's layout (row_order.h), the output fits the product, and
// tokens at most MostTileTokens.
void LaunchTileLinear(const TileLinear& op, const LinearOutput& output, cudaStream_t stream);

// For measuring what the choice of a shape costs: how many there are, which one LaunchTileLinear
// takes, its name, and the product in one of them. False: the output does not take that shape.
int NumTileShapes();
int ChosenTileShape(const TileLinear& op, const LinearOutput& output);
std::string NameOfTileShape(int shape);
bool LaunchTileLinearIn(int shape, const TileLinear& op, const LinearOutput& output,
                        cudaStream_t stream);

}  // namespace thinkwire::worker::kernels
