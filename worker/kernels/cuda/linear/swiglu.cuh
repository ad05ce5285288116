#pragma once

#include <cuda_bf16.h>

namespace thinkwire::worker::kernels {

// silu(gate) * up, both rounded to bf16 first: the sums pass through bf16 whichever kernel made
// them.
__device__ __forceinline__ __nv_bfloat16 SwiGlu(float gate_sum, float up_sum) {
  const float gate = __bfloat162float(__float2bfloat16_rn(gate_sum));
  const float up = __bfloat162float(__float2bfloat16_rn(up_sum));
  const float silu = __fdiv_rn(gate, __fadd_rn(1.0F, __expf(-gate)));
  return __float2bfloat16_rn(__fmul_rn(silu, up));
}

}  // namespace thinkwire::worker::kernels
