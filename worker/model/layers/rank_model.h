#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "worker/kernels/backend.h"
#include "worker/model/checkpoint/model_plan.h"
#include "worker/model/layers/build_layers.h"
#include "worker/model/layers/load_weight.h"
#include "worker/model/layers/scratch.h"

namespace thinkwire::worker::model {

// A rank's share of a model, on its device: the weights and the parts that compute with them.
// Owns: the weights, and the activations that the parts share. Threads: the rank's.
class RankModel {
 public:
  // Takes the rank's slices of every tensor. `rope` [positions, D] is copied to the device.
  // The backend must outlive this object; the rest of `place` is read here alone.
  RankModel(const ModelPlan& plan, const LoadPlace& place, std::int64_t max_tokens,
            std::span<const float> rope);

  const kernels::WeightSlice& embedding() const { return embedding_.rows; }
  const kernels::LinearWeight& head() const { return *head_; }  // [V, E]
  const kernels::Buffer& first_norm() const { return layers_.front().front().norm; }
  std::size_t num_layers() const { return layers_.size(); }
  std::size_t num_parts(std::size_t layer) const { return layers_[layer].size(); }
  LayerPart& part(std::size_t layer, std::size_t i) const { return *layers_[layer][i].part; }

  // The norm of what follows a layer's part: the next part, else the head. bf16 [E].
  const kernels::Buffer& NormAfter(std::size_t layer, std::size_t part) const;

  std::int64_t bytes() const;  // on its device
  // Read for one decoded token at batch 1: all linears and norms, one row of the embedding.
  std::int64_t bytes_per_token() const;

 private:
  const kernels::Buffer rope_;
  Scratch scratch_;
  // The largest first: what one is made of is in memory beside it, but nothing else yet.
  const Embedding embedding_;
  const std::unique_ptr<kernels::LinearWeight> head_;
  const std::vector<Layer> layers_;
  const kernels::Buffer final_norm_;
};

}  // namespace thinkwire::worker::model
