#include "worker/model/layers/kv_cache.h"

#include "common/check.h"

namespace thinkwire::worker::model {

std::int64_t KvLayout::block_bytes() const {
  std::int64_t token_bytes = 0;
  for (const std::vector<Plane>& planes : layers) {
    for (const Plane& plane : planes) {
      token_bytes += plane.token_elements * static_cast<std::int64_t>(kernels::SizeOf(plane.dtype));
    }
  }
  return token_bytes * block_tokens;
}

KvLayout KvLayoutOf(const ModelPlan& plan, const RankShape& shape, std::int32_t block_tokens,
                    kernels::DType activation) {
  const kernels::DType dtype = plan.kv_cache.is_fp8 ? kernels::DType::kE4m3 : activation;
  KvLayout layout;
  layout.scales = plan.kv_cache.scales;
  for (const LayerPlan& layer : plan.layers) {
    std::vector<KvLayout::Plane>& planes = layout.layers.emplace_back();
    for (const PartPlan& part : layer) {
      for (const PlannedPlane& plane : part.kv_planes) {
        planes.push_back({shape.of(plane.division).count * plane.width, dtype});
      }
    }
  }
  layout.num_kv_heads = static_cast<std::int32_t>(shape.of(Division::kKvHeads).count);
  layout.head_dim = static_cast<std::int32_t>(shape.of(Division::kKvHeads).unit);
  layout.block_tokens = block_tokens;
  return layout;
}

KvCache::KvCache(const KvLayout& layout, std::int32_t num_blocks, kernels::Backend& backend) {
  CHECK(layout.scales.empty() || layout.scales.size() == layout.layers.size(),
        "a layer has scales of its own");
  for (const std::vector<KvLayout::Plane>& planes : layout.layers) {
    kernels::KvLayer& layer = layers_.emplace_back();
    if (!layout.scales.empty()) layer.scales = layout.scales[layers_.size() - 1];
    layer.num_kv_heads = layout.num_kv_heads;
    layer.block_tokens = layout.block_tokens;
    layer.head_dim = layout.head_dim;
    CHECK(planes.size() <= layer.planes.size(), "more planes than the kernels' layer has");
    for (std::size_t p = 0; p < planes.size(); ++p) {
      const std::int64_t elements = planes[p].token_elements * layout.block_tokens;
      planes_.push_back(backend.Allocate(static_cast<std::size_t>(num_blocks * elements) *
                                         kernels::SizeOf(planes[p].dtype)));
      layer.planes[p] =
          kernels::MakeTensor(planes_.back().data(), planes[p].dtype, num_blocks, elements);
    }
  }
}

}  // namespace thinkwire::worker::model
