#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "worker/kernels/cuda/experts/cuda_experts.h"
#include "worker/kernels/experts.h"
#include "worker/kernels/tensor.h"

// Launchers of the ops over experts; backend.h says what each computes. All but
// LaunchPlanExperts check their shapes; they run on `stream`.
namespace thinkwire::worker::kernels {

// Chooses by the logits that are in `routing` already.
void LaunchRouteExperts(const Routing& routing, const std::int32_t* token_seq,
                        const ExpertChoice& choice, cudaStream_t stream);

// Which tokens each of a rank's experts has: pairs of a token and one of its P experts, sorted by
// expert, then by token, and cut into tiles of one expert each. Device memory.
struct ExpertPlan {
  std::int32_t* starts;       // [X + 1] the first pair of each, then their number
  std::int32_t* pairs;        // token * P + which of its experts
  std::int32_t* tile_expert;  // [most tiles]; -1: none
  std::int32_t* tile_first;   // [most tiles] its first pair
  std::int64_t most_tiles = 0;
  int tile_tokens = 0;  // of a tile at most
};
void LaunchPlanExperts(const ExpertChoice& choice, const ExpertShape& shape, const ExpertPlan& plan,
                       cudaStream_t stream);

// For steps of at most kMixTokens; `scratch` as MixExtent::device_bytes says.
void LaunchMixExperts(const Tensor& x, const ExpertMix& mix, const Tensor& out, void* scratch,
                      cudaStream_t stream);

}  // namespace thinkwire::worker::kernels
