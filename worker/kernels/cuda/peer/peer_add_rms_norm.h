#pragma once

#include <cuda_runtime_api.h>

#include "worker/kernels/cuda/peer/peer_group.h"
#include "worker/kernels/norm.h"

namespace thinkwire::worker::kernels {

// An all-reduce of norm.partial in rank order and AddRmsNorm, with the same bits. norm.partial
// itself stays as it is.
// REQUIRES: T <= max_rows, E = 8 * pieces; every rank makes the same calls in the same order, on
// one stream each, so that one call of a rank is over before its next starts.
void LaunchPeerAddRmsNorm(const PeerView& view, const ResidualNorm& norm, cudaStream_t stream);

}  // namespace thinkwire::worker::kernels
