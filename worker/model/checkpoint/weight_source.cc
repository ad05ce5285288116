#include "worker/model/checkpoint/weight_source.h"

#include "absl/strings/str_cat.h"

namespace thinkwire::worker::model {

std::string LayerTensorName(std::int64_t layer, const char* suffix) {
  return absl::StrCat("model.layers.", layer, ".", suffix);
}

std::vector<TensorSpec> RequiredTensors(const ModelConfig& config) {
  const std::int64_t e = config.hidden_size;
  const std::int64_t q = config.q_size();
  const std::int64_t kv = config.kv_size();
  const std::int64_t f = config.intermediate_size;
  std::vector<TensorSpec> specs;
  const auto matrix = [&specs](std::string name, std::int64_t rows, std::int64_t cols) {
    specs.push_back({std::move(name), rows, cols, false});
  };
  const auto vector = [&specs](std::string name, std::int64_t rows) {
    specs.push_back({std::move(name), rows, 1, true});
  };
  matrix(kEmbeddingName, config.vocab_size, e);
  for (std::int64_t i = 0; i < config.num_layers; ++i) {
    vector(LayerTensorName(i, "input_layernorm.weight"), e);
    matrix(LayerTensorName(i, "self_attn.q_proj.weight"), q, e);
    matrix(LayerTensorName(i, "self_attn.k_proj.weight"), kv, e);
    matrix(LayerTensorName(i, "self_attn.v_proj.weight"), kv, e);
    if (config.qkv_bias) {
      vector(LayerTensorName(i, "self_attn.q_proj.bias"), q);
      vector(LayerTensorName(i, "self_attn.k_proj.bias"), kv);
      vector(LayerTensorName(i, "self_attn.v_proj.bias"), kv);
    }
    matrix(LayerTensorName(i, "self_attn.o_proj.weight"), e, q);
    vector(LayerTensorName(i, "post_attention_layernorm.weight"), e);
    matrix(LayerTensorName(i, "mlp.gate_proj.weight"), f, e);
    matrix(LayerTensorName(i, "mlp.up_proj.weight"), f, e);
    matrix(LayerTensorName(i, "mlp.down_proj.weight"), e, f);
  }
  vector(kFinalNormName, e);
  if (!config.tie_word_embeddings) matrix(kHeadName, config.vocab_size, e);
  return specs;
}

}  // namespace thinkwire::worker::model
