#include "worker/model/layers/rank_shape.h"

#include <algorithm>
#include <limits>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace thinkwire::worker::model {
namespace {

using kernels::LinearLayout;

bool Splits(const Divided& divided, std::int64_t ranks) {
  switch (divided.rule) {
    case DivisionRule::kEvenly:
      return divided.count % ranks == 0;
    case DivisionRule::kCopied:
      return divided.count % ranks == 0 || ranks % divided.count == 0;
    default:
      return true;
  }
}

// What is divided by columns that lie in packed blocks, and how many columns a block has.
using Blocks = std::set<std::pair<Division, std::int64_t>>;

Blocks DividedBlocks(const ModelPlan& plan) {
  Blocks blocks;
  for (const LayerPlan& layer : plan.layers) {
    for (const PartPlan& part : layer) {
      for (const PlannedWeight& weight : part.weights) {
        for (const PlannedTensor& matrix : weight.matrices) {
          const TensorSpec& spec = matrix.spec;
          const std::int64_t columns =
              spec.reordered ? spec.cols : kernels::BlockOf(spec.encoding).elements;
          if (matrix.axis == Axis::kColumns && columns > 1)
            blocks.emplace(matrix.division, columns);
        }
      }
    }
  }
  return blocks;
}

bool Splits(const ModelPlan& plan, const Blocks& blocks, std::int64_t ranks) {
  return std::all_of(plan.divided.begin(), plan.divided.end(),
                     [ranks](const Divided& divided) { return Splits(divided, ranks); }) &&
         std::all_of(blocks.begin(), blocks.end(), [&](const auto& block) {
           const Divided& divided = plan.divided[static_cast<std::size_t>(block.first)];
           return ranks == 1 || divided.count / ranks * divided.unit % block.second == 0;
         });
}

std::string BlocksText(const Blocks& blocks) {
  std::int64_t columns = 0;
  for (const auto& block : blocks) columns = std::max(columns, block.second);
  return columns == 0 ? "" : absl::StrCat(" in whole packed blocks of ", columns, " columns");
}

// No number of ranks above this splits the model.
std::int64_t MostRanks(const ModelPlan& plan) {
  std::int64_t most = std::numeric_limits<std::int64_t>::max();
  for (const Divided& divided : plan.divided) {
    if (divided.rule == DivisionRule::kEvenly) most = std::min(most, divided.count);
  }
  return most;
}

// "28 attention heads, 4 key-value heads and intermediate_size 18944"
std::string WhatIsDivided(const ModelPlan& plan) {
  std::vector<std::string> names;
  for (const Divided& divided : plan.divided) {
    if (!divided.description.empty()) names.push_back(divided.description);
  }
  const std::string last = names.back();
  names.pop_back();
  return absl::StrCat(absl::StrJoin(names, ", "), " and ", last);
}

Share ShareOf(const Divided& divided, std::int64_t rank, std::int64_t ranks) {
  if (divided.rule == DivisionRule::kWhole) return {0, divided.count, divided.unit};
  if (divided.rule == DivisionRule::kCopied && ranks > divided.count) {
    return {rank / (ranks / divided.count), 1, divided.unit};
  }
  const std::int64_t count = (divided.count + ranks - 1) / ranks;
  return {rank * count, count, divided.unit};
}

// Of the rank's share.
std::int64_t RowsOf(const PlannedWeight& weight, const RankShape& shape) {
  std::int64_t rows = 0;
  for (const PlannedTensor& matrix : weight.matrices) rows += RegionOf(matrix, shape).rows;
  return rows;
}

kernels::MixExtent MixExtentOf(const ModelPlan& plan, const RankShape& shape,
                               const step::Limits& limits) {
  return {.max_tokens = limits.max_num_batched_tokens,
          .per_token = plan.config.moe->num_experts_per_tok,
          .hidden = plan.config.hidden_size,
          .ffn = plan.config.moe->moe_intermediate_size,
          .experts = shape.of(Division::kExperts).count};
}

}  // namespace

