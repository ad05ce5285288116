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
  // One rank that sums as two would: see SummedShapes.
  bool in_halves = false;

  const Share& of(Division division) const { return shares[static_cast<std::size_t>(division)]; }
};

// Whether the ranks' shares are whole, and hold whole blocks of packed columns.
// Fails: INVALID_ARGUMENT with the sizes that this model allows.
absl::Status CheckSplit(const ModelPlan& plan, std::int32_t ranks);

// REQUIRES: CheckSplit, 0 <= rank < ranks.
RankShape ShapeOfRank(const ModelPlan& plan, std::int32_t rank, std::int32_t ranks);

// Whose sums the rank adds up, one after the other: its own; or, if it is alone with a DeepseekV3
// that two ranks could share, what each of the two would have of heads, experts and columns. So one
// rank and two give the same bits. (In the order of ids alone, with the shared expert last, two
// ranks would have to send a token's experts one by one.) Of more ranks each has its own sum.
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
