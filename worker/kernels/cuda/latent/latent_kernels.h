#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "worker/kernels/cuda/latent/latent_args.h"

// Latent attention's two kernels, which agree bit for bit (latent_attention.cu). They run on
// `stream`; LatentArgs::groups is of as many heads as each says.
namespace thinkwire::worker::kernels {

// For every GPU: groups of kLatentBlockHeads.
void PrepareLatents();
void LaunchLatents(const LatentArgs& args, int num_sms, cudaStream_t stream);

// For compute capability 9.0, and blocks of a multiple of 16 tokens; `plane_rows` is N * B.
inline constexpr int kWgmmaLatentHeads = 64;
void PrepareWgmmaLatents();
void LaunchWgmmaLatents(const LatentArgs& args, std::int64_t plane_rows, int num_sms,
                        cudaStream_t stream);

}  // namespace thinkwire::worker::kernels
