#pragma once

#include <cuda_runtime_api.h>

#include "worker/kernels/norm.h"

namespace thinkwire::worker::kernels {

// Ends the process unless the shapes are AddRmsNorm's, with E as row_norm.cuh takes it.
void CheckResidualNorm(const ResidualNorm& norm);
// Without a partial: out = RmsNorm(residual), and sum counts for nothing.
void LaunchAddRmsNorm(const ResidualNorm& norm, cudaStream_t stream);
// The same with out rounded as LaunchQuantizeRows would round it, to codes and scales, and not
// written itself.
void LaunchRoundedNorm(const ResidualNorm& norm, void* codes, float* scales, cudaStream_t stream);

}  // namespace thinkwire::worker::kernels
