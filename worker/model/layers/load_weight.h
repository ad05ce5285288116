#pragma once

#include <memory>
#include <vector>

#include "worker/kernels/backend.h"
#include "worker/model/checkpoint/model_plan.h"
#include "worker/model/checkpoint/weight_source.h"
#include "worker/model/layers/rank_shape.h"

namespace thinkwire::worker::model {

// What a rank loads its weights by and from. All of it must outlive the loading.
struct LoadPlace {
  const RankShape& shape;
  const WeightSource& source;
  kernels::Backend& backend;
};

// SummedShapes of the place's rank. A GPU's products round to bf16 before they are added, so that
// its sums in halves are not what two ranks would give: it has its own alone.
std::vector<RankShape> SummedShapes(const LoadPlace& place);

// The rank's share of a weight, on its device. Rows of the share that lie past a matrix's end are
// zeros.
std::unique_ptr<kernels::LinearWeight> LoadLinear(const PlannedWeight& weight,
                                                  const LoadPlace& place);

// A norm's weight, whole and in bf16.
kernels::Buffer LoadTable(const PlannedTensor& tensor, const LoadPlace& place);

// An embedding table on its device: packed as its files have it, if they do and the device embeds
// that, else in bf16; a GPU's in host memory, where the plan says so.
struct Embedding {
  kernels::Buffer memory;
  kernels::WeightSlice rows;  // [V of all ranks, E], in `memory`
  std::int64_t device_bytes = 0;
};
Embedding LoadEmbedding(const ModelPlan& plan, const LoadPlace& place);

}  // namespace thinkwire::worker::model
