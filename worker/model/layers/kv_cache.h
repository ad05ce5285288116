#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
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
  std::int32_t num_kv_heads = 0;
  std::int32_t head_dim = 0;
  std::int32_t block_tokens = 0;

  std::int64_t block_bytes() const;  // over all layers and planes
};

KvLayout KvLayoutOf(const ModelPlan& plan, const RankShape& shape, std::int32_t block_tokens,
                    kernels::DType dtype);

// What decides the number of blocks.
struct KvCacheDemand {
  std::int64_t memory_bytes = 0;     // over all ranks; 0: choose
  std::int64_t block_bytes = 0;      // over all ranks
  std::int64_t available_bytes = 0;  // what the machine can still give
  std::int32_t block_tokens = 0;
  std::int32_t max_num_seqs = 0;
  std::int32_t max_model_len = 0;
};

// As many blocks as memory_bytes holds, but no more than all slots can fill. Where it is to be
// chosen: what all slots need for 4,096 tokens each, at most half of what is available.
// Fails: INVALID_ARGUMENT if not one block fits.
absl::StatusOr<std::int32_t> ChooseNumBlocks(const KvCacheDemand& demand);

// Bytes of host memory that may still be taken, by /proc/meminfo and the control group's limit.
std::int64_t AvailableHostMemory();

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
