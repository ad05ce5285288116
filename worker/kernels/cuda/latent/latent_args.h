#pragma once

#include <cuda_bf16.h>

#include <cstdint>

#include "worker/kernels/cuda/latent/latent_work.cuh"
#include "worker/kernels/kv.h"

namespace thinkwire::worker::kernels {

// What the kernels of latent attention take.
struct LatentArgs {
  const __nv_bfloat16* queries;  // [T, H, 576]
  const __nv_bfloat16* plane;    // [N, B, 576]
  __nv_bfloat16* out;            // [T, H, 512]
  BatchView batch;
  LatentWork work;
  int heads;
  int groups;  // of the kernel's heads
  int block_tokens;
  float scale;  // times log2(e)
};

}  // namespace thinkwire::worker::kernels
