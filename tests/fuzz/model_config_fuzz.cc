// Any bytes as config.json: refused in one short line, or sizes that can be multiplied and split.
#include <cstddef>
#include <cstdint>

#include "absl/strings/string_view.h"
#include "common/check.h"
#include "common/input_limits.h"
#include "tests/fuzz/refusal.h"
#include "worker/model/checkpoint/model_plan.h"
#include "worker/model/layers/rank_shape.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  namespace model = thinkwire::worker::model;
  const absl::string_view text(reinterpret_cast<const char*>(data), size);
  const auto config = model::ParseModelConfig(text, "config.json");
  if (!config.ok()) {
    thinkwire::fuzz::CheckRefusal(config.status());
    return 0;
  }
  CHECK(config->max_position_embeddings >= thinkwire::kMinModelLen, "a sequence can be served");
  if (config->quantization) {
    const auto scheme = config->quantization->SchemeOf("model.layers.0.mlp.up_proj");
    if (!scheme.ok()) thinkwire::fuzz::CheckRefusal(scheme.status());
  }
  const model::ModelPlan plan = model::MakePlan(*config);
  CHECK(model::CountParameters(plan) > 0, "no product overflows");
  for (const std::int32_t ranks : {1, 2, 3, 8}) {
    if (!model::CheckSplit(plan, ranks).ok()) continue;
    std::int64_t heads = 0;
    for (std::int32_t rank = 0; rank < ranks; ++rank) {
      heads += model::ShapeOfRank(plan, rank, ranks).of(model::Division::kQueryHeads).count;
    }
    CHECK(heads == config->num_heads, "each query head is one rank's");
  }
  return 0;
}
