#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "worker/model/checkpoint/mla_config.h"
#include "worker/model/checkpoint/moe_config.h"
#include "worker/model/checkpoint/quantization_config.h"
#include "worker/model/checkpoint/rope_config.h"

namespace thinkwire::worker::model {

// What config.json and generation_config.json say of a decoder that we can compute.
struct ModelConfig {
  std::string architecture;  // "Qwen2ForCausalLM", "LlamaForCausalLM" or "DeepseekV3ForCausalLM"
  std::int64_t hidden_size = 0;
  std::int64_t num_layers = 0;
  std::int64_t num_heads = 0;
  std::int64_t num_kv_heads = 0;  // divides num_heads
  std::int64_t head_dim = 0;      // even; with latent attention what of a head is rotated
  std::int64_t intermediate_size = 0;
  std::int64_t vocab_size = 0;  // rows of embedding and head, padding rows included
  std::int64_t max_position_embeddings = 0;
  float rms_norm_eps = 0;
  RopeConfig rope;
  bool qkv_bias = false;             // Qwen2
  bool tie_word_embeddings = false;  // the head is the embedding
  std::optional<MlaConfig> mla;      // of DeepseekV3, as moe
  std::optional<MoeConfig> moe;
  std::int64_t num_mtp_layers = 1;   // that a DeepseekV3's files may hold beyond the model's own
  std::int64_t num_layers_left = 0;  // of config.json's, beyond those that are kept
  std::optional<QuantizationConfig> quantization;  // of a folder's matrices; none: they are not
  // config.json's bos_token_id is not kept: the Qwen distills give their end token there.
  std::vector<std::int32_t> end_of_sequence_ids;  // ascending, each < vocab_size

  // A sentence each: what was there and is not obeyed, since something else is.
  std::vector<std::string> warnings;

  std::int64_t q_size() const { return num_heads * head_dim; }
  std::int64_t kv_size() const { return num_kv_heads * head_dim; }
};

// Reads the text of a config.json as transformers reads one of "qwen2", "llama" or "deepseek_v3":
// keys that its model does not ask for (attention_bias of a Qwen2) are passed over, and one that
// would change nothing (a sliding window that no layer uses) is no reason to refuse. `name` opens
// messages.
// Fails: INVALID_ARGUMENT, naming key, value and what is supported. Sizes are bounded so that no
// product of them overflows 64 bits.
absl::StatusOr<ModelConfig> ParseModelConfig(absl::string_view text, absl::string_view name);

// Reads `dir`/config.json and, where there is one, the end-of-sequence ids of
// `dir`/generation_config.json, which then are obeyed instead of config.json's.
// Fails: as ParseModelConfig, naming the file, and NOT_FOUND.
absl::StatusOr<ModelConfig> LoadModelConfig(const std::filesystem::path& dir);

// Keeps the first `num_layers` layers alone, and tells so in the warnings: for measuring a shape of
// which the whole does not fit.
// Fails: INVALID_ARGUMENT if there are not so many.
absl::Status KeepFirstLayers(std::int64_t num_layers, ModelConfig& config);

}  // namespace thinkwire::worker::model
