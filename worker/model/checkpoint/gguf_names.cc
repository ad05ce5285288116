#include "worker/model/checkpoint/gguf_names.h"

#include <array>
#include <cmath>

#include "absl/strings/match.h"
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
constexpr std::array<Names, 9> kOfLayer = {{{"input_layernorm", "attn_norm"},
                                            {"self_attn.q_proj", "attn_q"},
                                            {"self_attn.k_proj", "attn_k"},
                                            {"self_attn.v_proj", "attn_v"},
                                            {"self_attn.o_proj", "attn_output"},
                                            {"post_attention_layernorm", "ffn_norm"},
                                            {"mlp.gate_proj", "ffn_gate"},
                                            {"mlp.up_proj", "ffn_up"},
                                            {"mlp.down_proj", "ffn_down"}}};

}  // namespace

double GgufYarnTemperature(double factor) { return factor <= 1 ? 1 : 0.1 * std::log(factor) + 1; }

std::string GgufNameOf(absl::string_view name) {
  for (const Names& names : kWhole) {
    if (name == names.plan) return std::string(names.gguf);
  }
  absl::string_view rest = name;
  CHECK(absl::ConsumePrefix(&rest, "model.layers."), "a tensor of the plan");
  const std::size_t dot = rest.find('.');
  const std::size_t last = rest.rfind('.');
  const absl::string_view part = rest.substr(dot + 1, last - dot - 1);
  for (const Names& names : kOfLayer) {
    if (part != names.plan) continue;
    return absl::StrCat("blk.", rest.substr(0, dot), ".", names.gguf, rest.substr(last));
  }
  CHECK(false, "a tensor of the plan");
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
