#pragma once

#include <cuda_runtime_api.h>

#include "worker/kernels/cuda/peer_group.h"
#include "worker/kernels/tensor.h"

namespace thinkwire::worker::kernels {

// sum = bf16(the ranks' partials, added in rank order); residual = bf16(residual + sum); out =
// RmsNorm(residual): the bits of an all-reduce and AddRmsNorm. `partial` itself stays as it is.
// partial, residual, out bf16 [T, E]; weight bf16 [E].
// REQUIRES: T <= max_rows, E = 8 * pieces; every rank makes the same calls in the same order, on
// one stream each, so that one call of a rank is over before its next starts.
void LaunchPeerAddRmsNorm(const PeerView& view, const Tensor& partial, const Tensor& residual,
                          const Tensor& weight, float eps, const Tensor& out, cudaStream_t stream);

}  // namespace thinkwire::worker::kernels
