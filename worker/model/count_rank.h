#pragma once

#include <cstdint>

#include "worker/kernels/device.h"
#include "worker/model/checkpoint/model_plan.h"
#include "worker/model/layers/rank_shape.h"
#include "worker/step/limits.h"

namespace thinkwire::worker::model {

// What one rank takes of its device, by what its parts ask for when they are built.
struct RankMemory {
  std::int64_t weights = 0;
  // What its steps are computed in; where host and device share their memory, what is copied
  // through too.
  std::int64_t workspace = 0;
  // Of both, and of the KV cache: what Backend::TakeAhead can take in one.
  std::int64_t ahead = 0;
};

// Counts a rank on a device of these capabilities. Reads no weights. The KV cache of
// limits.num_blocks is workspace too; to leave it out, leave out num_blocks.
// What the communicator takes is not the rank's: it is taken before free memory is asked for.
RankMemory CountRank(const ModelPlan& plan, const RankShape& shape, const step::Limits& limits,
                     const kernels::Capabilities& device);

}  // namespace thinkwire::worker::model
