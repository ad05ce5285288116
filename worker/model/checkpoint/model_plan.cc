#include "worker/model/checkpoint/model_plan.h"

#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "worker/model/checkpoint/deepseek_plan.h"
#include "worker/model/checkpoint/planned_tensors.h"

namespace thinkwire::worker::model {
namespace {

using kernels::Encoding;
using kernels::LinearLayout;

using DividedByDivision = std::array<Divided, kNumDivisions>;

Divided& Of(Division division, DividedByDivision& divided) {
  return divided[static_cast<std::size_t>(division)];
}

// What latent attention and experts divide otherwise, or beyond.
void DivideDeepseek(const ModelConfig& config, DividedByDivision& divided) {
  Of(Division::kQueryHeads, divided).unit = config.mla->v_head_dim;
  Of(Division::kKvHeads, divided) = {DivisionRule::kWhole, 1, config.mla->key_dim()};
  const MoeConfig& moe = *config.moe;
  if (moe.first_k_dense_replace == 0) Of(Division::kFfn, divided) = {};
  if (moe.first_k_dense_replace >= config.num_layers) return;
  Of(Division::kExperts, divided) = {DivisionRule::kEvenly, moe.n_routed_experts, 1,
                                     absl::StrCat(moe.n_routed_experts, " experts")};
  if (moe.n_shared_experts == 0) return;
  const std::int64_t columns = moe.n_shared_experts * moe.moe_intermediate_size;
  Of(Division::kSharedFfn, divided) = {
      DivisionRule::kEvenly, columns, 1,
      absl::StrCat("the ", columns, " columns of n_shared_experts ", moe.n_shared_experts)};
}

DividedByDivision DividedOf(const ModelConfig& config) {
  DividedByDivision divided;
  const auto of = [&divided](Division division) -> Divided& { return Of(division, divided); };
  of(Division::kQueryHeads) = {DivisionRule::kEvenly, config.num_heads, config.head_dim,
                               absl::StrCat(config.num_heads, " attention heads")};
  of(Division::kKvHeads) = {DivisionRule::kCopied, config.num_kv_heads, config.head_dim,
                            absl::StrCat(config.num_kv_heads, " key-value heads")};
  of(Division::kFfn) = {DivisionRule::kEvenly, config.intermediate_size, 1,
                        absl::StrCat("intermediate_size ", config.intermediate_size)};
  of(Division::kVocabulary) = {DivisionRule::kPadded, config.vocab_size, 1};
  if (config.mla) DivideDeepseek(config, divided);
  return divided;
}

// Queries, keys and values stacked.
PlannedWeight QkvWeight(const ModelConfig& config, const std::string& layer) {
  struct Projection {
    const char* name;
    std::int64_t rows;
    Division division;
  };
  const std::array<Projection, 3> projections = {
      {{"self_attn.q_proj", config.q_size(), Division::kQueryHeads},
       {"self_attn.k_proj", config.kv_size(), Division::kKvHeads},
       {"self_attn.v_proj", config.kv_size(), Division::kKvHeads}}};
  PlannedWeight weight = {.layout = LinearLayout::kQkv, .matrices = {}};
  for (const auto& [name, rows, division] : projections) {
    weight.matrices.push_back(
        Rows(absl::StrCat(layer, name, ".weight"), rows, config.hidden_size, division));
    if (config.qkv_bias) {
      weight.biases.push_back(Vector(absl::StrCat(layer, name, ".bias"), rows, division));
    }
  }
  return weight;
}

PartPlan GroupedQueryPart(const ModelConfig& config, const std::string& layer) {
  const std::int64_t e = config.hidden_size;
  const PlannedPlane plane = {Division::kKvHeads, config.head_dim};
  return {.kind = PartKind::kGroupedQuery,
          .norm = Vector(layer + "input_layernorm.weight", e),
          .weights = {QkvWeight(config, layer),
                      {.matrices = {Columns(layer + "self_attn.o_proj.weight", e, config.q_size(),
                                            Division::kQueryHeads)}}},
          .kv_planes = {plane, plane}};
}

PartPlan DenseFfnPart(const ModelConfig& config, const std::string& layer) {
  const std::int64_t e = config.hidden_size;
  return {.kind = PartKind::kDenseFfn,
          .norm = Vector(layer + "post_attention_layernorm.weight", e),
          .weights = PlanSwiGlu(layer + "mlp.", e, config.intermediate_size, Division::kFfn)};
}

LayerPlan LayerOf(const ModelConfig& config, std::int64_t index) {
  const std::string layer = absl::StrCat("model.layers.", index, ".");
  const bool has_experts = config.moe && index >= config.moe->first_k_dense_replace;
  return {config.mla ? MlaPart(config, layer) : GroupedQueryPart(config, layer),
          has_experts ? MoePart(config, layer) : DenseFfnPart(config, layer)};
}

template <class Visit>
void ForEachTensor(const ModelPlan& plan, const Visit& visit) {
  const auto visit_all = [&visit](const std::vector<PlannedTensor>& tensors) {
    for (const PlannedTensor& tensor : tensors) visit(tensor.spec);
  };
  visit(plan.embedding.spec);
  for (const LayerPlan& layer : plan.layers) {
    for (const PartPlan& part : layer) {
      visit(part.norm.spec);
      for (const PlannedWeight& weight : part.weights) {
        visit_all(weight.matrices);
        visit_all(weight.biases);
      }
      visit_all(part.tables);
    }
  }
  visit(plan.final_norm.spec);
  if (!plan.config.tie_word_embeddings) visit_all(plan.head.matrices);
}

}  // namespace

ModelPlan MakePlan(const ModelConfig& config) {
  const std::int64_t e = config.hidden_size;
  const std::int64_t v = config.vocab_size;
  const char* head = config.tie_word_embeddings ? kEmbeddingName : kHeadName;
  ModelPlan plan = {.config = config,
                    .divided = DividedOf(config),
                    .embedding = Rows(kEmbeddingName, v, e, Division::kWhole),
                    .layers = {},
                    .final_norm = Vector("model.norm.weight", e),
                    .head = {.matrices = {Rows(head, v, e, Division::kVocabulary)}}};
  for (std::int64_t i = 0; i < config.num_layers; ++i) plan.layers.push_back(LayerOf(config, i));
  return plan;
}

namespace {

// llama.cpp's use_more_bits.
bool UsesMoreBits(std::size_t layer, std::size_t layers) {
  const std::size_t eighth = layers / 8;
  return layer < eighth || layer >= 7 * layers / 8 || (layer - eighth) % 3 == 2;
}

Encoding EncodingIn(Encoding encoding, std::size_t layer, std::size_t layers,
                    absl::string_view name) {
  const bool may_differ =
      absl::EndsWith(name, "v_proj.weight") || absl::EndsWith(name, "down_proj.weight");
  const bool differs = encoding == Encoding::kQ4K && may_differ && UsesMoreBits(layer, layers);
  return differs ? Encoding::kQ6K : encoding;
}

Encoding HeadEncoding(Encoding encoding) {
  if (encoding == Encoding::kInt4 || encoding == Encoding::kFp8) return Encoding::kBf16;
  return encoding == Encoding::kQ4K ? Encoding::kQ6K : encoding;
}

}  // namespace

void SetMatrixEncoding(kernels::Encoding encoding, ModelPlan& plan) {
  for (std::size_t layer = 0; layer < plan.layers.size(); ++layer) {
    for (PartPlan& part : plan.layers[layer]) {
      for (PlannedWeight& weight : part.weights) {
        for (PlannedTensor& matrix : weight.matrices) {
          matrix.spec.encoding = EncodingIn(encoding, layer, plan.layers.size(), matrix.spec.name);
        }
      }
    }
  }
  for (PlannedTensor& matrix : plan.head.matrices) matrix.spec.encoding = HeadEncoding(encoding);
  const std::int64_t block = kernels::BlockOf(encoding).elements;
  Divided& ffn = plan.divided[static_cast<std::size_t>(Division::kFfn)];
  if (ffn.count % block != 0) return;
  ffn.count /= block;
  ffn.unit *= block;
}

// The order is part of a checkpoint's identity.
std::vector<TensorSpec> RequiredTensors(const ModelPlan& plan) {
  std::vector<TensorSpec> specs;
  ForEachTensor(plan, [&specs](const TensorSpec& spec) { specs.push_back(spec); });
  return specs;
}

void ForEachMatrix(ModelPlan& plan, const std::function<void(PlannedTensor&)>& visit) {
  for (LayerPlan& layer : plan.layers) {
    for (PartPlan& part : layer) {
      for (PlannedWeight& weight : part.weights) {
        for (PlannedTensor& matrix : weight.matrices) visit(matrix);
      }
    }
  }
  for (PlannedTensor& matrix : plan.head.matrices) visit(matrix);
}

namespace {

std::set<kernels::Encoding> SetOfEncodings(ModelPlan plan) {
  std::set<kernels::Encoding> encodings;
  ForEachMatrix(plan, [&](PlannedTensor& matrix) { encodings.insert(matrix.spec.encoding); });
  return encodings;
}

}  // namespace

bool IsPacked(const ModelPlan& plan) {
  return std::ranges::any_of(SetOfEncodings(plan), kernels::IsPacked);
}

std::string NeedsCpu(const ModelPlan& plan) {
  std::string deepseek = DeepseekNeedsCpu(plan.config);
  if (!deepseek.empty()) return deepseek;
  bool is_reordered = false;
  ModelPlan copy = plan;
  ForEachMatrix(copy, [&](PlannedTensor& matrix) { is_reordered |= matrix.spec.reordered; });
  if (!is_reordered) return "";
  return absl::StrCat("weights of ", EncodingsOf(plan),
                      " whose columns have an order of their own (desc_act)");
}

std::string EncodingsOf(const ModelPlan& plan) {
  return absl::StrJoin(SetOfEncodings(plan), "+", [](std::string* out, kernels::Encoding encoding) {
    absl::StrAppend(out, NameOf(encoding));
  });
}

bool IsSurplus(const ModelPlan& plan, absl::string_view tensor) {
  const ModelConfig& config = plan.config;
  const std::int64_t first = config.num_layers + config.num_layers_left;
  for (std::int64_t i = first; config.mla && i < first + config.num_mtp_layers; ++i) {
    if (absl::StartsWith(tensor, absl::StrCat("model.layers.", i, "."))) return true;
  }
  return IsRotaryBuffer(tensor) || (config.tie_word_embeddings && tensor == kHeadName);
}

std::int64_t CountParameters(const ModelPlan& plan) {
  std::int64_t count = 0;
  ForEachTensor(plan, [&count](const TensorSpec& spec) { count += spec.rows * spec.cols; });
  return count;
}

}  // namespace thinkwire::worker::model
