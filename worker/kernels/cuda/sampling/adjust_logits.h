#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "worker/kernels/draw.h"
#include "worker/kernels/tensor.h"

// Launchers of the ops that adjust logits; backend.h says what each computes.
namespace thinkwire::worker::kernels {

void LaunchBeginCounts(const CountsBegin* begins, std::int32_t num_begins, const std::int32_t* ids,
                       const Tensor& counts, cudaStream_t stream);
void LaunchAdjustLogits(const Tensor& logits, const DrawView& view, const AdjustView& adjust,
                        const Tensor& adjusted, cudaStream_t stream);
void LaunchCountDraws(const DrawView& view, const Tensor& ids, const Tensor& counts,
                      cudaStream_t stream);

}  // namespace thinkwire::worker::kernels
