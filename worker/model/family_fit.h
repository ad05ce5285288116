#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "worker/model/checkpoint/model_config.h"
#include "worker/model/checkpoint/model_plan.h"
#include "worker/model/memory_budget.h"
#include "worker/step/limits.h"

namespace thinkwire::worker::model {

// A distill of the published family.
struct FamilyMember {
  std::string variant;  // our name of it (common/published_models.h)
  ModelConfig config;   // of its unquantised checkpoint
};

// The six of them, by the config.json of deepseek-ai/DeepSeek-R1-Distill-*; smallest first.
const std::vector<FamilyMember>& Distills();

// Who was refused for lack of memory is told what there is room for, under the same limits and with
// as much KV cache as one sequence of 4,096 tokens needs: the largest distill as it is published,
// and the largest in each format of `thinkwire-worker quantize`. "qwen-32b as awq-gemm (4 bits a
// weight), qwen-14b as fp8-block (8 bits), qwen-7b as published (bf16)"; empty: none fits.
// `limits` without num_blocks and vocab_size.
std::string WhatFits(const step::Limits& limits, const MemoryOffer& offer, bool fp8_kv_cache);

// ChooseBlocks, whose refusal also says what fits, with keys and values as the plan has them.
absl::StatusOr<std::int32_t> ChooseBlocksOrAdvise(const ModelPlan& plan, const step::Limits& limits,
                                                  const MemoryOffer& offer);

}  // namespace thinkwire::worker::model
