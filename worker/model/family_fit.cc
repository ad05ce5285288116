#include "worker/model/family_fit.h"

#include <algorithm>
#include <cstdint>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "worker/kernels/weights.h"
#include "worker/model/layers/rank_shape.h"

namespace thinkwire::worker::model {
namespace {

constexpr std::int64_t kUsefulTokens = 4096;

struct Shape {
  const char* variant;
  bool llama;  // else Qwen2
  std::int64_t hidden;
  std::int64_t layers;
  std::int64_t heads;
  std::int64_t kv_heads;
  std::int64_t ffn;
  std::int64_t vocab;
  float rms_norm_eps;
  double rope_theta;
};

// Heads have 128 elements in all of them.
constexpr Shape kShapes[] = {
    {"qwen-1.5b", false, 1536, 28, 12, 2, 8960, 151936, 1e-6F, 10000},
    {"qwen-7b", false, 3584, 28, 28, 4, 18944, 152064, 1e-6F, 10000},
    {"llama-8b", true, 4096, 32, 32, 8, 14336, 128256, 1e-5F, 500000},
    {"qwen-14b", false, 5120, 48, 40, 8, 13824, 152064, 1e-5F, 1000000},
    {"qwen-32b", false, 5120, 64, 40, 8, 27648, 152064, 1e-5F, 1000000},
    {"llama-70b", true, 8192, 80, 64, 8, 28672, 128256, 1e-5F, 500000},
};

// The first of each config.json; llama-70b's lists others, which its template never ends a turn
// with.
constexpr std::int32_t kLlamaEnd = 128001;
constexpr std::int32_t kQwenEnd = 151643;

ModelConfig ConfigOf(const Shape& shape) {
  ModelConfig config;
  config.architecture = shape.llama ? "LlamaForCausalLM" : "Qwen2ForCausalLM";
  config.hidden_size = shape.hidden;
  config.num_layers = shape.layers;
  config.num_heads = shape.heads;
  config.num_kv_heads = shape.kv_heads;
  config.head_dim = 128;
  config.intermediate_size = shape.ffn;
  config.vocab_size = shape.vocab;
  config.max_position_embeddings = 131072;
  config.rms_norm_eps = shape.rms_norm_eps;
  config.rope.theta = shape.rope_theta;
  if (shape.llama) config.rope.scaling = Llama3RopeScaling{.factor = 8};
  config.qkv_bias = !shape.llama;
  config.end_of_sequence_ids = {shape.llama ? kLlamaEnd : kQwenEnd};
  return config;
}

// What somebody may have of a model, or make of it.
struct Format {
  const char* text;
  kernels::Encoding encoding;  // of the layers' matrices
};

constexpr Format kFormats[] = {
    {" as awq-gemm (4 bits a weight)", kernels::Encoding::kInt4},
    {" as fp8-block (8 bits)", kernels::Encoding::kFp8},
    {" as published (bf16)", kernels::Encoding::kBf16},
};

bool Fits(const FamilyMember& member, kernels::Encoding encoding, bool fp8_kv_cache,
          step::Limits limits, const MemoryOffer& offer) {
  ModelPlan plan = MakePlan(member.config);
  plan.kv_cache.is_fp8 = fp8_kv_cache;
  SetMatrixEncoding(encoding, plan);
  for (PlannedTensor& matrix : plan.head.matrices) {
    matrix.spec.encoding = kernels::Encoding::kBf16;
  }
  if (!CheckSplit(plan, offer.ranks).ok()) return false;
  limits.vocab_size = static_cast<std::int32_t>(member.config.vocab_size);
  plan.host_embedding = NeedsHostEmbedding(plan, limits, offer);
  const auto blocks = ChooseBlocks(plan, limits, offer);
  const std::int64_t wanted = std::min<std::int64_t>(limits.max_model_len, kUsefulTokens);
  return blocks.ok() && std::int64_t{*blocks} * limits.block_tokens >= wanted;
}

}  // namespace

const std::vector<FamilyMember>& Distills() {
  static const auto& members = *[] {
    auto* made = new std::vector<FamilyMember>;
    for (const Shape& shape : kShapes) made->push_back({shape.variant, ConfigOf(shape)});
    return made;
  }();
  return members;
}

std::string WhatFits(const step::Limits& limits, const MemoryOffer& offer, bool fp8_kv_cache) {
  std::vector<std::string> fitting;
  for (const Format& format : kFormats) {
    const auto largest =
        std::find_if(Distills().rbegin(), Distills().rend(), [&](const FamilyMember& member) {
          return Fits(member, format.encoding, fp8_kv_cache, limits, offer);
        });
    if (largest != Distills().rend()) {
      fitting.push_back(absl::StrCat(largest->variant, format.text));
    }
  }
  return absl::StrJoin(fitting, ", ");
}

absl::StatusOr<std::int32_t> ChooseBlocksOrAdvise(const ModelPlan& plan, const step::Limits& limits,
                                                  const MemoryOffer& offer) {
  auto blocks = ChooseBlocks(plan, limits, offer);
  if (blocks.ok()) return blocks;
  const std::string fitting = WhatFits(limits, offer, plan.kv_cache.is_fp8);
  return absl::Status(blocks.status().code(),
                      absl::StrCat(blocks.status().message(), "; of DeepSeek-R1's distills ",
                                   fitting.empty() ? "none fits so" : "there fit: ", fitting));
}

}  // namespace thinkwire::worker::model
