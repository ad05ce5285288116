#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "worker/kernels/device.h"
#include "worker/kernels/parts_extent.h"
#include "worker/model/checkpoint/model_plan.h"
#include "worker/step/limits.h"

namespace thinkwire::worker::model {

// A rank's part of what is divided: units [first, first + count).
struct Share {
  std::int64_t first = 0;
  std::int64_t count = 0;
  std::int64_t unit = 1;  // rows or columns

  std::int64_t size() const { return count * unit; }
};

// One rank's share of a model, by the plan's rules. Query heads, feed-forward columns and rows of
// the head are split evenly. KV heads are split while there are enough; where ranks outnumber them,
// each rank holds one, and ranks whose query heads share it hold copies. The embedding is on every
// rank whole: that costs V x E x 2 bytes a rank, saves an all-reduce a step, and adds nothing up.
struct RankShape {
  std::int32_t rank = 0;
  std::int32_t ranks = 1;
  std::array<Share, kNumDivisions> shares;  // by Division
  std::int32_t summands = 1;                // of SummedShapes

  const Share& of(Division division) const { return shares[static_cast<std::size_t>(division)]; }
};

// Whether the ranks' shares are whole, and hold whole blocks of packed columns.
// Fails: INVALID_ARGUMENT with the sizes that this model allows.
absl::Status CheckSplit(const ModelPlan& plan, std::int32_t ranks);

// How many summands of one size a layer part's sum is made of, over all ranks. Of a DeepseekV3 as
// many as kSummands or fewer ranks could share, a power of two, whatever ranks there are up to
// that: so that one, two and four ranks add up the same numbers in the same order
// (kernels::AddPairwise), to the same bits. Of other models, and of more ranks, one a rank: what a
// part gives is one product on each, whose columns are added up in one chain.
// REQUIRES: CheckSplit.
std::int32_t NumSummands(const ModelPlan& plan, std::int32_t ranks);
inline constexpr std::int32_t kSummands = 4;

// REQUIRES: CheckSplit, 0 <= rank < ranks.
RankShape ShapeOfRank(const ModelPlan& plan, std::int32_t rank, std::int32_t ranks);

// Whose sums the rank adds up: its own, or where it has several summands (NumSummands) what as many
// ranks would have each of its heads, experts and columns. (In the order of experts' ids alone,
// with the shared one last, ranks would have to send a token's experts one by one.)
std::vector<RankShape> SummedShapes(const RankShape& shape);

// Rows or columns of the tensor in one unit of `share`.
std::int64_t UnitOf(const PlannedTensor& tensor, const Share& share);

// The rank's region of a tensor. It is smaller than the rank's share, or empty, where the share
// goes past the tensor's end.
Region RegionOf(const PlannedTensor& tensor, const RankShape& shape);

// The rank's largest step, for what its backend reserves.
kernels::StepExtent StepExtentOf(const ModelPlan& plan, const RankShape& shape,
                                 const step::Limits& limits);
kernels::PartsExtent PartsExtentOf(const ModelPlan& plan, const RankShape& shape,
                                   const step::Limits& limits);

}  // namespace thinkwire::worker::model
