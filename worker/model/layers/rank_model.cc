#include "worker/model/layers/rank_model.h"

namespace thinkwire::worker::model {
namespace {

using kernels::Buffer;
using kernels::Tensor;

Buffer CopyRope(std::span<const float> rope, kernels::Backend& backend) {
  Buffer buffer = backend.Allocate(rope.size_bytes());
  backend.CopyToDevice(buffer.data(), rope.data(), rope.size_bytes());
  return buffer;
}

Tensor RopeTensor(const Buffer& rope, std::int64_t head_dim) {
  const auto floats = static_cast<std::int64_t>(rope.bytes() / sizeof(float));
  return kernels::MakeTensor(rope.data(), kernels::DType::kF32, floats / head_dim, head_dim);
}

}  // namespace

RankModel::RankModel(const ModelPlan& plan, const LoadPlace& place, std::int64_t max_tokens,
                     std::span<const float> rope)
    : rope_(CopyRope(rope, place.backend)),
      scratch_(max_tokens, place.backend),
      embedding_(LoadEmbedding(plan, place)),
      head_(LoadLinear(plan.head, place)),
      layers_(BuildLayers(
          plan,
          {.load = place, .rope = RopeTensor(rope_, plan.config.head_dim), .scratch = scratch_})),
      final_norm_(LoadTable(plan.final_norm, place)) {}

const Buffer& RankModel::NormAfter(std::size_t layer, std::size_t part) const {
  if (part + 1 < layers_[layer].size()) return layers_[layer][part + 1].norm;
  return layer + 1 < layers_.size() ? layers_[layer + 1].front().norm : final_norm_;
}

std::int64_t RankModel::bytes_per_token() const {
  std::int64_t total = static_cast<std::int64_t>(final_norm_.bytes() + head_->bytes());
  for (const Layer& layer : layers_) {
    for (const NormedPart& normed : layer) {
      total += static_cast<std::int64_t>(normed.norm.bytes()) + normed.part->bytes();
    }
  }
  return total;
}

std::int64_t RankModel::bytes() const {
  std::int64_t total = bytes_per_token() + embedding_.device_bytes;
  for (const Layer& layer : layers_) {
    for (const NormedPart& normed : layer) {
      total += normed.part->total_bytes() - normed.part->bytes();
    }
  }
  return total;
}

}  // namespace thinkwire::worker::model