absl::Status CheckSplit(const ModelPlan& plan, std::int32_t ranks) {
  const Blocks blocks = DividedBlocks(plan);
  if (ranks >= 1 && Splits(plan, blocks, ranks)) return absl::OkStatus();
  std::vector<std::int64_t> allowed;
  for (std::int64_t r = 1; r <= MostRanks(plan); ++r) {
    if (Splits(plan, blocks, r)) allowed.push_back(r);
  }
  return absl::InvalidArgumentError(absl::StrCat("tensor_parallel_size ", ranks, " does not split ",
                                                 WhatIsDivided(plan), BlocksText(blocks),
                                                 "; allowed: ", absl::StrJoin(allowed, ", ")));
}

std::int32_t NumSummands(const ModelPlan& plan, std::int32_t ranks) {
  if (!plan.config.mla) return ranks;
  for (std::int32_t summands = kSummands; summands > ranks; summands /= 2) {
    if (summands % ranks == 0 && CheckSplit(plan, summands).ok()) return summands;
  }
  return ranks;
}

RankShape ShapeOfRank(const ModelPlan& plan, std::int32_t rank, std::int32_t ranks) {
  RankShape shape = {.rank = rank, .ranks = ranks, .shares = {}};
  shape.summands = NumSummands(plan, ranks) / ranks;
  for (std::size_t i = 0; i < kNumDivisions; ++i) {
    shape.shares[i] = ShareOf(plan.divided[i], rank, ranks);
  }
  return shape;
}

std::vector<RankShape> SummedShapes(const RankShape& shape) {
  std::vector<RankShape> summed(static_cast<std::size_t>(shape.summands), shape);
  if (shape.summands == 1) return summed;
  for (const Division division :
       {Division::kQueryHeads, Division::kFfn, Division::kExperts, Division::kSharedFfn}) {
    const auto at = static_cast<std::size_t>(division);
    const std::int64_t count = shape.shares[at].count / shape.summands;
    for (std::size_t i = 0; i < summed.size(); ++i) {
      summed[i].shares[at].first += static_cast<std::int64_t>(i) * count;
      summed[i].shares[at].count = count;
    }
  }
  return summed;
}

std::int64_t UnitOf(const PlannedTensor& tensor, const Share& share) {
  return tensor.unit == 0 ? share.unit : tensor.unit;
}

Region RegionOf(const PlannedTensor& tensor, const RankShape& shape) {
  Region region = {0, tensor.spec.rows, 0, tensor.spec.cols};
  if (tensor.division == Division::kWhole) return region;
  const Share& share = shape.of(tensor.division);
  const std::int64_t unit = UnitOf(tensor, share);
  const bool is_rows = tensor.axis == Axis::kRows;
  std::int64_t& first = is_rows ? region.first_row : region.first_col;
  std::int64_t& size = is_rows ? region.rows : region.cols;
  first = std::min(share.first * unit, size);
  size = std::min(share.count * unit, size - first);
  return region;
}

kernels::StepExtent StepExtentOf(const ModelPlan& plan, const RankShape& shape,
                                 const step::Limits& limits) {
  kernels::StepExtent extent = {
      .max_tokens = limits.max_num_batched_tokens,
      .max_seqs = limits.max_num_seqs,
      .num_kv_heads = static_cast<std::int32_t>(shape.of(Division::kKvHeads).count)};
  for (const LayerPlan& layer : plan.layers) {
    for (const PartPlan& part : layer) {
      for (const PlannedWeight& weight : part.weights) {
        const std::int64_t rows = RowsOf(weight, shape);
        if (weight.layout == LinearLayout::kQkv) extent.qkv_rows = std::max(extent.qkv_rows, rows);
        if (weight.layout == LinearLayout::kGateUp) extent.ffn = std::max(extent.ffn, rows / 2);
      }
    }
  }
  return extent;
}

kernels::PartsExtent PartsExtentOf(const ModelPlan& plan, const RankShape& shape,
                                   const step::Limits& limits) {
  kernels::PartsExtent extent = {.max_tokens = limits.max_num_batched_tokens};
  if (plan.config.mla) extent.latent_heads = shape.of(Division::kQueryHeads).count;
  if (plan.config.moe) extent.mix = MixExtentOf(plan, shape, limits);
  return extent;
}

}  // namespace thinkwire::worker::model
