#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace thinkwire::worker::model {

// Llama 3's stretch of the rotary frequencies (rope_type "llama3").
struct Llama3RopeScaling {
  double factor = 1;            // > 0: divides frequencies of long waves
  double low_freq_factor = 1;   // waves longer than original / this are divided
  double high_freq_factor = 4;  // waves shorter than original / this stay; > low_freq_factor
  double original_max_position_embeddings = 8192;
};

// What config.json and generation_config.json say of a decoder that we can compute.
struct ModelConfig {
  std::string architecture;  // "Qwen2ForCausalLM" or "LlamaForCausalLM"
  std::int64_t hidden_size = 0;
  std::int64_t num_layers = 0;
  std::int64_t num_heads = 0;
  std::int64_t num_kv_heads = 0;  // divides num_heads
  std::int64_t head_dim = 0;      // even
  std::int64_t intermediate_size = 0;
  std::int64_t vocab_size = 0;  // rows of embedding and head, padding rows included
  std::int64_t max_position_embeddings = 0;
  float rms_norm_eps = 0;
  double rope_theta = 10000;
  std::optional<Llama3RopeScaling> rope_scaling;
  bool qkv_bias = false;             // Qwen2
  bool tie_word_embeddings = false;  // the head is the embedding
  // config.json's bos_token_id is not kept: the Qwen distills give their end token there.
  std::vector<std::int32_t> end_of_sequence_ids;  // of both files, ascending, each < vocab_size

  std::int64_t q_size() const { return num_heads * head_dim; }
  std::int64_t kv_size() const { return num_kv_heads * head_dim; }
};

// Reads the text of a config.json; `name` opens error messages.
// Fails: INVALID_ARGUMENT, naming key, value and what is supported. Sizes are bounded so that no
// product of them overflows 64 bits.
absl::StatusOr<ModelConfig> ParseModelConfig(absl::string_view text, absl::string_view name);

// Reads `dir`/config.json and, where there is one, the end-of-sequence ids of
// `dir`/generation_config.json; default temperature and top_p are the contract's, not the
// checkpoint's. Fails: as ParseModelConfig, naming the file, and NOT_FOUND.
absl::StatusOr<ModelConfig> LoadModelConfig(const std::filesystem::path& dir);

}  // namespace thinkwire::worker::model
