#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

namespace thinkwire::worker::kernels {

inline constexpr int kSmallLinearTokens = 64;

enum class LinearOutput : std::uint8_t {
  kBf16,    // the sums, rounded once
  kF32,     // the sums
  kSwiGlu,  // bf16 silu(gate) * up of sums that lie as gate_up_tile.h says
};

// y = x W^T for few tokens. Device pointers, aligned to 16 bytes.
struct SmallLinear {
  const void* weights = nullptr;  // bf16 [rows, columns]
  std::int64_t rows = 0;
  std::int64_t columns = 0;
  const void* x = nullptr;  // bf16 [tokens, columns]
  int tokens = 0;           // [1, kSmallLinearTokens]
  void* out = nullptr;      // [tokens, out_width]
  std::int64_t out_width = 0;
  int num_sms = 0;
};

// Needs compute capability 9.0. Threads: the stream's.
void LaunchSmallLinear(const SmallLinear& op, LinearOutput output, cudaStream_t stream);

}  // namespace thinkwire::worker::kernels
