#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "worker/kernels/tensor.h"

namespace thinkwire::worker::kernels {

// The widest row that is rounded.
inline constexpr std::int64_t kMostQuantizedColumns = 32768;

// Rounds each token's numbers to e4m3 (e4m3.h) by a scale of its own: with m the greatest magnitude
// of a row, at least 2^-100,
//   scales[t] = m / 448,  codes[t, i] = e4m3(x[t, i] * (448 / m)),
// each step rounded in float. A row with an infinity or a NaN gets a scale that is none either, so
// that products show it. x bf16 [T, columns], columns a multiple of 8 up to kMostQuantizedColumns;
// codes [T, columns] bytes and scales f32 [T] on the device, aligned to 16 bytes. Threads: the
// stream's.
void LaunchQuantizeRows(const Tensor& x, void* codes, float* scales, cudaStream_t stream);

}  // namespace thinkwire::worker::kernels
