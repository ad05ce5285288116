#include "worker/model/checkpoint/model_config.h"

#include <algorithm>
#include <array>
#include <iterator>
#include <nlohmann/json.hpp>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/input_limits.h"
#include "common/json.h"
#include "common/status.h"
#include "worker/model/checkpoint/config_reader.h"
#include "worker/model/checkpoint/deepseek_config.h"

namespace thinkwire::worker::model {
namespace {

using nlohmann::json;

constexpr JsonLimits kFileLimits = {.max_bytes = kMaxModelConfigBytes};

// A model that we can compute, as config.json names it.
struct Family {
  absl::string_view model_type;
  absl::string_view architecture;
  bool qkv_bias;
  bool may_slide;  // reads the keys of a sliding window
  bool has_latents;
};
constexpr std::array<Family, 3> kFamilies = {
    {{"qwen2", "Qwen2ForCausalLM", true, true, false},
     {"llama", "LlamaForCausalLM", false, false, false},
     {"deepseek_v3", "DeepseekV3ForCausalLM", false, false, true}}};
constexpr char kModelTypes[] = "qwen2, llama or deepseek_v3";

template <class Matches>
const Family* FindFamily(const Matches& matches) {
  const auto* found = std::find_if(kFamilies.begin(), kFamilies.end(), matches);
  return found == kFamilies.end() ? nullptr : found;
}

// The family that `architectures` names; null where the list is absent or empty.
absl::StatusOr<const Family*> ListedFamily(const ConfigReader& reader) {
  const json* names = reader.Find("architectures");
  if (names == nullptr || (names->is_array() && names->empty())) return nullptr;
  const Family* listed = FindFamily([&](const Family& family) {
    return names->is_array() && std::find(names->begin(), names->end(),
                                          std::string(family.architecture)) != names->end();
  });
  if (listed != nullptr) return listed;
  return reader.Refuse("architectures",
                       "Qwen2ForCausalLM, LlamaForCausalLM or DeepseekV3ForCausalLM");
}

// model_type decides, as it does in transformers; else the list of architectures.
absl::StatusOr<const Family*> ReadFamily(const ConfigReader& reader, ModelConfig& config) {
  ASSIGN_OR_RETURN(const Family* listed, ListedFamily(reader));
  const json* type = reader.Find("model_type");
  if (type == nullptr && listed == nullptr) {
    return reader.Refuse("model_type", absl::StrCat(kModelTypes, ", or a list of architectures"));
  }
  if (type == nullptr) return listed;
  const Family* family =
      FindFamily([type](const Family& known) { return *type == std::string(known.model_type); });
  if (family == nullptr) return reader.Refuse("model_type", kModelTypes);
  if (listed != nullptr && listed != family) {
    config.warnings.push_back(absl::StrCat(reader.name(), ": model_type ",
                                           reader.Shown("model_type"), " is obeyed, architectures ",
                                           reader.Shown("architectures"), " is not"));
  }
  return family;
}

absl::Status ReadSizes(const ConfigReader& reader, ModelConfig& config) {
  RETURN_IF_ERROR(reader.Integer("hidden_size", 1, kMaxHiddenSize, config.hidden_size));
  RETURN_IF_ERROR(reader.Integer("num_hidden_layers", 1, kMaxLayers, config.num_layers));
  RETURN_IF_ERROR(reader.Integer("num_attention_heads", 1, kMaxHeads, config.num_heads));
  RETURN_IF_ERROR(
      reader.Integer("intermediate_size", 1, kMaxIntermediateSize, config.intermediate_size));
  RETURN_IF_ERROR(reader.Integer("vocab_size", 1, kMaxVocabSize, config.vocab_size));
  return reader.Integer("max_position_embeddings", kMinModelLen, kMaxPositions,
                        config.max_position_embeddings);
}

absl::Status ReadGroupedQuery(const ConfigReader& reader, ModelConfig& config) {
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

absl::Status RefuseActivation(const ConfigReader& reader) {
  const json* name = reader.Find("hidden_act");
  if (name == nullptr || *name == "silu" || *name == "swish") return absl::OkStatus();
  return reader.Refuse("hidden_act", "silu");
}

// What another implementation could do and ours cannot, by key.
absl::Status RefuseVariants(const ConfigReader& reader, const Family& family) {
  RETURN_IF_ERROR(RefuseActivation(reader));
  RETURN_IF_ERROR(reader.OnlyNumber("partial_rotary_factor", 1.0));
  if (family.qkv_bias) return absl::OkStatus();  // its biases are not a matter of keys
  RETURN_IF_ERROR(reader.OnlyBool("attention_bias", false));
  return reader.OnlyBool("mlp_bias", false);
}

// Whether a layer asks for the sliding window: those that layer_types lists, else those from
// max_window_layers on.
bool AnyLayerSlides(const ConfigReader& reader, std::int64_t num_layers,
                    std::int64_t max_window_layers) {
  const json* types = reader.Find("layer_types");
  if (types == nullptr) return max_window_layers < num_layers;
  return !types->is_array() || std::any_of(types->begin(), types->end(), [](const json& type) {
    return type != "full_attention";
  });
}

// A window changes something where a layer uses it and a sequence can be longer. The defaults are
// those of transformers' Qwen2Config.
absl::Status RefuseSliding(const ConfigReader& reader, const ModelConfig& config) {
  bool use_sliding_window = false;
  std::int64_t window = 4096;
  std::int64_t max_window_layers = 28;
  RETURN_IF_ERROR(reader.OptionalBool("use_sliding_window", use_sliding_window));
  if (!use_sliding_window) {
    if (!reader.Has("layer_types") || !AnyLayerSlides(reader, config.num_layers, 0)) {
      return absl::OkStatus();
    }
    return reader.Refuse("layer_types", "full_attention in every layer");
  }
  RETURN_IF_ERROR(reader.OptionalInteger("sliding_window", 1, kMaxPositions, window));
  RETURN_IF_ERROR(reader.OptionalInteger("max_window_layers", 0, kMaxPositions, max_window_layers));
  const bool has_window = !reader.IsNull("sliding_window");
  if (!has_window || window >= config.max_position_embeddings ||
      !AnyLayerSlides(reader, config.num_layers, max_window_layers)) {
    return absl::OkStatus();
  }
  return reader.Refuse("use_sliding_window",
                       absl::StrCat("true where it slides nowhere: max_window_layers of ",
                                    config.num_layers, " and more, or sliding_window of ",
                                    config.max_position_embeddings, " and more"));
}

// One id, a list of ids, or null. Ascending.
absl::StatusOr<std::vector<std::int32_t>> ReadEndIds(const ConfigReader& reader,
                                                     std::int64_t vocab_size) {
  std::vector<std::int32_t> ids;
  const json* found = reader.Find("eos_token_id");
  if (found == nullptr) return ids;
  const json list = found->is_array() ? *found : json::array({*found});
  for (const json& id : list) {
    if (!id.is_number_integer() || id < 0 || id >= vocab_size) {
      return reader.Refuse("eos_token_id", absl::StrCat("ids below vocab_size ", vocab_size));
    }
    ids.push_back(id.get<std::int32_t>());
  }
  std::sort(ids.begin(), ids.end());
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
  return ids;
}

// The ids of generation_config.json, where it has any, are obeyed instead of config.json's.
absl::Status ReadGenerationConfig(const std::filesystem::path& dir, ModelConfig& config) {
  const std::filesystem::path path = dir / "generation_config.json";
  auto document = ReadJsonFile(path, kFileLimits);
  if (absl::IsNotFound(document.status())) return absl::OkStatus();
  if (!document.ok()) return document.status();
  const ConfigReader reader(*document, path.string());
  RETURN_IF_ERROR(reader.RequireObject());
  ASSIGN_OR_RETURN(const std::vector<std::int32_t> ids, ReadEndIds(reader, config.vocab_size));
  if (ids.empty()) return absl::OkStatus();
  std::vector<std::int32_t> lost;
  std::set_difference(config.end_of_sequence_ids.begin(), config.end_of_sequence_ids.end(),
                      ids.begin(), ids.end(), std::back_inserter(lost));
  if (!lost.empty()) {
    config.warnings.push_back(absl::StrCat(
        path.string(), ": eos_token_id ", reader.Shown("eos_token_id"),
        " is obeyed, that of config.json is not, which has [", absl::StrJoin(lost, ","), "] too"));
  }
  config.end_of_sequence_ids = ids;
  return absl::OkStatus();
}

// `status`, and where the folder is known for something else than a checkpoint, that.
absl::Status NoConfig(const std::filesystem::path& dir, const absl::Status& status) {
  std::error_code error;
  if (!absl::IsNotFound(status) || !std::filesystem::exists(dir / "adapter_config.json", error)) {
    return status;
  }
  return absl::NotFoundError(
      absl::StrCat(status.message(),
                   "; the folder holds an adapter: merge it into its base model "
                   "(peft's merge_and_unload) and save the whole"));
}

absl::StatusOr<ModelConfig> ReadModelConfig(const json& document, absl::string_view name) {
  const ConfigReader reader(document, std::string(name));
  RETURN_IF_ERROR(reader.RequireObject());
  ModelConfig config;
  ASSIGN_OR_RETURN(const Family* family, ReadFamily(reader, config));
  config.architecture = std::string(family->architecture);
  config.qkv_bias = family->qkv_bias;
  RETURN_IF_ERROR(RefuseVariants(reader, *family));
  RETURN_IF_ERROR(ReadSizes(reader, config));
  if (!family->has_latents) RETURN_IF_ERROR(ReadGroupedQuery(reader, config));
  if (family->may_slide) RETURN_IF_ERROR(RefuseSliding(reader, config));
  RETURN_IF_ERROR(ReadRope(reader, config.max_position_embeddings, config.rope, config.warnings));
  config.max_position_embeddings =
      std::max(config.max_position_embeddings, StretchedPositions(config.rope));
  if (family->has_latents) RETURN_IF_ERROR(ReadDeepseek(reader, config));
  double eps = 1e-6;  // of all families
  RETURN_IF_ERROR(reader.OptionalNumber("rms_norm_eps", 1e-12, 1, eps));
  config.rms_norm_eps = static_cast<float>(eps);
  RETURN_IF_ERROR(reader.OptionalBool("tie_word_embeddings", config.tie_word_embeddings));
  ASSIGN_OR_RETURN(config.end_of_sequence_ids, ReadEndIds(reader, config.vocab_size));
  if (const json* quantization = reader.Find("quantization_config")) {
    ASSIGN_OR_RETURN(config.quantization, QuantizationConfig::Read(*quantization, reader.name()));
  }
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
  const auto document = ReadJsonFile(path, kFileLimits);
  if (!document.ok()) return NoConfig(dir, document.status());
  ASSIGN_OR_RETURN(ModelConfig config, ReadModelConfig(*document, path.string()));
  RETURN_IF_ERROR(ReadGenerationConfig(dir, config));
  return config;
}

absl::Status KeepFirstLayers(std::int64_t num_layers, ModelConfig& config) {
  if (num_layers < 1 || num_layers > config.num_layers) {
    return absl::InvalidArgumentError(absl::StrCat("num_layers is ", num_layers, "; allowed: 1 to ",
                                                   config.num_layers,
                                                   ", the model's num_hidden_layers"));
  }
  config.warnings.push_back(absl::StrCat("the first ", num_layers, " of ", config.num_layers,
                                         " layers are computed and the others left out, as "
                                         "num_layers asks: a shape to measure, and no model"));
  config.num_layers_left = config.num_layers - num_layers;
  config.num_layers = num_layers;
  return absl::OkStatus();
}

}  // namespace thinkwire::worker::model
