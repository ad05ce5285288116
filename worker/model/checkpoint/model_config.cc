#include "worker/model/checkpoint/model_config.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/input_limits.h"
#include "common/json.h"
#include "common/status.h"
#include "worker/model/checkpoint/config_reader.h"

namespace thinkwire::worker::model {
namespace {

using nlohmann::json;

constexpr JsonLimits kFileLimits = {.max_bytes = kMaxModelConfigBytes};

absl::Status ReadArchitecture(const ConfigReader& reader, ModelConfig& config) {
  const json* names = reader.Find("architectures");
  if (names == nullptr || !names->is_array() || names->size() != 1 || !names->front().is_string()) {
    return reader.Refuse("architectures", "a list of one name");
  }
  config.architecture = names->front().get<std::string>();
  if (config.architecture != "Qwen2ForCausalLM" && config.architecture != "LlamaForCausalLM") {
    return reader.Refuse("architectures", "Qwen2ForCausalLM or LlamaForCausalLM");
  }
  config.qkv_bias = config.architecture == "Qwen2ForCausalLM";
  return absl::OkStatus();
}

absl::Status ReadSizes(const ConfigReader& reader, ModelConfig& config) {
  RETURN_IF_ERROR(reader.Integer("hidden_size", 1, kMaxHiddenSize, config.hidden_size));
  RETURN_IF_ERROR(reader.Integer("num_hidden_layers", 1, kMaxLayers, config.num_layers));
  RETURN_IF_ERROR(reader.Integer("num_attention_heads", 1, kMaxHeads, config.num_heads));
  RETURN_IF_ERROR(
      reader.Integer("intermediate_size", 1, kMaxIntermediateSize, config.intermediate_size));
  RETURN_IF_ERROR(reader.Integer("vocab_size", 1, kMaxVocabSize, config.vocab_size));
  RETURN_IF_ERROR(reader.Integer("max_position_embeddings", kMinModelLen, kMaxPositions,
                                 config.max_position_embeddings));
  config.num_kv_heads = config.num_heads;
  if (reader.Has("num_key_value_heads")) {
    RETURN_IF_ERROR(reader.Integer("num_key_value_heads", 1, kMaxHeads, config.num_kv_heads));
  }
  if (config.num_heads % config.num_kv_heads != 0) {
    return reader.Refuse("num_key_value_heads",
                         absl::StrCat("a divisor of num_attention_heads ", config.num_heads));
  }
  if (reader.Has("head_dim")) {
    RETURN_IF_ERROR(reader.Integer("head_dim", 2, kMaxHeadDim, config.head_dim));
  } else if (config.hidden_size % config.num_heads != 0) {
    return reader.Refuse("hidden_size", absl::StrCat("a multiple of num_attention_heads ",
                                                     config.num_heads, ", as head_dim is unset"));
  } else {
    config.head_dim = config.hidden_size / config.num_heads;
  }
  if (config.head_dim % 2 != 0 || config.head_dim > kMaxHeadDim) {
    return reader.Refuse("head_dim", absl::StrCat("an even number up to ", kMaxHeadDim));
  }
  return absl::OkStatus();
}

// What another implementation could do and ours cannot, by key.
absl::Status RefuseVariants(const ConfigReader& reader, const ModelConfig& config) {
  if (reader.Has("quantization_config")) {
    return reader.Refuse("quantization_config", "unquantised weights");
  }
  RETURN_IF_ERROR(reader.OnlyString("hidden_act", "silu"));
  RETURN_IF_ERROR(reader.OnlyBool("use_sliding_window", false));
  RETURN_IF_ERROR(reader.OnlyBool("attention_bias", config.qkv_bias));
  RETURN_IF_ERROR(reader.OnlyBool("mlp_bias", false));
  RETURN_IF_ERROR(reader.OnlyNumber("partial_rotary_factor", 1.0));
  if (const json* types = reader.Find("layer_types")) {
    const bool full = types->is_array() && std::all_of(types->begin(), types->end(), [](auto& t) {
                        return t == "full_attention";
                      });
    if (!full) return reader.Refuse("layer_types", "full_attention in every layer");
  }
  return absl::OkStatus();
}

absl::Status ReadLlama3Scaling(const ConfigReader& rope, ModelConfig& config) {
  Llama3RopeScaling scaling;
  RETURN_IF_ERROR(rope.Number("factor", 1e-3, 1e6, scaling.factor));
  RETURN_IF_ERROR(rope.Number("low_freq_factor", 1e-3, 1e6, scaling.low_freq_factor));
  RETURN_IF_ERROR(rope.Number("high_freq_factor", 1e-3, 1e6, scaling.high_freq_factor));
  RETURN_IF_ERROR(rope.Number("original_max_position_embeddings", 1, kMaxPositions,
                              scaling.original_max_position_embeddings));
  if (scaling.high_freq_factor <= scaling.low_freq_factor) {
    return rope.Refuse("high_freq_factor",
                       absl::StrCat("more than low_freq_factor ", scaling.low_freq_factor));
  }
  config.rope_scaling = scaling;
  return absl::OkStatus();
}

// Classic files have rope_theta beside rope_scaling; transformers 5 writes both into
// rope_parameters.
absl::Status ReadRope(const ConfigReader& reader, ModelConfig& config) {
  if (reader.Has("rope_theta")) {
    RETURN_IF_ERROR(reader.Number("rope_theta", 1, kMaxRopeTheta, config.rope_theta));
  }
  const char* key = reader.Has("rope_parameters") ? "rope_parameters" : "rope_scaling";
  const json* found = reader.Find(key);
  if (found == nullptr) return absl::OkStatus();
  if (!found->is_object()) return reader.Refuse(key, "an object");
  const ConfigReader rope(*found, absl::StrCat(reader.name(), ": ", key));
  if (rope.Has("rope_theta")) {
    RETURN_IF_ERROR(rope.Number("rope_theta", 1, kMaxRopeTheta, config.rope_theta));
  }
  RETURN_IF_ERROR(rope.OnlyNumber("partial_rotary_factor", 1.0));
  const char* type_key = rope.Has("rope_type") ? "rope_type" : "type";
  const json* type = rope.Find(type_key);
  if (type == nullptr) return rope.Refuse("rope_type", "default or llama3");
  if (*type == "default") return absl::OkStatus();
  if (*type == "llama3") return ReadLlama3Scaling(rope, config);
  return rope.Refuse(type_key, "default or llama3");
}

// One id, a list of ids, or null.
absl::Status AddEndIds(const ConfigReader& reader, ModelConfig& config) {
  const json* found = reader.Find("eos_token_id");
  if (found == nullptr) return absl::OkStatus();
  const json list = found->is_array() ? *found : json::array({*found});
  for (const json& id : list) {
    if (!id.is_number_integer() || id < 0 || id >= config.vocab_size) {
      return reader.Refuse("eos_token_id",
                           absl::StrCat("ids below vocab_size ", config.vocab_size));
    }
    config.end_of_sequence_ids.push_back(id.get<std::int32_t>());
  }
  return absl::OkStatus();
}

absl::Status ReadGenerationConfig(const std::filesystem::path& dir, ModelConfig& config) {
  const std::filesystem::path path = dir / "generation_config.json";
  auto document = ReadJsonFile(path, kFileLimits);
  if (absl::IsNotFound(document.status())) return absl::OkStatus();
  if (!document.ok()) return document.status();
  const ConfigReader reader(*document, path.string());
  RETURN_IF_ERROR(reader.RequireObject());
  return AddEndIds(reader, config);
}

void SortEndIds(ModelConfig& config) {
  auto& ids = config.end_of_sequence_ids;
  std::sort(ids.begin(), ids.end());
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
}

absl::StatusOr<ModelConfig> ReadModelConfig(const json& document, absl::string_view name) {
  const ConfigReader reader(document, std::string(name));
  RETURN_IF_ERROR(reader.RequireObject());
  ModelConfig config;
  RETURN_IF_ERROR(ReadArchitecture(reader, config));
  RETURN_IF_ERROR(RefuseVariants(reader, config));
  RETURN_IF_ERROR(ReadSizes(reader, config));
  RETURN_IF_ERROR(ReadRope(reader, config));
  double eps = 0;
  RETURN_IF_ERROR(reader.Number("rms_norm_eps", 1e-12, 1, eps));
  config.rms_norm_eps = static_cast<float>(eps);
  RETURN_IF_ERROR(reader.OptionalBool("tie_word_embeddings", config.tie_word_embeddings));
  RETURN_IF_ERROR(AddEndIds(reader, config));
  SortEndIds(config);
  return config;
}

}  // namespace

absl::StatusOr<ModelConfig> ParseModelConfig(absl::string_view text, absl::string_view name) {
  ASSIGN_OR_RETURN(const json document,
                   ParseJson({text.data(), text.size()}, {name.data(), name.size()}, kFileLimits));
  return ReadModelConfig(document, name);
}

absl::StatusOr<ModelConfig> LoadModelConfig(const std::filesystem::path& dir) {
  const std::filesystem::path path = dir / "config.json";
  ASSIGN_OR_RETURN(const json document, ReadJsonFile(path, kFileLimits));
  ASSIGN_OR_RETURN(ModelConfig config, ReadModelConfig(document, path.string()));
  RETURN_IF_ERROR(ReadGenerationConfig(dir, config));
  SortEndIds(config);
  return config;
}

}  // namespace thinkwire::worker::model
