#pragma once

#include <cuda_runtime_api.h>

#include "worker/kernels/tensor.h"

namespace thinkwire::worker::kernels {

// out[t, f] = SwiGlu(gate, up) of gate_up bf16 [T, 2F], columns tiled as a kGateUp weight's rows.
void LaunchSwiGlu(const Tensor& gate_up, const Tensor& out, cudaStream_t stream);

}  // namespace thinkwire::worker::kernels
