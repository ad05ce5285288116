#include "worker/model/checkpoint/gguf_names.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <span>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/check.h"
#include "worker/model/checkpoint/weight_source.h"

namespace thinkwire::worker::model {
namespace {

struct Names {
  absl::string_view plan;
  absl::string_view gguf;
};
constexpr std::array<Names, 3> kWhole = {{{kEmbeddingName, "token_embd.weight"},
                                          {"model.norm.weight", "output_norm.weight"},
                                          {kHeadName, "output.weight"}}};
// Of a layer, without the last part, "weight" or "bias".
constexpr auto kOfLayer =
    std::to_array<Names>({{"input_layernorm", "attn_norm"},
                          {"self_attn.q_proj", "attn_q"},
                          {"self_attn.k_proj", "attn_k"},
                          {"self_attn.v_proj", "attn_v"},
                          {"self_attn.o_proj", "attn_output"},
                          {"self_attn.q_a_proj", "attn_q_a"},
                          {"self_attn.q_a_layernorm", "attn_q_a_norm"},
                          {"self_attn.q_b_proj", "attn_q_b"},
                          {"self_attn.kv_a_proj_with_mqa", "attn_kv_a_mqa"},
                          {"self_attn.kv_a_layernorm", "attn_kv_a_norm"},
                          {"self_attn.kv_b_proj", "attn_kv_b"},
                          {"post_attention_layernorm", "ffn_norm"},
                          {"mlp.gate_proj", "ffn_gate"},
                          {"mlp.up_proj", "ffn_up"},
                          {"mlp.down_proj", "ffn_down"},
                          {"mlp.gate", "ffn_gate_inp"},
                          {"mlp.shared_experts.gate_proj", "ffn_gate_shexp"},
                          {"mlp.shared_experts.up_proj", "ffn_up_shexp"},
                          {"mlp.shared_experts.down_proj", "ffn_down_shexp"}});
// Of an expert.
constexpr auto kOfExpert = std::to_array<Names>(
    {{"gate_proj", "ffn_gate_exps"}, {"up_proj", "ffn_up_exps"}, {"down_proj", "ffn_down_exps"}});

// A bias that is none of a product.
constexpr char kCorrectionBias[] = "mlp.gate.e_score_correction_bias";

absl::string_view Find(std::span<const Names> names, absl::string_view plan) {
  const auto found = std::ranges::find(names, plan, &Names::plan);
  CHECK(found != names.end(), "a tensor of the plan");
  return found->gguf;
}

// Of "12.gate_proj.weight".
GgufPlace ExpertPlace(const std::string& block, absl::string_view rest) {
  GgufPlace place;
  const std::size_t dot = rest.find('.');
  CHECK(absl::SimpleAtoi(rest.substr(0, dot), &place.expert), "an expert's number");
  const std::size_t last = rest.rfind('.');
  place.tensor =
      absl::StrCat(block, Find(kOfExpert, rest.substr(dot + 1, last - dot - 1)), rest.substr(last));
  return place;
}

}  // namespace

double GgufYarnTemperature(double factor) { return factor <= 1 ? 1 : 0.1 * std::log(factor) + 1; }

GgufPlace GgufPlaceOf(absl::string_view name) {
  for (const Names& names : kWhole) {
    if (name == names.plan) return {std::string(names.gguf)};
  }
  absl::string_view rest = name;
  CHECK(absl::ConsumePrefix(&rest, "model.layers."), "a tensor of the plan");
  const std::size_t dot = rest.find('.');
  const std::string block = absl::StrCat("blk.", rest.substr(0, dot), ".");
  rest.remove_prefix(dot + 1);
  if (rest == kCorrectionBias) return {block + "exp_probs_b.bias"};
  if (absl::ConsumePrefix(&rest, "mlp.experts.")) return ExpertPlace(block, rest);
  const std::size_t last = rest.rfind('.');
  return {absl::StrCat(block, Find(kOfLayer, rest.substr(0, last)), rest.substr(last))};
}

std::string GgufNameOf(absl::string_view name) { return GgufPlaceOf(name).tensor; }

std::optional<GgufLatentNames> GgufLatentNamesOf(absl::string_view tensor) {
  absl::string_view block = tensor;
  if (!absl::ConsumeSuffix(&block, "attn_kv_b.weight")) return std::nullopt;
  return GgufLatentNames{absl::StrCat(block, "attn_k_b.weight"),
                         absl::StrCat(block, "attn_v_b.weight")};
}

bool HasPermutedRows(const ModelConfig& config, absl::string_view name) {
  return config.architecture == "LlamaForCausalLM" &&
         (absl::StrContains(name, ".q_proj.") || absl::StrContains(name, ".k_proj."));
}

std::int64_t PermutedRow(std::int64_t row, std::int64_t head_dim) {
  const std::int64_t dimension = row % head_dim;
  const std::int64_t half = head_dim / 2;
  return row - dimension + 2 * (dimension % half) + dimension / half;
}

}  // namespace thinkwire::worker::model
