#include "worker/model/layers/load_moe.h"

#include <cstddef>
#include <cstdint>
#include <memory>
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

kernels::Buffer LoadBias(const PlannedTensor& tensor, const LoadPlace& place) {
  const std::vector<float> values = LoadVector(tensor, place);
  kernels::Buffer bias = place.backend.Allocate(values.size() * sizeof(float));
  place.backend.CopyToDevice(bias.data(), values.data(), bias.bytes());
  place.backend.Synchronize();
  return bias;
}

// The two weights of block `index`.
std::span<const PlannedWeight, 2> BlockOf(const PartPlan& part, std::size_t index) {
  return std::span<const PlannedWeight, 2>(&part.weights[2 * index], 2);
}

// The encoding of all matrices of all `experts`, or bf16: every rank's, so that each takes as much
// memory as was counted for the first.
kernels::Encoding EncodingOf(const PartPlan& part, std::int64_t experts) {
  const kernels::Encoding first = part.weights[0].matrices[0].spec.encoding;
  for (std::int64_t i = 0; i < 2 * experts; ++i) {
    for (const PlannedTensor& matrix : part.weights[static_cast<std::size_t>(i)].matrices) {
      if (matrix.spec.encoding != first) return kernels::Encoding::kBf16;
    }
  }
  return first;
}

HostSlice WholeOf(const PlannedTensor& tensor, const LoadPlace& place) {
  return place.source.Slice(tensor.spec, {0, tensor.spec.rows, 0, tensor.spec.cols});
}

std::unique_ptr<kernels::ExpertWeights> LoadExperts(const MoeConfig& config, const PartPlan& part,
                                                    const Share& share, const LoadPlace& place) {
  auto experts = place.backend.MakeExperts({.first = share.first,
                                            .count = share.count,
                                            .hidden = part.weights[0].matrices[0].spec.cols,
                                            .ffn = config.moe_intermediate_size,
                                            .encoding = EncodingOf(part, config.n_routed_experts)});
  for (std::int64_t i = 0; i < share.count; ++i) {
    const auto block = BlockOf(part, static_cast<std::size_t>(share.first + i));
    const HostSlice gate = WholeOf(block[0].matrices[0], place);
    const HostSlice up = WholeOf(block[0].matrices[1], place);
    const HostSlice down = WholeOf(block[1].matrices[0], place);
    experts->Set(i, {.gate = gate.slice, .up = up.slice, .down = down.slice});
  }
  return experts;
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
  MoeWeights weights;
  weights.gate = LoadLinear({.matrices = {part.tables[kRouter]}}, place);
  weights.correction_bias = LoadBias(part.tables[kCorrectionBias], place);
  const bool has_shared = part.weights.size() > 2 * experts;
  for (const RankShape& shape : SummedShapes(place)) {
    weights.experts.push_back(LoadExperts(config, part, shape.of(Division::kExperts), place));
    if (!has_shared) continue;
    weights.shared.push_back(
        LoadSwiGlu(BlockOf(part, experts), {shape, place.source, place.backend}));
  }
  return weights;
}

}  // namespace thinkwire::worker::model
