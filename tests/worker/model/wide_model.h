#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <vector>

#include "worker/model/checkpoint/model_plan.h"
#include "worker/model/checkpoint/weight_source.h"

namespace thinkwire::worker::model {

// Writes the model "llama" to `dir`, which is there, with these widths and evenly distributed
// weights. It has four heads.
void WriteWideModel(const std::filesystem::path& dir, std::int64_t hidden, std::int64_t ffn,
                    std::int64_t head_dim = 32);

// A plan and its weights, by the files of a folder or of GGUF.
struct PlannedFiles {
  ModelPlan plan;
  std::unique_ptr<WeightSource> weights;
};
PlannedFiles OpenPlanned(const std::filesystem::path& path);

// All of a tensor that its source has packed, in F32 or in BF16.
std::vector<float> FloatsOf(const WeightSource& source, const TensorSpec& spec);

}  // namespace thinkwire::worker::model
