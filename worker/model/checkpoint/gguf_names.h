#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"
#include "worker/model/checkpoint/model_config.h"

namespace thinkwire::worker::model {

// How llama.cpp's converter calls the tensors of a Qwen2, a Llama or a DeepseekV3, and what it does
// to them.
inline constexpr char kGgufRopeFactors[] = "rope_freqs.weight";

// A kind of decoder: `general.architecture`, and what config.json calls it.
struct GgufFamily {
  absl::string_view name;
  absl::string_view architecture;
  bool qkv_bias;
};
inline constexpr std::array<GgufFamily, 3> kGgufFamilies = {
    {{"qwen2", "Qwen2ForCausalLM", true},
     {"llama", "LlamaForCausalLM", false},
     {"deepseek2", "DeepseekV3ForCausalLM", false}}};

// What llama.cpp multiplies cosines and sines of a stretch by yarn with, before
// `rope.scaling.attn_factor` does too: the paper's equation 22.
double GgufYarnTemperature(double factor);

// Where a tensor of the plan is: by itself, or as one of those that experts have, which lie in one
// tensor of three dimensions.
struct GgufPlace {
  std::string tensor;
  std::int64_t expert = -1;  // its number; -1: by itself
};

// "blk.3.attn_q.weight" for "model.layers.3.self_attn.q_proj.weight". REQUIRES: a name of the plan.
GgufPlace GgufPlaceOf(absl::string_view name);

// The tensor alone.
std::string GgufNameOf(absl::string_view name);

// Of "blk.3.attn_kv_b.weight" the two that newer files have in its place: for each head the keys'
// rows turned over, and the values' as they are.
struct GgufLatentNames {
  std::string keys;    // "blk.3.attn_k_b.weight", [H, C, P]
  std::string values;  // "blk.3.attn_v_b.weight", [H, V, C]
};
// Nothing for another tensor.
std::optional<GgufLatentNames> GgufLatentNamesOf(absl::string_view tensor);

// Whether the converter has reordered the rows of the plan's tensor `name`: a llama's queries and
// keys, weights and biases.
bool HasPermutedRows(const ModelConfig& config, absl::string_view name);

// Where row `row` of a reordered tensor lies in the file. A head's first and second half of
// dimensions, which rotate together, alternate there: dimension t * D/2 + j is its row 2 * j + t.
std::int64_t PermutedRow(std::int64_t row, std::int64_t head_dim);

}  // namespace thinkwire::worker::model
