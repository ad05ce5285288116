#pragma once

#include "absl/status/status.h"
#include "worker/model/checkpoint/gguf_keys.h"
#include "worker/model/checkpoint/model_config.h"

namespace thinkwire::worker::model {

// Reads what a deepseek2's values say of latent attention and experts, as llama.cpp's converter
// writes it of a deepseek_v3: newer files give the widths of a head as `attention.key_length_mla`
// and `attention.value_length_mla`, older ones as those without `_mla`. Layers that predict further
// tokens (`nextn_predict_layers`, counted in `block_count`) are no part of the model.
// REQUIRES: sizes and rope of `config` are read.
// Fails: INVALID_ARGUMENT, naming file, key, value and what is supported.
absl::Status ReadGgufDeepseek(const GgufKeys& keys, ModelConfig& config);

}  // namespace thinkwire::worker::model
