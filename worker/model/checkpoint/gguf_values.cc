#include "worker/model/checkpoint/gguf_values.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numbers>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"
#include "common/status.h"
#include "worker/model/checkpoint/gguf_names.h"

namespace thinkwire::worker::model {
namespace {

// Writes keys that begin with the architecture.
class Keys {
 public:
  Keys(std::string family, GgufHeader& header) : family_(std::move(family)), header_(header) {}

  void Size(absl::string_view key, std::int64_t value) {
    header_.U32(Of(key), static_cast<std::uint32_t>(value));
  }
  void Number(absl::string_view key, double value) {
    header_.F32(Of(key), static_cast<float>(value));
  }
  void Text(absl::string_view key, std::string_view value) { header_.Text(Of(key), value); }

 private:
  std::string Of(absl::string_view key) const { return absl::StrCat(family_, ".", key); }

  const std::string family_;
  GgufHeader& header_;
};

void AddSizes(const ModelConfig& config, Keys& keys) {
  keys.Size("context_length", config.max_position_embeddings);
  keys.Size("embedding_length", config.hidden_size);
  keys.Size("block_count", config.num_layers);
  keys.Size("feed_forward_length", config.intermediate_size);
  keys.Size("attention.head_count", config.num_heads);
  keys.Size("attention.head_count_kv", config.num_kv_heads);
  keys.Size("attention.key_length", config.head_dim);
  keys.Size("attention.value_length", config.head_dim);
  keys.Size("rope.dimension_count", config.head_dim);
  keys.Size("vocab_size", config.vocab_size);
  keys.Number("attention.layer_norm_rms_epsilon", config.rms_norm_eps);
}

absl::Status AddYarn(const YarnRopeScaling& yarn, Keys& keys) {
  if (!yarn.truncate) {
    return absl::InvalidArgumentError(
        "rope_scaling's truncate is false, which a GGUF file cannot say; supported: true");
  }
  const double implied = GgufYarnTemperature(yarn.factor);
  keys.Text("rope.scaling.type", "yarn");
  keys.Number("rope.scaling.factor", yarn.factor);
  keys.Size("rope.scaling.original_context_length",
            std::llround(yarn.original_max_position_embeddings));
  keys.Number("rope.scaling.attn_factor", yarn.attention_factor / implied);
  keys.Number("rope.scaling.yarn_beta_fast", yarn.beta_fast);
  keys.Number("rope.scaling.yarn_beta_slow", yarn.beta_slow);
  return absl::OkStatus();
}

absl::Status AddRope(const RopeConfig& rope, Keys& keys) {
  keys.Number("rope.freq_base", rope.theta);
  if (const auto* yarn = std::get_if<YarnRopeScaling>(&rope.scaling)) return AddYarn(*yarn, keys);
  const auto* linear = std::get_if<LinearRopeScaling>(&rope.scaling);
  if (linear == nullptr) return absl::OkStatus();
  keys.Text("rope.scaling.type", "linear");
  keys.Number("rope.scaling.factor", linear->factor);
  return absl::OkStatus();
}

void AddSampling(const SamplingDefaults& sampling, GgufHeader& header) {
  const auto add = [&header](const char* key, const std::optional<float>& value) {
    if (value) header.F32(key, *value);
  };
  add("general.sampling.temp", sampling.temperature);
  add("general.sampling.top_p", sampling.top_p);
  add("general.sampling.min_p", sampling.min_p);
  add("general.sampling.penalty_repeat", sampling.repetition_penalty);
  if (sampling.top_k) {
    header.U32("general.sampling.top_k", static_cast<std::uint32_t>(*sampling.top_k));
  }
}

}  // namespace

absl::Status AddGgufValues(const ModelConfig& config, const SamplingDefaults& sampling,
                           GgufHeader& header) {
  const auto* const family =
      std::ranges::find(kGgufFamilies, config.architecture, &GgufFamily::architecture);
  if (family == kGgufFamilies.end() || config.mla) {
    return absl::InvalidArgumentError(
        absl::StrCat("architecture ", config.architecture,
                     " is not written as GGUF; supported: Qwen2ForCausalLM, LlamaForCausalLM"));
  }
  const std::string name(family->name);
  header.Text("general.architecture", name);
  header.Text("general.type", "model");
  Keys keys(name, header);
  AddSizes(config, keys);
  RETURN_IF_ERROR(AddRope(config.rope, keys));
  AddSampling(sampling, header);
  return absl::OkStatus();
}

std::vector<float> RopeDivisors(const ModelConfig& config) {
  const auto* llama = std::get_if<Llama3RopeScaling>(&config.rope.scaling);
  if (llama == nullptr) return {};
  const double original = llama->original_max_position_embeddings;
  std::vector<float> divisors;
  for (std::int64_t i = 0; i < config.head_dim / 2; ++i) {
    const double exponent = 2.0 * static_cast<double>(i) / static_cast<double>(config.head_dim);
    const double wave = 2 * std::numbers::pi * std::pow(config.rope.theta, exponent);
    // 0 at waves of the original context's length by low_freq_factor and beyond, 1 at those by
    // high_freq_factor and below.
    const double smooth = std::clamp((original / wave - llama->low_freq_factor) /
                                         (llama->high_freq_factor - llama->low_freq_factor),
                                     0.0, 1.0);
    divisors.push_back(static_cast<float>(1 / ((1 - smooth) / llama->factor + smooth)));
  }
  return divisors;
}

}  // namespace thinkwire::worker::model
