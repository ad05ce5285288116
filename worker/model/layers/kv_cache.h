#pragma once

#include <cstdint>
#include <vector>

#include "worker/kernels/backend.h"
#include "worker/model/checkpoint/model_plan.h"
#include "worker/model/layers/rank_shape.h"

namespace thinkwire::worker::model {

// What one rank keeps of each token: the planes of each layer, as wide as its parts ask for.
struct KvLayout {
  struct Plane {
    std::int64_t token_elements = 0;
    kernels::DType dtype = kernels::DType::kF32;
  };
  std::vector<std::vector<Plane>> layers;
  std::vector<kernels::KvScales> scales;  // by layer; empty: all 1
  std::int32_t num_kv_heads = 0;
  std::int32_t head_dim = 0;
  std::int32_t block_tokens = 0;

  std::int64_t block_bytes() const;  // over all layers and planes
};

// Planes are of the activations' type unless the plan keeps them in FP8.
KvLayout KvLayoutOf(const ModelPlan& plan, const RankShape& shape, std::int32_t block_tokens,
                    kernels::DType activation);

// What every layer keeps of its tokens on one rank. Owns: the planes' memory, allocated at once.
class KvCache {
 public:
  KvCache(const KvLayout& layout, std::int32_t num_blocks, kernels::Backend& backend);

  const kernels::KvLayer& layer(std::int64_t i) const {
    return layers_[static_cast<std::size_t>(i)];
  }

 private:
  std::vector<kernels::Buffer> planes_;  // layer by layer
  std::vector<kernels::KvLayer> layers_;
};

}  // namespace thinkwire::worker::model
