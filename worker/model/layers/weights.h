#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "worker/kernels/backend.h"
#include "worker/model/checkpoint/model_plan.h"
#include "worker/model/layers/attention.h"
#include "worker/model/layers/ffn.h"
#include "worker/model/layers/load_weight.h"

namespace thinkwire::worker::model {

struct LayerWeights {
  kernels::Buffer input_norm;  // bf16 [E]
  AttentionWeights attention;
  kernels::Buffer post_attention_norm;  // bf16 [E]
  FeedForwardWeights ffn;
};

// A rank's share of the weights, on its device.
struct RankWeights {
  kernels::Buffer embedding;  // bf16 [V of all ranks, E]
  std::vector<LayerWeights> layers;
  kernels::Buffer final_norm;                   // bf16 [E]
  std::unique_ptr<kernels::LinearWeight> head;  // [V, E]

  std::int64_t bytes() const;
  // Read for one decoded token at batch 1: all linears and norms, one row of the embedding.
  std::int64_t bytes_per_token() const;
};

// Takes the rank's slices of every tensor to its device. Threads: the rank's.
RankWeights LoadRankWeights(const ModelPlan& plan, const LoadPlace& place);

}  // namespace thinkwire::worker::model
