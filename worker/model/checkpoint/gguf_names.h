#pragma once

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"
#include "worker/model/checkpoint/model_config.h"

namespace thinkwire::worker::model {

// How llama.cpp's converter calls the tensors of a Qwen2 or Llama, and what it does to them.
inline constexpr char kGgufRopeFactors[] = "rope_freqs.weight";

// "blk.3.attn_q.weight" for "model.layers.3.self_attn.q_proj.weight". REQUIRES: a name of the plan.
std::string GgufNameOf(absl::string_view name);

// Whether the converter has reordered the rows of the plan's tensor `name`: a llama's queries and
// keys, weights and biases.
bool HasPermutedRows(const ModelConfig& config, absl::string_view name);

// Where row `row` of a reordered tensor lies in the file. A head's first and second half of
// dimensions, which rotate together, alternate there: dimension t * D/2 + j is its row 2 * j + t.
std::int64_t PermutedRow(std::int64_t row, std::int64_t head_dim);

}  // namespace thinkwire::worker::model
