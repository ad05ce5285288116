#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

namespace thinkwire::worker::kernels {

// out[i] = parts[0][i] + ... + parts[R-1][i], in that order, in f32, rounded once to bf16.
// parts bf16 [R, n], out bf16 [n], both 16-byte aligned and not overlapping.
// REQUIRES: n a multiple of 8.
void SumRanks(const void* parts, int ranks, std::int64_t n, void* out, cudaStream_t stream);

// out[l, r * W + c] = parts[r, l, c]. parts f32 [R, L, W], out f32 [L, R * W].
// REQUIRES: L at most 65535.
void JoinColumns(const float* parts, int ranks, std::int64_t rows, std::int64_t width, float* out,
                 cudaStream_t stream);

}  // namespace thinkwire::worker::kernels
