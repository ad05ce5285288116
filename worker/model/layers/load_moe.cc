#include "worker/model/layers/load_moe.h"

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "common/check.h"
#include "worker/kernels/stacked_rows.h"

namespace thinkwire::worker::model {
namespace {

// Where the plan has each table (MoePart).
enum : std::size_t { kRouter, kCorrectionBias };

// Of a source that knows sizes alone, zeros.
std::vector<float> LoadVector(const PlannedTensor& tensor, const LoadPlace& place) {
  const HostSlice host = place.source.Slice(tensor.spec, {0, tensor.spec.rows, 0, 1});
  std::vector<float> values(static_cast<std::size_t>(tensor.spec.rows));
  if (host.slice.data == nullptr) return values;
  for (std::size_t i = 0; i < values.size(); ++i) {
    values[i] = kernels::ElementOf({&host.slice, static_cast<std::int64_t>(i)}, 0);
  }
  return values;
}

// The two weights of block `index`.
std::span<const PlannedWeight, 2> BlockOf(const PartPlan& part, std::size_t index) {
  return std::span<const PlannedWeight, 2>(&part.weights[2 * index], 2);
}

}  // namespace

kernels::RoutingRule RoutingRuleOf(const MoeConfig& config) {
  return {.num_experts = static_cast<std::int32_t>(config.n_routed_experts),
          .num_groups = static_cast<std::int32_t>(config.n_group),
          .kept_groups = static_cast<std::int32_t>(config.topk_group),
          .per_token = static_cast<std::int32_t>(config.num_experts_per_tok),
          .normalise = config.norm_topk_prob,
          .factor = static_cast<float>(config.routed_scaling_factor)};
}

MoeWeights LoadMoe(const MoeConfig& config, const PartPlan& part, const LoadPlace& place) {
  const auto experts = static_cast<std::size_t>(config.n_routed_experts);
  CHECK(part.weights.size() >= 2 * experts, "two weights an expert");
  const Share& share = place.shape.of(Division::kExperts);
  MoeWeights weights;
  weights.gate = LoadLinear({.matrices = {part.tables[kRouter]}}, place);
  weights.correction_bias = LoadVector(part.tables[kCorrectionBias], place);
  weights.first_expert = share.first;
  for (std::int64_t i = share.first; i < share.first + share.count; ++i) {
    weights.experts.push_back(LoadSwiGlu(BlockOf(part, static_cast<std::size_t>(i)), place));
  }
  const std::vector<RankShape> summed = SummedShapes(place.shape);
  weights.num_summands = summed.size();
  if (part.weights.size() == 2 * experts) return weights;
  for (const RankShape& shape : summed) {
    weights.shared.push_back(
        LoadSwiGlu(BlockOf(part, experts), {shape, place.source, place.backend}));
  }
  return weights;
}

}  // namespace thinkwire::worker::model
