#pragma once

#include <cstdint>
#include <string>

#include "worker/model/checkpoint/model_plan.h"
#include "worker/model/checkpoint/weight_source.h"

namespace thinkwire::worker::model {

// Raised with every change to the bits that kernels, decoder or sampler give, however small.
inline constexpr int kKernelRevision = 3;

// "qwen2-bf16-tp1-cpu-r2-0123456789abcdef", or "qwen2-first2of28-bf16-…" where layers are left out:
// what decides the bits of a text apart from the request. An FP8 KV cache stands behind the
// weights' type ("bf16-kv_fp8_e4m3"). After "tp" stands the number of ranks; of a DeepseekV3, whose
// bits do not depend on it alone, in how many parts its sums are added up ("sums4", NumSummands in
// layers/rank_shape.h).
// Equal fingerprints give equal text. The number is a hash of config, weights and the KV cache's
// scales; `device` is the backend's architecture ("cpu": threads and instruction sets do not change
// its bits).
std::string Fingerprint(const ModelPlan& plan, const WeightSource& source,
                        std::int32_t num_summands, const std::string& device);

}  // namespace thinkwire::worker::model
