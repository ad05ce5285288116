#pragma once

#include <cuda_runtime_api.h>

#include "worker/kernels/kv.h"
#include "worker/kernels/tensor.h"

namespace thinkwire::worker::kernels {

// The rest of QkvRopeWriteKv: `sums` f32 [T, (H + 2K) * D] are x W^T; bias bf16 [(H + 2K) * D] or
// null.
void LaunchRopeWriteKv(const Tensor& sums, const void* bias, const Tensor& rope,
                       const BatchView& batch, const KvLayer& kv, const Tensor& q,
                       cudaStream_t stream);

}  // namespace thinkwire::worker::kernels
